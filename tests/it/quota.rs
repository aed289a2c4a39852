//! How much one address may take.

use crate::support::{Origin, Perihelion, Raw, Reply, wait_until};

fn limited(origin: &Origin, per_address: &str, more: &str) -> Perihelion {
    Perihelion::before_with(origin, &format!("limits: {{ per_address: {{ {per_address} }} }}\n{more}"))
}

fn origin() -> Origin {
    Origin::replying(|request| match request.target() {
        "/hold" => Reply::hold("news").with("X-Comet-Transport", "sse"),
        "/poll" => Reply::hold("news").with("X-Comet-Transport", "long-poll"),
        _ => Reply::ok("hello"),
    })
}

#[test]
fn an_address_has_no_more_connections_than_it_may_and_held_ones_count() {
    let origin = origin();
    let proxy = limited(&origin, "connections: 2", "");
    let (mut held, mut plain) = (proxy.connect(), proxy.connect());
    held.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(held.head().status(), 200);
    proxy.wait_subscribers("news", 1);
    assert_eq!(plain.get("/").text(), "hello");
    let mut third = proxy.connect();
    // It may be closed before or after these bytes arrive.
    let _ = third.try_send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    third.assert_closed();
    proxy.wait_metric("perihelion_connections_rejected_total", &[("reason", "per_address")], 1.0);
    assert_eq!(plain.get("/").text(), "hello", "those that are there stay");
    drop(held);
    proxy.wait_subscribers("news", 0);
    wait_until("the place is free", || {
        let mut raw = proxy.connect();
        let sent = raw.try_send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        sent.is_ok() && raw.until_close().ends_with(b"hello")
    });
}

#[test]
fn a_poll_that_comes_back_is_counted_once() {
    let origin = origin();
    let proxy = limited(&origin, "connections: 1", "");
    let mut raw = proxy.connect();
    for number in 0..3 {
        raw.send("GET /poll HTTP/1.1\r\nHost: a\r\n\r\n");
        proxy.wait_subscribers("news", 1);
        proxy.publish("news", &number.to_string());
        assert_eq!(raw.answer().status(), 200);
        // The next one shall not be taken for this one.
        proxy.wait_subscribers("news", 0);
    }
    assert_eq!(raw.get("/").text(), "hello");
    let mut second = proxy.connect();
    second.assert_closed();
}

#[test]
fn requests_that_come_too_fast_are_answered_429_with_the_time_to_wait() {
    let origin = origin();
    let proxy = limited(&origin, "requests: 2/h, burst: 3", "");
    let mut raw = proxy.connect();
    for _ in 0..3 {
        assert_eq!(raw.get("/").status(), 200);
    }
    let answer = raw.get("/");
    assert_eq!(answer.status(), 429);
    let wait: u64 = answer.head.get("retry-after").unwrap().parse().unwrap();
    assert!((1500..=1800).contains(&wait), "{wait}");
    assert_eq!(raw.get("/other").status(), 429, "the connection stays");
    assert_eq!(origin.received().len(), 3);
    assert_eq!(proxy.metric("perihelion_request_errors_total", &[("reason", "too_fast")]), 2.0);
}

#[test]
fn an_address_has_no_more_holds_than_it_may_and_is_told_when_to_come_again() {
    let origin = origin();
    let proxy = limited(&origin, "connections: 9, holds: 1", "trusted_proxies: 127.0.0.0/8\n");
    let hold = |client: &str| {
        let mut raw = proxy.connect();
        raw.send(format!("GET /hold HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {client}\r\n\r\n"));
        let head = raw.head();
        (head.status(), head.get("retry-after").is_some(), raw)
    };
    let (status, _, first) = hold("192.0.2.7");
    assert_eq!(status, 200);
    proxy.wait_subscribers("news", 1);
    let (status, told, _refused) = hold("192.0.2.7");
    assert_eq!((status, told), (503, true));
    assert_eq!(proxy.metric("perihelion_request_errors_total", &[("reason", "address_full")]), 1.0);
    let (status, _, _other) = hold("192.0.2.8");
    assert_eq!(status, 200);
    assert_eq!(proxy.connect().get("/").status(), 200, "whatever isn't held is served");
    drop(first);
    wait_until("the place is free", || hold("192.0.2.7").0 == 200);
}

