//! What lies between a publisher and the channels where there is a store: plan, keep, apply, answer.
//!
//! One thread owns the committer and takes a turn whenever something waits. While the store keeps one group, the next
//! one gathers in the line: all who wait share one step of the store. The hub's lock is never held meanwhile.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::message::{Batch, ChannelName};
use crate::metrics::Metrics;
use crate::store::{Part, Store, StoreError};

use super::draft::Draft;
use super::line::{Answer, Group, Line};
use super::sieve::Sieve;
use super::{Hub, Receipt, Refused};

/// The store's side of a hub.
pub struct Committer {
    hub: Arc<Hub>,
    line: Arc<Line>,
    store: Box<dyn Store>,
    metrics: Metrics,
    /// The last thing that the store was asked for went wrong.
    is_failing: bool,
}

/// Parts that are looked at for each that has begun. One of two may be gone then, so that the store takes about twice
/// what is kept.
const LOOKS_FOR_ROOM: usize = 2;

/// Records that are sifted before the hub's lock is given up: some hundred microseconds.
const RECORDS_PER_LOCK: usize = 1024;

impl Committer {
    pub(super) fn new(hub: Arc<Hub>, line: Arc<Line>, store: Box<dyn Store>, metrics: Metrics) -> Committer {
        Committer { hub, line, store, metrics, is_failing: false }
    }

    /// `wake` is called when something waits and nothing did before.
    pub fn on_wake(&self, wake: Box<dyn Fn() + Send + Sync>) {
        self.line.set_wake(wake);
    }

    /// Does what waits, one group of it; false where nothing waits.
    pub fn turn(&mut self, now: Instant, at: SystemTime) -> bool {
        match self.line.take() {
            None => return false,
            Some(Group::Publish(batches)) => self.publish(batches, now, at),
            Some(Group::Delete(name, answer)) => self.delete(name, answer, now),
        }
        true
    }

    fn publish(&mut self, batches: Vec<(Batch, Answer<Vec<Receipt>>)>, now: Instant, at: SystemTime) {
        let (draft, planned) = self.plan(batches, now);
        let kept = match draft.messages.is_empty() {
            true => Ok(()),
            false => self.append(&draft, at),
        };
        if kept.is_ok() {
            self.hub.apply(draft, now);
        }
        // Whoever waits is answered before room is made.
        let wants_room = self.store.wants_room();
        for (receipts, answer) in planned {
            // Whoever asked may have left.
            let _ = answer.send(kept.clone().map(|()| receipts).map_err(Refused::from));
        }
        if wants_room {
            (0..LOOKS_FOR_ROOM).for_each(|_| self.tick());
        }
    }

    /// Numbers what can be published, and answers the rest.
    #[allow(clippy::type_complexity)] // Each receipt goes with its answer.
    fn plan(
        &self,
        batches: Vec<(Batch, Answer<Vec<Receipt>>)>,
        now: Instant,
    ) -> (Draft, Vec<(Vec<Receipt>, Answer<Vec<Receipt>>)>) {
        let mut state = self.hub.state.lock();
        let mut draft = Draft::after(state.head);
        let mut planned = Vec::with_capacity(batches.len());
        for (batch, answer) in batches {
            match state.plan(batch, &mut draft, now) {
                Ok(receipts) => planned.push((receipts, answer)),
                // Whoever asked may have left.
                Err(refused) => drop(answer.send(Err(refused))),
            }
            draft.index();
        }
        (draft, planned)
    }

    fn append(&mut self, draft: &Draft, at: SystemTime) -> Result<(), StoreError> {
        let timer = self.metrics.store_append.start_timer();
        let kept = self.store.append(&draft.messages, at);
        timer.observe_duration();
        self.count(&kept);
        kept
    }

    fn delete(&mut self, name: ChannelName, answer: Answer<bool>, now: Instant) {
        let upto = self.hub.head().sequence;
        let kept = self.store.delete(&name, upto);
        self.count(&kept);
        let outcome = kept.map(|()| self.hub.delete_now(&name, now)).map_err(Refused::from);
        // Whoever asked may have left.
        let _ = answer.send(outcome);
    }

    /// Makes safe what waits for it, in a store that does so now and then.
    pub fn sync(&mut self) {
        let synced = self.store.sync();
        self.count(&synced);
    }

    /// Makes room in the store, a bounded part of it each time; to be called about once a second.
    pub fn tick(&mut self) {
        if let Some(part) = self.store.next_part()
            && 2 * self.hub.kept_between(part.places.clone()) as u64 <= part.messages
        {
            let replaced = self.replace(&part);
            self.count(&replaced);
        }
        self.metrics.store_bytes.set(self.store.bytes() as i64);
    }

    fn replace(&mut self, part: &Part) -> Result<(), StoreError> {
        let records = self.store.read_part(part.number)?;
        let mut sieve = Sieve::new(part.is_oldest);
        let mut records = records.into_iter().peekable();
        while records.peek().is_some() {
            self.hub.state.lock().sift(records.by_ref().take(RECORDS_PER_LOCK), &mut sieve);
        }
        let mut channels = std::mem::take(&mut sieve.channels).into_iter().peekable();
        while channels.peek().is_some() {
            self.hub.state.lock().vouch(channels.by_ref().take(RECORDS_PER_LOCK), &mut sieve.needed);
        }
        self.store.replace_part(part.number, &sieve.needed)
    }

    /// Ends: whatever waits is done, whatever comes is refused.
    pub fn close(mut self, now: Instant, at: SystemTime) -> Result<(), StoreError> {
        self.line.close();
        while self.turn(now, at) {}
        self.store.close()
    }

    /// Counts what went wrong; the log hears of the first time and of the end.
    fn count(&mut self, result: &Result<(), StoreError>) {
        match result {
            Ok(()) if self.is_failing => tracing::info!("the store takes messages again"),
            Err(error) if !self.is_failing => tracing::error!(%error, "messages are refused"),
            _ => {}
        }
        self.is_failing = result.is_err();
        let word = match result {
            Ok(()) => return,
            Err(StoreError::Full(_)) => "full",
            Err(StoreError::Failed(_)) => "failed",
        };
        self.metrics.store_errors.with_label_values(&[word]).inc();
    }
}

impl Drop for Committer {
    /// Nobody waits for what will never be done, however the thread ended.
    fn drop(&mut self) {
        self.line.abandon();
    }
}
