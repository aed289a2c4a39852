//! Readers of ordinary answers that take them slowly: who is waited for, and who is cut.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use h2::Reason;
use h2::client::Builder;
use rustls::version::TLS13;

use crate::support::{
    Certificate, EventSource, Http2, Origin, Perihelion, Place, Raw, Reply, hash, noise, wait_until,
};

const LENGTH: usize = 3_000_000;
const SOME: usize = 400_000;
/// More than any socket takes.
const LARGE: usize = 16 << 20;

fn origin() -> Origin {
    Origin::replying(|request| match request.target() {
        "/sse" => Reply::hold("news").with("X-Comet-Transport", "sse"),
        "/some" => Reply::ok(noise(SOME)),
        "/large" => Reply::ok(vec![b'x'; LARGE]),
        _ => Reply::ok(noise(LENGTH)),
    })
}

/// A client whose own side takes as little as the system allows.
fn narrow(proxy: &Perihelion, target: &str) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(8192).unwrap();
    socket.connect(&proxy.http().into()).unwrap();
    let mut socket: TcpStream = socket.into();
    socket.write_all(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).unwrap();
    socket
}

/// Reads a piece every twentieth of a second for so long; whether the connection is still there.
fn sips(socket: &mut TcpStream, piece: usize, time: Duration) -> bool {
    let (began, mut bytes) = (Instant::now(), vec![0; piece]);
    while began.elapsed() < time {
        match socket.read(&mut bytes) {
            Ok(0) | Err(_) => return false,
            Ok(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
    true
}

fn slow_readers(proxy: &Perihelion) -> f64 {
    proxy.metric("perihelion_slow_readers_total", &[])
}

#[test]
fn a_reader_that_sips_is_cut_and_one_that_is_only_slow_gets_everything() {
    let origin = origin();
    let proxy = Perihelion::before_with(&origin, "timeouts: { body: 2s, answer_rate: 50KB }\n");
    let mut events = EventSource::open(proxy.http(), "/sse");
    proxy.wait_subscribers("news", 1);
    let mut sipping = narrow(&proxy, "/large");
    // 20 KB a second.
    assert!(!sips(&mut sipping, 1000, Duration::from_secs(20)));
    wait_until("it is counted", || slow_readers(&proxy) == 1.0);

    // Much faster than it has to be, so that a busy machine makes it no reader that sips.
    let (mut slow, page) = (narrow(&proxy, "/"), noise(LENGTH));
    let (mut piece, mut read) = (vec![0; 40_000], Vec::new());
    while !read.ends_with(&page[LENGTH - 100..]) {
        let some = slow.read(&mut piece).unwrap();
        assert!(some > 0, "cut after {} bytes", read.len());
        read.extend_from_slice(&piece[..some]);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(hash(&read[read.len() - LENGTH..]), hash(&page));
    // What is held takes nothing for much longer than anybody is waited for.
    proxy.publish("news", "still here");
    assert_eq!(events.next().data, "still here");
    assert_eq!(slow_readers(&proxy), 1.0);
    wait_until("nothing is left", || proxy.metric("perihelion_requests_in_flight", &[]) == 0.0);
}

/// The kernel says that there is room only when there is much of it, which takes a slow line longer than a silence may.
#[test]
fn a_line_that_moves_is_not_taken_for_a_silent_one() {
    let origin = origin();
    let proxy = Perihelion::before_with(&origin, "timeouts: { body: 3s, answer_rate: off }\n");
    let mut slow = narrow(&proxy, "/large");
    assert!(sips(&mut slow, 3000, Duration::from_secs(8)), "it was cut");
    // One that takes nothing is.
    let silent = narrow(&proxy, "/large");
    wait_until("the silent one is gone", || proxy.metric("perihelion_requests_in_flight", &[]) <= 1.0);
    drop((slow, silent));
    assert_eq!(slow_readers(&proxy), 0.0);
}

#[test]
fn tls_is_no_way_around_it() {
    let place = Place::new();
    let certificate = Certificate::for_names(&["example.com"]);
    certificate.write(&place.folder, "site");
    let origin = origin();
    let configuration = format!(
        "listen: [{{ address: $TLS, tls: [{{ certificate: $FOLDER/site.pem, key: $FOLDER/site.key }}] }}]\n\
         upstream: {}\ncontrol: $CONTROL\ntimeouts: {{ body: 2s, answer_rate: 50KB }}\n",
        origin.url()
    );
    let proxy = Perihelion::start_at(place, &configuration, None);
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(8192).unwrap();
    socket.connect(&proxy.place.tls().into()).unwrap();
    let mut raw = Raw::tls_over(socket.into(), "example.com", certificate.client(&TLS13));
    raw.send("GET /large HTTP/1.1\r\nHost: example.com\r\n\r\n");
    let began = Instant::now();
    while raw.exactly_unless_closed(1000).is_some() {
        assert!(began.elapsed() < Duration::from_secs(60), "it goes on and on");
        std::thread::sleep(Duration::from_millis(50));
    }
    wait_until("it is counted", || slow_readers(&proxy) == 1.0);
}

#[test]
fn the_answers_of_an_http_2_connection_are_one_matter() {
    let origin = origin();
    let proxy = Perihelion::start(&format!(
        "listen: [{{ address: $HTTP, http2: true }}]\ncontrol: $CONTROL\nupstream: {}\n\
         timeouts: {{ body: 4s, answer_rate: 20KB }}\n",
        origin.url()
    ));
    let mut settings = Builder::new();
    settings.initial_window_size(20_000).initial_connection_window_size(1 << 20);
    let client = Http2::connect_with(proxy.http(), &settings);
    let mut events = client.get("/sse");
    assert_eq!(events.head().status(), 200);
    proxy.wait_subscribers("news", 1);
    // One stream stands still for longer than the average allows, while others are taken.
    let mut waits = client.get("/");
    assert_eq!(waits.head().status(), 200);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(10) {
        let mut other = client.get("/some");
        assert_eq!(other.head().status(), 200);
        assert_eq!(hash(&other.rest().0), hash(&noise(SOME)));
        assert!(waits.piece().expect("no reset").is_some());
    }
    drop(waits);
    proxy.publish("news", "still here");
    events.until("still here\n\n");

    settings.initial_window_size(4000);
    let sipping = Http2::connect_with(proxy.http(), &settings);
    let mut stream = sipping.get("/");
    assert_eq!(stream.head().status(), 200);
    while let Ok(piece) = stream.piece() {
        assert!(piece.is_some(), "it got everything");
        std::thread::sleep(Duration::from_millis(400));
    }
    assert_eq!(sipping.end().unwrap_err().reason(), Some(Reason::ENHANCE_YOUR_CALM));
    wait_until("it is counted", || slow_readers(&proxy) == 1.0);
    proxy.publish("news", "and still");
    events.until("and still\n\n");
}
