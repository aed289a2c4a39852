//! Filters of GRIP that ask a URL: whom a message is for, and in which words, for each client in its order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::{Answer, Origin, Perihelion, Raw, Received, Reply, wait_until};

/// Whether what is slow answers.
type Open = Arc<AtomicBool>;

fn open(is_open: bool) -> Open {
    Arc::new(AtomicBool::new(is_open))
}

/// Holds `/stream?FILTER&URL&USER` on `a`, which is filtered, and `b`; answers what filters ask below `/f/`.
fn application(open: &Open) -> Origin {
    let open = open.clone();
    Origin::replying(move |request: &Received| match request.target().split_once('?') {
        Some((path @ ("/stream" | "/poll"), wish)) => {
            let [filter, url, user] = wish.split('&').collect::<Vec<_>>()[..] else { panic!("{wish}") };
            Reply::ok("")
                .with("Grip-Hold", if path == "/poll" { "response" } else { "stream" })
                .with("Grip-Channel", &format!("a; filter={filter}, b"))
                .with("Grip-Set-Meta", &format!("url=\"{url}\", user=\"{user}\""))
        }
        _ => {
            let client = request.head.get("sub-meta").unwrap_or_default().to_owned();
            let content = String::from_utf8_lossy(&request.body).into_owned();
            match request.target() {
                "/f/slow" => {
                    wait_until("what is slow may answer", || open.load(Ordering::SeqCst));
                    Reply::ok("")
                }
                "/f/modify" if content.contains("same") => Reply::bodiless("204 No Content"),
                _ if client.contains("\"bob\"") => Reply::ok("").with("Action", "drop"),
                _ if client.contains("\"carol\"") => Reply::status("500 Internal Server Error", ""),
                "/f/modify" => Reply::ok(format!("<{}>", content.trim_end())),
                _ => Reply::ok("not looked at"),
            }
        }
    })
}

/// Asks what is listed: URLs of the site below `/f/`, which are those of the application.
fn proxy(origin: &Origin, more: &str) -> Perihelion {
    let filter = format!("{{ url: 'http://example.com/f/', server: '{}', {more} }}", origin.url());
    Perihelion::before_with(origin, &format!("grip: {{ key: changeme, filters: [{filter}] }}\n"))
}

fn stream(proxy: &Perihelion, wish: &str) -> Raw {
    let mut raw = proxy.connect();
    raw.send(format!("GET /stream?{wish} HTTP/1.1\r\nHost: example.com\r\n\r\n"));
    assert_eq!(raw.head().status(), 200);
    raw
}

