//! HTTP/2 with clients: by ALPN and by prior knowledge, requests and bodies as over HTTP/1, and everything that is held.

use std::io::{Read as _, Write as _};

use h2::Reason;
use h2::ext::Protocol;
use hyper::Request;
use rustls::version::TLS13;

use crate::support::{
    Certificate, Http2, Http2Stream, Origin, Perihelion, Place, Received, Reply, Then, hash, noise,
    wait_until,
};

/// In front of an application, HTTP/2 by prior knowledge, with more keys.
fn before(origin: &Origin, more: &str) -> Perihelion {
    let listen = "listen: [{ address: $HTTP, http2: true }]\ncontrol: $CONTROL\n";
    Perihelion::start(&format!("{listen}upstream: {}\n{more}", origin.url()))
}

fn connect(proxy: &Perihelion) -> Http2 {
    Http2::connect(proxy.http())
}

fn ordinary() -> Origin {
    Origin::replying(|request| match request.target() {
        "/hash" => Reply::ok(hash(&request.body)),
        "/nothing" => Reply::bodiless("204 No Content"),
        "/large" => Reply::ok(noise(3_000_000)),
        _ => Reply::ok("ordinary").with("Connection", "keep-alive, X-Own").with("X-Own", "1"),
    })
}

#[test]
fn tls_listeners_speak_http_2_where_the_client_does_and_may_be_told_not_to() {
    let place = Place::new();
    let certificate = Certificate::for_names(&["example.com"]);
    certificate.write(&place.folder, "site");
    let origin = ordinary();
    let configuration = |more| {
        format!(
            "listen: [{{ address: $TLS{more}, tls: [{{ certificate: $FOLDER/site.pem, key: $FOLDER/site.key }}] }}]\n\
             upstream: {}\ncontrol: $CONTROL\n",
            origin.url()
        )
    };
    let proxy = Perihelion::start_at(place, &configuration(""), None);
    let (address, client) = (proxy.place.tls(), certificate.client(&TLS13));
    let connect = |protocols: &[&str]| Http2::tls(address, "example.com", &client, protocols);
    let Ok(http2) = connect(&["h2", "http/1.1"]) else { panic!("not HTTP/2") };
    assert_eq!(http2.get("/").answer(), (200, "ordinary".into()));
    let head = origin.last().head;
    assert_eq!((head.get("x-forwarded-proto"), head.get("host")), (Some("https"), Some("example.com")));
    assert_eq!(connect(&["http/1.1"]).err(), Some(Some(b"http/1.1".to_vec())));
    assert_eq!(connect(&[]).err(), Some(None));
    assert_eq!(proxy.reload(&configuration(", http2: false")).status(), 200);
    assert_eq!(connect(&["h2", "http/1.1"]).err(), Some(Some(b"http/1.1".to_vec())));
    assert_eq!(http2.get("/").answer().0, 200, "a connection that is open stays what it is");
}

#[test]
fn a_plain_port_tells_both_apart_by_their_first_bytes() {
    let origin = ordinary();
    let proxy = before(&origin, "");
    assert_eq!(connect(&proxy).get("/").answer(), (200, "ordinary".into()));
    assert_eq!(proxy.get("/").text(), "ordinary");
    let mut slow = proxy.connect();
    for byte in b"POST /hash HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx" {
        slow.send([*byte]);
    }
    assert_eq!(slow.answer().text(), hash(b"x"));
    let mut other = proxy.connect();
    other.send("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n");
    assert_eq!(other.answer().status(), 400);
}

#[test]
fn a_request_reaches_the_application_as_one_of_http_1() {
    let origin = ordinary();
    let proxy = before(&origin, "");
    let http2 = connect(&proxy);
    let request = Request::get("http://example.com:81/a?b=c")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .header("x-comet-subscribe", "news")
        .header("x_comet_subscribe", "news")
        .header("x-blank", " b ")
        .header("te", "trailers");
    let mut stream = http2.begin(request, true);
    let head = stream.head();
    let mut names: Vec<&str> = head.headers().keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["content-length", "date"], "nothing of a connection, and nothing that it names");
    let received = origin.only();
    assert_eq!(received.head.line, "GET /a?b=c HTTP/1.1");
    for (name, value) in [
        ("host", Some("example.com:81")),
        ("cookie", Some("a=1; b=2")),
        ("x-blank", Some("b")),
        ("te", Some("trailers")),
        ("x-comet-subscribe", None),
        ("x_comet_subscribe", None),
        ("content-length", None),
        ("transfer-encoding", None),
        ("x-forwarded-proto", Some("http")),
    ] {
        assert_eq!(received.head.get(name), value, "{name}");
    }
    proxy.wait_metric("perihelion_requests_total", &[("protocol", "h2"), ("code", "200")], 1.0);
}

