//! Channels, one total order over all of them, and the step in which a message is numbered, kept and handed out.
//!
//! Invariants:
//! * Numbering, keeping and marking a channel as new for each tap that reads it are one step under one lock;
//!   so is joining: registering a reader and reading what it missed. Nothing falls between, nothing comes twice.
//! * When [`Hub::head`] shows a place, everything up to it is in the channels' windows.
//! * A reader costs a count. Where it stands is its own knowledge: one place in the order serves all its channels.
//! * Where there is a store, nothing is handed out before it is kept there ([`Committer`]); without one, the same steps
//!   are taken at once. A log that several nodes share numbers by itself: the hub applies what comes through it, and
//!   nothing else ([`Follower`]).
//! * What can't be proven to be complete is answered with a [`Gap`], however long ago the channel was used.
//!
//! What a channel keeps: messages inside the history (count and age), and the newest
//! [`HubSettings::window_messages`] of the last [`WINDOW_AGE`], readers or not, so that nothing is lost while an
//! application renders or between two polls; the newest of each key, where readers keep up by that ([`Slow::Newest`]);
//! and whatever a tap has not taken yet. All channels together keep [`HubSettings::history_bytes`] and what the newest
//! publish brought.
//!
//! The room knows no HTTP, no sockets and no threads: whoever reads is woken through a closure.

mod channel;
mod committer;
mod cursor;
mod directory;
mod draft;
mod kept;
mod keyed;
mod line;
mod outcome;
mod overheard;
mod policy;
mod presence;
mod publisher_ids;
mod quotas;
mod reading;
mod refused;
mod restore;
mod shared;
mod sieve;
mod state;
mod tap;
mod tombstones;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use crate::message::{Batch, ChannelName, Entry, Epoch, Gap, Position, Sequence, Start};
use crate::metrics::Metrics;
use crate::store::{Following, Recovered, Store, Word};

pub use committer::Committer;
use draft::Draft;
use line::Line;
pub use outcome::Outcome;
pub use overheard::Hearsay;
pub use policy::{Pattern, Policies, Policy, Rule, Slow};
pub use presence::{Change, ChangeKind, Changes, Member, MemberPage, Presence, PresenceRule, Seat, Way};
pub use refused::Refused;
pub use shared::{Appender, Follower};
use state::{State, Wake};
pub use tap::{Joined, Missed, News, Tap, Turn};

/// Usual size of the window for readers that lag: a second of full socket at a thousand messages a second,
/// for 8 KiB of pointers a busy channel.
pub const WINDOW_MESSAGES: usize = 1024;

/// How long the window serves those who lag or are about to come back. Longer than an application takes to
/// render and a poll to return; a reader whose socket has been full for longer has gone.
pub const WINDOW_AGE: Duration = Duration::from_secs(60);

/// What the hub keeps, and how much of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubSettings {
    /// What holds for channels by their names.
    pub policies: Policies,
    /// Bytes of messages kept by all channels together. What one publish brings may exceed it until the next.
    pub history_bytes: usize,
    /// Channels that live at once. Those without readers and history make room for others.
    pub channels: usize,
    /// Messages that a channel keeps for readers that lag, even without history; see [`WINDOW_MESSAGES`].
    pub window_messages: usize,
    /// Publishers' ids remembered over all channels; the oldest are forgotten first.
    pub publisher_ids: usize,
}

/// The channels of one store and their order; shared by publishers and taps.
pub struct Hub {
    epoch: Epoch,
    /// Copy of the head inside `state`, stored under its lock, so that reading it needs none.
    head: AtomicU64,
    /// Whether a policy could refuse anything, so that nobody looks where none does.
    may_refuse: AtomicBool,
    state: Mutex<State>,
    /// Where publishers wait for the store; without one they don't.
    line: Option<Arc<Line>>,
}

/// A channel within the hub. Small, reused later: valid for a tap while the tap has a reader on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId(u32);

/// What became of one published message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Its position; for a repeated one that of the first.
    pub position: Position,
    /// Readers of the channel now.
    pub subscribers: usize,
    /// The channel has had a message with this publisher's id, so this one was not delivered.
    pub duplicate: bool,
}

/// A channel as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelFacts {
    /// Its name.
    pub name: ChannelName,
    /// Readers on all taps.
    pub subscribers: usize,
    /// Messages of its history.
    pub messages: usize,
    /// Position of the first of them.
    pub first: Option<Position>,
    /// Position of the last of them.
    pub last: Option<Position>,
}

