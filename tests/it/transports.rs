//! Every transport of the history of Comet, byte for byte, as its browser had it; those that nobody speaks any more, too.

use crate::support::{Head, Origin, Perihelion, Raw, Received, Reply};

/// An application that holds in this transport, at the channel `news`.
fn holding(transport: &'static str, body: &'static str) -> Origin {
    holding_with(transport, &[], body)
}

fn holding_with(
    transport: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
) -> Origin {
    Origin::replying(move |request: &Received| {
        if !request.target().starts_with("/hold") {
            return Reply::ok("ordinary");
        }
        let hold = Reply::hold("news").with("X-Comet-Transport", transport).body(body);
        headers.iter().fold(hold, |reply, (name, value)| reply.with(name, value))
    })
}

fn ask(proxy: &Perihelion, target: &str, headers: &str) -> Raw {
    let mut raw = proxy.connect();
    raw.send(format!("GET {target} HTTP/1.1\r\nHost: example.com\r\n{headers}\r\n"));
    raw
}

/// The head of a stream that nothing on the way may keep, change or hold back.
#[track_caller]
fn stream_head(raw: &mut Raw, media_type: &str) -> Head {
    let head = raw.head();
    assert_eq!((head.status(), head.chunked()), (200, true), "{head:?}");
    assert_eq!(head.get("content-type"), Some(media_type));
    assert_eq!(head.get("cache-control"), Some("no-cache, no-transform"));
    assert_eq!(head.get("x-accel-buffering"), Some("no"));
    assert!(!head.has("content-length") && !head.has("content-encoding"), "{head:?}");
    head
}

#[track_caller]
fn chunk(raw: &mut Raw) -> String {
    String::from_utf8(raw.chunk().expect("the stream goes on")).expect("text")
}

/// The next that is no keep-alive, which come whenever a second was silent.
#[track_caller]
fn chunk_behind(raw: &mut Raw, keepalive: &str) -> String {
    std::iter::repeat_with(|| chunk(raw)).find(|chunk| chunk != keepalive).expect("an iterator without end")
}

fn filler(page: &str) -> String {
    " ".repeat(1024 - page.len())
}

#[test]
fn dom_event_stream_is_what_opera_9_reads() {
    let origin = holding_with("dom-event-stream", &[("X-Comet-Keepalive", "1")], "");
    let proxy = Perihelion::before(&origin);
    let mut raw = ask(&proxy, "/hold", "");
    stream_head(&mut raw, "application/x-dom-event-stream");
    proxy.wait_subscribers("news", 1);
    proxy.publish_with("news", "X-Comet-Event: server-time\r\n", "[12,\r\n34]");
    assert_eq!(chunk_behind(&mut raw, ";\n"), "Event: server-time\ndata: [12,\ndata: 34]\n\n");
    proxy.publish("news", "x");
    assert_eq!(chunk_behind(&mut raw, ";\n"), "Event: message\ndata: x\n\n");
    assert_eq!(chunk(&mut raw), ";\n");
}

