//! Readers of a channel whose slow readers get the newest of each key, against a list of what was published.
//!
//! Whatever a reader skips, it is never left with an old value that it believes to be the last: the newest message of
//! each key arrives, and so does every message without a key, or a gap says that something is missing. What arrives is
//! in order and comes once, however often the reader's socket is full and however often it comes back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use perihelion::hub::{
    ChannelId, Hub, HubSettings, Missed, Outcome, Pattern, Policies, Policy, Rule, Slow, Tap, Turn,
    WINDOW_AGE,
};
use perihelion::message::{Batch, ChannelName, Data, Entry, Epoch, Gap, Message, Position, Sequence, Start};
use perihelion::metrics::Metrics;
use proptest::collection::vec;
use proptest::prelude::*;

const EPOCH: Epoch = Epoch(5);
const READERS: usize = 3;

#[derive(Debug, Clone, Copy)]
struct Shape {
    history: usize,
    window: usize,
    /// Messages that the channel's own bound suffices for.
    bytes: Option<usize>,
    /// Messages that all channels together may keep.
    evict_over: Option<usize>,
}

#[derive(Debug, Clone)]
enum Step {
    /// The key of each message; `None` for none.
    Publish(Vec<Option<u8>>),
    Take,
    Stall(usize),
    /// Its socket takes so many messages.
    CatchUp(usize, usize),
    /// It leaves, and comes back with its position.
    Return(usize),
    Advance(u64),
    Tick,
}

fn program() -> impl Strategy<Value = (Shape, Vec<Step>)> {
    let few = |most: usize| prop_oneof![3 => Just(None), 1 => (1..most).prop_map(Some)];
    let shape = (0usize..5, 0usize..5, few(6), few(8))
        .prop_map(|(history, window, bytes, evict_over)| Shape { history, window, bytes, evict_over });
    let key = prop_oneof![1 => Just(None), 6 => (0u8..4).prop_map(Some)];
    let step = prop_oneof![
        8 => vec(key, 1..5).prop_map(Step::Publish),
        5 => Just(Step::Take),
        3 => (0..READERS).prop_map(Step::Stall),
        4 => (0..READERS, 0usize..4).prop_map(|(reader, limit)| Step::CatchUp(reader, limit)),
        1 => (0..READERS).prop_map(Step::Return),
        1 => (1u64..50).prop_map(Step::Advance),
        1 => Just(Step::Tick),
    ];
    (shape, vec(step, 1..60))
}

struct World {
    shape: Shape,
    hub: Arc<Hub>,
    tap: Tap,
    turn: Turn,
    now: Instant,
    /// Key and time of each message; the first has the place 1.
    published: Vec<(Option<u8>, Instant)>,
    readers: Vec<Reader>,
}

struct Reader {
    channels: Vec<ChannelId>,
    position: u64,
    behind: bool,
    /// The last place that was delivered.
    last: u64,
}

