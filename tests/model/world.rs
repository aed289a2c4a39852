//! A hub, taps with simulated readers, and the oracle, driven step by step.

use std::iter::zip;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use perihelion::hub::{
    ChannelId, Committer, Hub, HubSettings, Missed, News, Outcome, Policy, Receipt, Refused, Tap, Turn,
};
use perihelion::message::{Batch, ChannelName, Data, Entry, Epoch, Gap, Message, Position, Sequence, Start};
use perihelion::metrics::Metrics;
use perihelion::store::{Disk, DiskSettings};

use crate::disk::{End, Fault, SimulatedDisk};
use crate::oracle::Oracle;
use crate::program::{CHANNELS, Shape, Step, TAPS, Wish};

const EPOCH: Epoch = Epoch(0xe);

pub(crate) struct World {
    shape: Shape,
    hub: Arc<Hub>,
    metrics: Metrics,
    oracle: Oracle,
    began: Instant,
    now: Instant,
    disk: SimulatedDisk,
    committer: Option<Committer>,
    taps: Vec<SimulatedTap>,
    readers: Vec<Reader>,
}

struct SimulatedTap {
    tap: Tap,
    turn: Turn,
    /// The head of the last turn.
    head: Sequence,
    wakes: Arc<AtomicU64>,
    /// The wakes that have been heeded.
    heeded: u64,
}

/// A held connection.
struct Reader {
    tap: usize,
    ids: Vec<ChannelId>,
    follows: Vec<Follow>,
    position: u64,
    /// The head when it joined.
    joined: u64,
    /// Turns pass it by until it has caught up.
    behind: bool,
}

/// How far a reader has been served in one channel: all before `upto` was delivered or told to be missing.
struct Follow {
    channel: usize,
    life: usize,
    upto: u64,
}

impl World {
    pub(crate) fn new(shape: Shape) -> World {
        let (disk, now) = (SimulatedDisk::default(), Instant::now());
        let (hub, committer, metrics) = open(shape, &disk, now, now);
        let taps = (0..TAPS).map(|_| SimulatedTap::new(&hub)).collect();
        let oracle = Oracle::new(shape);
        World { shape, hub, metrics, oracle, began: now, now, disk, committer, taps, readers: Vec::new() }
    }

    pub(crate) fn step(&mut self, step: Step) {
        match step {
            Step::Publish(messages) => self.publish(&messages),
            Step::Join { tap, wishes, limit } => self.join(tap, &wishes, limit),
            Step::Take { tap } => self.take(tap),
            Step::Leave { reader } => self.with_reader(reader, World::leave),
            Step::Stall { reader } => {
                self.with_reader(reader, |world, reader| world.readers[reader].behind = true)
            }
            Step::CatchUp { reader, limit, to_turn } => {
                self.with_reader(reader, |world, reader| world.catch_up(reader, limit, to_turn));
            }
            Step::Delete { channel } => self.delete(channel),
            Step::Advance { seconds } => self.now += Duration::from_secs(seconds),
            Step::Tick => {
                self.hub.tick(self.now);
                self.committer.iter_mut().for_each(Committer::tick);
            }
            Step::Inspect => self.inspect(),
            Step::Replace { tap } => {
                self.readers.retain(|reader| reader.tap != tap);
                self.taps[tap] = SimulatedTap::new(&self.hub);
            }
            Step::Crash { batch, fault, torn, end } if self.shape.store => {
                self.crash(&batch, Fault { at: self.disk.changes() + fault, count: 1000, torn }, end);
            }
            Step::Crash { .. } => {}
        }
    }

    /// Everyone catches up, so that nothing that was lost goes unnoticed; then everyone leaves, and nothing stays.
    pub(crate) fn finish(&mut self) {
        (0..TAPS).for_each(|tap| self.take(tap));
        (0..self.readers.len()).for_each(|reader| {
            while self.readers[reader].behind {
                self.catch_up(reader, 1, false);
            }
        });
        self.inspect();
        while !self.readers.is_empty() {
            self.leave(0);
        }
        assert_eq!(self.metrics.comet_subscriptions.get(), 0);
        if self.shape.history_seconds.is_some() || self.shape.history == 0 {
            self.now += Duration::from_secs(1000);
            self.hub.tick(self.now);
            assert_eq!(self.metrics.comet_channels.get(), 0, "an unused channel vanishes");
            assert_eq!(self.metrics.comet_history_events.get(), 0);
            assert_eq!(self.metrics.comet_history_bytes.get(), 0);
        }
    }