#[test]
fn a_forever_frame_is_a_page_that_calls_for_each_message() {
    let origin =
        holding_with("iframe", &[("X-Comet-Retry", "3000"), ("X-Comet-Keepalive", "1")], "<p>welcome</p>");
    let proxy = Perihelion::before(&origin);
    let mut raw = ask(&proxy, "/hold", "Sec-Fetch-Dest: iframe\r\n");
    let head = stream_head(&mut raw, "text/html; charset=utf-8");
    assert_eq!(head.get("x-content-type-options"), Some("nosniff"));
    assert!(!head.has("origin-agent-cluster"));
    let page = "<!doctype html><html><head><meta charset=\"utf-8\"><script>\
        function p(m){parent.postMessage(m,location.protocol+\"//\"+location.host)}\
        </script></head><body>\r\n<p>welcome</p>";
    let retry = "<script>p({\"event\":\"comet.retry\",\"retry\":3000})</script>\r\n";
    assert_eq!(chunk(&mut raw), format!("{page}{}\r\n{retry}", filler(page)));
    proxy.wait_subscribers("news", 1);
    let id = proxy.publish_with("news", "X-Comet-Event: chat\r\n", "</script>\u{2028}&");
    let call = format!(
        "<script>p({{\"id\":\"{id}\",\"channel\":\"news\",\"event\":\"chat\",\
         \"data\":\"\\u003c/script\\u003e\\u2028\\u0026\"}})</script>\r\n"
    );
    assert_eq!(chunk_behind(&mut raw, "<!---->\r\n"), call);
    assert_eq!(chunk(&mut raw), "<!---->\r\n");
    assert_eq!(proxy.control("DELETE", "/channels/news", "").status(), 200);
    let mut rest = String::new();
    while let Some(chunk) = raw.chunk() {
        rest.push_str(&String::from_utf8_lossy(&chunk).replace("<!---->\r\n", ""));
    }
    assert_eq!(rest, "<script>p({\"event\":\"comet.end\",\"retry\":null})</script>\r\n</body></html>\r\n");
    // The page has ended, the connection hasn't.
    assert_eq!(raw.get("/").text(), "ordinary");
}

#[test]
fn a_frame_reaches_its_page_as_the_application_says() {
    for (transport, script) in [
        ("iframe; callback=app.take", "function p(m){parent.app.take(m)}"),
        (
            "iframe; origin=https://www.example.com",
            "function p(m){parent.postMessage(m,\"https://www.example.com\")}",
        ),
        (
            "iframe; domain=example.com; callback=take",
            "document.domain=\"example.com\";function p(m){parent.take(m)}",
        ),
        ("htmlfile; domain=example.com", "document.domain=\"example.com\";function p(m){parent.comet(m)}"),
    ] {
        let origin = holding(transport, "");
        let proxy = Perihelion::before(&origin);
        let mut raw = ask(&proxy, "/hold", "");
        let head = stream_head(&mut raw, "text/html; charset=utf-8");
        let shared = transport.contains("domain=").then_some("?0");
        assert_eq!(head.get("origin-agent-cluster"), shared, "{transport}");
        let beginning = chunk(&mut raw);
        assert!(beginning.contains(&format!("<script>{script}</script>")), "{beginning}");
    }
}

#[test]
fn an_htmlfile_is_told_thrice_not_to_be_kept() {
    let origin = holding("htmlfile", "");
    let proxy = Perihelion::before(&origin);
    let mut raw = ask(&proxy, "/hold?callback=parent.news", "");
    let head = stream_head(&mut raw, "text/html; charset=utf-8");
    assert_eq!((head.get("pragma"), head.get("expires")), (Some("no-cache"), Some("-1")));
    let page = "<!doctype html><html><head><meta charset=\"utf-8\"><script>\
        function p(m){parent.parent.news(m)}</script></head><body>\r\n";
    assert_eq!(chunk(&mut raw), format!("{page}{}\r\n", filler(page)));
    proxy.wait_subscribers("news", 1);
    let id = proxy.publish("news", "x");
    let call = format!("<script>p({{\"id\":\"{id}\",\"channel\":\"news\",\"data\":\"x\"}})</script>\r\n");
    assert_eq!(chunk(&mut raw), call);
}

