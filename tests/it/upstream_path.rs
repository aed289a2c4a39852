//! Applications that know nothing of the path that they are reached by.

use crate::support::{Origin, Perihelion, Raw, Received, Reply};

fn before(origin: &Origin, more: &str) -> Perihelion {
    Perihelion::start(&format!(
        "listen: $HTTP\ncontrol: $CONTROL\npools: {{app: {{servers: [\"{}\"]}}}}\n\
         sites:\n  \"*\":\n    routes:\n      - {{ path: /shop, pool: app, upstream_path: / }}\n      \
         - {{ path: /in/, pool: app, upstream_path: /app, internal: true }}\n      - {{ path: /, pool: app }}\n{more}",
        origin.url()
    ))
}

fn ask(raw: &mut Raw, target: &str, more: &str) -> u16 {
    raw.send(format!("GET {target} HTTP/1.1\r\nHost: example.com\r\n{more}\r\n"));
    raw.answer().status()
}

#[test]
fn an_application_is_asked_for_paths_of_its_own_and_hears_what_stands_before_them() {
    let origin = Origin::replying(|_: &Received| Reply::ok("x"));
    let proxy = before(&origin, "trusted_proxies: [127.0.0.0/8]\n");
    let mut raw = proxy.connect();
    let seen = |raw: &mut Raw, target: &str, more: &str| {
        assert_eq!(ask(raw, target, more), 200, "{target}");
        let request = origin.received().pop().unwrap();
        (request.target().to_owned(), request.head.get("x-forwarded-prefix").unwrap_or("-").to_owned())
    };
    let pair = |target: &str, prefix: &str| (target.to_owned(), prefix.to_owned());
    assert_eq!(seen(&mut raw, "/shop/a%20b?c=%2f", ""), pair("/a%20b?c=%2f", "/shop"));
    assert_eq!(seen(&mut raw, "/shop", ""), pair("/", "/shop"));
    assert_eq!(seen(&mut raw, "/shop/../shop/x/../a", ""), pair("/a", "/shop"));
    assert_eq!(
        seen(&mut raw, "/shopping/../x", ""),
        pair("/shopping/../x", "-"),
        "another route's is as it was"
    );
    assert_eq!(seen(&mut raw, "/shop/a", "X-Forwarded-Prefix: /eu\r\n"), pair("/a", "/eu/shop"));
    assert_eq!(ask(&mut raw, "/shop/..%2fa", ""), 400);
}

#[test]
fn who_is_not_trusted_can_not_say_what_stands_before_paths() {
    let origin = Origin::replying(|_: &Received| Reply::ok("x"));
    let proxy = before(&origin, "");
    for (target, expected) in [("/shop/a", Some("/shop")), ("/a", None)] {
        assert_eq!(ask(&mut proxy.connect(), target, "X-Forwarded-Prefix: //evil.example\r\n"), 200);
        assert_eq!(origin.received().pop().unwrap().head.get("x-forwarded-prefix"), expected, "{target}");
    }
}

#[test]
fn what_an_application_names_are_paths_of_the_site() {
    let origin = Origin::replying(|request: &Received| match request.target() {
        "/a" => Reply::ok("").with("X-Accel-Redirect", "/in/b?c"),
        "/app/b?c" => Reply::ok("from inside"),
        target => Reply::ok(target).with("X-Seen", "1"),
    });
    let proxy = before(&origin, "");
    let mut raw = proxy.connect();
    let answer = raw.get("/shop/a");
    assert_eq!((answer.status(), answer.text().as_str()), (200, "from inside"));
}
