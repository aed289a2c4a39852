//! What the application says arrives at the client, and the other way round: methods, bodies, framing, keep-alive.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::Socket;

use crate::support::{
    DEADLINE, LengthTooLong, OneByteAtATime, Origin, Perihelion, Raw, Received, Reply, ResetsInTheBody, Then,
    hash, noise,
};

const MEBIBYTE: usize = 1 << 20;

#[test]
fn every_method_and_target_reaches_the_application_as_it_was_sent() {
    let origin = Origin::replying(|request| Reply::ok(request.method()));
    let proxy = Perihelion::before(&origin);
    let target = "/a//b/../c%2fd%00;x?q=%zz&r=[1]|^`";
    for (number, method) in ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "get"].iter().enumerate()
    {
        let mut raw = proxy.connect();
        raw.send(format!("{method} {target} HTTP/1.1\r\nHost: example.com\r\n\r\n"));
        let answer = raw.answer();
        assert_eq!((answer.status(), answer.text().as_str()), (200, *method));
        assert_eq!(origin.wait_for_request(number).head.line, format!("{method} {target} HTTP/1.1"));
    }
    proxy.wait_metric("perihelion_requests_total", &[("method", "GET"), ("code", "200")], 1.0);
}

#[test]
fn a_request_body_with_a_length_arrives_whole_and_with_its_length() {
    let origin = Origin::replying(|request| Reply::ok(hash(&request.body)));
    let proxy = Perihelion::before(&origin);
    let body = noise(3 * MEBIBYTE + 7);
    let mut raw = proxy.connect();
    raw.send(format!("POST /upload HTTP/1.1\r\nHost: example.com\r\nContent-Length: {}\r\n\r\n", body.len()));
    raw.send(&body);
    assert_eq!(raw.answer().text(), hash(&body));
    let request = origin.only();
    assert_eq!(request.head.length(), Some(body.len()));
    assert!(!request.head.chunked());
    proxy.wait_metric("perihelion_request_bytes_total", &[], body.len() as f64);
}

/// A proxy that streams request bodies from the first byte on.
fn streaming(upstream: &str) -> Perihelion {
    Perihelion::start(&format!(
        "listen: $HTTP\ncontrol: $CONTROL\npools: {{ app: {upstream:?} }}\n\
         sites: {{ \"*\": {{ routes: [{{ path: /, pool: app, buffer: response }}] }} }}\n",
    ))
}

#[test]
fn a_chunked_request_body_that_is_streamed_arrives_whole_in_chunks() {
    let origin = Origin::replying(|request| Reply::ok(hash(&request.body)));
    let proxy = streaming(&origin.url());
    let body = noise(MEBIBYTE + 7);
    let mut raw = proxy.connect();
    raw.send("POST /upload HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n");
    for chunk in body.chunks(60_001) {
        raw.send(format!("{:x};extension=1\r\n", chunk.len()));
        raw.send(chunk);
        raw.send("\r\n");
    }
    raw.send("0\r\n\r\n");
    assert_eq!(raw.answer().text(), hash(&body));
    let request = origin.only();
    assert!(request.head.chunked());
    assert!(!request.head.has("content-length"), "{:?}", request.head);
}

#[test]
fn trailers_of_a_request_stay_outside() {
    let origin = Origin::replying(|request| Reply::ok(&request.body));
    let proxy = Perihelion::before(&origin);
    let mut raw = proxy.connect();
    raw.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n");
    raw.send("X-Comet-Subscribe: news\r\nCookie: forged=1\r\n\r\n");
    assert_eq!(raw.answer().text(), "body");
    assert_eq!(origin.only().trailers, []);
}

#[test]
fn a_body_of_a_get_is_never_lost() {
    let origin = Origin::replying(|request| Reply::ok(&request.body));
    let proxy = Perihelion::before(&origin);
    let mut raw = proxy.connect();
    raw.send("GET /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nfirst");
    assert_eq!(raw.answer().text(), "first");
    raw.send("GET /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nsecond\r\n0\r\n\r\n");
    assert_eq!(raw.answer().text(), "second");
}

#[test]
fn an_answer_arrives_whole_in_each_framing() {
    let body = noise(2 * MEBIBYTE + 13);
    let sent = body.clone();
    let origin = Origin::replying(move |request| match request.target() {
        "/length" => Reply::ok(&sent),
        "/chunked" => Reply::ok(&sent).chunked(),
        _ => Reply::ok(&sent).until_close(),
    });
    let proxy = Perihelion::before(&origin);
    let mut raw = proxy.connect();
    for target in ["/length", "/chunked", "/until-close"] {
        let answer = raw.get(target);
        assert_eq!(hash(&answer.body), hash(&body), "{target}");
        assert_eq!(answer.head.length().is_some(), target == "/length");
        assert_eq!(answer.head.chunked(), target != "/length");
    }
    proxy.wait_metric("perihelion_response_bytes_total", &[], 3.0 * body.len() as f64);
}