/// Some channels in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// At most as many as were asked for; fewer does not mean that there are no more.
    pub channels: Vec<ChannelFacts>,
    /// Where the next page begins, if there is one.
    pub next: Option<ChannelName>,
}

/// A piece of a channel's history.
#[derive(Debug)]
pub struct History {
    /// The messages in order.
    pub entries: Vec<Arc<Entry>>,
    /// What can't be given before them.
    pub gap: Option<Gap>,
    /// Whether there are messages after these.
    pub more: bool,
    /// From where to go on: that of the last message, or the hub's head where there are no more.
    pub position: Position,
}

impl Hub {
    /// An empty hub without a store, whose positions carry this epoch.
    pub fn new(epoch: Epoch, settings: HubSettings, metrics: Metrics) -> Arc<Hub> {
        Hub::with_state(State::new(epoch, settings, metrics), None)
    }

    /// A hub as its store has kept it, and what the store's thread does for it. Messages may wait for the store up to
    /// `waiting_bytes`. `now` and `at` are the same moment.
    pub fn with_store(
        store: Box<dyn Store>,
        recovered: Recovered,
        settings: HubSettings,
        waiting_bytes: usize,
        metrics: Metrics,
        now: Instant,
        at: SystemTime,
    ) -> (Arc<Hub>, Committer) {
        let line = Arc::new(Line::new(waiting_bytes));
        let state = State::restore(recovered, settings, metrics.clone(), now, at);
        let hub = Hub::with_state(state, Some(Arc::clone(&line)));
        (Arc::clone(&hub), Committer::new(hub, line, store, metrics))
    }

    /// A hub that follows a log which it shares with other nodes: what appends to it, and what applies it. `listen` is
    /// called with each word, outside of any lock, after everything that was published before it was handed out.
    pub fn following(
        log: Following,
        settings: HubSettings,
        waiting_bytes: usize,
        listen: Box<dyn Fn(Word) + Send>,
        metrics: Metrics,
        now: Instant,
        at: SystemTime,
    ) -> (Arc<Hub>, Appender, Follower) {
        let line = Arc::new(Line::new(waiting_bytes));
        let Following { appends, follows, recovered, mark } = log;
        let mut state = State::restore(recovered, settings, metrics.clone(), now, at);
        state.is_shared = true;
        let hub = Hub::with_state(state, Some(Arc::clone(&line)));
        let (appender, follower) = shared::pair(&hub, line, appends, (follows, mark), listen, metrics);
        (hub, appender, follower)
    }

    fn with_state(state: State, line: Option<Arc<Line>>) -> Arc<Hub> {
        let Position { epoch, sequence } = state.head();
        let may_refuse = AtomicBool::new(state.settings.policies.refuse());
        Arc::new(Hub { epoch, head: AtomicU64::new(sequence.0), may_refuse, state: Mutex::new(state), line })
    }

    /// Takes new settings. What exceeds them goes as channels are used or swept; history beyond them is not
    /// shown from now on.
    pub fn reconfigure(&self, settings: HubSettings) {
        self.may_refuse.store(settings.policies.refuse(), Ordering::Relaxed);
        self.state.lock().reconfigure(settings);
    }

