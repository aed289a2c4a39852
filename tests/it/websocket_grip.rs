//! WebSockets that the application speaks itself, with GRIP's extension.

use std::io::{Read, Write};
use std::sync::Mutex;
use std::sync::mpsc::sync_channel;

use socket2::Socket;

use crate::support::{DEADLINE, Origin, Perihelion, Raw, Received, Reply, Then, wait_until};

const HANDSHAKE: &str = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Agrees to `extensions`, says `opening` at once, and answers what it hears; words that it doesn't know come back.
fn speaking(extensions: &'static str, opening: &'static [&'static [u8]]) -> Origin {
    Origin::new(move |request: &Received, socket: &mut Socket| {
        if request.target() != "/ws" {
            return Reply::ok("ordinary").send_to(request, socket);
        }
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-App: kept\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n{extensions}\r\n"
        );
        socket.write_all(&[head.as_bytes(), &opening.concat()].concat()).unwrap();
        while let Some((code, said)) = heard(socket) {
            let answer = match &said[..] {
                b"join" => text("c:{\"type\":\"subscribe\",\"channel\":\"room\"}"),
                b"detach" => text("c:{\"type\":\"detach\"}"),
                b"bye" => b"\x88\x05\x0f\xa1bye".to_vec(),
                _ if code == 0x89 => [&[0x8a, said.len() as u8], &said[..]].concat(),
                _ => [&[code, said.len() as u8 + 2][..], b"m:", &said].concat(),
            };
            if socket.write_all(&answer).is_err() || code == 0x88 {
                break;
            }
        }
        Then::Close
    })
}

fn text(text: &str) -> Vec<u8> {
    [&[0x81, text.len() as u8], text.as_bytes()].concat()
}

/// A masked frame, as only a client sends them.
fn heard(socket: &mut Socket) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 6];
    socket.read_exact(&mut head).ok()?;
    assert!(head[1] & 0x80 != 0, "a frame without a mask");
    let mut payload = vec![0; usize::from(head[1] & 0x7f)];
    socket.read_exact(&mut payload).ok()?;
    payload.iter_mut().zip(head[2..].iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    Some((head[0], payload))
}

fn start(origin: &Origin) -> Perihelion {
    Perihelion::start(&format!(
        "listen: $HTTP\ncontrol: $CONTROL\npools: {{app: {{servers: [\"{}\"]}}}}\n\
         sites: {{\"*\": {{routes: [{{path: /, pool: app, websockets: grip}}]}}}}\n",
        origin.url()
    ))
}

