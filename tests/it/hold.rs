//! Taking a connection over: every transport byte for byte, and the application's worker free at once.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use crate::support::{EventSource, Origin, Perihelion, Raw, Received, Reply, wait_until};

/// An application that holds what its query says: `/hold?CHANNELS`, with more headers.
fn holding(headers: &'static [(&'static str, &'static str)], body: &'static str) -> Origin {
    Origin::replying(move |request| match request.target().split_once('?') {
        Some(("/hold", channels)) => {
            let channels = channels.split('&').next().unwrap_or_default();
            let hold = Reply::hold(channels).body(body);
            headers.iter().fold(hold, |reply, (name, value)| reply.with(name, value))
        }
        _ => Reply::ok("ordinary"),
    })
}

fn ask(proxy: &Perihelion, target: &str, headers: &str) -> Raw {
    let mut raw = proxy.connect();
    raw.send(format!("GET {target} HTTP/1.1\r\nHost: example.com\r\n{headers}\r\n"));
    raw
}

#[test]
fn an_event_stream_is_the_applications_beginning_and_then_each_message() {
    let origin = holding(
        &[("X-Comet-Retry", "3000"), ("X-App", "kept"), ("Content-Type", "text/html")],
        ": hello\n\n",
    );
    let proxy = Perihelion::before(&origin);
    let mut raw = ask(&proxy, "/hold?news", "Accept: text/event-stream\r\n");
    let head = raw.head();
    assert_eq!((head.status(), head.chunked()), (200, true));
    assert_eq!(head.get("content-type"), Some("text/event-stream"));
    assert_eq!(head.get("x-app"), Some("kept"));
    assert!(
        !head.has("content-length") && !head.has("x-comet-subscribe") && !head.has("x-comet-retry"),
        "{head:?}"
    );
    assert_eq!(raw.chunk().unwrap(), b": hello\n\nretry: 3000\n\n");
    proxy.wait_subscribers("news", 1);
    let first = proxy.publish("news", "one\ntwo");
    assert_eq!(raw.chunk().unwrap(), format!("id: {first}\ndata: one\ndata: two\n\n").as_bytes());
    let second = proxy.publish_with("news", "X-Comet-Event: chat\r\n", "three");
    assert_eq!(raw.chunk().unwrap(), format!("id: {second}\nevent: chat\ndata: three\n\n").as_bytes());
    proxy.wait_metric("perihelion_comet_streams", &[("transport", "sse")], 1.0);
    proxy.wait_metric("perihelion_comet_deliveries_total", &[("transport", "sse")], 2.0);
}

#[test]
fn held_answers_have_the_date_that_the_application_leaves_out() {
    let origin = Origin::replying(|request| {
        let hold = Reply::hold("news").with("X-Comet-Timeout", "1");
        match request.target() {
            "/dated" => hold.with("Date", "Sun, 06 Nov 1994 08:49:37 GMT"),
            "/grip" => Reply::ok("").with("Grip-Hold", "stream").with("Grip-Channel", "news"),
            target => hold.with("X-Comet-Transport", target.trim_start_matches('/')),
        }
    });
    let proxy = Perihelion::before(&origin);
    let socket = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (target, headers, status) in
        [("/sse", "", 200), ("/long-poll", "", 200), ("/grip", "", 200), ("/websocket", socket, 101)]
    {
        let head = ask(&proxy, target, headers).head();
        assert_eq!(head.status(), status, "{target}");
        let date = httpdate::parse_http_date(head.get("date").unwrap()).unwrap();
        assert!(SystemTime::now().duration_since(date).unwrap() < Duration::from_secs(60), "{head:?}");
    }
    let head = ask(&proxy, "/dated", "").head();
    assert_eq!(head.get("date"), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
}

#[test]
fn what_an_application_compressed_is_plain_where_a_stream_begins_with_it() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(b"beginning").unwrap();
    let coded = gzip.finish().unwrap();
    let origin = Origin::replying(move |request| {
        let coding = if request.target() == "/unknown" { "lzma" } else { "gzip" };
        let hold = Reply::hold("news").body(&coded).with("Content-Encoding", coding);
        match request.target() {
            "/poll" => hold.with("X-Comet-Transport", "long-poll").with("X-Comet-Timeout", "1"),
            _ => hold.with("X-Comet-Transport", "stream"),
        }
    });
    let proxy = Perihelion::before(&origin);
    let mut raw = ask(&proxy, "/hold", "Accept-Encoding: gzip\r\n");
    let head = raw.head();
    assert!(!head.has("content-encoding"), "{head:?}");
    assert_eq!(raw.chunk().unwrap(), b"beginning");
    proxy.wait_subscribers("news", 1);
    proxy.publish("news", "and more");
    assert_eq!(raw.chunk().unwrap(), b"and more");
    assert_eq!(ask(&proxy, "/poll", "Accept-Encoding: gzip\r\n").answer().text(), "beginning");
    assert_eq!(ask(&proxy, "/unknown", "").answer().status(), 502);
}

