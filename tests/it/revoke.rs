//! What the application revokes ends: connections now, tickets for good, and nobody else's.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::support::{Event, EventSource, Origin, Perihelion, Raw, Reply, wait_until};

/// Holds `/TRANSPORT?CHANNEL;TAG`, with a ticket.
fn holding() -> Origin {
    Origin::replying(|request| {
        let (transport, query) = request.target()[1..].split_once('?').unwrap();
        let (channel, tag) = query.split('&').next().unwrap_or_default().split_once(';').unwrap();
        let reply = Reply::hold(channel).with("X-Comet-Transport", transport).with("X-Comet-Ticket", "1h");
        let reply = if tag.is_empty() { reply } else { reply.with("X-Comet-Tag", tag) };
        reply.with("X-Comet-Timeout", "30").body("over")
    })
}

fn ask(proxy: &Perihelion, target: &str, fields: &str) -> Raw {
    let mut raw = proxy.connect();
    raw.send(format!("GET {target} HTTP/1.1\r\nHost: example.com\r\n{fields}\r\n"));
    raw
}

fn open(proxy: &Perihelion, target: &str) -> EventSource {
    let mut events = EventSource::open(proxy.http(), target);
    assert_eq!(events.next().event, "comet.ticket");
    events
}

fn revoke(proxy: &Perihelion, wish: Value) -> u64 {
    let answer = proxy.control("POST", "/revoke", &wish.to_string());
    assert_eq!(answer.status(), 200, "{}", answer.text());
    answer.json()["connections"].as_u64().unwrap()
}

fn tagged(proxy: &Perihelion, tag: &str) -> u64 {
    proxy.control("GET", &format!("/tags/{tag}"), "").json()["connections"].as_u64().unwrap()
}

#[test]
fn a_tag_ends_its_connections_and_nobody_else_s() {
    let origin = holding();
    let proxy = Perihelion::before(&origin);
    let mut ours: Vec<_> = (0..8).map(|_| open(&proxy, "/sse?news;session:42")).collect();
    let mut poll = ask(&proxy, "/long-poll?news;session:42", "");
    let mut others = [open(&proxy, "/sse?news;session:4"), open(&proxy, "/sse?news;")];
    proxy.wait_subscribers("news", 11);
    assert_eq!((tagged(&proxy, "session:42"), tagged(&proxy, "session%3A4"), tagged(&proxy, "x")), (9, 1, 0));
    proxy.publish("news", "before");
    assert_eq!(poll.answer().json()["messages"][0]["data"], "before");
    proxy.wait_subscribers("news", 10);
    let mut poll = ask(&proxy, "/long-poll?news;session:42", "");
    proxy.wait_subscribers("news", 11);
    proxy.publish("other", "unheard");
    assert_eq!(revoke(&proxy, json!({ "tag": "session:42" })), 9);
    for events in &mut ours {
        assert_eq!(events.next().data, "before");
        assert_eq!(events.next_or_end(), None);
    }
    assert_eq!(poll.answer().text(), "over");
    proxy.wait_subscribers("news", 2);
    proxy.publish("news", "after");
    others.iter_mut().for_each(|events| assert_eq!(events.data(2), ["before", "after"]));
    assert_eq!((tagged(&proxy, "session:42"), revoke(&proxy, json!({ "tag": "session:42" }))), (0, 0));
    proxy.wait_metric("perihelion_comet_streams_closed_total", &[("reason", "revoked")], 9.0);
    proxy.wait_metric("perihelion_comet_revocations_total", &[("by", "tag")], 2.0);
}

