//! The control port: every request of the contract, its refusals in JSON, and who may ask at all.

use serde_json::{Value, json};

use crate::support::{Answer, EventSource, Origin, Perihelion, Place, Raw, Reply, wait_for};

fn proxy() -> Perihelion {
    Perihelion::before(&Origin::replying(|_| Reply::ok("")))
}

#[track_caller]
fn assert_error(answer: &Answer, status: u16) -> String {
    assert_eq!(answer.status(), status, "{}", answer.text());
    assert_eq!(answer.head.get("content-type"), Some("application/json"));
    let error = answer.json()["error"].as_str().unwrap().to_string();
    assert!(error.len() > 5, "{error}");
    error
}

#[test]
fn a_short_message_keeps_no_more_than_its_own_bytes() {
    let origin = Origin::replying(|_| Reply::ok(""));
    let proxy = Perihelion::before_with(&origin, "channels: { history: 10000 }");
    let request = format!(
        "POST /channels/news HTTP/1.1\r\nHost: {}\r\nContent-Length: 5\r\n\r\nshort",
        proxy.place.control()
    );
    let mut publisher = Raw::connect(proxy.place.control());
    let mut publish = |count| {
        for _ in 0..count {
            publisher.send(&request);
            assert_eq!(publisher.answer().status(), 200);
        }
    };
    publish(100);
    let before = proxy.resident_bytes();
    publish(5000);
    let grown = proxy.resident_bytes().saturating_sub(before);
    assert!(grown < 10 << 20, "{grown} bytes more for 5000 messages of 5 bytes");
}

#[test]
fn a_message_is_answered_with_its_position_and_how_many_subscribe() {
    let origin = Origin::replying(|_| Reply::hold("news").with("X-Comet-Transport", "sse"));
    let proxy = Perihelion::before(&origin);
    let answer = proxy.control("POST", "/channels/news", "nobody listens");
    assert_eq!((answer.status(), &answer.json()["subscribers"]), (200, &json!(0)));
    proxy.wait_metric("perihelion_comet_publish_no_subscriber_total", &[], 1.0);
    let mut events = EventSource::open(proxy.http(), "/");
    proxy.wait_subscribers("news", 1);
    let headers =
        "Content-Type: text/plain\r\nX-Comet-Event: greeting\r\nX-Comet-Id: my-1\r\nX-Comet-Key: k\r\n";
    let answer = proxy.control_with("POST", "/channels/news", headers, "hello");
    assert_eq!((answer.status(), &answer.json()["subscribers"]), (200, &json!(1)));
    let event = events.next();
    assert_eq!((event.event.as_str(), event.data.as_str()), ("greeting", "hello"));
    assert_eq!(event.id.as_deref(), answer.json()["id"].as_str());
    proxy.wait_metric("perihelion_comet_publishes_total", &[("result", "accepted")], 2.0);
    proxy.wait_metric("perihelion_comet_messages_total", &[], 2.0);
}

#[test]
fn the_same_id_again_is_answered_as_before_and_delivered_once() {
    let origin = Origin::replying(|_| Reply::hold("news").with("X-Comet-Transport", "sse"));
    let proxy = Perihelion::before(&origin);
    let mut events = EventSource::open(proxy.http(), "/");
    proxy.wait_subscribers("news", 1);
    let first = proxy.publish_with("news", "X-Comet-Id: order-7\r\n", "once");
    assert_eq!(proxy.publish_with("news", "X-Comet-Id: order-7\r\n", "once"), first);
    let item = r#"{"items":[{"channel":"news","data":"once","id":"order-7"}]}"#;
    assert_eq!(proxy.control("POST", "/publish", item).status(), 200);
    proxy.publish_with("other", "X-Comet-Id: order-7\r\n", "another channel");
    proxy.publish("news", "next");
    assert_eq!(events.data(2), ["once", "next"]);
}

#[test]
fn a_channel_shows_its_subscribers_and_history() {
    let proxy = proxy();
    let first = proxy.publish("news", "1");
    let last = proxy.publish("news", "2");
    let answer = proxy.control("GET", "/channels/news", "");
    assert_eq!(answer.status(), 200);
    let facts = answer.json();
    assert_eq!((&facts["subscribers"], &facts["messages"]), (&json!(0), &json!(2)));
    assert_eq!((&facts["first"], &facts["last"]), (&json!(first), &json!(last)));
    assert_error(&proxy.control("GET", "/channels/unknown", ""), 404);
}