#[test]
fn a_raw_stream_is_each_message_as_published_in_one_chunk() {
    let origin = holding(&[("X-Comet-Transport", "stream"), ("Content-Type", "image/x-frames")], "beginning");
    let proxy = Perihelion::before(&origin);
    let mut raw = ask(&proxy, "/hold?frames", "");
    let head = raw.head();
    assert_eq!(head.get("content-type"), Some("image/x-frames"));
    assert_eq!(raw.chunk().unwrap(), b"beginning");
    proxy.wait_subscribers("frames", 1);
    for message in ["{\"a\": 1}", "two\r\n\r\n0\r\n\r\n"] {
        proxy.publish("frames", message);
        assert_eq!(raw.chunk().unwrap(), message.as_bytes());
    }
}

#[test]
fn ndjson_is_one_object_a_line() {
    let origin = holding(&[("X-Comet-Transport", "ndjson")], "");
    let proxy = Perihelion::before(&origin);
    let mut raw = ask(&proxy, "/hold?news", "");
    assert_eq!(raw.head().get("content-type"), Some("application/x-ndjson"));
    proxy.wait_subscribers("news", 1);
    let text = proxy.publish("news", "a\n\"b\"");
    let expected = format!("{{\"id\":\"{text}\",\"channel\":\"news\",\"data\":\"a\\n\\\"b\\\"\"}}\n");
    assert_eq!(String::from_utf8(raw.chunk().unwrap()).unwrap(), expected);
    let headers = "Content-Type: application/json; charset=utf-8\r\nX-Comet-Event: chat\r\n";
    let json = proxy.publish_with("news", headers, "{\"a\":\n[1]}");
    let expected =
        format!("{{\"id\":\"{json}\",\"channel\":\"news\",\"event\":\"chat\",\"data\":{{\"a\":[1]}}}}\n");
    assert_eq!(String::from_utf8(raw.chunk().unwrap()).unwrap(), expected);
}

#[test]
fn a_poll_is_answered_with_what_is_waiting_and_its_connection_goes_on() {
    let origin = holding(&[], "nothing happened");
    let proxy = Perihelion::before(&origin);
    let mut raw = ask(&proxy, "/hold?news", "");
    proxy.wait_subscribers("news", 1);
    let position = proxy.publish("news", "happened");
    let answer = raw.answer();
    assert_eq!(answer.head.get("content-type"), Some("application/json"));
    assert!(answer.head.length().is_some(), "{:?}", answer.head);
    let expected = format!(
        "{{\"position\":\"{position}\",\"gap\":false,\"messages\":\
         [{{\"id\":\"{position}\",\"channel\":\"news\",\"data\":\"happened\"}}]}}"
    );
    assert_eq!(answer.text(), expected);
    // The same connection: an ordinary request, then the next poll.
    assert_eq!(raw.get("/").text(), "ordinary");
    let second = proxy.publish("news", "meanwhile");
    raw.send(format!("GET /hold?news&lastEventId={position} HTTP/1.1\r\nHost: example.com\r\n\r\n"));
    let answer = raw.answer().json();
    assert_eq!(answer["position"], second.as_str());
    assert_eq!(answer["messages"][0]["data"], "meanwhile");
    proxy.wait_metric("perihelion_connections_accepted_total", &[], 1.0);
    proxy.wait_metric("perihelion_comet_streams_closed_total", &[("reason", "answered")], 2.0);
    proxy.wait_metric("perihelion_comet_streams", &[], 0.0);
}

