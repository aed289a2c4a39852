//! WebSockets of which the application is told by requests: what these say, what the answers do, what clients get.

use std::sync::Mutex;
use std::sync::mpsc::{SyncSender, sync_channel};

use h2::ext::Protocol;
use hyper::Request;
use socket2::Socket;

use crate::support::{
    DEADLINE, Head, Http2, Origin, Perihelion, Place, Raw, Received, Reply, Then, wait_for, wait_until,
};

const HANDSHAKE: &str = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

fn events(body: impl AsRef<[u8]>) -> Reply {
    Reply::ok(body).with("Content-Type", "application/websocket-events")
}

fn event(kind: &str, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    [format!("{kind} {:x}\r\n", content.len()).as_bytes(), content, b"\r\n"].concat()
}

fn text(content: &str) -> Vec<u8> {
    event("TEXT", content)
}

fn subscribe(channel: &str) -> Vec<u8> {
    text(&format!("c:{{\"type\":\"subscribe\",\"channel\":\"{channel}\"}}"))
}

/// The answer to OPEN.
fn opened(more: &[Vec<u8>]) -> Reply {
    let reply = events([b"OPEN\r\n", &more.concat()[..]].concat());
    reply.with("Sec-WebSocket-Extensions", "grip").with("X-App", "kept")
}

/// Opens with `more`, and answers the first message in a body that it knows.
fn application(more: &'static [&'static str], answers: &'static [(&'static str, &'static str)]) -> Origin {
    Origin::replying(move |request: &Received| {
        if request.body == b"OPEN\r\n" {
            return opened(&more.iter().map(|more| text(more)).collect::<Vec<_>>());
        }
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let answer = answers.iter().find(|(said, _)| body.contains(said)).map(|(_, answer)| *answer);
        events(answer.map_or(Vec::new(), text))
    })
}

fn start(origin: &Origin) -> Perihelion {
    start_with(&origin.url(), "")
}

fn start_with(url: &str, more: &str) -> Perihelion {
    Perihelion::start(&format!(
        "listen: [{{ address: $HTTP, http2: true }}]\ncontrol: $CONTROL\ngrip: {{key: changeme}}\npools: {{app: {{servers: [\"{url}\"]}}}}\n\
         sites: {{\"*\": {{routes: [{{path: /, pool: app, websockets: over_http}}]}}}}\n{more}"
    ))
}

fn ask(proxy: &Perihelion, headers: &str) -> Raw {
    let mut raw = proxy.connect();
    raw.send(format!(
        "GET /ws?room=5 HTTP/1.1\r\nHost: example.com\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n{HANDSHAKE}{headers}\r\n"
    ));
    raw
}

#[track_caller]
fn head(raw: &mut Raw) -> Head {
    let head = raw.head();
    assert_eq!(head.line, "HTTP/1.1 101 Switching Protocols");
    assert_eq!(head.get("sec-websocket-accept"), Some(ACCEPT));
    head
}

fn open(proxy: &Perihelion) -> Raw {
    let mut raw = ask(proxy, "");
    head(&mut raw);
    raw
}

fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let head = [first, 0x80 | payload.len() as u8];
    let payload = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
    head.into_iter().chain(mask).chain(payload).collect()
}

#[track_caller]
fn frame(raw: &mut Raw) -> (u8, Vec<u8>) {
    let head = raw.exactly(2);
    (head[0], raw.exactly(usize::from(head[1])))
}

#[track_caller]
fn said(raw: &mut Raw) -> String {
    let (code, payload) = frame(raw);
    assert_eq!(code, 0x81, "{payload:?}");
    String::from_utf8(payload).unwrap()
}

/// Waits for a request with this body.
#[track_caller]
fn told(origin: &Origin, body: &[u8]) -> Received {
    let find = || origin.received().into_iter().find(|request| request.body == body);
    wait_for(&format!("a request with {:?}", String::from_utf8_lossy(body)), find)
}

fn publish(proxy: &Perihelion, items: &str) {
    let answer = proxy.control("POST", "/publish/", &format!("{{\"items\":[{items}]}}"));
    assert_eq!((answer.status(), answer.text().as_str()), (200, "Published\n"), "{items}");
}

/// What lets one through, and what waits for that.
fn gate() -> (SyncSender<()>, impl Fn() + Send + Sync) {
    let (open, opened) = sync_channel(1);
    let opened = Mutex::new(opened);
    (open, move || {
        opened.lock().unwrap().recv_timeout(DEADLINE).expect("the test lets as many through as ask")
    })
}