impl World {
    fn new(shape: Shape) -> World {
        let rule = Rule {
            patterns: vec![Pattern::new("prices.*")],
            policy: Policy {
                slow: Slow::Newest,
                history_bytes: shape.bytes.map(|messages| messages * cost_bytes()),
                ..Policy::keeping(shape.history, Some(Duration::from_secs(30)))
            },
            channels: None,
            bytes: None,
        };
        let settings = HubSettings {
            policies: Policies::new(Policy::keeping(0, None), vec![rule]),
            history_bytes: shape.evict_over.map_or(usize::MAX, |messages| messages * cost_bytes()),
            channels: 10,
            window_messages: shape.window,
            publisher_ids: 10,
        };
        let hub = Hub::new(EPOCH, settings, Metrics::new().expect("metrics register"));
        let tap = hub.attach(Box::new(|| {}));
        let (turn, now, published) = (Turn::default(), Instant::now(), Vec::new());
        let mut world = World { shape, hub, tap, turn, now, published, readers: Vec::new() };
        (0..READERS).for_each(|_| world.join(0));
        world
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Publish(keys) => self.publish(&keys),
            Step::Take => self.take(),
            Step::Stall(reader) => self.readers[reader].behind = true,
            Step::CatchUp(reader, limit) => self.catch_up(reader, limit),
            Step::Return(reader) => self.come_back(reader),
            Step::Advance(seconds) => self.now += Duration::from_secs(seconds),
            Step::Tick => self.hub.tick(self.now),
        }
    }

    fn publish(&mut self, keys: &[Option<u8>]) {
        let messages = keys.iter().map(|&key| message(key)).collect();
        let batch = Batch { messages, expected: Vec::new() };
        let Outcome::Settled(published) = self.hub.publish(batch, self.now) else { panic!("no store") };
        published.expect("room");
        self.published.extend(keys.iter().map(|&key| (key, self.now)));
    }

    fn join(&mut self, position: u64) {
        let (mut entries, mut gaps) = (Vec::new(), Vec::new());
        let wish = (name(), Start::After(at(position)));
        let joined = self.tap.join(&[wish], usize::MAX, self.now, &mut entries, &mut gaps).expect("room");
        let reader = Reader { channels: joined.channels, position, behind: false, last: position };
        self.readers.push(reader);
        self.deliver(self.readers.len() - 1, &entries, &gaps, joined.position.0);
    }

    fn come_back(&mut self, index: usize) {
        let reader = self.readers.remove(index);
        self.tap.leave(&reader.channels, self.now);
        self.join(reader.position);
        let back = self.readers.pop().expect("it has just joined");
        self.readers.insert(index, back);
    }

    /// Whoever can be written gets everything that is new.
    fn take(&mut self) {
        let mut turn = std::mem::take(&mut self.turn);
        self.tap.take(&mut turn, self.now);
        for index in 0..self.readers.len() {
            let position = self.readers[index].position;
            let lost = turn.news.iter().any(|news| news.lost_upto.is_some_and(|lost| lost.0 > position));
            if self.readers[index].behind {
                continue;
            }
            if lost {
                self.catch_up(index, usize::MAX / cost_bytes());
                continue;
            }
            let mut entries = turn.entries.clone();
            entries.retain(|entry| entry.sequence().0 > position);
            self.deliver(index, &entries, &[], turn.head.0.max(position));
        }
        self.turn = turn;
    }

    fn catch_up(&mut self, index: usize, limit: usize) {
        let (mut entries, mut gaps) = (Vec::new(), Vec::new());
        let Reader { channels, position, .. } = &self.readers[index];
        let head = self.hub.head().sequence;
        let (after, limit) = (Sequence(*position), limit * cost_bytes());
        let Missed { reached, too_slow } =
            self.tap.missed(channels, after, head, limit, self.now, &mut entries, &mut gaps);
        assert!(!too_slow, "nobody is closed who is content with the newest");
        assert!(head == after || reached > after, "it gets on");
        self.deliver(index, &entries, &gaps, reached.0);
        self.readers[index].behind = reached < head;
    }

    /// Whatever was told and given: nothing that counts is left out up to `reached`.
    fn deliver(&mut self, index: usize, entries: &[Arc<Entry>], gaps: &[Gap], reached: u64) {
        let excused = gaps.iter().map(|gap| gap.before.sequence.0).max().unwrap_or_default();
        let head = self.published.len() as u64;
        let reader = &self.readers[index];
        for gap in gaps {
            assert_eq!((gap.after, gap.missing), (Some(at(reader.position)), None));
            assert!(self.may_lack_something(reader.position, excused), "no gap where nothing is missing");
        }
        let mut last = reader.last;
        for entry in entries {
            let place = entry.sequence().0;
            assert!(place > last, "in order, and nothing twice");
            assert!(place <= reached && place > reader.position);
            assert_eq!(entry.message.key, key(self.published[place as usize - 1].0));
            last = place;
        }
        for place in reader.position + 1..=reached {
            let is_given = entries.iter().any(|entry| entry.sequence().0 == place);
            let counts = !self.is_superseded(place, head) && place > excused;
            assert!(is_given || !counts, "{place} was left out up to {reached}, excused up to {excused}");
        }
        let reader = &mut self.readers[index];
        (reader.position, reader.last) = (reached, last);
    }

    fn is_superseded(&self, place: u64, head: u64) -> bool {
        let key = self.published[place as usize - 1].0;
        key.is_some() && (place..head).any(|later| self.published[later as usize].0 == key)
    }

    /// Whether a message that counted when it went may be gone: one without a key has left the window, one with a key
    /// has become too old, or there was no room.
    fn may_lack_something(&self, after: u64, upto: u64) -> bool {
        let tight = self.shape.bytes.is_some() || self.shape.evict_over.is_some();
        let aged = |published: Instant| self.now.saturating_duration_since(published) > WINDOW_AGE;
        tight
            || (after + 1..=upto).any(|place| {
                let (key, published) = self.published[place as usize - 1];
                key.is_none() || aged(published)
            })
    }
}

fn message(of: Option<u8>) -> Message {
    let data = Data::Text("1.0".into());
    Message { key: key(of), ..Message::new(name(), data) }
}

fn key(key: Option<u8>) -> Option<Box<str>> {
    key.map(|key| key.to_string().into())
}

fn name() -> ChannelName {
    ChannelName::parse("prices.all").expect("a name")
}

fn at(sequence: u64) -> Position {
    Position { epoch: EPOCH, sequence: Sequence(sequence) }
}

fn cost_bytes() -> usize {
    message(Some(0)).cost_bytes()
}

#[test]
fn the_newest_of_each_key_arrives_whatever_a_reader_skips() {
    crate::run(&program(), |(shape, steps)| {
        let mut world = World::new(shape);
        steps.into_iter().for_each(|step| world.step(step));
        for reader in 0..READERS {
            world.catch_up(reader, usize::MAX / cost_bytes());
            assert!(!world.readers[reader].behind);
        }
    });
}