#[test]
fn a_part_is_complete_before_the_next_message_is_known() {
    let origin = holding_with("multipart", &[("Content-Type", "image/png")], "");
    let proxy = Perihelion::before(&origin);
    let mut raw = ask(&proxy, "/hold", "Accept: image/*\r\n");
    stream_head(&mut raw, "multipart/x-mixed-replace; boundary=perihelion-7b1d0c94e65f4a2f8d3b");
    let part =
        |media_type: &str| format!("--perihelion-7b1d0c94e65f4a2f8d3b\r\nContent-Type: {media_type}\r\n\r\n");
    assert_eq!(chunk(&mut raw), part("image/png"));
    proxy.wait_subscribers("news", 1);
    proxy.publish_with("news", "Content-Type: image/png\r\n", "PICTURE");
    assert_eq!(chunk(&mut raw), format!("PICTURE\r\n{}", part("image/png")));
    // Neither a forged part nor a page in the place of a picture.
    proxy.publish_with("news", "Content-Type: text/html\r\n", &format!("<script>\r\n{}", part("text/html")));
    let forged = chunk(&mut raw);
    assert_eq!(forged.matches("--perihelion-7b1d0c94e65f4a2f8d3b").count(), 1, "{forged}");
    assert!(forged.ends_with(&part("text/plain; charset=utf-8")), "{forged}");
    proxy.control("DELETE", "/channels/news", "");
    assert_eq!(chunk(&mut raw), "--perihelion-7b1d0c94e65f4a2f8d3b--\r\n");
    assert_eq!(raw.chunk(), None);
}

#[test]
fn a_gif_never_ends_and_has_a_frame_for_each_message() {
    let origin = holding_with("gif", &[("X-Comet-Keepalive", "1")], "The chat");
    let proxy = Perihelion::before(&origin);
    let mut raw = ask(&proxy, "/hold", "Accept: image/*\r\n");
    stream_head(&mut raw, "image/gif");
    let mut picture = raw.chunk().unwrap();
    assert!(picture.starts_with(b"GIF89a") && picture.ends_with(b"\0"));
    proxy.wait_subscribers("news", 1);
    const KEEPALIVE: &[u8] = b"!\xfe\x02hi\0";
    for text in ["ann: hello", "bob: ; \0 and a second\nline"] {
        proxy.publish("news", text);
        let mut frame = raw.chunk().unwrap();
        while frame == KEEPALIVE {
            frame = raw.chunk().unwrap();
        }
        assert!(frame.starts_with(b"\x21\xf9\x04\x04\x01\0\0\0\x2c") && frame.ends_with(b"\0"));
        assert!(frame.len() < 4096, "{}", frame.len());
        picture.extend(frame);
    }
    assert_eq!(raw.chunk().unwrap(), KEEPALIVE);
    proxy.control("DELETE", "/channels/news", "");
    while let Some(chunk) = raw.chunk() {
        picture.extend(chunk);
    }
    assert!(picture.ends_with(b";"));
    let mut decoder = gif::DecodeOptions::new().read_info(&picture[..]).unwrap();
    let mut frames = 0;
    while decoder.read_next_frame().unwrap().is_some() {
        frames += 1;
    }
    assert_eq!(frames, 3);
}

