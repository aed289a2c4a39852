//! Pages of other origins: those that a site names may read what is held, and nobody else.

use crate::support::{Origin, Perihelion, Raw, Reply};

fn proxy(origin: &Origin, cors: &str) -> Perihelion {
    Perihelion::start(&format!(
        "listen: $HTTP\ncontrol: $CONTROL\npools: {{ app: \"{}\" }}\nsites: {{ \"*\": {{ pool: app, cors: {cors} }} }}\n",
        origin.url()
    ))
}

fn holding() -> Origin {
    Origin::replying(|request| match (request.method(), request.target()) {
        ("OPTIONS", _) => Reply::ok("the application's"),
        (_, "/own") => {
            Reply::hold("news").with("X-Comet-Timeout", "1").with("Access-Control-Allow-Origin", "*")
        }
        (_, "/ordinary") => Reply::ok("ordinary"),
        (_, "/moved") => Reply::status("307 Temporary Redirect", "").with("Location", "/events"),
        (_, "/kept") => Reply::bodiless("304 Not Modified"),
        (_, "/refused") => Reply::status("403 Forbidden", "log in").with("Retry-After", "9"),
        _ => Reply::hold("news").with("X-Comet-Transport", "sse"),
    })
}

fn ask(proxy: &Perihelion, line: &str, headers: &str) -> Raw {
    let mut raw = proxy.connect();
    raw.send(format!("{line} HTTP/1.1\r\nHost: comet.example.com\r\n{headers}\r\n"));
    raw
}

const NAMED: &str = "Origin: https://www.example.com\r\n";
const FOREIGN: &str = "Origin: https://evil.example\r\n";

#[test]
fn a_named_origin_reads_what_is_held_and_no_other_does() {
    let origin = holding();
    let proxy = proxy(&origin, "https://www.example.com");
    let head = ask(&proxy, "GET /events", NAMED).head();
    assert_eq!(head.get("access-control-allow-origin"), Some("https://www.example.com"));
    assert_eq!(head.get("access-control-allow-credentials"), Some("true"));
    assert_eq!(head.get("vary"), Some("origin"));
    for other in [FOREIGN, ""] {
        let head = ask(&proxy, "GET /events", other).head();
        assert_eq!((head.status(), head.get("vary")), (200, Some("origin")));
        assert!(!head.has("access-control-allow-origin"), "{head:?}");
    }
    // What the application says itself counts, on the answer of a poll as on its own.
    let answer = ask(&proxy, "GET /own", NAMED).answer();
    assert_eq!(answer.head.get("access-control-allow-origin"), Some("*"));
    // Ordinary answers are the application's alone.
    let answer = ask(&proxy, "GET /ordinary", NAMED).answer();
    assert!(!answer.head.has("access-control-allow-origin") && !answer.head.has("vary"), "{answer:?}");
}

#[test]
fn a_page_of_a_named_origin_can_read_that_the_application_refuses_it() {
    let origin = holding();
    let proxy = proxy(&origin, "https://www.example.com");
    let answer = ask(&proxy, "GET /refused", NAMED).answer();
    assert_eq!((answer.status(), answer.text().as_str()), (403, "log in"));
    assert_eq!(answer.head.get("access-control-allow-origin"), Some("https://www.example.com"));
    assert_eq!(answer.head.get("access-control-expose-headers"), Some("retry-after"));
    assert!(!ask(&proxy, "GET /refused", FOREIGN).answer().head.has("access-control-allow-origin"));
}

