//! Applications that speak GRIP: what they are sent, what their clients get, what their publishers are answered.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::support::{Answer, Origin, Perihelion, Raw, Received, Reply, wait_until};

type Fields = &'static [(&'static str, &'static str)];

/// An application that answers each path with headers and a body.
fn saying(answers: &'static [(&'static str, Fields, &'static str)]) -> Origin {
    Origin::replying(move |request: &Received| {
        let path = request.target().split('?').next().unwrap_or_default();
        match answers.iter().find(|(own, ..)| *own == path) {
            Some((_, headers, body)) => {
                headers.iter().fold(Reply::ok(body), |reply, (name, value)| reply.with(name, value))
            }
            None => Reply::ok("ordinary"),
        }
    })
}

fn ask(proxy: &Perihelion, target: &str) -> Raw {
    let mut raw = proxy.connect();
    raw.send(format!("GET {target} HTTP/1.1\r\nHost: example.com\r\n\r\n"));
    raw
}

fn publish(proxy: &Perihelion, items: &str) -> Answer {
    proxy.control("POST", "/publish/", &format!("{{\"items\":[{items}]}}"))
}

fn published(proxy: &Perihelion, item: &str) {
    let answer = publish(proxy, item);
    assert_eq!((answer.status(), answer.text().as_str()), (200, "Published\n"), "{item}");
}

#[test]
fn an_application_knows_the_proxy_by_its_token_and_no_client_can_pose_as_it() {
    let origin = saying(&[]);
    let proxy = Perihelion::before_with(&origin, "grip: {key: changeme, issuer: example}\n");
    let mut raw = proxy.connect();
    raw.send("GET / HTTP/1.1\r\nHost: example.com\r\nGrip-Sig: forged\r\nGrip-Last: a; last-id=1\r\n\r\n");
    assert_eq!(raw.answer().status(), 200);
    let request = origin.only();
    let features = request.head.get("grip-feature").unwrap();
    assert!(
        features.starts_with("status, session, link:next, ") && features.contains("filter:build-id"),
        "{features}"
    );
    assert!(!request.head.has("grip-last"));
    let tokens = request.head.all("grip-sig");
    let [token] = tokens[..] else { panic!("{tokens:?}") };
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(claims["iss"], "example");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!(claims["exp"].as_u64().unwrap().abs_diff(now + 3600) <= 60, "{claims}");
}

const STREAM: &[(&str, &str)] = &[
    ("Grip-Hold", "stream"),
    ("Grip-Channel", "a, b"),
    ("Grip-Anything", "x"),
    ("Content-Type", "text/plain"),
    ("X-App", "kept"),
];