    fn with_reader(&mut self, number: usize, act: impl FnOnce(&mut World, usize)) {
        if !self.readers.is_empty() {
            let reader = number % self.readers.len();
            act(self, reader);
        }
    }

    fn publish(&mut self, messages: &[(usize, Option<u8>)]) {
        let channels = self.metrics.comet_channels.get();
        match self.try_publish(messages) {
            Ok(receipts) => self.acknowledged(messages, &receipts),
            Err(refused) => {
                assert!(matches!(refused, Refused::TooManyChannels { .. }), "{refused}");
                assert_eq!(
                    self.hub.head(),
                    position(self.oracle.head()),
                    "a refused batch publishes nothing"
                );
                self.inspect_refusal(channels);
            }
        }
    }

    fn try_publish(&mut self, messages: &[(usize, Option<u8>)]) -> Result<Vec<Receipt>, Refused> {
        let messages = messages.iter().map(|&(channel, id)| message(channel, id)).collect();
        let outcome = self.hub.publish(Batch { messages, expected: Vec::new() }, self.now);
        self.settled(outcome)
    }

    fn settled<T>(&mut self, outcome: Outcome<T>) -> Result<T, Refused> {
        match (outcome, &mut self.committer) {
            (Outcome::Settled(result), None) => result,
            (Outcome::Waiting(mut result), Some(committer)) => {
                assert!(committer.turn(self.now, at(self.began, self.now)));
                result.try_recv().expect("a turn answers what waited")
            }
            _ => panic!("who waits, waits for a store"),
        }
    }

    fn acknowledged(&mut self, messages: &[(usize, Option<u8>)], receipts: &[Receipt]) {
        assert_eq!(receipts.len(), messages.len());
        for (receipt, &(channel, id)) in zip(receipts, messages) {
            let expected = self.oracle.publish(channel, id, self.now);
            assert_eq!((receipt.position.sequence.0, receipt.duplicate), expected);
            assert_eq!(receipt.subscribers, self.subscribers(channel));
        }
        assert_eq!(self.hub.head(), position(self.oracle.head()));
    }

    fn crash(&mut self, batch: &[(usize, Option<u8>)], fault: Fault, end: End) {
        self.disk.break_at(Some(fault));
        let refused = match self.try_publish(batch) {
            Ok(receipts) => {
                self.acknowledged(batch, &receipts);
                false
            }
            Err(_) => true,
        };
        self.committer.iter_mut().for_each(Committer::tick);
        self.disk.end(end);
        self.taps.clear();
        (self.hub, self.committer, self.metrics) = open(self.shape, &self.disk, self.began, self.now);
        self.taps = (0..TAPS).map(|_| SimulatedTap::new(&self.hub)).collect();
        if refused && self.hub.head() != position(self.oracle.head()) {
            // It was on the disk whole when the process ended.
            for &(channel, id) in batch {
                self.oracle.publish(channel, id, self.now);
            }
        }
        assert_eq!(self.hub.head(), position(self.oracle.head()), "all of a batch or nothing");
        std::mem::take(&mut self.readers).into_iter().for_each(|reader| self.come_back(&reader));
    }

    /// A client with the position that it has processed.
    fn come_back(&mut self, reader: &Reader) {
        let start = Start::After(position(reader.position));
        let wishes: Vec<_> = reader.follows.iter().map(|follow| (name(follow.channel), start)).collect();
        let (mut backlog, mut gaps) = (Vec::new(), Vec::new());
        let tap = &mut self.taps[reader.tap].tap;
        let Ok(joined) = tap.join(&wishes, usize::MAX, self.now, &mut backlog, &mut gaps) else {
            assert!(self.shape.channels < CHANNELS, "there is room for every channel");
            return;
        };
        assert!(joined.complete);
        let follow = |follow: &Follow| Follow { life: self.oracle.lives[follow.channel], ..*follow };
        self.readers.push(Reader {
            tap: reader.tap,
            ids: joined.channels,
            follows: reader.follows.iter().map(follow).collect(),
            position: reader.position,
            joined: joined.head.0,
            behind: false,
        });
        self.deliver(self.readers.len() - 1, &backlog, &gaps, joined.position.0);
    }

    fn subscribers(&self, channel: usize) -> usize {
        let life = self.oracle.lives[channel];
        let follows = self.readers.iter().flat_map(|reader| &reader.follows);
        follows.filter(|follow| follow.channel == channel && follow.life == life).count()
    }

