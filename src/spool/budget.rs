//! The memory that bodies may wait in, all of them together, and those who wait for some of it.
//!
//! A quarter is for what is on its way to a file. That quarter always becomes free by itself, whatever clients do, so
//! that no crowd of them can keep a sender from the disk. The rest is for what stays: in the second half of it each
//! body has only as much as it needs to go on, and at its end those who sleep are woken to move to their files.
//!
//! It bounds what is read, not what is there: whoever has read a piece keeps it, and reads the next one only while
//! there is room. So the bound can be passed by one piece for each connection, never by more.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use prometheus::IntGauge;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

use super::{KINDS, Kind};
use crate::metrics::Metrics;

/// The memory of the process for bodies, in bytes.
pub(super) struct Budget {
    limit: AtomicUsize,
    /// By [`Use`].
    used: [AtomicUsize; 2],
    /// Those who wait for room, by the use that they have for it.
    lines: [Line; 2],
    /// Those who could move to their files.
    sleepers: Line,
    limit_gauge: IntGauge,
    /// By [`Kind`].
    gauges: [IntGauge; 2],
}

/// What memory is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// It is there until somebody takes it.
    Staying,
    /// It goes to a file.
    Passing,
}

/// Some of it, given back when dropped.
pub(super) struct Charge {
    budget: Arc<Budget>,
    kind: Kind,
    purpose: Use,
    bytes: usize,
}

/// Tasks that are woken one after the other, in their order.
#[derive(Default)]
struct Line {
    waiting: AtomicUsize,
    turns: Arc<Notify>,
}

/// A place in a line. Whoever needs it no longer drops it: a wake that has come goes to the next one then.
pub(super) struct Wait {
    budget: Arc<Budget>,
    line: fn(&Budget) -> &Line,
    turn: Pin<Box<OwnedNotified>>,
}

impl Budget {
    pub(super) fn new(limit: usize, metrics: &Metrics) -> Arc<Budget> {
        let budget = Budget {
            limit: AtomicUsize::new(0),
            used: Default::default(),
            lines: Default::default(),
            sleepers: Line::default(),
            limit_gauge: metrics.buffer_limit.clone(),
            gauges: KINDS.map(|kind| metrics.buffer_bytes.with_label_values(&[kind])),
        };
        budget.set_limit(limit);
        Arc::new(budget)
    }

    pub(super) fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::SeqCst);
        self.limit_gauge.set(i64::try_from(limit).unwrap_or(i64::MAX));
        self.serve(Use::Staying);
        self.serve(Use::Passing);
        self.rouse();
    }

    fn limit(&self) -> usize {
        self.limit.load(Ordering::SeqCst)
    }

    fn used(&self, purpose: Use) -> usize {
        self.used[purpose as usize].load(Ordering::SeqCst)
    }

    /// What one body may keep of it: whoever had all would wait for itself.
    pub(super) fn share_max(&self) -> usize {
        self.limit() / 4
    }

    /// Whether another piece may be read, for this use.
    pub(super) fn has_room(&self, purpose: Use) -> bool {
        match purpose {
            Use::Staying => self.used(Use::Staying) + self.used(Use::Passing) < self.limit(),
            Use::Passing => self.used(Use::Passing) < self.limit() / 4,
        }
    }

    /// Whether so much stays that each body is to have no more than it needs to go on.
    pub(super) fn is_tight(&self) -> bool {
        self.used(Use::Staying) >= self.limit() / 2
    }

    /// Whether what sleeps is to move to files.
    pub(super) fn is_short(&self) -> bool {
        let limit = self.limit();
        self.used(Use::Staying) >= limit - limit / 4
    }

    /// Whether what is to go to a file may gather, so that it goes in few writes. A sender that falls silent
    /// meanwhile keeps it, and all of them together no more than this.
    pub(super) fn may_gather(&self) -> bool {
        self.used(Use::Passing) < self.limit() / 16
    }

    #[cfg(test)]
    pub(super) fn in_use(&self) -> usize {
        self.used(Use::Staying) + self.used(Use::Passing)
    }

    /// Counts bytes that are there.
    pub(super) fn charge(self: &Arc<Self>, kind: Kind, purpose: Use, bytes: usize) -> Charge {
        self.used[purpose as usize].fetch_add(bytes, Ordering::SeqCst);
        self.gauges[kind as usize].add(bytes as i64);
        if purpose == Use::Staying {
            self.rouse();
        }
        Charge { budget: self.clone(), kind, purpose, bytes }
    }

    /// Has the task woken when there is room for this use; true where there may be some already.
    pub(super) fn wait(
        self: &Arc<Self>,
        purpose: Use,
        wait: &mut Option<Wait>,
        cx: &mut Context<'_>,
    ) -> bool {
        let line: fn(&Budget) -> &Line = match purpose {
            Use::Staying => |budget| &budget.lines[Use::Staying as usize],
            Use::Passing => |budget| &budget.lines[Use::Passing as usize],
        };
        if self.queue(line, wait, cx).is_ready() {
            // This one takes a piece at the most, which may leave room for others.
            self.serve(purpose);
            return true;
        }
        // In line first, or what is freed in between would be told to nobody.
        self.has_room(purpose)
    }

    /// Has the task woken when it is to move to a file; true where it is to already.
    pub(super) fn sleep(self: &Arc<Self>, wait: &mut Option<Wait>, cx: &mut Context<'_>) -> bool {
        // A wake may be from an earlier shortage.
        while self.queue(|budget| &budget.sleepers, wait, cx).is_ready() {
            if self.is_short() {
                return true;
            }
        }
        self.is_short()
    }

    /// A place in a line; ready, and left again, when its turn has come.
    fn queue(
        self: &Arc<Self>,
        line: fn(&Budget) -> &Line,
        wait: &mut Option<Wait>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let place = wait.get_or_insert_with(|| {
            let Line { waiting, turns } = line(self);
            waiting.fetch_add(1, Ordering::SeqCst);
            Wait { budget: self.clone(), line, turn: Box::pin(turns.clone().notified_owned()) }
        });
        let turn = place.turn.as_mut().poll(cx);
        if turn.is_ready() {
            *wait = None;
        }
        turn
    }

    /// Wakes the first who waits for this use, if there is room.
    fn serve(&self, purpose: Use) {
        let line = &self.lines[purpose as usize];
        if line.is_waited_in() && self.has_room(purpose) {
            line.turns.notify_one();
        }
    }

    /// Wakes the first who sleeps, if memory is short.
    pub(super) fn rouse(&self) {
        if self.sleepers.is_waited_in() && self.is_short() {
            self.sleepers.turns.notify_one();
        }
    }
}

impl Line {
    fn is_waited_in(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }
}

impl Charge {
    /// Counts from now on for this use.
    pub(super) fn turn_to(&mut self, purpose: Use) {
        if self.purpose == purpose {
            return;
        }
        let budget = &self.budget;
        budget.used[purpose as usize].fetch_add(self.bytes, Ordering::SeqCst);
        budget.used[self.purpose as usize].fetch_sub(self.bytes, Ordering::SeqCst);
        let before = std::mem::replace(&mut self.purpose, purpose);
        match purpose {
            Use::Staying => budget.rouse(),
            Use::Passing => {}
        }
        budget.serve(before);
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        (self.line)(&self.budget).waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let budget = &self.budget;
        budget.used[self.purpose as usize].fetch_sub(self.bytes, Ordering::SeqCst);
        budget.gauges[self.kind as usize].sub(self.bytes as i64);
        budget.serve(Use::Staying);
        if self.purpose == Use::Passing {
            budget.serve(Use::Passing);
        }
    }
}