#[test]
fn bodies_come_whole_both_ways_with_a_length_and_without() {
    let origin = ordinary();
    let proxy = before(&origin, "");
    let http2 = connect(&proxy);
    let body = noise(2_000_000);
    for with_length in [true, false] {
        let request = Request::post("http://example.com/hash");
        let request = if with_length { request.header("content-length", body.len()) } else { request };
        let mut stream = http2.begin(request, false);
        stream.send_body(&body);
        assert_eq!(stream.answer(), (200, hash(&body)));
    }
    let mut stream = http2.begin(Request::get("http://example.com/hash"), false);
    stream.send_body(b"of a GET");
    assert_eq!(stream.answer(), (200, hash(b"of a GET")));
    assert_eq!(origin.last().body, b"of a GET");
    let mut large = http2.get("/large");
    assert_eq!(large.head().headers()["content-length"], "3000000");
    assert!(large.rest().0 == noise(3_000_000));
}

#[test]
fn answers_without_a_body_end_with_their_head() {
    let origin = ordinary();
    let proxy = before(&origin, "");
    let http2 = connect(&proxy);
    let mut nothing = http2.get("/nothing");
    let head = nothing.head();
    assert_eq!((head.status().as_u16(), head.headers().contains_key("content-length")), (204, false));
    assert_eq!(nothing.piece(), Ok(None));
    let mut stream = http2.begin(Request::head("http://example.com/"), true);
    assert_eq!(stream.head().headers()["content-length"], "8");
    assert_eq!(stream.piece(), Ok(None));
}

#[test]
fn trailers_reach_a_client_that_takes_them() {
    let origin = Origin::new(|_: &Received, socket: &mut socket2::Socket| {
        let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
            5\r\nhello\r\n0\r\nX-Sum: 1\r\nContent-Length: 9\r\n\r\n";
        socket.write_all(answer.as_bytes()).unwrap();
        Then::KeepAlive
    });
    let proxy = before(&origin, "");
    let http2 = connect(&proxy);
    let mut stream = http2.begin(Request::get("http://example.com/").header("te", "trailers"), true);
    assert_eq!(stream.head().headers()["trailer"], "X-Sum");
    let (body, trailers) = stream.rest();
    let trailers = trailers.expect("trailers");
    assert_eq!((&body[..], trailers.len(), &trailers["x-sum"]), (&b"hello"[..], 1, &"1".parse().unwrap()));
    let mut stream = http2.get("/");
    assert!(!stream.head().headers().contains_key("trailer"));
    assert_eq!(stream.rest(), (b"hello".to_vec(), None));
}

#[test]
fn a_request_that_is_taken_back_ends_the_work_on_it() {
    let origin = Origin::new(|_: &Received, _: &mut socket2::Socket| {
        // It never answers.
        Then::KeepAlive
    });
    let proxy = before(&origin, "");
    let http2 = connect(&proxy);
    let stream = http2.get("/");
    wait_until("the application is asked", || origin.received().len() == 1);
    assert_eq!(origin.open_connections(), 1);
    stream.reset();
    wait_until("the application's connection is closed", || origin.open_connections() == 0);
}

#[test]
fn what_is_refused_over_http_1_is_refused() {
    let origin = ordinary();
    let proxy = before(&origin, "log: { access: combined }\n");
    let http2 = connect(&proxy);
    let uri = |text: &str| Request::get(text.to_owned());
    let long = "x".repeat(9000);
    for (request, status) in [
        (uri("http://example.com/").header("host", "evil.example"), 400),
        (uri("http://u@example.com/"), 400),
        (uri("http://example.com:99999/"), 400),
        (uri(&format!("http://example.com/{long}")), 414),
        (uri("http://example.com/").header("authorization", "a").header("authorization", "b"), 400),
        (uri("http://example.com/").header("expect", "the-moon"), 417),
        (Request::builder().method("TRACE").uri("http://example.com/"), 405),
        (Request::builder().method("CONNECT").uri("example.com:443"), 405),
        ((0..101).fold(uri("http://example.com/"), |request, n| request.header(format!("x-{n}"), "")), 431),
        (uri("http://example.com/").header("x-long", "x".repeat(70_000)), 431),
    ] {
        let mut stream = http2.begin(request, true);
        assert_eq!(stream.head().status().as_u16(), status);
    }
    assert_eq!(origin.bytes(), 0);
    assert_eq!(http2.get("/").answer().0, 200, "each was an error of its own stream");
    proxy.wait_metric("perihelion_request_errors_total", &[("site", "_other"), ("reason", "method")], 2.0);
    wait_until("the log has them", || proxy.stdout().contains("\"TRACE http://example.com/ HTTP/2.0\" 405"));
}