    fn join(&mut self, tap: usize, wishes: &[(usize, Wish)], limit: usize) {
        let wishes: Vec<(usize, Start)> =
            wishes.iter().map(|&(channel, wish)| (channel, self.start(wish))).collect();
        let named: Vec<_> = wishes.iter().map(|&(channel, start)| (name(channel), start)).collect();
        let (mut backlog, mut gaps) = (Vec::new(), Vec::new());
        let limit_bytes = limit * cost_bytes();
        let Ok(joined) = self.taps[tap].tap.join(&named, limit_bytes, self.now, &mut backlog, &mut gaps)
        else {
            assert!(self.shape.channels < CHANNELS, "there is room for every channel");
            return;
        };
        assert_eq!(joined.head.0, self.oracle.head());
        assert!(joined.position <= joined.head);
        assert_eq!(joined.complete, joined.position == joined.head);
        let mut reader = Reader {
            tap,
            ids: joined.channels.clone(),
            follows: Vec::new(),
            position: 0,
            joined: joined.head.0,
            behind: !joined.complete,
        };
        for &(channel, start) in &wishes {
            if reader.follows.iter().all(|follow| follow.channel != channel) {
                let first = backlog.iter().find(|entry| self.channel_of(entry) == channel);
                let first = first.map_or(joined.position.0, |entry| entry.sequence().0 - 1);
                let upto = self.begins(channel, start, first, &gaps);
                reader.follows.push(Follow { channel, life: self.oracle.lives[channel], upto });
            }
        }
        assert_eq!(reader.follows.len(), joined.channels.len());
        for (follow, &id) in zip(&reader.follows, &reader.ids) {
            assert_eq!(self.taps[tap].tap.name(id), name(follow.channel));
        }
        self.readers.push(reader);
        self.deliver(self.readers.len() - 1, &backlog, &gaps, joined.position.0);
    }

    fn start(&self, wish: Wish) -> Start {
        let head = self.oracle.head();
        match wish {
            Wish::Now => Start::After(position(head)),
            Wish::Earliest => Start::Earliest,
            Wish::Unknown => Start::Unknown,
            Wish::Past(number) => Start::After(position(number % (head + 1))),
            Wish::Future => Start::After(position(head + 1)),
            Wish::OtherEpoch => Start::After(Position { epoch: Epoch(1), sequence: Sequence(0) }),
        }
    }

    /// The place up to which a reader has no claim; before `first` where that is all that can be said.
    fn begins(&self, channel: usize, start: Start, first: u64, gaps: &[Gap]) -> u64 {
        match start {
            Start::After(after) if after.epoch == EPOCH && after.sequence.0 <= self.oracle.head() => {
                after.sequence.0
            }
            Start::Earliest if self.shape.evict_over.is_some() => first,
            Start::Earliest => {
                let earliest = self.oracle.history(channel, self.now).first().copied();
                earliest.map_or(self.oracle.head(), |sequence| sequence - 1)
            }
            Start::After(_) | Start::Unknown => {
                let told = gaps.iter().any(|gap| gap.channel == name(channel) && gap.missing.is_none());
                assert!(told, "nothing can be proven to someone from elsewhere");
                0
            }
        }
    }

    fn take(&mut self, tap: usize) {
        let SimulatedTap { tap: real, turn, head, wakes, heeded } = &mut self.taps[tap];
        real.take(turn, self.now);
        let called = wakes.load(Ordering::Relaxed);
        assert!(called <= *heeded + 1, "one wake from clean to dirty");
        assert!(
            called > *heeded || (turn.news.is_empty() && turn.ended.is_empty()),
            "no news without a wake"
        );
        *heeded = called;
        *head = turn.head;
        let turn = std::mem::take(turn);
        assert_eq!(turn.head.0, self.oracle.head());
        for reader in 0..self.readers.len() {
            if self.readers[reader].tap == tap && !self.readers[reader].behind {
                self.deliver_turn(reader, &turn);
            }
        }
        let mut index = 0;
        while let Some(reader) = self.readers.get(index) {
            let ended = reader.tap == tap && reader.ids.iter().any(|id| turn.ended.contains(id));
            if ended { self.leave(index) } else { index += 1 }
        }
        self.taps[tap].turn = turn;
    }

