//! Three nodes on one Redis: one order for all, clients that go on at another node, and nothing lost when something ends.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use perihelion::hub::{Appender, Follower, Hub, HubSettings, Policy};
use perihelion::message::{Batch, ChannelName, Data, Epoch, Message, Start};
use perihelion::metrics::Metrics;
use perihelion::store::{RedisLog, RedisSettings};
use serde_json::json;

use crate::support::{EventSource, Origin, Perihelion, Place, Raw, Redis, Reply, wait_until};

fn holding() -> Origin {
    Origin::replying(|request| Reply::hold(request.target().split_once('?').unwrap_or_default().1))
}

/// The configuration of the documentation, at a place of the test's own.
fn node(origin: &Origin, redis: &Redis) -> Perihelion {
    node_with(origin, redis, "")
}

fn node_with(origin: &Origin, redis: &Redis, more: &str) -> Perihelion {
    let text = include_str!("../../config/cluster.yaml")
        .replace("127.0.0.1:8080", "$HTTP")
        .replace("127.0.0.1:7070", "$CONTROL")
        .replace("http://127.0.0.1:8000", &origin.url())
        .replace("redis://127.0.0.1:6379", &redis.url());
    Perihelion::start_at(Place::new(), &format!("{text}{more}"), None)
}

fn nodes(origin: &Origin, redis: &Redis) -> [Perihelion; 3] {
    std::array::from_fn(|_| node(origin, redis))
}

/// Publishes until it is accepted; says how often it was refused.
fn insist(node: &Perihelion, data: &str) -> usize {
    let mut refused = 0;
    let headers = format!("X-Comet-Id: {data}\r\n");
    wait_until(&format!("{data} is accepted"), || {
        let answer = node.control_with("POST", "/channels/news", &headers, data);
        assert!([200, 503].contains(&answer.status()), "{}", answer.text());
        refused += usize::from(answer.status() == 503);
        answer.status() == 200
    });
    refused
}

#[test]
fn what_is_published_anywhere_is_delivered_everywhere_in_one_order() {
    let (origin, redis) = (holding(), Redis::start());
    let nodes = nodes(&origin, &redis);
    let first = nodes[0].publish("news", "first");
    let mut streams = nodes.each_ref().map(|node| EventSource::resume(node.http(), "/?news", &first));
    std::thread::scope(|scope| {
        for (number, node) in nodes.iter().enumerate() {
            scope.spawn(move || (0..30).for_each(|n| drop(node.publish("news", &format!("{number}-{n}")))));
        }
    });
    let seen = streams.each_mut().map(|stream| (0..90).map(|_| stream.next()).collect::<Vec<_>>());
    assert!(seen[0] == seen[1] && seen[1] == seen[2]);
    for number in 0..3 {
        let of_one: Vec<_> =
            seen[0].iter().filter(|event| event.data.starts_with(&format!("{number}-"))).collect();
        let in_order: Vec<_> = (0..30).map(|n| format!("{number}-{n}")).collect();
        assert_eq!(
            of_one.iter().map(|event| &event.data).collect::<Vec<_>>(),
            in_order.iter().collect::<Vec<_>>()
        );
    }
    let middle = seen[0][44].id.clone().unwrap();
    let mut elsewhere = EventSource::resume(nodes[1].http(), "/?news", &middle);
    let rest: Vec<_> = (0..45).map(|_| elsewhere.next()).collect();
    assert_eq!(rest, seen[0][45..]);
}

#[test]
fn a_publisher_may_go_to_any_node() {
    let (origin, redis) = (holding(), Redis::start());
    let nodes = nodes(&origin, &redis);
    let first = nodes[0].publish_with("news", "X-Comet-Id: 7\r\n", "x");
    assert_eq!(nodes[1].publish_with("news", "X-Comet-Id: 7\r\n", "again"), first, "its id is known");
    let expect = |node: &Perihelion, last: &str| {
        node.control_with("POST", "/channels/news", &format!("X-Comet-Expected-Last: {last}\r\n"), "y")
    };
    assert_eq!(expect(&nodes[2], &first).status(), 200);
    let refused = expect(&nodes[0], &first);
    assert_eq!((refused.status(), refused.json()["last"].is_string()), (409, true));
    let items = json!({ "items": [
        { "channel": "other", "data": "x" },
        { "channel": "news", "data": "x", "expected_last": "none" },
    ]});
    assert_eq!(nodes[1].control("POST", "/publish", &items.to_string()).status(), 409);
    assert_eq!(nodes[1].control("GET", "/channels/other", "").status(), 404, "all or nothing");

    assert_eq!(nodes[2].control("DELETE", "/channels/news", "").status(), 200);
    for node in &nodes {
        wait_until("it is gone", || node.control("GET", "/channels/news", "").status() == 404);
    }
    assert_ne!(nodes[0].publish_with("news", "X-Comet-Id: 7\r\n", "new"), first, "its ids are forgotten");
}

