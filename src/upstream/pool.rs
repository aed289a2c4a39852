//! A pool: choose a server, lease its connection, wait in line, connect, and hand on what becomes free.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus::{Histogram, IntCounter, IntGauge};
use tokio::sync::oneshot;

use super::lease::Lease;
use super::link::Link;
use super::queue::{Full, Ticket};
use super::seats::{Rested, Seats};
use super::server::{Fault, Server};
use super::socket::Socket;
use crate::clock::{Clock, Elapsed};
use crate::config::PoolConfig;
use crate::metrics::Metrics;

/// Servers that run the same application.
pub struct Pool {
    servers: Box<[Server]>,
    seats: Mutex<Seats<oneshot::Sender<Grant>>>,
    /// Idle connections that each server keeps, and how long.
    keep: usize,
    idle: Duration,
    queue_timeout: Duration,
    connect_timeout: Duration,
    metrics: PoolMetrics,
}

struct PoolMetrics {
    connect: Histogram,
    queue_length: IntGauge,
    queue_wait: Histogram,
    rejected_full: IntCounter,
    rejected_timeout: IntCounter,
    rejected_gone: IntCounter,
    retries: IntCounter,
}

/// Why there is no lease.
#[derive(Debug, thiserror::Error)]
pub enum NoLease {
    /// Every connection is busy, and so is the line.
    #[error("every connection is busy and the queue is full")]
    QueueFull,
    /// Every connection stayed busy for `queue.timeout`.
    #[error("no connection became free in {0:?}")]
    QueueTimeout(Duration),
    /// No server could be reached; this is what the last one said.
    #[error("can't connect to {server}")]
    Connect {
        /// Its name in the configuration.
        server: Arc<str>,
        /// What the system said.
        source: std::io::Error,
    },
    /// No server could be reached, the last one within the time for it.
    #[error("{server} did not take the connection in {limit:?}")]
    ConnectTimeout {
        /// Its name in the configuration.
        server: Arc<str>,
        /// `timeouts.connect`.
        limit: Duration,
    },
}

/// A place among a server's connections, given to whoever waits when it is dropped.
pub(super) struct Seat {
    pub(super) pool: Arc<Pool>,
    pub(super) server: usize,
    /// Whether the place is ours to give back.
    held: bool,
}

/// A place, and the idle connection on it if there is one. The connection goes before its place.
struct Grant {
    link: Option<Link>,
    seat: Seat,
}

/// What a look at the table gives.
enum Found {
    Place(Grant),
    Line(Waiting),
    /// The line is full.
    Full,
    /// No server is left that could be reached.
    Nobody,
}

impl Pool {
    /// With no connection yet. `connect` is `timeouts.connect`.
    pub fn new(name: &str, config: &PoolConfig, connect: Duration, metrics: &Metrics) -> Arc<Pool> {
        let limit = config.max_connections.map_or(usize::MAX, usize::from);
        let servers = config.servers.iter().map(|server| Server::new(name, server, metrics));
        Arc::new(Pool {
            servers: servers.collect(),
            seats: Mutex::new(Seats::new(config.servers.len(), limit, config.queue.length)),
            keep: config.keepalive.connections,
            idle: config.keepalive.idle,
            queue_timeout: config.queue.timeout,
            connect_timeout: connect,
            metrics: PoolMetrics::new(name, metrics),
        })
    }

    /// A connection that is ready for a request, for the thread with this number. Waits in line and connects as
    /// long as the pool's clocks allow. Cancel-safe: whoever drops it is out of the line, its place handed on.
    pub async fn lease(self: &Arc<Self>, worker: usize, clock: &Clock) -> Result<Lease, NoLease> {
        let now = Instant::now();
        let found = match self.find(worker, now, &[]) {
            Found::Place(grant) => match grant.at_once(worker, now) {
                Ok(lease) => return Ok(lease),
                Err(grant) => Found::Place(grant),
            },
            other => other,
        };
        // A future of its own, since a request carries what it seldom needs.
        Box::pin(self.wait(found, worker, clock)).await
    }

    async fn wait(self: &Arc<Self>, found: Found, worker: usize, clock: &Clock) -> Result<Lease, NoLease> {
        let grant = match found {
            Found::Place(grant) => grant,
            Found::Line(waiting) => waiting.until_called(clock).await?,
            Found::Full | Found::Nobody => return Err(NoLease::QueueFull),
        };
        self.settle(grant, worker, clock).await
    }

    /// A fresh connection in the place of one that turned out to be stale.
    pub(super) async fn renew(
        self: &Arc<Self>,
        seat: Seat,
        worker: usize,
        clock: &Clock,
    ) -> Result<Lease, NoLease> {
        self.metrics.retries.inc();
        self.settle(Grant { link: None, seat }, worker, clock).await
    }