fn ask(raw: &mut Raw, client: &str) -> u16 {
    raw.send(format!("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {client}\r\n\r\n"));
    raw.answer().status()
}

#[test]
fn behind_a_trusted_proxy_each_client_is_counted_for_itself_and_a_network_as_one() {
    let origin = origin();
    let more = "trusted_proxies: 127.0.0.0/8\n";
    let proxy = limited(&origin, "connections: 1, requests: 1/h, except: [203.0.113.0/24]", more);
    let (mut raw, mut other) = (proxy.connect(), proxy.connect());
    assert_eq!([ask(&mut raw, "192.0.2.7"), ask(&mut other, "192.0.2.7")], [200, 429]);
    assert_eq!(ask(&mut raw, "192.0.2.8"), 200);
    assert_eq!([ask(&mut raw, "2001:db8::1"), ask(&mut raw, "2001:db8::2")], [200, 429]);
    assert_eq!(ask(&mut raw, "2001:db8:0:1::1"), 200);
    assert_eq!([(); 3].map(|()| ask(&mut raw, "203.0.113.7")), [200; 3]);
    assert_eq!([(); 3].map(|()| raw.get("/").status()), [200; 3], "a proxy that speaks for itself");
}

#[test]
fn limits_of_an_address_change_by_a_reload() {
    let origin = origin();
    let proxy = limited(&origin, "requests: 1/h", "");
    let mut raw = proxy.connect();
    assert_eq!([raw.get("/").status(), raw.get("/").status()], [200, 429]);
    let text = format!("listen: $HTTP\nupstream: {}\ncontrol: $CONTROL\n", origin.url());
    assert_eq!(proxy.reload(&text).status(), 200);
    assert_eq!(raw.get("/").status(), 200);
}

#[test]
fn a_channel_over_its_quota_refuses_publishers_and_subscribers_by_name_of_the_quota() {
    let origin = origin();
    let rule = "{ match: n*, limits: { subscribers: 1, message: 5B, history_bytes: 2KiB, channels: 1 } }";
    let proxy = Perihelion::before_with(&origin, &format!("channels: {{ rules: [{rule}] }}"));
    let (mut first, mut second) = (proxy.connect(), proxy.connect());
    first.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(first.head().status(), 200);
    proxy.wait_subscribers("news", 1);
    let refused = second.get("/hold");
    assert_eq!((refused.status(), refused.head.get("retry-after").is_some()), (503, true));
    proxy.wait_metric("perihelion_request_errors_total", &[("reason", "channel_full")], 1.0);
    let status = |channel: &str, data: &str| {
        let answer = proxy.control("POST", &format!("/channels/{channel}"), data);
        (answer.status(), answer.json()["error"].as_str().map(str::to_owned))
    };
    assert_eq!(status("news", "123456"), (413, Some("a message of this channel has at most 5 bytes".into())));
    assert_eq!(status("new", "1"), (503, Some("all 1 channels of \"n*\" are in use".into())));
    let full = (0..10).map(|_| status("news", "12345")).find(|(status, _)| *status != 200);
    let error = "the channels of \"n*\" may keep 2048 bytes of messages";
    assert_eq!(full, Some((507, Some(error.into()))));
    assert_eq!(status("other", "123456").0, 200);
    for (quota, count) in [("subscribers", 1.0), ("message", 1.0), ("channels", 1.0), ("history_bytes", 1.0)]
    {
        proxy.wait_metric("perihelion_comet_quota_refusals_total", &[("quota", quota)], count);
    }
}