#[test]
fn an_answer_that_comes_byte_by_byte_is_put_together() {
    let origin = Origin::new(OneByteAtATime);
    let proxy = Perihelion::before(&origin);
    assert_eq!(proxy.get("/").text(), "drips");
}

#[test]
fn each_piece_of_a_slow_answer_is_passed_on_at_once() {
    let (tell, told) = std::sync::mpsc::sync_channel::<()>(0);
    let told = Mutex::new(told);
    let origin = Origin::new(move |_: &Received, socket: &mut Socket| {
        socket.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n").unwrap();
        told.lock().unwrap().recv_timeout(DEADLINE).unwrap();
        socket.write_all(b"3\r\ntwo\r\n0\r\n\r\n").unwrap();
        Then::KeepAlive
    });
    let proxy = Perihelion::before(&origin);
    let mut raw = proxy.connect();
    raw.send("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n");
    assert_eq!(raw.head().status(), 200);
    assert_eq!(raw.chunk(), Some(b"one".to_vec()));
    tell.send(()).unwrap();
    assert_eq!(raw.chunk(), Some(b"two".to_vec()));
    assert_eq!(raw.chunk(), None);
}

#[test]
fn the_answer_to_a_head_request_has_the_length_and_no_body() {
    let origin = Origin::replying(|_| Reply::ok("seven!!"));
    let proxy = Perihelion::before(&origin);
    let mut raw = proxy.connect();
    raw.send("HEAD / HTTP/1.1\r\nHost: example.com\r\n\r\n");
    let head = raw.head();
    assert_eq!((head.status(), head.length()), (200, Some(7)));
    assert_eq!(raw.get("/").text(), "seven!!");
    assert_eq!(origin.connections(), 1);
}

#[test]
fn answers_without_a_body_leave_the_connection_usable() {
    let origin = Origin::replying(|request| match request.target() {
        "/204" => Reply::bodiless("204 No Content"),
        "/304" => Reply::bodiless("304 Not Modified").with("ETag", "\"x\""),
        _ => Reply::ok("still here"),
    });
    let proxy = Perihelion::before(&origin);
    let mut raw = proxy.connect();
    for status in [204, 304] {
        let answer = raw.get(&format!("/{status}"));
        assert_eq!(answer.status(), status);
        assert!(!answer.head.has("transfer-encoding"), "{:?}", answer.head);
        assert!(!answer.head.has("content-length"), "{:?}", answer.head);
    }
    assert_eq!(raw.get("/").text(), "still here");
    assert_eq!(origin.connections(), 1);
}

