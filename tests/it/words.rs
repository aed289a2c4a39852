//! What clients of held WebSockets say to the application, and what it says back.

use std::time::Duration;

use crate::support::{Origin, Perihelion, Raw, Received, Reply};

const HANDSHAKE: &str = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// An application that takes messages at `/say`, and answers as they ask.
fn talking() -> Origin {
    Origin::replying(|request: &Received| match request.target() {
        "/ws" => {
            Reply::hold("news").with("X-Comet-Messages", "/say?room=5").with("X-Comet-Tag", "session:42")
        }
        "/ws-dead" => Reply::hold("news").with("X-Comet-Messages", "/dead"),
        "/say?room=5" => match &request.body[..] {
            b"echo" => Reply::ok("you said echo"),
            b"bytes" => Reply::ok("\u{1}\u{2}").with("Content-Type", "application/octet-stream"),
            b"bye" => Reply::ok("farewell").with("X-Comet-Close", "4001 enough"),
            b"forbidden" => Reply::status("403 Forbidden", "no"),
            b"broken" => Reply::status("500 Internal Server Error", "no"),
            b"silent" => Reply::bodiless("204 No Content"),
            b"slow" => {
                std::thread::sleep(Duration::from_millis(300));
                Reply::ok("slow")
            }
            _ => Reply::ok(""),
        },
        _ => Reply::ok("ordinary"),
    })
}

fn open(proxy: &Perihelion, headers: &str) -> Raw {
    open_at(proxy, "/ws", headers)
}

fn open_at(proxy: &Perihelion, path: &str, headers: &str) -> Raw {
    let mut raw = proxy.connect();
    raw.send(format!(
        "GET {path} HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{HANDSHAKE}{headers}\r\n"
    ));
    assert_eq!(raw.head().status(), 101);
    raw
}

fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let length = match payload.len() {
        length @ 0..126 => vec![0x80 | length as u8],
        length @ 126..0x1_0000 => [&[0x80 | 126][..], &(length as u16).to_be_bytes()].concat(),
        length => [&[0x80 | 127][..], &(length as u64).to_be_bytes()].concat(),
    };
    let payload = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
    [first].into_iter().chain(length).chain(mask).chain(payload).collect()
}

#[track_caller]
fn frame(raw: &mut Raw) -> (u8, Vec<u8>) {
    let head = raw.exactly(2);
    (head[0], raw.exactly(usize::from(head[1])))
}

#[track_caller]
fn closed_with(raw: &mut Raw, code: u16) {
    let (first, payload) = frame(raw);
    assert_eq!((first, &payload[..2]), (0x88, &code.to_be_bytes()[..]));
}

#[test]
fn a_message_is_a_request_of_its_client_and_the_answer_is_said_back() {
    let origin = talking();
    let proxy = Perihelion::before(&origin);
    let mut raw = open(&proxy, "Cookie: a=1\r\nOrigin: http://example.com\r\nX-Comet-Tag: forged\r\n");
    raw.send(masked(0x81, b"echo"));
    assert_eq!(frame(&mut raw), (0x81, b"you said echo".to_vec()));
    let first = origin.last();
    assert_eq!((first.method(), first.target(), &first.body[..]), ("POST", "/say?room=5", &b"echo"[..]));
    for (name, value) in [
        ("host", "example.com"),
        ("cookie", "a=1"),
        ("origin", "http://example.com"),
        ("content-type", "text/plain; charset=utf-8"),
        ("content-length", "4"),
        ("x-comet-tag", "session:42"),
        ("x-forwarded-for", "127.0.0.1"),
    ] {
        assert_eq!(first.head.get(name), Some(value), "{name}");
    }
    for absent in ["upgrade", "sec-websocket-key", "sec-websocket-version"] {
        assert!(!first.head.has(absent), "{absent}");
    }
    let id = first.head.get("x-comet-connection").expect("an id").to_owned();
    raw.send(masked(0x82, b"bytes"));
    assert_eq!(frame(&mut raw), (0x82, vec![1, 2]));
    let second = origin.last();
    assert_eq!(second.head.get("content-type"), Some("application/octet-stream"));
    assert_eq!(second.head.get("x-comet-connection"), Some(&*id));
    // An empty one is one, too, and what says nothing is answered by nothing.
    raw.send(masked(0x81, b""));
    raw.send(masked(0x81, b"silent"));
    proxy.publish("news", "between");
    assert!(frame(&mut raw).1.ends_with(b"\"data\":\"between\"}"));
    raw.send(masked(0x81, b"bye"));
    assert_eq!(frame(&mut raw), (0x81, b"farewell".to_vec()));
    assert_eq!(frame(&mut raw), (0x88, b"\x0f\xa1enough".to_vec()));
    raw.assert_closed();
    let another = {
        let mut raw = open(&proxy, "");
        raw.send(masked(0x81, b"echo"));
        frame(&mut raw);
        origin.last().head.get("x-comet-connection").map(str::to_owned)
    };
    assert_ne!(another, Some(id));
    proxy.wait_metric("perihelion_comet_words_carried_total", &[("result", "ok")], 5.0);
    proxy.wait_metric("perihelion_comet_words_carried_total", &[("result", "closed")], 1.0);
    proxy.wait_metric("perihelion_comet_streams_closed_total", &[("reason", "listener")], 1.0);
}