#[test]
fn the_application_opens_a_websocket_by_its_answer() {
    let origin = Origin::replying(|request: &Received| match &request.body[..] {
        b"OPEN\r\n" => opened(&[text("m:welcome"), subscribe("w"), text("not for the client")])
            .with("Set-Meta-Foo", "bar")
            .with("Keep-Alive-Interval", "30")
            .with("Sec-WebSocket-Protocol", "chat"),
        _ => events(text("m:echo")),
    });
    let proxy = start(&origin);
    let mut raw = ask(
        &proxy,
        "Origin: http://elsewhere.example\r\nCookie: a=1\r\nConnection-Id: forged\r\nMeta-Foo: forged\r\nGrip-Sig: forged\r\n\
         Accept: */*\r\nAccept-Encoding: gzip\r\nSec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Protocol: chat\r\n",
    );
    let head = head(&mut raw);
    assert_eq!((head.get("x-app"), head.get("sec-websocket-protocol")), (Some("kept"), Some("chat")));
    for absent in
        ["set-meta-foo", "keep-alive-interval", "content-type", "content-length", "sec-websocket-extensions"]
    {
        assert!(!head.has(absent), "{head:?}");
    }
    assert_eq!(said(&mut raw), "welcome");
    let opening = origin.only();
    assert_eq!((opening.method(), opening.target()), ("POST", "/ws?room=5"));
    let id = opening.head.get("connection-id").unwrap().to_owned();
    assert!(id.len() == 36 && id != "forged", "{id}");
    for (name, value) in [
        ("content-type", "application/websocket-events"),
        ("accept", "application/websocket-events"),
        ("sec-websocket-extensions", "grip"),
        ("sec-websocket-protocol", "chat"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("content-length", "6"),
        ("host", "example.com"),
        ("cookie", "a=1"),
        ("origin", "http://elsewhere.example"),
    ] {
        assert_eq!(opening.head.all(name), [value], "{name}");
    }
    assert!(opening.head.get("grip-sig").unwrap().len() > 50);
    for absent in ["meta-foo", "upgrade", "accept-encoding", "x-comet-position-of"] {
        assert!(!opening.head.has(absent), "{absent}: {:?}", opening.head);
    }

    proxy.wait_subscribers("w", 1);
    raw.send([masked(0x01, b"hel"), masked(0x80, b"lo")].concat());
    assert_eq!(said(&mut raw), "echo");
    let second = told(&origin, b"TEXT 5\r\nhello\r\n");
    assert_eq!(second.head.get("connection-id"), Some(&*id));
    assert_eq!(second.head.all("meta-foo"), ["bar"]);
    raw.send(masked(0x82, b"\0\x01"));
    told(&origin, b"BINARY 2\r\n\0\x01\r\n");
    assert_eq!(said(&mut raw), "echo");
    raw.send(masked(0x89, b""));
    told(&origin, b"PING\r\n");
    assert_eq!(said(&mut raw), "echo");
    raw.send(masked(0x88, b"\x03\xe8bye"));
    assert_eq!(frame(&mut raw), (0x88, b"\x03\xe8".to_vec()));
    told(&origin, b"CLOSE 5\r\n\x03\xe8bye\r\n");
    proxy.wait_subscribers("w", 0);
    proxy.wait_metric("perihelion_comet_streams", &[("transport", "grip-websocket")], 0.0);
}

#[test]
fn a_websocket_of_http_2_is_one_like_any_other() {
    let origin = application(&[r#"c:{"type":"subscribe","channel":"w"}"#], &[("hello", "m:echo")]);
    let proxy = start(&origin);
    let http2 = Http2::connect(proxy.http());
    wait_until("the proxy has said that it may", || http2.may_connect());
    let request = Request::builder().method("CONNECT").uri("http://example.com/ws?room=5");
    let request = request.extension(Protocol::from_static("websocket")).header("sec-websocket-version", "13");
    let mut socket = http2.begin(request, false);
    let head = socket.head();
    assert_eq!((head.status().as_u16(), &head.headers()["x-app"]), (200, &"kept".parse().unwrap()));
    proxy.wait_subscribers("w", 1);
    socket.say(&masked(0x81, b"hello"));
    assert_eq!(socket.exactly(6), b"\x81\x04echo");
    publish(&proxy, r#"{"channel":"w","ws-message":{"content":"published"}}"#);
    assert_eq!(socket.exactly(11), b"\x81\x09published");
    socket.say(&masked(0x88, b"\x03\xe8bye"));
    assert_eq!(socket.rest(), (b"\x88\x02\x03\xe8".to_vec(), None));
    let end = told(&origin, b"CLOSE 5\r\n\x03\xe8bye\r\n");
    assert_eq!((end.target(), end.head.get("host")), ("/ws?room=5", Some("example.com")));
}

#[test]
fn publishers_reach_it_and_close_it() {
    let origin = application(
        &[
            r#"c:{"type":"subscribe","channel":"w","filters":["skip-self"]}"#,
            r#"c:{"type":"set-meta","name":"user","value":"alice"}"#,
        ],
        &[],
    );
    let proxy = start(&origin);
    let mut raw = open(&proxy);
    proxy.wait_subscribers("w", 1);
    publish(
        &proxy,
        r#"{"channel":"w","meta":{"sender":"alice"},"ws-message":{"content":"own"}},{"channel":"w","ws-message":{"content":"one"}}"#,
    );
    assert_eq!(frame(&mut raw), (0x81, b"one".to_vec()));
    publish(
        &proxy,
        r#"{"channel":"w","http-stream":{"content":"no"}},{"channel":"w","ws-message":{"content-bin":"AAEC"}}"#,
    );
    assert_eq!(frame(&mut raw), (0x82, b"\0\x01\x02".to_vec()));
    publish(&proxy, r#"{"channel":"w","ws-message":{"type":"ping","content":""}}"#);
    assert_eq!(frame(&mut raw), (0x89, Vec::new()));
    proxy.publish("w", "ours");
    assert_eq!(said(&mut raw), "ours");
    publish(&proxy, r#"{"channel":"w","ws-message":{"action":"refresh"}}"#);
    told(&origin, b"");
    publish(&proxy, r#"{"channel":"w","ws-message":{"action":"close","code":4001,"reason":"go"}}"#);
    assert_eq!(frame(&mut raw), (0x88, b"\x0f\xa1go".to_vec()));
    told(&origin, b"CLOSE\r\n");
}

#[test]
fn its_application_changes_its_channels_while_it_is_open() {
    let origin = application(
        &[],
        &[
            ("join a", r#"c:{"type":"subscribe","channel":"a"}"#),
            ("join b", r#"c:{"type":"subscribe","channel":"b"}"#),
            ("leave a", r#"c:{"type":"unsubscribe","channel":"a"}"#),
        ],
    );
    let proxy = start(&origin);
    let mut raw = open(&proxy);
    let send = |channel: &str, content: &str| {
        publish(
            &proxy,
            &format!("{{\"channel\":\"{channel}\",\"ws-message\":{{\"content\":\"{content}\"}}}}"),
        );
    };
    send("a", "too early");
    raw.send(masked(0x81, b"join a"));
    proxy.wait_subscribers("a", 1);
    send("a", "1");
    send("b", "too early");
    assert_eq!(said(&mut raw), "1");
    raw.send(masked(0x81, b"join b"));
    proxy.wait_subscribers("b", 1);
    send("b", "2");
    send("a", "3");
    assert_eq!((said(&mut raw), said(&mut raw)), ("2".into(), "3".into()));
    raw.send(masked(0x81, b"leave a"));
    proxy.wait_subscribers("a", 0);
    send("a", "too late");
    send("b", "4");
    assert_eq!(said(&mut raw), "4");
    drop(raw);
    told(&origin, b"DISCONNECT\r\n");
    proxy.wait_subscribers("b", 0);
}

#[test]
fn what_is_published_while_the_application_answers_is_not_lost_and_comes_once() {
    let (gate, wait) = gate();
    let origin = Origin::replying(move |request: &Received| match &request.body[..] {
        b"OPEN\r\n" => opened(&[subscribe("a")]),
        body if body.starts_with(b"TEXT") => {
            wait();
            events(subscribe("b"))
        }
        _ => events(""),
    });
    let proxy = start(&origin);
    let mut raw = open(&proxy);
    proxy.wait_subscribers("a", 1);
    // Somebody else keeps the channel alive, so that it remembers.
    publish(&proxy, r#"{"channel":"b","ws-message":{"content":"too early"}}"#);
    raw.send(masked(0x81, b"join b"));
    told(&origin, b"TEXT 6\r\njoin b\r\n");
    publish(&proxy, r#"{"channel":"b","ws-message":{"content":"meanwhile"}}"#);
    publish(&proxy, r#"{"channel":"a","ws-message":{"content":"on a"}}"#);
    assert_eq!(said(&mut raw), "on a");
    gate.send(()).unwrap();
    assert_eq!(said(&mut raw), "meanwhile");
    publish(&proxy, r#"{"channel":"a","ws-message":{"content":"once"}}"#);
    publish(&proxy, r#"{"channel":"b","ws-message":{"content":"twice"}}"#);
    assert_eq!((said(&mut raw), said(&mut raw)), ("once".into(), "twice".into()));
}

#[test]
fn a_detached_client_gets_what_is_published_and_is_not_heard() {
    let origin =
        application(&[r#"c:{"type":"subscribe","channel":"w"}"#], &[("leave me", r#"c:{"type":"detach"}"#)]);
    let proxy = start(&origin);
    let mut raw = open(&proxy);
    raw.send(masked(0x81, b"leave me"));
    told(&origin, b"CLOSE\r\n");
    raw.send(masked(0x81, b"hello?"));
    raw.send(masked(0x89, b"p"));
    assert_eq!(frame(&mut raw), (0x8a, b"p".to_vec()));
    publish(&proxy, r#"{"channel":"w","ws-message":{"content":"still here"}}"#);
    assert_eq!(said(&mut raw), "still here");
    raw.send(masked(0x88, b""));
    assert_eq!(frame(&mut raw).0, 0x88);
    proxy.wait_subscribers("w", 0);
    assert_eq!(origin.received().len(), 3, "{:?}", origin.received());
}

#[test]
fn what_stands_behind_an_order_to_detach_is_said_before() {
    let origin = application(&[r#"c:{"type":"detach"}"#, "m:goodbye"], &[]);
    let proxy = start(&origin);
    let mut raw = open(&proxy);
    assert_eq!(said(&mut raw), "goodbye");
    told(&origin, b"CLOSE\r\n");
}

#[test]
fn what_a_client_says_meanwhile_goes_together() {
    let (gate, wait) = gate();
    let origin = Origin::replying(move |request: &Received| match &request.body[..] {
        b"OPEN\r\n" => opened(&[]),
        body => {
            if body.ends_with(b"one\r\n") {
                wait();
            }
            events(text("m:heard"))
        }
    });
    let proxy = start(&origin);
    let mut raw = open(&proxy);
    raw.send(masked(0x81, b"one"));
    told(&origin, b"TEXT 3\r\none\r\n");
    raw.send([masked(0x81, b"two"), masked(0x8a, b"x"), masked(0x81, b""), masked(0x88, b"")].concat());
    // A close is answered at once.
    assert_eq!(frame(&mut raw).0, 0x88);
    gate.send(()).unwrap();
    told(&origin, b"TEXT 3\r\ntwo\r\nPONG 1\r\nx\r\nTEXT 0\r\n\r\nCLOSE\r\n");
    assert_eq!(origin.received().len(), 3);
}

#[test]
fn what_the_application_does_not_take_is_told_again() {
    let origin = Origin::replying(|request: &Received| match &request.body[..] {
        b"OPEN\r\n" => opened(&[]),
        b"TEXT 5\r\nhello\r\n" => events(text("m:more")).with("Content-Bytes-Accepted", "2"),
        b"TEXT 5\r\nagain\r\n" => events("").with("Content-Bytes-Accepted", "6"),
        _ => events(text("m:all")),
    });
    let proxy = start(&origin);
    let mut raw = open(&proxy);
    raw.send(masked(0x81, b"hello"));
    assert_eq!((said(&mut raw), said(&mut raw)), ("more".into(), "all".into()));
    let rest = told(&origin, b"TEXT 3\r\nllo\r\n");
    assert_eq!(rest.head.get("content-bytes-replayed"), Some("3"));
    raw.send(masked(0x81, b"again"));
    assert_eq!(frame(&mut raw), (0x88, b"\x03\xf3".to_vec()));
}

#[test]
fn an_application_that_does_not_open_it_answers_the_client() {
    let origin =
        Origin::replying(|_: &Received| Reply::status("403 Forbidden", "not you").with("Set-Meta-A", "b"));
    let proxy = start(&origin);
    let answer = ask(&proxy, "").answer();
    assert_eq!((answer.status(), answer.text().as_str()), (403, "not you"));
    for bad in ["", "TEXT 1\r\na\r\n", "OPEN", "OPEN\r\nTEXT 5\r\n"] {
        let origin = Origin::replying(move |_: &Received| events(bad));
        assert_eq!(ask(&start(&origin), "").answer().status(), 502, "{bad}");
    }
}

#[test]
fn no_client_tells_events_itself() {
    let origin = Origin::replying(|_: &Received| Reply::ok("ordinary"));
    let proxy = start(&origin);
    let mut raw = proxy.connect();
    raw.send("POST /ws HTTP/1.1\r\nHost: example.com\r\nContent-Type: Application/WebSocket-Events; a=b\r\nContent-Length: 6\r\n\r\nOPEN\r\n");
    let answer = raw.answer();
    assert_eq!(
        (answer.status(), answer.text().as_str()),
        (403, "Client not allowed to send WebSocket events directly.\n")
    );
    assert_eq!(proxy.get("/ws").text(), "ordinary");
    assert_eq!(origin.received().len(), 1);
}

#[test]
fn the_application_ends_it_in_several_ways() {
    for (answer, code) in [
        (event("CLOSE", b"\x0f\xa1go"), &b"\x0f\xa1go"[..]),
        // As django-grip closes.
        (event("CLOSE", b"\0\0"), b"\x03\xe8"),
        (b"CLOSE\r\n".to_vec(), b"\x03\xe8"),
        (b"NONSENSE".to_vec(), b"\x03\xf3"),
    ] {
        let origin = Origin::replying(move |request: &Received| match &request.body[..] {
            b"OPEN\r\n" => opened(&[]),
            _ => events(&answer),
        });
        let proxy = start(&origin);
        let mut raw = open(&proxy);
        raw.send(masked(0x81, b"x"));
        assert_eq!(frame(&mut raw), (0x88, code.to_vec()));
    }
    let cut = Origin::replying(|request: &Received| match &request.body[..] {
        b"OPEN\r\n" => opened(&[]),
        _ => events("DISCONNECT\r\n"),
    });
    let proxy = start(&cut);
    let mut raw = open(&proxy);
    raw.send(masked(0x81, b"x"));
    raw.assert_closed();
    let broken = Origin::replying(|request: &Received| match &request.body[..] {
        b"OPEN\r\n" => opened(&[]),
        _ => Reply::status("500 Internal Server Error", "no"),
    });
    let proxy = start(&broken);
    let mut raw = open(&proxy);
    raw.send(masked(0x81, b"x"));
    assert_eq!(frame(&mut raw), (0x88, b"\x03\xf3".to_vec()));
    proxy.wait_metric("perihelion_comet_words_carried_total", &[("result", "failed")], 1.0);
}

#[test]
fn an_application_that_is_away_for_a_moment_is_told_later() {
    let place = Place::new();
    let application = || {
        Origin::at(place.tls(), |request: &Received, socket: &mut Socket| {
            let reply = match &request.body[..] {
                b"OPEN\r\n" => opened(&[]),
                _ => events(text("m:back")),
            };
            reply.with("Connection", "close").send_to(request, socket);
            Then::Close
        })
    };
    let first = application();
    let proxy = start(&first);
    let mut raw = open(&proxy);
    drop(first);
    raw.send(masked(0x81, b"x"));
    let refused = || proxy.metric("perihelion_request_errors_total", &[("reason", "connect")]);
    wait_until("it was told in vain", || refused() >= 1.0);
    let second = application();
    assert_eq!(said(&mut raw), "back");
    told(&second, b"TEXT 1\r\nx\r\n");
}

#[test]
fn signs_of_life_and_words_that_were_put_off_are_the_applications() {
    let origin = application(
        &[
            r#"c:{"type":"keep-alive","content":"{}","timeout":1}"#,
            r#"c:{"type":"send-delayed","content":"first","timeout":3600}"#,
        ],
        &[
            ("next", r#"c:{"type":"send-delayed","content":"second","timeout":3600}"#),
            ("flush", r#"c:{"type":"flush-delayed"}"#),
        ],
    );
    let proxy = start(&origin);
    let mut raw = open(&proxy);
    assert_eq!((said(&mut raw), said(&mut raw)), ("{}".into(), "{}".into()));
    fn next(raw: &mut Raw) -> String {
        std::iter::repeat_with(|| said(raw)).find(|said| said != "{}").unwrap()
    }
    raw.send(masked(0x81, b"next"));
    assert_eq!(next(&mut raw), "first");
    raw.send(masked(0x81, b"flush"));
    assert_eq!(next(&mut raw), "second");
}
