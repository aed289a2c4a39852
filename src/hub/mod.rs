//! Channels, one total order over all of them, and the step in which a message is numbered, kept and handed out.
//!
//! Invariants:
//! * Numbering, keeping and marking a channel as new for each tap that reads it are one step under one lock;
//!   so is joining: registering a reader and reading what it missed. Nothing falls between, nothing comes twice.
//! * When [`Hub::head`] shows a place, everything up to it is in the channels' windows.
//! * A reader costs a count. Where it stands is its own knowledge: one place in the order serves all its channels.
//! * What can't be proven to be complete is answered with a [`Gap`], however long ago the channel was used.
//!
//! What a channel keeps: messages inside the history (count and age), and the newest
//! [`HubSettings::window_messages`] of the last [`WINDOW_AGE`], readers or not, so that nothing is lost while an
//! application renders or between two polls; and whatever a tap has not taken yet. All channels together keep
//! [`HubSettings::history_bytes`] and what the newest publish brought.
//!
//! The room knows no HTTP, no sockets and no threads: whoever reads is woken through a closure.

mod channel;
mod cursor;
mod directory;
mod kept;
mod publisher_ids;
mod reading;
mod state;
mod tap;
mod tombstones;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::message::{Batch, ChannelName, Entry, Epoch, Gap, Position, Sequence, Start};
use crate::metrics::Metrics;

use state::State;
pub use tap::{Joined, News, Tap, Turn};

/// Usual size of the window for readers that lag: a second of full socket at a thousand messages a second,
/// for 8 KiB of pointers a busy channel.
pub const WINDOW_MESSAGES: usize = 1024;

/// How long the window serves those who lag or are about to come back. Longer than an application takes to
/// render and a poll to return; a reader whose socket has been full for longer has gone.
pub const WINDOW_AGE: Duration = Duration::from_secs(60);

/// What the hub keeps, and how much of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubSettings {
    /// Messages of history for each channel; 0 keeps none.
    pub history_messages: usize,
    /// How long a message is history; `None` is for ever.
    pub history_age: Option<Duration>,
    /// Bytes of messages kept by all channels together. What one publish brings may exceed it until the next.
    pub history_bytes: usize,
    /// Channels that live at once.
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
    state: Mutex<State>,
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

/// Why nothing was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A new channel would be one too many.
    #[error("all {limit} channels are in use")]
    TooManyChannels {
        /// [`HubSettings::channels`].
        limit: usize,
    },
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
    /// An empty hub whose positions carry this epoch.
    pub fn new(epoch: Epoch, settings: HubSettings, metrics: Metrics) -> Arc<Hub> {
        let state = Mutex::new(State::new(epoch, settings, metrics));
        Arc::new(Hub { epoch, head: AtomicU64::new(0), state })
    }

    /// Takes new settings. What exceeds them goes as channels are used or swept; history beyond them is not
    /// shown from now on.
    pub fn reconfigure(&self, settings: HubSettings) {
        self.state.lock().settings = settings;
    }

    /// The last position given; one atomic load.
    pub fn head(&self) -> Position {
        Position { epoch: self.epoch, sequence: Sequence(self.head.load(Ordering::Acquire)) }
    }

    /// Numbers, keeps and hands out all of the messages or none; receipts are in their order.
    pub fn publish(&self, batch: Batch, now: Instant) -> Result<Vec<Receipt>, Refused> {
        let (receipts, wakes) = {
            let mut state = self.state.lock();
            let done = state.publish(batch, now)?;
            self.head.store(state.head().sequence.0, Ordering::Release);
            done
        };
        wakes.iter().for_each(|wake| wake());
        Ok(receipts)
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
    pub fn delete(&self, name: &ChannelName, now: Instant) -> bool {
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