#[test]
fn history_is_json_from_a_position_on() {
    let proxy = proxy();
    let first = proxy.publish("news", "1");
    let second = proxy.publish_with("news", "Content-Type: application/json\r\n", "{\"two\":2}");
    let all = proxy.control("GET", "/channels/news/messages", "").json();
    assert_eq!(all["messages"].as_array().unwrap().len(), 2);
    let rest = proxy.control("GET", &format!("/channels/news/messages?since={first}"), "").json();
    let expected = json!([{ "id": second, "channel": "news", "data": { "two": 2 } }]);
    assert_eq!(rest["messages"], expected);
    assert_eq!((&rest["position"], &rest["gap"]), (&json!(second), &json!(false)));
    let other = proxy.control("GET", "/channels/news/messages?since=abc-1", "").json();
    assert_eq!(other["gap"], true);
    assert_error(&proxy.control("GET", "/channels/news/messages?since=junk", ""), 400);
    assert_error(&proxy.control("GET", "/channels/unknown/messages", ""), 404);
}

#[test]
fn a_deleted_channel_is_forgotten() {
    let proxy = proxy();
    let before = proxy.publish("news", "1");
    assert_eq!(proxy.control("DELETE", "/channels/news", "").status(), 200);
    assert_error(&proxy.control("GET", "/channels/news", ""), 404);
    assert_error(&proxy.control("DELETE", "/channels/news", ""), 404);
    // What comes after has a place behind.
    let after = proxy.publish("news", "2");
    assert_ne!(before, after);
    assert_eq!(proxy.control("GET", "/channels/news", "").json()["messages"], 1);
}

#[test]
fn channels_are_listed_in_pages() {
    let proxy = proxy();
    for n in 0..25 {
        proxy.publish(&format!("channel-{n:02}"), "x");
    }
    let mut names = Vec::new();
    let mut path = "/channels?limit=10".to_string();
    loop {
        let page = proxy.control("GET", &path, "").json();
        let channels = page["channels"].as_array().unwrap();
        assert!(channels.len() <= 10);
        names.extend(channels.iter().map(|channel| channel["channel"].as_str().unwrap().to_string()));
        match page["next"].as_str() {
            Some(next) => path = format!("/channels?limit=10&after={next}"),
            None => break,
        }
    }
    assert_eq!(names, (0..25).map(|n| format!("channel-{n:02}")).collect::<Vec<_>>());
    proxy.wait_metric("perihelion_comet_channels", &[], 25.0);
}

#[test]
fn a_channel_name_is_any_text_without_control_characters() {
    let proxy = proxy();
    proxy.publish("k%C3%A4se%2F42%20%3F", "x");
    let page = proxy.control("GET", "/channels", "").json();
    assert_eq!(page["channels"][0]["channel"], "käse/42 ?");
    let long = "x".repeat(1025);
    for bad in ["a%0Ab", "%ff", "%zz", &long] {
        assert_error(&proxy.control("POST", &format!("/channels/{bad}"), "x"), 400);
    }
    proxy.wait_metric("perihelion_comet_messages_total", &[], 1.0);
}

#[test]
fn a_batch_is_published_in_its_order() {
    let proxy = proxy();
    let items =
        r#"{"items":[{"channel":"a","data":"1"},{"channel":"b","data":{"n":2},"event":"e","id":"i"}]}"#;
    for path in ["/publish", "/publish/"] {
        assert_eq!(proxy.control("POST", path, items).status(), 200);
    }
    let history = proxy.control("GET", "/channels/b/messages", "").json();
    assert_eq!(history["messages"].as_array().unwrap().len(), 1, "{history}");
    let message = &history["messages"][0];
    assert_eq!((&message["data"], &message["event"]), (&json!({ "n": 2 }), &json!("e")));
    assert_eq!(proxy.control("GET", "/channels/a", "").json()["messages"], 2);
}

#[test]
fn a_batch_with_one_bad_item_publishes_nothing_and_says_which() {
    let proxy = proxy();
    for bad in [
        r#"{"channel":"","data":"x"}"#,
        r#"{"channel":"a\nb","data":"x"}"#,
        r#"{"channel":"news"}"#,
        r#"{"data":"x"}"#,
        r#"{"channel":"news","data":"x","event":"a\nb"}"#,
        r#"{"channel":"news","data":"x","colour":"red"}"#,
        r#""news""#,
    ] {
        let good = r#"{"channel":"news","data":"good"}"#;
        let answer =
            proxy.control("POST", "/publish", &format!("{{\"items\":[{good},{good},{bad},{good}]}}"));
        assert_error(&answer, 400);
        assert_eq!(answer.json()["item"], 2, "{bad}");
    }
    assert_error(&proxy.control("GET", "/channels/news", ""), 404);
    proxy.wait_metric("perihelion_comet_messages_total", &[], 0.0);
}

