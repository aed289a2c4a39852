//! Items 53 to 66 of the catalogue: what is sent in frames of HTTP/2, and what comes of it.

use std::time::{Duration, Instant};

use crate::support::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, GET, HEADERS, PADDED, PING, PREFACE, PRIORITY,
    PUSH_PROMISE, RST_STREAM, SETTINGS, WHOLE, WINDOW_UPDATE, block, frame, get,
};
use crate::support::{Origin, Perihelion, Raw, Received, Reply, Then, wait_until};

const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const SETTINGS_TIMEOUT: u32 = 4;
const FRAME_SIZE_ERROR: u32 = 6;
const COMPRESSION_ERROR: u32 = 9;
const ENHANCE_YOUR_CALM: u32 = 11;

/// What comes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// The stream is answered so, and the connection serves the next one.
    Status(u16),
    /// The stream is reset for this reason, and the connection serves the next one.
    Reset(u32),
    /// The connection ends for this reason.
    GoAway(u32),
}

use Outcome::{GoAway, Reset, Status};

type Case = (u16, &'static str, Vec<u8>, Outcome);

/// A GET with these fields behind its own.
fn with(fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, WHOLE, 1, &block(&[&GET, fields].concat()))
}

/// A request with nothing but these fields.
fn only(fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, WHOLE, 1, &block(fields))
}

/// A GET in which one of its fields has another value.
fn changed(name: &str, value: &str) -> Vec<u8> {
    only(&GET.map(|(own, before)| if own == name { (own, value) } else { (own, before) }))
}

/// A GET without one of its fields.
fn without(name: &str) -> Vec<u8> {
    only(&GET.into_iter().filter(|(own, _)| *own != name).collect::<Vec<_>>())
}

