//! Applications that share channels with others, each behind a prefix that it knows nothing of.

use crate::support::{EventSource, Origin, Perihelion, Received, Reply};

fn before(origin: &Origin) -> Perihelion {
    let url = origin.url();
    Perihelion::start(&format!(
        "listen: $HTTP\ncontrol: $CONTROL\ngrip: {{ key: changeme }}\ntickets: {{ keys: [0123456789abcdef0123456789abcdef] }}\n\
         pools: {{app: {{servers: [\"{url}\"]}}}}\nsites:\n  \"*\":\n    routes:\n      \
         - {{ path: /, pool: app, channel_prefix: a-, websockets: over_http }}\n      \
         - {{ path: /other, pool: app, channel_prefix: b- }}\n"
    ))
}

#[test]
fn two_applications_that_name_the_same_channel_have_one_each() {
    let origin = Origin::replying(|_: &Received| Reply::hold("news").with("X-Comet-Ticket", "1h"));
    let proxy = before(&origin);
    let mut ours = EventSource::open(proxy.http(), "/");
    let mut theirs = EventSource::open(proxy.http(), "/other");
    assert_eq!((ours.next().event.as_str(), theirs.next().event.as_str()), ("comet.ticket", "comet.ticket"));
    proxy.publish("news", "nobody's");
    proxy.publish("b-news", "theirs");
    let first = proxy.publish("a-news", "ours");
    assert_eq!((ours.next().data, theirs.next().data), ("ours".to_owned(), "theirs".to_owned()));
    // A ticket leads back to the same channel.
    proxy.publish("a-news", "more");
    let mut again = EventSource::resume(proxy.http(), "/", &first);
    assert_eq!((again.next().event.as_str(), again.next().data.as_str()), ("comet.ticket", "more"));
}

fn stream(channel: &str, body: &str) -> Reply {
    let reply = Reply::ok(body).with("Grip-Hold", "stream").with("Grip-Channel", channel);
    reply.with("Grip-Link", "</next>; rel=next")
}

fn publish(proxy: &Perihelion, item: &str) {
    assert_eq!(proxy.control("POST", "/publish/", &format!("{{\"items\":[{item}]}}")).status(), 200);
}

#[test]
fn an_application_of_grip_is_asked_by_the_names_that_it_knows() {
    let origin = Origin::replying(|request: &Received| match request.target() {
        "/stream" => stream("news; prev-id=1", "open\n"),
        _ => stream("news; prev-id=4", "2 3 4\n"),
    });
    let proxy = before(&origin);
    let mut raw = proxy.connect();
    raw.send("GET /stream HTTP/1.1\r\nHost: example.com\r\n\r\n");
    assert_eq!(raw.head().status(), 200);
    raw.piece("open\n");
    proxy.wait_subscribers("a-news", 1);
    publish(&proxy, r#"{"channel":"a-news","id":"4","prev-id":"3","http-stream":{"content":"4\n"}}"#);
    raw.piece("2 3 4\n");
    let asked = origin.received().into_iter().find(|request| request.target() == "/next").unwrap();
    assert_eq!(asked.head.all("grip-last"), ["news; last-id=1"]);
    publish(&proxy, r#"{"channel":"a-news","id":"5","prev-id":"4","http-stream":{"content":"5\n"}}"#);
    raw.piece("5\n");
}

#[test]
fn a_body_of_grip_and_a_websocket_over_http_are_behind_it_too() {
    let subscribe = "c:{\"type\":\"subscribe\",\"channel\":\"room\"}";
    let origin = Origin::replying(move |request: &Received| match request.target() {
        "/ws" if request.body == b"OPEN\r\n" => {
            let body = format!("OPEN\r\nTEXT {:x}\r\n{subscribe}\r\n", subscribe.len());
            let reply = Reply::ok(body).with("Content-Type", "application/websocket-events");
            reply.with("Sec-WebSocket-Extensions", "grip")
        }
        "/ws" => Reply::ok("").with("Content-Type", "application/websocket-events"),
        _ => Reply::ok(r#"{"hold":{"mode":"response","channels":[{"name":"poll"}]}}"#)
            .with("Content-Type", "application/grip-instruct"),
    });
    let proxy = before(&origin);
    let mut poll = proxy.connect();
    poll.send("GET /poll HTTP/1.1\r\nHost: example.com\r\n\r\n");
    proxy.wait_subscribers("a-poll", 1);
    publish(&proxy, r#"{"channel":"a-poll","http-response":{"body":"yes\n"}}"#);
    assert_eq!(poll.answer().text(), "yes\n");

    let mut socket = proxy.connect();
    socket.send(
        "GET /ws HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    assert_eq!(socket.head().status(), 101);
    proxy.wait_subscribers("a-room", 1);
    publish(&proxy, r#"{"channel":"a-room","ws-message":{"content":"hi"}}"#);
    assert_eq!(socket.exactly(4), b"\x81\x02hi");
}
