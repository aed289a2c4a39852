//! Somebody in line for a connection: joins, is called, and leaves at any moment.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::lease::Lease;
use super::link::Link;
use super::opening::Opening;
use super::pool::{NoLease, Pool, Seat};
use super::queue::{Class, Ticket};
use super::seats::Found;
use crate::clock::{Clock, Elapsed};

/// What somebody in line is called with.
pub(super) enum Grant {
    /// A connection that is up.
    Link(Link, Seat),
    /// A place: open a connection there, and be first in line again.
    Place(Opening),
    /// Nothing will come.
    Refused(NoLease),
}

/// How somebody in line is called.
pub(super) struct Caller(oneshot::Sender<Grant>);

impl Caller {
    /// Whoever has left meanwhile drops the grant, which serves the one behind.
    pub(super) fn hand(self, grant: Grant) {
        drop(self.0.send(grant));
    }
}

/// Somebody who needs a connection, in line or about to be.
struct Waiter {
    pool: Arc<Pool>,
    class: Class,
    worker: usize,
    joined: Instant,
    /// His place in line, once he has had one.
    ticket: Option<Ticket>,
    /// Whether no connection was on its way when he joined, so that he counts as one who had to wait.
    counts: bool,
}

/// What a look at the table gives.
enum Step {
    Idle(Link, Seat),
    Wait(Waiting),
}

/// A place in line, given up when dropped.
struct Waiting {
    call: oneshot::Receiver<Grant>,
    pool: Arc<Pool>,
    ticket: Ticket,
    called: bool,
}

impl Pool {
    /// The first connection that is up or becomes free.
    pub(super) async fn wait(
        self: &Arc<Self>,
        class: Class,
        worker: usize,
        clock: &Clock,
    ) -> Result<Lease, NoLease> {
        let (pool, joined) = (self.clone(), Instant::now());
        let mut waiter = Waiter { pool, class, worker, joined, ticket: None, counts: false };
        loop {
            let grant = match waiter.look()? {
                Step::Idle(link, seat) => Grant::Link(link, seat),
                Step::Wait(waiting) => waiter.until_called(waiting, clock).await?,
            };
            match grant {
                Grant::Link(link, seat) => {
                    if let Some(lease) = self.awaken(link, seat, worker, Instant::now()) {
                        return Ok(waiter.served(lease));
                    }
                }
                Grant::Place(opening) => opening.begin(worker),
                Grant::Refused(reason) => return Err(reason),
            }
        }
    }
}

impl Waiter {
    /// Takes what is there, or a place in line: one step, so that nothing becomes free in between.
    fn look(&mut self) -> Result<Step, NoLease> {
        let (hand, call) = oneshot::channel();
        let (pool, now) = (&self.pool, Instant::now());
        let line = self.ticket.map_or(Ok(self.class), Err);
        let found = pool.seats().find((self.worker, now), line, Caller(hand));
        let open = |server: Option<usize>| {
            if let Some(server) = server {
                pool.opening(server).begin(self.worker);
            }
        };
        match found {
            Found::Idle { server, link, besides } => {
                open(besides);
                Ok(Step::Idle(link, pool.seat(server)))
            }
            Found::Line { ticket, place, is_coming } => {
                open(place);
                self.counts |= !is_coming;
                self.ticket = Some(ticket);
                Ok(Step::Wait(Waiting { call, pool: pool.clone(), ticket, called: false }))
            }
            Found::Full => {
                pool.metrics.rejected_full.inc();
                Err(NoLease::QueueFull)
            }
        }
    }

    async fn until_called(&self, mut waiting: Waiting, clock: &Clock) -> Result<Grant, NoLease> {
        let settings = self.pool.settings.load_full();
        let limit = settings.queue.timeout;
        // Whoever has a connection on its way is in no queue as long as that may take.
        let patience = if self.counts { limit } else { limit + settings.connect };
        let left = patience.saturating_sub(self.joined.elapsed());
        let called = clock.limit(left, &mut waiting.call).await;
        waiting.called = true;
        match called {
            Ok(Ok(grant)) => Ok(grant),
            // The other half lives in the queue until somebody is called, so only the clock ends a wait.
            Ok(Err(_)) | Err(Elapsed) => {
                self.pool.metrics.rejected_timeout.inc();
                Err(NoLease::QueueTimeout(limit))
            }
        }
    }

    fn served(&self, lease: Lease) -> Lease {
        if self.counts {
            let wait = &self.pool.metrics.queue_wait[self.class as usize];
            wait.observe(self.joined.elapsed().as_secs_f64());
        }
        lease
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // Without effect on whoever was called; a timeout and a departure take the place out of the line.
        let left = self.pool.seats().leave(self.ticket);
        if left && !self.called {
            self.pool.metrics.rejected_gone.inc();
        }
    }
}