#[test]
fn messages_of_a_client_arrive_one_after_another_even_when_it_has_left() {
    let origin = talking();
    let proxy = Perihelion::before(&origin);
    let mut raw = open(&proxy, "");
    let burst: Vec<u8> = (0..100)
        .flat_map(|number| {
            masked(0x81, if number == 3 { "slow".into() } else { number.to_string() }.as_bytes())
        })
        .collect();
    raw.send(&burst);
    assert_eq!(frame(&mut raw), (0x81, b"slow".to_vec()));
    origin.wait_for_request(100);
    raw.send(masked(0x81, b"the last"));
    raw.send(masked(0x88, b""));
    closed_with(&mut raw, 1000);
    origin.wait_for_request(101);
    let said: Vec<String> = origin
        .received()
        .iter()
        .filter(|request| request.method() == "POST")
        .map(|request| String::from_utf8(request.body.clone()).unwrap())
        .collect();
    let expected = (0..100).map(|number| if number == 3 { "slow".into() } else { number.to_string() });
    assert_eq!(said, expected.chain(["the last".to_owned()]).collect::<Vec<_>>());
}

#[test]
fn a_message_that_is_lost_ends_its_connection_and_no_other() {
    let origin = talking();
    let proxy = Perihelion::start(&format!(
        "listen: $HTTP\ncontrol: $CONTROL\npools: {{ app: \"{}\", dead: \"http://127.0.0.1:1\" }}\n\
         sites: {{ \"*\": {{ routes: [{{ path: /, pool: app }}, {{ path: /dead, pool: dead }}] }} }}\n",
        origin.url()
    ));
    let mut other = open(&proxy, "");
    for (said, code) in [("forbidden", 1008), ("broken", 1011)] {
        let mut raw = open(&proxy, "");
        raw.send(masked(0x81, said.as_bytes()));
        raw.send(masked(0x81, b"not carried any more"));
        closed_with(&mut raw, code);
        raw.assert_closed();
    }
    let mut raw = open(&proxy, "");
    raw.send(masked(0x81, &vec![b'x'; 64 << 10]));
    raw.send(masked(0x81, &vec![b'x'; (64 << 10) + 1]));
    closed_with(&mut raw, 1009);
    let mut raw = open(&proxy, "");
    raw.send(masked(0x81, b"not \xff text"));
    closed_with(&mut raw, 1007);
    other.send(masked(0x81, b"echo"));
    assert_eq!(frame(&mut other).1, b"you said echo");
    let mut dead = open_at(&proxy, "/ws-dead", "");
    dead.send(masked(0x81, b"echo"));
    closed_with(&mut dead, 1011);
    proxy.wait_metric("perihelion_comet_words_carried_total", &[("result", "failed")], 1.0);
}

#[test]
fn a_path_that_leads_nowhere_is_the_application_s_mistake() {
    let origin = Origin::replying(|request: &Received| match request.target() {
        "/ws" => Reply::hold("news").with("X-Comet-Messages", "not a path"),
        _ => Reply::ok(""),
    });
    let proxy = Perihelion::before(&origin);
    let mut raw = proxy.connect();
    raw.send(format!(
        "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{HANDSHAKE}\r\n"
    ));
    assert_eq!(raw.head().status(), 502);
}
