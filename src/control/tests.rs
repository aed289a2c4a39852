//! The control port over a real socket.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::{Control, ControlListener, Entrances, Guard, Operations, PublishLimits};
use crate::config::Endpoint;
use crate::hub::{Hub, HubSettings, Policy};
use crate::message::Epoch;
use crate::metrics::Metrics;

/// A control port on a thread of its own, until the test ends.
fn control() -> SocketAddr {
    let metrics = Metrics::new().unwrap();
    let settings = HubSettings {
        policies: Policy::keeping(10, None).into(),
        history_bytes: 1 << 20,
        channels: 3,
        window_messages: 10,
        publisher_ids: 10,
    };
    let hub = Hub::new(Epoch(14), settings, metrics.clone());
    let listener = ControlListener::bind(&Endpoint::Tcp("127.0.0.1:0".parse().unwrap())).unwrap();
    let address = listener.local_address().unwrap();
    std::thread::spawn(move || serve(listener, address, hub, metrics));
    address
}

fn serve(listener: ControlListener, address: SocketAddr, hub: Arc<Hub>, metrics: Metrics) {
    let operations = Operations {
        sites: Box::new(Vec::new),
        reload: Box::new(|| Box::pin(async { Err("perihelion.yaml:1:1: no".to_owned()) })),
        ready: Box::new(|| false),
        degraded: Box::new(|| false),
        refresh: Box::new(|| ()),
        pools: Box::new(Vec::new),
        revoke: Box::new(|_, _| Box::pin(async { Ok(3) })),
        count: Box::new(|_| Box::pin(async { 2 })),
        recover: Box::new(|| ()),
        presence: None,
        #[cfg(debug_assertions)]
        trouble: Box::new(|_| false),
    };
    let limits = PublishLimits { message: 100, batch: 3, body: 1000 };
    let control = Rc::new(Control::new(
        hub,
        metrics,
        Guard::new(&Endpoint::Tcp(address), Entrances::default()),
        limits,
        operations,
    ));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let served = runtime.block_on(tokio::task::LocalSet::new().run_until(control.serve(listener)));
    served.unwrap();
}

