//! Crowds that come at once: let in at a rate, sent away with a moment of their own, told when to come back.

use crate::support::{EventSource, Origin, Perihelion, Reply};

fn holding() -> Origin {
    Origin::replying(|_| Reply::hold("news").with("X-Comet-Transport", "sse"))
}

#[test]
fn who_comes_faster_than_may_be_is_503_with_a_moment_of_his_own() {
    let origin = holding();
    let proxy = Perihelion::before_with(&origin, "limits: { new_holds: 2/m }");
    let mut first = EventSource::open(proxy.http(), "/");
    proxy.wait_subscribers("news", 1);
    let refused: Vec<_> = (0..3).map(|_| proxy.get("/")).collect();
    let seconds = |answer: &crate::support::Answer| answer.head.get("retry-after").unwrap().parse().unwrap();
    let waits: Vec<u64> = refused.iter().map(seconds).collect();
    assert!(refused.iter().all(|answer| answer.status() == 503));
    assert_eq!(waits, [30, 60, 60]);
    proxy.wait_metric("perihelion_request_errors_total", &[("reason", "holds_rush")], 3.0);
    proxy.wait_metric("perihelion_comet_takeovers_total", &[("result", "limit")], 3.0);
    proxy.publish("news", "nobody was evicted");
    assert_eq!(first.next().data, "nobody was evicted");
}

#[test]
fn streams_are_told_to_come_back_at_the_rate_that_is_wanted() {
    let origin = holding();
    let proxy = Perihelion::before_with(&origin, "channels: { returns: 1/s }");
    let mut clients: Vec<_> = (0..30).map(|_| EventSource::open(proxy.http(), "/")).collect();
    proxy.wait_subscribers("news", 30);
    proxy.publish("news", "1");
    let mut times = Vec::new();
    for (number, client) in (1..).zip(&mut clients) {
        client.next();
        let retry = client.retry.unwrap();
        assert!((1000..1000 + 1000 * number).contains(&retry), "{retry} among {number}");
        times.push(retry);
    }
    // Ten of thirty draws being the same would be a wonder.
    times.sort_unstable();
    times.dedup();
    assert!(times.len() > 20, "{times:?}");
}
