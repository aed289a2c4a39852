//! Of the twelve behaviours that Perlbal and its imitators get wrong (docs/perlbal.md), those that belong to no other
//! file here. All of them are found as `trap_1` to `trap_12`.

use std::io::{Read, Write};
use std::net::TcpListener;

use socket2::Socket;

use crate::support::{EventSource, Gate, Origin, Perihelion, Received, Reply, Then, wait_until};

/// One clock for every silence, as Perlbal has it, would end each of these.
#[test]
fn trap_9_a_client_that_waits_is_not_an_idle_one() {
    let gate = Gate::new();
    let held = Origin::replying(|_| Reply::hold("news").with("X-Comet-Transport", "sse"));
    let proxy = Perihelion::start(&format!(
        "listen: $HTTP\ncontrol: $CONTROL\ntimeouts: {{ idle: 2s, request_head: 2s, body: 2s }}\n\
         pools:\n  slow: {{ servers: {}, max_connections: 1 }}\n  held: {}\n\
         sites: {{ \"*\": {{ routes: [{{ path: /, pool: slow }}, {{ path: /events, pool: held }}] }} }}\n",
        gate.origin.url(),
        held.url()
    ));
    let mut stream = EventSource::open(proxy.http(), "/events");
    proxy.wait_subscribers("news", 1);
    let mut works = proxy.connect();
    works.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    gate.origin.wait_for_request(0);
    let mut waits = proxy.connect();
    waits.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    proxy.wait_metric("perihelion_queue_length", &[], 1.0);
    // Those that really idle show that the time is over, and over again.
    for _ in 0..2 {
        proxy.connect().assert_closed();
    }
    gate.let_one_through();
    gate.let_one_through();
    assert_eq!(works.answer().text(), "let through");
    assert_eq!(waits.answer().text(), "let through");
    works.assert_closed();
    proxy.publish("news", "still here");
    assert_eq!(stream.data(1), ["still here"]);
}

#[test]
fn trap_10_the_rest_of_a_body_is_no_request_though_its_own_was_answered_long_ago() {
    for route in ["", ", buffer: off"] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Perihelion::start(&format!(
            "listen: $HTTP\ncontrol: $CONTROL\npools: {{ app: {{ servers: {}, keepalive: off }} }}\n\
             sites: {{ \"*\": {{ routes: [{{ path: /, pool: app{route} }}] }} }}\n",
            listener.local_addr().unwrap()
        ));
        let rest = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3000);
        let application = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            assert!(socket.read(&mut [0; 100]).unwrap() > 0);
            socket.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno").unwrap();
            let mut heard = Vec::new();
            // A reset is an end, too.
            let _ = socket.read_to_end(&mut heard);
            listener.set_nonblocking(true).unwrap();
            listener.accept().is_err()
        });
        let mut raw = proxy.connect();
        raw.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", rest.len()));
        // Whoever has its answer need not read the rest.
        let _ = raw.try_send(&rest);
        assert_eq!(raw.answer().status(), 403);
        let _ = raw.try_send("GET /smuggled HTTP/1.1\r\nHost: a\r\n");
        drop(raw);
        assert!(application.join().unwrap(), "somebody connected again");
        assert_eq!(proxy.metric("perihelion_requests_total", &[("method", "GET")]), 0.0);
    }
}

#[test]
fn trap_10_what_comes_behind_a_body_is_a_request_of_its_own_and_checked_as_one() {
    let origin = Origin::replying(|request| Reply::ok(&request.body));
    let proxy = Perihelion::before(&origin);
    let mut raw = proxy.connect();
    raw.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbodyGET /evil HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    assert_eq!(raw.answer().text(), "body");
    assert_eq!(raw.answer().status(), 400);
    raw.assert_closed();
    assert_eq!(origin.only().body, b"body");
}

#[test]
fn trap_11_fields_keep_their_order_and_number_and_answers_their_reason() {
    let origin = Origin::new(|request: &Received, socket: &mut Socket| {
        let head = "HTTP/1.1 404 Gone Fishing\r\nB: 1\r\nSet-Cookie: a=1, x\r\nA: 1\r\nSet-Cookie: b=2\r\nB: 2\r\n\
                    Content-Length: 0\r\n\r\n";
        socket.write_all(head.as_bytes()).unwrap();
        assert_eq!(request.target(), "/x?y");
        Then::KeepAlive
    });
    let proxy = Perihelion::before(&origin);
    let mut raw = proxy.connect();
    raw.send(
        "GET http://shop.example:8080/x?y HTTP/1.1\r\nHost: shop.example:8080\r\nB: 1\r\nCookie: a=1\r\nA: 1\r\n\
         B: 2\r\nCookie: b=2\r\n\r\n",
    );
    let answer = raw.answer();
    assert_eq!(answer.head.line, "HTTP/1.1 404 Gone Fishing");
    assert_eq!(answer.head.all("set-cookie"), ["a=1, x", "b=2"]);
    assert_eq!(answer.head.all("b"), ["1", "2"]);
    let asked = origin.only().head;
    assert_eq!(asked.get("host"), Some("shop.example:8080"));
    assert_eq!(asked.get("cookie"), Some("a=1; b=2"));
    let mine: Vec<(&str, &str)> =
        asked.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let places =
        ["b", "a"].map(|name| mine.iter().position(|field| field.0.eq_ignore_ascii_case(name)).unwrap());
    assert!(places[0] < places[1], "{mine:?}");
    assert_eq!(asked.all("b"), ["1", "2"]);
    wait_until("the connection is kept", || {
        proxy.metric("perihelion_upstream_connections", &[("state", "idle")]) == 1.0
    });
}
