//! The access log, byte for byte.

use serde_json::Value;

use crate::support::{EventSource, Origin, Perihelion, Reply, wait_until};

/// Replaces the time of a combined line, after checking its form: `24/Nov/2026:03:27:24 +0000`.
fn without_time(line: &str) -> String {
    let (before, rest) = line.split_once('[').unwrap();
    let (time, after) = rest.split_once(']').unwrap();
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let month = time[3..6].to_string();
    assert_eq!(shape.replace(&month, "Mon"), "00/Mon/0000:00:00:00 +0000", "{time}");
    format!("{before}[]{after}")
}

#[test]
fn a_combined_line_is_what_every_log_reader_expects() {
    let origin = Origin::replying(|_| Reply::ok("12345"));
    let proxy = Perihelion::before_with(&origin, "log: { access: combined }");
    let mut raw = proxy.connect();
    let client = raw.local_address().ip();
    raw.send("GET /a?b='c' HTTP/1.1\r\nHost: a\r\nReferer: http://r/\r\nUser-Agent: \"x\\\u{e4}\r\n\r\n");
    raw.answer();
    raw.send("HEAD / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
    raw.head();
    wait_until("two lines", || proxy.stdout().lines().count() == 2);
    let lines: Vec<String> = proxy.stdout().lines().map(without_time).collect();
    assert_eq!(
        lines[0],
        format!(r#"{client} - - [] "GET /a?b='c' HTTP/1.1" 200 5 "http://r/" "\x22x\x5C\xC3\xA4""#)
    );
    assert_eq!(lines[1], format!(r#"{client} - - [] "HEAD / HTTP/1.0" 200 0 "-" "-""#));
}

#[test]
fn a_request_that_is_refused_unread_has_a_line_too() {
    let origin = Origin::replying(|_| Reply::ok(""));
    let proxy = Perihelion::before(&origin);
    let mut raw = proxy.connect();
    let client = raw.local_address().ip();
    raw.send("GET /\u{9b} HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    let answer = raw.answer();
    assert_eq!(answer.status(), 400);
    let line = without_time(&proxy.wait_access_line(|line| line.contains("GET /")));
    let length = answer.body.len();
    assert_eq!(line.trim_end(), format!(r#"{client} - - [] "GET /\xC2\x9B HTTP/1.1" 400 {length} "-" "-""#));
}

fn json_lines(proxy: &Perihelion) -> Vec<Value> {
    proxy.stdout().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_json_line_is_one_object() {
    let origin = Origin::replying(|_| Reply::ok("12345"));
    let proxy = Perihelion::before_with(&origin, "log: { access: json }");
    let mut raw = proxy.connect();
    raw.send("GET /a HTTP/1.1\r\nHost: a\r\nUser-Agent: ua\r\n\r\n");
    raw.answer();
    wait_until("a line", || proxy.stdout().ends_with('\n'));
    let line = json_lines(&proxy).remove(0);
    assert_eq!(
        (&line["method"], &line["target"], &line["status"]),
        (&"GET".into(), &"/a".into(), &200.into())
    );
    assert_eq!((&line["bytes_out"], &line["end"], &line["site"]), (&5.into(), &"ok".into(), &"*".into()));
    assert_eq!((&line["proto"], &line["user_agent"]), (&"HTTP/1.1".into(), &"ua".into()));
    assert_eq!(line["upstream"], origin.url());
    assert!(line["dur_ms"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_hold_writes_a_line_when_it_is_taken_over_and_one_when_it_ends() {
    let origin = Origin::replying(|_| Reply::hold("news,chat").with("X-Comet-Transport", "sse"));
    let proxy = Perihelion::before_with(&origin, "log: { access: json }");
    let mut events = EventSource::open(proxy.http(), "/events");
    wait_until("the first line", || proxy.stdout().lines().count() == 1);
    proxy.wait_subscribers("news", 1);
    proxy.publish("news", "one");
    proxy.publish("chat", "two");
    events.data(2);
    drop(events);
    wait_until("the second line", || proxy.stdout().lines().count() == 2);
    let lines = json_lines(&proxy);
    assert_eq!((&lines[0]["end"], &lines[0]["status"]), (&"taken_over".into(), &200.into()));
    assert_eq!(lines[1]["target"], "/events");
    let comet = &lines[1]["comet"];
    assert_eq!((&comet["transport"], &comet["close_reason"]), (&"sse".into(), &"client".into()));
    assert_eq!((&comet["events"], &comet["channels_n"]), (&2.into(), &2.into()));
    assert!(comet["bytes"].as_u64().unwrap() > 50);
    assert!(comet["held_ms"].as_f64().unwrap() >= 0.0);
}

#[test]
fn off_writes_nothing() {
    let origin = Origin::replying(|_| Reply::ok(""));
    let proxy = Perihelion::before_with(&origin, "log: { access: off }");
    for _ in 0..3 {
        proxy.get("/");
    }
    proxy.signal("TERM");
    let mut proxy = proxy;
    proxy.wait_exit();
    assert_eq!(proxy.stdout(), "");
}

#[test]
fn what_a_client_says_can_not_forge_a_line_or_reach_a_terminal() {
    let origin = Origin::replying(|_| Reply::ok(""));
    let proxy = Perihelion::before(&origin);
    let mut raw = proxy.connect();
    raw.send("GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: \u{9b}31m\" 200 \r\nAuthorization: Bearer t0ps3cret\r\n\r\n");
    raw.answer();
    let line = proxy.wait_access_line(|line| line.contains("GET / "));
    assert!(line.is_ascii(), "{line}");
    assert!(line.contains(r#"\xC2\x9B31m\x22 200"#), "{line}");
    assert!(!proxy.stdout().contains("t0ps3cret") && !proxy.stderr().contains("t0ps3cret"));
}