    fn deliver_turn(&mut self, reader: usize, turn: &Turn) {
        let Reader { ids, position, .. } = &self.readers[reader];
        let position = *position;
        let news: Vec<&News> = turn.news.iter().filter(|news| ids.contains(&news.channel)).collect();
        if news.iter().any(|news| news.lost_upto.is_some_and(|lost| lost.0 > position)) {
            assert!(self.shape.evict_over.is_some(), "what a tap has not taken is kept");
            self.readers[reader].behind = true;
            return self.catch_up(reader, 1000, true);
        }
        let mut entries: Vec<Arc<Entry>> = news.iter().flat_map(|news| turn.entries(news)).cloned().collect();
        entries.retain(|entry| entry.sequence().0 > position);
        entries.sort_by_key(|entry| entry.sequence());
        self.deliver(reader, &entries, &[], turn.head.0.max(position));
    }

    fn catch_up(&mut self, index: usize, limit: usize, to_turn: bool) {
        let Reader { tap, position, joined, .. } = self.readers[index];
        let turn_head = self.taps[tap].head;
        let upto = if to_turn { turn_head } else { self.hub.head().sequence };
        let (mut entries, mut gaps) = (Vec::new(), Vec::new());
        let Missed { reached, too_slow } = self.taps[tap].tap.missed(
            &self.readers[index].ids,
            Sequence(position),
            upto,
            limit * cost_bytes(),
            self.now,
            &mut entries,
            &mut gaps,
        );
        assert_eq!(too_slow, !gaps.is_empty(), "every channel closes who is too slow");
        assert!(upto.0 <= position || reached.0 > position, "it gets on");
        self.deliver(index, &entries, &gaps, reached.0);
        if reached >= turn_head && reached.0 >= joined {
            self.readers[index].behind = false;
        }
    }

    /// Gaps, then entries; afterwards everything up to `reached` must have been accounted for.
    fn deliver(&mut self, index: usize, entries: &[Arc<Entry>], gaps: &[Gap], reached: u64) {
        gaps.iter().for_each(|gap| self.tell(index, gap));
        let oracle = &self.oracle;
        let reader = &mut self.readers[index];
        assert!(entries.is_sorted_by_key(|entry| entry.sequence()));
        for entry in entries {
            let sequence = entry.sequence().0;
            assert_eq!(entry.message.channel, name(oracle.channel_of(sequence)), "nothing is invented");
            let channel = oracle.channel_of(sequence);
            let follow = reader
                .follows
                .iter_mut()
                .find(|follow| follow.channel == channel)
                .expect("a channel that was joined");
            let since = oracle.between(channel, follow.life, follow.upto, sequence);
            assert_eq!(since, [sequence], "nothing is left out and nothing comes twice");
            follow.upto = sequence;
            assert!(sequence <= reached);
        }
        for follow in &mut reader.follows {
            let lost = oracle.between(follow.channel, follow.life, follow.upto, reached);
            assert!(lost.is_empty(), "up to {reached} channel {} lacks {lost:?}", follow.channel);
            follow.upto = follow.upto.max(reached);
        }
        assert!(reached >= reader.position);
        reader.position = reached;
    }

    fn tell(&mut self, index: usize, gap: &Gap) {
        let follow = self.readers[index]
            .follows
            .iter_mut()
            .find(|follow| name(follow.channel) == gap.channel)
            .expect("a channel that was joined");
        let Follow { channel, life, upto } = *follow;
        assert_eq!(gap.before.epoch, EPOCH);
        let before = gap.before.sequence.0;
        let missing = self.oracle.between(channel, life, upto, before);
        for &sequence in &missing {
            assert!(self.oracle.may_be_gone(sequence, self.now), "{sequence} should still be kept");
        }
        let known = gap.after.filter(|after| after.epoch == EPOCH && after.sequence.0 < before);
        match known {
            Some(after) => {
                let (from, to) = (upto.min(after.sequence.0), upto.max(after.sequence.0));
                let between = self.oracle.between(channel, life, from, to);
                assert!(between.is_empty(), "the gap begins where the reader is");
                assert!(!missing.is_empty(), "no gap where nothing is missing");
                let is_first = self.oracle.between(channel, life, 0, upto).is_empty();
                assert_eq!(gap.missing, is_first.then_some(missing.len() as u64));
            }
            None => assert_eq!((gap.missing, upto), (None, 0)),
        }
        follow.upto = before;
    }

    fn leave(&mut self, index: usize) {
        let reader = self.readers.remove(index);
        self.taps[reader.tap].tap.leave(&reader.ids, self.now);
    }