#[test]
fn what_the_application_says_of_its_own_bytes_is_not_said_of_messages() {
    const OWN: &[(&str, &str)] = &[
        ("ETag", "\"app\""),
        ("Last-Modified", "Mon, 30 Nov 2020 07:00:00 GMT"),
        ("Content-Range", "bytes 0-1/9"),
        ("X-Comet-Timeout", "1"),
    ];
    let origin = holding(OWN, "nothing happened");
    let proxy = Perihelion::before(&origin);
    let mut raw = ask(&proxy, "/hold?news", "");
    proxy.wait_subscribers("news", 1);
    proxy.publish("news", "happened");
    let head = raw.answer().head;
    for name in ["etag", "last-modified", "content-range"] {
        assert!(!head.has(name), "{head:?}");
    }
    let mut events = EventSource::open(proxy.http(), "/hold?news");
    assert_eq!(events.next_or_end(), None);
    let mut raw = ask(&proxy, "/hold?news", "");
    let answer = raw.answer();
    assert_eq!((answer.text().as_str(), answer.head.get("etag")), ("nothing happened", Some("\"app\"")));
}

#[test]
fn a_poll_in_which_nothing_happens_gets_the_applications_response() {
    let origin = holding(&[("X-Comet-Timeout", "1"), ("Content-Type", "text/x-quiet")], "nothing happened");
    let proxy = Perihelion::before(&origin);
    let mut raw = ask(&proxy, "/hold?news", "");
    let answer = raw.answer();
    assert_eq!((answer.status(), answer.text().as_str()), (200, "nothing happened"));
    assert_eq!(answer.head.get("content-type"), Some("text/x-quiet"));
    assert_eq!(raw.get("/").text(), "ordinary");
    proxy.wait_metric("perihelion_comet_streams_closed_total", &[("reason", "timeout")], 1.0);
    assert_eq!(proxy.subscribers("news"), 0);
}

#[test]
fn a_stream_ends_cleanly_when_its_life_is_over() {
    let origin = holding(&[("X-Comet-Timeout", "1")], "");
    let proxy = Perihelion::before(&origin);
    let mut events = EventSource::open(proxy.http(), "/hold?news");
    assert_eq!(events.next_or_end(), None);
    proxy.wait_metric("perihelion_comet_streams_closed_total", &[("reason", "timeout")], 1.0);
}

#[test]
fn a_request_pipelined_behind_a_poll_is_answered_after_it() {
    let origin = holding(&[], "nothing happened");
    let proxy = Perihelion::before(&origin);
    let mut raw = proxy.connect();
    raw.send(
        "GET /hold?news HTTP/1.1\r\nHost: example.com\r\n\r\nGET / HTTP/1.1\r\nHost: example.com\r\n\r\n",
    );
    proxy.wait_subscribers("news", 1);
    raw.send("GET /later HTTP/1.1\r\nHost: example.com\r\n\r\n");
    proxy.publish("news", "happened");
    assert_eq!(raw.answer().json()["messages"][0]["data"], "happened");
    assert_eq!(raw.answer().text(), "ordinary");
    assert_eq!(raw.answer().text(), "ordinary");
}