    /// Whether a reader of these channels would be taken now; [`Tap::join`] asks again.
    ///
    /// # Errors
    /// What has no room for it.
    pub fn has_place<'n>(
        &self,
        names: impl Iterator<Item = &'n ChannelName> + Clone,
        now: Instant,
    ) -> Result<(), Refused> {
        match self.may_refuse.load(Ordering::Relaxed) {
            true => self.state.lock().has_place(names, now),
            false => Ok(()),
        }
    }

    /// The last position given; one atomic load.
    pub fn head(&self) -> Position {
        Position { epoch: self.epoch, sequence: Sequence(self.head.load(Ordering::Acquire)) }
    }

    /// Numbers, keeps and hands out all of the messages or none; receipts are in their order. Answered once they are as
    /// safe as the store makes them; whoever doesn't wait for it takes nothing back.
    pub fn publish(&self, batch: Batch, now: Instant) -> Outcome<Vec<Receipt>> {
        match &self.line {
            Some(line) => line.publish(batch),
            None => Outcome::Settled(self.publish_now(batch, now)),
        }
    }

    fn publish_now(&self, batch: Batch, now: Instant) -> Result<Vec<Receipt>, Refused> {
        let (receipts, wakes) = {
            let mut state = self.state.lock();
            let done = state.publish(batch, now)?;
            self.show_head(&state);
            done
        };
        wakes.iter().for_each(|wake| wake());
        Ok(receipts)
    }

    /// Hands out what the store has kept.
    fn apply(&self, draft: Draft, now: Instant) {
        let wakes: Vec<Wake> = {
            let mut state = self.state.lock();
            let wakes = state.apply(draft, now);
            self.show_head(&state);
            wakes
        };
        wakes.iter().for_each(|wake| wake());
    }

    fn show_head(&self, state: &State) {
        self.head.store(state.head().sequence.0, Ordering::Release);
    }

    /// A tap for one thread of readers. `wake` is called, outside of any lock, when there is something to take
    /// and nothing was there before.
    pub fn attach(self: &Arc<Self>, wake: Box<dyn Fn() + Send + Sync>) -> Tap {
        let id = self.state.lock().attach(wake.into());
        Tap::new(Arc::clone(self), id)
    }

    /// A channel that has readers or history.
    pub fn channel(&self, name: &ChannelName, now: Instant) -> Option<ChannelFacts> {
        self.state.lock().facts(name, now)
    }

    /// The id that a publisher of GRIP has given the last message of a channel that has readers; nothing where there is
    /// none, or where it isn't kept any more.
    pub fn last_id(&self, name: &ChannelName) -> Option<Box<str>> {
        self.state.lock().last_id(name, Sequence(u64::MAX))
    }

    /// Channels whose names come after `after`, in order, at most `limit`.
    pub fn channels(&self, after: Option<&ChannelName>, limit: usize, now: Instant) -> Page {
        self.state.lock().page(after, limit, now)
    }

    /// What a channel that has readers or history still keeps from `start` on, at most `limit` messages.
    pub fn history(&self, name: &ChannelName, start: Start, limit: usize, now: Instant) -> Option<History> {
        self.state.lock().history(name, start, limit, now)
    }

    /// Forgets a channel's history and its publishers' ids, and ends its readers: each tap that has some gets
    /// it in [`Turn::ended`], after what was published before. False where there was no such channel.
    pub fn delete(&self, name: &ChannelName, now: Instant) -> Outcome<bool> {
        match &self.line {
            Some(line) => line.delete(name.clone()),
            None => Outcome::Settled(Ok(self.delete_now(name, now))),
        }
    }

    fn delete_now(&self, name: &ChannelName, now: Instant) -> bool {
        let (existed, wakes) = self.state.lock().delete(name, now);
        wakes.iter().for_each(|wake| wake());
        existed
    }

    /// Drops what has become too old and the channels that nobody uses, a part of all channels each time; to be
    /// called about once a second. The lock is given up now and then.
    pub fn tick(&self, now: Instant) {
        let mut left = self.state.lock().slots_per_tick();
        while left > 0 {
            let slots = left.min(SLOTS_PER_LOCK);
            self.state.lock().sweep(slots, now);
            left -= slots;
        }
    }
}

