//! A reader that does not read costs its place and nothing else: no memory, no delay for others, no silent loss.

use serde_json::Value;

use crate::support::{EventSource, Origin, Perihelion, Raw, Reply, wait_until};

const MEBIBYTE: usize = 1 << 20;
/// More than sockets on both sides and any window take.
const MESSAGES: usize = 1500;
const MESSAGE: usize = 64 * 1024;

fn origin() -> Origin {
    Origin::replying(|_| Reply::hold("news").with("X-Comet-Transport", "sse"))
}

/// A client whose own side takes as little as the system allows, and reads nothing behind the head.
fn reads_nothing(proxy: &Perihelion) -> Raw {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&proxy.http().into()).unwrap();
    let mut raw = Raw::from_tcp(socket.into());
    raw.send("GET / HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n");
    assert_eq!(raw.head().status(), 200);
    raw
}

/// Publishes more than a reader that sleeps can be given, while another one reads.
fn publish_much(proxy: &Perihelion, reader: &mut EventSource) {
    let filling = "x".repeat(MESSAGE - 10);
    for n in 0..MESSAGES {
        proxy.publish("news", &format!("{n:06} {filling}"));
        assert_eq!(&reader.next().data[..6], format!("{n:06}"));
    }
}

const SMALL: &str = "history: { messages: 10, age: 1s }";
/// Kept until a reader that has slept has taken what was on its way to it, through a window of 4 KB: minutes where the
/// machine is busy, and what is there for readers that lag is there for one.
const KEPT: &str = "history: { messages: 10, age: 20m }";
/// Longer than all that is published here takes.
const PATIENT: &str = "timeouts: { body: 20m }";

#[test]
fn a_reader_that_sleeps_is_closed_and_continues_from_its_position_without_silent_loss() {
    let origin = origin();
    let proxy = Perihelion::before_with(
        &origin,
        &format!("channels: {{ {SMALL}, slow: close }}\nlimits: {{ history_bytes: 8MiB }}\n{PATIENT}"),
    );
    let mut reader = EventSource::open(proxy.http(), "/");
    let mut sleeper = reads_nothing(&proxy);
    proxy.wait_subscribers("news", 2);
    let before = proxy.resident_bytes();
    publish_much(&proxy, &mut reader);
    let grown = proxy.resident_bytes().saturating_sub(before);
    assert!(grown < 64 * MEBIBYTE, "{grown} bytes more");
    proxy.wait_metric("perihelion_comet_slow_streams", &[], 1.0);
    // It wakes up, reads what was on its way, and is closed, since what comes next is gone.
    let said = String::from_utf8(sleeper.until_close()).unwrap();
    proxy.wait_metric("perihelion_comet_streams_closed_total", &[("reason", "slow")], 1.0);
    proxy.wait_subscribers("news", 1);
    let ids: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    let position = ids.last().map_or_else(|| proxy.publish("other", "x"), |id| id.to_string());
    let mut back = EventSource::resume(proxy.http(), "/", &position);
    let gap = back.next();
    assert_eq!(gap.event, "comet.gap");
    let said: Value = serde_json::from_str(&gap.data).unwrap();
    assert_eq!(said["after"], position);
}

#[test]
fn a_reader_that_sleeps_may_be_told_of_the_gap_instead() {
    let origin = origin();
    let proxy = Perihelion::before_with(
        &origin,
        &format!("channels: {{ {KEPT}, slow: skip }}\nlimits: {{ history_bytes: 8MiB }}\n{PATIENT}"),
    );
    let mut reader = EventSource::open(proxy.http(), "/");
    let mut sleeper = reads_nothing(&proxy);
    proxy.wait_subscribers("news", 2);
    publish_much(&proxy, &mut reader);
    proxy.wait_metric("perihelion_comet_slow_streams", &[], 1.0);
    // It wakes up: what was on its way, the gap, and then what is still there.
    let mut text = String::new();
    while !text.contains(&format!("{:06} ", MESSAGES - 1)) {
        text.push_str(std::str::from_utf8(&sleeper.chunk().unwrap()).unwrap());
    }
    assert_eq!(text.matches("event: comet.gap").count(), 1);
    let numbers = |text: &str| -> Vec<usize> {
        text.lines().filter_map(|line| line.strip_prefix("data: ")?.get(..6)?.parse().ok()).collect()
    };
    let (before, after) = text.split_once("event: comet.gap").unwrap();
    let (before, after) = (numbers(before), numbers(after));
    assert_eq!(before, (0..before.len()).collect::<Vec<_>>());
    assert_eq!(after, (MESSAGES - after.len()..MESSAGES).collect::<Vec<_>>());
    assert!(before.len() + after.len() < MESSAGES);
    proxy.wait_metric("perihelion_comet_gaps_total", &[("transport", "sse")], 1.0);
}

