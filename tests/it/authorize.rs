//! `authorize` of a route with Bayeux: what an application is asked about clients, and what comes of its answers.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Answer, Origin, Perihelion, Raw, Received, Reply, Then};

/// Whom it knows by the cookie `user`: `alice` may do everything, `bob` may only read below `/open/`, others nothing.
fn ruling(request: &Received) -> Reply {
    let cookies = request.head.get("cookie").unwrap_or_default();
    let user = cookies.split("; ").find_map(|pair| pair.strip_prefix("user=")).unwrap_or_default();
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    let rule = |question: &Value| match (user, question["may"].as_str().unwrap()) {
        ("alice", _) | ("bob", "handshake") => json!(true),
        ("bob", "subscribe") => json!(question["channel"].as_str().unwrap().starts_with("/open/")),
        ("bob", "publish") => json!("403:bob:only readers here"),
        _ => json!(question["ext"]["token"] == "secret"),
    };
    let answers: Vec<Value> = body["questions"].as_array().unwrap().iter().map(rule).collect();
    let reply = Reply::ok(json!({"answers": answers}).to_string());
    // What it says to bob holds for a while.
    if user == "bob" { reply.with("Cache-Control", "private, max-age=600") } else { reply }
}

fn proxy_with(origin: &Origin, authorize: &str) -> Perihelion {
    let app = origin.url();
    Perihelion::start(&format!(
        "listen: $HTTP\ncontrol: $CONTROL\npools: {{ app: \"{app}\" }}\nsites:\n  \"*\":\n    routes:\n    \
         - {{ path: /, pool: app }}\n    - {{ path: /authorize, pool: app, internal: true }}\n    \
         - {{ path: /cometd, bayeux: {{ authorize: {authorize} }} }}\n    - {{ path: /free, bayeux: {{}} }}\n"
    ))
}

/// A proxy that asks by a path of its site.
fn proxy(origin: &Origin) -> Perihelion {
    proxy_with(origin, "/authorize?by=cometd")
}