#[test]
fn jsonp_is_a_script_that_calls_the_function_of_the_request() {
    let origin = holding("auto", "");
    let proxy = Perihelion::before(&origin);
    let mut raw = ask(&proxy, "/hold?callback=my.cb&_=1", "Accept: */*\r\n");
    proxy.wait_subscribers("news", 1);
    let id = proxy.publish("news", "</script>\u{2028}");
    let answer = raw.answer();
    assert_eq!(answer.head.get("content-type"), Some("text/javascript; charset=utf-8"));
    assert_eq!(answer.head.get("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.head.get("content-disposition"), Some("attachment; filename=f.txt"));
    assert_eq!(answer.head.get("cache-control"), Some("no-cache, no-transform"));
    let expected = format!(
        "/**/my.cb({{\"position\":\"{id}\",\"gap\":false,\"messages\":[{{\"id\":\"{id}\",\
         \"channel\":\"news\",\"data\":\"\\u003c/script\\u003e\\u2028\"}}]}});"
    );
    assert_eq!(answer.text(), expected);
    // The connection goes on, and what was missed is answered at once.
    raw.send(format!(
        "GET /hold?jsonp=other&lastEventId={id} HTTP/1.1\r\nHost: example.com\r\nAccept: */*\r\n\r\n"
    ));
    let second = proxy.publish("news", "two");
    let answer = raw.answer().text();
    assert!(answer.starts_with(&format!("/**/other({{\"position\":\"{second}\"")), "{answer}");
    proxy.wait_metric("perihelion_comet_streams_opened_total", &[("transport", "jsonp")], 2.0);
}

#[test]
fn many_who_call_different_functions_get_the_same_messages() {
    let origin = holding("jsonp", "");
    let proxy = Perihelion::before(&origin);
    let names: Vec<String> = (0..10).map(|number| format!("take_{number}")).collect();
    let mut clients: Vec<Raw> =
        names.iter().map(|name| ask(&proxy, &format!("/hold?callback={name}"), "")).collect();
    proxy.wait_subscribers("news", 10);
    let id = proxy.publish("news", "to all");
    for (name, raw) in names.iter().zip(&mut clients) {
        let answer = raw.answer().text();
        assert!(answer.starts_with(&format!("/**/{name}({{\"position\":\"{id}\"")), "{answer}");
        assert!(answer.ends_with(",\"data\":\"to all\"}]});"), "{answer}");
    }
}

#[test]
fn a_callback_that_is_no_name_is_400_and_nothing_is_held() {
    let origin = holding("jsonp", "secret");
    let proxy = Perihelion::before(&origin);
    for callback in ["", "alert(1)//", "a%0d%0aX:%20y", "<script>", "a..b", &"x".repeat(65)] {
        let answer = proxy.get(&format!("/hold?callback={callback}"));
        assert_eq!(answer.status(), 400, "{callback}");
        assert!(!answer.text().contains("secret"), "{}", answer.text());
    }
    let origin = holding("iframe", "");
    let proxy = Perihelion::before(&origin);
    let mut foreign = ask(&proxy, "/hold?callback=app.erase", "Sec-Fetch-Site: cross-site\r\n");
    assert_eq!(foreign.answer().status(), 400);
    let mut own = ask(&proxy, "/hold?callback=app.take", "Sec-Fetch-Site: same-origin\r\n");
    assert_eq!(own.head().status(), 200);
    proxy.wait_metric("perihelion_comet_streams_opened_total", &[], 1.0);
    proxy.wait_metric("perihelion_request_errors_total", &[("reason", "bad_request")], 1.0);
}

#[test]
fn a_short_poll_is_answered_at_once_and_misses_nothing() {
    let origin = holding_with("poll", &[("X-Comet-Retry", "2000"), ("X-App", "kept")], "not sent");
    let proxy = Perihelion::before(&origin);
    let mut raw = ask(&proxy, "/hold", "");
    let first = raw.answer();
    assert_eq!(first.head.get("content-type"), Some("application/json"));
    assert_eq!(first.head.get("x-app"), Some("kept"));
    let position = first.json()["position"].as_str().unwrap().to_string();
    let empty = format!("{{\"position\":\"{position}\",\"gap\":false,\"retry\":2000,\"messages\":[]}}");
    assert_eq!(first.text(), empty);
    let id = proxy.publish("news", "between two polls");
    let next = raw.get(&format!("/hold?lastEventId={position}"));
    let expected = format!(
        "{{\"position\":\"{id}\",\"gap\":false,\"retry\":2000,\"messages\":\
         [{{\"id\":\"{id}\",\"channel\":\"news\",\"data\":\"between two polls\"}}]}}"
    );
    assert_eq!(next.text(), expected);
    assert_eq!(raw.get("/hold?lastEventId=a-1").json()["gap"], true);
    proxy.wait_metric("perihelion_comet_streams_closed_total", &[("reason", "answered")], 3.0);
    assert_eq!(proxy.subscribers("news"), 0);
    proxy.wait_metric("perihelion_connections_accepted_total", &[], 1.0);
}

#[test]
fn a_client_that_does_not_want_to_wait_is_answered_at_once_by_a_long_poll_too() {
    let origin = holding("long-poll", "the application's own");
    let proxy = Perihelion::before(&origin);
    let answer = ask(&proxy, "/hold", "Prefer: wait=0\r\n").answer();
    assert_eq!(answer.json()["messages"], serde_json::json!([]));
    let mut held = ask(&proxy, "/hold", "Prefer: wait=10\r\n");
    proxy.wait_subscribers("news", 1);
    let id = proxy.publish("news", "waited for");
    assert_eq!(held.answer().json()["position"], id);
}

#[test]
fn a_transport_of_a_protocol_is_none_that_an_application_can_name() {
    for name in ["bayeux", "grip-stream", "grip-response", "grip-websocket"] {
        let origin = holding(name, "");
        let proxy = Perihelion::before(&origin);
        let answer = ask(&proxy, "/hold", "").answer();
        assert_eq!(answer.status(), 502, "{name}");
        assert!(!answer.head.has("upgrade"), "{answer:?}");
        assert_eq!(proxy.subscribers("news"), 0);
    }
}

#[test]
fn client_pull_is_a_page_and_the_order_to_load_the_next() {
    let origin = holding_with("client-pull", &[("X-Comet-Retry", "1500")], "<title>Chat</title>");
    let proxy = Perihelion::before(&origin);
    let mut raw = ask(&proxy, "/hold?room=%22a", "");
    let first = raw.answer();
    assert_eq!(first.head.get("content-type"), Some("text/html; charset=utf-8"));
    let refresh = first.head.get("refresh").unwrap();
    let next = refresh.strip_prefix("2; url=").unwrap();
    assert!(next.starts_with("?room=%22a&lastEventId="), "{refresh}");
    let html = refresh.replace('&', "&amp;");
    let beginning = |order: &str| {
        format!(
            "<!doctype html>\n<meta charset=\"utf-8\">\n<meta http-equiv=\"refresh\" content=\"{order}\">\n\
             <title>Chat</title>\n"
        )
    };
    assert_eq!(first.text(), beginning(&html));
    let id = proxy.publish_with("news", "X-Comet-Event: chat\r\n", "<b>a\nb");
    let second = raw.get(&format!("/hold{next}"));
    let order = format!("2; url=?room=%22a&amp;lastEventId={id}");
    let message = format!("<p id=\"{id}\" title=\"news\" class=\"chat\">&lt;b&gt;a<br>b</p>\n");
    assert_eq!(second.text(), beginning(&order) + &message);
}

#[test]
fn padding_is_exactly_what_the_application_asks_for() {
    for (transport, expected) in [
        ("stream; padding=1024", format!("{}\nbegin", " ".repeat(1024))),
        ("sse; padding=2048", format!(":{}\n\nbegin\n\n", " ".repeat(2048))),
        ("ndjson; padding=16", format!("{}\nbegin\n", " ".repeat(16))),
    ] {
        let origin = holding(transport, "begin");
        let proxy = Perihelion::before(&origin);
        let mut raw = ask(&proxy, "/hold", "");
        raw.head();
        assert_eq!(chunk(&mut raw), expected);
    }
}

#[test]
fn plain_text_streams_at_once_without_padding() {
    let origin = holding("stream", "");
    let proxy = Perihelion::before(&origin);
    let mut raw = ask(&proxy, "/hold", "");
    let head = stream_head(&mut raw, "text/plain; charset=utf-8");
    assert_eq!(head.get("x-content-type-options"), Some("nosniff"));
}

#[test]
fn an_event_stream_carries_what_was_published_and_nothing_more() {
    let origin = holding("sse", "");
    let proxy = Perihelion::before(&origin);
    let mut raw = ask(&proxy, "/hold", "");
    raw.head();
    proxy.wait_subscribers("news", 1);
    for (data, fields) in [
        ("a\rb\r\nc\n", "data: a\ndata: b\ndata: c\ndata: \n"),
        (" leading", "data:  leading\n"),
        ("\u{feff}mark", "data: \u{feff}mark\n"),
        ("nul \0", "data: nul \0\n"),
        ("", "data: \n"),
        ("\n\nid: 1\nevent: x", "data: \ndata: \ndata: id: 1\ndata: event: x\n"),
    ] {
        let id = proxy.publish("news", data);
        assert_eq!(chunk(&mut raw), format!("id: {id}\n{fields}\n"), "{data:?}");
    }
}
