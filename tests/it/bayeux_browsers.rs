//! Bayeux sessions of one browser: with `same_browser` whoever knows an id alone is a stranger, on every way.

use serde_json::{Value, json};

use crate::support::{Perihelion, Raw};

fn proxy(terms: &str) -> Perihelion {
    Perihelion::start(&format!(
        "listen: $HTTP\ncontrol: $CONTROL\npools: {{ app: \"http://127.0.0.1:9\" }}\nsites:\n  \"*\":\n    \
         routes: [{{ path: /, pool: app }}, {{ path: /cometd, bayeux: {terms} }}]\n",
    ))
}

/// What is answered to one message, and the cookie that comes with it.
fn ask(proxy: &Perihelion, cookie: &str, message: &Value) -> (Value, Option<String>) {
    let (mut raw, body) = (proxy.connect(), json!([message]).to_string());
    raw.send(format!(
        "POST /cometd HTTP/1.1\r\nHost: a\r\n{cookie}Content-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    let answer = raw.answer();
    assert_eq!(answer.status(), 200, "{answer:?}");
    // What waits for the client comes before the reply.
    let reply = answer.json().as_array().unwrap().last().unwrap().clone();
    (reply, answer.head.get("set-cookie").map(field))
}

/// `Set-Cookie` as the browser brings it back.
fn field(cookie: &str) -> String {
    format!("Cookie: {}\r\n", cookie.split(';').next().unwrap())
}

fn handshake() -> Value {
    json!({"channel": "/meta/handshake", "version": "1.0", "supportedConnectionTypes": ["long-polling", "websocket"]})
}

fn of(id: &Value, channel: &str) -> Value {
    json!({"channel": channel, "clientId": id, "connectionType": "long-polling", "subscription": "/a", "data": 1})
}

const UNKNOWN: &str = "402::session_unknown";

/// A WebSocket, and what the answer that opened it gave.
fn socket(proxy: &Perihelion, cookie: &str) -> (Raw, Option<String>) {
    let mut raw = proxy.connect();
    raw.send(format!(
        "GET /cometd HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{cookie}\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ));
    let head = raw.head();
    assert_eq!(head.status(), 101);
    (raw, head.get("set-cookie").map(field))
}

/// What is said to one message on a WebSocket; short ones both.
fn say(raw: &mut Raw, message: &Value) -> Value {
    let text = json!([message]).to_string();
    let length = match u8::try_from(text.len()).unwrap() {
        length @ 0..126 => vec![0x80 | length],
        length => vec![0x80 | 126, 0, length],
    };
    // A mask of zeros changes nothing.
    raw.send([&[0x81][..], &length, &[0; 4], text.as_bytes()].concat());
    let head = raw.exactly(2);
    let length = match head[1] {
        126 => raw.exactly(2).iter().fold(0, |length, byte| length << 8 | usize::from(*byte)),
        length => usize::from(length),
    };
    serde_json::from_slice::<Value>(&raw.exactly(length)).unwrap()[0].clone()
}

#[test]
fn a_session_is_known_to_the_browser_that_began_it_and_to_no_other() {
    let proxy = proxy("{ same_browser: true }");
    let (reply, cookie) = ask(&proxy, "", &handshake());
    let (id, anna) = (&reply["clientId"], cookie.unwrap());
    let (_, ben) = ask(&proxy, "", &handshake());
    for channel in ["/meta/connect", "/meta/subscribe", "/a", "/meta/disconnect"] {
        for stranger in ["", &ben.clone().unwrap()] {
            assert_eq!(ask(&proxy, stranger, &of(id, channel)).0["error"], UNKNOWN, "{channel}");
        }
    }
    assert_eq!(ask(&proxy, "", &of(id, "/meta/connect")).0["advice"]["reconnect"], "handshake");
    for channel in ["/meta/connect", "/meta/subscribe", "/a", "/meta/disconnect"] {
        assert_eq!(ask(&proxy, &anna, &of(id, channel)).0["successful"], true, "{channel}");
    }
}

#[test]
fn a_browser_gets_its_name_with_a_web_socket_and_goes_on_without_one() {
    let proxy = proxy("{ same_browser: true }");
    let (mut first, cookie) = socket(&proxy, "");
    let anna = cookie.unwrap();
    let reply = say(&mut first, &handshake());
    let id = &reply["clientId"];
    assert_eq!(say(&mut first, &of(id, "/meta/connect"))["successful"], true);
    let (mut stranger, _) = socket(&proxy, "");
    assert_eq!(say(&mut stranger, &of(id, "/a"))["error"], UNKNOWN);
    let (mut second, cookie) = socket(&proxy, &anna);
    assert_eq!(cookie, None);
    assert_eq!(say(&mut second, &of(id, "/a"))["successful"], true);
    assert_eq!(ask(&proxy, &anna, &of(id, "/a")).0["successful"], true);
    assert_eq!(ask(&proxy, "", &of(id, "/a")).0["error"], UNKNOWN);
}

#[test]
fn otherwise_the_id_is_enough_and_a_web_socket_gives_no_cookie() {
    let proxy = proxy("{}");
    let (mut raw, cookie) = socket(&proxy, "");
    assert_eq!(cookie, None);
    let reply = say(&mut raw, &handshake());
    assert_eq!(ask(&proxy, "", &of(&reply["clientId"], "/a")).0["successful"], true);
}
