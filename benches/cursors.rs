//! A million cursors in one process, without sockets: what the hub costs when readers come, when a message
//! reaches them, and when they leave.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use divan::Bencher;
use divan::counter::ItemsCount;
use perihelion::hub::{ChannelId, Hub, HubSettings, Outcome, Policy, Tap, Turn, WINDOW_MESSAGES};
use perihelion::message::{Batch, ChannelName, Data, Epoch, Message, Sequence, Start};
use perihelion::metrics::Metrics;

const READERS: usize = 1_000_000;
const CHANNELS: usize = 10_000;
const BATCH: usize = 100;

/// What a shard keeps of a reader: its channel and its place.
struct Cursor {
    channel: ChannelId,
    position: Sequence,
}

fn main() {
    divan::main();
}

/// A million readers come to ten thousand channels one by one, each from the head of that moment, and leave.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn join_and_leave(bencher: Bencher) {
    let (hub, mut tap) = hub();
    let names: Vec<ChannelName> = (0..CHANNELS).map(name).collect();
    let now = Instant::now();
    bencher.counter(ItemsCount::new(READERS)).bench_local(|| {
        let cursors = join(&hub, &mut tap, &names, now);
        cursors.iter().for_each(|cursor| tap.leave(&[cursor.channel], now));
    });
}

/// A publish to a channel with a million readers, taken by their tap: what the hub does of it.
#[divan::bench(sample_count = 1000)]
fn publish_and_take_for_a_million(bencher: Bencher) {
    let (hub, mut tap) = hub();
    let now = Instant::now();
    let _cursors = join(&hub, &mut tap, &[name(0)], now);
    let mut turn = Turn::default();
    bencher.with_inputs(|| batch(1, 1)).bench_local_values(|batch| {
        publish(&hub, batch, now);
        tap.take(&mut turn, now);
    });
}

/// The same, and each of the million cursors moved on over the new entries.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn publish_and_move_a_million_cursors(bencher: Bencher) {
    let (hub, mut tap) = hub();
    let now = Instant::now();
    let mut cursors = join(&hub, &mut tap, &[name(0)], now);
    let mut turn = Turn::default();
    bencher.counter(ItemsCount::new(READERS)).with_inputs(|| batch(1, 1)).bench_local_values(|batch| {
        publish(&hub, batch, now);
        tap.take(&mut turn, now);
        let moved: usize = turn.news.iter().map(|news| deliver(&mut cursors, news.channel, &turn)).sum();
        assert_eq!(moved, READERS);
    });
}

/// Batches of a hundred, taken after each, over as many channels as the argument says.
#[divan::bench(args = [1, 100])]
fn publish_batches(bencher: Bencher, channels: usize) {
    let (hub, mut tap) = hub();
    let names: Vec<ChannelName> = (0..channels).map(name).collect();
    let now = Instant::now();
    let _cursors = join(&hub, &mut tap, &names, now);
    let mut turn = Turn::default();
    bencher.counter(ItemsCount::new(BATCH)).with_inputs(|| batch(BATCH, channels)).bench_local_values(
        |batch| {
            publish(&hub, batch, now);
            tap.take(&mut turn, now);
        },
    );
}

fn hub() -> (Arc<Hub>, Tap) {
    let settings = HubSettings {
        policies: Policy::keeping(100, None).into(),
        history_bytes: 256 << 20,
        channels: CHANNELS,
        window_messages: WINDOW_MESSAGES,
        publisher_ids: 65_536,
    };
    let hub = Hub::new(Epoch(1), settings, Metrics::new().expect("metrics register"));
    let tap = hub.attach(Box::new(|| {}));
    (hub, tap)
}

fn publish(hub: &Hub, batch: Batch, now: Instant) {
    let Outcome::Settled(receipts) = black_box(hub.publish(batch, now)) else { panic!("there is no store") };
    receipts.expect("the channels are there");
}

fn join(hub: &Hub, tap: &mut Tap, names: &[ChannelName], now: Instant) -> Vec<Cursor> {
    let (mut backlog, mut gaps) = (Vec::new(), Vec::new());
    let cursors = (0..READERS).map(|reader| {
        let wish = (names[reader % names.len()].clone(), Start::After(hub.head()));
        let joined = tap.join(&[wish], usize::MAX, now, &mut backlog, &mut gaps).expect("there is room");
        Cursor { channel: joined.channels[0], position: joined.position }
    });
    cursors.collect()
}

fn deliver(cursors: &mut [Cursor], channel: ChannelId, turn: &Turn) -> usize {
    let mut moved = 0;
    for cursor in cursors.iter_mut().filter(|cursor| cursor.channel == channel) {
        moved += turn.entries.iter().filter(|entry| entry.sequence() > cursor.position).count();
        cursor.position = turn.head;
    }
    moved
}

fn batch(messages: usize, channels: usize) -> Batch {
    let message = |number: usize| {
        Message::new(
            name(number % channels),
            Data::Text("a message of some forty bytes, all the same".into()),
        )
    };
    Batch { messages: (0..messages).map(message).collect(), expected: Vec::new() }
}

fn name(channel: usize) -> ChannelName {
    ChannelName::parse(&format!("channel-{channel}")).expect("a name")
}
