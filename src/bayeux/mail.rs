//! What waits for one session, what it was given, and what it has; pure.
//!
//! A queue of shared messages. What is on its way stays in it until its end is known: it is dropped once it is with the
//! client's system, and waits again where it was lost. With the `ack` extension it stays until the client says that it
//! has it.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::message::{Entry, Sequence};

/// A session's messages.
pub(super) struct Mail {
    queue: VecDeque<Arc<Entry>>,
    bytes: usize,
    /// How many from the front of the queue are given, and not known to have arrived.
    given: usize,
    /// The last message that was looked at: each comes once, by however many subscriptions.
    looked_at: Sequence,
    acks: Option<Acks>,
}

/// Batches that the client has not acknowledged.
#[derive(Default)]
struct Acks {
    /// Number of the last connect.
    batch: u64,
    /// Number of each, and how many messages it brought.
    open: VecDeque<(u64, usize)>,
}

/// There is no more room. Messages are lost to the session, so it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

/// How much may wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) messages: usize,
    /// Bytes of their data; a single message may have more.
    pub(super) bytes: usize,
}

impl Mail {
    /// Nothing yet; with acknowledgements or without.
    pub(super) fn new(ack: bool) -> Mail {
        let acks = ack.then(Acks::default);
        Mail { queue: VecDeque::new(), bytes: 0, given: 0, looked_at: Sequence(0), acks }
    }

    /// A message for a subscription that began after a place; whether it is new.
    pub(super) fn offer(&mut self, entry: &Arc<Entry>, since: Sequence, room: Room) -> Result<bool, Full> {
        if entry.sequence() <= since || entry.sequence() <= self.looked_at {
            return Ok(false);
        }
        self.looked_at = entry.sequence();
        let bytes = entry.message.data.bytes().len();
        let fits =
            self.queue.len() < room.messages && (self.queue.is_empty() || self.bytes + bytes <= room.bytes);
        if !fits {
            return Err(Full);
        }
        self.bytes += bytes;
        self.queue.push_back(Arc::clone(entry));
        Ok(true)
    }

    /// Whether the client acknowledges batches.
    pub(super) fn is_counted(&self) -> bool {
        self.acks.is_some()
    }

    /// Number of the batch that comes with the next reply to a connect.
    pub(super) fn batch(&self) -> Option<u64> {
        self.acks.as_ref().map(|acks| acks.batch)
    }

    /// A connect says the last batch that its client has. Where that was not all, it is given again; whether it is.
    pub(super) fn acknowledge(&mut self, ack: Option<u64>) -> bool {
        let Some(acks) = &mut self.acks else { return false };
        let has = ack.unwrap_or(0);
        let mut arrived = 0;
        while let Some(&(_, messages)) = acks.open.front().filter(|(batch, _)| *batch <= has) {
            acks.open.pop_front();
            arrived += messages;
        }
        let again = !acks.open.is_empty();
        acks.open.clear();
        acks.batch += 1;
        self.given = 0;
        self.drop_front(arrived);
        again
    }

    /// Whether something waits that is not on its way.
    pub(super) fn waits(&self) -> bool {
        self.queue.len() > self.given
    }

    /// What waits, which is on its way then.
    pub(super) fn give(&mut self) -> Vec<Arc<Entry>> {
        let messages: Vec<_> = self.queue.iter().skip(self.given).cloned().collect();
        if let Some(acks) = &mut self.acks
            && !messages.is_empty()
        {
            acks.open.push_back((acks.batch, messages.len()));
        }
        self.given = self.queue.len();
        messages
    }

    /// What is on its way has arrived. Where the client acknowledges, only it can say so.
    pub(super) fn arrived(&mut self) {
        if self.acks.is_none() {
            self.drop_front(self.given);
        }
    }

    /// What is on its way is lost. Where the client acknowledges, it will say what it has.
    pub(super) fn lost(&mut self) {
        if self.acks.is_none() {
            self.given = 0;
        }
    }

    fn drop_front(&mut self, count: usize) {
        let gone = self.queue.drain(..count.min(self.queue.len()));
        self.bytes -= gone.map(|entry| entry.message.data.bytes().len()).sum::<usize>();
        self.given -= count.min(self.given);
    }
}
