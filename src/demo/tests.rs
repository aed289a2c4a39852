//! The example application as its neighbours see it: real HTTP on one side, a scripted control port on the other.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::talk::SLIDES;
use super::{App, Demo, Open, Running};

/// No answer takes as long; a test that waits so long has failed.
const DEADLINE: Duration = Duration::from_secs(10);
const RECEIPT: &str = "HTTP/1.1 200 OK\r\nContent-Length: 26\r\n\r\n{\"id\":\"a\",\"subscribers\":3}";
const PROXIED: &str = "X-Comet-Proxy: perihelion/0\r\nX-Comet-Position: a-7\r\n";

/// Every transport of the proxy that an application can name, which the gallery shows.
pub(super) fn transport_names() -> impl Iterator<Item = &'static str> {
    crate::transport::names()
}

/// A control port that answers each connection's one request from a script, and hands out what it was asked.
struct Control {
    address: SocketAddr,
    asked: Receiver<String>,
    thread: JoinHandle<()>,
}

impl Control {
    fn with(script: Vec<&'static str>) -> Control {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (ask, asked) = sync_channel(script.len());
        let thread = std::thread::spawn(move || {
            for answer in script {
                let (mut socket, _) = listener.accept().unwrap();
                ask.send(message(&mut BufReader::new(&socket))).unwrap();
                socket.write_all(answer.as_bytes()).unwrap();
            }
        });
        Control { address, asked, thread }
    }

    fn next(&self) -> String {
        self.asked.recv_timeout(DEADLINE).expect("the application publishes")
    }
}