#[test]
fn a_stream_is_the_applications_answer_and_then_whatever_is_published() {
    let origin = saying(&[("/stream", STREAM, "open\n")]);
    let proxy = Perihelion::before(&origin);
    let mut raw = ask(&proxy, "/stream");
    let head = raw.head();
    assert_eq!((head.status(), head.chunked(), head.get("x-app")), (200, true, Some("kept")));
    assert!(!head.has("content-length") && !head.has("cache-control"), "{head:?}");
    assert!(!head.has("grip-hold") && !head.has("grip-channel") && !head.has("grip-anything"), "{head:?}");
    assert_eq!(raw.chunk().unwrap(), b"open\n");
    proxy.wait_subscribers("b", 1);
    published(&proxy, r#"{"channel":"a","http-stream":{"content":"flat\n"}}"#);
    assert_eq!(raw.chunk().unwrap(), b"flat\n");
    published(&proxy, r#"{"channel":"b","formats":{"http-stream":{"content-bin":"AAEC"}}}"#);
    assert_eq!(raw.chunk().unwrap(), b"\0\x01\x02");
    // Another format isn't for streams, and one of ours is.
    published(&proxy, r#"{"channel":"a","http-response":{"body":"not for streams"}}"#);
    proxy.publish("a", "ours\n");
    assert_eq!(raw.chunk().unwrap(), b"ours\n");
    for _ in 0..2 {
        published(&proxy, r#"{"channel":"a","id":"7","http-stream":{"content":"once\n"}}"#);
    }
    published(&proxy, r#"{"channel":"a","http-stream":{"action":"close"}}"#);
    assert_eq!(raw.chunk().unwrap(), b"once\n");
    assert_eq!(raw.chunk(), None);
    assert_eq!(raw.get("/").text(), "ordinary");
}

#[test]
fn a_client_of_http_1_0_is_streamed_to_until_the_end() {
    let origin = saying(&[("/stream", STREAM, "open\n")]);
    let proxy = Perihelion::before(&origin);
    let mut raw = proxy.connect();
    raw.send("GET /stream HTTP/1.0\r\nHost: example.com\r\n\r\n");
    let head = raw.head();
    assert_eq!((head.chunked(), head.get("connection")), (false, Some("close")));
    proxy.wait_subscribers("a", 1);
    published(
        &proxy,
        r#"{"channel":"a","http-stream":{"content":"more\n"}}, {"channel":"a","http-stream":{"action":"close"}}"#,
    );
    assert_eq!(raw.until_close(), b"open\nmore\n");
}

const RESPONSE: &[(&str, &str)] =
    &[("Grip-Hold", "response"), ("Grip-Channel", "a"), ("Content-Type", "application/json"), ("X-App", "1")];

#[test]
fn a_response_is_what_was_published_in_the_head_of_the_held_one() {
    const SHORT: &[(&str, &str)] = &[("Grip-Hold", "response"), ("Grip-Channel", "a"), ("Grip-Timeout", "1")];
    let origin = saying(&[("/poll", RESPONSE, "{\"a\":1}\n"), ("/short", SHORT, "{\"a\":1}\n")]);
    let proxy = Perihelion::before(&origin);
    let mut raw = ask(&proxy, "/poll");
    proxy.wait_subscribers("a", 1);
    published(&proxy, r#"{"channel":"a","http-stream":{"content":"not for responses"}}"#);
    published(
        &proxy,
        r#"{"channel":"a","http-response":{"code":201,"headers":{"X-App":"2","X-More":"3","Grip-Hold":"no"},"body":"yes\n"}}"#,
    );
    let answer = raw.answer();
    assert_eq!((answer.status(), answer.text().as_str()), (201, "yes\n"));
    let head = &answer.head;
    assert_eq!(
        (head.get("x-app"), head.get("x-more"), head.get("content-length")),
        (Some("2"), Some("3"), Some("4"))
    );
    assert_eq!((head.get("content-type"), head.has("grip-hold")), (Some("application/json"), false));

    // Else the hold that was just answered may be taken for the next.
    proxy.wait_subscribers("a", 0);
    raw.send("GET /poll HTTP/1.1\r\nHost: example.com\r\n\r\n");
    proxy.wait_subscribers("a", 1);
    published(
        &proxy,
        r#"{"channel":"a","http-response":{"body-patch":[{"op":"replace","path":"/a","value":2}]}}"#,
    );
    assert_eq!(raw.answer().text(), "{\"a\":2}\n");

    // What nobody publishes ends with the application's own, after five seconds at the least.
    let began = std::time::Instant::now();
    let answer = raw.get("/short");
    assert_eq!((answer.status(), answer.text().as_str()), (200, "{\"a\":1}\n"));
    assert!(began.elapsed().as_secs_f64() >= 4.7, "{:?}", began.elapsed());
}

#[test]
fn a_stream_shows_that_it_lives_by_bytes_of_the_applications_own() {
    let origin = saying(&[(
        "/stream",
        &[
            ("Grip-Hold", "stream"),
            ("Grip-Channel", "a"),
            ("Grip-Keep-Alive", r":\n\n; format=cstring; timeout=2"),
        ],
        "",
    )]);
    let proxy = Perihelion::before(&origin);
    let mut raw = ask(&proxy, "/stream");
    raw.head();
    assert_eq!(raw.chunk().unwrap(), b":\n\n");
    assert_eq!(raw.chunk().unwrap(), b":\n\n");
}

#[test]
fn the_status_and_the_headers_are_those_that_the_application_means() {
    let origin = saying(&[
        (
            "/teapot",
            &[
                ("Grip-Status", "418 Short and Stout"),
                ("Grip-Expose-Headers", "X-A, x-b"),
                ("X-A", "1"),
                ("X-C", "2"),
            ],
            "tea",
        ),
        ("/unchanged", &[("Grip-Status", "304")], "body"),
        ("/plain", &[("Grip-Channel", "a")], "plain"),
        (
            "/missing",
            &[("Grip-Hold", "stream"), ("Grip-Channel", "a"), ("Grip-Status", "404 Nowhere")],
            "open",
        ),
    ]);
    let proxy = Perihelion::before(&origin);
    let mut raw = ask(&proxy, "/teapot");
    let head = raw.head();
    assert!(head.line.ends_with("418 Short and Stout"), "{}", head.line);
    assert_eq!((head.get("x-a"), head.has("x-c"), head.has("grip-status")), (Some("1"), false, false));
    assert_eq!(raw.body_behind(head).text(), "tea");
    let unchanged = raw.get("/unchanged");
    assert_eq!((unchanged.status(), unchanged.text().as_str()), (304, ""));
    assert!(!unchanged.head.has("content-length"), "{:?}", unchanged.head);
    let plain = raw.get("/plain");
    assert_eq!((plain.text().as_str(), plain.head.has("grip-channel")), ("plain", false));
    let mut held = ask(&proxy, "/missing");
    assert!(held.head().line.ends_with("404 Nowhere"));
    assert_eq!(held.chunk().unwrap(), b"open");
}

#[test]
fn a_body_may_say_it_all() {
    let origin = saying(&[(
        "/stream",
        &[("Content-Type", "application/grip-instruct"), ("X-Unseen", "1")],
        r#"{"hold":{"mode":"stream","channels":[{"name":"a"}],"keep-alive":{"content":"ka","timeout":3600}},
            "response":{"code":201,"headers":[["Content-Type","text/plain"]],"body":"open\n"}}"#,
    )]);
    let proxy = Perihelion::before(&origin);
    let mut raw = ask(&proxy, "/stream");
    let head = raw.head();
    assert_eq!(
        (head.status(), head.get("content-type"), head.has("x-unseen")),
        (201, Some("text/plain"), false)
    );
    assert_eq!(raw.chunk().unwrap(), b"open\n");
    proxy.wait_subscribers("a", 1);
    published(&proxy, r#"{"channel":"a","http-stream":{"content":"x"}}"#);
    assert_eq!(raw.chunk().unwrap(), b"x");
}

#[test]
fn filters_decide_what_passes_and_put_ids_in_it() {
    let origin = saying(&[(
        "/stream",
        &[
            ("Grip-Hold", "stream"),
            ("Grip-Channel", "a; filter=skip-self; filter=build-id"),
            ("Grip-Set-Meta", r#"user="alice""#),
            ("Grip-Set-Meta", r#"id_format="a:%(a)s""#),
        ],
        "100%%\n",
    )]);
    let proxy = Perihelion::before(&origin);
    let mut raw = ask(&proxy, "/stream");
    raw.head();
    assert_eq!(raw.chunk().unwrap(), b"100%\n");
    proxy.wait_subscribers("a", 1);
    published(
        &proxy,
        r#"{"channel":"a","id":"5","meta":{"sender":"alice"},"http-stream":{"content":"own\n"}}"#,
    );
    published(
        &proxy,
        r#"{"channel":"a","id":"6","meta":{"sender":"bob"},"http-stream":{"content":"id: %I\n","content-filters":["build-id"]}}"#,
    );
    assert_eq!(raw.chunk().unwrap(), b"id: a:6\n");
}

#[test]
fn pages_stand_behind_one_another_up_to_the_one_that_is_held() {
    let origin = saying(&[
        ("/page1", &[("Grip-Link", "</page2>; rel=next"), ("Content-Type", "text/plain")], "1\n"),
        (
            "/page2",
            &[("Grip-Link", "<page3?z=1>; rel=next"), ("Grip-Channel", "x"), ("X-Unseen", "1")],
            "2\n",
        ),
        (
            "/page3",
            &[("Grip-Hold", "stream"), ("Grip-Channel", "a; prev-id=1"), ("Grip-Link", "</page3>; rel=next")],
            "3\n",
        ),
        ("/last1", &[("Grip-Link", "</last2>; rel=next")], "1\n"),
        ("/last2", &[], "2\n"),
    ]);
    let proxy = Perihelion::before(&origin);
    let mut raw = ask(&proxy, "/page1");
    let head = raw.head();
    assert_eq!((head.get("content-type"), head.has("x-unseen")), (Some("text/plain"), false));
    assert_eq!(raw.chunk().unwrap(), b"1\n2\n3\n");
    proxy.wait_subscribers("a", 1);
    published(&proxy, r#"{"channel":"a","id":"2","prev-id":"1","http-stream":{"content":"live\n"}}"#);
    assert_eq!(raw.chunk().unwrap(), b"live\n");
    assert_eq!(ask(&proxy, "/last1").answer().text(), "1\n2\n");
}

#[test]
fn clients_of_our_own_get_the_content_of_an_item_and_nothing_of_a_close() {
    let origin = saying(&[("/events", &[("X-Comet-Subscribe", "a"), ("X-Comet-Transport", "stream")], "")]);
    let proxy = Perihelion::before(&origin);
    let mut raw = ask(&proxy, "/events");
    raw.head();
    proxy.wait_subscribers("a", 1);
    published(&proxy, r#"{"channel":"a","http-stream":{"action":"close"}}"#);
    published(
        &proxy,
        r#"{"channel":"a","http-response":{"body":"response"},"ws-message":{"content":"message"}}"#,
    );
    published(&proxy, r#"{"channel":"a","http-response":{"body":"response"}}"#);
    assert_eq!((raw.chunk().unwrap(), raw.chunk().unwrap()), (b"message".to_vec(), b"response".to_vec()));
}

#[test]
fn what_an_application_says_wrong_is_answered_as_pushpin_does() {
    let origin = saying(&[
        ("/hold", &[("Grip-Hold", "foo")], ""),
        ("/timeout", &[("Grip-Timeout", "x")], ""),
        ("/keepalive", &[("Grip-Keep-Alive", "a; mode=zz")], ""),
        ("/link", &[("Grip-Link", "foo; rel=next")], ""),
        ("/body", &[("Content-Type", "application/grip-instruct")], "[]"),
    ]);
    let proxy = Perihelion::before(&origin);
    for path in ["/hold", "/timeout", "/keepalive", "/link", "/body"] {
        let answer = proxy.get(path);
        assert_eq!(
            (answer.status(), answer.text().as_str()),
            (502, "Error while proxying to origin.\n"),
            "{path}"
        );
    }
}

#[test]
fn publishers_are_answered_as_by_pushpin() {
    let origin = saying(&[]);
    let proxy = Perihelion::before(&origin);
    let said = |method, body: &str| {
        let answer = proxy.control(method, "/publish/", body);
        format!("{} {}", answer.status(), answer.text())
    };
    assert_eq!(said("GET", ""), "405 Method not allowed: GET.\n");
    assert_eq!(said("POST", "x"), "400 Body is not valid JSON.\n");
    assert_eq!(said("POST", "[]"), "400 Invalid format.\n");
    assert_eq!(said("POST", "{}"), "400 Invalid format: object does not contain 'items'\n");
    assert_eq!(
        said("POST", r#"{"items":1}"#),
        "400 Invalid format: object contains 'items' with wrong type\n"
    );
    assert_eq!(said("POST", r#"{"items":[]}"#), "200 Published\n");
    let channel = "400 Invalid format: publish item object does not contain 'channel'\n";
    assert_eq!(said("POST", r#"{"items":[{"http-stream":{"content":"x"}}]}"#), channel);
    assert_eq!(said("POST", r#"{"items":[{"channel":"a"}]}"#), "400 Invalid format: no formats specified\n");
    let json = proxy.control_with("POST", "/publish/", "Accept: application/json\r\n", r#"{"items":[]}"#);
    assert_eq!(
        (json.text().as_str(), json.head.get("content-type")),
        ("{\"message\":\"Published\"}\n", Some("application/json"))
    );
    let html = proxy.control_with("POST", "/publish/", "Accept: text/html\r\n", r#"{"items":[]}"#);
    assert_eq!(html.status(), 406);
    assert_eq!(proxy.control("GET", "/", "").status(), 200);
    // Ours stay ours, by either name; mixed lists are ours.
    for path in ["/publish", "/publish/"] {
        let mixed = r#"{"items":[{"channel":"a","data":"x"},{"channel":"a","http-stream":{"content":"y"}}]}"#;
        let answer = proxy.control("POST", path, mixed);
        assert_eq!(answer.json()["items"].as_array().unwrap().len(), 2, "{path}");
    }
    assert!(proxy.control("POST", "/publish", "x").json()["error"].is_string());
}

#[test]
fn whoever_publishes_needs_the_key_where_there_is_one() {
    let origin = saying(&[]);
    let proxy = Perihelion::before_with(&origin, "grip: {publish_key: 'base64:c2VjcmV0'}\n");
    let item = r#"{"items":[{"channel":"a","http-stream":{"content":"x"}}]}"#;
    let said = |headers: &str| proxy.control_with("POST", "/publish/", headers, item).status();
    assert_eq!((said(""), said("Authorization: Bearer a.b.c\r\n")), (401, 401));
    // {"iss":"x","exp":4102444800} with the key "secret".
    let token = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJ4IiwiZXhwIjo0MTAyNDQ0ODAwfQ.21cvg7mchwPSNOwFyuo_6QTmJSXkE0ycQISNlUrcSpg";
    assert_eq!(said(&format!("Authorization: Bearer {token}\r\n")), 200);
    assert_eq!(proxy.control("GET", "/channels", "").status(), 200);
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn what_the_application_compressed_is_plain_where_plain_bytes_follow_it_and_stays_so_elsewhere() {
    let origin = Origin::replying(|request: &Received| {
        let coded = |body: &[u8]| Reply::ok(gzip(body)).with("Content-Encoding", "gzip");
        let held = |reply: Reply| reply.with("Grip-Channel", "a").with("Grip-Timeout", "60");
        match request.target() {
            "/stream" => held(coded(b"open\n")).with("Grip-Hold", "stream"),
            "/poll" => held(coded(b"late\n")).with("Grip-Hold", "response"),
            "/body" => {
                let body =
                    br#"{"hold":{"mode":"stream","channels":[{"name":"a"}]},"response":{"body":"open\n"}}"#;
                coded(body).with("Content-Type", "application/grip-instruct")
            }
            "/pages" => coded(b"one\n").with("Grip-Link", "</page>; rel=next"),
            "/page" => Reply::ok("two\n"),
            "/ordinary" => coded(b"ordinary").with("Grip-Expose-Headers", "X-App"),
            "/false" => held(Reply::ok("plain").with("Content-Encoding", "gzip")).with("Grip-Hold", "stream"),
            _ => held(coded(&[b'x'; 200_000])).with("Grip-Hold", "stream"),
        }
    });
    let proxy = Perihelion::before_with(&origin, "limits: {hold_body: 100KiB}\n");
    for target in ["/stream", "/body"] {
        let mut raw = ask(&proxy, target);
        assert!(!raw.head().has("content-encoding"), "{target}");
        assert_eq!(raw.chunk().unwrap(), b"open\n");
        proxy.wait_subscribers("a", 1);
        published(
            &proxy,
            r#"{"channel":"a","http-stream":{"content":"more\n"}}, {"channel":"a","http-stream":{"action":"close"}}"#,
        );
        assert_eq!((raw.chunk().as_deref(), raw.chunk()), (Some(&b"more\n"[..]), None));
        proxy.wait_subscribers("a", 0);
    }
    let mut raw = ask(&proxy, "/poll");
    proxy.wait_subscribers("a", 1);
    published(&proxy, r#"{"channel":"a","http-response":{"body":"now\n"}}"#);
    let answer = raw.answer();
    assert_eq!((answer.head.has("content-encoding"), answer.text().as_str()), (false, "now\n"));
    let answer = raw.get("/pages");
    assert_eq!((answer.head.has("content-encoding"), answer.text().as_str()), (false, "one\ntwo\n"));
    let answer = raw.get("/ordinary");
    assert_eq!(
        (answer.head.get("content-encoding"), &answer.body[..]),
        (Some("gzip"), &gzip(b"ordinary")[..])
    );
    let answer = raw.get("/false");
    assert_eq!((answer.status(), answer.text().as_str()), (502, "Error while proxying to origin.\n"));
    assert_eq!(raw.get("/large").status(), 502);
    wait_until("the log says why", || {
        let log = proxy.stderr();
        log.contains("Content-Encoding") && log.contains("the body is not in this coding")
    });
}

#[test]
fn whoever_develops_an_application_is_told_what_is_wrong_with_its_answer() {
    let origin = saying(&[("/bad", &[("Grip-Hold", "foo"), ("Grip-Channel", "a")], "")]);
    let proxy = Perihelion::start(&format!(
        "listen: $HTTP\ncontrol: $CONTROL\npools: {{ app: \"{}\", gone: \"http://127.0.0.1:1\" }}\n\
         sites: {{ \"*\": {{ routes: [{{ path: /, pool: app, debug: true }}, {{ path: /gone, pool: gone, debug: true }}] }}, \
         other.example: app }}\n",
        origin.url()
    ));
    let bad = proxy.get("/bad");
    assert_eq!((bad.status(), bad.head.get("content-type")), (502, Some("text/plain; charset=utf-8")));
    let text = bad.text();
    assert!(text.starts_with("Failed to parse accept instructions: "), "{text}");
    assert!(
        text.contains("Grip-Hold: \"foo\", but it must be set to either 'response' or 'stream'"),
        "{text}"
    );
    assert!(proxy.get("/gone").text().contains("127.0.0.1:1"), "{}", proxy.get("/gone").text());
    let mut raw = proxy.connect();
    raw.send("GET /bad HTTP/1.1\r\nHost: other.example\r\n\r\n");
    assert_eq!(raw.answer().text(), "Error while proxying to origin.\n");
}
