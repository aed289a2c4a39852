//! WebSockets that are held: the handshake, frames byte for byte, and what a client may say.

use crate::support::{EventSource, Head, Origin, Perihelion, Raw, Received, Reply};

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// An application that holds what is asked of it, with more headers.
fn holding(headers: &'static [(&'static str, &'static str)], body: &'static str) -> Origin {
    Origin::replying(move |request: &Received| match request.target().split('?').next() {
        Some("/ws") => {
            let hold = Reply::hold("news").body(body);
            headers.iter().fold(hold, |reply, (name, value)| reply.with(name, value))
        }
        _ => Reply::ok("ordinary"),
    })
}

fn ask(proxy: &Perihelion, target: &str, headers: &str) -> Raw {
    let mut raw = proxy.connect();
    raw.send(format!(
        "GET {target} HTTP/1.1\r\nHost: example.com\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n{headers}\r\n"
    ));
    raw
}

#[track_caller]
fn opened(raw: &mut Raw) -> Head {
    let head = raw.head();
    assert_eq!(head.line, "HTTP/1.1 101 Switching Protocols");
    assert_eq!(head.get("sec-websocket-accept"), Some(ACCEPT));
    assert_eq!(head.get("upgrade"), Some("websocket"));
    assert_eq!(head.get("connection"), Some("upgrade"));
    for absent in ["content-type", "content-length", "transfer-encoding", "sec-websocket-extensions"] {
        assert!(!head.has(absent), "{head:?}");
    }
    head
}

fn open(proxy: &Perihelion) -> Raw {
    let mut raw = ask(proxy, "/ws", &format!("Sec-WebSocket-Version: 13\r\n{KEY}"));
    opened(&mut raw);
    raw
}

/// One frame of the server: its first byte and its payload.
#[track_caller]
fn frame(raw: &mut Raw) -> (u8, Vec<u8>) {
    let head = raw.exactly(2);
    let length = match head[1] {
        126 => raw.exactly(2).iter().fold(0, |length, byte| length << 8 | usize::from(*byte)),
        127 => raw.exactly(8).iter().fold(0, |length, byte| length << 8 | usize::from(*byte)),
        length => usize::from(length),
    };
    (head[0], raw.exactly(length))
}

/// One frame of a client.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let head = [first, 0x80 | payload.len() as u8];
    let payload = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
    head.into_iter().chain(mask).chain(payload).collect()
}

#[test]
fn a_held_websocket_gets_messages_as_objects_and_bytes_as_they_are() {
    let headers =
        &[("Set-Cookie", "a=1"), ("Sec-WebSocket-Protocol", "chat"), ("Sec-WebSocket-Extensions", "x")];
    let origin = holding(headers, "welcome");
    let proxy = Perihelion::before(&origin);
    let mut raw = ask(
        &proxy,
        "/ws",
        &format!(
            "Sec-WebSocket-Version: 13\r\n{KEY}Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Protocol: chat\r\n"
        ),
    );
    let head = opened(&mut raw);
    assert_eq!(head.get("set-cookie"), Some("a=1"));
    assert_eq!(head.get("sec-websocket-protocol"), Some("chat"));
    assert!(!head.has("x-comet-subscribe"), "{head:?}");
    assert_eq!(frame(&mut raw), (0x81, b"welcome".to_vec()));
    let mut events = EventSource::open(proxy.http(), "/ws");
    proxy.wait_subscribers("news", 2);
    let id = proxy.publish_with("news", "X-Comet-Event: chat\r\n", "hello");
    let object = format!("{{\"id\":\"{id}\",\"channel\":\"news\",\"event\":\"chat\",\"data\":\"hello\"}}");
    assert_eq!(frame(&mut raw), (0x81, object.into_bytes()));
    assert_eq!(events.next().data, "hello");
    let long = "x".repeat(70_000);
    proxy.publish("news", &long);
    let (code, payload) = frame(&mut raw);
    assert_eq!((code, payload.len() > 70_000), (0x81, true));
    proxy.wait_metric("perihelion_comet_streams", &[("transport", "websocket")], 1.0);
}

#[test]
fn a_websocket_continues_where_its_client_says() {
    let origin = holding(&[("X-Comet-Retry", "3000")], "");
    let proxy = Perihelion::before(&origin);
    let first = proxy.publish("news", "one");
    let second = proxy.publish("news", "two");
    let target = format!("/ws?lastEventId={first}");
    let mut raw = ask(&proxy, &target, &format!("Sec-WebSocket-Version: 13\r\n{KEY}"));
    opened(&mut raw);
    assert_eq!(frame(&mut raw), (0x81, b"{\"event\":\"comet.retry\",\"retry\":3000}".to_vec()));
    let object = format!("{{\"id\":\"{second}\",\"channel\":\"news\",\"data\":\"two\"}}");
    assert_eq!(frame(&mut raw), (0x81, object.into_bytes()));
    let mut lost = ask(&proxy, "/ws?lastEventId=a-1", &format!("Sec-WebSocket-Version: 13\r\n{KEY}"));
    opened(&mut lost);
    frame(&mut lost);
    let (_, gap) = frame(&mut lost);
    assert!(gap.starts_with(b"{\"event\":\"comet.gap\",\"channel\":\"news\""), "{gap:?}");
}

