//! What a route says of GRIP for itself.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use socket2::Socket;

use crate::support::{Folder, Head, Origin, Perihelion, Raw, Received, Reply, Then};

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// With these lines of routes, each with the pool `app`.
fn start(origin: &Origin, more: &str, routes: &[&str]) -> Perihelion {
    let routes: String = routes.iter().map(|route| format!("      - {{ pool: app, {route} }}\n")).collect();
    Perihelion::start(&format!(
        "listen: $HTTP\ncontrol: $CONTROL\n{more}pools: {{app: {{servers: [\"{}\"]}}}}\nsites:\n  \"*\":\n    routes:\n{routes}",
        origin.url()
    ))
}

fn ask(proxy: &Perihelion, target: &str, fields: &str) -> Raw {
    let mut raw = proxy.connect();
    raw.send(format!("GET {target} HTTP/1.1\r\nHost: example.com\r\n{fields}\r\n"));
    raw
}

fn open(proxy: &Perihelion, target: &str) -> (Raw, Head) {
    let mut raw = ask(proxy, target, UPGRADE);
    let head = raw.head();
    assert_eq!(head.status(), 101, "{head:?}");
    (raw, head)
}

fn publish(proxy: &Perihelion, item: &str) {
    let answer = proxy.control("POST", "/publish/", &format!("{{\"items\":[{item}]}}"));
    assert_eq!((answer.status(), answer.text().as_str()), (200, "Published\n"), "{item}");
}

fn say(proxy: &Perihelion, channel: &str, content: &str) {
    publish(proxy, &format!("{{\"channel\":\"{channel}\",\"ws-message\":{{\"content\":\"{content}\"}}}}"));
}

fn masked(text: &str) -> Vec<u8> {
    [&[0x81, 0x80 | text.len() as u8, 0, 0, 0, 0], text.as_bytes()].concat()
}

#[track_caller]
fn said(raw: &mut Raw) -> String {
    let head = raw.exactly(2);
    assert_eq!(head[0], 0x81, "{head:?}");
    String::from_utf8(raw.exactly(usize::from(head[1]))).unwrap()
}