/// An application that holds what its query says: `/TRANSPORT?CHANNELS`.
fn holding() -> Origin {
    Origin::replying(|request| match request.target().split_once('?') {
        Some(("/ws", channels)) => Reply::hold(channels).with("Sec-WebSocket-Protocol", "chat"),
        Some((transport, channels)) => {
            let hold = Reply::hold(channels).with("X-Comet-Transport", &transport[1..]).body("beginning\n");
            hold.with("X-Comet-Tag", "me").with("X-Comet-Timeout", "600").with("X-Own", "1")
        }
        None => Reply::ok("ordinary"),
    })
}

#[test]
fn streams_are_held_and_get_each_message() {
    let origin = holding();
    let proxy = before(&origin, "");
    let http2 = connect(&proxy);
    let mut sse = http2.get("/sse?news");
    let head = sse.head();
    assert_eq!(
        (head.status().as_u16(), &head.headers()["content-type"]),
        (200, &"text/event-stream".parse().unwrap())
    );
    assert_eq!(head.headers()["x-own"], "1");
    for absent in ["connection", "transfer-encoding", "content-length", "x-comet-subscribe"] {
        assert!(!head.headers().contains_key(absent), "{head:?}");
    }
    assert_eq!(sse.until("\n\n"), "beginning\n\n");
    proxy.wait_subscribers("news", 1);
    for n in 0..3 {
        let id = proxy.publish("news", &format!("message {n}"));
        assert_eq!(sse.until("\n\n"), format!("id: {id}\ndata: message {n}\n\n"));
    }
    let large = "x".repeat(300_000);
    proxy.publish("news", &large);
    assert!(
        sse.until("\n\n").ends_with(&format!("data: {large}\n\n")),
        "in more pieces than a window has room for"
    );
    sse.reset();
    proxy.wait_subscribers("news", 0);
    proxy.wait_metric(
        "perihelion_comet_streams_closed_total",
        &[("transport", "sse"), ("reason", "client")],
        1.0,
    );
    assert_eq!(http2.get("/").answer().0, 200);
}

#[test]
fn a_poll_is_answered_once_and_a_client_that_is_gone_leaves_its_channels() {
    let origin = holding();
    let proxy = before(&origin, "");
    let http2 = connect(&proxy);
    let mut poll = http2.get("/long-poll?news");
    wait_until("it is held", || proxy.subscribers("news") == 1);
    let id = proxy.publish("news", "hello");
    let head = poll.head();
    assert_eq!(head.headers()["content-type"], "application/json");
    let (body, _) = poll.rest();
    assert_eq!(head.headers()["content-length"].to_str().unwrap(), body.len().to_string());
    assert!(String::from_utf8(body).unwrap().contains(&format!("\"position\":\"{id}\"")));
    proxy.wait_subscribers("news", 0);

    let held = http2.get("/ndjson?a,b");
    wait_until("it is held", || proxy.subscribers("b") == 1);
    drop(held);
    drop(http2);
    proxy.wait_subscribers("a", 0);
}

#[test]
fn held_streams_of_one_connection_end_each_for_itself() {
    let origin = holding();
    let proxy = before(&origin, "");
    let http2 = connect(&proxy);
    let mut first = http2.get("/sse?news");
    first.head();
    let mut second = http2.get("/long-poll?news");
    wait_until("both are held", || proxy.subscribers("news") == 2);
    let ended = proxy.control("POST", "/revoke", "{\"tag\":\"me\"}");
    assert_eq!(ended.json()["connections"], 2);
    assert_eq!(first.rest(), (b"beginning\n\n".to_vec(), None));
    assert_eq!(second.answer(), (200, "beginning\n".into()), "a poll gets the application's answer");
}

