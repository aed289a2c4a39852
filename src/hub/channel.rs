//! One channel: the window of messages that it keeps, and how many readers each tap has on it.

use std::collections::{VecDeque, btree_map, vec_deque};
use std::sync::Arc;
use std::time::Instant;

use crate::message::{ChannelName, Entry, Position, Sequence, Start};
use crate::store::Past;

use super::cursor::{Begin, Hole};
use super::kept::Kept;
use super::keyed::{Keyed, Leaving};
use super::policy::{Policies, Policy, RuleId, Slow};
use super::{HubSettings, WINDOW_AGE};

/// Number of a tap.
pub(super) type TapId = usize;

/// A channel and its window. Entries leave the window at the front only.
pub(super) struct Channel {
    pub(super) name: ChannelName,
    rule: RuleId,
    window: VecDeque<Arc<Entry>>,
    /// What has left the window.
    past: Past,
    /// Where who is behind gets the newest of each key.
    keyed: Option<Box<Keyed>>,
    /// Of all messages that are kept.
    bytes: usize,
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
    pub(super) fn new(name: ChannelName, past: Past, policies: &Policies) -> Channel {
        let (window, taps, bytes) = (VecDeque::new(), Vec::new(), 0);
        let rule = policies.rule_of(&name);
        let mut channel = Channel { name, rule, window, past, keyed: None, bytes, taps, ended: false };
        channel.look_for_keys(policies.policy(rule).slow);
        channel
    }

    /// The rule that its name fits.
    pub(super) fn rule(&self) -> RuleId {
        self.rule
    }

    /// Bytes of all messages that it keeps.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Other policies hold from now on. Whoever counts for rules begins anew.
    pub(super) fn set_policies(&mut self, policies: &Policies, kept: &mut Kept) {
        self.rule = policies.rule_of(&self.name);
        if self.keyed.is_some() && policies.policy(self.rule).slow != Slow::Newest {
            while let Some(entry) = self.keyed.as_mut().and_then(|keyed| keyed.drop_oldest()) {
                self.let_go(&entry, kept);
            }
            self.keyed = None;
        }
        self.look_for_keys(policies.policy(self.rule).slow);
    }

    fn look_for_keys(&mut self, slow: Slow) {
        if slow == Slow::Newest && self.keyed.is_none() {
            let mut keyed = Keyed::new(self.past.dropped);
            for entry in &self.window {
                keyed.push(entry);
            }
            self.keyed = Some(Box::new(keyed));
        }
    }

    /// Place of the next message among those of this channel, from 1.
    pub(super) fn next_ordinal(&self) -> u64 {
        self.past.count + self.window.len() as u64 + 1
    }

    /// Keeps a message.
    pub(super) fn push(&mut self, entry: Arc<Entry>, kept: &mut Kept) {
        debug_assert!(entry.sequence() > self.last_sequence());
        self.bytes += entry.cost_bytes();
        let superseded = self.keyed.as_mut().and_then(|keyed| keyed.push(&entry));
        if let Some(superseded) = superseded {
            self.let_go(&superseded, kept);
        }
        self.window.push_back(entry);
    }

    fn let_go(&mut self, entry: &Entry, kept: &mut Kept) {
        self.bytes -= entry.cost_bytes();
        kept.remove(entry, self.rule);
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

    /// The last message, as long as it is kept.
    pub(super) fn newest(&self) -> Option<&Arc<Entry>> {
        self.window.back()
    }

    /// What is known of the messages that it doesn't keep.
    pub(super) fn past(&self) -> &Past {
        &self.past
    }

    /// Messages in the window after a place.
    pub(super) fn after(&self, sequence: Sequence) -> vec_deque::Iter<'_, Arc<Entry>> {
        let first = self.window.partition_point(|entry| entry.sequence() <= sequence);
        self.window.range(first..)
    }