fn publish(proxy: &Perihelion, channel: &str, text: &str) {
    let forms =
        format!(r#""http-stream":{{"content":"{text}"}},"http-response":{{"body":"{text}","code":201}}"#);
    let item = format!(r#"{{"items":[{{"channel":"{channel}","meta":{{"sender":"dave"}},{forms}}}]}}"#);
    let answer: Answer = proxy.control("POST", "/publish/", &item);
    assert_eq!(answer.text(), "Published\n");
}

/// What has come up to an end that isn't filtered.
fn heard(raw: &mut Raw) -> String {
    let mut text = String::new();
    while !text.ends_with("end") {
        text += &String::from_utf8(raw.chunk().unwrap()).unwrap();
    }
    text
}

#[test]
fn a_url_says_whom_a_message_is_for() {
    let origin = application(&open(true));
    let proxy = proxy(&origin, "");
    let mut streams =
        ["alice", "bob", "carol"].map(|user| stream(&proxy, &format!("http-check&f/check&{user}")));
    proxy.wait_subscribers("a", 3);
    publish(&proxy, "a", "one ");
    publish(&proxy, "a", "two ");
    publish(&proxy, "b", "end");
    let heard = streams.each_mut().map(heard);
    assert_eq!(heard, ["one two end", "end", "end"]);
    let asked: Vec<_> =
        origin.received().into_iter().filter(|request| request.target() == "/f/check").collect();
    assert_eq!(asked.len(), 6);
    for question in &asked {
        let head = &question.head;
        assert_eq!(
            (question.method(), head.get("host"), &question.body[..]),
            ("POST", Some("example.com"), &b""[..])
        );
        assert_eq!(head.get("pub-meta"), Some(r#"{"sender":"dave"}"#));
        assert!(head.has("grip-sig"), "{head:?}");
    }
    assert!(
        asked
            .iter()
            .any(|question| question.head.get("sub-meta") == Some(r#"{"url":"f/check","user":"alice"}"#))
    );
    for (result, count) in [("passed", 2.0), ("dropped", 2.0), ("failed", 2.0)] {
        proxy.wait_metric("perihelion_grip_filter_questions_total", &[("result", result)], count);
    }
}

#[test]
fn a_url_says_it_in_other_words_in_the_order_of_the_messages() {
    let origin = application(&open(true));
    let proxy = proxy(&origin, "");
    let mut raw = stream(&proxy, "http-modify&/f/modify&alice");
    let mut poll = proxy.connect();
    poll.send("GET /poll?http-modify&/f/modify&alice HTTP/1.1\r\nHost: example.com\r\n\r\n");
    proxy.wait_subscribers("a", 2);
    for number in 0..50 {
        publish(&proxy, "a", &format!("{number} "));
    }
    publish(&proxy, "a", "same ");
    publish(&proxy, "b", "end");
    let expected: String = (0..50).map(|number| format!("<{number}>")).collect();
    assert_eq!(heard(&mut raw), format!("{expected}same end"));
    let answer = poll.answer();
    assert_eq!((answer.status(), answer.text().as_str()), (201, "<0>"));
    // It goes on with its connection.
    assert_eq!(poll.get("/f/x").status(), 200);
}

#[test]
fn a_url_that_says_nothing_holds_up_nobody_else_and_equal_questions_are_one() {
    let open = open(false);
    let origin = application(&open);
    let proxy = proxy(&origin, "timeout: 1s, concurrent: 1");
    let mut stalled = [0, 1].map(|_| stream(&proxy, "http-check&/f/slow&alice"));
    let mut plain = stream(&proxy, "skip-self&-&alice");
    let leaving = stream(&proxy, "http-check&/f/slow&alice");
    proxy.wait_subscribers("a", 4);
    publish(&proxy, "a", "one ");
    publish(&proxy, "b", "end");
    assert_eq!(heard(&mut plain), "one end");
    let asked = || origin.received().iter().filter(|request| request.target() == "/f/slow").count();
    wait_until("the URL is asked", || asked() == 1);
    drop(leaving);
    proxy.wait_subscribers("a", 3);
    // What nobody has said in time is left out, and the rest comes.
    assert_eq!(stalled.each_mut().map(heard), ["end", "end"]);
    assert_eq!(asked(), 1);
    proxy.wait_metric("perihelion_grip_filter_questions_total", &[("result", "failed")], 1.0);
    open.store(true, Ordering::SeqCst);
    publish(&proxy, "a", "two ");
    publish(&proxy, "b", "end");
    assert_eq!(stalled.each_mut().map(heard), ["two end", "two end"]);
}

#[test]
fn what_is_not_listed_is_never_asked_and_nothing_passes() {
    let origin = application(&open(true));
    let proxy = proxy(&origin, "");
    let urls = ["/g/check", "http://127.0.0.1:1/f/", "/f/../g/check", "//example.com:81/f/check"];
    let mut streams = urls.map(|url| stream(&proxy, &format!("http-check&{url}&alice")));
    proxy.wait_subscribers("a", 4);
    publish(&proxy, "a", "one ");
    publish(&proxy, "b", "end");
    assert_eq!(streams.each_mut().map(heard), ["end"; 4]);
    assert!(origin.received().iter().all(|request| request.target().starts_with("/stream")));
    // Where nothing is listed nobody is told that such filters are there.
    assert!(origin.last().head.get("grip-feature").unwrap().contains("filter:http-check"));
    let other = Perihelion::before_with(&origin, "grip: { key: changeme }\n");
    let mut raw = stream(&other, "http-check&/f/check&alice");
    other.wait_subscribers("a", 1);
    publish(&other, "a", "one ");
    publish(&other, "b", "end");
    assert_eq!(heard(&mut raw), "end");
    assert!(!origin.last().head.get("grip-feature").unwrap().contains("filter:http-check"));
}
