//! The ways to Redis: by Sentinel or a list of addresses to the server that takes writes, with a password and with TLS.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{
    Certificate, EventSource, Folder, Origin, Perihelion, Redis, Reply, Sentinel, wait_until,
};

fn holding() -> Origin {
    Origin::replying(|request| Reply::hold(request.target().split_once('?').unwrap_or_default().1))
}

fn node(origin: &Origin, store: &str) -> Perihelion {
    Perihelion::before_with(origin, &format!("store: {store}"))
}

/// A fail-over takes some seconds.
const FAIL_OVER: Duration = Duration::from_secs(40);

/// Publishes until it is accepted, however long a fail-over takes.
fn insist(node: &Perihelion, data: &str) {
    let last = Instant::now() + FAIL_OVER;
    let headers = format!("X-Comet-Id: {data}\r\n");
    loop {
        let answer = node.control_with("POST", "/channels/news", &headers, data);
        if answer.status() == 200 {
            return;
        }
        assert_eq!(answer.status(), 503, "{}", answer.text());
        assert!(Instant::now() < last, "{data} is never accepted: {}", answer.text());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What was answered is with the replica, too: what wasn't may be lost at a fail-over.
fn wait_replicated(master: &Redis, replica: &Redis) {
    let place = |redis: &Redis| {
        redis::cmd("HGET").arg("{perihelion}:meta").arg("head").query::<String>(&mut redis.connection())
    };
    wait_until("it is replicated", || place(master).ok() == place(replica).ok());
}

#[test]
fn nodes_follow_sentinel_to_the_next_master_and_lose_nothing_that_it_has() {
    let (origin, mut master) = (holding(), Redis::start());
    let replica = Redis::replica_of(&master);
    let sentinel = Sentinel::watching(&master);
    let store =
        format!("{{ redis: 'redis://main', sentinels: ['redis://127.0.0.1:1', '{}'] }}", sentinel.url());
    let nodes = [node(&origin, &store), node(&origin, &store)];
    let first = nodes[0].publish("news", "first");
    let mut stream = EventSource::resume(nodes[1].http(), "/?news", &first);
    nodes[0].publish("news", "second");
    wait_replicated(&master, &replica);
    master.kill();
    insist(&nodes[0], "third");
    insist(&nodes[1], "fourth");
    assert_eq!(stream.data(3), ["second", "third", "fourth"], "the stream is the same, and has no gap");
    assert!(replica.info("replication").contains("role:master"));
    nodes.iter().for_each(|node| node.wait_metric("perihelion_store_connected", &[], 1.0));
}

#[test]
fn of_several_addresses_the_one_that_takes_writes_is_followed() {
    let (origin, first) = (holding(), Redis::start());
    let second = Redis::replica_of(&first);
    let store = format!("{{ redis: ['{}', '{}'] }}", second.url(), first.url());
    let nodes = [node(&origin, &store), node(&origin, &store)];
    let begin = nodes[0].publish("news", "first");
    let mut streams = nodes.each_ref().map(|node| EventSource::resume(node.http(), "/?news", &begin));
    nodes[1].publish("news", "second");
    wait_replicated(&first, &second);
    let become_replica_of = |redis: &Redis, words: [&str; 2]| {
        redis::cmd("REPLICAOF").arg(&words).exec(&mut redis.connection()).unwrap();
    };
    become_replica_of(&second, ["NO", "ONE"]);
    become_replica_of(&first, [&second.host().to_string(), "6379"]);
    nodes.iter().for_each(|node| insist(node, &format!("by {}", node.http())));
    for stream in &mut streams {
        assert_eq!(stream.next().data, "second");
        nodes.iter().for_each(|node| assert_eq!(stream.next().data, format!("by {}", node.http())));
    }
    let others = || {
        let list: String = redis::cmd("CLIENT")
            .arg("LIST")
            .arg("TYPE")
            .arg("NORMAL")
            .query(&mut first.connection())
            .unwrap();
        list.lines().filter(|line| !line.contains("cmd=client")).count()
    };
    wait_until("nobody is left at the replica", || others() == 0);
}

#[test]
fn a_password_and_certificates_are_needed_and_used() {
    let (origin, (redis, certificate)) = (holding(), Redis::with_tls("word-of-redis"));
    let folder = Folder::new();
    let (chain, key) = certificate.write(&folder, "own");
    let url = |password: &str| format!("rediss://:{password}@{}:6380", redis.host());
    let tls = |authority: &str| {
        let (chain, key) = (chain.display(), key.display());
        format!("tls: {{ authority: '{authority}', certificate: '{chain}', key: '{key}' }}")
    };
    let right = tls(&chain.display().to_string());
    let store = format!("{{ redis: '{}', {right} }}", url("word-of-redis"));
    let nodes = [node(&origin, &store), node(&origin, &store)];
    let first = nodes[0].publish("news", "first");
    nodes[1].publish("news", "second");
    assert_eq!(EventSource::resume(nodes[0].http(), "/?news", &first).next().data, "second");
    let plain = node(&origin, &format!("{{ redis: '{}' }}", redis.url()));
    assert_eq!(plain.control("GET", "/channels/news", "").json()["messages"], json!(2));

    let stranger = Certificate::for_names(&[&redis.host().to_string()]).write(&folder, "stranger").0;
    for (store, reason) in [
        (format!("{{ redis: '{}', {right} }}", url("another-word")), "authentication"),
        (format!("{{ redis: '{}', {} }}", url("word-of-redis"), tls(&stranger.display().to_string())), ""),
        (format!("{{ redis: '{}' }}", url("word-of-redis")), ""),
        (format!("{{ redis: 'redis://{}' }}", redis.host()), "NOAUTH"),
    ] {
        let file = format!("listen: 127.0.0.1:0\nupstream: http://127.0.0.1:1\nstore: {store}");
        let ended = plain.start_another(&file);
        assert_eq!(ended.code, Some(1), "{store}");
        assert!(ended.stderr.contains("the store in redis can't be used"), "{}", ended.stderr);
        assert!(ended.stderr.to_lowercase().contains(&reason.to_lowercase()), "{}", ended.stderr);
        assert!(!ended.stderr.contains("word-of-redis") && !ended.stderr.contains("another-word"));
    }
}
