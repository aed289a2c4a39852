//! A store in a folder: what a restart keeps, what a publisher is told, and what ends the start.

use serde_json::json;

use crate::support::{EventSource, Origin, Perihelion, Reply, wait_until};

fn holding() -> Origin {
    Origin::replying(|request| Reply::hold(request.target().split_once('?').unwrap_or_default().1))
}

fn with_store(origin: &Origin) -> Perihelion {
    Perihelion::before_with(origin, "store: { path: $FOLDER/store }")
}

#[test]
fn a_killed_process_keeps_messages_positions_and_publishers_ids() {
    let origin = holding();
    let mut proxy = with_store(&origin);
    let first = proxy.publish("news", "first");
    let second = proxy.publish_with("news", "X-Comet-Id: 7\r\n", "second");
    proxy.publish("gone", "x");
    assert_eq!(proxy.control("DELETE", "/channels/gone", "").status(), 200);
    proxy.kill_and_start();
    assert_eq!(proxy.publish_with("news", "X-Comet-Id: 7\r\n", "again"), second, "it is known");
    assert_eq!(proxy.control("GET", "/channels/gone", "").status(), 404);
    let third = proxy.publish("news", "third");
    let mut stream = EventSource::resume(proxy.http(), "/?news", &first);
    let events = [stream.next(), stream.next()];
    assert_eq!(events.clone().map(|event| event.data), ["second", "third"]);
    assert_eq!(events.map(|event| event.id), [Some(second), Some(third)]);
}

#[test]
fn who_comes_back_after_a_restart_is_told_how_many_messages_are_gone() {
    let origin = holding();
    let more = "store: { path: $FOLDER/store }\nchannels: { history: 2 }";
    let mut proxy = Perihelion::before_with(&origin, more);
    let quiet = proxy.publish("quiet", "x");
    (1..=3).for_each(|n| drop(proxy.publish("news", &n.to_string())));
    assert_eq!(proxy.control("DELETE", "/channels/news", "").status(), 200);
    proxy.kill_and_start();
    let mut stream = EventSource::resume(proxy.http(), "/?news", &quiet);
    let gap = stream.next();
    assert_eq!(gap.event, "comet.gap");
    let told: serde_json::Value = serde_json::from_str(&gap.data).unwrap();
    assert_eq!((&told["channel"], &told["missing"]), (&json!("news"), &json!(3)));
    let mut stream = EventSource::resume(proxy.http(), "/?quiet", &quiet);
    proxy.wait_subscribers("quiet", 1);
    proxy.publish("quiet", "y");
    assert_eq!(stream.next().data, "y", "nothing of this channel is missing");
}

#[test]
fn a_publisher_may_say_which_message_it_believes_to_be_the_last() {
    for more in ["", "store: { path: $FOLDER/store }"] {
        let origin = holding();
        let proxy = Perihelion::before_with(&origin, more);
        let expect = |last: &str| {
            let header = format!("X-Comet-Expected-Last: {last}\r\n");
            proxy.control_with("POST", "/channels/news", &header, "x")
        };
        let first = expect("none");
        assert_eq!(first.status(), 200, "{}", first.text());
        let first = first.json()["id"].as_str().unwrap().to_string();
        let refused = expect("none");
        let error = "the channel's last message is another";
        assert_eq!((refused.status(), refused.json()), (409, json!({ "error": error, "last": first })));
        assert_eq!(expect(&first).status(), 200);
        assert_eq!(expect(&first).status(), 409);
        assert_eq!(expect("yesterday").status(), 400);

        let items = json!({ "items": [
            { "channel": "other", "data": "x" },
            { "channel": "news", "data": "x", "expected_last": first },
        ]});
        let refused = proxy.control("POST", "/publish", &items.to_string());
        assert_eq!((refused.status(), &refused.json()["item"]), (409, &json!(1)));
        assert_eq!(proxy.control("GET", "/channels/other", "").status(), 404, "all or nothing");
        proxy.wait_metric("perihelion_comet_publishes_total", &[("result", "conflict")], 3.0);
        proxy.wait_metric("perihelion_comet_messages_total", &[], 2.0);
    }
}

#[test]
fn a_second_process_and_a_damaged_file_end_the_start_with_the_reason() {
    let origin = holding();
    let mut proxy = with_store(&origin);
    (0..3).for_each(|n| drop(proxy.publish("news", &n.to_string())));
    let second = proxy
        .start_another("listen: 127.0.0.1:0\nupstream: http://127.0.0.1:1\nstore: { path: $FOLDER/store }");
    assert_eq!(second.code, Some(1));
    assert!(second.stderr.contains("is in use by another process"), "{}", second.stderr);

    proxy.signal("KILL");
    proxy.wait_exit();
    let file = proxy.place.folder.path().join("store/00000000000000000001.log");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let again = proxy
        .start_another("listen: 127.0.0.1:0\nupstream: http://127.0.0.1:1\nstore: { path: $FOLDER/store }");
    assert_eq!(again.code, Some(1));
    let reason = "the store's file 00000000000000000001.log is damaged at byte";
    assert!(again.stderr.contains(reason), "{}", again.stderr);
}

#[test]
fn with_an_interval_an_answer_waits_for_no_sync_and_a_stop_syncs() {
    let origin = holding();
    let more =
        "store: { path: $FOLDER/store, sync: interval, interval: 1h }\ndrain: { timeout: 1s, spread: 0s }";
    let mut proxy = Perihelion::before_with(&origin, more);
    let position = proxy.publish("news", "kept");
    let identity = proxy.place.folder.path().join("store/identity");
    assert!(!std::fs::read_to_string(&identity).unwrap().contains("boot none"));
    proxy.kill_and_start();
    assert_eq!(proxy.control("GET", "/channels/news", "").json()["last"], json!(position));
    proxy.signal("TERM");
    assert!(proxy.wait_exit().success());
    wait_until("what could be lost is safe", || {
        std::fs::read_to_string(&identity).unwrap().contains("boot none")
    });
}