/// Head and body of one HTTP message; the body as long as its head says.
fn message(reader: &mut impl BufRead) -> String {
    let mut text = String::new();
    while !text.ends_with("\r\n\r\n") {
        assert_ne!(reader.read_line(&mut text).unwrap(), 0, "cut off after {text:?}");
    }
    let length = text
        .lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(0, |(_, length)| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    text + std::str::from_utf8(&body).unwrap()
}

fn ask(app: &Running, request: &str) -> String {
    let mut socket = TcpStream::connect(app.address()).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket.write_all(request.as_bytes()).unwrap();
    message(&mut BufReader::new(socket))
}

fn get(app: &Running, path: &str, headers: &str) -> String {
    ask(app, &format!("GET {path} HTTP/1.1\r\nHost: demo\r\n{headers}\r\n"))
}

fn post(app: &Running, path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    ask(
        app,
        &format!(
            "POST {path} HTTP/1.1\r\nHost: demo\r\nContent-Length: {length}\r\nContent-Type: application/x-www-form-urlencoded\r\n{headers}\r\n{body}"
        ),
    )
}

/// An application whose control port is at an address where nobody listens.
fn alone() -> Running {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    App::bind().unwrap().run(nobody).unwrap()
}

fn body(message: &str) -> &str {
    message.split_once("\r\n\r\n").unwrap().1
}

/// Lines of a head, lower case, for comparison by name.
fn has_line(message: &str, line: &str) -> bool {
    message.lines().any(|each| each.eq_ignore_ascii_case(line))
}

#[test]
fn the_stream_begins_with_the_instruction_to_hold_it() {
    let app = alone();
    let answer = get(&app, "/events", PROXIED);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    for line in [
        "Content-Type: text/event-stream",
        "X-Comet-Subscribe: chat, slides",
        "X-Comet-Keepalive: 15",
        "X-Comet-Retry: 1000",
    ] {
        assert!(has_line(&answer, line), "no {line} in {answer}");
    }
    assert_eq!(body(&answer), "event: hello\ndata: {\"newest\":0,\"slide\":1,\"slides\":9}\n\n");
}

#[test]
fn a_poll_ends_with_the_position_of_its_request() {
    let app = alone();
    let answer = get(&app, "/poll", PROXIED);
    for line in ["X-Comet-Subscribe: chat", "X-Comet-Transport: long-poll", "X-Comet-Timeout: 25"] {
        assert!(has_line(&answer, line), "no {line} in {answer}");
    }
    assert_eq!(body(&answer), "{\"gap\":false,\"messages\":[],\"position\":\"a-7\"}\n");
}

#[test]
fn without_a_proxy_nothing_pretends_to_be_live() {
    let app = alone();
    for path in ["/events", "/poll"] {
        let answer = get(&app, path, "");
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.contains("open the proxy's address instead"), "{answer}");
    }
    assert!(get(&app, "/state", "").contains(r#""proxied":false"#));
}

#[test]
fn what_is_said_is_published_and_shown_to_newcomers() {
    let control = Control::with(vec![RECEIPT]);
    let app = App::bind().unwrap().run(control.address).unwrap();
    let answer = post(&app, "/chat", "", "name=Anna&text=%3C%2Fscript%3E");
    assert_eq!(body(&answer), "{\"number\":1,\"subscribers\":3}\n");

    let published = control.next();
    assert!(published.starts_with("POST /channels/chat HTTP/1.1\r\n"), "{published}");
    let host = format!("Host: {}", control.address);
    for line in [host.as_str(), "Content-Type: application/json", "X-Comet-Event: chat", "X-Comet-Id: 1"] {
        assert!(has_line(&published, line), "no {line} in {published}");
    }
    assert!(body(&published).starts_with(r#"{"number":1,"previous":0,"at":"#), "{published}");
    assert!(body(&published).ends_with(r#","name":"Anna","text":"</script>"}"#), "{published}");

    let page = get(&app, "/", PROXIED);
    assert!(page.contains(r#""text":"\u003c/script>"}"#), "what was said got out of its place");
    assert!(page.contains(r#""newest":1"#) && page.contains(r#""position":"a-7""#));
}

#[test]
fn a_slide_is_turned_for_those_who_come_later_too() {
    let control = Control::with(vec![RECEIPT]);
    let app = App::bind().unwrap().run(control.address).unwrap();
    assert!(post(&app, "/slide", "", "name=Anna&slide=4").starts_with("HTTP/1.1 200 "));
    let published = control.next();
    assert!(published.starts_with("POST /channels/slides HTTP/1.1\r\n"), "{published}");
    assert!(published.ends_with(r#""name":"Anna","slide":4}"#), "{published}");
    assert!(get(&app, "/state", PROXIED).contains(r#""slide":4,"slides":9,"newest":1"#));
}

#[test]
fn what_the_control_port_does_not_take_never_happened() {
    let full = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 16\r\n\r\n{\"error\":\"full\"}";
    let control = Control::with(vec![full]);
    let app = App::bind().unwrap().run(control.address).unwrap();
    let refused = post(&app, "/slide", "", "name=Anna&slide=4");
    assert!(refused.starts_with("HTTP/1.1 502 ") && refused.contains("full"), "{refused}");
    control.thread.join().unwrap();
    let unreachable = post(&app, "/chat", "", "name=Anna&text=hello");
    assert!(unreachable.starts_with("HTTP/1.1 502 "), "{unreachable}");
    assert!(unreachable.contains("can't be reached"), "{unreachable}");
    assert!(get(&app, "/state", PROXIED).contains(r#""slide":1,"slides":9,"newest":0,"messages":[]"#));
}

#[test]
fn a_publish_whose_connection_broke_is_tried_again_under_the_same_id() {
    let control = Control::with(vec!["", RECEIPT]);
    let app = App::bind().unwrap().run(control.address).unwrap();
    assert!(post(&app, "/chat", "", "name=Anna&text=hello").starts_with("HTTP/1.1 200 "));
    let (first, second) = (control.next(), control.next());
    assert_eq!(first, second);
}

#[test]
fn refusals_name_their_reason() {
    let app = alone();
    let long = "x".repeat(9000);
    let length = long.len();
    let table = [
        (get(&app, "/nowhere", ""), "404", "nothing here"),
        (get(&app, "/chat", ""), "405", "POST only"),
        (post(&app, "/state", "", ""), "405", "GET only"),
        (post(&app, "/chat", "", "name=Anna"), "400", "text is missing"),
        (post(&app, "/slide", "", "name=Anna&slide=10"), "400", "from 1 to 9"),
        (post(&app, "/chat", "Origin: http://elsewhere\r\n", "name=A&text=b"), "403", "another site"),
        (post(&app, "/chat", "Origin: null\r\n", "name=A&text=b"), "403", "another site"),
        (post(&app, "/chat", "Origin: http://demo\r\n", "name=A&text=b"), "502", "not published"),
        (post(&app, "/chat", "", &long), "413", "8192 bytes"),
        (
            ask(
                &app,
                &format!("POST /chat HTTP/1.1\r\nHost: demo\r\nContent-Length: {length}\r\n\r\n{long}"),
            ),
            "413",
            "8192 bytes",
        ),
        (
            ask(&app, "POST /chat HTTP/1.1\r\nHost: demo\r\nContent-Length: 1\r\n\r\nx"),
            "415",
            "send application/json",
        ),
    ];
    for (answer, status, reason) in table {
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{status}: {answer}");
        assert!(body(&answer).contains(reason), "{reason}: {answer}");
    }
}

#[test]
fn everything_that_the_page_names_is_served() {
    let app = alone();
    let page = get(&app, "/", PROXIED);
    assert_eq!(page.matches("<article class=\"slide").count(), SLIDES);
    let sources = ["href=\"", "src=\"", "from \""];
    let mut seen = 0;
    let modules = get(&app, "/page.js", "");
    for text in [&page, &modules] {
        for path in sources.iter().flat_map(|mark| text.split(mark).skip(1)) {
            let path = path.split('"').next().unwrap();
            assert!(get(&app, path, "").starts_with("HTTP/1.1 200 "), "{path}");
            seen += 1;
        }
    }
    assert!(seen >= 7, "found {seen} only");
}

#[test]
fn the_further_pages_name_only_what_is_served() {
    let app = alone();
    for path in ["/slideshow", "/bayeux"] {
        let page = get(&app, path, "X-Comet-Position: e-7\r\nX-Comet-Proxy: perihelion/0\r\n");
        assert!(!page.contains("{{"), "{page}");
        for named in ["href=\"/", "src=\"/"].iter().flat_map(|mark| page.split(mark).skip(1)) {
            let named = format!("/{}", named.split('"').next().unwrap());
            // The proxy's own.
            if named != "/perihelion.js" {
                assert!(get(&app, &named, PROXIED).starts_with("HTTP/1.1 200 "), "{named}");
            }
        }
    }
    let client = get(&app, "/vendor/cometd-9.0.0/Client.js", "");
    for import in client.split("from \"./").skip(1) {
        let path = format!("/vendor/cometd-9.0.0/{}", import.split('"').next().unwrap());
        assert!(get(&app, &path, "").starts_with("HTTP/1.1 200 "), "{path}");
    }
    assert!(get(&app, "/slideshow", PROXIED).contains("new Perihelion(&quot;/slides&quot;"));
    assert!(get(&app, "/slides", "").starts_with("HTTP/1.1 503 "));
    let held = get(&app, "/slides", PROXIED);
    assert!(has_line(&held, "x-comet-subscribe: slides"), "{held}");
}

#[test]
fn the_gallery_shows_every_transport_and_what_it_names_is_served() {
    let app = alone();
    let page = get(&app, "/gallery", PROXIED);
    for name in transport_names() {
        assert!(page.contains(&format!("data-transport=\"{name}\"")), "{name} is not shown");
        let window = get(&app, &format!("/gallery/{name}"), PROXIED);
        assert!(window.starts_with("HTTP/1.1 200 OK\r\n"), "{window}");
        assert!(get(&app, &format!("/gallery/{name}"), "").starts_with("HTTP/1.1 503 "));
    }
    for path in ["/gallery.css", "/gallery.js", "/page.css", "/icon.svg"] {
        assert!(page.contains(&format!("\"{path}\"")), "{path}");
        assert!(get(&app, path, "").starts_with("HTTP/1.1 200 "), "{path}");
    }
}

#[test]
fn what_is_said_in_the_gallery_is_a_line_of_text() {
    let control = Control::with(vec![RECEIPT]);
    let app = App::bind().unwrap().run(control.address).unwrap();
    let answer = post(&app, "/gallery/say", "", "name=Anna&text=hello");
    assert_eq!(body(&answer), "{\"subscribers\":3}\n");
    let published = control.next();
    assert!(published.starts_with("POST /channels/gallery HTTP/1.1\r\n"), "{published}");
    assert!(published.ends_with("\r\n\r\nAnna: hello\n"), "{published}");
    let foreign = post(&app, "/gallery/say", "Origin: http://elsewhere\r\n", "name=A&text=b");
    assert!(foreign.starts_with("HTTP/1.1 403 "), "{foreign}");
}

#[test]
fn nothing_of_the_application_stays_behind() {
    let app = alone();
    let address = app.address();
    let mut idle = TcpStream::connect(address).unwrap();
    idle.set_read_timeout(Some(DEADLINE)).unwrap();
    idle.write_all(b"GET /state HTTP/1.1\r\nHost: demo\r\n\r\n").unwrap();
    message(&mut BufReader::new(&idle));
    drop(app);
    assert_eq!(idle.read(&mut [0]).unwrap(), 0, "the connection is closed");
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
}

#[test]
fn the_greeting_names_where_the_proxy_really_is() {
    let demo = Demo::bind("0.0.0.0:0".parse().unwrap()).unwrap();
    assert!(
        demo.configuration()
            .starts_with("listen: \"0.0.0.0:0\"\ncontrol: 127.0.0.1:0\npools: { app: http://127.0.0.1:")
    );
    let open: Open = demo.open("0.0.0.0:8123".parse().unwrap(), "127.0.0.1:7171".parse().unwrap()).unwrap();
    let greeting = open.greeting();
    let first = greeting.split_once("http://").unwrap().1;
    assert!(first.starts_with("127.0.0.1:8123/\n"), "{first}");
    assert!(greeting.contains("http://127.0.0.1:7171/channels/chat\n"), "{greeting}");
}