#[test]
fn trap_4_an_interim_answer_is_not_taken_for_the_answer() {
    let origin = Origin::new(|request: &Received, socket: &mut Socket| {
        socket.write_all(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n").unwrap();
        Reply::ok("the answer").send_to(request, socket)
    });
    let proxy = Perihelion::before(&origin);
    let mut raw = proxy.connect();
    assert_eq!(raw.get("/").text(), "the answer");
    assert_eq!(raw.get("/").text(), "the answer");
}

#[test]
fn a_client_that_waits_for_100_is_told_once_and_its_body_arrives() {
    let origin = Origin::replying(|request| Reply::ok(&request.body));
    let proxy = Perihelion::before(&origin);
    let mut raw = proxy.connect();
    raw.send("POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(raw.head().status(), 100);
    raw.send("body");
    let head = raw.head();
    assert_eq!(head.status(), 200);
    assert_eq!(raw.body_behind(head).text(), "body");
    assert_eq!(raw.get("/").text(), "");
}

#[test]
fn trailers_reach_a_client_that_asks_for_them_and_nobody_else() {
    let origin = Origin::new(|_: &Received, socket: &mut Socket| {
        let head = b"HTTP/1.1 200 OK\r\nTrailer: X-Checksum\r\nTransfer-Encoding: chunked\r\n\r\n";
        socket.write_all(head).unwrap();
        socket.write_all(b"4\r\nbody\r\n0\r\nX-Checksum: 1234\r\n\r\n").unwrap();
        Then::KeepAlive
    });
    let proxy = Perihelion::before(&origin);
    let mut raw = proxy.connect();
    raw.send("GET / HTTP/1.1\r\nHost: example.com\r\nTE: trailers\r\nConnection: TE\r\n\r\n");
    let answer = raw.answer();
    assert_eq!(answer.text(), "body");
    assert_eq!(answer.head.get("trailer"), Some("X-Checksum"));
    assert_eq!(answer.trailers.len(), 1);
    assert!(answer.trailers[0].0.eq_ignore_ascii_case("x-checksum"));
    assert_eq!(answer.trailers[0].1, "1234");
    let answer = raw.get("/");
    assert_eq!(answer.text(), "body");
    assert_eq!((answer.trailers.len(), answer.head.has("trailer")), (0, false));
}

#[test]
fn connections_are_kept_on_both_sides() {
    let origin = Origin::replying(|_| Reply::ok("again"));
    let proxy = Perihelion::before(&origin);
    let mut raw = proxy.connect();
    for _ in 0..5 {
        assert_eq!(raw.get("/").text(), "again");
    }
    assert_eq!(origin.connections(), 1);
    proxy.wait_metric("perihelion_upstream_connections_opened_total", &[], 1.0);
    proxy.wait_metric("perihelion_upstream_connections_reused_total", &[], 4.0);
    proxy.wait_metric("perihelion_connections_accepted_total", &[], 1.0);
}

#[test]
fn a_client_that_says_close_is_closed_after_its_answer() {
    let origin = Origin::replying(|_| Reply::ok("bye"));
    let proxy = Perihelion::before(&origin);
    let mut raw = proxy.connect();
    raw.send("GET / HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n");
    let answer = raw.answer();
    assert_eq!(answer.text(), "bye");
    assert_eq!(answer.head.get("connection"), Some("close"));
    raw.assert_closed();
    // The application's connection is not the client's.
    assert_eq!(proxy.get("/").text(), "bye");
    assert_eq!(origin.connections(), 1);
}

#[test]
fn an_http_1_0_client_gets_no_chunks() {
    let origin = Origin::replying(|_| Reply::ok("old friend").chunked());
    let proxy = Perihelion::before(&origin);
    let mut raw = proxy.connect();
    raw.send("GET / HTTP/1.0\r\nHost: example.com\r\n\r\n");
    let head = raw.head();
    assert_eq!(head.status(), 200);
    assert!(!head.has("transfer-encoding"), "{head:?}");
    assert_eq!(raw.until_close(), b"old friend");
    proxy.wait_metric("perihelion_requests_total", &[("code", "200")], 1.0);
}

#[test]
fn an_http_1_0_client_may_keep_its_connection() {
    let origin = Origin::replying(|_| Reply::ok("old friend"));
    let proxy = Perihelion::before(&origin);
    let mut raw = proxy.connect();
    for _ in 0..2 {
        raw.send("GET / HTTP/1.0\r\nHost: example.com\r\nConnection: keep-alive\r\n\r\n");
        let answer = raw.answer();
        assert_eq!(answer.text(), "old friend");
        assert!(answer.head.get("connection").is_some_and(|value| value.eq_ignore_ascii_case("keep-alive")));
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::replying(|request| Reply::ok(request.target()));
    let proxy = Perihelion::before(&origin);
    let mut raw = proxy.connect();
    let requests: String =
        (0..50).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: example.com\r\n\r\n")).collect();
    raw.send(requests);
    for n in 0..50 {
        assert_eq!(raw.answer().text(), format!("/{n}"));
    }
}

/// It can't be told from one that has left, whose request shall not keep a worker busy.
#[test]
fn a_client_that_closes_its_side_has_left() {
    let origin = Origin::new(|_: &Received, socket: &mut Socket| {
        let mut rest = Vec::new();
        // Until the proxy gives up.
        let _ = socket.read_to_end(&mut rest);
        Then::Close
    });
    let proxy = Perihelion::before(&origin);
    let mut raw = proxy.connect();
    raw.send("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n");
    origin.wait_for_request(0);
    raw.finish_sending();
    raw.assert_closed();
    crate::support::wait_until("the application is free", || origin.open_connections() == 0);
    proxy.wait_metric("perihelion_requests_total", &[("code", "499")], 1.0);
}

/// A body far beyond what sockets buffer; the proxy may keep little of it.
const HUGE: usize = 192 * MEBIBYTE;
/// What the sockets on both sides take by themselves, and room for the proxy.
const BUFFERED_MAX: usize = 48 * MEBIBYTE;

#[test]
fn a_client_that_reads_slowly_costs_no_memory() {
    let body = Arc::new(noise(HUGE));
    let (sent, written_when_full) = (body.clone(), Arc::new(AtomicUsize::new(0)));
    let full = written_when_full.clone();
    let origin = Origin::new(move |_: &Received, socket: &mut Socket| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {HUGE}\r\n\r\n");
        socket.write_all(head.as_bytes()).unwrap();
        full.store(write_until_full(socket, &sent), Ordering::SeqCst);
        let rest = &sent[full.load(Ordering::SeqCst)..];
        socket.set_write_timeout(Some(DEADLINE)).unwrap();
        socket.write_all(rest).unwrap();
        Then::KeepAlive
    });
    let proxy = Perihelion::before_with(&origin, "buffers: { disk: off }");
    let before = proxy.resident_bytes();
    let mut raw = proxy.connect();
    raw.send("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n");
    let head = raw.head();
    crate::support::wait_until("nobody takes more", || written_when_full.load(Ordering::SeqCst) > 0);
    assert!(written_when_full.load(Ordering::SeqCst) < BUFFERED_MAX, "{written_when_full:?}");
    let grown = proxy.resident_bytes().saturating_sub(before);
    assert!(grown < 16 * MEBIBYTE, "{grown} bytes more");
    assert_eq!(hash(&raw.body_behind(head).body), hash(&body));
}

#[test]
fn an_application_that_reads_slowly_costs_no_memory() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = listener.local_addr().unwrap();
    let proxy = streaming(&format!("http://{upstream}"));
    let before = proxy.resident_bytes();
    let body = noise(HUGE);
    let client = std::net::TcpStream::connect(proxy.http()).unwrap();
    let mut client = Socket::from(client);
    let head = format!("POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: {HUGE}\r\n\r\n");
    client.write_all(head.as_bytes()).unwrap();
    let (mut application, _) = listener.accept().unwrap();
    let written = write_until_full(&mut client, &body);
    assert!(written < BUFFERED_MAX, "{written}");
    let grown = proxy.resident_bytes().saturating_sub(before);
    assert!(grown < 16 * MEBIBYTE, "{grown} bytes more");
    let reader = std::thread::spawn(move || {
        application.set_read_timeout(Some(DEADLINE)).unwrap();
        let received = read_request(&mut application);
        application.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
        received
    });
    client.set_write_timeout(Some(DEADLINE)).unwrap();
    client.write_all(&body[written..]).unwrap();
    assert_eq!(hash(&reader.join().unwrap()), hash(&body));
    assert_eq!(Raw::from_tcp(client.into()).answer().status(), 200);
}

/// Writes until the other side has taken nothing for a second; says how much went.
fn write_until_full(socket: &mut Socket, bytes: &[u8]) -> usize {
    socket.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut written = 0;
    while written < bytes.len() {
        match socket.write(&bytes[written..]) {
            Ok(length) => written += length,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return written;
            }
            Err(error) => panic!("{error}"),
        }
    }
    written
}

