//! Leaving: what is under way ends well, what is held ends cleanly, and the process says 0.

use std::io::Write;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use rustls::version::{TLS12, TLS13};
use socket2::Socket;

use crate::support::{
    Certificate, DEADLINE, EventSource, Origin, Perihelion, Place, Raw, Received, Reply, Then, wait_until,
};

/// Answers `/slow` when the test says so.
fn slow() -> (Origin, SyncSender<()>) {
    let (tell, told) = sync_channel(10);
    let told = Arc::new(Mutex::new(told));
    let origin = Origin::replying(move |request| match request.target() {
        "/slow" => {
            told.lock().unwrap().recv_timeout(DEADLINE).unwrap();
            Reply::ok("finished")
        }
        "/sse" => Reply::hold("news").with("X-Comet-Transport", "sse"),
        "/stream" => Reply::hold("news").with("X-Comet-Transport", "stream"),
        "/poll" => Reply::hold("news").body("nothing happened"),
        _ => Reply::ok("ordinary"),
    });
    (origin, tell)
}

const QUICK: &str = "drain: { spread: 300ms, timeout: 15s }";

#[test]
fn a_request_under_way_finishes_while_nothing_new_is_accepted() {
    let (origin, tell) = slow();
    let mut proxy = Perihelion::before_with(&origin, QUICK);
    let mut idle = proxy.connect();
    assert_eq!(idle.get("/").text(), "ordinary");
    let mut raw = proxy.connect();
    raw.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    origin.wait_for_request(1);
    proxy.signal("TERM");
    wait_until("the listener is closed", || std::net::TcpStream::connect(proxy.http()).is_err());
    let ready = proxy.control("GET", "/readyz", "");
    assert_eq!(ready.status(), 503);
    assert!(ready.json()["error"].is_string());
    assert_eq!(proxy.control("GET", "/healthz", "").status(), 200);
    proxy.wait_metric("perihelion_state", &[("state", "draining")], 1.0);
    tell.send(()).unwrap();
    let answer = raw.answer();
    assert_eq!((answer.text().as_str(), answer.head.get("connection")), ("finished", Some("close")));
    raw.assert_closed();
    idle.assert_closed();
    assert_eq!(proxy.wait_exit().code(), Some(0));
}

#[test]
fn readiness_ends_before_the_listener_closes() {
    let (origin, _tell) = slow();
    let mut patient = Perihelion::before_with(&origin, "drain: { lameduck: 5m }");
    patient.signal("TERM");
    wait_until("/readyz says 503", || patient.control("GET", "/readyz", "").status() == 503);
    assert_eq!(patient.get("/").text(), "ordinary");
    patient.signal("TERM");
    patient.wait_exit();
    let mut hasty = Perihelion::before_with(&origin, "drain: { lameduck: 300ms, spread: 100ms }");
    hasty.signal("TERM");
    assert_eq!(hasty.wait_exit().code(), Some(0));
}

