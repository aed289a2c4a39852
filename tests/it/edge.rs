//! What holds for a site or a route whatever answers it: edits, redirects, pages, who may come in.

use crate::support::{Answer, Certificate, Origin, Perihelion, Place, Raw, Reply};

/// One site with these lines, each at its own indentation, and a pool `app`.
fn site(origin: &Origin, lines: &str) -> Perihelion {
    Perihelion::start(&sites(origin, &format!("  \"*\":\n{lines}")))
}

fn sites(origin: &Origin, sites: &str) -> String {
    format!("listen: $HTTP\ncontrol: $CONTROL\npools: {{ app: \"{}\" }}\nsites:\n{sites}\n", origin.url())
}

fn ask(raw: &mut Raw, target: &str, fields: &str) -> Answer {
    raw.send(format!("GET {target} HTTP/1.1\r\n{fields}\r\n"));
    raw.answer()
}

fn hello() -> Origin {
    Origin::replying(|request| match request.target() {
        "/hold" => Reply::hold("news").with("X-Comet-Transport", "sse"),
        "/sad" => Reply::status("503 Service Unavailable", "the application's own"),
        _ => Reply::ok("hello").with("Server", "app").with("Vary", "Cookie"),
    })
}

const EDITS: &str = "    headers:\n      request: { set: { X-Part: site, Host: inside }, add: { X-Seen: [a, b] }, remove: [X-Debug, traceparent] }\n\
    \x20     response: { set: { X-Frame-Options: DENY }, add: { Vary: Accept }, remove: Server }\n\
    \x20   routes:\n      - { path: /, pool: app }\n      - { path: /gone, redirect: /new }\n      - path: /part\n        pool: app\n        headers:\n\
    \x20         request: { set: { X-Part: route } }\n          response: { remove: X-Frame-Options }\n";

#[test]
fn heads_are_edited_on_both_ways_the_route_after_its_site() {
    let origin = hello();
    let proxy = site(&origin, EDITS);
    let mut raw = proxy.connect();
    let answer =
        ask(&mut raw, "/", "Host: a.example\r\nX-Debug: 1\r\nX-Debug: 2\r\nX-Part: mine\r\nX-Seen: 0\r\n");
    let head = origin.last().head;
    assert_eq!((head.get("x-part"), head.get("host")), (Some("site"), Some("inside")));
    assert_eq!(head.all("x-seen"), ["0", "a", "b"]);
    assert!(!head.has("x-debug") && !head.has("traceparent"), "{head:?}");
    assert_eq!(head.get("x-forwarded-host"), Some("a.example"));
    assert_eq!(answer.head.get("x-frame-options"), Some("DENY"));
    assert_eq!(answer.head.all("vary"), ["Cookie", "Accept"]);
    assert!(!answer.head.has("server"), "{:?}", answer.head);

    let answer = ask(&mut raw, "/part", "Host: a.example\r\n");
    assert_eq!(origin.last().head.get("x-part"), Some("route"));
    assert!(!answer.head.has("x-frame-options"));
    let redirect = ask(&mut raw, "/gone", "Host: a.example\r\n");
    assert_eq!(redirect.head.get("x-frame-options"), Some("DENY"), "the proxy's own answers, too");
}

