//! Every way in which an application's answer may be bad: what its client hears, what counts against the server, and
//! that nobody who comes later meets the rest of it.

use std::io::Write;
use std::sync::Mutex;
use std::sync::mpsc::sync_channel;

use socket2::Socket;

use crate::support::{DEADLINE, Origin, Perihelion, Raw, Received, Reply, Then, wait_until};

/// What a bad application says, and what may come of it.
struct Case {
    says: Vec<u8>,
    ends: Ends,
    hears: Hears,
    /// The reason under which it counts against the server.
    fault: Option<&'static str>,
}

/// What becomes of the connection behind the words.
#[derive(Clone, Copy)]
enum Ends {
    /// It is open for the next request, if somebody dares.
    Open,
    Closed,
    Reset,
}

#[derive(Debug, Clone, Copy)]
enum Hears {
    /// 502 in the proxy's own words.
    Refusal,
    /// The beginning of a body that is visibly not whole; 502 where nothing had been passed on yet.
    Part,
    /// This answer, whose connection serves nobody again.
    Last(u16, &'static str),
    /// This answer, and the next over the same connection.
    Good(u16, &'static str),
}

fn case(says: impl AsRef<[u8]>, ends: Ends, hears: Hears, fault: Option<&'static str>) -> Case {
    Case { says: says.as_ref().to_vec(), ends, hears, fault }
}

fn bad_head(says: impl AsRef<[u8]>) -> Case {
    case(says, Ends::Open, Hears::Refusal, Some("bad_response"))
}

fn bad_heads() -> Vec<Case> {
    let ok = |fields: &str| bad_head(format!("HTTP/1.1 200 OK\r\n{fields}\r\nok"));
    let many: String = (0..101).map(|number| format!("X-{number}: y\r\n")).collect();
    let large = format!("X: {}\r\n", "y".repeat(500_000));
    vec![
        ok("Content-Length: 2\r\nContent-Length: 3\r\n"),
        ok("Content-Length: 2, 3\r\n"),
        ok("Content-Length: x\r\n"),
        ok("Content-Length: -2\r\n"),
        ok("Content-Length: 2\0\r\n"),
        ok("Content-Length: \r\nContent-Length: 2\r\n"),
        ok("Content-Length: 99999999999999999999\r\n"),
        ok("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n"),
        ok("Content-Length : 2\r\n"),
        ok("X: y\r\n folded\r\nContent-Length: 2\r\n"),
        ok("X: a\0b\r\nContent-Length: 2\r\n"),
        ok("X: a\rY: b\r\nContent-Length: 2\r\n"),
        ok("no colon\r\nContent-Length: 2\r\n"),
        ok(": no name\r\nContent-Length: 2\r\n"),
        ok(&format!("{many}Content-Length: 2\r\n")),
        ok(&format!("{large}Content-Length: 2\r\n")),
        bad_head("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        bad_head("HTTP/2 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        bad_head("HTTP/1.1 000 Nothing\r\nContent-Length: 2\r\n\r\nok"),
        bad_head("HTTP/1.1 99 Low\r\nContent-Length: 2\r\n\r\nok"),
        bad_head("HTTP/1.1  200 OK\r\nContent-Length: 2\r\n\r\nok"),
        bad_head("SSH-2.0-OpenSSH_9.9\r\n\r\n"),
        bad_head("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nEVIL"),
        bad_head("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(2000) + "HTTP/1.1 200 OK\r\n\r\n"),
        case("", Ends::Closed, Hears::Refusal, Some("reset")),
        case("", Ends::Reset, Hears::Refusal, Some("reset")),
        case("HTTP/1.1 200 OK\r\nContent-Le", Ends::Closed, Hears::Refusal, Some("reset")),
        case("HTTP/1.1 200 OK\r\nContent-Le", Ends::Reset, Hears::Refusal, Some("reset")),
        // HTTP/0.9 has a body and nothing else.
        case("<p>hello", Ends::Closed, Hears::Refusal, Some("reset")),
    ]
}

fn bad_bodies() -> Vec<Case> {
    let part = |says: &str, ends| case(says, ends, Hears::Part, Some("truncated"));
    let chunks = |text: &str, ends| {
        part(&format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{text}"), ends)
    };
    vec![
        part("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", Ends::Closed),
        part("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", Ends::Reset),
        part("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", Ends::Closed),
        chunks("", Ends::Closed),
        chunks("5\r\nfi", Ends::Closed),
        chunks("5\r\nfirst\r\n", Ends::Closed),
        chunks("5\r\nfirst\r\n", Ends::Reset),
        chunks("5\r\nfirst\r\n0\r\n", Ends::Closed),
        chunks("x\r\nfirst\r\n0\r\n\r\n", Ends::Open),
        chunks("-5\r\nfirst\r\n0\r\n\r\n", Ends::Open),
        chunks("5\r\nfirst\r\nrubbish\r\n0\r\n\r\n", Ends::Open),
        chunks("5\r\nfirst5\r\nmore!\r\n0\r\n\r\n", Ends::Open),
        chunks("fffffffffffffffff\r\nfirst\r\n0\r\n\r\n", Ends::Open),
    ]
}

const EVIL: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL";

fn oddities() -> Vec<Case> {
    let last = |says: String, status, body| case(says, Ends::Open, Hears::Last(status, body), None);
    let good = |says: &[u8], status, body| case(says, Ends::Open, Hears::Good(status, body), None);
    vec![
        last(format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok{EVIL}"), 200, "ok"),
        last(
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n{EVIL}"),
            200,
            "ok",
        ),
        last(format!("HTTP/1.1 204 No Content\r\nContent-Length: 43\r\n\r\n{EVIL}"), 204, ""),
        last(format!("HTTP/1.1 304 Not Modified\r\nContent-Length: 43\r\n\r\n{EVIL}"), 304, ""),
        case(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
            Ends::Closed,
            Hears::Last(200, "ok"),
            None,
        ),
        good(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            200,
            "ok",
        ),
        good(b"HTTP/1.1 999 Whatever\r\nContent-Length: 2\r\n\r\nok", 999, "ok"),
        good(b"HTTP/1.1 200 \xff\r\nContent-Length: 2\r\n\r\nok", 200, "ok"),
        // Perlbal leaves the client hanging.
        good(b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", 200, "ok"),
        good(b"HTTP/1.1 200 OK\nX: y\nContent-Length: 2\n\nok", 200, "ok"),
        good(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", 200, "ok"),
        good(
            b"HTTP/1.1 200 OK\r\nConnection: X-Secret\r\nX-Secret: 1\r\nTrailer: X\r\nUpgrade: h2c\r\nDate: 1\r\n\
              Date: 2\r\nX-Reproxy-File: /etc/passwd\r\nX-Comet-Retry: 1\r\nContent-Length: 2\r\n\r\nok",
            200,
            "ok",
        ),
    ]
}

/// One that says its words to `/bad`, and is good to everybody else.
fn origin(case: &Case) -> Origin {
    let (says, ends) = (case.says.clone(), case.ends);
    Origin::new(move |request: &Received, socket: &mut Socket| {
        if request.target() != "/bad" {
            return Reply::ok("good").send_to(request, socket);
        }
        // Who doesn't want to hear the end has a right to that.
        let _ = socket.write_all(&says);
        match ends {
            Ends::Open => Then::KeepAlive,
            Ends::Closed => Then::Close,
            Ends::Reset => Then::Reset,
        }
    })
}

/// A proxy with a site and a pool for each: `0.example`, `1.example` and so on.
fn before(origins: &[Origin]) -> Perihelion {
    let (mut pools, mut sites) = (String::new(), String::new());
    for (number, origin) in origins.iter().enumerate() {
        pools += &format!("  p{number}: {{ servers: {}, retries: off }}\n", origin.url());
        sites += &format!("  {number}.example: p{number}\n");
    }
    Perihelion::start(&format!("listen: $HTTP\ncontrol: $CONTROL\npools:\n{pools}sites:\n{sites}"))
}

fn ask(proxy: &Perihelion, number: usize, target: &str) -> Raw {
    let mut raw = proxy.connect();
    raw.send(format!("GET {target} HTTP/1.1\r\nHost: {number}.example\r\n\r\n"));
    raw
}

#[track_caller]
fn assert_heard(mut raw: Raw, hears: Hears, what: &str) {
    let head = raw.head();
    for name in ["x-secret", "trailer", "upgrade", "x-reproxy-file", "x-comet-retry"] {
        assert!(!head.has(name), "{what}: {head:?}");
    }
    assert!(head.all("date").len() < 2, "{what}: {head:?}");
    match hears {
        Hears::Part if head.status() != 502 => {
            assert_eq!(head.status(), 200, "{what}");
            let chunked = head.chunked();
            let came = raw.until_close();
            assert!(came.len() < 100 && !(chunked && came.ends_with(b"0\r\n\r\n")), "{what}: whole");
        }
        Hears::Refusal | Hears::Part => {
            let answer = raw.body_behind(head);
            let text = answer.text();
            assert_eq!(answer.status(), 502, "{what}: {text}");
            assert!((10..500).contains(&text.len()) && !text.contains("EVIL"), "{what}: {text}");
            assert!(answer.head.get("content-type").is_some_and(|found| found.starts_with("text/plain")));
        }
        Hears::Last(status, body) | Hears::Good(status, body) => {
            let answer = raw.body_behind(head);
            assert_eq!((answer.status(), answer.text().as_str()), (status, body), "{what}");
        }
    }
}

#[test]
fn whatever_an_application_says_its_client_hears_the_truth_and_the_next_one_a_good_answer() {
    let cases: Vec<Case> = [bad_heads(), bad_bodies(), oddities()].into_iter().flatten().collect();
    let origins: Vec<Origin> = cases.iter().map(origin).collect();
    let proxy = before(&origins);
    for (number, (case, origin)) in cases.iter().zip(&origins).enumerate() {
        let what = String::from_utf8_lossy(&case.says[..case.says.len().min(200)]).into_owned();
        assert_heard(ask(&proxy, number, "/bad"), case.hears, &what);
        let pool = format!("p{number}");
        let faults = |labels: &[_]| proxy.metric("perihelion_upstream_errors_total", labels);
        match case.fault {
            Some(reason) => wait_until(&format!("{what}: {reason} is counted"), || {
                faults(&[("pool", &pool), ("reason", reason)]) == 1.0
            }),
            None => assert_eq!(faults(&[("pool", &pool)]), 0.0, "{what}"),
        }
        assert_eq!(ask(&proxy, number, "/good").answer().text(), "good", "{what}");
        let (bad, good) = (&origin.received()[0], origin.last());
        assert_eq!(origin.received().len(), 2, "{what}");
        let same = good.connection == bad.connection;
        assert_eq!(same, matches!(case.hears, Hears::Good(..)), "{what}: over the same connection");
    }
    assert!(!proxy.stderr().contains("panicked"));
}

#[test]
fn a_body_behind_an_answer_to_head_is_nobodys_answer() {
    let origin = Origin::new(|request: &Received, socket: &mut Socket| match request.method() {
        "HEAD" => {
            socket
                .write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: 43\r\n\r\n{EVIL}").as_bytes())
                .unwrap();
            Then::KeepAlive
        }
        _ => Reply::ok("good").send_to(request, socket),
    });
    let proxy = Perihelion::before(&origin);
    let mut raw = proxy.connect();
    raw.send("HEAD / HTTP/1.1\r\nHost: example.com\r\n\r\n");
    assert_eq!(raw.head().length(), Some(43));
    assert_eq!(raw.get("/").text(), "good");
    assert_eq!(origin.connections(), 2);
}

#[test]
fn trap_4_what_is_said_on_an_idle_connection_is_nobodys_answer() {
    let (speak, told) = sync_channel::<()>(1);
    let (spoke, heard) = sync_channel::<()>(1);
    let told = Mutex::new(told);
    let origin = Origin::new(move |request: &Received, socket: &mut Socket| {
        let then = Reply::ok("good").send_to(request, socket);
        if request.target() == "/bad" {
            told.lock().unwrap().recv_timeout(DEADLINE).unwrap();
            socket.write_all(EVIL.as_bytes()).unwrap();
            spoke.send(()).unwrap();
        }
        then
    });
    let proxy = Perihelion::before(&origin);
    let mut raw = proxy.connect();
    assert_eq!(raw.get("/bad").text(), "good");
    proxy.wait_metric("perihelion_upstream_connections", &[("state", "idle")], 1.0);
    speak.send(()).unwrap();
    heard.recv_timeout(DEADLINE).unwrap();
    assert_eq!(raw.get("/next").text(), "good");
    assert_eq!(origin.last().connection, 1);
}