#[test]
fn the_applications_worker_is_free_before_the_first_event() {
    let origin = holding(&[("X-Comet-Transport", "sse")], "");
    let proxy = Perihelion::start(&format!(
        "listen: $HTTP\ncontrol: $CONTROL\npools: {{ app: {{ servers: [\"{}\"], max_connections: 1 }} }}\n\
         sites: {{ \"*\": {{ routes: [{{ path: /, pool: app }}] }} }}\n",
        origin.url()
    ));
    let mut held: Vec<EventSource> = (0..20).map(|_| EventSource::open(proxy.http(), "/hold?news")).collect();
    assert_eq!(proxy.get("/").text(), "ordinary");
    assert_eq!(origin.connections(), 1);
    proxy.wait_subscribers("news", 20);
    proxy.publish("news", "to all");
    for events in &mut held {
        assert_eq!(events.next().data, "to all");
    }
    proxy.wait_metric("perihelion_upstream_connections", &[("state", "busy")], 0.0);
}

#[test]
fn auto_follows_what_the_request_accepts() {
    let origin = holding(&[("X-Comet-Transport", "auto"), ("X-Comet-Timeout", "1")], "quiet");
    let proxy = Perihelion::before(&origin);
    let mut stream = ask(&proxy, "/hold?a", "Accept: text/html, Text/Event-Stream;q=0.9\r\n");
    assert_eq!(stream.head().get("content-type"), Some("text/event-stream"));
    let mut poll = ask(&proxy, "/hold?a", "Accept: */*\r\n");
    assert_eq!(poll.answer().text(), "quiet");
    proxy.wait_metric("perihelion_comet_streams_opened_total", &[("transport", "sse")], 1.0);
    proxy.wait_metric("perihelion_comet_streams_opened_total", &[("transport", "long-poll")], 1.0);
}

#[test]
fn silence_is_broken_by_keep_alives_in_the_transports_own_form() {
    let origin = holding(&[("X-Comet-Keepalive", "1")], "");
    let proxy = Perihelion::before(&origin);
    let mut events = EventSource::open(proxy.http(), "/hold?news");
    events.wait_for_comments(2);
    wait_until("they are counted", || proxy.metric("perihelion_comet_keepalives_total", &[]) >= 2.0);
    proxy.publish("news", "still alive");
    assert_eq!(events.next().data, "still alive");

    let origin = holding(&[("X-Comet-Keepalive", "1"), ("X-Comet-Transport", "ndjson")], "");
    let proxy = Perihelion::before(&origin);
    let mut raw = ask(&proxy, "/hold?news", "");
    raw.head();
    assert_eq!(raw.chunk().unwrap(), b"\n");
}

#[test]
fn an_http_1_0_client_gets_a_stream_that_ends_with_its_connection() {
    let origin = holding(&[("X-Comet-Transport", "sse")], ": hello\n\n");
    let proxy = Perihelion::before(&origin);
    let mut raw = proxy.connect();
    raw.send("GET /hold?news HTTP/1.0\r\nHost: example.com\r\nConnection: keep-alive\r\n\r\n");
    let head = raw.head();
    assert!(!head.has("transfer-encoding") && !head.has("content-length"), "{head:?}");
    assert_eq!(head.get("connection"), Some("close"));
    proxy.wait_subscribers("news", 1);
    let id = proxy.publish("news", "old friend");
    let expected = format!(": hello\n\nid: {id}\ndata: old friend\n\n");
    assert_eq!(String::from_utf8(raw.exactly(expected.len())).unwrap(), expected);
    assert_eq!(proxy.control("DELETE", "/channels/news", "").status(), 200);
    raw.assert_closed();
}

#[test]
fn a_client_that_leaves_is_noticed_at_once() {
    let origin = holding(&[], "");
    let proxy = Perihelion::before(&origin);
    let stream = EventSource::open(proxy.http(), "/hold?news");
    let poll = ask(&proxy, "/hold?news", "");
    proxy.wait_subscribers("news", 2);
    drop(stream);
    drop(poll);
    proxy.wait_subscribers("news", 0);
    proxy.wait_metric("perihelion_comet_streams_closed_total", &[("reason", "client")], 2.0);
    proxy.wait_metric("perihelion_comet_streams", &[], 0.0);
    proxy.wait_metric("perihelion_comet_subscriptions", &[], 0.0);
}