#[test]
fn a_paused_a_killed_and_a_cut_redis_refuse_publishers_and_lose_nothing() {
    let (origin, mut redis) = (holding(), Redis::start());
    let nodes = nodes(&origin, &redis);
    let first = nodes[0].publish("news", "first");
    let mut streams = nodes.each_ref().map(|node| EventSource::resume(node.http(), "/?news", &first));
    let degraded =
        |node: &Perihelion| node.control("GET", "/readyz", "").json()["store"] == json!("unreachable");

    redis.signal("STOP");
    let unsure = nodes[0].control_with("POST", "/channels/news", "X-Comet-Id: a\r\n", "a");
    assert_eq!(unsure.status(), 503, "{}", unsure.text());
    wait_until("it is seen", || nodes.iter().all(degraded));
    assert_eq!(nodes[1].control("POST", "/channels/news", "x").status(), 503);
    nodes[0].wait_metric("perihelion_store_connected", &[], 0.0);
    redis.signal("CONT");
    insist(&nodes[0], "a");

    redis.kill();
    wait_until("it is seen", || nodes.iter().all(degraded));
    assert_eq!(nodes[2].control("POST", "/channels/news", "x").status(), 503);
    redis.start_again();
    insist(&nodes[1], "b");

    let mut connection = redis.connection();
    redis::cmd("CLIENT")
        .arg("KILL")
        .arg("TYPE")
        .arg("normal")
        .arg("SKIPME")
        .arg("yes")
        .exec(&mut connection)
        .unwrap();
    insist(&nodes[2], "c");
    nodes[0].wait_metric("perihelion_store_connected", &[], 1.0);

    let seen = streams.each_mut().map(|stream| stream.data(3));
    assert_eq!(
        seen,
        [["a", "b", "c"], ["a", "b", "c"], ["a", "b", "c"]],
        "once, in order, by the same streams"
    );
}

#[test]
fn a_killed_node_finds_everything_again_and_its_clients_go_on_elsewhere() {
    let (origin, redis) = (holding(), Redis::start());
    let mut nodes = nodes(&origin, &redis);
    let first = nodes[0].publish("news", "first");
    nodes[0].signal("KILL");
    nodes[0].wait_exit();
    nodes[1].publish("news", "second");
    assert_eq!(EventSource::resume(nodes[2].http(), "/?news", &first).next().data, "second");
    nodes[0] = node(&origin, &redis);
    let mut stream = EventSource::resume(nodes[0].http(), "/?news", &first);
    assert_eq!(stream.next().data, "second");
    nodes[2].publish("news", "third");
    assert_eq!(stream.next().data, "third");
}

const KEYS: &str = "tickets: { keys: [0123456789abcdef0123456789abcdef] }\n";

/// Holds `/?CHANNEL;TAG`, with a ticket.
fn tagging() -> Origin {
    Origin::replying(|request| {
        let query = request.target().split_once('?').unwrap_or_default().1;
        let (channel, tag) = query.split_once(';').unwrap_or_default();
        Reply::hold(channel).with("X-Comet-Tag", tag).with("X-Comet-Ticket", "1h")
    })
}

fn opened(node: &Perihelion, target: &str) -> EventSource {
    let mut events = EventSource::open(node.http(), target);
    assert_eq!(events.next().event, "comet.ticket");
    events
}