/// A POST with these fields, whose body comes in these pieces.
fn post(fields: &[(&str, &str)], pieces: &[&[u8]]) -> Vec<u8> {
    let head =
        [&[(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a")], fields].concat();
    let mut bytes = frame(HEADERS, END_HEADERS, 1, &block(&head));
    for (index, piece) in pieces.iter().enumerate() {
        let last = if index + 1 == pieces.len() { END_STREAM } else { 0 };
        bytes.extend(frame(DATA, last, 1, piece));
    }
    bytes
}

fn heads() -> Vec<Case> {
    vec![
        (53, "LF in a value", with(&[("x", "a\nb")]), GoAway(PROTOCOL_ERROR)),
        (53, "CR LF in a value", with(&[("x", "a\r\nhost: evil")]), GoAway(PROTOCOL_ERROR)),
        (53, "zero in a value", with(&[("x", "a\0")]), GoAway(PROTOCOL_ERROR)),
        (53, "capital letter in a name", with(&[("X-A", "b")]), GoAway(PROTOCOL_ERROR)),
        (53, "blank in a name", with(&[("x a", "b")]), GoAway(PROTOCOL_ERROR)),
        (53, "colon in a name", with(&[("x:a", "b")]), GoAway(PROTOCOL_ERROR)),
        (53, "line end in a name", with(&[("x\r\na", "b")]), GoAway(PROTOCOL_ERROR)),
        (53, "quotation marks in a name", with(&[("\"x\"", "b")]), Status(400)),
        (132, "no name", with(&[("", "b")]), GoAway(PROTOCOL_ERROR)),
        (53, "blanks around a value", with(&[("x-blank", " \t b \t ")]), Status(200)),
        (54, "a request in the method", changed(":method", "GET / HTTP/1.1\r\nx:"), GoAway(PROTOCOL_ERROR)),
        (54, "blank in the path", changed(":path", "/a b"), Reset(PROTOCOL_ERROR)),
        (54, "line end in the path", changed(":path", "/\r\nx: y"), Reset(PROTOCOL_ERROR)),
        (54, "a path that is a query", changed(":path", "?a"), Status(400)),
        (54, "a path without a slash", changed(":path", "a"), Reset(PROTOCOL_ERROR)),
        (54, "an empty path", changed(":path", ""), Reset(PROTOCOL_ERROR)),
        (54, "no path", without(":path"), Reset(PROTOCOL_ERROR)),
        (54, "two paths", with(&[(":path", "/b")]), Reset(PROTOCOL_ERROR)),
        (36, "an asterisk for a path", changed(":path", "*"), Status(400)),
        (54, "a URL for a scheme", changed(":scheme", "http://evil/?"), Reset(PROTOCOL_ERROR)),
        (54, "another scheme", changed(":scheme", "ftp"), Status(400)),
        (54, "no scheme", without(":scheme"), Reset(PROTOCOL_ERROR)),
        (54, "no method", without(":method"), Reset(PROTOCOL_ERROR)),
        (54, "a path in the host", changed(":authority", "a/b"), Reset(PROTOCOL_ERROR)),
        (54, "a user in the host", changed(":authority", "u@a"), Status(400)),
        (54, "blank in the host", changed(":authority", "a b"), Reset(PROTOCOL_ERROR)),
        (54, "port out of range", changed(":authority", "a:99999"), Status(400)),
        (55, "another Host", with(&[("host", "evil")]), Status(400)),
        (55, "the same Host", with(&[("host", "a")]), Status(200)),
        (55, "two Hosts", with(&[("host", "a"), ("host", "a")]), Status(400)),
        (55, "no host at all", without(":authority"), Status(400)),
        (55, "Host alone", only(&[&GET[..3], &[("host", "a")]].concat()), Status(200)),
        (56, "a coding of HTTP/1", with(&[("transfer-encoding", "chunked")]), Reset(PROTOCOL_ERROR)),
        (45, "Connection", with(&[("connection", "close")]), Reset(PROTOCOL_ERROR)),
        (45, "Keep-Alive", with(&[("keep-alive", "5")]), Reset(PROTOCOL_ERROR)),
        (45, "Proxy-Connection", with(&[("proxy-connection", "x")]), Reset(PROTOCOL_ERROR)),
        (45, "Upgrade", with(&[("upgrade", "websocket")]), Reset(PROTOCOL_ERROR)),
        (45, "TE that wants codings", with(&[("te", "gzip")]), Reset(PROTOCOL_ERROR)),
        (57, "an unknown pseudo-field", with(&[(":x", "y")]), GoAway(PROTOCOL_ERROR)),
        (57, "a late pseudo-field", only(&[&[("x", "y")], &GET[..]].concat()), Reset(PROTOCOL_ERROR)),
        (57, ":status of a request", with(&[(":status", "200")]), Reset(PROTOCOL_ERROR)),
        (37, "TRACE", changed(":method", "TRACE"), Status(405)),
        (37, "CONNECT", only(&[(":method", "CONNECT"), (":authority", "a:443")]), Status(405)),
        (58, "a protocol that isn't spoken", with_protocol("CONNECT", "connect-udp"), Status(501)),
        (58, "a protocol of a GET", with_protocol("GET", "websocket"), Reset(PROTOCOL_ERROR)),
        (47, "an expectation that can't be met", with(&[("expect", "the-moon")]), Status(417)),
        (52, "Authorization twice", with(&[("authorization", "a"), ("authorization", "b")]), Status(400)),
    ]
}

fn with_protocol(method: &str, protocol: &str) -> Vec<u8> {
    let changed = GET.map(|(name, value)| if name == ":method" { (name, method) } else { (name, value) });
    frame(HEADERS, END_HEADERS, 1, &block(&[&changed[..], &[(":protocol", protocol)]].concat()))
}

fn bodies() -> Vec<Case> {
    let trailers = |fields: &[(&str, &str)]| {
        [post(&[], &[b"he", b""])[..].to_vec(), frame(HEADERS, WHOLE, 1, &block(fields))].concat()
    };
    let before_trailers = |fields: &[(&str, &str)]| {
        let head = [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a")];
        let head = frame(HEADERS, END_HEADERS, 1, &block(&head));
        [head, frame(DATA, 0, 1, b"hello"), frame(HEADERS, WHOLE, 1, &block(fields))].concat()
    };
    vec![
        (56, "its length", post(&[("content-length", "5")], &[b"he", b"llo"]), Status(200)),
        (56, "more than its length", post(&[("content-length", "2")], &[b"hello"]), Reset(PROTOCOL_ERROR)),
        (56, "less than its length", post(&[("content-length", "9")], &[b"hello"]), Reset(PROTOCOL_ERROR)),
        (56, "a length and no body", with(&[("content-length", "5")]), Reset(PROTOCOL_ERROR)),
        (
            56,
            "two lengths",
            post(&[("content-length", "5"), ("content-length", "5")], &[b"hello"]),
            Status(400),
        ),
        (
            56,
            "different lengths",
            post(&[("content-length", "5"), ("content-length", "6")], &[b"hello"]),
            Reset(PROTOCOL_ERROR),
        ),
        (14, "a length with a sign", post(&[("content-length", "+5")], &[b"hello"]), Reset(PROTOCOL_ERROR)),
        (
            57,
            "trailers that nobody gets",
            before_trailers(&[("content-length", "1"), ("x-comet-tag", "a")]),
            Status(200),
        ),
        (57, "a pseudo-field in trailers", before_trailers(&[(":path", "/b")]), Status(200)),
        (66, "trailers behind the end", trailers(&[("x", "y")]), GoAway(PROTOCOL_ERROR)),
        (
            66,
            "padding longer than the frame",
            [post(&[], &[]), frame(DATA, PADDED, 1, &[9, 1])].concat(),
            GoAway(PROTOCOL_ERROR),
        ),
        (
            60,
            "a window of zero more",
            [post(&[], &[]), frame(WINDOW_UPDATE, 0, 1, &[0; 4])].concat(),
            GoAway(PROTOCOL_ERROR),
        ),
        (
            60,
            "a window too large",
            [post(&[], &[]), frame(WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0xff, 0xff])].concat(),
            Reset(FLOW_CONTROL_ERROR),
        ),
    ]
}

fn connections() -> Vec<Case> {
    let setting =
        |id: u16, value: u32| frame(SETTINGS, 0, 0, &[&id.to_be_bytes()[..], &value.to_be_bytes()].concat());
    vec![
        (66, "an even stream", get(2), GoAway(PROTOCOL_ERROR)),
        (66, "a stream that goes down", [get(5), get(3)].concat(), GoAway(PROTOCOL_ERROR)),
        (
            66,
            "a push of the client's",
            frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2]),
            GoAway(PROTOCOL_ERROR),
        ),
        (66, "a frame that is too large", frame(DATA, 0, 1, &[0; 16385]), GoAway(FRAME_SIZE_ERROR)),
        (66, "DATA of no stream", frame(DATA, 0, 0, b"x"), GoAway(PROTOCOL_ERROR)),
        (66, "DATA of an idle stream", frame(DATA, 0, 1, b"x"), GoAway(PROTOCOL_ERROR)),
        (66, "a reset of an idle stream", frame(RST_STREAM, 0, 1, &[0; 4]), GoAway(PROTOCOL_ERROR)),
        (66, "SETTINGS of a stream", frame(SETTINGS, 0, 1, &[]), GoAway(PROTOCOL_ERROR)),
        (66, "half a setting", frame(SETTINGS, 0, 0, &[0; 5]), GoAway(PROTOCOL_ERROR)),
        (66, "an acknowledgement that says more", frame(SETTINGS, ACK, 0, &[0; 6]), GoAway(PROTOCOL_ERROR)),
        (66, "a window that can't be", setting(4, 1 << 31), GoAway(PROTOCOL_ERROR)),
        (66, "a frame size that can't be", setting(5, 100), GoAway(PROTOCOL_ERROR)),
        (66, "a push that is neither on nor off", setting(2, 2), GoAway(PROTOCOL_ERROR)),
        (66, "PING of a stream", frame(PING, 0, 1, &[0; 8]), GoAway(PROTOCOL_ERROR)),
        (66, "a short PING", frame(PING, 0, 0, &[0; 7]), GoAway(PROTOCOL_ERROR)),
        (66, "a window of zero more", frame(WINDOW_UPDATE, 0, 0, &[0; 4]), GoAway(PROTOCOL_ERROR)),
        (
            66,
            "a head inside a head",
            [frame(HEADERS, END_STREAM, 1, &block(&GET)), get(3)].concat(),
            GoAway(PROTOCOL_ERROR),
        ),
        (
            66,
            "a continuation of nothing",
            frame(CONTINUATION, END_HEADERS, 1, &block(&GET)),
            GoAway(PROTOCOL_ERROR),
        ),
        (66, "a head that can't be decoded", frame(HEADERS, WHOLE, 1, &[0xff; 20]), GoAway(PROTOCOL_ERROR)),
        (66, "an unknown frame", [frame(0x42, 7, 1, b"whatever"), get(1)].concat(), Status(200)),
        (
            66,
            "a priority, and a head in two parts",
            [
                frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 9]),
                frame(HEADERS, END_STREAM, 1, &block(&GET[..2])),
                frame(CONTINUATION, END_HEADERS, 1, &block(&GET[2..])),
            ]
            .concat(),
            Status(200),
        ),
    ]
}