#[test]
fn one_connection_holds_many_channels_under_one_position() {
    let origin = holding(&[], "");
    let proxy = Perihelion::before(&origin);
    let mut events = EventSource::open(proxy.http(), "/hold?news,user-42,käse");
    proxy.wait_subscribers("user-42", 1);
    let positions = ["news", "user-42", "k%C3%A4se", "news"].map(|channel| proxy.publish(channel, channel));
    let events: Vec<_> = (0..4).map(|_| events.next()).collect();
    assert_eq!(events.iter().filter_map(|event| event.id.clone()).collect::<Vec<_>>(), positions);
    proxy.wait_metric("perihelion_comet_subscriptions", &[], 3.0);
}

#[test]
fn the_applications_status_and_cookies_begin_the_stream() {
    let origin = Origin::replying(|_| {
        Reply::status("201 Created", "")
            .with("X-Comet-Subscribe", "news")
            .with("Set-Cookie", "a=1")
            .with("Set-Cookie", "b=2")
    });
    let proxy = Perihelion::before(&origin);
    let mut raw = ask(&proxy, "/", "Accept: text/event-stream\r\n");
    let head = raw.head();
    assert_eq!(head.status(), 201);
    assert_eq!(head.all("set-cookie"), ["a=1", "b=2"]);
}

#[test]
fn an_instruction_that_can_not_be_understood_is_502_and_quoted_in_the_log() {
    for (name, value) in [
        ("X-Comet-Subscribe", "news;since=yesterday"),
        ("X-Comet-Subscribe", "news;from=1"),
        ("X-Comet-Transport", "telepathy"),
        ("X-Comet-Timeout", "soon"),
        ("X-Comet-Keepalive", "-1"),
        ("X-Comet-Retry", "1.5"),
    ] {
        let origin = Origin::replying(move |request| match request.target() {
            "/hold" if name == "X-Comet-Subscribe" => Reply::ok("secret").with(name, value),
            "/hold" => Reply::hold("news").body("secret").with(name, value),
            _ => Reply::ok("ordinary"),
        });
        let proxy = Perihelion::before(&origin);
        let answer = proxy.get("/hold");
        assert_eq!(answer.status(), 502, "{name}: {value}");
        assert!(!answer.text().contains("secret") && answer.text().len() > 10, "{}", answer.text());
        let said = [name, value, "site=\"*\"", "path=\"/hold\""];
        let quoted = || proxy.stderr().lines().any(|line| said.iter().all(|part| line.contains(part)));
        wait_until("the log quotes it and says where", quoted);
        proxy.wait_metric("perihelion_comet_takeovers_total", &[("result", "bad_header")], 1.0);
        proxy.wait_metric("perihelion_comet_streams_opened_total", &[], 0.0);
        assert_eq!(proxy.get("/").text(), "ordinary");
    }
}

#[test]
fn one_hold_too_many_is_503_with_retry_after_and_nobody_is_evicted() {
    let origin = holding(&[], "");
    let proxy = Perihelion::before_with(&origin, "limits: { held_connections: 2 }");
    let mut first = EventSource::open(proxy.http(), "/hold?news");
    let second = EventSource::open(proxy.http(), "/hold?news");
    let mut third = ask(&proxy, "/hold?news", "Accept: text/event-stream\r\n");
    let answer = third.answer();
    assert_eq!(answer.status(), 503);
    assert!(answer.head.get("retry-after").is_some_and(|value| value.parse::<u32>().is_ok()));
    proxy.wait_metric("perihelion_comet_takeovers_total", &[("result", "limit")], 1.0);
    proxy.publish("news", "for the two");
    assert_eq!(first.next().data, "for the two");
    drop(second);
    proxy.wait_subscribers("news", 1);
    // A place is free a moment after its connection has left the channel.
    wait_until("a place is free", || {
        ask(&proxy, "/hold?news", "Accept: text/event-stream\r\n").head().status() == 200
    });
    assert_eq!(proxy.get("/").text(), "ordinary");
}

