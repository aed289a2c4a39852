//! The memory that bodies may wait in, all of them together, and those who wait for some of it.
//!
//! It bounds what is read, not what is there: whoever has read a piece keeps it, and reads the next one only while
//! there is room. So the bound can be passed by one piece for each connection, never by more.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Context;

use prometheus::IntGauge;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

use super::{KINDS, Kind};
use crate::metrics::Metrics;

/// The memory of the process for bodies, in bytes.
pub(super) struct Budget {
    limit: AtomicUsize,
    used: AtomicUsize,
    /// How many wait. They are woken one after the other, in their order, as long as there is room.
    waiting: AtomicUsize,
    freed: Arc<Notify>,
    limit_gauge: IntGauge,
    /// By [`Kind`].
    gauges: [IntGauge; 2],
}

/// Some of it, given back when dropped.
pub(super) struct Charge {
    budget: Arc<Budget>,
    kind: Kind,
    bytes: usize,
}

/// A place among those who wait. Whoever needs it no longer drops it: a wake that has come goes to the next one then.
pub(super) struct Wait {
    budget: Arc<Budget>,
    turn: Pin<Box<OwnedNotified>>,
}

impl Budget {
    pub(super) fn new(limit: usize, metrics: &Metrics) -> Arc<Budget> {
        let budget = Budget {
            limit: AtomicUsize::new(0),
            used: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            freed: Arc::default(),
            limit_gauge: metrics.buffer_limit.clone(),
            gauges: KINDS.map(|kind| metrics.buffer_bytes.with_label_values(&[kind])),
        };
        budget.set_limit(limit);
        Arc::new(budget)
    }

    pub(super) fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::SeqCst);
        self.limit_gauge.set(i64::try_from(limit).unwrap_or(i64::MAX));
        self.wake();
    }

    /// What one body may keep of it: whoever had all would wait for itself.
    pub(super) fn share_max(&self) -> usize {
        self.limit.load(Ordering::SeqCst) / 4
    }

    /// Whether another piece may be read.
    pub(super) fn has_room(&self) -> bool {
        self.used.load(Ordering::SeqCst) < self.limit.load(Ordering::SeqCst)
    }

    /// Whether another piece may stay for long. The last quarter is for what is on its way to a file, or a crowd of
    /// slow clients that fill the memory would keep all others from the disk.
    pub(super) fn has_room_to_stay(&self) -> bool {
        let limit = self.limit.load(Ordering::SeqCst);
        self.used.load(Ordering::SeqCst) < limit - limit / 4
    }

    #[cfg(test)]
    pub(super) fn in_use(&self) -> usize {
        self.used.load(Ordering::SeqCst)
    }

    /// Counts bytes that are there.
    pub(super) fn charge(self: &Arc<Self>, kind: Kind, bytes: usize) -> Charge {
        self.used.fetch_add(bytes, Ordering::SeqCst);
        self.gauges[kind as usize].add(bytes as i64);
        Charge { budget: self.clone(), kind, bytes }
    }

    /// Has the task woken when there is room again; true where there may be some already.
    pub(super) fn wait(self: &Arc<Self>, wait: &mut Option<Wait>, cx: &mut Context<'_>) -> bool {
        let place = wait.get_or_insert_with(|| {
            self.waiting.fetch_add(1, Ordering::SeqCst);
            Wait { budget: self.clone(), turn: Box::pin(self.freed.clone().notified_owned()) }
        });
        if place.turn.as_mut().poll(cx).is_ready() {
            *wait = None;
            // This one takes a piece at the most, which may leave room for others.
            self.wake();
            return true;
        }
        // In line first, or what is freed in between would be told to nobody.
        self.has_room()
    }

    /// Wakes the first who waits, if there is room.
    fn wake(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 && self.has_room() {
            self.freed.notify_one();
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.budget.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let budget = &self.budget;
        budget.used.fetch_sub(self.bytes, Ordering::SeqCst);
        budget.gauges[self.kind as usize].sub(self.bytes as i64);
        budget.wake();
    }
}