#[test]
fn held_streams_end_with_their_last_chunk_and_polls_with_the_applications_response() {
    let (origin, _tell) = slow();
    let mut proxy = Perihelion::before_with(&origin, QUICK);
    let mut events: Vec<EventSource> = (0..10).map(|_| EventSource::open(proxy.http(), "/sse")).collect();
    let mut stream = proxy.connect();
    stream.send("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
    stream.head();
    let mut poll = proxy.connect();
    poll.send("GET /poll HTTP/1.1\r\nHost: a\r\n\r\n");
    proxy.wait_subscribers("news", 12);
    proxy.publish("news", "last words");
    let answer = poll.answer();
    assert_eq!(answer.json()["messages"][0]["data"], "last words");
    poll.send("GET /poll HTTP/1.1\r\nHost: a\r\n\r\n");
    proxy.wait_subscribers("news", 12);
    proxy.signal("TERM");
    for client in &mut events {
        assert_eq!(client.next().data, "last words");
        assert_eq!(client.next_or_end(), None);
        let retry = client.retry.unwrap();
        assert!((1..60_000).contains(&retry), "{retry}");
    }
    assert_eq!(stream.chunk().unwrap(), b"last words");
    assert_eq!(stream.chunk(), None);
    let last = poll.answer();
    assert_eq!((last.text().as_str(), last.head.get("connection")), ("nothing happened", Some("close")));
    assert_eq!(answer.head.get("connection"), None);
    assert_eq!(proxy.wait_exit().code(), Some(0));
}

#[test]
fn polls_that_are_answered_while_the_process_leaves_say_that_their_connections_close() {
    let (origin, _tell) = slow();
    let mut proxy = Perihelion::before_with(&origin, "drain: { spread: 15s, timeout: 15s }");
    let poll = |version| {
        let mut raw = proxy.connect();
        raw.send(format!("GET /poll HTTP/1.{version}\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"));
        raw
    };
    let mut polls: Vec<Raw> = (0..10).map(|number| poll(number % 2)).collect();
    proxy.wait_subscribers("news", 10);
    proxy.signal("TERM");
    wait_until("the listener is closed", || std::net::TcpStream::connect(proxy.http()).is_err());
    proxy.publish("news", "last words");
    let mut answers = Vec::new();
    for raw in &mut polls {
        let answer = raw.answer();
        assert_eq!(answer.head.get("connection"), Some("close"), "{answer:?}");
        raw.assert_closed();
        answers.push(answer.text());
    }
    assert!(answers.iter().any(|answer| answer.contains("last words")), "{answers:?}");
    assert_eq!(proxy.wait_exit().code(), Some(0));
}

#[test]
fn streams_under_tls_end_as_cleanly() {
    let place = Place::new();
    let certificate = Certificate::for_names(&["example.com"]);
    certificate.write(&place.folder, "site");
    let (origin, _tell) = slow();
    let configuration = format!(
        "listen: [{{ address: $TLS, tls: [{{ certificate: $FOLDER/site.pem, key: $FOLDER/site.key }}] }}]\n\
         upstream: {}\ncontrol: $CONTROL\n{QUICK}\n",
        origin.url()
    );
    let mut proxy = Perihelion::start_at(place, &configuration, None);
    let mut clients = [&TLS12, &TLS13].map(|version| {
        let raw = Raw::tls(proxy.place.tls(), "example.com", certificate.client(version));
        EventSource::over(raw, "/sse", None)
    });
    proxy.wait_subscribers("news", 2);
    proxy.signal("TERM");
    for client in &mut clients {
        assert_eq!(client.next_or_end(), None);
        assert!(client.retry.is_some());
    }
    assert_eq!(proxy.wait_exit().code(), Some(0));
}

#[test]
fn quit_drains_as_term_does() {
    let (origin, _tell) = slow();
    let mut proxy = Perihelion::before_with(&origin, QUICK);
    let mut client = EventSource::open(proxy.http(), "/sse");
    proxy.wait_subscribers("news", 1);
    proxy.signal("QUIT");
    assert_eq!(client.next_or_end(), None);
    assert!(client.retry.is_some());
    drop(client);
    assert_eq!(proxy.wait_exit().code(), Some(0));
}

#[test]
fn signals_that_other_servers_know_end_nothing() {
    let (origin, _tell) = slow();
    let proxy = Perihelion::before(&origin);
    let mut client = EventSource::open(proxy.http(), "/sse");
    proxy.wait_subscribers("news", 1);
    for name in ["USR1", "USR2"] {
        proxy.signal(name);
        wait_until("it is said", || proxy.stderr().contains(&format!("{name} does nothing")));
    }
    proxy.publish("news", "still here");
    assert_eq!(client.next().data, "still here");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let (origin, _tell) = slow();
    let mut proxy = Perihelion::before_with(&origin, "drain: { spread: 60s, timeout: 120s }");
    let mut raw = proxy.connect();
    raw.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    origin.wait_for_request(0);
    proxy.signal("INT");
    wait_until("it drains", || proxy.control("GET", "/readyz", "").status() == 503);
    proxy.signal("TERM");
    proxy.wait_exit();
    raw.assert_closed();
}

#[test]
fn what_does_not_end_in_time_is_cut() {
    let origin = Origin::new(|_: &Received, socket: &mut Socket| {
        socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nand then").unwrap();
        let mut rest = Vec::new();
        let _ = std::io::Read::read_to_end(socket, &mut rest);
        Then::Close
    });
    let mut proxy = Perihelion::before_with(&origin, "drain: { timeout: 500ms, spread: 100ms }");
    let mut raw = proxy.connect();
    raw.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    raw.head();
    proxy.signal("TERM");
    assert_eq!(raw.until_close(), b"and then");
    proxy.wait_exit();
}
