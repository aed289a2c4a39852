//! Answers that are compressed on their way, and those that never are.

use std::io::{Read, Write};
use std::sync::Mutex;
use std::sync::mpsc::sync_channel;

use socket2::Socket;

use crate::support::{Answer, Origin, Perihelion, Place, Raw, Received, Reply, Then};

fn compressing(origin: &Origin) -> Perihelion {
    Perihelion::start(&format!(
        "listen: $HTTP\ncontrol: $CONTROL\npools: {{ app: \"{}\" }}\nsites: {{ \"*\": {{ pool: app, compress: [br, zstd, gzip] }} }}\n",
        origin.url()
    ))
}

fn ask(raw: &mut Raw, target: &str, accept: &str) -> Answer {
    raw.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {accept}\r\n\r\n"));
    raw.answer()
}

fn decoded(coding: &str, body: &[u8]) -> String {
    let mut text = String::new();
    let read = match coding {
        "gzip" => flate2::read::GzDecoder::new(body).read_to_string(&mut text),
        "br" => brotli::Decompressor::new(body, 4096).read_to_string(&mut text),
        _ => zstd::stream::read::Decoder::new(body).unwrap().read_to_string(&mut text),
    };
    read.unwrap();
    text
}

fn page() -> String {
    (0..5000).map(|line| format!("<p>line {line}</p>\n")).collect()
}

fn pages() -> Origin {
    Origin::replying(|request| {
        let html = |reply: Reply| reply.with("Content-Type", "text/html").with("ETag", "\"v1\"");
        match request.target() {
            "/small" => html(Reply::ok("<p>small")),
            "/middle" => html(Reply::ok(&page()[..20_000])),
            "/image" => Reply::ok(page()).with("Content-Type", "image/png"),
            "/encoded" => html(Reply::ok(page())).with("Content-Encoding", "br"),
            "/secret" => html(Reply::ok(page())).with("Cache-Control", "private, no-transform"),
            "/part" => {
                html(Reply::status("206 Partial Content", page())).with("Content-Range", "bytes 0-9/20")
            }
            "/hold" => Reply::hold("news").with("X-Comet-Transport", "sse"),
            _ => html(Reply::ok(page())),
        }
    })
}

#[test]
fn a_client_gets_the_coding_that_it_likes_and_the_same_text() {
    let origin = pages();
    let proxy = compressing(&origin);
    let mut raw = proxy.connect();
    for (accept, coding) in [("gzip", "gzip"), ("gzip, br", "br"), ("zstd, br;q=0.9", "zstd")] {
        for (target, length) in [("/", page().len()), ("/middle", 20_000)] {
            let answer = ask(&mut raw, target, accept);
            assert_eq!(answer.head.get("content-encoding"), Some(coding), "{target}");
            assert!(decoded(coding, &answer.body) == page()[..length], "{target} {coding}");
            assert!(answer.body.len() < length / 3);
            assert_eq!(
                (answer.head.get("etag"), answer.head.get("vary")),
                (Some("W/\"v1\""), Some("accept-encoding"))
            );
        }
    }
    let plain = ask(&mut raw, "/", "identity");
    assert!(plain.text() == page() && !plain.head.has("content-encoding"));
    assert_eq!((plain.head.get("etag"), plain.head.get("vary")), (Some("\"v1\""), Some("accept-encoding")));
}

#[test]
fn what_must_stay_as_it_is_passes_unchanged() {
    let origin = pages();
    let proxy = compressing(&origin);
    let mut raw = proxy.connect();
    for target in ["/small", "/image", "/secret", "/part", "/encoded"] {
        let answer = ask(&mut raw, target, "gzip, br, zstd");
        let encoded = answer.head.get("content-encoding").filter(|_| target != "/encoded");
        assert_eq!((encoded, answer.head.length()), (None, Some(answer.body.len())), "{target}");
        assert!(!answer.head.has("vary"), "{target}");
    }
    let mut held = proxy.connect();
    held.send("GET /hold HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip, br, zstd\r\n\r\n");
    let head = held.head();
    assert!(!head.has("content-encoding"), "{head:?}");
    proxy.wait_subscribers("news", 1);
    proxy.publish("news", "plain");
    assert!(String::from_utf8_lossy(&held.chunk().unwrap()).contains("data: plain"));
}