#[test]
fn a_page_of_a_named_origin_is_led_on_by_redirects() {
    let origin = holding();
    let proxy = Perihelion::start(&format!(
        "listen: $HTTP\ncontrol: $CONTROL\npools: {{ app: \"{}\" }}\n\
         sites:\n  \"*\":\n    cors: https://www.example.com\n    routes:\n      - {{ path: /, pool: app }}\n\
         \x20     - {{ path: /old, redirect: /events }}\n",
        origin.url()
    ));
    for target in ["/moved", "/old"] {
        let answer = ask(&proxy, &format!("GET {target}"), NAMED).answer();
        assert_eq!(answer.head.get("location"), Some("/events"));
        assert_eq!(answer.head.get("access-control-allow-origin"), Some("https://www.example.com"));
        assert_eq!(answer.head.get("access-control-allow-credentials"), Some("true"));
        let answer = ask(&proxy, &format!("GET {target}"), FOREIGN).answer();
        assert_eq!(answer.head.get("location"), Some("/events"));
        assert!(!answer.head.has("access-control-allow-origin"), "{answer:?}");
    }
    // That would be said of an ordinary answer which the browser has kept.
    let head = ask(&proxy, "GET /kept", NAMED).head();
    assert_eq!(head.status(), 304);
    assert!(!head.has("access-control-allow-origin") && !head.has("vary"), "{head:?}");
}

#[test]
fn preflights_of_named_origins_are_answered_and_the_rest_is_the_applications() {
    let origin = holding();
    let proxy = proxy(&origin, "[https://www.example.com]");
    let wants = "Access-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: last-event-id\r\n";
    let answer = ask(&proxy, "OPTIONS /events", &format!("{NAMED}{wants}")).answer();
    assert_eq!(answer.status(), 204);
    assert_eq!(answer.head.get("access-control-allow-origin"), Some("https://www.example.com"));
    assert_eq!(answer.head.get("access-control-allow-methods"), Some("GET, POST"));
    assert_eq!(answer.head.get("access-control-allow-headers"), Some("last-event-id"));
    assert_eq!(answer.head.get("access-control-max-age"), Some("7200"));
    assert_eq!(origin.received().len(), 0);
    let delete = "Access-Control-Request-Method: DELETE\r\n";
    for headers in [format!("{FOREIGN}{wants}"), format!("{NAMED}{delete}"), NAMED.into(), String::new()] {
        assert_eq!(ask(&proxy, "OPTIONS /events", &headers).answer().text(), "the application's");
    }
    proxy.wait_metric("perihelion_requests_total", &[("method", "OPTIONS"), ("code", "204")], 1.0);
}

#[test]
fn any_origin_reads_without_cookies() {
    let origin = holding();
    let proxy = proxy(&origin, "\"*\"");
    let head = ask(&proxy, "GET /events", FOREIGN).head();
    assert_eq!(head.get("access-control-allow-origin"), Some("*"));
    assert!(!head.has("access-control-allow-credentials"), "{head:?}");
}

#[test]
fn a_named_origin_reads_why_the_proxy_refuses_and_when_to_come_again() {
    let origin = holding();
    let proxy = Perihelion::start(&format!(
        "listen: $HTTP\ncontrol: $CONTROL\npools: {{ app: \"{}\" }}\nlimits: {{ held_connections: 1 }}\n\
         sites: {{ \"*\": {{ pool: app, cors: https://www.example.com }} }}\n",
        origin.url()
    ));
    let mut held = ask(&proxy, "GET /events", NAMED);
    assert_eq!(held.head().status(), 200);
    let answer = ask(&proxy, "GET /events", NAMED).answer();
    assert_eq!((answer.status(), answer.head.get("retry-after")), (503, Some("5")));
    assert_eq!(answer.head.get("access-control-allow-origin"), Some("https://www.example.com"));
    assert_eq!(answer.head.get("access-control-allow-credentials"), Some("true"));
    assert_eq!(answer.head.get("access-control-expose-headers"), Some("retry-after"));
    let answer = ask(&proxy, "GET /events", FOREIGN).answer();
    assert_eq!((answer.status(), answer.head.get("vary")), (503, Some("origin")));
    assert!(!answer.head.has("access-control-allow-origin"), "{answer:?}");
    assert!(!answer.head.has("access-control-expose-headers"), "{answer:?}");
}