fn before(origin: &Origin, more: &str) -> Perihelion {
    let listen = "listen: [{ address: $HTTP, http2: true }]\ncontrol: $CONTROL\n";
    Perihelion::start(&format!("{listen}upstream: {}\n{more}", origin.url()))
}

/// Plays every row on a connection of its own, and shows all that differ.
fn play(cases: Vec<Case>) {
    let origin = Origin::replying(|request| Reply::ok(request.target()));
    let proxy = before(&origin, "");
    let mut wrong = Vec::new();
    for (item, what, bytes, expected) in cases {
        let known = origin.received().len();
        let outcome = outcome(&proxy, &bytes);
        let whole = origin.received()[known..].iter().filter(|request| request.target() != "/next").count();
        if outcome != Some(expected) || (whole > 0) != (expected == Status(200)) {
            wrong.push(format!("{item}, {what}: {outcome:?} instead of {expected:?}, {whole} seen"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(!proxy.stderr().contains("panicked"));
}

/// What comes of it; where the connection lives on it has served another request.
fn outcome(proxy: &Perihelion, bytes: &[u8]) -> Option<Outcome> {
    let mut frames = Frames::connect(proxy.http());
    frames.send(bytes);
    let outcome = loop {
        let frame = frames.next()?;
        match frame.kind {
            HEADERS if frame.stream == 1 => break Status(frame.status()),
            RST_STREAM if frame.stream == 1 => break Reset(frame.reason()),
            crate::support::frames::GOAWAY => break GoAway(frame.reason()),
            _ => {}
        }
    };
    if let GoAway(_) = outcome {
        frames.end();
        return Some(outcome);
    }
    frames.send(frame(
        HEADERS,
        WHOLE,
        101,
        &block(&GET.map(|(name, value)| (name, if name == ":path" { "/next" } else { value }))),
    ));
    while let Some(frame) = frames.next() {
        if frame.kind == HEADERS && frame.stream == 101 {
            assert_eq!(frame.status(), 200);
            return Some(outcome);
        }
    }
    None
}

#[test]
fn heads_in_http_2() {
    play(heads());
}

#[test]
fn bodies_in_http_2() {
    play(bodies());
}

#[test]
fn frames_that_break_the_protocol() {
    play(connections());
}

#[test]
fn fields_are_what_they_are_in_http_1() {
    let origin = Origin::replying(|_| Reply::ok("").with("X-Comet-Tag", "own").with("Keep-Alive", "5"));
    let proxy = before(&origin, "");
    let mut frames = Frames::connect(proxy.http());
    let instructions = [("x-comet-subscribe", "a"), ("x_comet_subscribe", "a"), ("grip-hold", "stream")];
    let forwarded =
        [("x-forwarded-for", "1.2.3.4"), ("x-reproxy-url", "http://a/"), ("x-real-ip", "1.2.3.4")];
    frames.send(with(&[&instructions[..], &forwarded, &[("x-blank", " \t b \t ")]].concat()));
    assert_eq!(frames.next_of(HEADERS).unwrap().status(), 200);
    let head = origin.only().head;
    assert_eq!(head.get("x-blank"), Some("b"));
    for name in ["x-comet-subscribe", "x_comet_subscribe", "grip-hold", "x-reproxy-url", "x-real-ip"] {
        assert!(!head.has(name), "{name}");
    }
    assert_ne!(head.get("x-forwarded-for"), Some("1.2.3.4"));
}

/// What is sent for the turn with this number.
type Sender = Box<dyn FnMut(u32) -> Vec<u8>>;

/// Sends something until the connection ends; gives the reason and how often it was sent.
fn flood(proxy: &Perihelion, mut once: impl FnMut(u32) -> Vec<u8>) -> (Option<u32>, u32) {
    let mut frames = Frames::connect(proxy.http());
    let deadline = Instant::now() + Duration::from_secs(15);
    let mut sent = 0;
    while Instant::now() < deadline {
        let some: Vec<u8> = (0..50).flat_map(|n| once(sent + n)).collect();
        sent += 50;
        if frames.0.try_send(some).is_err() {
            break;
        }
    }
    (frames.end(), sent)
}

#[test]
fn floods_end_their_connection_and_nobody_elses() {
    let origin = Origin::replying(|_| Reply::ok("ordinary"));
    let proxy = before(&origin, "limits: { http2: { resets: 200/h, control_frames: 1000/h } }\n");
    let before = proxy.resident_bytes();
    let mut good = Frames::connect(proxy.http());
    let floods: [(&str, &str, Sender); 8] = [
        ("SETTINGS", "control_frames", Box::new(|_| frame(SETTINGS, 0, 0, &[]))),
        ("PING", "control_frames", Box::new(|_| frame(PING, 0, 0, &[0; 8]))),
        ("PRIORITY", "control_frames", Box::new(|n| frame(PRIORITY, 0, 2 * n + 1, &[0, 0, 0, 0, 9]))),
        ("unknown frames", "control_frames", Box::new(|_| frame(0x42, 0, 0, &[0; 100]))),
        ("windows", "control_frames", Box::new(|_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]))),
        (
            "empty DATA",
            "library",
            Box::new(|n| match n {
                0 => post(&[], &[]),
                _ => frame(DATA, 0, 1, &[]),
            }),
        ),
        (
            "small DATA",
            "library",
            Box::new(|n| match n {
                0 => post(&[], &[]),
                _ => frame(DATA, 0, 1, b"x"),
            }),
        ),
        (
            "rapid reset",
            "library",
            Box::new(|n| [get(2 * n + 1), frame(RST_STREAM, 0, 2 * n + 1, &[0, 0, 0, 8])].concat()),
        ),
    ];
    for (what, kind, once) in floods {
        let count = |kind| proxy.metric("perihelion_http2_floods_total", &[("kind", kind)]);
        let counted = count(kind);
        let (reason, sent) = flood(&proxy, once);
        // Whoever goes on sending may miss the last word.
        assert!(matches!(reason, None | Some(ENHANCE_YOUR_CALM)), "{what}: {reason:?}");
        wait_until(&format!("{what} is counted, sent {sent} times"), || count(kind) > counted);
    }
    good.send(get(1));
    assert_eq!(good.next_of(HEADERS).unwrap().status(), 200);
    assert!(proxy.resident_bytes() < before + (20 << 20));
    assert!(origin.received().len() < 400, "{}", origin.received().len());
}

#[test]
fn requests_that_are_taken_back_one_by_one_are_counted_too() {
    let origin = Origin::new(|_: &Received, _: &mut socket2::Socket| Then::KeepAlive);
    let proxy = before(&origin, "limits: { http2: { resets: 20/h } }\n");
    let mut frames = Frames::connect(proxy.http());
    for n in 0..21 {
        frames.send(get(2 * n + 1));
        origin.wait_for_request(n as usize);
        frames.send(frame(RST_STREAM, 0, 2 * n + 1, &[0, 0, 0, 8]));
        wait_until("the application's connection is closed", || origin.open_connections() == 0);
    }
    assert_eq!(frames.end(), Some(ENHANCE_YOUR_CALM));
    proxy.wait_metric("perihelion_http2_floods_total", &[("kind", "resets")], 1.0);
}

#[test]
fn heads_without_end_are_not_kept() {
    let origin = Origin::replying(|_| Reply::ok("ordinary"));
    let proxy = before(&origin, "");
    let memory = proxy.resident_bytes();
    let long = block(&[("x", &"y".repeat(16_000))]);
    for piece in [&b""[..], &long] {
        let mut frames = Frames::connect(proxy.http());
        frames.send(frame(HEADERS, 0, 1, &block(&GET)));
        let mut sent = 0;
        while frames.0.try_send(frame(CONTINUATION, 0, 1, piece)).is_ok() && sent < 100_000 {
            sent += 1;
        }
        assert!(sent < 100_000);
        let reason = frames.end();
        assert!(
            matches!(reason, None | Some(ENHANCE_YOUR_CALM | PROTOCOL_ERROR | COMPRESSION_ERROR)),
            "{reason:?}"
        );
    }
    // A field of 4,000 bytes that is put into the table once and asked for a thousand times.
    let mut bomb = vec![0x40, 1, b'x', 0x7f, 0xa1, 0x1e];
    bomb.extend([b'y'; 4000]);
    bomb.extend([0xbe; 1000]);
    let mut frames = Frames::connect(proxy.http());
    frames.send(frame(HEADERS, WHOLE, 1, &[block(&GET), bomb].concat()));
    let answer = frames.next_of(HEADERS).map(|frame| frame.status());
    assert!(matches!(answer, None | Some(431)), "{answer:?}");
    let mut frames = Frames::connect(proxy.http());
    let crumbs = vec![("cookie", "a"); 1000];
    frames.send(frame(HEADERS, WHOLE, 1, &block(&[&GET, &crumbs[..]].concat())));
    assert_eq!(frames.next_of(HEADERS).unwrap().status(), 431);
    assert!(proxy.resident_bytes() < memory + (20 << 20));
    assert_eq!(origin.bytes(), 0);
}

#[test]
fn a_client_that_never_opens_its_window_costs_no_more_than_its_streams_may_keep() {
    let origin = Origin::replying(|_| Reply::ok(vec![b'x'; 10 << 20]));
    let proxy = before(&origin, "timeouts: { body: 2s }\nbuffers: { response: 64KiB, disk: off }\n");
    let mut frames = Frames(Raw::connect(proxy.http()));
    frames.send(PREFACE);
    // SETTINGS_INITIAL_WINDOW_SIZE of 0.
    frames.send(frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]));
    frames.send(frame(SETTINGS, ACK, 0, &[]));
    (0..20).for_each(|n| frames.send(get(2 * n + 1)));
    let (mut resets, mut is_calmed) = (0, false);
    // Silence ends each stream, and what is taken of all of them the connection, whichever is found first.
    while resets < 20 && !is_calmed {
        let frame = frames.next().expect("it is told why");
        assert!(frame.kind != DATA || frame.payload.is_empty());
        resets += usize::from(frame.kind == RST_STREAM);
        is_calmed = frame.kind == crate::support::frames::GOAWAY && frame.reason() == ENHANCE_YOUR_CALM;
    }
    assert!(proxy.resident_bytes() < 120 << 20, "{}", proxy.resident_bytes());
}

