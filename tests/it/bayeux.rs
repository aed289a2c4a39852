//! Bayeux over HTTP, as the protocol says and as clients rely on, byte by byte where they do.

use serde_json::{Value, json};

use crate::support::{Answer, EventSource, Origin, Perihelion, Raw, Reply, wait_until};

fn proxy_with(terms: &str, more: &str) -> Perihelion {
    let origin = Origin::replying(|_| Reply::hold("/news").with("X-Comet-Transport", "sse"));
    let proxy = Perihelion::start(&format!(
        "listen: $HTTP\ncontrol: $CONTROL\npools: {{ app: \"{}\" }}\n{more}\nsites:\n  \"*\":\n    \
         cors: https://www.example.com\n    routes: [{{ path: /, pool: app }}, {{ path: /cometd, bayeux: {terms} }}]\n",
        origin.url()
    ));
    // It answers as long as the test lasts.
    std::mem::forget(origin);
    proxy
}

fn proxy() -> Perihelion {
    proxy_with("{}", "")
}

fn send(raw: &mut Raw, path: &str, headers: &str, body: &str) {
    let length = body.len();
    raw.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\n{headers}Content-Length: {length}\r\n\r\n{body}"));
}

/// One request of a client, on a connection of its own.
#[track_caller]
fn post(proxy: &Perihelion, body: &Value) -> Value {
    let mut raw = proxy.connect();
    send(&mut raw, "/cometd", "Content-Type: application/json\r\n", &body.to_string());
    replies(&raw.answer())
}

#[track_caller]
fn replies(answer: &Answer) -> Value {
    assert_eq!(answer.status(), 200, "{answer:?}");
    assert_eq!(answer.head.get("content-type"), Some("application/json;charset=UTF-8"));
    answer.json()
}

fn handshake_with(proxy: &Perihelion, more: Value) -> String {
    let mut handshake = json!({"channel": "/meta/handshake", "version": "1.0", "id": "1",
        "supportedConnectionTypes": ["websocket", "long-polling"]});
    handshake.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let replies = post(proxy, &json!([handshake]));
    assert_eq!(replies[0]["successful"], true, "{replies}");
    replies[0]["clientId"].as_str().unwrap().to_owned()
}

/// A client that has shaken hands, and whose first connect is answered.
fn client(proxy: &Perihelion) -> String {
    let id = handshake_with(proxy, json!({}));
    let replies = post(proxy, &connect(&id, "first"));
    assert_eq!(replies[0]["successful"], true, "{replies}");
    id
}

fn connect(id: &str, number: &str) -> Value {
    json!([{"channel": "/meta/connect", "clientId": id, "connectionType": "long-polling", "id": number}])
}

/// A connect that is held: it has been taken over when this returns.
fn held(proxy: &Perihelion, id: &str, number: &str) -> Raw {
    let before = proxy.metric("perihelion_comet_streams_opened_total", &[("transport", "bayeux")]);
    let mut raw = proxy.connect();
    send(&mut raw, "/cometd/connect", "Content-Type: application/json\r\n", &connect(id, number).to_string());
    proxy.wait_metric("perihelion_comet_streams_opened_total", &[("transport", "bayeux")], before + 1.0);
    raw
}

fn subscribe(proxy: &Perihelion, id: &str, names: Value) -> Value {
    post(proxy, &json!([{"channel": "/meta/subscribe", "clientId": id, "subscription": names, "id": "s"}]))
}

fn publish(proxy: &Perihelion, id: &str, channel: &str, data: Value) -> Value {
    post(proxy, &json!([{"channel": channel, "clientId": id, "data": data, "id": "p"}]))
}