#[test]
fn a_beginning_that_is_too_large_is_502() {
    let origin = Origin::replying(|_| Reply::hold("news").body([b'x'; 1025]));
    let proxy = Perihelion::before_with(&origin, "limits: { hold_body: 1KiB }");
    assert_eq!(proxy.get("/").status(), 502);
    proxy.wait_metric("perihelion_comet_streams_opened_total", &[], 0.0);
}

#[test]
fn a_head_request_is_answered_with_the_head_of_the_stream_and_not_held() {
    let origin = holding(&[], "");
    let proxy = Perihelion::before(&origin);
    let mut raw = proxy.connect();
    raw.send("HEAD /hold?news HTTP/1.1\r\nHost: example.com\r\n\r\n");
    let head = raw.head();
    assert_eq!(head.status(), 200);
    assert!(!head.has("x-comet-subscribe"), "{head:?}");
    assert_eq!(raw.get("/").text(), "ordinary");
    proxy.wait_metric("perihelion_comet_streams_opened_total", &[], 0.0);
}

#[test]
fn a_deleted_channel_ends_streams_cleanly_and_gives_polls_the_applications_response() {
    let origin = holding(&[], "over");
    let proxy = Perihelion::before(&origin);
    let mut stream = EventSource::open(proxy.http(), "/hold?news");
    let mut poll = ask(&proxy, "/hold?news", "");
    proxy.wait_subscribers("news", 2);
    assert_eq!(proxy.control("DELETE", "/channels/news", "").status(), 200);
    assert_eq!(stream.next_or_end(), None);
    assert_eq!(poll.answer().text(), "over");
    // Both connections live on.
    assert_eq!(stream.into_raw().get("/").text(), "ordinary");
    assert_eq!(poll.get("/").text(), "ordinary");
    proxy.wait_metric("perihelion_comet_streams_closed_total", &[("reason", "channel_closed")], 2.0);
}

#[test]
fn many_clients_get_every_message_once_and_in_order() {
    let origin = holding(&[], "");
    let proxy = Perihelion::before(&origin);
    let mut clients: Vec<EventSource> =
        (0..50).map(|_| EventSource::open(proxy.http(), "/hold?news")).collect();
    proxy.wait_subscribers("news", 50);
    let items: Vec<String> =
        (0..200).map(|n| format!("{{\"channel\":\"news\",\"data\":\"message {n}\"}}")).collect();
    for batch in items.chunks(20) {
        let answer = proxy.control("POST", "/publish", &format!("{{\"items\":[{}]}}", batch.join(",")));
        assert_eq!(answer.status(), 200, "{}", answer.text());
    }
    let expected: Vec<String> = (0..200).map(|n| format!("message {n}")).collect();
    for client in &mut clients {
        assert_eq!(client.data(200), expected);
    }
    proxy.wait_metric("perihelion_comet_deliveries_total", &[], 10_000.0);
}

#[test]
fn a_stream_is_not_delayed_by_what_the_client_says_behind_its_request() {
    let count = Arc::new(AtomicUsize::new(0));
    let seen = count.clone();
    let origin = Origin::replying(move |request: &Received| {
        seen.fetch_add(1, Ordering::SeqCst);
        match request.target() {
            "/hold" => Reply::hold("news").with("X-Comet-Transport", "ndjson"),
            _ => Reply::ok("after the stream"),
        }
    });
    let proxy = Perihelion::before(&origin);
    let mut raw = proxy.connect();
    raw.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n");
    raw.head();
    proxy.wait_subscribers("news", 1);
    proxy.publish("news", "message");
    assert!(raw.chunk().unwrap().ends_with(b"\"data\":\"message\"}\n"));
    assert_eq!(count.load(Ordering::SeqCst), 1);
    assert_eq!(proxy.control("DELETE", "/channels/news", "").status(), 200);
    assert_eq!(raw.chunk(), None);
    assert_eq!(raw.answer().text(), "after the stream");
}

