//! What a route says of GRIP for itself.

use std::io::Write;

use socket2::Socket;

use crate::support::{Head, Origin, Perihelion, Raw, Received, Reply, Then};

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// With these lines of routes, each with the pool `app`.
fn start(origin: &Origin, more: &str, routes: &[&str]) -> Perihelion {
    let routes: String = routes.iter().map(|route| format!("      - {{ pool: app, {route} }}\n")).collect();
    Perihelion::start(&format!(
        "listen: $HTTP\ncontrol: $CONTROL\n{more}pools: {{app: {{servers: [\"{}\"]}}}}\nsites:\n  \"*\":\n    routes:\n{routes}",
        origin.url()
    ))
}

fn ask(proxy: &Perihelion, target: &str, fields: &str) -> Raw {
    let mut raw = proxy.connect();
    raw.send(format!("GET {target} HTTP/1.1\r\nHost: example.com\r\n{fields}\r\n"));
    raw
}

fn open(proxy: &Perihelion, target: &str) -> (Raw, Head) {
    let mut raw = ask(proxy, target, UPGRADE);
    let head = raw.head();
    assert_eq!(head.status(), 101, "{head:?}");
    (raw, head)
}

fn publish(proxy: &Perihelion, item: &str) {
    let answer = proxy.control("POST", "/publish/", &format!("{{\"items\":[{item}]}}"));
    assert_eq!((answer.status(), answer.text().as_str()), (200, "Published\n"), "{item}");
}

fn say(proxy: &Perihelion, channel: &str, content: &str) {
    publish(proxy, &format!("{{\"channel\":\"{channel}\",\"ws-message\":{{\"content\":\"{content}\"}}}}"));
}

fn masked(text: &str) -> Vec<u8> {
    [&[0x81, 0x80 | text.len() as u8, 0, 0, 0, 0], text.as_bytes()].concat()
}

#[track_caller]
fn said(raw: &mut Raw) -> String {
    let head = raw.exactly(2);
    assert_eq!(head[0], 0x81, "{head:?}");
    String::from_utf8(raw.exactly(usize::from(head[1]))).unwrap()
}

#[test]
fn clients_held_by_grip_are_on_the_channels_of_their_route_by_the_names_of_publishers() {
    let origin = Origin::replying(|request: &Received| match request.target() {
        "/stream" => Reply::ok("open\n").with("Grip-Hold", "stream").with("Grip-Channel", "own"),
        "/alone" => Reply::ok("open\n").with("Grip-Hold", "stream"),
        "/linked" => Reply::ok("open\n")
            .with("Grip-Hold", "stream")
            .with("Grip-Channel", "own; prev-id=1")
            .with("Grip-Link", "</linked/next>; rel=next"),
        "/linked/next" => Reply::ok("more\n").with("Grip-Hold", "stream"),
        "/poll" => Reply::ok("late\n").with("Grip-Hold", "response").with("Grip-Channel", "news"),
        _ => Reply::ok("plain\n").with("Grip-Channel", "own"),
    });
    let proxy = start(&origin, "", &["path: /, channel_prefix: a-, grip: { channels: [news, all, news] }"]);
    let mut held = [("/stream", 3), ("/alone", 2)].map(|(target, channels)| {
        let mut raw = ask(&proxy, target, "");
        assert_eq!(raw.head().status(), 200);
        raw.piece("open\n");
        (raw, channels)
    });
    proxy.wait_subscribers("all", 2);
    proxy.wait_subscribers("a-own", 1);
    publish(&proxy, r#"{"channel":"all","http-stream":{"content":"to all\n"}}"#);
    publish(&proxy, r#"{"channel":"a-all","http-stream":{"content":"to nobody\n"}}"#);
    publish(&proxy, r#"{"channel":"news","http-stream":{"content":"news\n"}}"#);
    publish(&proxy, r#"{"channel":"a-own","http-stream":{"content":"own\n"}}"#);
    for (raw, channels) in &mut held {
        raw.piece("to all\n");
        raw.piece("news\n");
        if *channels == 3 {
            raw.piece("own\n");
        }
    }
    // What a link leads to doesn't take them away.
    let mut linked = ask(&proxy, "/linked", "");
    assert_eq!(linked.head().status(), 200);
    linked.piece("open\n");
    publish(&proxy, r#"{"channel":"a-own","id":"9","prev-id":"8","http-stream":{"content":"9\n"}}"#);
    linked.piece("more\n");
    proxy.wait_subscribers("a-own", 1);
    publish(&proxy, r#"{"channel":"all","http-stream":{"content":"to all\n"}}"#);
    linked.piece("to all\n");
    // A poll has it besides its own of the same name, behind the prefix.
    let mut poll = ask(&proxy, "/poll", "");
    proxy.wait_subscribers("a-news", 1);
    publish(&proxy, r#"{"channel":"news","http-response":{"body":"yes\n"}}"#);
    assert_eq!(poll.answer().text(), "yes\n");
    assert_eq!(proxy.get("/plain").text(), "plain\n");
}

fn events(body: &str, fields: &[(&str, &str)]) -> Reply {
    let reply = Reply::ok(body).with("Content-Type", "application/websocket-events");
    fields.iter().fold(reply, |reply, (name, value)| reply.with(name, value))
}

#[test]
fn websockets_are_on_the_channels_of_their_route_whatever_their_application_says() {
    const LEAVE: &str = "c:{\"type\":\"unsubscribe\",\"channel\":\"all\"}";
    let origin = Origin::new(|request: &Received, socket: &mut Socket| {
        let leaves = format!("TEXT {:x}\r\n{LEAVE}\r\nTEXT 6\r\nm:left\r\n", LEAVE.len());
        match (request.target(), &request.body[..]) {
            ("/native", _) => {
                let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                            Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
                socket.write_all(&[head.as_bytes(), b"\x81\x04m:hi"].concat()).unwrap();
                // Until its client has gone.
                let _ = std::io::copy(&mut &*socket, &mut std::io::sink());
                Then::Close
            }
            ("/grip", b"OPEN\r\n") => {
                let fields = [("Sec-WebSocket-Extensions", "grip")];
                events(&format!("OPEN\r\n{leaves}"), &fields).send_to(request, socket)
            }
            ("/plain", b"OPEN\r\n") => events("OPEN\r\n", &[]).send_to(request, socket),
            (_, said) if said.starts_with(b"TEXT") => events(&leaves, &[]).send_to(request, socket),
            _ => events("", &[]).send_to(request, socket),
        }
    });
    let grip = "grip: { channels: all }";
    let proxy = start(
        &origin,
        "",
        &[
            &format!("path: /, websockets: over_http, {grip}"),
            &format!("path: /native, websockets: grip, {grip}"),
        ],
    );
    let (mut first, _) = open(&proxy, "/grip");
    assert_eq!(said(&mut first), "left");
    first.send(masked("leave"));
    assert_eq!(said(&mut first), "left");
    let (mut plain, _) = open(&proxy, "/plain");
    // An application that doesn't speak GRIP has nothing before its messages, and its client is reached all the same.
    let (mut native, head) = open(&proxy, "/native");
    assert!(!head.has("sec-websocket-extensions"), "{head:?}");
    assert_eq!(said(&mut native), "m:hi");
    proxy.wait_subscribers("all", 3);
    say(&proxy, "all", "hello");
    for raw in [&mut first, &mut plain, &mut native] {
        assert_eq!(said(raw), "hello");
    }
}