#[test]
fn a_handshake_gives_a_name_that_nobody_guesses_and_says_how_to_go_on() {
    let proxy = proxy();
    let mut raw = proxy.connect();
    let body = r#"[{"channel":"/meta/handshake","version":"1.0","supportedConnectionTypes":["long-polling"],"id":"1"}]"#;
    send(&mut raw, "/cometd/handshake", "", body);
    let answer = raw.answer();
    let cookie = answer.head.get("set-cookie").unwrap().to_owned();
    let (name, rest) = cookie.split_once(';').unwrap();
    assert!(
        name.starts_with("BAYEUX_BROWSER=") && name.len() == 55 && rest == " Path=/; HttpOnly",
        "{cookie}"
    );
    let reply = &replies(&answer)[0];
    let id = reply["clientId"].as_str().unwrap().to_owned();
    assert!(id.len() >= 20 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{id}");
    let expected = json!({"id": "1", "channel": "/meta/handshake", "successful": true, "clientId": id, "version": "1.0",
        "minimumVersion": "1.0", "supportedConnectionTypes": ["websocket", "long-polling", "callback-polling"],
        "advice": {"reconnect": "retry", "interval": 0, "timeout": 25000}});
    assert_eq!(*reply, expected);
    // The browser has its cookie now.
    send(&mut raw, "/cometd/", &format!("Cookie: a=b; {name}\r\n"), body);
    let again = raw.answer();
    assert!(!again.head.has("set-cookie"));
    assert_ne!(replies(&again)[0]["clientId"], Value::from(id));
    proxy.wait_metric("perihelion_bayeux_sessions", &[], 2.0);
}

#[test]
fn a_handshake_that_can_not_be_is_refused_and_leaves_nothing() {
    let proxy = proxy_with("{}", "limits: { bayeux_sessions: 1 }");
    for (handshake, code) in [
        (json!({"version": "1.0", "supportedConnectionTypes": ["carrier-pigeon"]}), "301:"),
        (json!({"version": "1.0"}), "301:"),
        (json!({"supportedConnectionTypes": ["long-polling"]}), "400:"),
    ] {
        let mut message = json!({"channel": "/meta/handshake", "id": 7});
        message.as_object_mut().unwrap().extend(handshake.as_object().unwrap().clone());
        let reply = &post(&proxy, &json!([message]))[0];
        assert_eq!((&reply["successful"], &reply["id"]), (&json!(false), &json!(7)), "{reply}");
        assert!(reply["error"].as_str().unwrap().starts_with(code), "{reply}");
        assert_eq!((&reply["advice"]["reconnect"], reply.get("clientId")), (&json!("none"), None));
    }
    proxy.wait_metric("perihelion_bayeux_sessions", &[], 0.0);
    // Whatever stands beside a handshake is passed over.
    let handshake =
        json!({"channel": "/meta/handshake", "version": 1.0, "supportedConnectionTypes": ["long-polling"]});
    let both = post(&proxy, &json!([{"channel": "/a", "data": 1}, handshake]));
    assert_eq!((both.as_array().unwrap().len(), &both[0]["successful"]), (1, &json!(true)));
    let full = &post(&proxy, &json!([handshake]))[0];
    assert_eq!(
        (&full["error"], &full["advice"]["reconnect"]),
        (&json!("503::too_many_sessions"), &json!("handshake"))
    );
}

#[test]
fn a_connect_that_waits_ends_with_what_is_published_by_whom_ever() {
    let proxy = proxy();
    let (reader, writer) = (client(&proxy), client(&proxy));
    let echo = subscribe(&proxy, &reader, json!(["/news", "/chat/*"]));
    assert_eq!(
        echo,
        json!([{"id": "s", "channel": "/meta/subscribe", "successful": true, "subscription": ["/news", "/chat/*"]}])
    );
    assert_eq!(proxy.subscribers("%2Fnews"), 1);
    let mut raw = held(&proxy, &reader, "7");
    proxy.control_with("POST", "/channels/%2Fnews", "Content-Type: application/json\r\n", "{\"a\": 1.0}");
    let answer = raw.answer();
    let expected = "[{\"channel\":\"/news\",\"data\":{\"a\": 1.0}},{\"id\":\"7\",\"channel\":\"/meta/connect\",\"successful\":true}]";
    assert_eq!(answer.text(), expected);
    assert_eq!(answer.head.get("content-type"), Some("application/json;charset=UTF-8"));
    // The connection serves on.
    send(&mut raw, "/cometd", "", &connect(&reader, "8").to_string());
    let said = publish(&proxy, &writer, "/chat/room", json!("hi \u{2028} é"));
    assert_eq!(said, json!([{"id": "p", "channel": "/chat/room", "successful": true}]));
    let got = replies(&raw.answer());
    assert_eq!(got[0], json!({"channel": "/chat/room", "data": "hi \u{2028} é"}));
    assert_eq!(got[1], json!({"id": "8", "channel": "/meta/connect", "successful": true}));
}

#[test]
fn what_a_bayeux_client_publishes_reaches_those_who_speak_otherwise() {
    let proxy = proxy();
    let writer = client(&proxy);
    let mut events = EventSource::open(proxy.http(), "/events");
    proxy.wait_subscribers("%2Fnews", 1);
    for (data, shown) in [
        (json!("text"), "text"),
        (json!(null), "null"),
        (json!({"a": [0, false, ""]}), r#"{"a":[0,false,""]}"#),
    ] {
        assert_eq!(publish(&proxy, &writer, "/news", data)[0]["successful"], true);
        assert_eq!(events.next().data, shown);
    }
}

#[test]
fn an_idle_connect_is_answered_at_the_end_of_its_time() {
    let proxy = proxy_with("{ timeout: 500ms }", "");
    let id = client(&proxy);
    let mut raw = held(&proxy, &id, "9");
    let answer = raw.answer();
    assert_eq!(answer.text(), "[{\"id\":\"9\",\"channel\":\"/meta/connect\",\"successful\":true}]");
    let closed = [("transport", "bayeux"), ("reason", "timeout")];
    proxy.wait_metric("perihelion_comet_streams_closed_total", &closed, 1.0);
    // With advice of its own it isn't held at all, and is told what holds.
    let asked = json!([{"channel": "/meta/connect", "clientId": id, "connectionType": "long-polling", "advice": {"timeout": 0}}]);
    let expected = json!([{"channel": "/meta/connect", "successful": true, "advice": {"reconnect": "retry", "interval": 0, "timeout": 500}}]);
    assert_eq!(post(&proxy, &asked), expected);
}

#[test]
fn what_comes_between_two_connects_waits_and_comes_once() {
    let proxy = proxy();
    let id = client(&proxy);
    subscribe(&proxy, &id, json!("/a"));
    proxy.publish("%2Fa", "one");
    let waiting = || post(&proxy, &connect(&id, "c"));
    // The room's thread takes it from the hub in its own time.
    let mut raw = proxy.connect();
    send(&mut raw, "/cometd", "", &connect(&id, "c").to_string());
    assert_eq!(replies(&raw.answer())[0], json!({"channel": "/a", "data": "one"}));
    proxy.publish("%2Fa", "two");
    assert_eq!(waiting()[0], json!({"channel": "/a", "data": "two"}));
    // Other replies take along what waits, too.
    proxy.publish("%2Fa", "three");
    let mut got = Value::Null;
    wait_until("the third message", || {
        got = post(&proxy, &json!([{"channel": "/service/x", "clientId": id, "data": 1}]));
        got.as_array().unwrap().len() == 2
    });
    assert_eq!(got[0], json!({"channel": "/a", "data": "three"}));
}

#[test]
fn the_newest_connect_waits_and_the_one_before_ends_with_an_error() {
    let proxy = proxy();
    let id = client(&proxy);
    subscribe(&proxy, &id, json!("/a"));
    let mut older = held(&proxy, &id, "1");
    let mut newer = held(&proxy, &id, "2");
    let refused = older.answer();
    assert_eq!((refused.status(), refused.body.len()), (500, 0));
    proxy.publish("%2Fa", "x");
    let got = replies(&newer.answer());
    assert_eq!((&got[0]["data"], &got[1]["id"]), (&json!("x"), &json!("2")));
    proxy.wait_metric("perihelion_comet_streams_closed_total", &[("reason", "replaced")], 1.0);
}

#[test]
fn a_connect_with_company_is_answered_at_once_in_order() {
    let proxy = proxy();
    let id = client(&proxy);
    let batch = json!([
        {"channel": "/meta/connect", "clientId": id, "connectionType": "long-polling", "id": "1"},
        {"channel": "/meta/subscribe", "clientId": id, "subscription": "/a", "id": "2"},
        {"channel": "/meta/unknown", "clientId": id, "id": "3"},
        {"channel": "/a", "clientId": id, "id": "4"},
        {"clientId": id, "id": "5"},
    ]);
    let got = post(&proxy, &batch);
    let short: Vec<_> =
        got.as_array().unwrap().iter().map(|reply| (reply["id"].as_str(), reply["error"].as_str())).collect();
    let expected = [
        (Some("1"), None),
        (Some("2"), None),
        (Some("3"), Some("404::channel_unknown")),
        (Some("4"), Some("400::data_missing")),
        (Some("5"), Some("400::channel_missing")),
    ];
    assert_eq!(short, expected);
}

#[test]
fn patterns_reach_as_far_as_they_say_and_a_message_comes_once() {
    let proxy = proxy();
    let all = client(&proxy);
    subscribe(&proxy, &all, json!(["/foo/bar", "/foo/*", "/foo/**"]));
    let (child, everything) = (client(&proxy), client(&proxy));
    subscribe(&proxy, &child, json!("/foo/*"));
    subscribe(&proxy, &everything, json!("/**"));
    let names = ["/foo", "/foobar", "/foo/bar", "/foo/a/b", "/meta/x", "/service/y", "plain"];
    names.iter().for_each(|name| drop(proxy.publish(&name.replace('/', "%2F"), name)));
    proxy.publish("%2Ffoo%2Fend", "end");
    let heard = |id: &str| {
        let mut heard: Vec<String> = Vec::new();
        wait_until("the last message", || {
            let got = post(&proxy, &json!([{"channel": "/service/x", "clientId": id, "data": 1}]));
            heard.extend(
                got.as_array().unwrap().iter().filter_map(|said| said["data"].as_str()).map(str::to_owned),
            );
            heard.last().is_some_and(|last| last == "end")
        });
        heard
    };
    assert_eq!(heard(&all), ["/foo/bar", "/foo/a/b", "end"]);
    assert_eq!(heard(&child), ["/foo/bar", "end"]);
    assert_eq!(heard(&everything), ["/foo", "/foobar", "/foo/bar", "/foo/a/b", "end"]);
}

#[test]
fn subscriptions_that_can_not_be_are_refused_and_the_session_goes_on() {
    let proxy = proxy_with("{ subscriptions: 2 }", "");
    let id = client(&proxy);
    let error = |names: Value| {
        let reply = &subscribe(&proxy, &id, names)[0];
        assert_eq!(reply["id"], "s");
        reply["error"].as_str().unwrap_or("none").to_owned()
    };
    for bad in ["foo", "/", "//a", "/a/", "/a//b", "/a b", "/*/a", "/**/x", "/a/***"] {
        assert_eq!(error(json!(bad)), "403::subscription_invalid", "{bad}");
    }
    assert_eq!(error(json!([])), "403::subscription_invalid");
    assert_eq!(error(json!("/meta/connect")), "403::subscribe_denied");
    assert_eq!(error(json!("/meta/**")), "403::subscribe_denied");
    let missing = post(&proxy, &json!([{"channel": "/meta/subscribe", "clientId": id, "id": "s"}]));
    assert_eq!(missing[0]["error"], "403::subscription_missing");
    // Services have none, and say yes.
    assert_eq!(error(json!("/service/x")), "none");
    assert_eq!(error(json!(["/a", "/b"])), "none");
    assert_eq!(error(json!("/c")), "403::too_many_subscriptions");
    assert_eq!(error(json!("/a")), "none");
    for _ in 0..2 {
        let gone = post(
            &proxy,
            &json!([{"channel": "/meta/unsubscribe", "clientId": id, "subscription": "/a", "id": 1}]),
        );
        assert_eq!(
            gone[0],
            json!({"id": 1, "channel": "/meta/unsubscribe", "successful": true, "subscription": "/a"})
        );
    }
    proxy.wait_subscribers("%2Fa", 0);
}

#[test]
fn who_is_unknown_begins_anew_and_is_told_so() {
    let proxy = proxy();
    let got = post(
        &proxy,
        &json!([
            {"channel": "/meta/connect", "clientId": "nobody", "connectionType": "long-polling", "id": "12"},
            {"channel": "/x", "clientId": "nobody", "data": 1, "id": "13"},
            {"channel": "/x", "data": 1, "id": "14"},
        ]),
    );
    let connect = json!({"id": "12", "channel": "/meta/connect", "successful": false, "error": "402::session_unknown",
        "advice": {"reconnect": "handshake", "interval": 0}});
    assert_eq!(got[0], connect);
    for (reply, id) in [(&got[1], "13"), (&got[2], "14")] {
        assert_eq!(
            *reply,
            json!({"id": id, "channel": "/x", "successful": false, "error": "402::session_unknown"})
        );
    }
}

#[test]
fn a_session_without_connects_expires_and_one_that_waits_does_not() {
    let proxy = proxy_with("{ expiry: 3s }", "");
    let waits = client(&proxy);
    let mut raw = held(&proxy, &waits, "1");
    subscribe(&proxy, &waits, json!("/b"));
    let silent = client(&proxy);
    subscribe(&proxy, &silent, json!(["/a", "/a/*"]));
    proxy.wait_metric("perihelion_bayeux_sessions_ended_total", &[("reason", "expired")], 1.0);
    proxy.wait_subscribers("%2Fa", 0);
    assert_eq!(post(&proxy, &connect(&silent, "2"))[0]["error"], "402::session_unknown");
    proxy.publish("%2Fb", "still there");
    assert_eq!(replies(&raw.answer())[0]["data"], "still there");
}

#[test]
fn a_disconnect_ends_the_session_and_its_connect() {
    let proxy = proxy();
    let id = client(&proxy);
    let mut raw = held(&proxy, &id, "1");
    let said = post(&proxy, &json!([{"channel": "/meta/disconnect", "clientId": id, "id": "2"}]));
    assert_eq!(said, json!([{"id": "2", "channel": "/meta/disconnect", "successful": true}]));
    let last = replies(&raw.answer());
    assert_eq!((&last[0]["successful"], &last[0]["advice"]["reconnect"]), (&json!(true), &json!("none")));
    proxy.wait_metric("perihelion_bayeux_sessions_ended_total", &[("reason", "disconnect")], 1.0);
    proxy.wait_metric("perihelion_bayeux_sessions", &[], 0.0);
}

/// A client that leaves its page says both at once, over two connections.
#[test]
fn a_disconnect_right_behind_a_connect_leaves_it_with_an_answer() {
    let proxy = proxy();
    let (mut connects, mut disconnects) = (proxy.connect(), proxy.connect());
    for round in 0..150_u32 {
        let id = client(&proxy);
        send(&mut connects, "/cometd", "", &connect(&id, "c").to_string());
        // Between none and a millisecond, in which it is taken over.
        let began = std::time::Instant::now();
        while began.elapsed().as_micros() < u128::from(round % 50 * 20) {}
        let goodbye = json!([{"channel": "/meta/disconnect", "clientId": id, "id": "d"}]);
        send(&mut disconnects, "/cometd", "", &goodbye.to_string());
        assert_eq!(replies(&disconnects.answer())[0]["successful"], true);
        let last = replies(&connects.answer())[0].clone();
        match last["successful"] == true {
            true => assert_eq!((&last["id"], &last["advice"]["reconnect"]), (&json!("c"), &json!("none"))),
            // The disconnect was faster.
            false => assert_eq!(last["error"], "402::session_unknown", "{last}"),
        }
    }
    proxy.wait_metric("perihelion_bayeux_sessions", &[], 0.0);
}

#[test]
fn a_client_whose_connection_breaks_gets_what_comes_meanwhile() {
    let proxy = proxy();
    let id = client(&proxy);
    subscribe(&proxy, &id, json!("/a"));
    drop(held(&proxy, &id, "1"));
    proxy.wait_metric("perihelion_comet_streams_closed_total", &[("reason", "client")], 1.0);
    proxy.publish("%2Fa", "x");
    let mut raw = proxy.connect();
    send(&mut raw, "/cometd", "", &connect(&id, "2").to_string());
    assert_eq!(replies(&raw.answer())[0]["data"], "x");
}

#[test]
fn a_queue_that_is_full_ends_the_session_and_no_other() {
    let proxy = proxy_with("{ queue: 2 }", "");
    let (absent, there) = (client(&proxy), client(&proxy));
    [&absent, &there].into_iter().for_each(|id| drop(subscribe(&proxy, id, json!("/a"))));
    // Who takes each as it comes has room for the next; who is absent has all three.
    for number in ["0", "1", "2"] {
        let mut raw = held(&proxy, &there, number);
        proxy.publish("%2Fa", number);
        assert_eq!(replies(&raw.answer())[0]["data"], number);
    }
    proxy.wait_metric("perihelion_bayeux_sessions_ended_total", &[("reason", "queue_full")], 1.0);
    assert_eq!(post(&proxy, &connect(&absent, "2"))[0]["advice"]["reconnect"], "handshake");
}

#[test]
fn acknowledged_batches_come_again_until_they_are() {
    let proxy = proxy();
    let id = handshake_with(&proxy, json!({"ext": {"ack": true}}));
    let ask = |ack: u64, number: &str| json!([{"channel": "/meta/connect", "clientId": id, "connectionType": "long-polling", "id": number, "ext": {"ack": ack}}]);
    let first = &post(&proxy, &ask(0, "1"))[0];
    assert_eq!(first["ext"], json!({"ack": 1}));
    subscribe(&proxy, &id, json!("/a"));
    let mut raw = proxy.connect();
    send(&mut raw, "/cometd", "", &ask(1, "2").to_string());
    proxy.publish("%2Fa", "x");
    let got = replies(&raw.answer());
    assert_eq!((&got[0]["data"], &got[1]["ext"]["ack"]), (&json!("x"), &json!(2)));
    // It says that it has not got it.
    let again = post(&proxy, &ask(1, "3"));
    assert_eq!((&again[0]["data"], &again[1]["ext"]["ack"]), (&json!("x"), &json!(3)));
    proxy.publish("%2Fa", "y");
    let mut raw = proxy.connect();
    send(&mut raw, "/cometd", "", &ask(3, "4").to_string());
    let got = replies(&raw.answer());
    assert_eq!((&got[0]["data"], got.as_array().unwrap().len()), (&json!("y"), 2));
}

#[test]
fn the_clients_clock_is_answered_with_ours() {
    let proxy = proxy();
    let mut raw = proxy.connect();
    let handshake = json!([{"channel": "/meta/handshake", "version": "1.0", "supportedConnectionTypes": ["long-polling"],
        "ext": {"timesync": {"tc": 12345, "l": 0, "o": 0}}}]);
    send(&mut raw, "/cometd", "", &handshake.to_string());
    let sync = replies(&raw.answer())[0]["ext"]["timesync"].clone();
    let (ts, a) = (sync["ts"].as_i64().unwrap(), sync["a"].as_i64().unwrap());
    assert_eq!((&sync["tc"], &sync["p"]), (&json!(12345), &json!(0)));
    assert!(ts > 1_700_000_000_000 && (a - (12345 - ts)).abs() <= 1, "{sync}");
}

#[test]
fn scripts_are_called_by_a_safe_name_and_wake_each_other() {
    let proxy = proxy();
    let id = client(&proxy);
    subscribe(&proxy, &id, json!("/a"));
    let get = |raw: &mut Raw, message: &Value, query: &str| {
        let message: String = message.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect();
        raw.send(format!("GET /cometd?message={message}{query} HTTP/1.1\r\nHost: a\r\n\r\n"));
    };
    let before = proxy.metric("perihelion_comet_streams_opened_total", &[]);
    let mut waiting = proxy.connect();
    get(&mut waiting, &connect(&id, "1"), "&jsonp=my.cb");
    proxy.wait_metric("perihelion_comet_streams_opened_total", &[], before + 1.0);
    let mut other = proxy.connect();
    get(
        &mut other,
        &json!([{"channel": "/service/x", "clientId": id, "data": 1, "id": "2"}]),
        "&jsonp=my.cb",
    );
    let answer = other.answer();
    assert_eq!(answer.text(), "/**/my.cb([{\"id\":\"2\",\"channel\":\"/service/x\",\"successful\":true}]);");
    let woken = waiting.answer();
    assert_eq!(
        woken.text(),
        "/**/my.cb([{\"id\":\"1\",\"channel\":\"/meta/connect\",\"successful\":true}]);"
    );
    for answer in [&answer, &woken] {
        assert_eq!(answer.head.get("content-type"), Some("text/javascript;charset=UTF-8"));
        assert_eq!(answer.head.get("x-content-type-options"), Some("nosniff"));
    }
    get(&mut waiting, &connect(&id, "3"), "");
    proxy.wait_metric("perihelion_comet_streams_opened_total", &[], before + 2.0);
    proxy.publish("%2Fa", "\u{2028}</script>");
    let text = waiting.answer().text();
    assert!(
        text.starts_with("/**/jsonpcallback([{\"channel\":\"/a\",\"data\":\"\\u2028\\u003c/script\\u003e\"}"),
        "{text}"
    );
    for bad in ["&jsonp=alert(1)//", "&jsonp="] {
        let mut raw = proxy.connect();
        get(&mut raw, &connect(&id, "4"), bad);
        assert_eq!(raw.answer().status(), 400, "{bad}");
    }
}

#[test]
fn a_method_that_carries_no_messages_is_told_which_ones_do() {
    let proxy = proxy();
    let mut raw = proxy.connect();
    raw.send("PUT /cometd HTTP/1.1\r\nHost: example.com\r\nContent-Length: 2\r\n\r\n[]");
    let answer = raw.answer();
    assert_eq!((answer.status(), answer.head.get("allow")), (405, Some("GET, POST")));
    raw.send("DELETE /cometd HTTP/1.1\r\nHost: example.com\r\n\r\n");
    assert_eq!(raw.answer().status(), 405);
}

#[test]
fn messages_come_alone_in_forms_and_never_as_junk() {
    let proxy = proxy();
    let id = client(&proxy);
    let alone = json!({"channel": "/a", "clientId": id, "data": 1});
    assert_eq!(post(&proxy, &alone), json!([{"channel": "/a", "successful": true}]));
    let mut raw = proxy.connect();
    let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    let form =
        format!("message={}&message={}", encode(&json!([alone]).to_string()), encode(&alone.to_string()));
    for media_type in ["application/x-www-form-urlencoded", "text/plain;charset=UTF-8"] {
        send(&mut raw, "/cometd", &format!("Content-Type: {media_type}\r\n"), &form);
        assert_eq!(replies(&raw.answer()).as_array().unwrap().len(), 2);
    }
    let deep = format!("[{{\"channel\":\"/a\",\"data\":{}{}}}]", "[".repeat(10_000), "]".repeat(10_000));
    for junk in ["[]", "junk", "[1]", "[{]", "", &deep] {
        let mut raw = proxy.connect();
        send(&mut raw, "/cometd", "Content-Type: application/json\r\n", junk);
        assert_eq!(raw.answer().status(), 400, "{junk:.20}");
    }
    let mut raw = proxy.connect();
    send(&mut raw, "/cometd", "", &format!("[\"{}\"]", "x".repeat(300 * 1024)));
    assert_eq!(raw.answer().status(), 413);
    assert_eq!(post(&proxy, &json!([{}]))[0]["error"], "400::channel_missing");
}

#[test]
fn one_browser_has_one_connect_that_waits() {
    let proxy = proxy();
    let mut raw = proxy.connect();
    let handshake = json!([{"channel": "/meta/handshake", "version": "1.0", "supportedConnectionTypes": ["long-polling"]}]);
    send(&mut raw, "/cometd", "", &handshake.to_string());
    let answer = raw.answer();
    let cookie = answer.head.get("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let first = replies(&answer)[0]["clientId"].as_str().unwrap().to_owned();
    send(&mut raw, "/cometd", &format!("Cookie: {cookie}\r\n"), &handshake.to_string());
    let second = replies(&raw.answer())[0]["clientId"].as_str().unwrap().to_owned();
    [&first, &second].into_iter().for_each(|id| drop(post(&proxy, &connect(id, "0"))));
    let waiting = held(&proxy, &first, "1");
    let crowded = post(&proxy, &connect(&second, "2"));
    let advice = json!({"reconnect": "retry", "interval": 2000, "timeout": 25000, "multiple-clients": true});
    assert_eq!(
        crowded,
        json!([{"id": "2", "channel": "/meta/connect", "successful": true, "advice": advice}])
    );
    drop(waiting);
    proxy.wait_metric("perihelion_comet_streams_closed_total", &[("reason", "client")], 1.0);
    drop(held(&proxy, &second, "3"));
}

#[test]
fn pages_of_a_named_origin_may_speak_and_no_others() {
    let proxy = proxy();
    let ask = |origin: &str, line: &str, headers: &str| {
        let mut raw = proxy.connect();
        raw.send(format!("{line} HTTP/1.1\r\nHost: a\r\nOrigin: {origin}\r\n{headers}\r\n"));
        raw.answer().head
    };
    let preflight = "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type\r\n";
    let head = ask("https://www.example.com", "OPTIONS /cometd", preflight);
    assert_eq!((head.status(), head.get("access-control-allow-headers")), (204, Some("content-type")));
    let get = "GET /cometd?message=%7B%22channel%22%3A%22/a%22%7D";
    let head = ask("https://www.example.com", get, "");
    assert_eq!(head.get("access-control-allow-credentials"), Some("true"));
    assert!(!ask("https://evil.example", get, "").has("access-control-allow-origin"));
}

#[test]
fn a_reload_keeps_sessions_and_a_drain_answers_what_waits() {
    let mut proxy = proxy();
    let id = client(&proxy);
    subscribe(&proxy, &id, json!("/a"));
    let mut raw = held(&proxy, &id, "1");
    assert_eq!(proxy.control("POST", "/reload", "").status(), 200);
    proxy.publish("%2Fa", "x");
    assert_eq!(replies(&raw.answer())[0]["data"], "x");
    let mut raw = held(&proxy, &id, "2");
    proxy.signal("TERM");
    assert_eq!(replies(&raw.answer())[0]["id"], "2");
    assert!(proxy.wait_exit().success());
}
