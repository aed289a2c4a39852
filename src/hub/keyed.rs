//! Which message of a channel is the newest of its key, and those that are kept for nothing but that.
//!
//! A message is superseded once there is a later one with its key; who is behind needn't be given it. Messages leave the
//! window by their age and number; one that isn't superseded then becomes a straggler, and stays until it is, or until
//! it is too old. What can't be given any more although nothing has superseded it moves `lost`.

use std::collections::{BTreeMap, HashMap, btree_map};
use std::sync::Arc;

use crate::message::{Entry, Sequence};

/// The keys of one channel.
pub(super) struct Keyed {
    /// The newest message of each key, as long as it is kept.
    newest: HashMap<Box<str>, Sequence>,
    /// In order; each of them stands before the window.
    stragglers: BTreeMap<Sequence, Arc<Entry>>,
    /// After this place, everything that isn't superseded is kept.
    lost: Sequence,
}

/// What becomes of a message that leaves the window.
pub(super) enum Leaving {
    /// It is the newest of its key.
    Stays,
    /// Nothing needs it.
    Goes,
}

impl Keyed {
    /// Nothing is known up to a place.
    pub(super) fn new(lost: Sequence) -> Keyed {
        Keyed { newest: HashMap::new(), stragglers: BTreeMap::new(), lost }
    }

    /// A message came; the straggler that it has superseded.
    pub(super) fn push(&mut self, entry: &Entry) -> Option<Arc<Entry>> {
        let key = entry.message.key.as_deref()?;
        let Some(newest) = self.newest.get_mut(key) else {
            self.newest.insert(key.into(), entry.sequence());
            return None;
        };
        let before = std::mem::replace(newest, entry.sequence());
        self.stragglers.remove(&before)
    }

    /// A message has left the window. It may stay where the settings want it.
    pub(super) fn leave(&mut self, entry: &Arc<Entry>, is_wanted: bool) -> Leaving {
        if self.is_superseded(entry) {
            return Leaving::Goes;
        }
        if is_wanted && entry.message.key.is_some() {
            self.stragglers.insert(entry.sequence(), Arc::clone(entry));
            return Leaving::Stays;
        }
        self.lose(entry);
        Leaving::Goes
    }

    /// The oldest straggler.
    pub(super) fn oldest(&self) -> Option<&Arc<Entry>> {
        self.stragglers.first_key_value().map(|(_, entry)| entry)
    }

    /// Lets go of the oldest straggler.
    pub(super) fn drop_oldest(&mut self) -> Option<Arc<Entry>> {
        let (_, entry) = self.stragglers.pop_first()?;
        self.lose(&entry);
        Some(entry)
    }

    fn lose(&mut self, entry: &Entry) {
        self.lost = self.lost.max(entry.sequence());
        if let Some(key) = entry.message.key.as_deref() {
            self.newest.remove(key);
        }
    }

    /// Whether there is a later message with its key.
    pub(super) fn is_superseded(&self, entry: &Entry) -> bool {
        let newest = entry.message.key.as_deref().and_then(|key| self.newest.get(key));
        newest.is_some_and(|newest| *newest > entry.sequence())
    }

    /// After this place, everything that isn't superseded is kept.
    pub(super) fn lost(&self) -> Sequence {
        self.lost
    }

    /// Whether this is the place of a straggler.
    pub(super) fn keeps(&self, sequence: Sequence) -> bool {
        self.stragglers.contains_key(&sequence)
    }

    /// Stragglers after a place.
    pub(super) fn after(&self, sequence: Sequence) -> btree_map::Range<'_, Sequence, Arc<Entry>> {
        self.stragglers.range(sequence.next()..)
    }
}
