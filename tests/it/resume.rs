//! Nothing lost, nothing twice, in order: who comes back continues where it was, or is told what it missed.

use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};

use crate::support::{Event, EventSource, Origin, Perihelion, Reply};

/// Holds what the query says, by the transport in the path: `/sse?news;since=now`.
fn holding() -> Origin {
    Origin::replying(|request| {
        let (path, query) = request.target().split_once('?').unwrap_or((request.target(), "news"));
        let channels = query.split('&').next().unwrap_or_default();
        Reply::hold(channels)
            .with("X-Comet-Transport", &path[1..])
            .with("X-Comet-Timeout", "60")
            .body("quiet")
    })
}

fn data(event: &Event) -> &str {
    &event.data
}

/// Asks as a poll does; gives the answer.
fn poll(proxy: &Perihelion, target: &str, last_event_id: Option<&str>) -> Value {
    let mut raw = proxy.connect();
    let position = last_event_id.map_or(String::new(), |id| format!("Last-Event-ID: {id}\r\n"));
    raw.send(format!("GET {target} HTTP/1.1\r\nHost: example.com\r\n{position}\r\n"));
    raw.answer().json()
}

#[test]
fn a_client_that_comes_back_gets_exactly_what_it_missed() {
    let origin = holding();
    let proxy = Perihelion::before(&origin);
    let mut events = EventSource::open(proxy.http(), "/sse?news");
    proxy.wait_subscribers("news", 1);
    proxy.publish("news", "1");
    assert_eq!(events.next().data, "1");
    let position = events.last_event_id.clone().unwrap();
    drop(events);
    proxy.wait_subscribers("news", 0);
    proxy.publish("news", "2");
    proxy.publish("other", "not for it");
    proxy.publish("news", "3");
    let mut events = EventSource::resume(proxy.http(), "/sse?news", &position);
    assert_eq!(events.data(2), ["2", "3"]);
    proxy.publish("news", "4");
    assert_eq!(data(&events.next()), "4");
    proxy.wait_metric("perihelion_comet_gaps_total", &[], 0.0);
    proxy.wait_metric("perihelion_comet_replay_events_total", &[], 2.0);
}

#[test]
fn the_position_may_stand_in_the_query() {
    let origin = holding();
    let proxy = Perihelion::before(&origin);
    let first = proxy.publish("news", "1");
    proxy.publish("news", "2");
    let mut events = EventSource::open(proxy.http(), &format!("/sse?news&lastEventId={first}"));
    assert_eq!(events.next().data, "2");
}

#[test]
fn the_header_wins_over_the_query_and_the_application_over_both() {
    let origin = holding();
    let proxy = Perihelion::before(&origin);
    let positions = ["1", "2", "3"].map(|data| proxy.publish("news", data));
    let [first, second, _] = &positions;
    let mut events = EventSource::resume(proxy.http(), &format!("/sse?news&lastEventId={first}"), second);
    assert_eq!(events.next().data, "3");
    let mut events = EventSource::resume(proxy.http(), &format!("/sse?news;since={first}"), second);
    assert_eq!(events.data(2), ["2", "3"]);
}

#[test]
fn the_application_may_say_earliest_now_or_a_position_for_each_channel() {
    let origin = holding();
    let proxy = Perihelion::before(&origin);
    for channel in ["a", "b", "c", "d"] {
        proxy.publish(channel, &format!("{channel} 1"));
    }
    let position = proxy.publish("c", "c 2");
    for channel in ["a", "b", "c", "d"] {
        proxy.publish(channel, &format!("{channel} 3"));
    }
    let target = format!("/sse?a;since=earliest,b;since=now,c;since={position},d");
    let mut events = EventSource::open(proxy.http(), &target);
    assert_eq!(events.data(3), ["a 1", "a 3", "c 3"]);
    proxy.publish("b", "b 4");
    assert_eq!(events.next().data, "b 4");
}

#[test]
fn what_is_published_while_the_application_renders_is_delivered() {
    for transport in ["sse", "long-poll", "ndjson"] {
        // The application itself publishes before it answers, as it does when it renders slowly.
        let proxy: Arc<OnceLock<Perihelion>> = Arc::new(OnceLock::new());
        let publisher = proxy.clone();
        let origin = Origin::replying(move |_| {
            let proxy = publisher.get().unwrap();
            proxy.publish("news", "while rendering");
            Reply::hold("news").with("X-Comet-Transport", transport)
        });
        proxy.get_or_init(|| Perihelion::before_with(&origin, "channels: { history: off }"));
        let mut raw = proxy.get().unwrap().connect();
        raw.send("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n");
        raw.until(b"while rendering");
        proxy.get().unwrap().wait_metric(
            "perihelion_comet_deliveries_total",
            &[("transport", transport)],
            1.0,
        );
    }
}

#[test]
fn since_now_leaves_out_what_was_published_while_the_application_rendered() {
    let proxy: Arc<OnceLock<Perihelion>> = Arc::new(OnceLock::new());
    let publisher = proxy.clone();
    let origin = Origin::replying(move |_| {
        publisher.get().unwrap().publish("news", "in the page already");
        Reply::hold("news;since=now").with("X-Comet-Transport", "sse")
    });
    let proxy = proxy.get_or_init(|| Perihelion::before(&origin));
    let mut events = EventSource::open(proxy.http(), "/");
    proxy.wait_subscribers("news", 1);
    proxy.publish("news", "new");
    assert_eq!(events.next().data, "new");
}

