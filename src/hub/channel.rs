//! One channel: the window of messages that it keeps, and how many readers each tap has on it.

use std::collections::{VecDeque, vec_deque};
use std::sync::Arc;
use std::time::Instant;

use crate::message::{ChannelName, Entry, Position, Sequence, Start};
use crate::store::Past;

use super::cursor::Begin;
use super::kept::Kept;
use super::{HubSettings, WINDOW_AGE};

/// Number of a tap.
pub(super) type TapId = usize;

/// A channel and its window. Entries leave the window at the front only.
pub(super) struct Channel {
    pub(super) name: ChannelName,
    window: VecDeque<Arc<Entry>>,
    past: Past,
    /// One for each tap that reads the channel; as many as there are shards at most.
    pub(super) taps: Vec<Reading>,
    /// Deleted: its name is free, and it stays only until its readers have left.
    pub(super) ended: bool,
}

/// The readers that one tap has on a channel.
pub(super) struct Reading {
    pub(super) tap: TapId,
    pub(super) readers: u32,
    /// The channel is in the tap's list of what is new.
    pub(super) dirty: bool,
    /// First message that the tap has not taken.
    pub(super) untaken: Option<Sequence>,
}

impl Channel {
    /// An empty channel with what is known of its past.
    pub(super) fn new(name: ChannelName, past: Past) -> Channel {
        Channel { name, window: VecDeque::new(), past, taps: Vec::new(), ended: false }
    }

    /// Place of the next message among those of this channel, from 1.
    pub(super) fn next_ordinal(&self) -> u64 {
        self.past.count + self.window.len() as u64 + 1
    }

    /// Keeps a message.
    pub(super) fn push(&mut self, entry: Arc<Entry>) {
        debug_assert!(entry.sequence() > self.last_sequence());
        self.window.push_back(entry);
    }

    /// Place of the last message, whether it is kept or not.
    fn last_sequence(&self) -> Sequence {
        self.window.back().map_or(self.past.dropped, |entry| entry.sequence())
    }

    /// Place of the last message, as long as it is known whether there was one.
    pub(super) fn last_known(&self) -> Option<Sequence> {
        let last = self.window.back().map(|entry| entry.sequence());
        last.or((self.past.count > 0).then_some(self.past.dropped))
    }

    /// What is known of the messages that it doesn't keep.
    pub(super) fn past(&self) -> &Past {
        &self.past
    }

