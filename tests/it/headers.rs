//! Which headers cross the proxy, which are written by it, and which belong to it.

use std::io::Write;

use socket2::Socket;

use crate::support::{Head, Origin, Perihelion, Received, Reply, Then};

#[test]
fn trap_11_what_belongs_to_one_connection_does_not_reach_the_application() {
    let origin = Origin::replying(|_| Reply::ok(""));
    let proxy = Perihelion::before(&origin);
    let mut raw = proxy.connect();
    raw.send(
        "GET / HTTP/1.1\r\nHost: example.com\r\nConnection: keep-alive, X-Mine\r\nX-Mine: 1\r\n\
         Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: Basic eDp5\r\n\
         TE: gzip\r\nTrailer: X\r\nX-Yours: 2\r\n\r\n",
    );
    assert_eq!(raw.answer().status(), 200);
    let head = origin.only().head;
    for name in
        ["x-mine", "keep-alive", "proxy-connection", "proxy-authorization", "te", "trailer", "upgrade"]
    {
        assert!(!head.has(name), "{name}: {head:?}");
    }
    assert_eq!(head.get("x-yours"), Some("2"));
}

#[test]
fn a_client_can_not_have_the_proxys_own_words_removed() {
    let origin = Origin::replying(|_| Reply::ok(""));
    let proxy = Perihelion::before(&origin);
    let mut raw = proxy.connect();
    raw.send(
        "GET / HTTP/1.1\r\nHost: example.com\r\nCookie: a=1\r\nAuthorization: Basic eDp5\r\n\
         Connection: close, X-Forwarded-For, Cookie, Authorization, X-Comet-Proxy\r\n\r\n",
    );
    assert_eq!(raw.answer().status(), 200);
    let head = origin.only().head;
    for name in ["x-forwarded-for", "cookie", "authorization", "x-comet-proxy", "host"] {
        assert!(head.has(name), "{name}: {head:?}");
    }
}

#[test]
fn a_cleartext_upgrade_to_http_2_is_not_passed_on() {
    let origin = Origin::replying(|_| Reply::ok("plain"));
    let proxy = Perihelion::before(&origin);
    let mut raw = proxy.connect();
    raw.send(
        "GET / HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
         HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
    );
    assert_eq!(raw.answer().text(), "plain");
    let head = origin.only().head;
    assert!(!head.has("upgrade") && !head.has("http2-settings"), "{head:?}");
}

#[test]
fn trap_11_what_belongs_to_one_connection_does_not_reach_the_client() {
    let origin = Origin::new(|_: &Received, socket: &mut Socket| {
        let head = "HTTP/1.1 200 OK\r\nConnection: X-Internal, keep-alive\r\nX-Internal: 1\r\n\
                    Keep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\
                    Content-Length: 0\r\n\r\n";
        socket.write_all(head.as_bytes()).unwrap();
        Then::KeepAlive
    });
    let proxy = Perihelion::before(&origin);
    let head = proxy.get("/").head;
    for name in ["x-internal", "keep-alive", "proxy-authenticate"] {
        assert!(!head.has(name), "{name}: {head:?}");
    }
    assert_eq!(head.all("set-cookie"), ["a=1", "b=2"]);
}

#[test]
fn the_application_sees_the_host_that_the_client_asked_for() {
    let origin = Origin::replying(|_| Reply::ok(""));
    let proxy = Perihelion::before(&origin);
    let mut raw = proxy.connect();
    raw.send("GET / HTTP/1.1\r\nHost: Shop.Example.com:8080\r\n\r\n");
    raw.answer();
    assert_eq!(origin.last().head.get("host"), Some("Shop.Example.com:8080"));
    raw.send("GET http://shop.example.com/x?y HTTP/1.1\r\nHost: shop.example.com\r\n\r\n");
    raw.answer();
    let head = origin.last().head;
    assert_eq!(head.line, "GET /x?y HTTP/1.1");
    assert_eq!(head.get("host"), Some("shop.example.com"));
}

/// A request with addresses that somebody claims.
const CLAIMS: &str = "GET / HTTP/1.1\r\nHost: example.com\r\nX-Forwarded-For: 203.0.113.9\r\n\
    X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.example\r\nForwarded: for=203.0.113.9\r\n\r\n";

fn forwarded(head: &Head) -> [Option<&str>; 3] {
    ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"].map(|name| head.get(name))
}

