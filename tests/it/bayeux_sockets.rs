//! Bayeux on WebSockets, frame by frame, and clients that move between them and long-polling.

use serde_json::{Value, json};

use crate::support::{Origin, Perihelion, Raw, Reply};

fn proxy_with(terms: &str) -> Perihelion {
    let origin = Origin::replying(|_| Reply::ok("ordinary"));
    let proxy = Perihelion::start(&format!(
        "listen: $HTTP\ncontrol: $CONTROL\npools: {{ app: \"{}\" }}\nsites:\n  \"*\":\n    \
         routes: [{{ path: /, pool: app }}, {{ path: /cometd, bayeux: {terms} }}]\n",
        origin.url()
    ));
    // It answers as long as the test lasts.
    std::mem::forget(origin);
    proxy
}

fn socket(proxy: &Perihelion) -> Raw {
    let mut raw = proxy.connect();
    raw.send(
        "GET /cometd HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    assert_eq!(raw.head().status(), 101);
    raw
}

/// With a mask of zeros, which changes nothing.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = match payload.len() {
        length @ 0..126 => vec![0x80 | length as u8],
        length => [&[0x80 | 126][..], &(length as u16).to_be_bytes()].concat(),
    };
    [&[first][..], &length, &[0; 4], payload].concat()
}

fn say(raw: &mut Raw, messages: &Value) {
    raw.send(masked(0x81, messages.to_string().as_bytes()));
}

#[track_caller]
fn frame(raw: &mut Raw) -> (u8, Vec<u8>) {
    let head = raw.exactly(2);
    let length = match head[1] {
        126 => raw.exactly(2).iter().fold(0, |length, byte| length << 8 | usize::from(*byte)),
        length => usize::from(length),
    };
    (head[0], raw.exactly(length))
}

/// The messages of a frame, which is always a list.
#[track_caller]
fn heard(raw: &mut Raw) -> Value {
    let (first, payload) = frame(raw);
    assert_eq!(first, 0x81, "{payload:?}");
    let messages: Value = serde_json::from_slice(&payload).expect("JSON");
    assert!(messages.is_array(), "{messages}");
    messages
}

fn handshake(raw: &mut Raw, ext: Value) -> String {
    say(
        raw,
        &json!([{"channel": "/meta/handshake", "version": "1.0", "id": "1",
            "supportedConnectionTypes": ["websocket"], "ext": ext}]),
    );
    let reply = heard(raw)[0].clone();
    assert_eq!(reply["successful"], true, "{reply}");
    assert!(reply["supportedConnectionTypes"].as_array().unwrap().contains(&json!("websocket")), "{reply}");
    reply["clientId"].as_str().unwrap().to_owned()
}

fn connect(raw: &mut Raw, id: &str, more: Value) {
    let mut connect =
        json!({"channel": "/meta/connect", "clientId": id, "connectionType": "websocket", "id": "c"});
    connect.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    say(raw, &json!([connect]));
}

/// A client that has shaken hands and is subscribed, and whose first connect is answered.
fn client(raw: &mut Raw, ext: Value) -> String {
    let id = handshake(raw, ext);
    connect(raw, &id, json!({}));
    let reply = heard(raw);
    assert_eq!((&reply[0]["successful"], &reply[0]["advice"]["reconnect"]), (&json!(true), &json!("retry")));
    say(raw, &json!([{"channel": "/meta/subscribe", "clientId": id, "subscription": "/chat/*", "id": "s"}]));
    assert_eq!(heard(raw)[0]["successful"], true);
    id
}