    fn delete(&mut self, channel: usize) {
        let existed = self.hub.channel(&name(channel), self.now).is_some();
        let deleted = self.hub.delete(&name(channel), self.now);
        assert_eq!(self.settled(deleted), Ok(existed));
        self.oracle.delete(channel);
        assert_eq!(self.hub.channel(&name(channel), self.now), None);
    }

    fn inspect(&self) {
        let mut listed = Vec::new();
        let mut after = None;
        loop {
            let page = self.hub.channels(after.as_ref(), 1, self.now);
            listed.extend(page.channels);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert!(listed.is_sorted_by(|a, b| a.name < b.name));
        for channel in 0..CHANNELS {
            let facts = self.hub.channel(&name(channel), self.now);
            assert_eq!(listed.iter().find(|listed| listed.name == name(channel)), facts.as_ref());
            assert_eq!(facts.as_ref().map_or(0, |facts| facts.subscribers), self.subscribers(channel));
            if self.shape.evict_over.is_none() {
                let history = self.oracle.history(channel, self.now);
                assert_eq!(facts.as_ref().map_or(0, |facts| facts.messages), history.len());
                self.inspect_history(channel, &history);
            }
        }
    }

    fn inspect_refusal(&self, channels_before: i64) {
        assert!(self.shape.channels < CHANNELS, "there is room for every channel");
        assert!(
            self.metrics.comet_channels.get() <= channels_before,
            "what is refused leaves nothing behind"
        );
    }

    fn inspect_history(&self, channel: usize, expected: &[u64]) {
        let mut start = Start::Earliest;
        let mut read = Vec::new();
        while let Some(history) = self.hub.history(&name(channel), start, 2, self.now) {
            assert_eq!(history.gap, None);
            read.extend(history.entries.iter().map(|entry| entry.sequence().0));
            start = Start::After(history.position);
            if !history.more {
                break;
            }
        }
        assert_eq!(read, expected);
    }

    fn channel_of(&self, entry: &Entry) -> usize {
        self.oracle.channel_of(entry.sequence().0)
    }
}

impl SimulatedTap {
    fn new(hub: &Arc<Hub>) -> SimulatedTap {
        let wakes = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&wakes);
        let tap = hub.attach(Box::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
        }));
        SimulatedTap { tap, turn: Turn::default(), head: hub.head().sequence, wakes, heeded: 0 }
    }
}

/// A hub with what the disk has kept, if there is one.
fn open(
    shape: Shape,
    disk: &SimulatedDisk,
    began: Instant,
    now: Instant,
) -> (Arc<Hub>, Option<Committer>, Metrics) {
    let metrics = Metrics::new().expect("metrics register");
    let settings = HubSettings {
        policies: Policy::keeping(shape.history, shape.history_seconds.map(Duration::from_secs)).into(),
        history_bytes: shape.evict_over.map_or(usize::MAX, |messages| messages * cost_bytes()),
        channels: shape.channels,
        window_messages: shape.window,
        publisher_ids: 1000,
    };
    if !shape.store {
        return (Hub::new(EPOCH, settings, metrics.clone()), None, metrics);
    }
    let log = DiskSettings { sync_each: true, segment_bytes: SEGMENT_BYTES };
    let (store, recovered) = Disk::open(Box::new(disk.clone()), log, EPOCH, None).expect("no damage");
    let (store, at, own) = (Box::new(store), at(began, now), metrics.clone());
    let (hub, committer) = Hub::with_store(store, recovered, settings, usize::MAX, own, now, at);
    (hub, Some(committer), metrics)
}

/// Small, so that segments end, are looked at and leave.
const SEGMENT_BYTES: u64 = 300;

/// The same moment by the other clock.
fn at(began: Instant, now: Instant) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000) + (now - began)
}

fn name(channel: usize) -> ChannelName {
    ChannelName::parse(&format!("channel-{channel}")).expect("a name")
}

fn position(sequence: u64) -> Position {
    Position { epoch: EPOCH, sequence: Sequence(sequence) }
}

fn message(channel: usize, id: Option<u8>) -> Message {
    Message {
        id: id.map(|id| id.to_string().into()),
        ..Message::new(name(channel), Data::Text("text".into()))
    }
}

/// What one message costs, about.
fn cost_bytes() -> usize {
    Entry::new(position(1), 1, Instant::now(), message(0, None)).cost_bytes()
}
