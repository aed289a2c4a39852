//! What is refused, with which status and reason, and that nothing of it reaches the application.

use std::io::Read;

use socket2::Socket;

use crate::support::{
    ContinuesForever, Origin, Perihelion, Received, Reply, StallsAfterHead, Then, wait_until,
};

/// Asserts that a refusal is a short text that names its reason, and the last word on its connection.
#[track_caller]
fn assert_refused(proxy: &Perihelion, request: &[u8], status: u16, reason: &str) {
    let mut raw = proxy.connect();
    // Whoever refuses early may close before everything was sent.
    let _ = raw.try_send(request);
    let shown = String::from_utf8_lossy(&request[..request.len().min(200)]).into_owned();
    let answer = raw.answer();
    let text = answer.text();
    assert_eq!(answer.status(), status, "{shown}: {text}");
    assert!(
        text.to_lowercase().contains(&reason.to_lowercase()),
        "{shown}: {text:?} does not say {reason:?}"
    );
    assert!(text.len() < 500, "{text}");
    let media_type = answer.head.get("content-type").unwrap_or_default();
    assert!(media_type.starts_with("text/plain"), "{media_type}");
    assert_eq!(answer.head.get("connection"), Some("close"), "{shown}");
    raw.assert_closed();
}

#[test]
fn a_request_that_two_readers_could_frame_differently_is_refused_before_the_application_sees_it() {
    let origin = Origin::replying(|_| Reply::ok("never"));
    let proxy = Perihelion::before(&origin);
    let cases: &[(&str, u16, &str)] = &[
        ("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG", 400, "both"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", 400, "both"),
        ("Content-Length: 4\r\nContent-Length: 4\r\n\r\nbody", 400, "more than one Content-Length"),
        ("Content-Length: 4\r\nContent-Length: 5\r\n\r\nbody", 400, "more than one Content-Length"),
        ("Content-Length: 4, 4\r\n\r\nbody", 400, "Content-Length"),
        ("Content-Length: +4\r\n\r\nbody", 400, "Content-Length"),
        ("Content-Length: -4\r\n\r\nbody", 400, "Content-Length"),
        ("Content-Length: 0x4\r\n\r\nbody", 400, "Content-Length"),
        ("Content-Length: 18446744073709551616\r\n\r\nbody", 400, "Content-Length"),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            "Transfer-Encoding",
        ),
        ("Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400, "Transfer-Encoding"),
        ("Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400, "Transfer-Encoding"),
        ("Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, "transfer coding"),
        ("Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400, "header name"),
        ("X: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "folded"),
        ("X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "line feed"),
    ];
    for (fields, status, reason) in cases {
        let request = format!("POST / HTTP/1.1\r\nHost: example.com\r\n{fields}");
        assert_refused(&proxy, request.as_bytes(), *status, reason);
    }
    assert_eq!(origin.connections(), 0);
    proxy.wait_metric("perihelion_request_errors_total", &[], cases.len() as f64);
}

#[test]
fn a_request_without_one_good_host_is_refused() {
    let origin = Origin::replying(|_| Reply::ok("never"));
    let proxy = Perihelion::before(&origin);
    for (request, reason) in [
        ("GET / HTTP/1.1\r\n\r\n", "no Host"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "more than one Host"),
        ("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", "bad Host"),
        ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", "bad Host"),
        ("GET / HTTP/1.1\r\nHost: a/b?x\r\n\r\n", "bad Host"),
        ("GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n", "bad Host"),
        ("GET http://evil/ HTTP/1.1\r\nHost: good\r\n\r\n", "differs"),
    ] {
        assert_refused(&proxy, request.as_bytes(), 400, reason);
    }
    assert_eq!(origin.connections(), 0);
}

#[test]
fn a_malformed_request_line_is_refused() {
    let origin = Origin::replying(|_| Reply::ok("never"));
    let proxy = Perihelion::before(&origin);
    for (line, status, reason) in [
        ("GET  / HTTP/1.1", 400, ""),
        ("GET / http/1.1", 400, "version"),
        ("GET / HTTP/2.0", 505, "version"),
        ("GET /a#b HTTP/1.1", 400, "fragment"),
        ("GET foo HTTP/1.1", 400, "target"),
        ("GET * HTTP/1.1", 400, "OPTIONS"),
        ("CONNECT example.com:443 HTTP/1.1", 405, "CONNECT"),
        ("TRACE / HTTP/1.1", 405, "TRACE"),
        ("\u{16}\u{3}\u{1}", 400, "TLS"),
    ] {
        assert_refused(&proxy, format!("{line}\r\nHost: a\r\n\r\n").as_bytes(), status, reason);
    }
    assert_eq!(origin.connections(), 0);
}

#[test]
fn an_expectation_other_than_100_continue_fails() {
    let origin = Origin::replying(|_| Reply::ok("never"));
    let proxy = Perihelion::before(&origin);
    let request = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 200-maybe\r\nContent-Length: 0\r\n\r\n";
    assert_refused(&proxy, request, 417, "100-continue");
    assert_eq!(origin.connections(), 0);
}

#[test]
fn heads_and_targets_have_limits() {
    let origin = Origin::replying(|_| Reply::ok("fits"));
    let limits = "limits: { request_header: 8KiB, request_headers: 20, request_target: 1KiB }";
    let proxy = Perihelion::before_with(&origin, limits);
    let target = |length: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(length - 1));
    assert_refused(&proxy, target(1025).as_bytes(), 414, "target too long");
    let header = |length: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(length));
    assert_refused(&proxy, header(8192).as_bytes(), 431, "header too large");
    let many = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(count - 1));
    assert_refused(&proxy, many(21).as_bytes(), 431, "too many header fields");
    assert_eq!(origin.connections(), 0);
    for fits in [target(1024), header(8000), many(20)] {
        let mut raw = proxy.connect();
        raw.send(fits);
        assert_eq!(raw.answer().text(), "fits");
    }
}

#[test]
fn a_body_with_a_length_over_the_limit_is_refused_before_its_first_byte() {
    let origin = Origin::replying(|request| Reply::ok(request.body.len().to_string()));
    let proxy = Perihelion::before_with(&origin, "limits: { request_body: 10KiB }");
    let request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10241\r\n\r\n";
    assert_refused(&proxy, request, 413, "body");
    assert_eq!(origin.connections(), 0);
    let mut raw = proxy.connect();
    raw.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10240\r\n\r\n");
    raw.send([b'x'; 10240]);
    assert_eq!(raw.answer().text(), "10240");
}

#[test]
fn a_chunked_body_that_passes_the_limit_never_ends_well_at_the_application() {
    let origin = Origin::replying(|_| Reply::ok("never"));
    let proxy = Perihelion::before_with(&origin, "limits: { request_body: 10KiB }");
    let mut request = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..3 {
        request.extend_from_slice(b"1000\r\n");
        request.extend_from_slice(&[b'x'; 4096]);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    assert_refused(&proxy, &request, 413, "body");
    wait_until("its connection is closed", || origin.open_connections() == 0);
    assert_eq!(origin.received().len(), 0);
}

#[test]
fn a_bad_chunk_is_the_clients_fault() {
    let origin = Origin::replying(|_| Reply::ok("never"));
    let proxy = Perihelion::before(&origin);
    for body in ["G\r\nx\r\n0\r\n\r\n", "2\r\nhiXX0\r\n\r\n", "-1\r\n\r\n", "11111111111111111\r\n"] {
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        assert_refused(&proxy, request.as_bytes(), 400, "body");
    }
    wait_until("no connection is left", || origin.open_connections() == 0);
    assert_eq!(origin.received().len(), 0);
}

#[test]
fn a_head_that_does_not_come_to_its_end_is_answered_408() {
    let origin = Origin::replying(|_| Reply::ok("never"));
    let proxy = Perihelion::before_with(&origin, "timeouts: { request_head: 2s }");
    assert_refused(&proxy, b"GET / HTTP/1.1\r\nHost: exam", 408, "head");
    assert_eq!(origin.connections(), 0);
}

#[test]
fn a_body_that_does_not_come_to_its_end_is_answered_408() {
    let origin = Origin::replying(|_| Reply::ok("never"));
    let proxy = Perihelion::before_with(&origin, "timeouts: { body: 200ms }");
    assert_refused(&proxy, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf", 408, "body");
    wait_until("its connection is closed", || origin.open_connections() == 0);
    assert_eq!(origin.received().len(), 0);
}

#[test]
fn a_connection_that_says_nothing_is_closed() {
    let origin = Origin::replying(|_| Reply::ok("once"));
    let proxy = Perihelion::before_with(&origin, "timeouts: { idle: 2s, request_head: 2s }");
    let mut silent = proxy.connect();
    let mut kept = proxy.connect();
    assert_eq!(kept.get("/").text(), "once");
    kept.until_close();
    silent.until_close();
    proxy.wait_metric("perihelion_connections_open", &[], 0.0);
}

#[test]
fn a_good_request_before_a_bad_one_is_answered_whole() {
    let origin = Origin::replying(|_| Reply::ok("whole"));
    let proxy = Perihelion::before(&origin);
    let mut raw = proxy.connect();
    raw.send("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    assert_eq!(raw.answer().text(), "whole");
    assert_eq!(raw.answer().status(), 400);
    raw.assert_closed();
    assert_eq!(origin.received().len(), 1);
}

/// Asserts what a client gets when the application does not answer as it should.
#[track_caller]
fn assert_gateway_error(proxy: &Perihelion, status: u16) {
    let answer = proxy.get("/");
    assert_eq!(answer.status(), status, "{}", answer.text());
    let media_type = answer.head.get("content-type").unwrap_or_default();
    assert!(media_type.starts_with("text/plain"), "{media_type}");
    let text = answer.text();
    assert!((10..500).contains(&text.len()), "{text:?}");
}

#[test]
fn interim_answers_without_end_are_no_answer() {
    let origin = Origin::new(ContinuesForever);
    let proxy = Perihelion::before(&origin);
    assert_gateway_error(&proxy, 502);
    wait_until("its connection is closed", || origin.open_connections() == 0);
}

#[test]
fn an_application_that_can_not_be_reached_is_502() {
    let proxy = Perihelion::start("listen: $HTTP\nupstream: http://127.0.0.1:9\ncontrol: $CONTROL\n");
    assert_gateway_error(&proxy, 502);
    let refused = || proxy.metric("perihelion_upstream_errors_total", &[("reason", "connect")]);
    wait_until("it is counted", || refused() >= 1.0);
}

#[test]
fn an_application_that_does_not_answer_in_time_is_504() {
    let origin = Origin::new(|_: &Received, socket: &mut Socket| {
        let mut rest = Vec::new();
        let _ = socket.read_to_end(&mut rest);
        Then::Close
    });
    let proxy = Perihelion::before_with(&origin, "timeouts: { response: 200ms }");
    assert_gateway_error(&proxy, 504);
    proxy.wait_metric("perihelion_upstream_errors_total", &[("reason", "response_timeout")], 1.0);
    wait_until("its connection is closed", || origin.open_connections() == 0);
}

#[test]
fn a_body_that_stalls_is_cut() {
    let origin = Origin::new(StallsAfterHead);
    let proxy = Perihelion::before_with(&origin, "timeouts: { body: 200ms }");
    let mut raw = proxy.connect();
    raw.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    raw.until_close();
    wait_until("its connection is closed", || origin.open_connections() == 0);
}

#[test]
fn a_host_or_path_that_nobody_serves_is_404() {
    let origin = Origin::replying(|_| Reply::ok("served"));
    let proxy = Perihelion::start(&format!(
        "listen: $HTTP\ncontrol: $CONTROL\npools: {{ app: {{ servers: [\"{}\"] }} }}\n\
         sites:\n  example.com:\n    routes: [{{ path: /app, pool: app }}]\n",
        origin.url()
    ));
    for (host, path, status) in
        [("example.com", "/app", 200), ("example.com", "/other", 404), ("elsewhere.example", "/app", 404)]
    {
        let mut raw = proxy.connect();
        raw.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        let answer = raw.answer();
        assert_eq!(answer.status(), status, "{host}{path}");
        assert!(!answer.text().is_empty());
    }
    assert_eq!(origin.received().len(), 1);
    proxy.wait_metric("perihelion_requests_total", &[("site", "_other"), ("code", "404")], 1.0);
}

/// Each step would have a time of its own else.
#[test]
fn a_new_connection_has_one_time_for_all_that_comes_before_its_first_request() {
    let origin = Origin::replying(|_| Reply::ok("ordinary"));
    let configuration = format!(
        "listen: [{{ address: $HTTP, proxy_protocol: [127.0.0.0/8] }}]\nupstream: {}\ncontrol: $CONTROL\n\
         timeouts: {{ request_head: 6s }}\n",
        origin.url()
    );
    let proxy = Perihelion::start(&configuration);
    let began = std::time::Instant::now();
    let (mut raw, mut kept) = (proxy.connect(), proxy.connect());
    kept.send("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(kept.answer().status(), 200);
    // The next head has its own.
    let next = std::time::Instant::now();
    kept.send("GET / HTTP/1.1\r\n");
    // Late, and late again: behind this it would have all of the time anew if it counted from here.
    std::thread::sleep(std::time::Duration::from_secs(3));
    raw.send("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\n");
    let sent = std::time::Instant::now();
    assert_eq!(raw.answer().status(), 408);
    let (took, since) = (began.elapsed().as_secs_f64(), sent.elapsed().as_secs_f64());
    assert!(took >= 5.9 && since < 5.9, "{took} s, {since} s");
    assert_eq!(kept.answer().status(), 408);
    assert!(next.elapsed().as_secs_f64() >= 5.9);
}