fn post(proxy: &Perihelion, messages: &Value) -> Value {
    let body = messages.to_string();
    let mut raw = proxy.connect();
    let length = body.len();
    raw.send(format!(
        "POST /cometd HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    ));
    raw.answer().json()
}

#[test]
fn messages_come_at_once_while_the_connect_stays_open() {
    let proxy = proxy_with("{}");
    let mut raw = socket(&proxy);
    let id = client(&mut raw, json!({}));
    connect(&mut raw, &id, json!({}));
    say(&mut raw, &json!([{"channel": "/chat/a", "clientId": id, "data": {"text": "hi"}, "id": "p"}]));
    // Its own message and the reply, in whichever order.
    let both = [heard(&mut raw), heard(&mut raw)];
    assert!(both.contains(&json!([{"channel": "/chat/a", "data": {"text": "hi"}}])), "{both:?}");
    assert!(both.contains(&json!([{"channel": "/chat/a", "id": "p", "successful": true}])), "{both:?}");
    for number in 0..3 {
        proxy.publish("%2Fchat%2Fb", &number.to_string());
        assert_eq!(heard(&mut raw), json!([{"channel": "/chat/b", "data": number.to_string()}]));
    }
    say(&mut raw, &json!([{"channel": "/meta/disconnect", "clientId": id, "id": "d"}]));
    assert_eq!(heard(&mut raw)[0]["advice"]["reconnect"], "none");
    assert_eq!(heard(&mut raw), json!([{"channel": "/meta/disconnect", "id": "d", "successful": true}]));
    proxy.wait_metric("perihelion_bayeux_sessions", &[], 0.0);
}

#[test]
fn a_connect_on_a_socket_is_answered_at_the_end_of_its_time_and_messages_come_behind_it() {
    let proxy = proxy_with("{ timeout: 1s }");
    let mut raw = socket(&proxy);
    let id = client(&mut raw, json!({}));
    connect(&mut raw, &id, json!({}));
    assert_eq!(heard(&mut raw), json!([{"channel": "/meta/connect", "id": "c", "successful": true}]));
    // What comes before the next is told as well.
    proxy.publish("%2Fchat%2Fb", "between");
    assert_eq!(heard(&mut raw)[0]["data"], "between");
}

#[test]
fn a_client_moves_between_a_socket_and_long_polling_and_loses_nothing() {
    let proxy = proxy_with("{}");
    let mut raw = socket(&proxy);
    let id = client(&mut raw, json!({}));
    connect(&mut raw, &id, json!({}));
    proxy.publish("%2Fchat%2Fa", "one");
    assert_eq!(heard(&mut raw)[0]["data"], "one");
    drop(raw);
    proxy.wait_metric("perihelion_comet_streams", &[("transport", "websocket")], 0.0);
    proxy.publish("%2Fchat%2Fa", "two");
    let poll =
        json!([{"channel": "/meta/connect", "clientId": id, "connectionType": "long-polling", "id": "c"}]);
    let answer = post(&proxy, &poll);
    assert_eq!((&answer[0]["data"], &answer[1]["successful"]), (&json!("two"), &json!(true)));
    let mut again = socket(&proxy);
    proxy.publish("%2Fchat%2Fa", "three");
    connect(&mut again, &id, json!({}));
    // With the reply, or by itself where the connect was faster.
    assert_eq!(heard(&mut again)[0]["data"], "three");
    connect(&mut again, &id, json!({}));
    proxy.publish("%2Fchat%2Fa", "four");
    assert_eq!(heard(&mut again), json!([{"channel": "/chat/a", "data": "four"}]));
}

#[test]
fn a_client_that_leaves_a_socket_that_is_still_open_takes_its_messages_along() {
    let proxy = proxy_with("{}");
    let (mut first, mut second) = (socket(&proxy), socket(&proxy));
    let id = client(&mut first, json!({}));
    // Answered, and so it is known that the client is at the second now.
    connect(&mut second, &id, json!({"advice": {"timeout": 0}}));
    assert_eq!(heard(&mut second)[0]["successful"], true);
    connect(&mut second, &id, json!({}));
    proxy.publish("%2Fchat%2Fa", "one");
    assert_eq!(heard(&mut second), json!([{"channel": "/chat/a", "data": "one"}]));
    // What comes to the first now is none of its messages.
    say(
        &mut first,
        &json!([{"channel": "/meta/unsubscribe", "clientId": id, "subscription": "/chat/*", "id": "u"}]),
    );
    assert_eq!(heard(&mut first)[0]["id"], "u");
}

#[test]
fn a_client_that_has_not_connected_yet_gets_what_waits_with_other_replies() {
    let proxy = proxy_with("{}");
    let mut raw = socket(&proxy);
    let id = handshake(&mut raw, json!({}));
    let messages = json!([{"channel": "/meta/subscribe", "clientId": id, "subscription": "/a", "id": "s"}]);
    say(&mut raw, &messages);
    assert_eq!(heard(&mut raw)[0]["successful"], true);
    proxy.publish("%2Fa", "early");
    let mut all = Vec::new();
    while all.is_empty() {
        say(&mut raw, &messages);
        let mut said = heard(&mut raw).as_array().unwrap().clone();
        assert_eq!(said.pop().unwrap()["id"], "s");
        all.append(&mut said);
    }
    assert_eq!(all, [json!({"channel": "/a", "data": "early"})]);
}

#[test]
fn with_acknowledgements_messages_come_by_connects_there_too() {
    let proxy = proxy_with("{}");
    let mut raw = socket(&proxy);
    let id = client(&mut raw, json!({"ack": true}));
    connect(&mut raw, &id, json!({"ext": {"ack": 1}}));
    proxy.publish("%2Fchat%2Fa", "one");
    let answer = heard(&mut raw);
    assert_eq!((&answer[0]["data"], &answer[1]["channel"]), (&json!("one"), &json!("/meta/connect")));
    let batch = answer[1]["ext"]["ack"].as_u64().unwrap();
    connect(&mut raw, &id, json!({"ext": {"ack": batch - 1}}));
    assert_eq!(heard(&mut raw)[0]["data"], "one");
}

#[test]
fn what_is_no_bayeux_ends_the_socket_and_a_sign_of_life_is_none_of_it() {
    let proxy = proxy_with("{ body: 1KiB }");
    for (said, code) in [
        (masked(0x81, b"junk"), 1007_u16),
        (masked(0x81, b"[1]"), 1007),
        (masked(0x82, b"[]"), 1003),
        (masked(0x81, &[b' '; 1025]), 1009),
    ] {
        let mut raw = socket(&proxy);
        raw.send(said);
        assert_eq!(frame(&mut raw), (0x88, code.to_be_bytes().to_vec()));
    }
    let mut raw = socket(&proxy);
    raw.send(masked(0x81, b"[]"));
    connect(&mut raw, "unknown", json!({}));
    let reply = heard(&mut raw)[0].clone();
    assert_eq!(
        (&reply["error"], &reply["advice"]["reconnect"]),
        (&json!("402::session_unknown"), &json!("handshake"))
    );
}