#[test]
fn what_a_conflict_says_of_a_channel_without_messages_can_be_expected_of_it() {
    let proxy = proxy();
    let publish = |last: &str| {
        let body =
            format!("{{\"items\":[{{\"channel\":\"news\",\"data\":\"x\",\"expected_last\":{last}}}]}}");
        proxy.control("POST", "/publish", &body)
    };
    let conflict = publish("\"e-1\"");
    assert_error(&conflict, 409);
    assert!(conflict.json()["last"].is_null());
    assert_eq!(publish("null").status(), 200);
    assert_error(&publish("null"), 409);
}

#[test]
fn whoever_sends_a_whole_body_that_is_too_large_reads_why_it_is_refused() {
    let proxy = Perihelion::before_with(&Origin::replying(|_| Reply::ok("")), "limits: { message: 1KiB }");
    // More than all buffers on the way take.
    let answer = proxy.control("POST", "/channels/news", &"x".repeat(20_000_000));
    assert_error(&answer, 413);
}

#[test]
fn what_is_no_publish_is_refused_in_json() {
    let proxy = Perihelion::before_with(
        &Origin::replying(|_| Reply::ok("")),
        "limits: { message: 1KiB, batch: 2, channels: 3 }",
    );
    let json = "Content-Type: application/json\r\n";
    let refuse = |status, method, path: &str, headers: &str, body: &str| {
        assert_error(&proxy.control_with(method, path, headers, body), status)
    };
    refuse(400, "POST", "/publish", "", "not json");
    refuse(400, "POST", "/publish", "", "{}");
    refuse(415, "POST", "/publish", "Content-Type: application/x-yaml\r\n", "items: []");
    refuse(400, "POST", "/channels/news", json, "{broken");
    refuse(400, "POST", "/channels/news", "X-Comet-Event: comet.gap\r\n", "forged");
    refuse(413, "POST", "/channels/news", "", &"x".repeat(1025));
    let item = r#"{"channel":"news","data":"x"}"#;
    refuse(413, "POST", "/publish", "", &format!("{{\"items\":[{item},{item},{item}]}}"));
    refuse(405, "PUT", "/channels/news", "", "x");
    refuse(405, "GET", "/publish", "", "");
    refuse(405, "GET", "/reload", "", "");
    refuse(405, "POST", "/metrics", "", "");
    refuse(404, "GET", "/nothing/here", "", "");
    proxy.wait_metric("perihelion_comet_messages_total", &[], 0.0);
    for channel in ["a", "b", "c"] {
        proxy.publish(channel, "x");
    }
    let answer = proxy.control("POST", "/channels/d", "one too many");
    assert_error(&answer, 503);
    assert!(answer.head.has("retry-after"), "{:?}", answer.head);
    proxy.publish("a", "an old one still works");
}