    /// Closes what has been idle for too long or was closed by its server, and sends those who wait to servers
    /// that may be reached again. Once a second or so.
    pub fn sweep(self: &Arc<Self>, now: Instant) {
        let cleared = self.seats.lock().clear(|link| link.is_stale(now));
        for (server, link) in cleared {
            self.servers[server].metrics.idle.dec();
            drop(link);
        }
        while let Some((waiter, server, link)) = self.overdue(now) {
            hand_over(waiter, self.grant(server, link));
        }
    }

    /// Somebody who waits although there is a place.
    fn overdue(&self, now: Instant) -> Option<(oneshot::Sender<Grant>, usize, Option<Link>)> {
        let mut seats = self.seats.lock();
        if seats.queue.len() == 0 {
            return None;
        }
        let (server, link) = seats.take(0, now, &[])?;
        seats.queue.call().map(|waiter| (waiter, server, link))
    }

    /// Busy and idle connections of a server.
    pub fn connections(&self, server: usize) -> (usize, usize) {
        self.seats.lock().count(server)
    }

    pub(super) fn server(&self, index: usize) -> &Server {
        &self.servers[index]
    }

    /// Turns a place into a lease: by its idle connection, by another, by a new one, at another server.
    async fn settle(
        self: &Arc<Self>,
        mut grant: Grant,
        worker: usize,
        clock: &Clock,
    ) -> Result<Lease, NoLease> {
        let mut refused = Vec::new();
        loop {
            if let Some(link) = self.awaken(&mut grant, worker) {
                self.servers[grant.seat.server].metrics.reused.inc();
                return Ok(Lease::new(grant.seat, link));
            }
            let (server, failure) = match self.connect(grant.seat, worker, clock).await {
                Ok(lease) => return Ok(lease),
                Err(failure) => failure,
            };
            if refused.contains(&server) {
                return Err(failure);
            }
            refused.push(server);
            grant = match self.find(worker, Instant::now(), &refused) {
                Found::Place(grant) => grant,
                Found::Line(waiting) => waiting.until_called(clock).await?,
                Found::Full | Found::Nobody => return Err(failure),
            };
        }
    }

    /// The idle connection of a grant, or another of the same server, if one is alive.
    fn awaken(&self, grant: &mut Grant, worker: usize) -> Option<Link> {
        let now = Instant::now();
        while let Some(link) = grant.link.take() {
            if !link.is_stale(now)
                && let Ok(link) = link.move_to(worker)
            {
                return Some(link);
            }
            grant.link = self.seats.lock().exchange(grant.seat.server, worker);
            if grant.link.is_some() {
                self.servers[grant.seat.server].metrics.idle.dec();
            }
        }
        None
    }

    /// Opens a connection; says which server failed.
    async fn connect(
        self: &Arc<Self>,
        seat: Seat,
        worker: usize,
        clock: &Clock,
    ) -> Result<Lease, (usize, NoLease)> {
        let index = seat.server;
        let server = &self.servers[index];
        let began = Instant::now();
        let (limit, name) = (self.connect_timeout, || server.name.clone());
        let failure = match clock.limit(limit, Socket::connect(&server.target)).await {
            Err(Elapsed) => NoLease::ConnectTimeout { server: name(), limit },
            Ok(Err(source)) => NoLease::Connect { server: name(), source },
            Ok(Ok(socket)) => {
                self.metrics.connect.observe(began.elapsed().as_secs_f64());
                server.metrics.opened.inc();
                self.seats.lock().reached(index);
                return Ok(Lease::new(seat, Link::open(socket, worker)));
            }
        };
        let timed_out = matches!(failure, NoLease::ConnectTimeout { .. });
        server.metrics.failed(if timed_out { Fault::ConnectTimeout } else { Fault::Connect });
        // Before the place is given back, or the next in line would be sent into the same wall.
        self.seats.lock().failed(index, Instant::now());
        Err((index, failure))
    }

    /// A place, or a place in line: one step, so that nothing becomes free in between.
    fn find(self: &Arc<Self>, worker: usize, now: Instant, refused: &[usize]) -> Found {
        let mut seats = self.seats.lock();
        if let Some((server, link)) = seats.take(worker, now, refused) {
            drop(seats);
            return Found::Place(self.grant(server, link));
        }
        if !refused.is_empty() && !seats.is_worth_waiting(now, refused) {
            return Found::Nobody;
        }
        let (hand, call) = oneshot::channel();
        let joined = seats.queue.join(hand);
        drop(seats);
        match joined {
            Ok(ticket) => {
                self.metrics.queue_length.inc();
                Found::Line(Waiting { call, ticket, pool: self.clone(), joined: now, called: false })
            }
            Err(Full) => {
                self.metrics.rejected_full.inc();
                Found::Full
            }
        }
    }

