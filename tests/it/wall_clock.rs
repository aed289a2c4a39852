//! The clock on the wall is set forward and back under a running process (libfaketime): what is measured goes on, and what
//! was revoked stays so.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::hmac;

use crate::support::{Answer, EventSource, Origin, Perihelion, Place, Reply, wait_until};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// The library that answers for the clock; Debian has it in `libfaketime`.
fn library() -> Option<String> {
    let folders = std::fs::read_dir("/usr/lib").ok()?.flatten();
    let path = |folder: std::fs::DirEntry| folder.path().join("faketime/libfaketimeMT.so.1");
    let found = folders.map(path).find(|path| path.exists());
    if found.is_none() {
        eprintln!("skipped: libfaketime is missing");
    }
    Some(found?.display().to_string())
}

/// A proxy whose clock is as far from ours as its folder says.
fn proxy(library: &str, origin: &Origin, more: &str) -> Perihelion {
    let place = Place::new();
    let file = place.folder.write("offset", "+0s");
    let words = [
        "env".to_owned(),
        format!("LD_PRELOAD={library}"),
        format!("FAKETIME_TIMESTAMP_FILE={}", file.display()),
        "FAKETIME_NO_CACHE=1".to_owned(),
        // That one never jumps.
        "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
    ];
    let text = format!("listen: $HTTP\nupstream: {}\ncontrol: $CONTROL\n{more}", origin.url());
    Perihelion::start_behind(&words, place, &text)
}

/// Sets its clock, and waits until it says so.
fn set(proxy: &Perihelion, offset: i64) {
    // In one step, as it is read all the time.
    let file = proxy.place.folder.write("offset.new", &format!("{offset:+}s"));
    std::fs::rename(file, proxy.place.folder.path().join("offset")).unwrap();
    wait_until("its clock is set", || is_at(&proxy.get("/"), offset));
}

/// Whether an answer has the date of that clock.
fn is_at(answer: &Answer, offset: i64) -> bool {
    let date = httpdate::parse_http_date(answer.head.get("date").unwrap()).unwrap();
    let seconds = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as i64;
    (seconds(date) - seconds(SystemTime::now()) - offset).abs() < 30
}

fn origin() -> Origin {
    Origin::replying(|request| {
        let hold = || Reply::hold("news").with("X-Comet-Transport", "sse").with("X-Comet-Tag", "alice");
        match request.target() {
            "/sse" => hold(),
            "/ticket" => hold().with("X-Comet-Ticket", "3h"),
            _ => Reply::ok(request.body.len().to_string()),
        }
    })
}

