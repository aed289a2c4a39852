//! What libraries and applications of GRIP write more loosely than it is written down, and Pushpin takes.

use crate::support::{Origin, Perihelion, Raw, Received, Reply};

type Fields = &'static [(&'static str, &'static str)];

fn ask(proxy: &Perihelion, target: &str) -> Raw {
    let mut raw = proxy.connect();
    raw.send(format!("GET {target} HTTP/1.1\r\nHost: example.com\r\n\r\n"));
    raw
}

fn published(proxy: &Perihelion, item: &str) {
    let answer = proxy.control("POST", "/publish/", &format!("{{\"items\":[{item}]}}"));
    assert_eq!((answer.status(), answer.text().as_str()), (200, "Published\n"), "{item}");
}

#[test]
fn items_may_have_base64_in_lines_codes_in_quotes_and_halves_of_characters() {
    let origin = Origin::replying(|request: &Received| {
        let mode = if request.target() == "/poll" { "response" } else { "stream" };
        Reply::ok("").with("Grip-Hold", mode).with("Grip-Channel", "a")
    });
    let proxy = Perihelion::before(&origin);
    let (mut stream, mut poll) = (ask(&proxy, "/stream"), ask(&proxy, "/poll"));
    stream.head();
    proxy.wait_subscribers("a", 2);
    // As Ruby's and Perl's libraries write it.
    published(&proxy, r#"{"channel":"a","http-stream":{"content-bin":"YW\nJj\n"}}"#);
    assert_eq!(stream.chunk().unwrap(), b"abc");
    // As JavaScript writes a text that was cut in an emoji.
    published(&proxy, r#"{"channel":"a","http-stream":{"content":"cut \ud83d"}}"#);
    assert_eq!(stream.chunk().unwrap(), "cut \u{fffd}".as_bytes());
    // An action that means nothing to one kind of client is no reason to refuse the item.
    published(
        &proxy,
        r#"{"channel":"a","http-response":{"action":"close"},"ws-message":{"action":"hint"},"http-stream":{"content":"all"}}"#,
    );
    assert_eq!(stream.chunk().unwrap(), b"all");
    published(&proxy, r#"{"channel":"a","http-response":{"code":"404","body-bin":"YQ"}}"#);
    let answer = poll.answer();
    assert_eq!((answer.status(), answer.text().as_str()), (404, "a"));
}

/// The first status line and body of an instruction like this.
fn instructed(fields: Fields, body: &'static str) -> (String, Vec<u8>) {
    let origin = Origin::replying(move |_: &Received| {
        let reply = Reply::ok(body).with("Content-Type", "application/grip-instruct");
        fields.iter().fold(reply, |reply, (name, value)| reply.with(name, value))
    });
    let proxy = Perihelion::before(&origin);
    let mut raw = ask(&proxy, "/");
    let head = raw.head();
    let body = match head.length() {
        Some(length) => raw.exactly(length),
        None => raw.chunk().unwrap(),
    };
    (head.line, body)
}

#[test]
fn instructions_in_a_body_may_have_fractions_and_keys_twice_and_a_status_beside_them() {
    let stream = r#"{"hold":{"mode":"response"},"hold":{"mode":"stream","channels":[{"name":"a"}],"timeout":"20",
        "keep-alive":{"content-bin":"YQ","timeout":20.0}},"response":{"code":404.0,"body":"x\ud83d"}}"#;
    assert_eq!(instructed(&[], stream), ("HTTP/1.1 404 Not Found".into(), "x\u{fffd}".into()));
    let teapot: Fields = &[("Grip-Status", "418 Teapot")];
    for (fields, body, line) in [
        (teapot, r#"{"response":{"body":"x"}}"#, "HTTP/1.1 418 Teapot"),
        (teapot, r#"{"response":{"code":404,"body":"x"}}"#, "HTTP/1.1 404 Not Found"),
        (teapot, r#"{"response":{"reason":"Tea","body":"x"}}"#, "HTTP/1.1 418 Tea"),
        (&[("Grip-Status", "")], r#"{"response":{"body":"x"}}"#, "HTTP/1.1 200 OK"),
    ] {
        assert_eq!(instructed(fields, body), (line.into(), b"x".to_vec()), "{body}");
    }
}

#[test]
fn a_link_may_have_dots_and_letters_that_a_uri_has_not() {
    let origin = Origin::replying(|request: &Received| match request.target() {
        "/events/all" => Reply::ok("first ").with("Grip-Link", "<../more/./é?c=a b>; rel=next"),
        "/more/%C3%A9?c=a%20b" => Reply::ok("second"),
        other => Reply::ok(other),
    });
    let proxy = Perihelion::before(&origin);
    assert_eq!(ask(&proxy, "/events/all").answer().text(), "first second");
}