fn ask(address: SocketAddr, head: &str, body: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let (line, headers) = head.split_once('\n').unwrap_or((head, ""));
    let headers: String = headers.lines().map(|line| format!("{}\r\n", line.trim())).collect();
    let length = body.len();
    let request = format!(
        "{line} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    );
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[test]
fn a_message_is_published_looked_at_and_deleted() {
    let at = control();
    let published = ask(at, "POST /channels/news%2Fde\nx-comet-event: chat", "hello");
    assert_eq!(published, (200, "{\"id\":\"e-1\",\"subscribers\":0}".into()));
    let facts = r#"{"channel":"news/de","subscribers":0,"messages":1,"first":"e-1","last":"e-1"}"#;
    assert_eq!(ask(at, "GET /channels/news%2Fde", ""), (200, facts.into()));
    assert_eq!(ask(at, "GET /channels", ""), (200, format!("{{\"channels\":[{facts}],\"next\":null}}")));
    let messages = ask(at, "GET /channels/news%2Fde/messages", "");
    let message = r#"{"id":"e-1","channel":"news/de","event":"chat","data":"hello"}"#;
    let expected = format!("{{\"position\":\"e-1\",\"gap\":false,\"more\":false,\"messages\":[{message}]}}");
    assert_eq!(messages, (200, expected));
    assert_eq!(ask(at, "DELETE /channels/news%2Fde", "").0, 200);
    assert_eq!(ask(at, "GET /channels/news%2Fde", "").0, 404);
    assert_eq!(ask(at, "DELETE /channels/news%2Fde", "").0, 404);
}

#[test]
fn a_batch_is_published_whole_or_not_at_all() {
    let at = control();
    let good =
        r#"{"items":[{"channel":"a","data":"x"},{"channel":"b","event":"e","data":{"n":1},"id":"7"}]}"#;
    let answer = r#"{"items":[{"id":"e-1","subscribers":0},{"id":"e-2","subscribers":0}]}"#;
    assert_eq!(ask(at, "POST /publish/\ncontent-type: application/json", good), (200, answer.into()));
    let bad = r#"{"items":[{"channel":"c","data":"x"},{"channel":"c","data":"x","colour":1}]}"#;
    let (status, error) = ask(at, "POST /publish", bad);
    assert_eq!(status, 400);
    assert!(error.contains("unknown field `colour`") && error.contains("\"item\":1"), "{error}");
    assert_eq!(ask(at, "GET /channels/c", "").0, 404);
    let again = r#"{"items":[{"channel":"b","data":"other","id":"7"}]}"#;
    assert_eq!(ask(at, "POST /publish", again), (200, r#"{"items":[{"id":"e-2","subscribers":0}]}"#.into()));
}

#[test]
fn what_is_refused_says_why() {
    let at = control();
    let long = "x".repeat(101);
    let item = |data: &str| format!("{{\"items\":[{{\"channel\":\"a\",\"data\":\"{data}\"}}]}}");
    let deep = "[".repeat(101) + &"]".repeat(101);
    let deep_item = format!("{{\"items\":[{{\"channel\":\"a\",\"data\":{deep}}}]}}");
    let many = r#"{"items":[{"channel":"a","data":1},{"channel":"a","data":1},{"channel":"a","data":1},{"channel":"a","data":1}]}"#;
    let cases: &[(&str, &str, u16, &str)] = &[
        ("POST /channels/a%0Ab", "x", 400, "control characters"),
        ("POST /channels/%ff", "x", 400, "UTF-8"),
        ("POST /channels/%zz", "x", 400, "badly encoded"),
        ("POST /channels/a", &long, 413, "at most 100 bytes"),
        ("POST /channels/a\ncontent-type: application/json", "{", 400, "not the JSON"),
        ("POST /publish", &deep_item, 400, "100 deep"),
        ("POST /channels/a\nx-comet-event: comet.gap", "x", 400, "belong to the proxy"),
        ("POST /channels/a\nx-comet-event:", "x", 400, "an event name"),
        ("POST /channels/a\nx-comet-id: 1\nx-comet-id: 2", "x", 400, "stands twice"),
        ("POST /channels/a\ncontent-encoding: gzip", "x", 415, "Content-Encoding"),
        ("POST /channels/a\ncontent-encoding: identity", &long, 413, "at most 100 bytes"),
        ("POST /publish\ncontent-type: text/plain", "{}", 415, "application/json was expected"),
        ("POST /publish", "{}", 400, "missing field `items`"),
        ("POST /publish", "nonsense", 400, "an object with a list `items`"),
        ("POST /publish", r#"[{"channel":"a","data":1}]"#, 400, "an object with a list `items`"),
        ("POST /publish", "{\"items\":[", 400, "no list of items"),
        ("POST /publish", &item(&long), 413, "at most 100 bytes"),
        ("POST /publish", many, 413, "at most 3 items"),
        ("POST /publish", r#"{"items":[{"channel":"","data":1}]}"#, 400, "can't be empty"),
        ("GET /publish", "", 405, "POST"),
        ("PUT /channels/a", "", 405, "GET, POST, DELETE"),
        ("POST /metrics", "", 405, "GET"),
        ("GET /nothing", "", 404, "nothing at"),
        ("GET /channels/nobody", "", 404, "no channel"),
        ("GET /channels?limit=0", "", 400, "limit"),
        ("GET /channels/a/messages?since=yesterday", "", 400, "no position"),
        ("GET /channels\norigin: http://evil.example", "", 403, "Origin"),
        ("GET /channels\nsec-fetch-site: cross-site", "", 403, "web page"),
        ("GET /readyz", "", 503, "draining"),
        ("POST /reload", "", 400, "perihelion.yaml:1:1"),
    ];
    for (head, body, status, reason) in cases {
        let (answered, text) = ask(at, head, body);
        assert_eq!(answered, *status, "{head}: {text}");
        assert!(text.starts_with("{\"error\":") && text.contains(reason), "{head}: {text}");
    }
    assert_eq!(ask(at, "GET /healthz", ""), (200, "{\"status\":\"ok\"}".into()));
}

#[test]
fn one_channel_too_many_is_refused_with_a_time_to_come_again() {
    let at = control();
    for name in ["a", "b", "c"] {
        assert_eq!(ask(at, &format!("POST /channels/{name}"), "x").0, 200);
    }
    let (status, error) = ask(at, "POST /channels/d", "x");
    assert_eq!((status, error.as_str()), (503, "{\"error\":\"all 3 channels are in use\"}"));
    assert!(
        ask(at, "GET /metrics", "").1.contains("perihelion_comet_publishes_total{result=\"overload\"} 1")
    );
}