/// Channels looked at before the lock is given up: some ten microseconds.
const SLOTS_PER_LOCK: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Data, Message};

    #[test]
    fn too_many_bytes_evict_the_oldest_of_all_channels_but_never_what_was_just_published() {
        let (hub, metrics) = hub(HubSettings { history_bytes: 2 * cost_bytes(), ..settings() });
        let mut tap = hub.attach(Box::new(|| {}));
        let now = Instant::now();
        let after = Start::After(hub.head());
        let (mut missed, mut gaps) = (Vec::new(), Vec::new());
        let joined = tap.join(&[(name("a"), after)], usize::MAX, now, &mut missed, &mut gaps).expect("room");
        publish(&hub, batch(&["a", "b", "a"])).expect("room");
        assert_eq!(metrics.comet_history_evicted.get(), 0);
        publish(&hub, batch(&["a"])).expect("room");
        assert_eq!(metrics.comet_history_evicted.get(), 2);
        assert_eq!(metrics.comet_history_bytes.get(), 2 * cost_bytes() as i64);
        assert_eq!((hub.channel(&name("b"), now), metrics.comet_channels.get()), (None, 1));

        let mut turn = Turn::default();
        tap.take(&mut turn, now);
        assert_eq!((turn.news[0].lost_upto, turn.entries.len()), (Some(Sequence(1)), 2));
        let reached =
            tap.missed(&joined.channels, Sequence(0), turn.head, usize::MAX, now, &mut missed, &mut gaps);
        assert_eq!((reached, missed.len()), (Missed { reached: turn.head, too_slow: true }, 2));
        assert_eq!((gaps[0].missing, gaps[0].before.sequence), (Some(1), Sequence(1)));
    }

    #[test]
    fn what_is_replayed_is_counted_by_whether_it_is_all_some_or_none() {
        let (hub, metrics) =
            hub(HubSettings { policies: Policy::keeping(2, None).into(), window_messages: 0, ..settings() });
        let mut tap = hub.attach(Box::new(|| {}));
        let now = Instant::now();
        let start = Start::After(hub.head());
        publish(&hub, batch(&["hit", "partial", "partial", "partial", "miss"])).expect("room");
        assert_eq!(settled(hub.delete(&name("miss"), now)), Ok(true));
        for channel in ["hit", "partial", "miss", "silent"] {
            tap.join(&[(name(channel), start)], usize::MAX, now, &mut Vec::new(), &mut Vec::new())
                .expect("room");
        }
        let counted =
            ["hit", "partial", "miss"].map(|result| metrics.comet_replays.with_label_values(&[result]).get());
        assert_eq!((counted, metrics.comet_replay_events.get()), ([1, 1, 1], 3));
        assert_eq!([metrics.comet_messages.get(), metrics.comet_publish_no_subscriber.get()], [5, 5]);
        assert_eq!([metrics.comet_subscriptions.get(), metrics.comet_channels.get()], [4, 4]);
        drop(tap);
        assert_eq!([metrics.comet_subscriptions.get(), metrics.comet_channels.get()], [0, 2]);
    }

    #[test]
    fn channels_that_only_serve_those_who_lag_make_room_for_others() {
        let (hub, _) =
            hub(HubSettings { policies: Policy::keeping(0, None).into(), channels: 1, ..settings() });
        let mut tap = hub.attach(Box::new(|| {}));
        let now = Instant::now();
        let start = Start::After(hub.head());
        publish(&hub, batch(&["a"])).expect("room");
        publish(&hub, batch(&["b"])).expect("nobody reads a, and it has no history");
        let (mut missed, mut gaps) = (Vec::new(), Vec::new());
        let joined = tap.join(&[(name("a"), start)], 0, now, &mut missed, &mut gaps).expect("the same of b");
        assert_eq!((missed.len(), gaps[0].missing), (0, Some(1)));
        assert_eq!(publish(&hub, batch(&["a", "b"])), Err(Refused::TooManyChannels { limit: 1 }));
        tap.leave(&joined.channels, now);
        assert!(publish(&hub, batch(&["b"])).is_ok());
    }

    fn settings() -> HubSettings {
        HubSettings {
            policies: Policy::keeping(100, None).into(),
            history_bytes: usize::MAX,
            channels: 100,
            window_messages: 100,
            publisher_ids: 100,
        }
    }

    fn hub(settings: HubSettings) -> (Arc<Hub>, Metrics) {
        let metrics = Metrics::new().expect("metrics register");
        (Hub::new(Epoch(1), settings, metrics.clone()), metrics)
    }

    fn publish(hub: &Hub, batch: Batch) -> Result<Vec<Receipt>, Refused> {
        settled(hub.publish(batch, Instant::now()))
    }

    fn settled<T>(outcome: Outcome<T>) -> Result<T, Refused> {
        let Outcome::Settled(result) = outcome else { panic!("there is no store to wait for") };
        result
    }

    fn name(channel: &str) -> ChannelName {
        ChannelName::parse(channel).expect("a name")
    }

    fn batch(channels: &[&str]) -> Batch {
        Batch { messages: channels.iter().map(|channel| message(channel)).collect(), expected: Vec::new() }
    }

    fn message(channel: &str) -> Message {
        let data = Data::Text("text".into());
        Message::new(name(channel), data)
    }

    fn cost_bytes() -> usize {
        let position = Position { epoch: Epoch(1), sequence: Sequence(1) };
        Entry::new(position, 1, Instant::now(), message("a")).cost_bytes()
    }
}
