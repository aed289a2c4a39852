//! A connect: how it is answered, and what its reply says besides; pure.

use std::time::Instant;

use serde_json::value::RawValue;

use crate::hold::Line;

/// A connect that is held, or about to be.
#[derive(Debug)]
pub(super) struct Connect {
    pub(super) way: Way,
    pub(super) id: Option<Box<RawValue>>,
    /// The batch that its reply counts as.
    pub(super) batch: Option<u64>,
    /// The function that its answer calls.
    pub(super) callback: Option<Box<str>>,
    /// The client's clock, as far as the reply returns it, and since when.
    pub(super) clock: Option<ClientClock>,
    pub(super) since: Instant,
}

/// How a connect is answered.
#[derive(Debug)]
pub(super) enum Way {
    /// By the answer of this hold, once it is held.
    Poll(u64, Option<Line>),
    /// On the socket with this number.
    Socket(u64),
}

/// What a client's clock said, and ours when it came.
#[derive(Debug, Clone)]
pub(super) struct ClientClock {
    pub(super) tc: Box<RawValue>,
    pub(super) ts: u64,
    pub(super) accuracy: i64,
}

/// What comes of a connect.
#[derive(Debug)]
pub(super) struct Connected {
    /// The connect before, if it is still open.
    pub(super) replaced: Option<Connect>,
    pub(super) batch: Option<u64>,
    /// Whether there is something that it must not wait for.
    pub(super) at_once: bool,
    /// Whether it is the first, by which a client learns that its transport works.
    pub(super) first: bool,
}

impl Connect {
    /// Whether it is answered by this hold.
    pub(super) fn is_of(&self, hold: u64) -> bool {
        matches!(self.way, Way::Poll(own, _) if own == hold)
    }
}
