//! A request that is sent again: whether the pool allows it, and the connection for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::lease::Lease;
use super::pool::{NoLease, Pool, Seat};
use super::queue::Class;
use super::server::Server;
use crate::clock::Clock;

/// Why a request is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// A kept connection turned out to be closed.
    Stale,
    /// The connection broke before the answer.
    Reset,
    /// The answer was 500.
    Status,
}

impl Pool {
    /// Whether one more request may be sent again, which it is then. A stale connection is no fault of the
    /// application's: there are no more of them than were kept.
    pub fn may_retry(&self, why: Retry) -> bool {
        let may = why == Retry::Stale || self.budget.lock().take(self.answers());
        let counter = if may { &self.metrics.retries[why as usize] } else { &self.metrics.retries_refused };
        counter.inc();
        may
    }

    /// How often one request may be sent again because connections broke.
    pub fn attempts(&self) -> usize {
        self.settings.load().attempts
    }

    /// The delays before each further attempt of what was answered 500.
    pub fn error_retries(&self) -> Arc<[Duration]> {
        self.settings.load().error_retries.clone()
    }

    /// A fresh connection in the place of one that turned out to be stale; where the server can't be reached, any.
    pub(super) async fn renew(
        self: &Arc<Self>,
        seat: Seat,
        server: Arc<Server>,
        worker: usize,
        clock: &Clock,
    ) -> Result<Lease, NoLease> {
        clock.stop();
        match self.dial_verified(&server, worker).await {
            Ok(mut link) => {
                let mut seats = self.seats();
                seats.reachable(seat.server, Instant::now());
                seats.take_up(&mut link);
                drop(seats);
                Ok(Lease::new(seat, link))
            }
            Err(_) => {
                // Before the place is given back, or the next in line would be sent into the same wall.
                self.seats().unreachable(seat.server, Instant::now());
                drop(seat);
                self.wait(Class::High, worker, clock).await
            }
        }
    }

    /// Whether another server than this one could take a request now.
    pub(super) fn has_other(&self, server: usize) -> bool {
        self.seats().has_other(server, Instant::now())
    }

    /// A connection to another server for a request that has lost its own: one that is idle, or a new one.
    pub(super) async fn elsewhere(
        self: &Arc<Self>,
        seat: Seat,
        worker: usize,
        clock: &Clock,
    ) -> Result<Lease, NoLease> {
        clock.stop();
        let moved = self.seats().move_seat(seat.server, worker, Instant::now());
        // The place that was left is free for others, and the new one is held from here on.
        let Some((other, idle)) = moved else {
            drop(seat);
            return self.wait(Class::High, worker, clock).await;
        };
        let seat = seat.moved_to(other);
        self.serve_line();
        if let Some(mut link) = idle
            && !link.is_stale(Instant::now())
            && let Ok(link) = link.move_to(worker)
        {
            return Ok(Lease::new(seat, link));
        }
        let server = self.seats().server(other).clone();
        self.renew(seat, server, worker, clock).await
    }
}

impl Seat {
    /// The same place at another server, as the table has it already.
    fn moved_to(mut self, server: usize) -> Seat {
        self.server = server;
        self
    }
}