#[test]
fn a_connection_that_came_back_from_a_hold_serves_on_and_ends_when_its_client_is_silent() {
    let origin = Origin::replying(|request: &Received| match request.target() {
        "/poll" => Reply::hold("news").with("X-Comet-Transport", "long-poll"),
        _ => Reply::ok("ordinary"),
    });
    let proxy = Perihelion::before_with(&origin, "timeouts: { idle: 4s }");
    let mut raw = proxy.connect();
    for number in ["1", "2"] {
        raw.send("GET /poll HTTP/1.1\r\nHost: a\r\n\r\n");
        proxy.wait_subscribers("news", 1);
        proxy.publish("news", number);
        assert_eq!(raw.answer().json()["messages"][0]["data"], number);
        assert_eq!(raw.get("/").text(), "ordinary");
    }
    raw.send("GET /poll HTTP/1.1\r\nHost: a\r\n\r\n");
    proxy.wait_subscribers("news", 1);
    proxy.publish("news", "3");
    raw.answer();
    raw.assert_closed();
}

#[test]
fn what_a_client_asks_behind_a_poll_is_a_request_like_any_other() {
    let origin = Origin::replying(|request: &Received| match request.target() {
        "/poll" => Reply::hold("news").with("X-Comet-Transport", "long-poll"),
        _ => Reply::ok(format!("{} bytes", request.body.len())),
    });
    let proxy = Perihelion::before_with(&origin, "limits: { request_header: 8KiB }");
    let mut raw = proxy.connect();
    let poll = |raw: &mut Raw| {
        raw.send("GET /poll HTTP/1.1\r\nHost: a\r\n\r\n");
        proxy.wait_subscribers("news", 1);
        proxy.publish("news", "x");
        assert_eq!(raw.answer().json()["messages"][0]["data"], "x");
    };
    // In pieces, with a long body, and with one behind it.
    poll(&mut raw);
    for piece in ["POST / HT", "TP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab", "c"] {
        raw.send(piece);
        std::thread::yield_now();
    }
    assert_eq!(raw.answer().text(), "3 bytes");
    poll(&mut raw);
    raw.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n{}", "x".repeat(100_000)));
    assert_eq!(raw.answer().text(), "100000 bytes");
    poll(&mut raw);
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    raw.send([get, get].concat());
    assert_eq!((raw.answer().text(), raw.answer().text()), ("0 bytes".into(), "0 bytes".into()));
    // The bounds of a head hold, and its refusal is logged and counted.
    poll(&mut raw);
    raw.send(format!("GET /long HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(9000)));
    assert_eq!(raw.answer().status(), 431);
    raw.assert_closed();
    proxy.wait_metric("perihelion_request_errors_total", &[("reason", "header_too_large")], 1.0);
    proxy.wait_access_line(|line| line.contains("GET /long") && line.contains(" 431 "));
    proxy.wait_metric("perihelion_connections_accepted_total", &[], 1.0);
}

#[test]
fn a_client_that_says_its_next_poll_and_leaves_is_not_held_for_nobody() {
    let origin = holding(&[("X-Comet-Transport", "long-poll")], "");
    let proxy = Perihelion::before(&origin);
    let mut raw = ask(&proxy, "/hold?news", "");
    proxy.wait_subscribers("news", 1);
    proxy.publish("news", "x");
    raw.answer();
    raw.send("GET /hold?news HTTP/1.1\r\nHost: example.com\r\n\r\n");
    drop(raw);
    proxy.wait_metric("perihelion_comet_streams_closed_total", &[("reason", "answered")], 1.0);
    wait_until("nobody is held", || {
        proxy.subscribers("news") == 0 && proxy.metric("perihelion_connections_open", &[]) == 0.0
    });
}
