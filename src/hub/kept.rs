//! The account of all messages kept: how many, how many bytes, and which is the oldest.

use std::collections::{VecDeque, vec_deque};

use crate::message::{Entry, Sequence};

use super::ChannelId;

/// Sums over all windows, and the order in which messages would be evicted.
#[derive(Default)]
pub(super) struct Kept {
    bytes: usize,
    entries: usize,
    /// Oldest first; messages that left their windows in other ways stay in it until they come to the front or
    /// outnumber the others.
    order: VecDeque<Place>,
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

    /// A message went into a window.
    pub(super) fn add(&mut self, entry: &Entry, channel: ChannelId) {
        self.bytes += entry.cost_bytes();
        self.entries += 1;
        self.order.push_back(Place { sequence: entry.sequence(), channel });
    }

    /// A message left its window.
    pub(super) fn remove(&mut self, entry: &Entry) {
        self.bytes -= entry.cost_bytes();
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