#[test]
fn health_and_readiness_and_metrics() {
    let proxy = proxy();
    assert_eq!(proxy.control("GET", "/healthz", "").status(), 200);
    assert_eq!(proxy.control("GET", "/readyz", "").status(), 200);
    let metrics = proxy.control("GET", "/metrics", "");
    assert_eq!(metrics.head.get("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(metrics.text().contains("# TYPE perihelion_comet_messages_total counter"));
}

#[test]
fn without_a_token_no_web_page_gets_in() {
    let proxy = proxy();
    let mut raw = Raw::connect(proxy.place.control());
    let host = proxy.place.control();
    for (host, headers) in [
        ("evil.example:7070".to_string(), String::new()),
        ("127.0.0.1".to_string(), String::new()),
        (host.to_string(), "Origin: http://evil.example\r\n".to_string()),
        (host.to_string(), "Origin: null\r\n".to_string()),
    ] {
        raw.send(format!(
            "POST /channels/news HTTP/1.1\r\nHost: {host}\r\n{headers}Content-Length: 1\r\n\r\nx"
        ));
        assert_error(&raw.answer(), 403);
    }
    assert_error(&proxy.control("GET", "/channels/news", ""), 404);
}

#[test]
fn a_token_is_needed_where_there_is_one() {
    let configuration = "listen: $HTTP\nupstream: http://127.0.0.1:9\n\
                         control: { address: \"$CONTROL\", token: \"s3cret-s3cret-s3cret\" }\n";
    let proxy = Perihelion::start_at(Place::new(), configuration, Some("s3cret-s3cret-s3cret"));
    proxy.publish("news", "with the token");
    let mut raw = Raw::connect(proxy.place.control());
    for authorization in ["", "Authorization: Bearer wrong\r\n", "Authorization: Basic czNjcmV0\r\n"] {
        let host = proxy.place.control();
        raw.send(format!("GET /channels HTTP/1.1\r\nHost: {host}\r\n{authorization}\r\n"));
        let answer = raw.answer();
        assert_error(&answer, 401);
        assert!(answer.head.get("www-authenticate").is_some_and(|value| value.starts_with("Bearer")));
        assert!(!answer.text().contains("s3cret"));
    }
    raw.send("GET /healthz HTTP/1.1\r\nHost: anything\r\n\r\n");
    assert_eq!(raw.answer().status(), 200);
    assert!(!proxy.stderr().contains("s3cret"));
}

#[test]
fn a_token_opens_what_its_roles_are_for_and_a_reload_exchanges_it() {
    let configuration = |shop: &str| {
        format!(
            "listen: $HTTP\nupstream: http://127.0.0.1:9\ncontrol:\n  address: \"$CONTROL\"\n  \
             token: all-of-it\n  tokens:\n    - {{ name: shop, token: {shop}, roles: publish }}\n    \
             - {{ name: graphs, token: only-looks, roles: read }}\n"
        )
    };
    let proxy = Perihelion::start_at(Place::new(), &configuration("publishes"), Some("all-of-it"));
    let status = |token: &str, method: &str, path: &str, body: &str| {
        let (host, length) = (proxy.place.control(), body.len());
        let mut raw = Raw::connect(host);
        raw.send(format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        ));
        let answer = raw.answer();
        if answer.status() >= 400 {
            assert_error(&answer, answer.status());
        }
        answer.status()
    };
    let revoke = r#"{"tag":"session:42"}"#;
    let table = [
        ("POST", "/channels/news", "x", [200, 403, 200]),
        ("POST", "/publish", r#"{"items":[{"channel":"news","data":"x"}]}"#, [200, 403, 200]),
        ("POST", "/revoke", revoke, [200, 403, 200]),
        ("GET", "/channels/news", "", [403, 200, 200]),
        ("GET", "/channels/news/messages", "", [403, 200, 200]),
        ("GET", "/metrics", "", [403, 200, 200]),
        ("DELETE", "/channels/news", "", [403, 403, 200]),
        ("POST", "/sites/*/maintenance", r#"{"on":false}"#, [403, 403, 200]),
    ];
    for (method, path, body, expected) in table {
        let answered =
            ["publishes", "only-looks", "all-of-it"].map(|token| status(token, method, path, body));
        assert_eq!(answered, expected, "{method} {path}");
    }
    assert!(proxy.metric("perihelion_control_refused_total", &[("reason", "forbidden")]) >= 10.0);

    assert_eq!(proxy.reload(&configuration("publishes-anew")).status(), 200);
    assert_eq!(status("publishes", "POST", "/channels/news", "x"), 401);
    assert_eq!(status("publishes-anew", "POST", "/channels/news", "x"), 200);
    proxy.wait_metric("perihelion_control_refused_total", &[("reason", "token")], 1.0);
    assert!(!proxy.stderr().contains("publishes-anew"));
}

/// Who has changed what is the only trace of it.
#[test]
fn a_change_is_logged_with_whose_token_it_was() {
    let configuration = "listen: $HTTP\nupstream: http://127.0.0.1:9\ncontrol: { address: \"$CONTROL\", \
                         tokens: [{ name: operators, token: s3cret, roles: [admin] }] }\n";
    let proxy = Perihelion::start_at(Place::new(), configuration, Some("s3cret"));
    proxy.publish("news", "x");
    assert_eq!(proxy.control("DELETE", "/channels/news", "").status(), 200);
    let line = wait_for("a line of the log", || {
        let log = proxy.stderr();
        log.lines().find(|line| line.contains("a channel was deleted")).map(str::to_string)
    });
    assert!(line.contains("operators") && line.contains("peer=\"127."), "{line}");
    assert!(!proxy.stderr().contains("s3cret"));
}

#[test]
fn the_control_port_may_be_a_unix_socket() {
    let configuration =
        "listen: $HTTP\nupstream: http://127.0.0.1:9\ncontrol: \"unix:$FOLDER/control.sock\"\n";
    let proxy = Perihelion::start_with_unix_control(configuration);
    let mut raw = Raw::unix(&proxy.place.folder.path().join("control.sock"));
    raw.send("POST /channels/news HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx");
    assert_eq!(raw.answer().status(), 200);
    raw.send("GET /channels/news HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(raw.answer().json()["messages"], 1);
}

#[test]
fn data_stays_what_it_was() {
    let proxy = proxy();
    proxy.publish("news", "{\"only\":\"looks like JSON\"}");
    proxy.publish_with("news", "Content-Type: application/vnd.x+json\r\n", "[1,2.50,\"é\"]");
    let history = proxy.control("GET", "/channels/news/messages", "");
    let messages = history.json()["messages"].clone();
    assert_eq!(messages[0]["data"], Value::String("{\"only\":\"looks like JSON\"}".to_string()));
    assert_eq!(messages[1]["data"], json!([1, 2.5, "é"]));
    assert!(history.text().contains("[1,2.50,\"é\"]"), "numbers keep their digits: {}", history.text());
}