#[test]
fn who_says_nothing_or_half_of_it_is_let_go() {
    let origin = Origin::replying(|_| Reply::ok("ordinary"));
    let proxy = before(&origin, "timeouts: { request_head: 3s, idle: 4s }\n");
    let settings = || frame(SETTINGS, 0, 0, &[]);
    let acknowledged = || [PREFACE, &settings(), &frame(SETTINGS, ACK, 0, &[])].concat();
    let check = |(sent, reason): (Vec<u8>, Option<u32>)| {
        let mut frames = Frames(Raw::connect(proxy.http()));
        frames.send(&sent);
        assert_eq!(frames.end(), reason, "{}", sent.escape_ascii());
    };
    let cases = [
        (Vec::new(), None),
        (PREFACE[..8].to_vec(), None),
        (PREFACE.to_vec(), Some(SETTINGS_TIMEOUT)),
        ([PREFACE, &settings()].concat(), Some(SETTINGS_TIMEOUT)),
        (acknowledged(), Some(0)),
        ([acknowledged(), frame(HEADERS, END_STREAM, 1, &block(&GET))].concat(), Some(ENHANCE_YOUR_CALM)),
        ([acknowledged(), get(1)[..12].to_vec()].concat(), Some(ENHANCE_YOUR_CALM)),
    ];
    std::thread::scope(|scope| {
        for case in cases {
            scope.spawn(move || check(case));
        }
    });
    // One that asks for something and never answers a PING.
    let origin = Origin::replying(|_| Reply::hold("news"));
    let proxy = before_with_ping(&origin);
    let mut frames = Frames::connect(proxy.http());
    frames.send(get(1));
    assert_eq!(frames.next_of(PING).unwrap().payload.len(), 8);
    assert_eq!(frames.end(), None);
    proxy.wait_subscribers("news", 0);
}

fn before_with_ping(origin: &Origin) -> Perihelion {
    before(origin, "timeouts: { ping: 1s }\n")
}
