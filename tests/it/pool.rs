//! Pools: who gets a request, who waits, and what happens when a server or a connection is gone.

use std::io::{Read, Write};

use socket2::Socket;

use crate::support::{
    Answer, AnswersTwice, ClosesOnSecondRequest, Gate, Origin, Perihelion, Place, Raw, Received, Reply, Then,
    wait_until,
};

/// A proxy in front of several servers of one pool.
fn before(servers: &[&Origin], more: &str) -> Perihelion {
    let urls: Vec<String> = servers.iter().map(|server| format!("{:?}", server.url())).collect();
    Perihelion::start(&format!(
        "listen: $HTTP\ncontrol: $CONTROL\npools:\n  app:\n    servers: [{}]\n{more}\n\
         sites: {{ \"*\": {{ routes: [{{ path: /, pool: app }}] }} }}\n",
        urls.join(", ")
    ))
}

fn ask(proxy: &Perihelion) -> Raw {
    let mut raw = proxy.connect();
    raw.send("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n");
    raw
}

#[test]
fn equally_busy_servers_take_turns() {
    let servers = [1, 2, 3].map(|_| Origin::replying(|_| Reply::ok("")));
    let proxy = before(&[&servers[0], &servers[1], &servers[2]], "    keepalive: { idle: 1m }");
    let mut raw = proxy.connect();
    // What is up serves, and a connection is opened where one is missing.
    wait_until("each server has a connection", || {
        raw.get("/");
        servers.iter().all(|server| server.open_connections() == 1)
    });
    proxy.wait_metric("perihelion_upstream_connections", &[("state", "idle")], 3.0);
    let received = || servers.each_ref().map(|server| server.received().len());
    let before = received();
    for _ in 0..9 {
        raw.get("/");
    }
    assert_eq!(received(), before.map(|count| count + 3));
}

#[test]
fn the_least_busy_server_gets_the_request() {
    let busy = Gate::new();
    let free = Origin::replying(|_| Reply::ok("free"));
    let proxy = before(&[&busy.origin, &free], "");
    // Whoever is asked first: after two requests one waits at the busy server.
    let mut first = ask(&proxy);
    if busy.origin.received().is_empty() && free.received().is_empty() {
        wait_until("it arrived", || busy.origin.received().len() + free.received().len() == 1);
    }
    if busy.origin.received().is_empty() {
        assert_eq!(first.answer().text(), "free");
        first = ask(&proxy);
        busy.origin.wait_for_request(0);
    }
    for _ in 0..6 {
        assert_eq!(proxy.get("/").text(), "free");
    }
    busy.let_one_through();
    assert_eq!(first.answer().text(), "let through");
    assert_eq!(busy.origin.received().len(), 1);
}

#[test]
fn a_server_never_gets_more_connections_than_it_may_and_the_rest_wait_in_order() {
    let gate = Gate::new();
    let proxy = before(&[&gate.origin], "    max_connections: 2");
    let mut asked = Vec::new();
    for number in 0..5 {
        asked.push(ask(&proxy));
        let (at_work, waiting) = (number.min(1) + 1, (number as f64 - 1.0).max(0.0));
        gate.origin.wait_for_request(at_work - 1);
        proxy.wait_metric("perihelion_queue_length", &[("pool", "app")], waiting);
    }
    assert_eq!(gate.origin.connections(), 2);
    for _ in 0..5 {
        gate.let_one_through();
    }
    for raw in &mut asked {
        assert_eq!(raw.answer().text(), "let through");
    }
    assert_eq!(gate.origin.connections(), 2);
    proxy.wait_metric("perihelion_queue_wait_seconds_count", &[("pool", "app")], 3.0);
    proxy.wait_metric("perihelion_queue_length", &[("pool", "app")], 0.0);
}

#[track_caller]
fn assert_unavailable(answer: &Answer) {
    assert_eq!(answer.status(), 503, "{}", answer.text());
    let seconds: u32 = answer.head.get("retry-after").and_then(|value| value.parse().ok()).unwrap();
    assert!(seconds >= 1);
    assert!(answer.text().len() > 10, "{}", answer.text());
}