/// The body of a request of [`HUGE`] bytes.
fn read_request(socket: &mut std::net::TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut piece = vec![0; MEBIBYTE];
    loop {
        let end = bytes.windows(4).take(8192).position(|window| window == b"\r\n\r\n");
        if let Some(end) = end.filter(|end| bytes.len() >= end + 4 + HUGE) {
            return bytes.split_off(end + 4);
        }
        let length = socket.read(&mut piece).unwrap();
        assert!(length > 0, "closed after {} bytes", bytes.len());
        bytes.extend_from_slice(&piece[..length]);
    }
}

#[test]
fn a_body_that_breaks_off_is_never_taken_for_whole() {
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    let reset = Origin::new(ResetsInTheBody::when(told));
    let proxy = Perihelion::before(&reset);
    let mut raw = proxy.connect();
    raw.send("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n");
    assert_eq!(raw.head().status(), 200);
    assert_eq!(raw.chunk().unwrap(), b"first");
    tell.send(()).unwrap();
    raw.assert_closed();
    proxy.wait_metric("perihelion_upstream_errors_total", &[("reason", "truncated")], 1.0);

    let short = Origin::new(LengthTooLong);
    let proxy = Perihelion::before(&short);
    let mut raw = proxy.connect();
    raw.send("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n");
    let head = raw.head();
    // As long as nothing was passed on there is still an answer.
    if head.status() == 200 {
        assert_eq!(head.length(), Some(100));
        assert!(b"short".starts_with(&raw.until_close()));
    } else {
        assert_eq!(head.status(), 502);
    }
    proxy.wait_metric("perihelion_upstream_errors_total", &[("reason", "truncated")], 1.0);
}

#[test]
fn a_request_body_that_breaks_off_never_ends_well_at_the_application() {
    let origin = Origin::replying(|_| Reply::ok("never"));
    let proxy = streaming(&origin.url());
    let mut raw = proxy.connect();
    raw.send("POST / HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
    crate::support::wait_until("the request is on its way", || origin.connections() == 1);
    raw.finish_sending();
    raw.until_close();
    crate::support::wait_until("its connection is closed", || origin.open_connections() == 0);
    assert_eq!(origin.received().len(), 0);
}