#[test]
fn clients_held_by_grip_are_on_the_channels_of_their_route_by_the_names_of_publishers() {
    let origin = Origin::replying(|request: &Received| match request.target() {
        "/stream" => Reply::ok("open\n").with("Grip-Hold", "stream").with("Grip-Channel", "own"),
        "/alone" => Reply::ok("open\n").with("Grip-Hold", "stream"),
        "/linked" => Reply::ok("open\n")
            .with("Grip-Hold", "stream")
            .with("Grip-Channel", "own; prev-id=1")
            .with("Grip-Link", "</linked/next>; rel=next"),
        "/linked/next" => Reply::ok("more\n").with("Grip-Hold", "stream"),
        "/poll" => Reply::ok("late\n").with("Grip-Hold", "response").with("Grip-Channel", "news"),
        _ => Reply::ok("plain\n").with("Grip-Channel", "own"),
    });
    let proxy = start(&origin, "", &["path: /, channel_prefix: a-, grip: { channels: [news, all, news] }"]);
    let mut held = [("/stream", 3), ("/alone", 2)].map(|(target, channels)| {
        let mut raw = ask(&proxy, target, "");
        assert_eq!(raw.head().status(), 200);
        raw.piece("open\n");
        (raw, channels)
    });
    proxy.wait_subscribers("all", 2);
    proxy.wait_subscribers("a-own", 1);
    publish(&proxy, r#"{"channel":"all","http-stream":{"content":"to all\n"}}"#);
    publish(&proxy, r#"{"channel":"a-all","http-stream":{"content":"to nobody\n"}}"#);
    publish(&proxy, r#"{"channel":"news","http-stream":{"content":"news\n"}}"#);
    publish(&proxy, r#"{"channel":"a-own","http-stream":{"content":"own\n"}}"#);
    for (raw, channels) in &mut held {
        raw.piece("to all\n");
        raw.piece("news\n");
        if *channels == 3 {
            raw.piece("own\n");
        }
    }
    // What a link leads to doesn't take them away.
    let mut linked = ask(&proxy, "/linked", "");
    assert_eq!(linked.head().status(), 200);
    linked.piece("open\n");
    publish(&proxy, r#"{"channel":"a-own","id":"9","prev-id":"8","http-stream":{"content":"9\n"}}"#);
    linked.piece("more\n");
    proxy.wait_subscribers("a-own", 1);
    publish(&proxy, r#"{"channel":"all","http-stream":{"content":"to all\n"}}"#);
    linked.piece("to all\n");
    // A poll has it besides its own of the same name, behind the prefix.
    let mut poll = ask(&proxy, "/poll", "");
    proxy.wait_subscribers("a-news", 1);
    publish(&proxy, r#"{"channel":"news","http-response":{"body":"yes\n"}}"#);
    assert_eq!(poll.answer().text(), "yes\n");
    assert_eq!(proxy.get("/plain").text(), "plain\n");
}

#[test]
fn filters_name_channels_as_the_application_does_without_the_prefix_of_its_route() {
    let origin = Origin::replying(|_: &Received| {
        Reply::ok("open\n")
            .with("Grip-Hold", "stream")
            .with("Grip-Channel", "own; filter=require-sub; filter=build-id")
            .with("Grip-Set-Meta", "id_format=\"own:%(own)s\"")
    });
    let proxy = start(&origin, "", &["path: /, channel_prefix: a-"]);
    let mut raw = ask(&proxy, "/", "");
    raw.head();
    raw.piece("open\n");
    for required in ["a-own", "own"] {
        let id = required.len();
        publish(
            &proxy,
            &format!(
                r#"{{"channel":"a-own","id":"{id}","meta":{{"require_sub":"{required}"}},"http-stream":{{"content":"id: %I\n"}}}}"#
            ),
        );
    }
    raw.piece("id: own:3\n");
}

fn events(body: &str, fields: &[(&str, &str)]) -> Reply {
    let reply = Reply::ok(body).with("Content-Type", "application/websocket-events");
    fields.iter().fold(reply, |reply, (name, value)| reply.with(name, value))
}

#[test]
fn websockets_are_on_the_channels_of_their_route_whatever_their_application_says() {
    const LEAVE: &str = "c:{\"type\":\"unsubscribe\",\"channel\":\"all\"}";
    let origin = Origin::new(|request: &Received, socket: &mut Socket| {
        let leaves = format!("TEXT {:x}\r\n{LEAVE}\r\nTEXT 6\r\nm:left\r\n", LEAVE.len());
        match (request.target(), &request.body[..]) {
            ("/native", _) => {
                let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                            Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
                socket.write_all(&[head.as_bytes(), b"\x81\x04m:hi"].concat()).unwrap();
                // Until its client has gone.
                let _ = std::io::copy(&mut &*socket, &mut std::io::sink());
                Then::Close
            }
            ("/grip", b"OPEN\r\n") => {
                let fields = [("Sec-WebSocket-Extensions", "grip")];
                events(&format!("OPEN\r\n{leaves}"), &fields).send_to(request, socket)
            }
            ("/plain", b"OPEN\r\n") => events("OPEN\r\n", &[]).send_to(request, socket),
            (_, said) if said.starts_with(b"TEXT") => events(&leaves, &[]).send_to(request, socket),
            _ => events("", &[]).send_to(request, socket),
        }
    });
    let grip = "grip: { channels: all }";
    let proxy = start(
        &origin,
        "",
        &[
            &format!("path: /, websockets: over_http, {grip}"),
            &format!("path: /native, websockets: grip, {grip}"),
        ],
    );
    let (mut first, _) = open(&proxy, "/grip");
    assert_eq!(said(&mut first), "left");
    first.send(masked("leave"));
    assert_eq!(said(&mut first), "left");
    let (mut plain, _) = open(&proxy, "/plain");
    // An application that doesn't speak GRIP has nothing before its messages, and its client is reached all the same.
    let (mut native, head) = open(&proxy, "/native");
    assert!(!head.has("sec-websocket-extensions"), "{head:?}");
    assert_eq!(said(&mut native), "m:hi");
    proxy.wait_subscribers("all", 3);
    say(&proxy, "all", "hello");
    for raw in [&mut first, &mut plain, &mut native] {
        assert_eq!(said(raw), "hello");
    }
}

const INSTRUCTIONS: &[(&str, &str)] =
    &[("Grip-Hold", "stream"), ("Grip-Channel", "a"), ("Grip-Link", "</next>; rel=next")];

#[test]
fn a_route_without_grip_passes_on_what_others_are_told_in_it() {
    let origin = Origin::new(|request: &Received, socket: &mut Socket| {
        let reply = match request.target() {
            "/off/body" => Reply::ok("{}").with("Content-Type", "application/grip-instruct"),
            "/off/own" => Reply::hold("own"),
            "/off/large" => Reply::ok(vec![b'x'; 300_000]),
            _ => Reply::ok("body\n").with("X-Comet-Tag", "ours").with("Keep-Alive", "timeout=5"),
        };
        let with = |reply: Reply, (name, value): &(&str, &str)| reply.with(name, value);
        INSTRUCTIONS.iter().fold(reply, with).send_to(request, socket)
    });
    let more = "grip: { key: changeme }\n";
    let proxy = start(&origin, more, &["path: /off, grip: off", "path: /"]);
    let forged = "Grip-Sig: forged\r\nGrip-Last: a; last-id=1\r\n";
    for target in ["/off", "/off/body", "/off/large"] {
        let answer = ask(&proxy, target, forged).answer();
        for (name, value) in INSTRUCTIONS {
            assert_eq!(answer.head.get(name), Some(*value), "{target}");
        }
        assert!(!answer.head.has("x-comet-tag") && !answer.head.has("keep-alive"), "{:?}", answer.head);
        let request = origin.last();
        for name in ["grip-sig", "grip-last", "grip-feature"] {
            assert!(!request.head.has(name), "{name} of {target}");
        }
    }
    // What GRIP has nothing to do with stays as it is.
    let mut own = ask(&proxy, "/off/own", "Accept: text/event-stream\r\n");
    let head = own.head();
    assert!(!head.has("x-comet-subscribe") && !head.has("grip-hold"), "{head:?}");
    proxy.wait_subscribers("own", 1);
    let mut elsewhere = ask(&proxy, "/", "");
    assert!(!elsewhere.head().has("grip-hold"));
    assert!(origin.last().head.has("grip-sig"));
    proxy.wait_subscribers("a", 1);
}

#[test]
fn what_a_trusted_proxy_says_in_grip_is_for_applications_that_no_grip_is_spoken_with_here() {
    let origin = Origin::replying(|_: &Received| Reply::ok("x"));
    let more = "grip: { key: changeme }\ntrusted_proxies: [127.0.0.0/8]\n";
    let proxy = start(&origin, more, &["path: /off, grip: off", "path: /"]);
    let said = "Grip-Sig: of a proxy in front\r\nGrip-Feature: status\r\n";
    assert_eq!(ask(&proxy, "/off", said).answer().status(), 200);
    let request = origin.last();
    assert_eq!(request.head.all("grip-sig"), ["of a proxy in front"]);
    assert_eq!(request.head.all("grip-feature"), ["status"]);
    assert_eq!(ask(&proxy, "/", said).answer().status(), 200);
    let request = origin.last();
    assert!(request.head.all("grip-sig").iter().all(|token| token.starts_with("ey")), "{:?}", request.head);
}

/// Issuer of a token, once it is known to be signed with this key.
fn issuer_of(request: &Received, key: &[u8]) -> String {
    issuer_if(request, key).expect("that key")
}

/// The same, if it is.
fn issuer_if(request: &Received, key: &[u8]) -> Option<String> {
    let tokens = request.head.all("grip-sig");
    let [token] = tokens[..] else { panic!("{tokens:?}") };
    let (signed, tag) = token.rsplit_once('.').unwrap();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key);
    ring::hmac::verify(&key, signed.as_bytes(), &URL_SAFE_NO_PAD.decode(tag).unwrap()).ok()?;
    let claims = URL_SAFE_NO_PAD.decode(signed.rsplit_once('.').unwrap().1).unwrap();
    Some(serde_json::from_slice::<serde_json::Value>(&claims).unwrap()["iss"].as_str().unwrap().to_owned())
}

#[test]
fn the_key_and_the_issuer_of_a_route_count_more_than_those_of_all() {
    let origin = Origin::replying(|request: &Received| match &request.body[..] {
        b"OPEN\r\n" => events("OPEN\r\n", &[]),
        _ => Reply::ok("x"),
    });
    let folder = Folder::new();
    let file = folder.write("key", "of a file").display().to_string();
    let from_file = format!("path: /file, grip: {{ key: \"${{file:{file}}}\" }}");
    let routes = [
        "path: /both, grip: { key: \"base64:AAEC\", issuer: me }",
        "path: /issuer, grip: { issuer: me }",
        "path: /unsigned, grip: { key: \"\" }",
        "path: /socket, websockets: over_http, grip: { key: of sockets }",
        from_file.as_str(),
        "path: /",
    ];
    let more = "grip: { key: changeme, issuer: all }\n";
    let proxy = start(&origin, more, &routes);
    let known: [(&str, &[u8], &str); 4] = [
        ("/both", &[0, 1, 2], "me"),
        ("/issuer", b"changeme", "me"),
        ("/file", b"of a file", "all"),
        ("/", b"changeme", "all"),
    ];
    for (target, key, issuer) in known {
        assert_eq!(proxy.get(target).status(), 200);
        assert_eq!(issuer_of(&origin.last(), key), issuer, "{target}");
    }
    assert_eq!(proxy.get("/unsigned").status(), 200);
    let request = origin.last();
    assert!(!request.head.has("grip-sig") && request.head.has("grip-feature"), "{:?}", request.head);
    open(&proxy, "/socket");
    assert_eq!(issuer_of(&origin.last(), b"of sockets"), "all");
    // Where nothing is said for all, it is said for one.
    let proxy = start(&origin, "", &routes);
    assert_eq!(proxy.get("/both").status(), 200);
    assert_eq!(issuer_of(&origin.last(), &[0, 1, 2]), "me");
    assert_eq!(proxy.get("/").status(), 200);
    assert!(!origin.last().head.has("grip-feature"));
}

#[test]
fn questions_of_filters_are_signed_as_the_requests_of_their_clients_route() {
    let origin = Origin::replying(|request: &Received| match request.target() {
        "/f/check" => Reply::ok(""),
        _ => Reply::ok("")
            .with("Grip-Hold", "stream")
            .with("Grip-Channel", "a; filter=http-check")
            .with("Grip-Set-Meta", "url=\"/f/check\""),
    });
    let filter = format!("{{ url: 'http://example.com/f/', server: '{}' }}", origin.url());
    let more = format!("grip: {{ key: changeme, issuer: all, filters: [{filter}] }}\n");
    let proxy = start(&origin, &more, &["path: /own, grip: { key: of its own, issuer: me }", "path: /"]);
    let mut streams = ["/own/stream", "/stream"].map(|target| ask(&proxy, target, ""));
    streams.iter_mut().for_each(|raw| assert_eq!(raw.head().status(), 200));
    proxy.wait_subscribers("a", 2);
    publish(&proxy, r#"{"channel":"a","http-stream":{"content":"heard"}}"#);
    streams.iter_mut().for_each(|raw| assert_eq!(raw.chunk().unwrap(), b"heard"));
    let asked: Vec<_> =
        origin.received().into_iter().filter(|request| request.target() == "/f/check").collect();
    let issuers = |key| asked.iter().filter_map(|request| issuer_if(request, key)).collect::<Vec<_>>();
    assert_eq!((issuers(b"of its own"), issuers(b"changeme")), (vec!["me".into()], vec!["all".into()]));
}

#[test]
fn websockets_may_have_a_pool_of_their_own_by_requests_and_as_they_are() {
    let pages = Origin::replying(|_: &Received| Reply::ok("page"));
    let sockets = Origin::new(|request: &Received, socket: &mut Socket| match &request.body[..] {
        b"OPEN\r\n" => events("OPEN\r\n", &[]).send_to(request, socket),
        said if said.starts_with(b"TEXT") => events("TEXT 5\r\nheard\r\n", &[]).send_to(request, socket),
        _ if request.method() == "POST" => events("", &[]).send_to(request, socket),
        _ => {
            let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
            socket.write_all(&[head.as_bytes(), b"\x81\x02hi"].concat()).unwrap();
            let _ = std::io::copy(&mut &*socket, &mut std::io::sink());
            Then::Close
        }
    });
    let proxy = Perihelion::start(&format!(
        "listen: $HTTP\ncontrol: $CONTROL\npools: {{pages: {{servers: [\"{}\"]}}, sockets: {{servers: [\"{}\"]}}}}\n\
         sites:\n  \"*\":\n    routes:\n\
         \x20     - {{ path: /, pool: pages, websocket_pool: sockets, websockets: over_http }}\n\
         \x20     - {{ path: /native, pool: pages, websocket_pool: sockets }}\n\
         \x20     - {{ path: /grip, pool: pages, websocket_pool: sockets, websockets: grip }}\n",
        pages.url(),
        sockets.url()
    ));
    let (mut over_http, _) = open(&proxy, "/ws");
    over_http.send(masked("hello"));
    assert_eq!(said(&mut over_http), "heard");
    for target in ["/native", "/grip"] {
        assert_eq!(said(&mut open(&proxy, target).0), "hi", "{target}");
    }
    for target in ["/ws", "/native", "/grip"] {
        assert_eq!(proxy.get(target).text(), "page", "{target}");
    }
    assert_eq!(pages.received().len(), 3);
}