#[test]
fn a_full_queue_is_503_with_retry_after() {
    let gate = Gate::new();
    let proxy = before(&[&gate.origin], "    max_connections: 1\n    queue: { length: 1, timeout: 30s }");
    let mut first = ask(&proxy);
    gate.origin.wait_for_request(0);
    let mut second = ask(&proxy);
    proxy.wait_metric("perihelion_queue_length", &[], 1.0);
    assert_unavailable(&proxy.get("/"));
    proxy.wait_metric("perihelion_queue_rejected_total", &[("reason", "full")], 1.0);
    gate.let_one_through();
    gate.let_one_through();
    assert_eq!(first.answer().status(), 200);
    assert_eq!(second.answer().status(), 200);
}

#[test]
fn whoever_waits_too_long_is_told_503_with_retry_after() {
    let gate = Gate::new();
    // Long enough for a connection to be opened.
    let proxy = before(&[&gate.origin], "    max_connections: 1\n    queue: { length: 10, timeout: 2s }");
    let mut first = ask(&proxy);
    gate.origin.wait_for_request(0);
    assert_unavailable(&proxy.get("/"));
    proxy.wait_metric("perihelion_queue_rejected_total", &[("reason", "timeout")], 1.0);
    gate.let_one_through();
    assert_eq!(first.answer().status(), 200);
}

#[test]
fn whoever_leaves_the_queue_takes_nobodys_place() {
    let gate = Gate::new();
    let proxy = before(&[&gate.origin], "    max_connections: 1");
    let mut first = ask(&proxy);
    gate.origin.wait_for_request(0);
    let left = ask(&proxy);
    proxy.wait_metric("perihelion_queue_length", &[], 1.0);
    drop(left);
    proxy.wait_metric("perihelion_queue_length", &[], 0.0);
    let mut third = ask(&proxy);
    proxy.wait_metric("perihelion_queue_length", &[], 1.0);
    gate.let_one_through();
    gate.let_one_through();
    assert_eq!(first.answer().status(), 200);
    assert_eq!(third.answer().status(), 200);
    assert_eq!(gate.origin.received().len(), 2);
}

#[test]
fn a_server_may_be_a_unix_socket() {
    let place = Place::new();
    let origin =
        Origin::unix(&place.folder.path().join("app.sock"), |request: &Received, socket: &mut Socket| {
            Reply::ok("over a path").send_to(request, socket)
        });
    let configuration = format!("listen: $HTTP\nupstream: \"{}\"\ncontrol: $CONTROL\n", origin.url());
    let proxy = Perihelion::start_at(place, &configuration, None);
    let mut raw = proxy.connect();
    assert_eq!(raw.get("/").text(), "over a path");
    assert_eq!(raw.get("/").text(), "over a path");
    assert_eq!(origin.connections(), 1);
    assert_eq!(origin.last().head.get("host"), Some("example.com"));
}

#[test]
fn while_a_server_is_down_another_answers() {
    let up = Origin::replying(|_| Reply::ok("up"));
    let down = Origin::replying(|_| Reply::ok("down"));
    let proxy = before(&[&up, &down], "");
    drop(down);
    for _ in 0..10 {
        let mut raw = proxy.connect();
        raw.send("POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 4\r\n\r\nbody");
        let answer = raw.answer();
        assert_eq!((answer.status(), answer.text().as_str()), (200, "up"));
    }
    let refused = || proxy.metric("perihelion_upstream_errors_total", &[("reason", "connect")]);
    wait_until("it is counted", || refused() >= 1.0);
}

#[test]
fn trap_3_a_request_on_a_stale_connection_is_sent_again_on_a_fresh_one() {
    let origin = Origin::new(ClosesOnSecondRequest);
    let proxy = Perihelion::before(&origin);
    let mut raw = proxy.connect();
    assert_eq!(raw.get("/first").text(), "connection 0");
    assert_eq!(raw.get("/second").text(), "connection 1");
    let targets: Vec<String> = origin.received().iter().map(|request| request.target().to_string()).collect();
    assert_eq!(targets, ["/first", "/second", "/second"]);
    proxy.wait_metric("perihelion_upstream_retries_total", &[], 1.0);
}