#[test]
fn a_hundred_sleepers_delay_nobody_and_are_let_go_though_they_never_read() {
    let origin = origin();
    let proxy = Perihelion::before_with(
        &origin,
        &format!("channels: {{ {SMALL} }}\nlimits: {{ history_bytes: 8MiB }}\ntimeouts: {{ body: 2s }}"),
    );
    let mut reader = EventSource::open(proxy.http(), "/");
    let sleepers: Vec<Raw> = (0..100).map(|_| reads_nothing(&proxy)).collect();
    proxy.wait_subscribers("news", 101);
    let before = proxy.resident_bytes();
    publish_much(&proxy, &mut reader);
    let grown = proxy.resident_bytes().saturating_sub(before);
    assert!(grown < 96 * MEBIBYTE, "{grown} bytes more");
    let closed = || proxy.metric("perihelion_comet_streams_closed_total", &[("reason", "slow")]);
    for count in (10..=100).step_by(10) {
        wait_until(&format!("{count} are let go"), || closed() >= f64::from(count));
    }
    drop(sleepers);
    proxy.publish("news", "and on");
    assert_eq!(reader.next().data, "and on");
}

/// The system counts, too, and says it by an error of whatever is done next with the socket.
#[test]
fn who_takes_nothing_is_slow_whoever_finds_it_out() {
    const COUNT: usize = 50;
    let origin = origin();
    let proxy = Perihelion::before_with(&origin, "timeouts: { body: 2s }");
    let _sleepers: Vec<Raw> = (0..COUNT).map(|_| reads_nothing(&proxy)).collect();
    proxy.wait_subscribers("news", COUNT as u64);
    // Their sockets have room for all of it.
    let filling = "x".repeat(500);
    wait_until("all are gone", || {
        (0..50).for_each(|_| drop(proxy.publish("news", &filling)));
        proxy.metric("perihelion_comet_streams", &[]) == 0.0
    });
    let slow = proxy.metric("perihelion_comet_streams_closed_total", &[("reason", "slow")]);
    assert_eq!(slow, COUNT as f64);
}

#[test]
fn a_reader_that_sleeps_gets_the_newest_of_each_key_and_stays() {
    let origin = origin();
    let rule = format!("channels: {{ rules: [{{ match: ne*, slow: newest, {KEPT} }}] }}");
    let more = format!("{rule}\nlimits: {{ history_bytes: 256MiB }}\n{PATIENT}");
    let proxy = Perihelion::before_with(&origin, &more);
    let mut sleeper = reads_nothing(&proxy);
    proxy.wait_subscribers("news", 1);
    let filling = "x".repeat(MESSAGE);
    proxy.publish_with("news", "X-Comet-Key: rare\r\n", "000000 rare");
    for n in 1..=MESSAGES {
        proxy.publish_with("news", "X-Comet-Key: busy\r\n", &format!("{n:06} {filling}"));
        if n == MESSAGES / 2 {
            proxy.wait_metric("perihelion_comet_slow_streams", &[], 1.0);
            proxy.publish_with("news", "X-Comet-Key: rare\r\n", "last rare");
        }
    }
    let mut text = String::new();
    while !text.contains(&format!("{MESSAGES:06} ")) {
        text.push_str(std::str::from_utf8(&sleeper.chunk().unwrap()).unwrap());
    }
    assert!(!text.contains("comet.gap"), "nothing is missing that was promised");
    let busy = text.lines().filter(|line| line.ends_with('x')).count();
    assert!(busy < MESSAGES / 2, "{busy} of {MESSAGES}");
    let (rare, last) = (text.find("last rare").unwrap(), text.find(&format!("{MESSAGES:06} ")).unwrap());
    assert!(rare < last, "in their order");
}