#[test]
fn a_channel_ends_with_a_last_message_that_has_no_place_in_the_order() {
    let origin = holding();
    let proxy = Perihelion::before(&origin);
    let mut events = open(&proxy, "/sse?news;");
    let mut poll = ask(&proxy, "/long-poll?news;", "");
    let mut lines = ask(&proxy, "/ndjson?news,more;", "");
    lines.until(b"comet.ticket");
    proxy.wait_subscribers("news", 3);
    let position = events.last_event_id.clone().unwrap();
    let wish = json!({ "channel": "news", "event": "bye", "message": { "reason": "closed" } });
    assert_eq!(revoke(&proxy, wish), 3);
    let last =
        Event { id: Some(position.clone()), event: "bye".into(), data: r#"{"reason":"closed"}"#.into() };
    assert_eq!((events.next(), events.next_or_end()), (last, None));
    let said = poll.answer().json();
    assert_eq!(said["messages"][0]["data"], json!({ "reason": "closed" }));
    assert_eq!(said["position"], position.as_str());
    lines.until(b"\"event\":\"bye\",\"data\":{\"reason\":\"closed\"}}\n");
    // The channel's history is untouched.
    let kept = proxy.publish("news", "next");
    let since = proxy.control("GET", &format!("/channels/news/messages?since={position}"), "").json();
    assert_eq!((&since["messages"][0]["id"], &since["gap"]), (&json!(kept), &json!(false)));
}

#[test]
fn tickets_of_before_are_void_and_those_of_later_are_good() {
    static REQUESTS: AtomicUsize = AtomicUsize::new(0);
    let origin = Origin::replying(|_| {
        REQUESTS.fetch_add(1, Ordering::SeqCst);
        Reply::hold("news, more")
            .with("X-Comet-Transport", "sse")
            .with("X-Comet-Ticket", "1h")
            .with("X-Comet-Tag", "session:42")
    });
    let proxy = Perihelion::before(&origin);
    let position = proxy.publish("news", "1");
    let ticket = |fields: &str| {
        let head = ask(&proxy, "/", fields).head();
        let cookie = head.get("set-cookie").unwrap().split(';').next().unwrap().to_string();
        format!("Cookie: {cookie}\r\nLast-Event-ID: {position}\r\n")
    };
    let mut good = ticket("");
    for (number, wish) in
        [json!({ "tag": "session:42" }), json!({ "channel": "more" })].into_iter().enumerate()
    {
        let renewed = ticket(&good);
        revoke(&proxy, json!({ "tag": "session:4" }));
        ticket(&renewed);
        let before = REQUESTS.load(Ordering::SeqCst);
        revoke(&proxy, wish);
        good = ticket(&renewed);
        assert_eq!(REQUESTS.load(Ordering::SeqCst), before + 1, "{number}");
        // What is given within the millisecond of a revocation is void, too.
        wait_until("a new ticket is good", || {
            let before = REQUESTS.load(Ordering::SeqCst);
            good = ticket(&good);
            REQUESTS.load(Ordering::SeqCst) == before
        });
    }
    assert!(proxy.metric("perihelion_comet_tickets_total", &[("result", "revoked")]) >= 2.0);
}

#[test]
fn what_is_no_revocation_is_refused_and_ends_nothing() {
    let origin = holding();
    let proxy = Perihelion::before(&origin);
    let _events = open(&proxy, "/sse?news;session:42");
    for wish in [
        "",
        "{}",
        r#"{"tag":""}"#,
        r#"{"tag":"a","channel":"b"}"#,
        r#"{"channel":""}"#,
        r#"{"tags":"session:42"}"#,
        r#"{"tag":"session:42","event":"a\nb"}"#,
        r#"["session:42"]"#,
    ] {
        let answer = proxy.control("POST", "/revoke", wish);
        assert_eq!(answer.status(), 400, "{wish}");
        assert!(answer.json()["error"].is_string());
    }
    assert_eq!(proxy.control("GET", "/revoke", "").status(), 405);
    assert_eq!(tagged(&proxy, "session:42"), 1);
}

#[test]
fn a_ticket_that_was_revoked_stays_so_over_a_restart_where_there_is_a_store() {
    let origin = holding();
    let keys = "tickets: { keys: [0123456789abcdef0123456789abcdef] }\nstore: { path: $FOLDER/store }";
    let mut proxy = Perihelion::before_with(&origin, keys);
    let position = proxy.publish("news", "1");
    let tickets = ["/sse?news;session:42", "/sse?news;session:43"].map(|target| {
        let head = ask(&proxy, target, "").head();
        let cookie = head.get("set-cookie").unwrap().split(';').next().unwrap().to_string();
        (target, format!("Cookie: {cookie}\r\nLast-Event-ID: {position}\r\n"))
    });
    revoke(&proxy, json!({ "tag": "session:42" }));
    proxy.kill_and_start();
    for (target, ticket) in tickets {
        assert_eq!(ask(&proxy, target, &ticket).head().status(), 200);
    }
    for result in ["revoked", "taken"] {
        proxy.wait_metric("perihelion_comet_tickets_total", &[("result", result)], 1.0);
    }
    assert_eq!(origin.received().len(), 3);
}