#[test]
fn a_client_can_not_claim_another_address() {
    let origin = Origin::replying(|_| Reply::ok(""));
    let proxy = Perihelion::before(&origin);
    let mut raw = proxy.connect();
    let client = raw.local_address().ip().to_string();
    raw.send(CLAIMS);
    raw.answer();
    let head = origin.only().head;
    assert_eq!(forwarded(&head), [Some(&*client), Some("http"), Some("example.com")]);
    assert!(!head.has("forwarded"), "{head:?}");
}

#[test]
fn a_trusted_proxy_is_believed_and_extended() {
    let origin = Origin::replying(|_| Reply::ok(""));
    let proxy = Perihelion::before_with(&origin, "trusted_proxies: [127.0.0.0/8]");
    let mut raw = proxy.connect();
    let peer = raw.local_address().ip();
    raw.send(CLAIMS);
    raw.answer();
    let head = origin.only().head;
    let addresses = format!("203.0.113.9, {peer}");
    assert_eq!(forwarded(&head), [Some(&*addresses), Some("https"), Some("evil.example")]);
    let line = proxy.wait_access_line(|line| line.contains("GET / HTTP/1.1"));
    assert!(line.starts_with("203.0.113.9 - - ["), "{line}");
}

#[test]
fn an_instruction_that_a_client_sends_means_nothing_and_reaches_nobody() {
    let origin = Origin::replying(|_| Reply::ok("plain"));
    let proxy = Perihelion::before(&origin);
    let mut raw = proxy.connect();
    raw.send(
        "GET / HTTP/1.1\r\nHost: example.com\r\nX-Comet-Subscribe: news\r\nx-comet-proxy: fake/9\r\n\
         X-COMET-POSITION: 1-1\r\nX_Comet_Subscribe: news\r\nX-Comet-Anything: x\r\n\r\n",
    );
    assert_eq!(raw.answer().text(), "plain");
    let head = origin.only().head;
    for name in ["x-comet-subscribe", "x_comet_subscribe", "x-comet-anything"] {
        assert!(!head.has(name), "{name}: {head:?}");
    }
    assert_eq!(head.get("x-comet-proxy"), Some(concat!("perihelion/", env!("CARGO_PKG_VERSION"))));
    assert_ne!(head.get("x-comet-position"), Some("1-1"));
    proxy.wait_metric("perihelion_comet_streams_opened_total", &[], 0.0);
}

#[test]
fn no_instruction_reaches_a_client() {
    let origin = Origin::replying(|request| {
        let reply = match request.target() {
            "/missing" => Reply::status("404 Not Found", "none"),
            "/broken" => Reply::status("500 Internal Server Error", "none"),
            _ => Reply::ok("none"),
        };
        reply.with("X-Comet-Timeout", "5").with("x-comet-transport", "sse").with("X-Comet-Later", "x")
    });
    let proxy = Perihelion::before(&origin);
    let mut raw = proxy.connect();
    for target in ["/", "/missing", "/broken"] {
        let answer = raw.get(target);
        assert_eq!(answer.text(), "none");
        let comet = |(name, _): &&(String, String)| name.to_lowercase().starts_with("x-comet");
        assert_eq!(answer.head.fields.iter().find(comet), None);
    }
}

#[test]
fn the_application_is_told_the_position_at_which_its_hold_would_begin() {
    let origin = Origin::replying(|_| Reply::ok(""));
    let proxy = Perihelion::before(&origin);
    let position = proxy.publish("news", "first");
    proxy.get("/");
    assert_eq!(origin.last().head.get("x-comet-position"), Some(&*position));
    let position = proxy.publish("other", "second");
    proxy.get("/");
    assert_eq!(origin.last().head.get("x-comet-position"), Some(&*position));
}

#[test]
fn an_answer_has_one_date() {
    let origin = Origin::replying(|request| match request.target() {
        "/dated" => Reply::ok("").with("Date", "Tue, 24 Nov 2026 03:00:00 GMT"),
        _ => Reply::ok(""),
    });
    let proxy = Perihelion::before(&origin);
    let mut raw = proxy.connect();
    assert_eq!(raw.get("/dated").head.get("date"), Some("Tue, 24 Nov 2026 03:00:00 GMT"));
    assert!(raw.get("/undated").head.has("date"));
}