#[test]
fn an_event_stream_says_how_many_messages_are_gone_where_that_is_known() {
    let origin = holding();
    let proxy = Perihelion::before_with(&origin, "limits: { history_bytes: 64KiB }");
    let before = proxy.publish("other", "x");
    let first = proxy.publish("news", "1");
    for n in 2..=2000 {
        proxy.publish("news", &n.to_string());
    }
    for (after, known) in [(before, true), (first, false)] {
        let mut events = EventSource::resume(proxy.http(), "/sse?news", &after);
        let gap = events.next();
        assert_eq!((gap.event.as_str(), &gap.id), ("comet.gap", &None));
        let said: Value = serde_json::from_str(&gap.data).unwrap();
        assert_eq!((&said["channel"], &said["after"]), (&json!("news"), &json!(after)));
        let next: u64 = events.next().data.parse().unwrap();
        assert_eq!(said["missing"].as_u64(), known.then_some(next - 1));
        let expected: Vec<String> = (next + 1..=2000).map(|n| n.to_string()).collect();
        assert_eq!(events.data(expected.len()), expected);
    }
    proxy.wait_metric("perihelion_comet_gaps_total", &[("transport", "sse")], 2.0);
}

#[test]
fn a_position_of_another_life_is_a_gap_of_unknown_size() {
    let origin = holding();
    let proxy = Perihelion::before(&origin);
    proxy.publish("news", "kept");
    for unknown in ["abc-1", "not-a-position"] {
        let mut events = EventSource::resume(proxy.http(), "/sse?news", unknown);
        let gap = events.next();
        assert_eq!(gap.event, "comet.gap");
        let said: Value = serde_json::from_str(&gap.data).unwrap();
        let after = if unknown == "abc-1" { json!("abc-1") } else { Value::Null };
        assert_eq!((&said["missing"], &said["after"]), (&Value::Null, &after));
        assert!(said["before"].is_string(), "{said}");
        assert_eq!(events.next().data, "kept");
    }
}

#[test]
fn ndjson_says_a_gap_in_a_line_of_its_own() {
    let origin = holding();
    let proxy = Perihelion::before(&origin);
    proxy.publish("news", "kept");
    let mut raw = proxy.connect();
    raw.send("GET /ndjson?news HTTP/1.1\r\nHost: example.com\r\nLast-Event-ID: abc-1\r\n\r\n");
    raw.head();
    let bytes = raw.until(b"\"kept\"}\n");
    let text = String::from_utf8(bytes).unwrap();
    let line = text.lines().find(|line| line.contains("comet.gap")).unwrap();
    let said: Value = serde_json::from_str(line).unwrap();
    assert_eq!(said["event"], "comet.gap");
    assert_eq!((&said["channel"], &said["after"]), (&json!("news"), &json!("abc-1")));
}

#[test]
fn a_poll_says_a_gap_at_once() {
    let origin = holding();
    let proxy = Perihelion::before(&origin);
    let position = proxy.publish("news", "kept");
    let answer = poll(&proxy, "/long-poll?news", Some("abc-1"));
    assert_eq!((&answer["gap"], &answer["messages"][0]["data"]), (&json!(true), &json!("kept")));
    assert_eq!(answer["position"], position.as_str());
    // Even where there is nothing to give.
    let answer = poll(&proxy, "/long-poll?empty", Some("abc-1"));
    assert_eq!((&answer["gap"], &answer["messages"]), (&json!(true), &json!([])));
    let position = answer["position"].as_str().unwrap().to_string();
    proxy.publish("empty", "first");
    let answer = poll(&proxy, "/long-poll?empty", Some(&position));
    assert_eq!((&answer["gap"], &answer["messages"][0]["data"]), (&json!(false), &json!("first")));
}

#[test]
fn a_poll_gets_everything_that_is_waiting_in_one_answer() {
    let origin = holding();
    let proxy = Perihelion::before(&origin);
    let start = proxy.publish("news", "before");
    for n in 1..=5 {
        proxy.publish(if n % 2 == 0 { "news" } else { "chat" }, &n.to_string());
    }
    let answer = poll(&proxy, "/long-poll?news,chat", Some(&start));
    let messages = answer["messages"].as_array().unwrap();
    let said: Vec<_> = messages.iter().map(|message| message["data"].as_str().unwrap()).collect();
    assert_eq!(said, ["1", "2", "3", "4", "5"]);
    assert_eq!(answer["position"], messages[4]["id"]);
}

#[test]
fn a_chain_of_polls_loses_nothing_and_repeats_nothing() {
    let origin = holding();
    let proxy = Perihelion::before(&origin);
    let start = proxy.publish("news", "start");
    let mut position = start;
    let mut raw = proxy.connect();
    let mut seen = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| (0..300).for_each(|n| drop(proxy.publish("news", &n.to_string()))));
        while seen.len() < 300 {
            raw.send(format!("GET /long-poll?news&lastEventId={position} HTTP/1.1\r\nHost: a\r\n\r\n"));
            let answer = raw.answer().json();
            assert_eq!(answer["gap"], false);
            let messages = answer["messages"].as_array().unwrap().clone();
            seen.extend(messages.iter().map(|message| message["data"].as_str().unwrap().to_string()));
            position = answer["position"].as_str().unwrap().to_string();
        }
    });
    assert_eq!(seen, (0..300).map(|n| n.to_string()).collect::<Vec<_>>());
    proxy.wait_metric("perihelion_connections_accepted_total", &[], 1.0);
}
