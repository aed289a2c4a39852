//! Presence: who is on which channel, by tag, and the news of it for whoever the application has named.
//!
//! What counts is decided in [`Roster`], which has no clock and no lock. This is the door to it: shards give members a
//! [`Seat`] where a connection arrives and drop it where it ends, the control port looks, and whoever delivers news is
//! woken through a closure. The delivery of messages never comes here.

#[cfg(test)]
mod model;
mod roster;
mod rule;

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use parking_lot::Mutex;

use crate::message::ChannelName;
use crate::metrics::Metrics;

use roster::{Entered, Roster};

pub use roster::{Change, ChangeKind, Changes, Member, MemberPage, Way};
pub use rule::PresenceRule;

/// Who is where, shared by all who come, look and tell.
pub struct Presence {
    roster: Mutex<Roster>,
    /// Called outside of the lock when there is news, or something is due earlier than before.
    wake: Box<dyn Fn() + Send + Sync>,
    metrics: Metrics,
}

impl Presence {
    /// Nobody is anywhere. The first rule that fits a channel is its own.
    pub fn new(
        rules: Vec<PresenceRule>,
        metrics: Metrics,
        wake: Box<dyn Fn() + Send + Sync>,
    ) -> Arc<Presence> {
        Arc::new(Presence { roster: Mutex::new(Roster::new(rules)), wake, metrics })
    }

    /// A connection of a member has come to a channel, and stays until the seat is dropped; `None` where no rule watches
    /// the channel, or there are too many members.
    pub fn enter(self: &Arc<Self>, channel: &ChannelName, tag: &str) -> Option<Seat> {
        let entered = self.roster.lock().enter(channel, tag, SystemTime::now());
        let place = match entered {
            Entered::First(place) => {
                self.metrics.presence_members.inc();
                self.metrics.presence_changes.with_label_values(&[ChangeKind::Join.word()]).inc();
                (self.wake)();
                place
            }
            Entered::Again(place) => place,
            Entered::Full => {
                self.metrics.presence_refused.inc();
                return None;
            }
            Entered::Unwatched => return None,
        };
        Some(Seat { presence: self.clone(), place })
    }

    /// Those whose grace is over leave; gives the moment at which the next ones do.
    pub fn advance(&self, now: Instant) -> Option<Instant> {
        let (gone, next) = {
            let mut roster = self.roster.lock();
            (roster.advance(now, SystemTime::now()), roster.next_due())
        };
        if gone > 0 {
            self.metrics.presence_members.sub(gone as i64);
            self.metrics.presence_changes.with_label_values(&[ChangeKind::Leave.word()]).inc_by(gone as u64);
            (self.wake)();
        }
        next
    }

    /// The oldest news of a rule on one way, at most so many.
    pub fn take(&self, rule: usize, way: Way, most: usize) -> Changes {
        let changes = self.roster.lock().take(rule, way, most);
        if changes.lost > 0 {
            self.metrics.presence_lost.with_label_values(&[way.word()]).inc_by(changes.lost);
        }
        changes
    }

    /// The members of a channel behind this tag, in the order of tags; `None` where no rule watches it.
    pub fn members(&self, channel: &ChannelName, after: Option<&str>, limit: usize) -> Option<MemberPage> {
        self.roster.lock().members(channel, after, limit)
    }

    /// The channels that a member is on, in the order of their names.
    pub fn channels_of(&self, tag: &str) -> Vec<(ChannelName, Member)> {
        self.roster.lock().channels_of(tag)
    }
}

/// A connection's place on a channel. Dropping it is how the connection leaves.
pub struct Seat {
    presence: Arc<Presence>,
    place: usize,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let is_next = self.presence.roster.lock().leave(self.place, Instant::now());
        if is_next {
            (self.presence.wake)();
        }
    }
}
