//! The catalogue of hostile input, byte for byte over raw sockets: what is answered, what the application sees of it, and
//! whether the connection serves anybody afterwards. `docs/hostile-input.md` has the whole catalogue by number.
//!
//! A row is a number of the catalogue, what is sent, and what comes of it. What the proxy itself adds to each request is
//! checked once and left out of the rows; names of fields are compared without case, everything else byte by byte.

mod chunks;
mod differential;
mod fields;
mod forwarded;
mod framing;
mod http2;
mod lines;
mod pipelines;
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::support::{Origin, Perihelion, Raw, Received, Reply};

/// One row.
struct Case {
    /// Its number in the catalogue.
    item: u16,
    sent: Sent,
    /// The statuses of all answers, in order.
    answers: &'static [u16],
    /// Every request as the application sees it: lines ended by LF instead of CR LF, then the body.
    seen: &'static [&'static [u8]],
    then: After,
}

/// What is sent, written down without what is always the same.
enum Sent {
    /// All of it.
    Raw(&'static [u8]),
    /// A request line, in front of a good Host.
    Line(&'static [u8]),
    /// Fields behind those of a good GET.
    Get(&'static [u8]),
    /// Fields behind those of a good POST, the empty line, and a body.
    Post(&'static [u8]),
    /// A body behind a head that announces chunks.
    Chunked(&'static [u8]),
}

/// What has become of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    /// It is closed, and nothing more was said on it.
    Closed,
    /// The next request on it is answered.
    Kept,
}

/// Refused in the proxy's own words, with a connection that is closed, before the application has seen a byte.
const fn no(item: u16, sent: Sent, status: &'static [u16]) -> Case {
    Case { item, sent, answers: status, seen: &[], then: After::Closed }
}

/// Passed on as these bytes, and answered.
const fn yes(item: u16, sent: Sent, seen: &'static [&'static [u8]]) -> Case {
    Case { item, sent, answers: &[200], seen, then: After::Kept }
}

/// The same, and the last on its connection.
const fn last(item: u16, sent: Sent, seen: &'static [&'static [u8]]) -> Case {
    Case { item, sent, answers: &[200], seen, then: After::Closed }
}

const BAD: &[u16] = &[400];

impl Sent {
    fn bytes(&self) -> Vec<u8> {
        const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n";
        const POST: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\n";
        match self {
            Sent::Raw(bytes) => bytes.to_vec(),
            Sent::Line(line) => [*line, b"\r\nHost: a\r\n\r\n"].concat(),
            Sent::Get(fields) => [GET, *fields, b"\r\n"].concat(),
            Sent::Post(rest) => [POST, *rest].concat(),
            Sent::Chunked(body) => [POST, b"Transfer-Encoding: chunked\r\n\r\n", *body].concat(),
        }
    }
}

/// Plays every row, each on a connection of its own, and shows all that differ.
fn play(cases: &[Case]) {
    let origin = Origin::replying(|request| Reply::ok(request.target()));
    let proxy = Perihelion::before(&origin);
    let wrong: Vec<String> = cases.iter().filter_map(|case| case.differs(&proxy, &origin)).collect();
    assert!(wrong.is_empty(), "{} of {} rows differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert!(!proxy.stderr().contains("panicked"));
}

impl Case {
    fn differs(&self, proxy: &Perihelion, origin: &Origin) -> Option<String> {
        let bytes = self.sent.bytes();
        let outcome = catch_unwind(AssertUnwindSafe(|| self.check(&bytes, proxy, origin)));
        let reason = outcome.err()?;
        let text = reason.downcast_ref::<String>().map(String::as_str);
        let reason = text.or(reason.downcast_ref::<&str>().copied()).unwrap_or("it panicked");
        let shown = bytes[..bytes.len().min(300)].escape_ascii();
        Some(format!("--- {}: {shown}\n{reason}", self.item))
    }

    fn check(&self, bytes: &[u8], proxy: &Perihelion, origin: &Origin) {
        let (known, read) = (origin.received().len(), origin.bytes());
        let mut raw = proxy.connect();
        // Whoever refuses early may close before everything was sent.
        let _ = raw.try_send(bytes);
        for (place, status) in self.answers.iter().enumerate() {
            let answer = raw.answer();
            assert_eq!(answer.status(), *status, "answer {place}: {}", answer.text());
            if *status >= 400 {
                assert_eq!(answer.head.get("content-type"), Some("text/plain; charset=utf-8"));
                assert!((1..500).contains(&answer.body.len()), "{}", answer.text());
            }
            let is_last = self.then == After::Closed && place + 1 == self.answers.len();
            if is_last && answer.head.line.starts_with("HTTP/1.1") {
                assert_eq!(answer.head.get("connection"), Some("close"));
            }
        }
        let all = origin.received();
        let seen: Vec<String> = all[known..].iter().map(|request| shown(request, &raw)).collect();
        let expected: Vec<String> = self.seen.iter().map(|bytes| bytes.escape_ascii().to_string()).collect();
        assert_eq!(seen, expected, "what the application saw");
        if self.seen.is_empty() {
            assert_eq!(origin.bytes(), read, "bytes at the application");
        }
        match self.then {
            After::Closed => raw.assert_closed(),
            After::Kept => {
                assert_eq!(raw.get("/next").text(), "/next");
                assert_eq!(origin.received().len(), all.len() + 1);
            }
        }
    }
}

/// What the proxy says in each request, once; `X-Forwarded-Host` where there is a Host.
const OWN: &[(&str, usize)] = &[
    ("x-forwarded-for", 1),
    ("x-forwarded-proto", 1),
    ("x-forwarded-host", 0),
    ("x-request-id", 1),
    ("x-request-start", 1),
    ("x-comet-proxy", 1),
    ("x-comet-position", 1),
    ("traceparent", 1),
];

/// A request as the rows show it.
fn shown(request: &Received, client: &Raw) -> String {
    let client = client.local_address().ip().to_string();
    assert_eq!(request.head.get("x-forwarded-for"), Some(&*client));
    for (name, least) in OWN {
        let count = request.head.all(name).len();
        assert!((*least..=1).contains(&count), "{name} {count} times: {:?}", request.head);
    }
    let framings = ["content-length", "transfer-encoding"].map(|name| request.head.all(name).len());
    assert!(framings[0] + framings[1] <= 1, "more than one framing: {:?}", request.head);
    assert!(request.trailers.is_empty(), "{:?}", request.trailers);
    let mut out = Vec::new();
    for line in request.lines() {
        assert!(!line.contains(&b'\r') && !line.contains(&b'\n'), "a bare line end: {:?}", request.head);
        let colon = line.iter().position(|byte| *byte == b':').filter(|_| !out.is_empty());
        let (name, value) = line.split_at(colon.unwrap_or_default());
        let name = name.to_ascii_lowercase();
        if !OWN.iter().any(|(own, _)| own.as_bytes() == name) {
            out.extend_from_slice(&[&name, value, b"\n"].concat());
        }
    }
    out.push(b'\n');
    out.extend_from_slice(&request.body);
    out.escape_ascii().to_string()
}

#[test]
fn framing_that_two_readers_could_understand_differently() {
    play(framing::CASES);
}

#[test]
fn chunks() {
    play(chunks::CASES);
}

#[test]
fn request_lines_and_what_is_no_request_at_all() {
    play(lines::CASES);
}

#[test]
fn targets() {
    play(targets::CASES);
}

#[test]
fn fields_and_hosts() {
    play(fields::CASES);
}

#[test]
fn what_crosses_to_the_application_and_what_does_not() {
    play(forwarded::CASES);
}

#[test]
fn what_comes_behind_a_request() {
    play(pipelines::CASES);
}