fn ask_at(proxy: &Perihelion, path: &str, user: &str, body: &Value) -> Answer {
    let (mut raw, body) = (proxy.connect(), body.to_string());
    let length = body.len();
    raw.send(format!(
        "POST {path} HTTP/1.1\r\nHost: example.com\r\nCookie: a=b; user={user}\r\nContent-Type: text/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    ));
    raw.answer()
}

#[track_caller]
fn post(proxy: &Perihelion, user: &str, body: &Value) -> Value {
    let answer = ask_at(proxy, "/cometd", user, body);
    assert_eq!(answer.status(), 200, "{answer:?}");
    answer.json()
}

fn handshake(ext: Value) -> Value {
    json!([{"channel": "/meta/handshake", "version": "1.0", "id": "1", "supportedConnectionTypes": ["long-polling"],
        "ext": ext}])
}

#[track_caller]
fn client(proxy: &Perihelion, user: &str) -> String {
    let reply = &post(proxy, user, &handshake(json!({})))[0];
    assert_eq!(reply["successful"], true, "{reply}");
    reply["clientId"].as_str().unwrap().to_owned()
}

fn subscribe(id: &str, names: Value) -> Value {
    json!({"channel": "/meta/subscribe", "clientId": id, "subscription": names, "id": "s"})
}

fn publish(id: &str, channel: &str) -> Value {
    json!({"channel": channel, "clientId": id, "data": {"secret": 1}, "id": "p"})
}

fn questions(request: &Received) -> Value {
    serde_json::from_slice::<Value>(&request.body).unwrap()["questions"].clone()
}

fn errors(replies: &Value) -> Vec<Value> {
    let replies = replies.as_array().unwrap().iter().filter(|reply| !reply["successful"].is_null());
    replies.map(|reply| reply["error"].clone()).collect()
}

#[test]
fn an_application_is_asked_once_about_all_messages_of_a_request_and_knows_who_is_meant() {
    let origin = Origin::replying(ruling);
    let proxy = proxy(&origin);
    let id = client(&proxy, "alice");
    let asked = origin.only();
    assert_eq!(asked.head.line, "POST /authorize?by=cometd HTTP/1.1");
    assert_eq!(asked.head.get("host"), Some("example.com"));
    assert_eq!(asked.head.get("cookie"), Some("a=b; user=alice"));
    assert_eq!(asked.head.get("content-type"), Some("application/json"));
    assert!(asked.head.has("x-forwarded-for"));
    // The name that the session has got.
    assert_eq!(questions(&asked), json!([{"may": "handshake", "client": id, "ext": {}}]));
    let batch = json!([subscribe(&id, json!(["/a/*", "/b"])), publish(&id, "/a/x"), publish(&id, "/a/x"),
        subscribe(&id, json!("/meta/x")), publish("nobody", "/a/x"), publish(&id, "/service/x"),
        {"channel": "/meta/unsubscribe", "clientId": id, "subscription": "/b", "id": "u"}]);
    let replies = post(&proxy, "alice", &batch);
    let fine = Value::Null;
    let expected =
        [&fine, &fine, &fine, &json!("403::subscribe_denied"), &json!("402::session_unknown"), &fine, &fine];
    assert!(errors(&replies).iter().eq(expected), "{replies}");
    let expected = json!([{"may": "subscribe", "client": id, "channel": "/a/*"},
        {"may": "subscribe", "client": id, "channel": "/b"}, {"may": "publish", "client": id, "channel": "/a/x"}]);
    assert_eq!(questions(&origin.last()), expected);
    // A connect, a subscription that is there and the end of one are nobody's business.
    post(
        &proxy,
        "alice",
        &json!([{"channel": "/meta/connect", "clientId": id, "connectionType": "long-polling"}]),
    );
    post(&proxy, "alice", &json!([subscribe(&id, json!("/a/*"))]));
    post(&proxy, "alice", &json!([{"channel": "/meta/disconnect", "clientId": id}]));
    assert_eq!(origin.received().len(), 2);
    proxy.wait_metric("perihelion_bayeux_rulings_total", &[("ruling", "granted")], 4.0);
}

#[test]
fn who_is_denied_something_is_told_so_and_nothing_comes_of_it() {
    let origin = Origin::replying(ruling);
    let proxy = proxy(&origin);
    let reply = &post(&proxy, "mallory", &handshake(json!({"token": "guessed"})))[0];
    assert_eq!(
        (&reply["error"], &reply["successful"]),
        (&json!("403::handshake_denied"), &json!(false)),
        "{reply}"
    );
    assert_eq!((&reply["advice"]["reconnect"], reply.get("clientId")), (&json!("none"), None));
    proxy.wait_metric("perihelion_bayeux_sessions", &[], 0.0);
    assert_eq!(post(&proxy, "mallory", &handshake(json!({"token": "secret"})))[0]["successful"], true);
    let id = client(&proxy, "bob");
    let replies = post(
        &proxy,
        "bob",
        &json!([
            subscribe(&id, json!(["/open/a", "/closed"])),
            subscribe(&id, json!("/open/b")),
            publish(&id, "/open/b")
        ]),
    );
    let expected = [json!("403:/closed:subscribe_denied"), Value::Null, json!("403:bob:only readers here")];
    assert_eq!(errors(&replies), expected, "{replies}");
    assert_eq!((proxy.subscribers("%2Fopen%2Fa"), proxy.subscribers("%2Fopen%2Fb")), (0, 1));
    proxy.wait_metric("perihelion_bayeux_rulings_total", &[("ruling", "denied")], 3.0);
}

#[test]
fn an_answer_that_says_how_long_it_holds_is_remembered_for_its_session() {
    let origin = Origin::replying(ruling);
    let proxy = proxy(&origin);
    let (id, other) = (client(&proxy, "bob"), client(&proxy, "bob"));
    let before = origin.received().len();
    for _ in 0..3 {
        let replies =
            post(&proxy, "bob", &json!([publish(&id, "/open/x"), subscribe(&id, json!("/closed"))]));
        assert_eq!(
            errors(&replies),
            [json!("403:bob:only readers here"), json!("403:/closed:subscribe_denied")]
        );
    }
    assert_eq!(origin.received().len(), before + 1);
    proxy.wait_metric("perihelion_bayeux_rulings_total", &[("ruling", "remembered")], 4.0);
    post(&proxy, "bob", &json!([publish(&other, "/open/x")]));
    assert_eq!(origin.received().len(), before + 2);
}

#[test]
fn no_more_is_remembered_for_a_session_than_there_is_room_for() {
    let origin = Origin::replying(ruling);
    let proxy = proxy_with(&origin, "{ url: /authorize, remember: 2 }");
    let id = client(&proxy, "bob");
    let all = json!([publish(&id, "/a"), publish(&id, "/b"), publish(&id, "/c")]);
    for _ in 0..2 {
        post(&proxy, "bob", &all);
    }
    assert_eq!(questions(&origin.last()), json!([{"may": "publish", "client": id, "channel": "/c"}]));
    proxy.wait_metric("perihelion_bayeux_rulings_total", &[("ruling", "not_kept")], 2.0);
}

#[test]
fn a_session_is_none_at_a_route_that_would_ask_nobody() {
    let origin = Origin::replying(ruling);
    let proxy = proxy(&origin);
    let id = client(&proxy, "bob");
    let around = ask_at(&proxy, "/free", "bob", &json!([subscribe(&id, json!("/closed"))])).json();
    assert_eq!(errors(&around), [json!("402::session_unknown")]);
    let free = ask_at(&proxy, "/free", "bob", &handshake(json!({}))).json();
    let free = free[0]["clientId"].as_str().unwrap();
    assert_eq!(
        errors(&post(&proxy, "alice", &json!([publish(free, "/a")]))),
        [json!("402::session_unknown")]
    );
    let allowed = ask_at(&proxy, "/free", "bob", &json!([publish(free, "/a")])).json();
    assert_eq!(errors(&allowed), [Value::Null]);
    assert_eq!(origin.received().len(), 1);
}

#[test]
fn an_application_that_is_down_or_says_nonsense_stops_nobody_who_is_there_already() {
    let answers = |request: &Received| match questions(request)[0]["channel"].as_str() {
        Some("/broken") => Reply::status("500 Internal Server Error", "no"),
        Some("/nonsense") => Reply::ok("<html>welcome</html>"),
        Some("/last") => Reply::ok(r#"{"answers":[true]}"#).until_close(),
        Some("/forbidden") => Reply::status("403 Forbidden", "no"),
        _ => Reply::bodiless("204 No Content"),
    };
    let origin = Origin::replying(answers);
    // By itself, on no site.
    let proxy = proxy_with(&origin, &format!("{}/rulings", origin.url()));
    let id = client(&proxy, "x");
    assert_eq!(origin.only().head.line, "POST /rulings HTTP/1.1");
    post(&proxy, "x", &json!([subscribe(&id, json!("/news"))]));
    post(
        &proxy,
        "x",
        &json!([{"channel": "/meta/connect", "clientId": id, "connectionType": "long-polling"}]),
    );
    let opened = [("transport", "bayeux")];
    let mut held = proxy.connect();
    let connect =
        json!([{"channel": "/meta/connect", "clientId": id, "connectionType": "long-polling"}]).to_string();
    held.send(format!(
        "POST /cometd HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{connect}",
        connect.len()
    ));
    proxy.wait_metric("perihelion_comet_streams_opened_total", &opened, 1.0);
    let said = |channel: &str| errors(&post(&proxy, "x", &json!([publish(&id, channel)])));
    assert_eq!(said("/fine"), [Value::Null]);
    assert_eq!(said("/forbidden"), [json!("403:/forbidden:publish_denied")]);
    let failed = json!("503::authorization_failed");
    assert_eq!((said("/broken"), said("/nonsense")), (vec![failed.clone()], vec![failed.clone()]));
    assert_eq!(said("/last"), [Value::Null]);
    drop(origin);
    assert_eq!(said("/fine")[0], failed);
    let later = &post(&proxy, "x", &handshake(json!({})))[0];
    let advice = (&later["advice"]["reconnect"], &later["advice"]["interval"]);
    assert_eq!((&later["error"], advice), (&failed, (&json!("handshake"), &json!(10_000))), "{later}");
    proxy.wait_metric("perihelion_bayeux_rulings_total", &[("ruling", "failed")], 4.0);
    proxy.publish("%2Fnews", "still here");
    assert_eq!(held.answer().json()[0], json!({"channel": "/news", "data": "still here"}));
}

#[test]
fn an_application_that_is_silent_is_waited_for_no_longer_than_said() {
    let origin = Origin::new(|_: &Received, socket: &mut socket2::Socket| {
        std::thread::sleep(Duration::from_secs(30));
        let _ = socket;
        Then::Close
    });
    let proxy = proxy_with(&origin, "{ url: /authorize, timeout: 300ms }");
    let before = Instant::now();
    assert_eq!(errors(&post(&proxy, "x", &handshake(json!({})))), [json!("503::authorization_failed")]);
    assert!(before.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_client_on_a_websocket_is_known_by_the_request_that_opened_it() {
    let origin = Origin::replying(ruling);
    let proxy = proxy(&origin);
    let mut raw = proxy.connect();
    raw.send(
        "GET /cometd HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nCookie: user=bob\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    assert_eq!(raw.head().status(), 101);
    let reply = said(&mut raw, &handshake(json!({})))[0].clone();
    let id = reply["clientId"].as_str().unwrap();
    let replies = said(&mut raw, &json!([subscribe(id, json!("/closed")), subscribe(id, json!("/open/a"))]));
    assert_eq!(errors(&replies), [json!("403:/closed:subscribe_denied"), Value::Null]);
    let asked = origin.last();
    assert_eq!((asked.head.get("cookie"), asked.method()), (Some("user=bob"), "POST"));
    assert!(!asked.head.has("upgrade") && !asked.head.has("sec-websocket-key"));
}

/// What is answered to a frame of less than 64 KiB.
fn said(raw: &mut Raw, messages: &Value) -> Value {
    let payload = messages.to_string();
    let length = match payload.len() {
        length @ 0..126 => vec![0x80 | length as u8],
        length => [&[0x80 | 126][..], &(length as u16).to_be_bytes()].concat(),
    };
    raw.send([&[0x81][..], &length, &[0; 4], payload.as_bytes()].concat());
    let head = raw.exactly(2);
    let length = match head[1] {
        126 => raw.exactly(2).iter().fold(0, |length, byte| length << 8 | usize::from(*byte)),
        length => usize::from(length),
    };
    serde_json::from_slice(&raw.exactly(length)).unwrap()
}