/// A token of a publisher that expires so far from our own time.
fn token(key: &[u8], expires: i64) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as i64;
    let part = |text: String| BASE64.encode(text);
    let signed = format!(
        "{}.{}",
        part(r#"{"alg":"HS256","typ":"JWT"}"#.to_owned()),
        part(format!(r#"{{"iss":"app","exp":{}}}"#, now + expires)),
    );
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    format!("{signed}.{}", BASE64.encode(hmac::sign(&key, signed.as_bytes())))
}

fn publishes_by_token(proxy: &Perihelion, expires: i64) -> u16 {
    let field = format!("Authorization: Bearer {}\r\n", token(b"secret", expires));
    let body = r#"{"items":[{"channel":"other","formats":{"http-stream":{"content":"x"}}}]}"#;
    proxy.control_with("POST", "/publish/", &field, body).status()
}

#[test]
fn whatever_is_measured_goes_on_when_the_clock_is_set() {
    let Some(library) = library() else { return };
    let origin = origin();
    let more = "grip: { publish_key: secret }\nlog: { access: json }\n\
                channels: { history: { messages: 100, age: 1h } }\n\
                timeouts: { request_head: 60s, idle: 60s, body_rate: off }\nwatchdog: 10s\nstore: { path: $FOLDER/store }\n";
    let proxy = proxy(&library, &origin, more);
    let mut held = EventSource::open(proxy.http(), "/sse");
    proxy.wait_subscribers("news", 1);
    let mut kept = proxy.connect();
    assert_eq!(kept.get("/").text(), "0");
    let mut half = proxy.connect();
    half.send("POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 5\r\n\r\nhe");
    let mut head = proxy.connect();
    head.send("GET / HTTP/1.1\r\nHost: exam");
    let first = proxy.publish("news", "first");
    assert_eq!(held.next().data, "first");
    let mut published = vec!["first".to_owned()];
    for offset in [3 * DAY, -3 * DAY, HOUR, 0] {
        set(&proxy, offset);
        let text = offset.to_string();
        proxy.publish("news", &text);
        published.push(text);
        assert_eq!(held.next().data, offset.to_string());
        let mut back = EventSource::resume(proxy.http(), "/sse", &first);
        assert_eq!(back.data(published.len() - 1), published[1..]);
        assert_eq!(kept.get("/").text(), "0");
        assert!(is_at(&kept.get("/"), offset));
        let history = proxy.control("GET", "/channels/news/messages", "").json();
        assert_eq!(history["messages"].as_array().unwrap().len(), published.len());
        // A token is good by the clock on the wall, as its publisher meant it.
        assert_eq!(publishes_by_token(&proxy, HOUR + HOUR / 2), if offset > HOUR { 401 } else { 200 });
        assert_eq!(publishes_by_token(&proxy, -4 * DAY), 401);
    }
    half.send("llo");
    assert_eq!(half.answer().text(), "5");
    head.send("ple.com\r\n\r\n");
    assert_eq!(head.answer().status(), 200);
    // Times that were taken are lengths of time.
    for line in proxy.stdout().lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        if let Some(took) = line["dur_ms"].as_f64() {
            assert!((0.0..300_000.0).contains(&took), "{line}");
        }
    }
    let took = proxy.metric("perihelion_request_duration_seconds_sum", &[]);
    assert!((0.0..300.0).contains(&took), "{took}");
    assert_eq!(proxy.metric("perihelion_comet_streams_closed_total", &[("reason", "slow")]), 0.0);
    assert_eq!(proxy.metric("perihelion_panics_total", &[]), 0.0);
}

/// A client's ticket; gives how the application's next hold is asked for with it.
fn ticket(proxy: &Perihelion) -> String {
    let mut raw = proxy.connect();
    raw.send("GET /ticket HTTP/1.1\r\nHost: example.com\r\nAccept: text/event-stream\r\n\r\n");
    let head = raw.head();
    let cookie = head.all("set-cookie").into_iter().find(|cookie| cookie.starts_with("comet-ticket="));
    cookie.expect("a ticket").split(';').next().unwrap().to_owned()
}

/// Comes back with a ticket; whether the application was asked.
fn asks_with(proxy: &Perihelion, origin: &Origin, ticket: &str) -> bool {
    let before = origin.received().len();
    let mut raw = proxy.connect();
    raw.send(format!(
        "GET /ticket HTTP/1.1\r\nHost: example.com\r\nAccept: text/event-stream\r\nCookie: {ticket}\r\n\r\n"
    ));
    assert_eq!(raw.head().status(), 200);
    origin.received().len() > before
}

#[test]
fn what_was_revoked_stays_so_when_the_clock_goes_back_and_on_again() {
    let Some(library) = library() else { return };
    let origin = origin();
    let proxy = proxy(&library, &origin, "store: { path: $FOLDER/store }\n");
    let good = ticket(&proxy);
    assert!(!asks_with(&proxy, &origin, &good));
    set(&proxy, -HOUR);
    assert!(!asks_with(&proxy, &origin, &good), "it has not expired");
    let revoked = proxy.control("POST", "/revoke", r#"{"tag":"alice"}"#);
    assert_eq!(revoked.status(), 200, "{}", revoked.text());
    assert!(asks_with(&proxy, &origin, &good));
    // Whoever logs in again is somebody new.
    let mut again = EventSource::open(proxy.http(), "/sse");
    let new = ticket(&proxy);
    assert!(!asks_with(&proxy, &origin, &new));
    set(&proxy, 0);
    assert!(asks_with(&proxy, &origin, &good));
    assert!(!asks_with(&proxy, &origin, &new));
    // Long over, and then not any more.
    set(&proxy, 3 * DAY);
    assert!(asks_with(&proxy, &origin, &new), "it has expired");
    proxy.control("POST", "/revoke", r#"{"tag":"bob"}"#);
    set(&proxy, 0);
    assert!(asks_with(&proxy, &origin, &good));
    proxy.publish("news", "to whoever is there");
    assert_eq!(again.next().data, "to whoever is there");
}

#[test]
fn a_process_that_starts_before_its_own_messages_keeps_them_and_goes_on() {
    let Some(library) = library() else { return };
    let origin = origin();
    let more = "channels: { history: { messages: 100, age: 1h } }\nstore: { path: $FOLDER/store }\n\
                tickets: { keys: [0123456789abcdef0123456789abcdef] }\n";
    let mut proxy = proxy(&library, &origin, more);
    set(&proxy, 3 * DAY);
    let first = proxy.publish("news", "first");
    proxy.publish("news", "second");
    let good = ticket(&proxy);
    assert_eq!(proxy.control("POST", "/revoke", r#"{"tag":"alice"}"#).status(), 200);
    // By the true clock, which is three days behind.
    proxy.kill_and_start();
    assert_eq!(EventSource::resume(proxy.http(), "/sse", &first).next().data, "second");
    let third = proxy.publish("news", "third");
    let mut back = EventSource::resume(proxy.http(), "/sse", &first);
    assert_eq!(back.data(2), ["second", "third"]);
    assert!(asks_with(&proxy, &origin, &good), "it was revoked, in the future");
    proxy.kill_and_start();
    assert_eq!(EventSource::resume(proxy.http(), "/sse", &first).data(2), ["second", "third"]);
    proxy.publish("news", "fourth");
    assert_eq!(EventSource::resume(proxy.http(), "/sse", &third).next().data, "fourth");
}