    /// Messages kept after a place.
    pub(super) fn after(&self, sequence: Sequence) -> vec_deque::Iter<'_, Arc<Entry>> {
        let first = self.window.partition_point(|entry| entry.sequence() <= sequence);
        self.window.range(first..)
    }

    /// Where a reader begins, when nobody can have been shown anything after `shown`.
    pub(super) fn begin(&self, start: Start, shown: Position, settings: &HubSettings, now: Instant) -> Begin {
        match start {
            Start::Earliest => Begin { after: self.before_history(settings, now), hole: None },
            Start::After(position)
                if position.epoch == shown.epoch && position.sequence <= shown.sequence =>
            {
                self.past.resume(position)
            }
            Start::After(foreign) => self.past.restart(Some(foreign)),
            Start::Unknown => self.past.restart(None),
        }
    }

    /// The messages that are history by count and age.
    pub(super) fn history(&self, settings: &HubSettings, now: Instant) -> vec_deque::Iter<'_, Arc<Entry>> {
        let by_count = self.window.len() - self.window.len().min(settings.history_messages);
        let by_age = self.window.partition_point(|entry| is_too_old_for_history(entry, settings, now));
        self.window.range(by_count.max(by_age)..)
    }

    /// The place of the last message before the history.
    fn before_history(&self, settings: &HubSettings, now: Instant) -> Sequence {
        let outside = self.window.len() - self.history(settings, now).len();
        match outside.checked_sub(1) {
            Some(last) => self.window[last].sequence(),
            None => self.past.dropped,
        }
    }

    /// Readers on all taps; none on a deleted channel.
    pub(super) fn subscribers(&self) -> usize {
        if self.ended { 0 } else { self.taps.iter().map(|reading| reading.readers as usize).sum() }
    }

    /// Whether nobody could miss it.
    pub(super) fn is_unused(&self) -> bool {
        self.taps.is_empty() && self.window.is_empty()
    }

    /// What one tap has on it.
    pub(super) fn reading(&mut self, tap: TapId) -> Option<&mut Reading> {
        self.taps.iter_mut().find(|reading| reading.tap == tap)
    }

    /// One more reader.
    pub(super) fn add_reader(&mut self, tap: TapId) {
        match self.reading(tap) {
            Some(reading) => reading.readers += 1,
            None => self.taps.push(Reading { tap, readers: 1, dirty: false, untaken: None }),
        }
    }

    /// One reader less; with the last one the tap forgets the channel.
    pub(super) fn remove_reader(&mut self, tap: TapId) {
        let Some(index) = self.taps.iter().position(|reading| reading.tap == tap) else {
            debug_assert!(false, "a reader left a channel that its tap does not read");
            return;
        };
        self.taps[index].readers -= 1;
        if self.taps[index].readers == 0 {
            self.taps.swap_remove(index);
        }
    }

    /// Takes all readers of a tap off.
    pub(super) fn remove_tap(&mut self, tap: TapId) -> Option<Reading> {
        let index = self.taps.iter().position(|reading| reading.tap == tap)?;
        Some(self.taps.swap_remove(index))
    }

    /// Drops the messages that neither the settings nor a tap want kept.
    pub(super) fn trim(&mut self, settings: &HubSettings, now: Instant, kept: &mut Kept) {
        let untaken = self.taps.iter().filter_map(|reading| reading.untaken).min();
        while let Some(front) = self.window.front() {
            let pinned = untaken.is_some_and(|first| front.sequence() >= first);
            if pinned || (!self.ended && is_wanted(front, self.window.len(), settings, now)) {
                break;
            }
            self.drop_oldest(kept);
        }
        if self.window.capacity() > SPARE_CAPACITY_MAX && self.window.len() < self.window.capacity() / 4 {
            self.window.shrink_to(self.window.len() * 2);
        }
    }

    /// Drops the oldest message, wanted or not.
    pub(super) fn drop_oldest(&mut self, kept: &mut Kept) {
        if let Some(entry) = self.window.pop_front() {
            self.past.drop_one(entry.sequence());
            kept.remove(&entry);
        }
    }

    /// Drops everything.
    pub(super) fn drop_all(&mut self, kept: &mut Kept) {
        while !self.window.is_empty() {
            self.drop_oldest(kept);
        }
    }

    /// Place of the oldest message kept.
    pub(super) fn oldest(&self) -> Option<Sequence> {
        self.window.front().map(|entry| entry.sequence())
    }

    /// Its past once it keeps nothing, for a name that is given up while readers are still there.
    pub(super) fn past_without_window(&self) -> Past {
        let mut past = self.past;
        self.window.iter().for_each(|entry| past.drop_one(entry.sequence()));
        past
    }
}

/// Places that an emptied window may hold on to: half a kilobyte.
const SPARE_CAPACITY_MAX: usize = 64;

/// Whether the settings want the `nth` newest message.
fn is_wanted(entry: &Entry, nth: usize, settings: &HubSettings, now: Instant) -> bool {
    let history = nth <= settings.history_messages && !is_too_old_for_history(entry, settings, now);
    history
        || (nth <= settings.window_messages && now.saturating_duration_since(entry.published) <= WINDOW_AGE)
}

fn is_too_old_for_history(entry: &Entry, settings: &HubSettings, now: Instant) -> bool {
    settings.history_age.is_some_and(|age| now.saturating_duration_since(entry.published) > age)
}