#[test]
fn a_request_is_sent_again_only_once() {
    let origin = Origin::new(|request: &Received, socket: &mut Socket| match request.target() {
        "/good" => Reply::ok("good").send_to(request, socket),
        _ => Then::Close,
    });
    let proxy = Perihelion::before(&origin);
    let mut raw = proxy.connect();
    assert_eq!(raw.get("/good").text(), "good");
    assert_eq!(raw.get("/bad").status(), 502);
    let bad = origin.received().iter().filter(|request| request.target() == "/bad").count();
    assert_eq!(bad, 2);
}

#[test]
fn a_post_is_never_sent_twice() {
    let origin = Origin::new(ClosesOnSecondRequest);
    let proxy = Perihelion::before(&origin);
    let mut raw = proxy.connect();
    assert_eq!(raw.get("/first").text(), "connection 0");
    raw.send("POST /order HTTP/1.1\r\nHost: example.com\r\nContent-Length: 4\r\n\r\nbody");
    assert_eq!(raw.answer().status(), 502);
    let orders = origin.received().iter().filter(|request| request.target() == "/order").count();
    assert_eq!(orders, 1);
    proxy.wait_metric("perihelion_upstream_retries_total", &[], 0.0);
}

#[test]
fn a_connection_that_the_server_has_closed_is_not_used_again() {
    let origin = Origin::new(|request: &Received, socket: &mut Socket| {
        Reply::ok("one each").send_to(request, socket);
        Then::Close
    });
    let proxy = Perihelion::before(&origin);
    let mut raw = proxy.connect();
    for number in 0..3 {
        raw.send("POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 4\r\n\r\nbody");
        assert_eq!(raw.answer().text(), "one each");
        wait_until("the server has closed", || origin.open_connections() == 0);
        assert_eq!(origin.connections(), number + 1);
    }
}

#[test]
fn an_application_that_refuses_early_is_heard_where_uploads_are_streamed() {
    let early = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = early.local_addr().unwrap();
    let answering = std::thread::spawn(move || {
        let (mut socket, _) = early.accept().unwrap();
        // The head is there, most of the body is not.
        assert!(socket.read(&mut [0; 4096]).unwrap() > 0);
        let answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno";
        socket.write_all(answer).unwrap();
        // Kept open, so that no reset destroys the answer on its way.
        socket
    });
    let proxy = Perihelion::start(&format!(
        "listen: $HTTP\ncontrol: $CONTROL\npools: {{ app: {upstream} }}\n\
         sites: {{ \"*\": {{ routes: [{{ path: /, pool: app, buffer: off }}] }} }}\n"
    ));
    let mut raw = proxy.connect();
    raw.send("POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 1000000\r\n\r\nbeginning");
    let head = raw.head();
    assert_eq!(head.status(), 403);
    assert_eq!(raw.body_behind(head).text(), "no");
    drop(answering.join().unwrap());
}

#[test]
fn an_answer_that_nobody_asked_for_is_never_the_answer_to_the_next_request() {
    let origin = Origin::new(AnswersTwice);
    let proxy = Perihelion::before(&origin);
    let mut raw = proxy.connect();
    for target in ["/1", "/2", "/3"] {
        assert_eq!(raw.get(target).text(), target);
    }
}

#[test]
fn idle_connections_are_closed_when_their_time_is_over() {
    let origin = Origin::replying(|_| Reply::ok(""));
    let proxy = before(&[&origin], "    keepalive: { idle: 200ms }");
    proxy.get("/");
    wait_until("it was closed", || origin.open_connections() == 0);
    proxy.wait_metric("perihelion_upstream_connections", &[("state", "idle")], 0.0);
    assert_eq!(proxy.get("/").status(), 200);
    assert_eq!(origin.connections(), 2);
}