#[test]
fn pings_are_answered_and_a_close_is_returned() {
    let origin = holding(&[], "");
    let proxy = Perihelion::before(&origin);
    // One ping comes with the request, before there is an answer.
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\n{KEY}\r\n"
    );
    let mut raw = proxy.connect();
    raw.send([request.as_bytes(), &masked(0x89, b"early")].concat());
    opened(&mut raw);
    assert_eq!(frame(&mut raw), (0x8a, b"early".to_vec()));
    for byte in masked(0x89, b"slowly") {
        raw.send([byte]);
    }
    assert_eq!(frame(&mut raw), (0x8a, b"slowly".to_vec()));
    raw.send(masked(0x8a, b"unasked"));
    proxy.publish("news", "between");
    assert_eq!(frame(&mut raw).0, 0x81);
    raw.send(masked(0x88, b"\x0f\xa0bye"));
    assert_eq!(frame(&mut raw), (0x88, b"\x0f\xa0".to_vec()));
    raw.assert_closed();
    let closed = [("transport", "websocket"), ("reason", "client")];
    proxy.wait_metric("perihelion_comet_streams_closed_total", &closed, 1.0);
}

#[test]
fn what_a_client_may_not_say_ends_it_with_a_code_and_nobody_else() {
    let origin = holding(&[], "");
    let proxy = Perihelion::before(&origin);
    let mut other = open(&proxy);
    for (said, code) in [
        (masked(0x81, b"hello"), 1008_u16),
        (masked(0x02, b"\0\0"), 1008),
        (masked(0x80, b"rest"), 1002),
        (vec![0x81, 5, b'h', b'e', b'l', b'l', b'o'], 1002),
        (masked(0xc9, b"compressed"), 1002),
        (vec![0x89, 0xff, 0, 0, 0, 0, 0, 0, 0, 1], 1002),
        (masked(0x88, b"\x03\xe8\xff\xff"), 1007),
    ] {
        let mut raw = open(&proxy);
        raw.send(&said);
        assert_eq!(frame(&mut raw), (0x88, code.to_be_bytes().to_vec()), "{said:?}");
        raw.assert_closed();
    }
    let closed = [("transport", "websocket"), ("reason", "protocol")];
    proxy.wait_metric("perihelion_comet_streams_closed_total", &closed, 7.0);
    proxy.publish("news", "to the other");
    assert_eq!(frame(&mut other).0, 0x81);
}

#[test]
fn a_silent_websocket_is_pinged_and_ends_with_a_code() {
    let origin = holding(&[("X-Comet-Keepalive", "1"), ("X-Comet-Timeout", "3")], "");
    let proxy = Perihelion::before(&origin);
    let mut raw = open(&proxy);
    assert_eq!(frame(&mut raw), (0x89, Vec::new()));
    raw.send(masked(0x8a, b""));
    let last = std::iter::repeat_with(|| frame(&mut raw)).find(|(code, _)| *code != 0x89);
    assert_eq!(last, Some((0x88, vec![0x03, 0xe8])));
    raw.send(masked(0x88, b"\x03\xe8"));
    raw.assert_closed();
    proxy.wait_metric("perihelion_comet_streams_closed_total", &[("reason", "timeout")], 1.0);
}

#[test]
fn a_drain_tells_a_websocket_when_to_come_back() {
    let origin = holding(&[], "");
    let mut proxy = Perihelion::before(&origin);
    let mut raw = open(&proxy);
    proxy.wait_subscribers("news", 1);
    proxy.signal("TERM");
    let (code, payload) = frame(&mut raw);
    assert_eq!((code, &payload[..2]), (0x88, &[0x03, 0xe9][..]));
    assert!(payload[2..].starts_with(b"retry="), "{payload:?}");
    raw.send(masked(0x88, b"\x03\xe9"));
    drop(raw);
    assert!(proxy.wait_exit().success());
}

#[test]
fn a_request_that_is_no_websocket_is_told_so() {
    let origin = holding(&[("X-Comet-Transport", "websocket")], "secret");
    let proxy = Perihelion::before(&origin);
    let answer = proxy.get("/ws");
    assert_eq!(answer.status(), 426);
    assert_eq!(answer.head.get("upgrade"), Some("websocket"));
    assert_eq!(answer.head.get("sec-websocket-version"), Some("13"));
    assert!(!answer.text().contains("secret"));
    for (headers, status) in [
        (format!("Sec-WebSocket-Version: 8\r\n{KEY}"), 426),
        (KEY.to_string(), 426),
        ("Sec-WebSocket-Version: 13\r\n".to_string(), 400),
        ("Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n".to_string(), 400),
    ] {
        assert_eq!(ask(&proxy, "/ws", &headers).answer().status(), status, "{headers}");
    }
    proxy.wait_metric("perihelion_comet_streams_opened_total", &[], 0.0);
}

#[test]
fn pages_of_other_sites_open_no_websocket() {
    let origin = holding(&[], "");
    let proxy = Perihelion::start(&format!(
        "listen: $HTTP\ncontrol: $CONTROL\npools: {{ app: \"{}\" }}\n\
         sites: {{ \"*\": {{ pool: app, cors: https://www.example.com }} }}\n",
        origin.url()
    ));
    let from = |page: &str| {
        let headers = format!("Origin: {page}\r\nSec-WebSocket-Version: 13\r\n{KEY}");
        ask(&proxy, "/ws", &headers).head().status()
    };
    assert_eq!(from("https://evil.example"), 403);
    assert_eq!(from("null"), 403);
    assert_eq!(from("http://example.com"), 101);
    assert_eq!(from("https://www.example.com"), 101);
    proxy.wait_metric("perihelion_request_errors_total", &[("reason", "denied")], 2.0);
}