    /// What a reader is given that is behind.
    pub(super) fn source(&self, begin: &Begin) -> Source<'_> {
        let after = begin.given_after;
        let keyed = self.keyed.as_deref().map(|keyed| (keyed, keyed.after(after)));
        Source { keyed, window: self.after(after) }
    }

    /// Where a reader begins, when nobody can have been shown anything after `shown`.
    pub(super) fn begin(&self, start: Start, shown: Position, settings: &HubSettings, now: Instant) -> Begin {
        match start {
            Start::Earliest => self.earliest(settings, now),
            Start::After(position)
                if position.epoch == shown.epoch && position.sequence <= shown.sequence =>
            {
                self.resume(position)
            }
            Start::After(foreign) => self.restart(Some(foreign)),
            Start::Unknown => self.restart(None),
        }
    }

    /// Where a reader begins that has everything up to a position of this store.
    pub(super) fn resume(&self, after: Position) -> Begin {
        match &self.keyed {
            None => self.past.resume(after),
            Some(keyed) if keyed.lost() <= after.sequence => Begin::after(after.sequence),
            Some(keyed) => {
                let hole = Some(Hole { missing: None, after: Some(after) });
                Begin { after: keyed.lost(), given_after: after.sequence, hole }
            }
        }
    }

    fn restart(&self, after: Option<Position>) -> Begin {
        let begin = self.past.restart(after);
        match &self.keyed {
            None => begin,
            Some(keyed) => Begin { after: keyed.lost(), given_after: Sequence(0), ..begin },
        }
    }

    /// With the history; where there are keys, with the newest message of each that is still kept.
    fn earliest(&self, settings: &HubSettings, now: Instant) -> Begin {
        match &self.keyed {
            Some(keyed) if settings.policies.policy(self.rule).history_messages > 0 => {
                Begin { given_after: Sequence(0), ..Begin::after(keyed.lost()) }
            }
            _ => Begin::after(self.before_history(settings, now)),
        }
    }

    /// The messages that are history by count and age.
    pub(super) fn history(&self, settings: &HubSettings, now: Instant) -> vec_deque::Iter<'_, Arc<Entry>> {
        let policy = settings.policies.policy(self.rule);
        let by_count = self.window.len() - self.window.len().min(policy.history_messages);
        let by_age = self.window.partition_point(|entry| is_too_old_for_history(entry, policy, now));
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
        self.taps.is_empty() && self.window.is_empty() && self.bytes == 0
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
        let policy = settings.policies.policy(self.rule);
        let untaken = self.taps.iter().filter_map(|reading| reading.untaken).min();
        self.trim_stragglers(policy, now, kept);
        while let Some(front) = self.window.front() {
            let pinned = untaken.is_some_and(|first| front.sequence() >= first);
            let is_wanted = !self.ended && self.is_wanted(front, policy, settings, now);
            if pinned || is_wanted {
                break;
            }
            let stays =
                !self.ended && !self.is_too_large(policy) && is_wanted_for_its_key(front, policy, now);
            self.drop_front(stays, kept);
        }
        if self.window.capacity() > SPARE_CAPACITY_MAX && self.window.len() < self.window.capacity() / 4 {
            self.window.shrink_to(self.window.len() * 2);
        }
    }

    fn trim_stragglers(&mut self, policy: &Policy, now: Instant, kept: &mut Kept) {
        while let Some(oldest) = self.keyed.as_ref().and_then(|keyed| keyed.oldest())
            && (self.ended || self.is_too_large(policy) || !is_wanted_for_its_key(oldest, policy, now))
        {
            self.drop_oldest(kept);
        }
    }

    fn is_too_large(&self, policy: &Policy) -> bool {
        policy.history_bytes.is_some_and(|most| self.bytes > most)
    }

    /// Whether the oldest message of the window has to stay there.
    fn is_wanted(&self, front: &Entry, policy: &Policy, settings: &HubSettings, now: Instant) -> bool {
        let nth = self.window.len();
        let history = nth <= policy.history_messages && !is_too_old_for_history(front, policy, now);
        let lag = nth <= settings.window_messages && is_in_reach(front, now);
        (history || lag) && (nth == 1 || !self.is_too_large(policy))
    }

    /// Bytes that one more message would have leave: those of the oldest, where that is just kept.
    pub(super) fn freed(&self, settings: &HubSettings, now: Instant) -> usize {
        let policy = settings.policies.policy(self.rule);
        let Some(front) = self.window.front().filter(|_| self.keyed.is_none()) else { return 0 };
        let nth = self.window.len() + 1;
        let stays =
            nth <= policy.history_messages || nth <= settings.window_messages && is_in_reach(front, now);
        if stays { 0 } else { front.cost_bytes() }
    }

    fn drop_front(&mut self, stays: bool, kept: &mut Kept) {
        let Some(entry) = self.window.pop_front() else { return };
        self.past.drop_one(entry.sequence());
        let leaving = self.keyed.as_mut().map_or(Leaving::Goes, |keyed| keyed.leave(&entry, stays));
        if let Leaving::Goes = leaving {
            self.let_go(&entry, kept);
        }
    }

    /// Drops the oldest message, wanted or not.
    pub(super) fn drop_oldest(&mut self, kept: &mut Kept) {
        match self.keyed.as_mut().and_then(|keyed| keyed.drop_oldest()) {
            Some(straggler) => self.let_go(&straggler, kept),
            None => self.drop_front(false, kept),
        }
    }

    /// Drops everything.
    pub(super) fn drop_all(&mut self, kept: &mut Kept) {
        while self.bytes > 0 {
            self.drop_oldest(kept);
        }
    }

    /// Place of the oldest message kept.
    pub(super) fn oldest(&self) -> Option<Sequence> {
        let straggler = self.keyed.as_ref().and_then(|keyed| keyed.oldest());
        straggler.or(self.window.front()).map(|entry| entry.sequence())
    }

    /// Whether the message at a place is in the window.
    pub(super) fn has_in_window(&self, sequence: Sequence) -> bool {
        self.window.front().is_some_and(|front| front.sequence() <= sequence)
    }

    /// Whether the message at a place is kept.
    pub(super) fn keeps(&self, sequence: Sequence) -> bool {
        self.has_in_window(sequence) || self.keyed.as_ref().is_some_and(|keyed| keyed.keeps(sequence))
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

/// Whether somebody who lags may still need it.
fn is_in_reach(entry: &Entry, now: Instant) -> bool {
    now.saturating_duration_since(entry.published) <= WINDOW_AGE
}

/// The newest message of a key stays as long as somebody who lags may need it, and as long as it is history by its age.
fn is_wanted_for_its_key(entry: &Entry, policy: &Policy, now: Instant) -> bool {
    let history = policy.history_messages > 0 && !is_too_old_for_history(entry, policy, now);
    history || is_in_reach(entry, now)
}

fn is_too_old_for_history(entry: &Entry, policy: &Policy, now: Instant) -> bool {
    policy.history_age.is_some_and(|age| now.saturating_duration_since(entry.published) > age)
}

/// What a channel gives to a reader that is behind, in order: everything, or the newest message of each key.
#[derive(Clone)]
pub(super) struct Source<'c> {
    keyed: Option<(&'c Keyed, btree_map::Range<'c, Sequence, Arc<Entry>>)>,
    window: vec_deque::Iter<'c, Arc<Entry>>,
}

impl<'c> Iterator for Source<'c> {
    type Item = &'c Arc<Entry>;

    fn next(&mut self) -> Option<&'c Arc<Entry>> {
        let Some((keyed, stragglers)) = &mut self.keyed else { return self.window.next() };
        let straggler = stragglers.next().map(|(_, entry)| entry);
        straggler.or_else(|| self.window.find(|entry| !keyed.is_superseded(entry)))
    }
}
