//! Threads that stop turning, panic or are stopped with the whole process: who is served, and who ends.

use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use h2::Reason;
use hyper::Request;

use crate::support::{DEADLINE, EventSource, Http2, Origin, Perihelion, Place, Reply, wait_until};

const ABORTED: i32 = 6;

fn origin() -> Origin {
    Origin::replying(|request| match request.target() {
        "/sse" => Reply::hold("news").with("X-Comet-Transport", "sse"),
        _ => Reply::ok("ordinary"),
    })
}

fn trouble(proxy: &Perihelion, what: &str) {
    assert_eq!(proxy.control("POST", &format!("/debug/trouble/{what}"), "").status(), 200);
}

#[test]
fn a_thread_that_stops_turning_takes_the_process_along() {
    for what in ["worker-stops", "shard-stops"] {
        let origin = origin();
        let mut proxy = Perihelion::before_with(&origin, "watchdog: 5s\n");
        assert_eq!(proxy.get("/").text(), "ordinary");
        trouble(&proxy, what);
        assert_eq!(proxy.wait_exit().signal(), Some(ABORTED), "{what}");
        assert!(proxy.stderr().contains("has stopped turning"), "{}", proxy.stderr());
    }
}

#[test]
fn a_thread_that_panics_takes_the_process_along_at_once() {
    for what in ["worker-panics", "shard-panics"] {
        let origin = origin();
        let mut proxy = Perihelion::before_with(&origin, "watchdog: off\n");
        trouble(&proxy, what);
        assert_eq!(proxy.wait_exit().signal(), Some(ABORTED), "{what}");
        assert!(proxy.stderr().contains("has panicked"), "{}", proxy.stderr());
    }
}

#[test]
fn a_panic_in_one_request_ends_its_connection_and_nobody_elses() {
    let origin = origin();
    let proxy = Perihelion::before_with(&origin, "threads: 1\nlog: { access: json }\n");
    let mut events = EventSource::open(proxy.http(), "/sse");
    proxy.wait_subscribers("news", 1);
    let mut kept = proxy.connect();
    assert_eq!(kept.get("/").text(), "ordinary");
    let open = proxy.metric("perihelion_connections_open", &[]);
    for count in 1..=3 {
        trouble(&proxy, "request-panics");
        let mut unlucky = proxy.connect();
        unlucky.send("GET /unlucky HTTP/1.1\r\nHost: example.com\r\n\r\n");
        unlucky.assert_closed();
        proxy.wait_metric("perihelion_panics_total", &[], f64::from(count));
        proxy.wait_metric("perihelion_requests_total", &[("code", "500")], f64::from(count));
    }
    let line = proxy.wait_access_line(|line| line.contains("/unlucky"));
    assert!(line.contains("\"status\":500,") && line.contains("\"end\":\"panic\""), "{line}");
    assert_eq!(proxy.metric("perihelion_requests_total", &[("code", "499")]), 0.0);
    assert_eq!(kept.get("/").text(), "ordinary");
    proxy.publish("news", "after it");
    assert_eq!(events.next().data, "after it");
    assert_eq!(proxy.get("/").text(), "ordinary");
    // Whatever it held is given back.
    wait_until("nothing is left of it", || proxy.metric("perihelion_connections_open", &[]) <= open);
    proxy.wait_metric("perihelion_requests_in_flight", &[], 0.0);
}

/// A connection of HTTP/2 is that of a whole page, or of a balancer with everybody's requests.
#[test]
fn a_panic_in_one_stream_ends_that_stream_and_no_other() {
    let origin = origin();
    let more = "threads: 1\nlisten: [{ address: $HTTP, http2: true }]\ncontrol: $CONTROL\n\
                timeouts: { body: 10m, body_rate: off }\n";
    let proxy = Perihelion::start(&format!("{more}upstream: {}\n", origin.url()));
    let http2 = Http2::connect(proxy.http());
    let mut events = http2.get("/sse");
    assert_eq!(events.head().status(), 200);
    proxy.wait_subscribers("news", 1);
    let mut open = http2.begin(Request::post("http://example.com/"), false);
    proxy.wait_metric("perihelion_requests_in_flight", &[], 1.0);
    for count in 1..=3 {
        trouble(&proxy, "request-panics");
        assert_eq!(http2.get("/").try_head().err(), Some(Some(Reason::INTERNAL_ERROR)));
        proxy.wait_metric("perihelion_panics_total", &[], f64::from(count));
        proxy.wait_metric("perihelion_requests_total", &[("code", "500")], f64::from(count));
        assert_eq!(http2.get("/").answer(), (200, "ordinary".into()));
    }
    open.send_body(b"begun before it");
    assert_eq!(open.answer(), (200, "ordinary".into()));
    proxy.publish("news", "after it");
    assert!(events.until("after it\n\n").contains("data: after it"));
    drop(events);
    drop(open);
    drop(http2);
    wait_until("nothing is left of it", || proxy.metric("perihelion_connections_open", &[]) == 0.0);
    proxy.wait_metric("perihelion_requests_in_flight", &[], 0.0);
    proxy.wait_subscribers("news", 0);
}

/// A debugger, or a machine that was asleep.
#[test]
fn a_process_that_was_stopped_as_a_whole_goes_on() {
    let origin = origin();
    let proxy = Perihelion::before_with(&origin, "watchdog: 5s\n");
    proxy.signal("STOP");
    // Longer than the patience with any thread.
    std::thread::sleep(Duration::from_secs(6));
    proxy.signal("CONT");
    for _ in 0..20 {
        assert_eq!(proxy.get("/").text(), "ordinary");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn systemd_is_told_that_the_process_serves_lives_and_leaves() {
    let origin = origin();
    let place = Place::new();
    let path = place.folder.path().join("notify");
    let systemd = UnixDatagram::bind(&path).unwrap();
    systemd.set_read_timeout(Some(DEADLINE)).unwrap();
    let words = ["env", &format!("NOTIFY_SOCKET={}", path.display()), "WATCHDOG_USEC=400000"];
    let configuration = format!("listen: $HTTP\nupstream: {}\ncontrol: $CONTROL\n", origin.url());
    let mut proxy = Perihelion::start_behind(&words.map(str::to_string), place, &configuration);
    let heard = |wanted: &str| {
        let mut bytes = [0; 100];
        loop {
            let length = systemd.recv(&mut bytes).unwrap();
            if &bytes[..length] == wanted.as_bytes() {
                return;
            }
        }
    };
    heard("READY=1");
    for _ in 0..3 {
        heard("WATCHDOG=1");
    }
    proxy.signal("TERM");
    heard("STOPPING=1");
    assert!(proxy.wait_exit().success());
}