    /// Counts a place that was taken.
    fn grant(self: &Arc<Self>, server: usize, link: Option<Link>) -> Grant {
        let metrics = &self.servers[server].metrics;
        metrics.busy.inc();
        if link.is_some() {
            metrics.idle.dec();
        }
        Grant { link, seat: self.seat(server) }
    }

    fn seat(self: &Arc<Self>, server: usize) -> Seat {
        Seat { pool: self.clone(), server, held: true }
    }

    /// Takes a connection back that can serve another request.
    pub(super) fn take_back(self: &Arc<Self>, mut seat: Seat, mut link: Link) {
        if !link.rest(self.idle, Instant::now()) {
            return;
        }
        let rested = self.seats.lock().rest(seat.server, link, self.keep);
        match rested {
            Rested::Kept => {
                seat.held = false;
                let metrics = &self.servers[seat.server].metrics;
                metrics.busy.dec();
                metrics.idle.inc();
            }
            Rested::Next(waiter, link) => hand_over(waiter, Grant { link: Some(link), seat }),
            Rested::TooMany(link) => drop(link),
        }
    }
}

impl Grant {
    /// The lease, where its connection is alive and one of this thread.
    fn at_once(mut self, worker: usize, now: Instant) -> Result<Lease, Grant> {
        match self.link.take_if(|link| link.worker() == worker && !link.is_stale(now)) {
            Some(link) => {
                self.seat.pool.servers[self.seat.server].metrics.reused.inc();
                Ok(Lease::new(self.seat, link))
            }
            None => Err(self),
        }
    }
}

/// Serves whoever is next in line. A waiter that has left meanwhile drops the grant, which serves the one behind.
fn hand_over(waiter: oneshot::Sender<Grant>, grant: Grant) {
    drop(waiter.send(grant));
}

impl Drop for Pool {
    /// After a reload, when the last of its leases is gone. A pool of the same name counts in the same gauges.
    fn drop(&mut self) {
        for (index, server) in self.servers.iter().enumerate() {
            let (_, idle) = self.seats.get_mut().count(index);
            server.metrics.idle.sub(i64::try_from(idle).unwrap_or(i64::MAX));
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if !self.held {
            return;
        }
        let waiter = self.pool.seats.lock().vacate(self.server, Instant::now());
        match waiter {
            Some(waiter) => hand_over(waiter, Grant { link: None, seat: self.pool.seat(self.server) }),
            None => self.pool.servers[self.server].metrics.busy.dec(),
        }
    }
}

/// Somebody in line, out of it when dropped.
struct Waiting {
    call: oneshot::Receiver<Grant>,
    ticket: Ticket,
    pool: Arc<Pool>,
    joined: Instant,
    called: bool,
}

impl Waiting {
    async fn until_called(mut self, clock: &Clock) -> Result<Grant, NoLease> {
        let limit = self.pool.queue_timeout;
        match clock.limit(limit, &mut self.call).await {
            Ok(Ok(grant)) => {
                self.called = true;
                Ok(grant)
            }
            // The other half lives in the queue until somebody is called, so only the clock ends a wait.
            Ok(Err(_)) | Err(Elapsed) => {
                self.called = true;
                self.pool.metrics.rejected_timeout.inc();
                Err(NoLease::QueueTimeout(limit))
            }
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let metrics = &self.pool.metrics;
        metrics.queue_length.dec();
        metrics.queue_wait.observe(self.joined.elapsed().as_secs_f64());
        if !self.called {
            metrics.rejected_gone.inc();
        }
        // Bound, so that the other half is dropped after the lock.
        let left = self.pool.seats.lock().queue.leave(self.ticket);
        drop(left);
    }
}

impl PoolMetrics {
    fn new(pool: &str, metrics: &Metrics) -> PoolMetrics {
        let rejected = |reason| metrics.queue_rejected.with_label_values(&[pool, reason]);
        PoolMetrics {
            connect: metrics.upstream_connect.with_label_values(&[pool]),
            queue_length: metrics.queue_length.with_label_values(&[pool]),
            queue_wait: metrics.queue_wait.with_label_values(&[pool]),
            rejected_full: rejected("full"),
            rejected_timeout: rejected("timeout"),
            rejected_gone: rejected("client_gone"),
            retries: metrics.upstream_retries.with_label_values(&[pool, "stale"]),
        }
    }
}
