//! The account of all messages kept: how many, how many bytes, for which rules, and which is the oldest.

use std::collections::{VecDeque, vec_deque};

use crate::message::{Entry, Sequence};

use super::ChannelId;
use super::policy::RuleId;

/// Sums over all windows, and the order in which messages would be evicted.
#[derive(Default)]
pub(super) struct Kept {
    bytes: usize,
    entries: usize,
    /// Oldest first; messages that left their windows in other ways stay in it until they come to the front or
    /// outnumber the others.
    order: VecDeque<Place>,
    /// Of each rule.
    tallies: Vec<Tally>,
}

/// What there is of the channels of one rule.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tally {
    /// Channels that live.
    pub(super) channels: usize,
    /// Bytes of the messages that they keep.
    pub(super) bytes: usize,
}

/// Where a message is kept, if it still is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) sequence: Sequence,
    pub(super) channel: ChannelId,
}

impl Kept {
    /// Bytes of messages kept, as [`Entry::cost_bytes`] counts them.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Messages kept.
    pub(super) fn entries(&self) -> usize {
        self.entries
    }

    /// What there is of a rule; nothing is counted without one.
    pub(super) fn tally(&self, rule: RuleId) -> Tally {
        rule.index().and_then(|index| self.tallies.get(index)).copied().unwrap_or_default()
    }

    /// So many rules, each without anything.
    pub(super) fn clear_tallies(&mut self, rules: usize) {
        self.tallies.clear();
        self.tallies.resize(rules, Tally::default());
    }

    /// The place where a rule is counted.
    pub(super) fn tally_mut(&mut self, rule: RuleId) -> Option<&mut Tally> {
        self.tallies.get_mut(rule.index()?)
    }

    /// A message went into the window of a channel, which has this rule.
    pub(super) fn add(&mut self, entry: &Entry, channel: ChannelId, rule: RuleId) {
        self.bytes += entry.cost_bytes();
        if let Some(tally) = self.tally_mut(rule) {
            tally.bytes += entry.cost_bytes();
        }
        self.entries += 1;
        self.order.push_back(Place { sequence: entry.sequence(), channel });
    }

    /// A message of a channel with this rule isn't kept any more.
    pub(super) fn remove(&mut self, entry: &Entry, rule: RuleId) {
        self.bytes -= entry.cost_bytes();
        if let Some(tally) = self.tally_mut(rule) {
            tally.bytes -= entry.cost_bytes();
        }
        self.entries -= 1;
    }

    /// Places after one, in order; messages of some of them may have left.
    pub(super) fn after(&self, sequence: Sequence) -> vec_deque::Iter<'_, Place> {
        let first = self.order.partition_point(|place| place.sequence <= sequence);
        self.order.range(first..)
    }

    /// Takes the oldest place off the order if it is not after `last`; its message may have left long since.
    pub(super) fn pop_oldest(&mut self, last: Sequence) -> Option<Place> {
        self.order.front().filter(|place| place.sequence <= last)?;
        self.order.pop_front()
    }

    /// Forgets messages that are gone, once they outnumber those that are kept: constant work a message.
    pub(super) fn compact(&mut self, is_kept: impl Fn(&Place) -> bool) {
        if self.order.len() > 2 * self.entries + STALE_MAX {
            self.order.retain(is_kept);
        }
    }
}

/// Places of messages that are gone which are never worth a compaction: 16 KiB.
const STALE_MAX: usize = 1024;