#[test]
fn what_grip_and_bayeux_hold_is_held_on_streams() {
    let origin = Origin::replying(|request| {
        let kind = if request.target() == "/stream" { "stream" } else { "response" };
        Reply::ok("beginning\n").with("Grip-Hold", kind).with("Grip-Channel", "a")
    });
    let listen = "listen: [{ address: $HTTP, http2: true }]\ncontrol: $CONTROL\n";
    let routes = "routes: [{ path: /cometd, bayeux: {} }, { path: /, pool: app }]";
    let proxy = Perihelion::start(&format!(
        "{listen}pools: {{ app: {{ servers: [\"{}\"] }} }}\nsites: {{ \"*\": {{ {routes} }} }}\n",
        origin.url()
    ));
    let http2 = connect(&proxy);
    let (mut stream, mut response) = (http2.get("/stream"), http2.get("/response"));
    assert_eq!(stream.head().status().as_u16(), 200);
    assert_eq!(stream.until("\n"), "beginning\n");
    proxy.wait_subscribers("a", 2);
    let forms = r#""http-stream":{"content":"more\n"},"http-response":{"code":201,"body":"yes"}"#;
    let items = format!(r#"{{"items":[{{"channel":"a","formats":{{{forms}}}}}]}}"#);
    assert_eq!(proxy.control("POST", "/publish/", &items).status(), 200);
    assert_eq!(stream.until("\n"), "more\n");
    assert_eq!(response.answer(), (201, "yes".into()));

    let bayeux = |messages: &str| {
        let request = Request::post("http://example.com/cometd").header("content-type", "application/json");
        let mut stream = http2.begin(request, false);
        stream.send_body(messages.as_bytes());
        stream
    };
    let shaken =
        r#"[{"channel":"/meta/handshake","version":"1.0","supportedConnectionTypes":["long-polling"]}]"#;
    let answer = bayeux(shaken).answer().1;
    let id = answer.split("\"clientId\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("an id");
    let says = |rest: &str| format!("[{{\"clientId\":\"{id}\",{rest}}}]");
    bayeux(&says(r#""channel":"/meta/subscribe","subscription":"/chat""#)).answer();
    let connect = says(r#""channel":"/meta/connect","connectionType":"long-polling""#);
    assert!(bayeux(&connect).answer().1.contains("\"successful\":true"));
    let mut waiting = bayeux(&connect);
    proxy.wait_metric("perihelion_comet_streams", &[("transport", "bayeux")], 1.0);
    proxy.publish("%2Fchat", "hello");
    let (status, answer) = waiting.answer();
    assert!(status == 200 && answer.contains("\"data\":\"hello\""), "{answer}");
}

#[test]
fn a_client_that_takes_nothing_is_waited_for_and_at_last_too_slow() {
    let origin = holding();
    let proxy = before(&origin, "timeouts: { body: 5s }\n");
    let http2 = Http2::connect_with(proxy.http(), h2::client::Builder::new().initial_window_size(1000));
    let mut slow = http2.get("/sse?news");
    slow.head();
    proxy.wait_subscribers("news", 1);
    let data = "x".repeat(100_000);
    proxy.publish("news", &data);
    proxy.wait_metric("perihelion_comet_slow_streams", &[], 1.0);
    proxy.publish("news", "behind it");
    let heard = slow.until("data: behind it\n\n");
    assert!(heard.contains(&format!("data: {data}\n\n")));
    proxy.wait_metric("perihelion_comet_slow_streams", &[], 0.0);
    proxy.publish("news", &data);
    let closed = [("transport", "sse"), ("reason", "slow")];
    proxy.wait_metric("perihelion_comet_streams_closed_total", &closed, 1.0);
    assert_eq!(slow.reset_behind(), Some(Reason::CANCEL));
    assert_eq!(http2.get("/").answer().0, 200, "the others of its connection go on");
}

fn websocket<'a>(http2: &'a Http2, target: &str, protocol: &'static str) -> Http2Stream<'a> {
    wait_until("the proxy has said that it may", || http2.may_connect());
    let request = Request::builder().method("CONNECT").uri(format!("http://example.com{target}"));
    let request = request.extension(Protocol::from_static(protocol)).header("sec-websocket-version", "13");
    http2.begin(request.header("sec-websocket-protocol", "chat"), false)
}

/// A frame of a client, masked by zeros.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    [&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
}

#[test]
fn a_websocket_is_held_on_a_stream() {
    let origin = holding();
    let proxy = before(&origin, "");
    let http2 = connect(&proxy);
    let mut socket = websocket(&http2, "/ws?news", "websocket");
    socket.say(&masked(0x89, b"early"));
    let head = socket.head();
    assert_eq!(
        (head.status().as_u16(), &head.headers()["sec-websocket-protocol"]),
        (200, &"chat".parse().unwrap())
    );
    for absent in ["connection", "upgrade", "sec-websocket-accept"] {
        assert!(!head.headers().contains_key(absent), "{head:?}");
    }
    assert_eq!(socket.exactly(7), b"\x8a\x05early");
    proxy.wait_subscribers("news", 1);
    let id = proxy.publish("news", "hello");
    let object = format!("{{\"id\":\"{id}\",\"channel\":\"news\",\"data\":\"hello\"}}");
    assert_eq!(socket.exactly(2 + object.len())[2..], *object.as_bytes());
    socket.say(&masked(0x88, b"\x0f\xa0"));
    assert_eq!(socket.rest(), (b"\x88\x02\x0f\xa0".to_vec(), None));
    proxy.wait_metric(
        "perihelion_comet_streams_closed_total",
        &[("transport", "websocket"), ("reason", "client")],
        1.0,
    );
    let asked = origin.last().head;
    assert_eq!(asked.line, "GET /ws?news HTTP/1.1");
    assert_eq!((asked.get("upgrade"), asked.get("connection")), (Some("websocket"), Some("upgrade")));
    assert!(asked.has("sec-websocket-key"));
}

/// An application that speaks WebSocket itself: it says again what it hears, until it hears nothing any more.
fn echoing() -> Origin {
    Origin::new(|request: &Received, socket: &mut socket2::Socket| {
        if request.target() != "/echo" {
            return Reply::ok("no WebSocket").send_to(request, socket);
        }
        let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
            Sec-WebSocket-Accept: whatever\r\n\r\nwelcome";
        socket.write_all(head.as_bytes()).unwrap();
        let mut buffer = [0; 4096];
        while let Ok(some @ 1..) = socket.read(&mut buffer) {
            if socket.write_all(&buffer[..some]).is_err() {
                break;
            }
        }
        Then::Close
    })
}

#[test]
fn a_websocket_of_the_application_goes_through_on_a_stream() {
    let origin = echoing();
    let proxy = before(&origin, "");
    let http2 = connect(&proxy);
    let mut socket = websocket(&http2, "/echo", "websocket");
    assert_eq!(socket.head().status().as_u16(), 200);
    assert_eq!(socket.exactly(7), b"welcome");
    for _ in 0..3 {
        socket.say(b"to and fro");
        assert_eq!(socket.exactly(10), b"to and fro");
    }
    let noise = noise(1_000_000);
    for piece in noise.chunks(50_000) {
        socket.send_some(piece);
        assert!(socket.exactly(piece.len()) == piece);
    }
    socket.send_body(b"last");
    assert_eq!(socket.rest(), (b"last".to_vec(), None));
    wait_until("the application's connection is closed", || origin.open_connections() == 0);
}

#[test]
fn what_opens_no_websocket_is_no_success() {
    let origin = echoing();
    let proxy = before(&origin, "");
    let http2 = connect(&proxy);
    assert_eq!(websocket(&http2, "/other", "websocket").head().status().as_u16(), 502);
    let seen = origin.received().len();
    assert_eq!(websocket(&http2, "/echo", "connect-udp").head().status().as_u16(), 501);
    assert_eq!(origin.received().len(), seen);
    assert_eq!(http2.get("/").answer().0, 200);
}

#[test]
fn a_drain_ends_streams_cleanly_and_the_connection_with_them() {
    let origin = Origin::replying(|request| match request.target() {
        "/sse" => Reply::hold("news").with("X-Comet-Transport", "sse"),
        _ => {
            std::thread::sleep(std::time::Duration::from_millis(500));
            Reply::ok("late")
        }
    });
    let mut proxy = before(&origin, "drain: { spread: 200ms, timeout: 10s }\n");
    let http2 = connect(&proxy);
    let mut sse = http2.get("/sse");
    sse.head();
    proxy.wait_subscribers("news", 1);
    let mut slow = http2.get("/slow");
    origin.wait_for_request(1);
    proxy.signal("TERM");
    assert!(sse.until("\n\n").starts_with("retry: "));
    assert_eq!(sse.rest(), (Vec::new(), None));
    assert_eq!(slow.answer(), (200, "late".into()));
    assert!(proxy.wait_exit().success());
    assert!(http2.end().is_ok());
}

#[test]
fn a_connection_without_requests_is_closed_after_a_while_and_a_dead_one_with_them() {
    let origin = holding();
    let proxy = before(&origin, "timeouts: { idle: 2s, ping: 2s }\n");
    let http2 = connect(&proxy);
    assert_eq!(http2.get("/").answer().0, 200);
    assert!(http2.end().is_ok());
    let http2 = connect(&proxy);
    let mut sse = http2.get("/sse?news");
    sse.head();
    assert_eq!(sse.until("\n\n"), "beginning\n\n");
    proxy.wait_subscribers("news", 1);
    // Longer than a ping and the time to answer it.
    std::thread::sleep(std::time::Duration::from_secs(6));
    proxy.publish("news", "still here");
    assert!(sse.until("\n\n").ends_with("data: still here\n\n"), "it has answered pings meanwhile");
}
