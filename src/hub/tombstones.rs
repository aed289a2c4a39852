//! What is remembered of channels that have vanished, so that those who come back are told the truth.
//!
//! Bounded: the channel whose last message is the oldest is forgotten first. From then on nothing is promised
//! to anyone who comes back to an unknown channel from a position before that message.

use std::collections::{BTreeMap, HashMap};

use crate::message::{ChannelName, Sequence};
use crate::store::Past;

/// The pasts of channels that don't exist now.
pub(super) struct Tombstones {
    limit: usize,
    pasts: HashMap<ChannelName, Past>,
    /// By the place of the last message dropped, which belongs to one channel only.
    order: BTreeMap<Sequence, ChannelName>,
    /// The last message of every forgotten channel is at or before this place.
    forgotten: Sequence,
}

impl Tombstones {
    /// Remembers up to `limit` channels.
    pub(super) fn new(limit: usize) -> Tombstones {
        Tombstones { limit, pasts: HashMap::new(), order: BTreeMap::new(), forgotten: Sequence(0) }
    }

    /// A channel vanishes. One that never had a message leaves no trace.
    pub(super) fn bury(&mut self, name: ChannelName, past: Past) {
        if past.count == 0 {
            return;
        }
        self.order.insert(past.dropped, name.clone());
        self.pasts.insert(name, past);
        if self.pasts.len() > self.limit
            && let Some((dropped, name)) = self.order.pop_first()
        {
            self.pasts.remove(&name);
            self.forgotten = self.forgotten.max(dropped);
        }
    }

    /// What is known of the past of a channel that doesn't exist now.
    pub(super) fn past(&self, name: &ChannelName) -> Option<&Past> {
        self.pasts.get(name)
    }

    /// The last message of every channel that is unknown is at or before this place.
    pub(super) fn forgotten(&self) -> Sequence {
        self.forgotten
    }

    /// Nothing is vouched for up to this place any more where nothing is known.
    pub(super) fn forget_upto(&mut self, forgotten: Sequence) {
        self.forgotten = self.forgotten.max(forgotten);
    }

    /// A channel comes to life, with what is known of its past.
    pub(super) fn raise(&mut self, name: &ChannelName) -> Past {
        let Some(past) = self.pasts.remove(name) else {
            return Past::unknown_upto(self.forgotten);
        };
        self.order.remove(&past.dropped);
        past
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_forgotten_is_never_vouched_for() {
        let name = |name: &str| ChannelName::parse(name).expect("a name");
        let past = |sequence| {
            let mut past = Past::unknown_upto(Sequence(0));
            past.drop_one(Sequence(sequence));
            past
        };
        let mut tombstones = Tombstones::new(2);
        tombstones.bury(name("a"), past(10));
        tombstones.bury(name("b"), past(5));
        tombstones.bury(name("silent"), Past::unknown_upto(Sequence(0)));
        assert_eq!(tombstones.raise(&name("unheard")), Past::unknown_upto(Sequence(0)));
        tombstones.bury(name("c"), past(20));
        assert_eq!(tombstones.raise(&name("b")), Past::unknown_upto(Sequence(5)));
        assert_eq!(tombstones.raise(&name("a")), past(10));
        assert_eq!(tombstones.raise(&name("a")), Past::unknown_upto(Sequence(5)));
        assert_eq!(tombstones.raise(&name("c")), past(20));
    }
}
