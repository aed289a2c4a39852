//! What is known of the messages that a channel no longer keeps, so that those who come back are told the truth.

use crate::message::Sequence;

/// The account of a channel's messages that are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Past {
    /// Place of the last message that was dropped; where none was, the place up to which nothing is known.
    /// Everything after it is kept.
    pub dropped: Sequence,
    /// Messages dropped since `vouched`.
    pub count: u64,
    /// Place of the first message after `vouched`; means something only where `count` isn't 0.
    pub first: Sequence,
    /// Every message after this place has been counted.
    pub vouched: Sequence,
}

impl Past {
    /// Of a channel that is new, or so old that everything up to `forgotten` has been forgotten.
    pub fn unknown_upto(forgotten: Sequence) -> Past {
        Past { dropped: forgotten, count: 0, first: forgotten, vouched: forgotten }
    }

    /// The next message in order is no longer kept.
    pub fn drop_one(&mut self, sequence: Sequence) {
        debug_assert!(sequence > self.dropped);
        if self.count == 0 {
            self.first = sequence;
        }
        self.count += 1;
        self.dropped = sequence;
    }
}