#[test]
fn a_revocation_at_one_node_ends_connections_and_tickets_at_all_and_of_a_later_start() {
    let (origin, redis) = (tagging(), Redis::start());
    let mut nodes: [Perihelion; 3] = std::array::from_fn(|_| node_with(&origin, &redis, KEYS));
    let position = nodes[0].publish("news", "first");
    for node in &nodes {
        wait_until("it is there", || node.control("GET", "/channels/news", "").status() == 200);
    }
    let mut meant = nodes.each_ref().map(|node| opened(node, "/?news;session:42"));
    let mut other = opened(&nodes[1], "/?news;session:4");
    let ticket = {
        let mut raw = nodes[1].connect();
        raw.send("GET /?news;session:42 HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n");
        let cookie = raw.head().get("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        format!("Cookie: {cookie}\r\nLast-Event-ID: {position}\r\n")
    };
    nodes[2].publish("news", "before");
    let wish = json!({ "tag": "session:42", "event": "bye", "message": { "reason": "left" } });
    let answer = nodes[0].control("POST", "/revoke", &wish.to_string());
    assert_eq!((answer.status(), answer.json()), (200, json!({ "connections": 1 })));
    for events in &mut meant {
        assert_eq!(events.next().data, "before");
        let last = events.next();
        assert_eq!((last.event.as_str(), last.data.as_str()), ("bye", r#"{"reason":"left"}"#));
        assert_eq!(events.next_or_end(), None);
    }
    nodes[2].publish("news", "after");
    assert_eq!(other.data(2), ["before", "after"]);
    for node in &nodes {
        node.wait_metric("perihelion_comet_revocations_total", &[("by", "tag")], 1.0);
    }
    nodes[1].signal("KILL");
    nodes[1].wait_exit();
    nodes[1] = node_with(&origin, &redis, KEYS);
    for node in &nodes {
        let mut raw = node.connect();
        raw.send(format!("GET /?news;session:42 HTTP/1.1\r\nHost: a\r\n{ticket}\r\n"));
        assert_eq!(raw.head().status(), 200);
        node.wait_metric("perihelion_comet_tickets_total", &[("result", "revoked")], 1.0);
    }
}

#[test]
fn a_revocation_that_other_nodes_can_not_hear_of_holds_here_and_says_so() {
    let (origin, mut redis) = (tagging(), Redis::start());
    let node = node_with(&origin, &redis, KEYS);
    let mut events = opened(&node, "/?news;session:42");
    redis.kill();
    let answer = node.control("POST", "/revoke", r#"{"tag":"session:42"}"#);
    assert_eq!(answer.status(), 503);
    assert!(answer.text().contains("other nodes may not know of it"), "{}", answer.text());
    assert_eq!(events.next_or_end(), None);
    redis.start_again();
    wait_until("it is told", || node.control("POST", "/revoke", r#"{"tag":"session:42"}"#).status() == 200);
}

/// An item of GRIP that follows another one.
fn item(id: u32) -> String {
    let item = json!({ "channel": "news", "id": id.to_string(), "prev-id": (id - 1).to_string(),
        "http-stream": { "content": format!("{id}\n") } });
    json!({ "items": [item] }).to_string()
}

#[test]
fn items_of_grip_wait_for_the_one_before_them_wherever_that_is_published() {
    let origin = Origin::replying(|request| match request.target() {
        "/stream" => Reply::ok("0\n")
            .with("Grip-Hold", "stream")
            .with("Grip-Channel", "news; prev-id=0")
            .with("Grip-Link", "</next>; rel=next"),
        target => panic!("nothing is lost, and {target} is asked for"),
    });
    let redis = Redis::start();
    // They wait for five seconds, and the disk of a busy machine may take as long over a few lines.
    redis::cmd("CONFIG").arg("SET").arg("appendfsync").arg("no").exec(&mut redis.connection()).unwrap();
    let nodes = nodes(&origin, &redis);
    let mut clients = nodes.each_ref().map(|node| {
        let mut raw = node.connect();
        raw.send("GET /stream HTTP/1.1\r\nHost: example.com\r\n\r\n");
        assert_eq!(raw.head().status(), 200);
        node.wait_subscribers("news", 1);
        raw
    });
    // The last of them is known everywhere once it is delivered everywhere.
    let published = |node: &Perihelion, id| {
        let answer = node.control("POST", "/publish/", &item(id));
        assert_eq!(answer.status(), 200, "{}", answer.text());
    };
    published(&nodes[0], 1);
    clients.iter_mut().for_each(|client| client.piece("0\n1\n"));
    published(&nodes[2], 4);
    published(&nodes[1], 3);
    nodes[1].wait_metric("perihelion_comet_out_of_order", &[], 1.0);
    nodes[2].wait_metric("perihelion_comet_out_of_order", &[], 1.0);
    published(&nodes[0], 2);
    clients.iter_mut().for_each(|client| client.piece("2\n3\n4\n"));
    nodes[2].wait_metric("perihelion_comet_out_of_order", &[], 0.0);
}

#[test]
fn a_redis_that_has_lost_messages_is_never_taken_for_the_same() {
    let (origin, redis) = (holding(), Redis::start());
    let mut one = node(&origin, &redis);
    let last = one.publish("news", "first");
    redis::cmd("FLUSHALL").exec(&mut redis.connection()).unwrap();
    let mut publisher = Raw::connect(one.place.control());
    let host = one.place.control();
    publisher.send(format!("POST /channels/news HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1\r\n\r\nx"));
    assert_eq!(one.wait_exit().code(), Some(1));
    // It may have gone before it could say so.
    let answer = String::from_utf8(publisher.until_close()).unwrap();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(one.stderr().contains("has lost a part of the log"), "{}", one.stderr());
    let again = node(&origin, &redis);
    assert_eq!(EventSource::resume(again.http(), "/?news", &last).next().event, "comet.gap");
}

#[test]
fn a_redis_that_is_not_there_ends_the_start_with_the_reason() {
    let origin = holding();
    let proxy = Perihelion::before(&origin);
    let ended = proxy.start_another(
        "listen: 127.0.0.1:0\nupstream: http://127.0.0.1:1\nstore: { redis: 'redis://127.0.0.1:1' }",
    );
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("the store in redis can't be used"), "{}", ended.stderr);
}

fn hub_on(redis: &Redis) -> (Arc<Hub>, Appender, Follower) {
    let log = RedisSettings {
        urls: vec![redis.url()],
        sentinels: Vec::new(),
        tls: None,
        prefix: "p".into(),
        publisher_ids: 10,
    };
    let (log, _) = RedisLog::open(&log, [Epoch(1), Epoch(2)]).unwrap();
    let settings = HubSettings {
        policies: Policy::keeping(2, None).into(),
        history_bytes: usize::MAX,
        channels: 10,
        window_messages: 0,
        publisher_ids: 10,
    };
    let (metrics, now, at) = (Metrics::new().unwrap(), Instant::now(), SystemTime::now());
    Hub::following(log, settings, 1 << 20, Box::new(|_| {}), metrics, now, at)
}

#[test]
fn what_no_channel_keeps_leaves_the_log_and_is_remembered_as_gone() {
    let redis = Redis::start();
    let (hub, mut appender, mut follower) = hub_on(&redis);
    let before = hub.head();
    let (news, quiet) = (ChannelName::parse("news").unwrap(), ChannelName::parse("quiet").unwrap());
    let message = |channel: &ChannelName| {
        let data = Data::Text("x".into());
        Message::new(channel.clone(), data)
    };
    let messages = std::iter::once(&quiet).chain([&news; 500]).map(message).collect();
    drop(hub.publish(Batch { messages, expected: Vec::new() }, Instant::now()));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            wait_until("it has read all of it", || {
                follower.turn(Instant::now(), SystemTime::now()).unwrap();
                hub.head().sequence.0 == before.sequence.0 + 501
            });
        });
        assert!(appender.turn(Instant::now()));
    });
    let length = || redis::cmd("XLEN").arg("{p}:log").query::<u64>(&mut redis.connection()).unwrap();
    appender.tick(SystemTime::now());
    assert_eq!(length(), 501, "other nodes may not have read it yet");
    wait_until("only what is kept is left", || {
        appender.tick(SystemTime::now() + Duration::from_secs(61));
        length() == 3
    });

    let (again, ..) = hub_on(&redis);
    assert_eq!(again.head(), hub.head());
    for hub in [hub, again] {
        let gap = hub.history(&news, Start::After(before), 10, Instant::now()).unwrap().gap;
        assert_eq!(gap.unwrap().missing, Some(498));
        assert_eq!(hub.history(&quiet, Start::After(before), 10, Instant::now()).unwrap().gap, None);
    }
}
