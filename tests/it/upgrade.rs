//! Upgraded connections become tunnels, and only those that were asked for.

use std::io::{Read, Write};

use socket2::Socket;

use crate::support::{Origin, Perihelion, Received, Reply, SwitchesUnasked, Then, noise, wait_until};

const ASK: &str = "GET /chat HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Switches to the protocol and says everything back, in capitals.
fn shouting() -> Origin {
    Origin::new(|request: &Received, socket: &mut Socket| {
        assert_eq!(request.head.get("upgrade"), Some("websocket"));
        assert!(request.head.get("connection").is_some_and(|value| value.eq_ignore_ascii_case("upgrade")));
        let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nwelcome";
        socket.write_all(head.as_bytes()).unwrap();
        let mut bytes = [0; 65536];
        while let Ok(length @ 1..) = socket.read(&mut bytes) {
            bytes[..length].make_ascii_uppercase();
            if socket.write_all(&bytes[..length]).is_err() {
                break;
            }
        }
        Then::Close
    })
}

#[test]
fn an_upgraded_connection_is_a_tunnel_in_both_directions() {
    let origin = shouting();
    let proxy = Perihelion::before(&origin);
    let mut raw = proxy.connect();
    raw.send(ASK);
    let head = raw.head();
    assert_eq!(head.status(), 101);
    assert_eq!(head.get("upgrade"), Some("websocket"));
    assert_eq!(head.get("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(raw.exactly(7), b"welcome");
    let words = noise(300_000);
    for piece in words.chunks(50_000) {
        raw.send(piece);
        assert!(raw.exactly(piece.len()) == piece.to_ascii_uppercase());
    }
    drop(raw);
    wait_until("the application's side is closed", || origin.open_connections() == 0);
    proxy.wait_metric("perihelion_requests_total", &[("code", "101")], 1.0);
}

#[test]
fn words_behind_the_request_reach_the_tunnel() {
    let origin = shouting();
    let proxy = Perihelion::before(&origin);
    let mut raw = proxy.connect();
    raw.send(format!("{ASK}early"));
    assert_eq!(raw.head().status(), 101);
    assert_eq!(raw.exactly(12), b"welcomeEARLY");
}

#[test]
fn a_tunnel_ends_for_the_client_when_the_application_ends_it() {
    let origin = Origin::new(|_: &Received, socket: &mut Socket| {
        let head =
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nbye";
        socket.write_all(head).unwrap();
        Then::Close
    });
    let proxy = Perihelion::before(&origin);
    let mut raw = proxy.connect();
    raw.send(ASK);
    assert_eq!(raw.head().status(), 101);
    assert_eq!(raw.until_close(), b"bye");
}

#[test]
fn a_switch_that_nobody_asked_for_is_502() {
    let origin = Origin::new(SwitchesUnasked);
    let proxy = Perihelion::before(&origin);
    let answer = proxy.get("/");
    assert_eq!(answer.status(), 502);
    assert!(!answer.text().contains("EVIL"));
    wait_until("its connection is closed", || origin.open_connections() == 0);
}

#[test]
fn a_switch_to_another_protocol_than_was_asked_for_is_502() {
    let origin = Origin::new(|_: &Received, socket: &mut Socket| {
        socket
            .write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n")
            .unwrap();
        Then::Close
    });
    let proxy = Perihelion::before(&origin);
    let mut raw = proxy.connect();
    raw.send(ASK);
    assert_eq!(raw.answer().status(), 502);
}

#[test]
fn an_upgrade_that_the_application_declines_leaves_an_ordinary_connection() {
    let origin = Origin::replying(|request| Reply::ok(request.target()));
    let proxy = Perihelion::before(&origin);
    let mut raw = proxy.connect();
    raw.send(format!("{ASK}GET /next HTTP/1.1\r\nHost: example.com\r\n\r\n"));
    assert_eq!(raw.answer().text(), "/chat");
    assert_eq!(raw.answer().text(), "/next");
}