fn open(proxy: &Perihelion) -> Raw {
    let mut raw = proxy.connect();
    raw.send(format!(
        "GET /ws HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{HANDSHAKE}\
         Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    ));
    let head = raw.head();
    assert_eq!((head.status(), head.get("x-app")), (101, Some("kept")), "{head:?}");
    assert_eq!(head.get("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert!(!head.has("sec-websocket-extensions"), "{head:?}");
    raw
}

fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    [&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
}

#[track_caller]
fn frame(raw: &mut Raw) -> (u8, Vec<u8>) {
    let head = raw.exactly(2);
    (head[0], raw.exactly(usize::from(head[1])))
}

fn publish(proxy: &Perihelion, content: &str) {
    let item =
        format!("{{\"items\":[{{\"channel\":\"room\",\"ws-message\":{{\"content\":\"{content}\"}}}}]}}");
    assert_eq!(proxy.control("POST", "/publish/", &item).text(), "Published\n");
}

const GRIP: &str = "Sec-WebSocket-Extensions: grip\r\n";

#[test]
fn the_application_and_its_publishers_speak_to_one_client() {
    let origin = speaking(GRIP, &[b"\x81\x09m:welcome", b"\x81\x06hidden"]);
    let proxy = start(&origin);
    let mut raw = open(&proxy);
    assert_eq!(origin.only().head.all("sec-websocket-extensions"), ["grip"]);
    assert_eq!(frame(&mut raw), (0x81, b"welcome".to_vec()));
    raw.send([masked(0x01, b"he"), masked(0x80, b"llo"), masked(0x82, b"\0"), masked(0x89, b"?")].concat());
    assert_eq!(frame(&mut raw), (0x81, b"hello".to_vec()));
    assert_eq!(frame(&mut raw), (0x82, b"\0".to_vec()));
    assert_eq!(frame(&mut raw), (0x8a, b"?".to_vec()));
    raw.send(masked(0x81, b"join"));
    proxy.wait_subscribers("room", 1);
    publish(&proxy, "published");
    assert_eq!(frame(&mut raw), (0x81, b"published".to_vec()));
    raw.send(masked(0x81, b"bye"));
    assert_eq!(frame(&mut raw), (0x88, b"\x0f\xa1bye".to_vec()));
    proxy.wait_subscribers("room", 0);
    wait_until("the application's connection is closed", || origin.open_connections() == 0);
}

#[test]
fn an_application_may_have_no_prefix_or_one_of_its_own() {
    for (extension, opening) in
        [("grip; message-prefix=\"\"", &b"\x81\x02hi"[..]), ("grip; message-prefix=x", b"\x81\x03xhi")]
    {
        let origin = Origin::new(move |_: &Received, socket: &mut Socket| {
            let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-App: kept\r\n\
                        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Extensions: ";
            let subscribe = text("c:{\"type\":\"subscribe\",\"channel\":\"room\"}");
            let said = [head.as_bytes(), extension.as_bytes(), b"\r\n\r\n", opening, &subscribe].concat();
            socket.write_all(&said).unwrap();
            while heard(socket).is_some() {}
            Then::Close
        });
        let proxy = start(&origin);
        let mut raw = open(&proxy);
        assert_eq!(frame(&mut raw), (0x81, b"hi".to_vec()), "{extension}");
        proxy.wait_subscribers("room", 1);
        publish(&proxy, "published");
        assert_eq!(frame(&mut raw), (0x81, b"published".to_vec()), "{extension}");
    }
}

#[test]
fn an_application_that_detaches_leaves_its_client_to_publishers() {
    let origin = speaking(GRIP, &[]);
    let proxy = start(&origin);
    let mut raw = open(&proxy);
    raw.send([masked(0x81, b"join"), masked(0x81, b"detach")].concat());
    proxy.wait_subscribers("room", 1);
    wait_until("the application's connection is closed", || origin.open_connections() == 0);
    raw.send([masked(0x81, b"is there anybody"), masked(0x89, b"p")].concat());
    assert_eq!(frame(&mut raw), (0x8a, b"p".to_vec()));
    publish(&proxy, "still here");
    assert_eq!(frame(&mut raw), (0x81, b"still here".to_vec()));
    drop(raw);
    proxy.wait_subscribers("room", 0);
}

#[test]
fn each_side_hears_when_the_other_one_is_gone() {
    let origin = speaking(GRIP, &[]);
    let proxy = start(&origin);
    let raw = open(&proxy);
    drop(raw);
    wait_until("the application's connection is closed", || origin.open_connections() == 0);
    let broken = Origin::new(|request: &Received, socket: &mut Socket| {
        let head = "101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-App: kept";
        socket.write_all(format!("HTTP/1.1 {head}\r\n{GRIP}\r\n").as_bytes()).unwrap();
        let _ = request;
        Then::Close
    });
    let proxy = start(&broken);
    open(&proxy).assert_closed();
    proxy.wait_metric("perihelion_comet_streams", &[("transport", "grip-websocket")], 0.0);
}

#[test]
fn without_the_extension_everything_is_passed_through() {
    let origin = speaking("", &[b"\x81\x06c:told"]);
    let proxy = start(&origin);
    let mut raw = open(&proxy);
    assert_eq!(frame(&mut raw), (0x81, b"c:told".to_vec()));
    raw.send(masked(0x81, b"x"));
    assert_eq!(frame(&mut raw), (0x81, b"m:x".to_vec()));
    assert_eq!(proxy.metric("perihelion_comet_streams", &[("transport", "grip-websocket")]), 0.0);
    assert_eq!(proxy.get("/").text(), "ordinary");
}

#[test]
fn a_client_that_says_more_than_the_application_takes_is_slowed_down() {
    let (done, waits) = sync_channel::<()>(1);
    let waits = Mutex::new(waits);
    // It says nothing and reads nothing.
    let origin = Origin::new(move |_: &Received, socket: &mut Socket| {
        let head = "101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-App: kept";
        let accept = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
        socket.write_all(format!("HTTP/1.1 {head}\r\n{accept}\r\n{GRIP}\r\n").as_bytes()).unwrap();
        // The end of the test, whether it has said so or failed.
        let _ = waits.lock().unwrap().recv_timeout(DEADLINE);
        Then::Close
    });
    let proxy = start(&origin);
    let mut raw = open(&proxy);
    let flood = std::thread::spawn(move || {
        let message = [&[0x82, 0xfe, 0x80, 0, 0, 0, 0, 0][..], &[0; 0x8000]].concat();
        (0..4000).all(|_| raw.try_send(&message).is_ok())
    });
    let behind = || proxy.metric("perihelion_comet_words_waited_total", &[]) > 0.0;
    wait_until("the client is not read", behind);
    done.send(()).unwrap();
    assert!(!flood.join().unwrap(), "128 MB were taken though nobody read them");
}
