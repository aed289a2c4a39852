//! The client for browsers at a route of its own, and what it asks of streams: their kind, and where they begin.

use std::io::Read;

use crate::support::{Answer, Origin, Perihelion, Raw, Reply};

const CLIENT: &str = include_str!("../../deploy/npm/perihelion.js");

fn serving(origin: &Origin) -> Perihelion {
    Perihelion::start(&format!(
        "listen: $HTTP\ncontrol: $CONTROL\npools: {{ app: \"{}\" }}\nsites:\n  \"*\":\n    cors: [https://www.example.com]\n    routes:\n\
         \x20     - {{ path: /, pool: app }}\n\
         \x20     - {{ path: /perihelion.js, script: {{}} }}\n\
         \x20     - {{ path: /small.js, script: {{ cache_control: max-age=60 }}, compress: gzip }}\n",
        origin.url()
    ))
}

fn ask(raw: &mut Raw, target: &str, fields: &str) -> Answer {
    raw.send(format!("GET {target} HTTP/1.1\r\nHost: example.com\r\n{fields}\r\n"));
    raw.answer()
}

#[test]
fn the_client_is_served_with_a_tag_by_which_a_browser_keeps_it() {
    let origin = Origin::replying(|_| Reply::ok("the application"));
    let proxy = serving(&origin);
    let mut raw = proxy.connect();
    let answer = ask(&mut raw, "/perihelion.js?v=1", "");
    assert_eq!((answer.status(), answer.text().as_str()), (200, CLIENT));
    let head = &answer.head;
    assert_eq!(head.get("content-type"), Some("text/javascript; charset=utf-8"));
    assert_eq!(head.get("cache-control"), Some("no-cache"));
    assert_eq!(head.get("x-content-type-options"), Some("nosniff"));
    let etag = head.get("etag").unwrap();
    let again = ask(&mut raw, "/perihelion.js", &format!("If-None-Match: {etag}\r\n"));
    assert_eq!((again.status(), again.text().as_str()), (304, ""));
    assert_eq!(again.head.get("etag"), Some(etag));
    assert_eq!(ask(&mut raw, "/perihelion.js", "If-None-Match: \"other\"\r\n").text(), CLIENT);
    let module = ask(&mut raw, "/perihelion.js", "Origin: https://www.example.com\r\n");
    assert_eq!(module.head.get("access-control-allow-origin"), Some("https://www.example.com"));

    raw.send("HEAD /perihelion.js HTTP/1.1\r\nHost: a\r\n\r\n");
    let length = CLIENT.len().to_string();
    assert_eq!(raw.head().get("content-length"), Some(&*length));
    raw.send("POST /perihelion.js HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    let refused = raw.answer();
    assert_eq!((refused.status(), refused.head.get("allow")), (405, Some("GET, HEAD")));
    assert_eq!(ask(&mut proxy.connect(), "/perihelion.js/below", "").status(), 404);
    assert_eq!(ask(&mut proxy.connect(), "/elsewhere", "").text(), "the application");
}

#[test]
fn it_is_compressed_like_everything_else() {
    let origin = Origin::replying(|_| Reply::ok(""));
    let proxy = serving(&origin);
    let mut raw = proxy.connect();
    let answer = ask(&mut raw, "/small.js", "Accept-Encoding: gzip\r\n");
    let head = &answer.head;
    assert_eq!((head.get("content-encoding"), head.get("cache-control")), (Some("gzip"), Some("max-age=60")));
    let mut text = String::new();
    flate2::read::GzDecoder::new(&answer.body[..]).read_to_string(&mut text).unwrap();
    assert_eq!(text, CLIENT);
    let etag = head.get("etag").unwrap();
    let again = ask(&mut raw, "/small.js", &format!("Accept-Encoding: gzip\r\nIf-None-Match: {etag}\r\n"));
    assert_eq!(again.status(), 304);
}

#[test]
fn it_is_small() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut gzip, CLIENT.as_bytes()).unwrap();
    let size = gzip.finish().unwrap().len();
    assert!(size < 4608, "{size} bytes, and docs/javascript.md promises less than 4.5 KiB");
}

fn automatic() -> Origin {
    Origin::replying(|_| Reply::hold("news").with("X-Comet-Retry", "3000"))
}

fn hold(proxy: &Perihelion, fields: &str) -> Raw {
    let mut raw = proxy.connect();
    raw.send(format!("GET /hold HTTP/1.1\r\nHost: example.com\r\n{fields}\r\n"));
    raw
}

#[test]
fn a_stream_says_where_it_begins_to_whom_prefers_that() {
    let origin = automatic();
    let proxy = Perihelion::before(&origin);
    let at = proxy.publish("news", "before");
    for (accept, before, between, after) in [
        ("text/event-stream", format!("retry: 3000\n\nid: {at}\nevent: comet.open\ndata: {{"), "", "\n\n"),
        ("application/x-ndjson", String::new(), "{\"event\":\"comet.open\",", "\n"),
    ] {
        let mut raw = hold(&proxy, &format!("Accept: {accept}\r\nPrefer: comet-open\r\n"));
        assert_eq!(raw.head().get("content-type"), Some(accept));
        let beginning = String::from_utf8(raw.chunk().unwrap()).unwrap();
        assert_eq!(beginning, format!("{before}{between}\"position\":\"{at}\",\"retry\":3000}}{after}"));
    }
    // Everybody else gets what they always got.
    let mut raw = hold(&proxy, "Accept: text/event-stream\r\nPrefer: respond-async\r\n");
    raw.head();
    assert_eq!(raw.chunk().unwrap(), b"retry: 3000\n\n");
}

#[test]
fn who_comes_back_before_the_first_message_has_missed_none() {
    let origin = automatic();
    let proxy = Perihelion::before(&origin);
    proxy.publish("news", "long ago");
    let fields = "Accept: application/x-ndjson\r\nPrefer: comet-open\r\n";
    let mut raw = hold(&proxy, fields);
    raw.head();
    let open: serde_json::Value = serde_json::from_slice(&raw.chunk().unwrap()).unwrap();
    drop(raw);
    proxy.wait_subscribers("news", 0);
    let id = proxy.publish("news", "while it was away");
    let position = open["position"].as_str().unwrap();
    let mut raw = hold(&proxy, &format!("{fields}Last-Event-ID: {position}\r\n"));
    raw.head();
    let all = String::from_utf8(raw.until(b"away\"}\n")).unwrap();
    assert!(
        all.contains(&format!("{{\"id\":\"{id}\",\"channel\":\"news\",\"data\":\"while it was away\"}}\n")),
        "{all}"
    );
    assert!(!all.contains("long ago"), "{all}");
}

#[test]
fn who_does_not_want_to_wait_is_answered_at_once() {
    let origin = automatic();
    let proxy = Perihelion::before(&origin);
    let at = proxy.publish("news", "before");
    let answer = hold(&proxy, "Accept: application/json\r\nPrefer: wait=0\r\n").answer();
    assert_eq!(answer.head.get("content-type"), Some("application/json"));
    let expected = format!("{{\"position\":\"{at}\",\"gap\":false,\"retry\":3000,\"messages\":[]}}");
    assert_eq!(answer.text(), expected);
    proxy.wait_metric("perihelion_comet_streams_opened_total", &[("transport", "poll")], 1.0);
}
