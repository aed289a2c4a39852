//! Where a reader stands over its channels: what is next for it, and what it can't be given any more.
//!
//! Pure: windows and places in, entries and holes out.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use crate::message::{ChannelName, Entry, Gap, Position, Sequence};
use crate::store::Past;

impl Past {
    /// Where a reader begins that has everything up to `after`.
    pub(super) fn resume(&self, after: Position) -> Begin {
        if after.sequence >= self.dropped {
            return Begin::after(after.sequence);
        }
        let counted = self.count > 0 && (self.vouched..self.first).contains(&after.sequence);
        let missing = counted.then_some(self.count);
        let hole = Hole { missing, after: Some(after) };
        Begin { hole: Some(hole), ..Begin::after(self.dropped) }
    }

    /// Where a reader begins whose last position says nothing about this store.
    pub(super) fn restart(&self, after: Option<Position>) -> Begin {
        Begin { hole: Some(Hole { missing: None, after }), ..Begin::after(self.dropped) }
    }
}

/// Where a reader begins in one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Begin {
    /// It gets everything after this.
    pub(super) after: Sequence,
    /// And of what stands before that, what is still there after this.
    pub(super) given_after: Sequence,
    pub(super) hole: Option<Hole>,
}

/// Messages that a reader misses before its beginning in one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hole {
    pub(super) missing: Option<u64>,
    pub(super) after: Option<Position>,
}

impl Begin {
    /// After a place, without a hole.
    pub(super) fn after(after: Sequence) -> Begin {
        Begin { after, given_after: after, hole: None }
    }

    /// The hole as readers are told of it.
    pub(super) fn gap(&self, channel: &ChannelName, head: Position) -> Option<Gap> {
        self.hole.map(|hole| Gap {
            channel: channel.clone(),
            missing: hole.missing,
            after: hole.after,
            before: Position { epoch: head.epoch, sequence: self.after },
        })
    }
}

/// How far a merge goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    /// Up to here whatever it costs: the latest place at which one of the channels begins. A reader with one
    /// position can't stop before it, or it would be given again what another channel began after.
    pub(super) at_least: Sequence,
    /// Not beyond this place.
    pub(super) upto: Sequence,
    /// Stop before the entries cost more bytes than this, though not before the first.
    pub(super) limit_bytes: usize,
}

/// Merges entries of several channels in total order. Returns the place reached: everything up to it that
/// these channels have was given; `upto` where nothing was cut off.
pub(super) fn merge<'e>(
    sources: &mut [impl Iterator<Item = &'e Arc<Entry>> + Clone],
    extent: Extent,
    entries: &mut Vec<Arc<Entry>>,
) -> Sequence {
    let mut bytes = 0usize;
    let mut next: BinaryHeap<Reverse<(Sequence, usize)>> =
        (0..sources.len()).filter_map(|source| Some(Reverse((peek(&sources[source])?, source)))).collect();
    while let Some(Reverse((sequence, source))) = next.pop() {
        if sequence > extent.upto {
            break;
        }
        let entry = sources[source].next().expect("a source in the heap has an entry");
        let cost = entry.cost_bytes();
        if sequence > extent.at_least && bytes > 0 && bytes + cost > extent.limit_bytes {
            return Sequence(sequence.0 - 1);
        }
        bytes += cost;
        entries.push(Arc::clone(entry));
        next.extend(peek(&sources[source]).map(|sequence| Reverse((sequence, source))));
    }
    extent.upto
}

fn peek<'e>(source: &(impl Iterator<Item = &'e Arc<Entry>> + Clone)) -> Option<Sequence> {
    source.clone().next().map(|entry| entry.sequence())
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::time::Instant;

    use super::*;
    use crate::message::{Data, Epoch, Message};

    const EPOCH: Epoch = Epoch(7);

    fn at(sequence: u64) -> Position {
        Position { epoch: EPOCH, sequence: Sequence(sequence) }
    }

    #[test]
    fn a_reader_is_told_what_it_misses_and_how_many_where_they_were_counted() {
        let fresh = Past::unknown_upto(Sequence(0));
        let mut dropped = fresh;
        [3, 5, 9].into_iter().for_each(|sequence| dropped.drop_one(Sequence(sequence)));
        let forgotten = Past::unknown_upto(Sequence(4));
        let mut partly = forgotten;
        [6, 8].into_iter().for_each(|sequence| partly.drop_one(Sequence(sequence)));
        // The past, the position, where the reader begins, and the hole: how many are missing, if known.
        let cases = [
            (fresh, 0, 0, None),
            (fresh, 8, 8, None),
            (dropped, 9, 9, None),
            (dropped, 20, 20, None),
            (dropped, 0, 9, Some(Some(3))),
            (dropped, 2, 9, Some(Some(3))),
            (dropped, 3, 9, Some(None)),
            (dropped, 8, 9, Some(None)),
            (forgotten, 3, 4, Some(None)),
            (forgotten, 4, 4, None),
            (partly, 3, 8, Some(None)),
            (partly, 4, 8, Some(Some(2))),
            (partly, 6, 8, Some(None)),
            (partly, 8, 8, None),
        ];
        for (past, after, begins, missing) in cases {
            let hole = missing.map(|missing| Hole { missing, after: Some(at(after)) });
            assert_eq!(
                past.resume(at(after)),
                Begin { hole, ..Begin::after(Sequence(begins)) },
                "{past:?} after {after}"
            );
        }
    }

    #[test]
    fn a_merge_is_in_total_order_and_stops_only_where_every_channel_has_begun() {
        let cost = entry(1).cost_bytes();
        let channels = [vec![1, 4, 6], vec![], vec![2, 3, 9]];
        // At least, up to, limit in entries, what is given, the place reached.
        let cases: [(u64, u64, usize, &[u64], u64); 7] = [
            (0, 20, 99, &[1, 2, 3, 4, 6, 9], 20),
            (0, 5, 99, &[1, 2, 3, 4], 5),
            (0, 20, 3, &[1, 2, 3], 3),
            (0, 20, 4, &[1, 2, 3, 4], 5),
            (0, 20, 0, &[1], 1),
            (5, 20, 0, &[1, 2, 3, 4], 5),
            (0, 4, 4, &[1, 2, 3, 4], 4),
        ];
        for (at_least, upto, limit, expected, reached) in cases {
            let windows =
                channels.clone().map(|window| window.into_iter().map(entry).collect::<VecDeque<_>>());
            let mut sources: Vec<_> = windows.iter().map(VecDeque::iter).collect();
            let extent =
                Extent { at_least: Sequence(at_least), upto: Sequence(upto), limit_bytes: limit * cost };
            let mut entries = Vec::new();
            let end = merge(&mut sources, extent, &mut entries);
            let given: Vec<u64> = entries.iter().map(|entry| entry.sequence().0).collect();
            assert_eq!((given.as_slice(), end), (expected, Sequence(reached)), "{extent:?}");
        }
    }

    fn entry(sequence: u64) -> Arc<Entry> {
        let message = Message::new(ChannelName::parse("c").expect("a name"), Data::Text("x".into()));
        Arc::new(Entry::new(at(sequence), 1, Instant::now(), message))
    }
}