#[test]
fn the_head_of_a_held_connection_is_edited_like_any_other() {
    let origin = hello();
    let proxy = site(&origin, EDITS);
    let mut raw = proxy.connect();
    raw.send("GET /hold HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let head = raw.head();
    assert_eq!((head.status(), head.get("x-frame-options")), (200, Some("DENY")));
    proxy.wait_subscribers("news", 1);
    proxy.publish("news", "first");
    assert!(String::from_utf8_lossy(&raw.chunk().unwrap()).contains("data: first"));
}

#[test]
fn plain_http_is_sent_to_tls_and_every_host_to_the_one() {
    let origin = hello();
    let lines = "  shop.example:\n    aliases: [www.shop.example, \"*.old.example\"]\n    https: redirect\n\
        \x20   canonical: shop.example\n    pool: app\n  plain.example:\n    aliases: www.plain.example\n\
        \x20   canonical: plain.example\n    pool: app\n";
    let proxy = Perihelion::start(&format!("{}trusted_proxies: 127.0.0.0/8\n", sites(&origin, lines)));
    let mut raw = proxy.connect();
    let table = [
        ("shop.example:8080", "", Some("https://shop.example/a?b=c")),
        ("www.shop.example", "", Some("https://shop.example/a?b=c")),
        ("x.old.example", "", Some("https://shop.example/a?b=c")),
        ("shop.example", "X-Forwarded-Proto: https\r\n", None),
        ("www.shop.example", "X-Forwarded-Proto: https\r\n", Some("https://shop.example/a?b=c")),
        ("www.plain.example:8080", "", Some("http://plain.example:8080/a?b=c")),
        ("plain.example", "", None),
    ];
    for (host, fields, location) in table {
        let answer = ask(&mut raw, "/a?b=c", &format!("Host: {host}\r\n{fields}"));
        let status = if location.is_some() { 308 } else { 200 };
        assert_eq!((answer.status(), answer.head.get("location")), (status, location), "{host} {fields}");
    }
    assert_eq!(origin.received().len(), 2);
    proxy.wait_access_line(|line| line.contains("\" 308 0 \""));
    let redirected = [("site", "shop.example"), ("code", "308")];
    assert_eq!(proxy.metric("perihelion_requests_total", &redirected), 4.0);
}

#[test]
fn the_only_port_with_tls_is_where_plain_http_is_sent_unless_another_is_named() {
    let origin = hello();
    for (https, location) in [
        ("redirect", "https://a.example:8443/x"),
        ("{ port: 443 }", "https://a.example/x"),
        ("{ port: 9443 }", "https://a.example:9443/x"),
    ] {
        let place = Place::new();
        Certificate::for_names(&["a.example"]).write(&place.folder, "site");
        let configuration = format!(
            "listen: [$HTTP, {{ address: $TLS, tls: [{{ certificate: $FOLDER/site.pem, key: $FOLDER/site.key }}] }}]\n\
             control: $CONTROL\npools: {{ app: {:?} }}\nsites: {{ a.example: {{ pool: app, https: {https} }} }}\n",
            origin.url()
        );
        let proxy = Perihelion::start_at(place, &configuration, None);
        let answer = ask(&mut proxy.connect(), "/x", "Host: a.example:8080\r\n");
        assert_eq!((answer.status(), answer.head.get("location")), (308, Some(location)), "{https}");
    }
}

#[test]
fn a_client_can_not_say_that_it_speaks_tls() {
    let origin = hello();
    let proxy = site(&origin, "    https: redirect\n    pool: app\n");
    let answer = ask(&mut proxy.connect(), "/", "Host: a.example\r\nX-Forwarded-Proto: https\r\n");
    assert_eq!((answer.status(), answer.head.get("location")), (308, Some("https://a.example/")));
}

#[test]
fn a_route_leads_elsewhere_and_carries_what_it_is_told_to() {
    let origin = hello();
    let lines = "    routes:\n      - { path: /, pool: app }\n      - { path: /blog, redirect: https://blog.example/start }\n\
        \x20     - { path: /old, redirect: { to: /new, status: 308, carry: rest } }\n\
        \x20     - { path: /moved/, redirect: { to: https://b.example, status: 301, carry: whole } }\n\
        \x20     - { path: /up/, redirect: { to: /, carry: rest } }\n";
    let proxy = site(&origin, lines);
    let mut raw = proxy.connect();
    let table = [
        ("/blog/2020?x", 302, "https://blog.example/start"),
        ("/old/a/b?c=d", 308, "/new/a/b?c=d"),
        ("/old", 308, "/new"),
        ("/moved/a?b", 301, "https://b.example/moved/a?b"),
        ("/up//evil.example", 302, "/evil.example"),
    ];
    for (target, status, location) in table {
        let answer = ask(&mut raw, target, "Host: a.example\r\n");
        assert_eq!((answer.status(), answer.head.get("location")), (status, Some(location)), "{target}");
        assert_eq!(answer.body, b"");
    }
    assert_eq!(ask(&mut raw, "/older", "Host: a.example\r\n").text(), "hello");
}

#[test]
fn a_body_that_a_redirect_leaves_unread_is_no_next_request() {
    let origin = hello();
    let proxy = site(&origin, "    routes: [{ path: /, redirect: /new }]\n");
    let mut raw = proxy.connect();
    raw.send(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    let answer = raw.answer();
    assert_eq!((answer.status(), answer.head.get("connection")), (302, Some("close")));
    raw.assert_closed();
}

#[test]
fn errors_of_the_proxy_have_the_form_that_the_client_reads() {
    let place = Place::new();
    let configuration =
        "listen: $HTTP\ncontrol: $CONTROL\nupstream: http://127.0.0.1:1\nlog: { access: off }\n";
    let proxy = Perihelion::start_at(place, configuration, None);
    let mut raw = proxy.connect();
    let plain = ask(&mut raw, "/", "Host: a\r\nAccept: */*\r\n");
    assert_eq!(plain.text(), "502 Bad Gateway: the server can not be reached\n");
    let page = ask(&mut raw, "/", "Host: a\r\nAccept: text/html,application/xhtml+xml,*/*;q=0.8\r\n");
    assert_eq!((page.status(), page.head.get("content-type")), (502, Some("text/html; charset=utf-8")));
    assert!(page.text().contains("<title>502 Bad Gateway</title>"), "{}", page.text());
    let object = ask(&mut raw, "/", "Host: a\r\nAccept: application/json\r\n");
    assert_eq!((object.status(), object.head.get("content-type")), (502, Some("application/json")));
    assert_eq!(object.json()["message"], "the server can not be reached");
}

#[test]
fn a_page_stands_in_for_the_proxys_text_and_not_for_the_applications() {
    let place = Place::new();
    place.folder.write("site.html", "<p>back soon");
    place.folder.write("api.json", "{\"busy\":true}");
    let origin = hello();
    let lines = "  \"*\":\n    errors: { 502: $FOLDER/site.html, 404: $FOLDER/site.html, 503: $FOLDER/site.html }\n    routes:\n\
        \x20     - { path: /down, pool: down }\n      - { path: /sad, pool: app }\n\
        \x20     - { path: /api, pool: down, errors: { 502: $FOLDER/api.json } }\n";
    let text = sites(&origin, lines).replace("pools: {", "pools: { down: \"http://127.0.0.1:1\",");
    let proxy = Perihelion::start_at(place, &text, None);
    let mut raw = proxy.connect();
    let answer = ask(&mut raw, "/down", "Host: a\r\n");
    assert_eq!((answer.status(), answer.text().as_str()), (502, "<p>back soon"));
    assert_eq!(answer.head.get("content-type"), Some("text/html; charset=utf-8"));
    let answer = ask(&mut raw, "/api", "Host: a\r\n");
    assert_eq!((answer.status(), answer.text().as_str()), (502, "{\"busy\":true}"));
    assert_eq!(ask(&mut raw, "/nowhere", "Host: a\r\n").text(), "<p>back soon");
    assert_eq!(ask(&mut raw, "/sad", "Host: a\r\n").text(), "the application's own");
}

#[test]
fn who_may_come_in_is_said_for_a_site_and_for_a_route() {
    let origin = hello();
    let lines = "    deny: 203.0.113.0/24\n    routes:\n      - { path: /, pool: app }\n\
        \x20     - { path: /admin, pool: app, allow: [10.0.0.0/8, 203.0.113.9], deny: 10.9.0.0/16 }\n";
    let proxy = Perihelion::start(&format!(
        "{}trusted_proxies: 127.0.0.0/8\n",
        sites(&origin, &format!("  \"*\":\n{lines}"))
    ));
    let mut raw = proxy.connect();
    let table = [
        ("/", "192.0.2.7", 200),
        ("/", "203.0.113.9", 403),
        ("/admin", "10.1.2.3", 200),
        ("/admin", "10.9.2.3", 403),
        ("/admin", "192.0.2.7", 403),
        ("/admin", "203.0.113.9", 403),
        // What a client puts in front of the list is not its address.
        ("/admin", "10.1.2.3, 192.0.2.7", 403),
        ("/x/../admin/a", "192.0.2.7", 403),
    ];
    for (target, client, status) in table {
        let answer = ask(&mut raw, target, &format!("Host: a\r\nX-Forwarded-For: {client}\r\n"));
        assert_eq!(answer.status(), status, "{target} from {client}");
    }
    assert_eq!(proxy.metric("perihelion_request_errors_total", &[("reason", "denied")]), 6.0);
}

#[test]
fn a_site_is_closed_and_opened_by_one_request_each_and_stays_so_over_a_reload() {
    let origin = hello();
    let text = sites(&origin, "  shop.example: app\n  \"*\": app") + "trusted_proxies: 127.0.0.0/8\n";
    let proxy = Perihelion::start(&text);
    let mut raw = proxy.connect();
    let mut status = |host: &str, client: &str| {
        let answer = ask(&mut raw, "/", &format!("Host: {host}\r\nX-Forwarded-For: {client}\r\n"));
        (answer.status(), answer.head.get("retry-after").map(str::to_owned))
    };
    assert_eq!(status("shop.example", "192.0.2.7"), (200, None));
    let order = r#"{"retry_after":120,"allow":["10.0.0.0/8","192.0.2.9"]}"#;
    let answer = proxy.control("POST", "/sites/shop.example/maintenance", order);
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let closed = (503, Some("120".to_owned()));
    assert_eq!(status("shop.example", "192.0.2.7"), closed);
    assert_eq!([status("shop.example", "10.1.2.3").0, status("shop.example", "192.0.2.9").0], [200, 200]);
    assert_eq!(status("other.example", "192.0.2.7").0, 200, "the other site is open");
    assert_eq!(proxy.metric("perihelion_site_maintenance", &[("site", "shop.example")]), 1.0);

    assert_eq!(proxy.reload(&format!("{text}log: {{ access: off }}\n")).status(), 200);
    assert_eq!(status("shop.example", "192.0.2.7"), closed);
    let said = proxy.control("GET", "/sites/shop.example", "").json();
    assert_eq!(said["hosts"][0], "shop.example");
    assert_eq!(
        said["maintenance"].to_string(),
        r#"{"allow":["10.0.0.0/8","192.0.2.9/32"],"on":true,"retry_after":120}"#
    );

    assert_eq!(proxy.control("DELETE", "/sites/shop.example/maintenance", "").status(), 200);
    assert_eq!(status("shop.example", "192.0.2.7"), (200, None));
    assert_eq!(proxy.control("POST", "/sites/%2A/maintenance", "").status(), 200);
    assert_eq!(status("other.example", "192.0.2.7"), (503, None));
    assert_eq!(proxy.control("POST", "/sites/*/maintenance", r#"{"on":false}"#).status(), 200);
    assert_eq!(status("other.example", "192.0.2.7"), (200, None));
    assert_eq!(proxy.metric("perihelion_site_maintenance", &[]), 0.0);
    assert_eq!(proxy.metric("perihelion_request_errors_total", &[("reason", "maintenance")]), 3.0);
}

#[test]
fn a_maintenance_that_can_not_be_understood_closes_nothing() {
    let origin = hello();
    let proxy = site(&origin, "    pool: app\n");
    let refused = [
        ("POST", "/sites/nowhere/maintenance", "", 404),
        ("POST", "/sites/*/maintenance", "on", 400),
        ("POST", "/sites/*/maintenance", r#"{"of":true}"#, 400),
        ("POST", "/sites/*/maintenance", r#"{"allow":["10.0.0.0/33"]}"#, 400),
        ("POST", "/sites/*/maintenance", r#"{"retry_after":-1}"#, 400),
        ("PUT", "/sites/*/maintenance", "", 405),
        ("POST", "/sites/*", "", 405),
        ("GET", "/sites/*/other", "", 404),
    ];
    for (method, path, body, status) in refused {
        let answer = proxy.control(method, path, body);
        assert_eq!(answer.status(), status, "{method} {path} {body}");
        assert!(answer.json()["error"].is_string());
    }
    assert_eq!(proxy.get("/").text(), "hello");
    assert_eq!(proxy.control("GET", "/sites", "").json()["sites"][0]["maintenance"]["on"], false);
}