#[test]
fn a_head_request_and_an_old_client_are_served_like_any_other() {
    let origin = pages();
    let proxy = compressing(&origin);
    let mut raw = proxy.connect();
    raw.send("HEAD / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
    assert_eq!(raw.head().status(), 200);
    assert_eq!(ask(&mut raw, "/small", "gzip").text(), "<p>small", "nothing followed the head");
    let mut old = proxy.connect();
    old.send("GET / HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n");
    let answer = old.answer();
    assert!(!answer.head.chunked());
    assert!(decoded("gzip", &answer.body) == page());
}

/// An application's answer of this type, whose second half waits for the test.
fn pausing(media_type: &'static str) -> (Origin, std::sync::mpsc::SyncSender<()>) {
    let (open, gate) = sync_channel::<()>(1);
    let gate = Mutex::new(gate);
    let origin = Origin::new(move |_: &Received, socket: &mut Socket| {
        let first = "data: first half\n\n";
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{first}\r\n",
            first.len()
        );
        socket.write_all(head.as_bytes()).unwrap();
        gate.lock().unwrap().recv().unwrap();
        socket.write_all(b"6\r\nsecond\r\n0\r\n\r\n").unwrap();
        Then::KeepAlive
    });
    (origin, open)
}

#[test]
fn what_the_application_has_said_arrives_before_it_goes_on() {
    let (origin, open) = pausing("text/plain");
    let proxy = compressing(&origin);
    let mut raw = proxy.connect();
    raw.send("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
    assert_eq!(raw.head().get("content-encoding"), Some("gzip"));
    let mut coded = Vec::new();
    let said = |coded: &[u8]| {
        let mut text = Vec::new();
        // The end is missing until it has come.
        let _ = flate2::read::GzDecoder::new(coded).read_to_end(&mut text);
        text
    };
    while said(&coded) != b"data: first half\n\n" {
        coded.extend(raw.chunk().expect("the first half comes before the second"));
    }
    open.send(()).unwrap();
    while let Some(chunk) = raw.chunk() {
        coded.extend(chunk);
    }
    assert_eq!(decoded("gzip", &coded), "data: first half\n\nsecond");
}

#[test]
fn an_event_stream_of_the_application_is_never_compressed() {
    let (origin, open) = pausing("text/event-stream; charset=utf-8");
    let proxy = compressing(&origin);
    let mut raw = proxy.connect();
    raw.send("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
    assert!(!raw.head().has("content-encoding"));
    assert_eq!(raw.chunk().unwrap(), b"data: first half\n\n");
    open.send(()).unwrap();
    assert_eq!(raw.chunk().unwrap(), b"second");
}

#[test]
fn files_are_sent_as_they_are_whoever_names_them() {
    let place = Place::new();
    let text = page();
    place.folder.write("page.html", &text);
    place.folder.write("small.html", &text[..2000]);
    let path = place.folder.path().join("page.html").display().to_string();
    let origin =
        Origin::replying(move |_| Reply::ok("").with("Content-Type", "text/html").with("X-Sendfile", &path));
    let configuration = format!(
        "listen: $HTTP\ncontrol: $CONTROL\npools: {{ app: {{ servers: \"{}\", reproxy: {{ files: [$FOLDER] }} }} }}\n\
         sites:\n  \"*\":\n    compress: [gzip]\n    routes:\n      - {{ path: /, pool: app }}\n\
         \x20     - {{ path: /static/, files: $FOLDER }}\n",
        origin.url()
    );
    let proxy = Perihelion::start_at(place, &configuration, None);
    let mut raw = proxy.connect();
    for (target, length) in
        [("/static/page.html", text.len()), ("/static/small.html", 2000), ("/handed-on", text.len())]
    {
        let answer = ask(&mut raw, target, "gzip");
        assert!(!answer.head.has("content-encoding"), "{target}");
        assert!(answer.text() == text[..length], "{target}");
    }
}
