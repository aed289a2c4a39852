//! A pool: lease a connection that is at hand, or wait for the first that is; give it back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use prometheus::{Histogram, IntCounter, IntGauge};
use tokio_util::task::TaskTracker;

use super::budget::Budget;
use super::lease::Lease;
use super::link::Link;
use super::opening::Opening;
use super::queue::{Class, Queue};
use super::seats::{Bounds, Offer, Rested, Seats};
use super::server::Server;
use super::tls::Handshaker;
use super::waiting::{Caller, Grant};
use crate::clock::Clock;
use crate::config::{HealthConfig, PoolConfig, QueueConfig, ServerConfig, VerifyConfig};
use crate::metrics::Metrics;

/// Servers that run the same application.
pub struct Pool {
    pub(super) name: Box<str>,
    seats: Mutex<Seats<Caller>>,
    pub(super) budget: Mutex<Budget>,
    /// What is needed only by those who wait.
    pub(super) settings: ArcSwap<Settings>,
    /// Connections that are being opened. Each ends within `timeouts.connect` for each server, or with the runtime
    /// of its thread.
    pub(super) tasks: TaskTracker,
    pub(super) metrics: PoolMetrics,
    /// For servers that are added later.
    families: Metrics,
}

/// The clocks and rules of those who wait.
pub(super) struct Settings {
    pub(super) queue: QueueConfig,
    /// `timeouts.connect`.
    pub(super) connect: Duration,
    pub(super) verify: Option<VerifyConfig>,
    pub(super) health: Option<HealthConfig>,
    pub(super) resolve: Option<Duration>,
    pub(super) attempts: usize,
    pub(super) error_retries: Arc<[Duration]>,
    /// For its `https` servers.
    pub(super) tls: Handshaker,
}

pub(super) struct PoolMetrics {
    pub(super) connect: Histogram,
    queue_length: [IntGauge; 3],
    pub(super) queue_wait: [Histogram; 3],
    pub(super) rejected_full: IntCounter,
    pub(super) rejected_timeout: IntCounter,
    pub(super) rejected_gone: IntCounter,
    /// By [`Retry`](super::again::Retry).
    pub(super) retries: [IntCounter; 3],
    pub(super) retries_refused: IntCounter,
}

/// Why there is no lease.
#[derive(Debug, Clone, thiserror::Error)]
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
        source: Arc<std::io::Error>,
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

impl Settings {
    fn new(config: &PoolConfig, connect: Duration) -> Settings {
        Settings {
            queue: config.queue.clone(),
            connect,
            verify: config.verify.clone(),
            health: config.health.clone(),
            resolve: config.resolve,
            attempts: config.retries.attempts,
            error_retries: config.error_retries.as_slice().into(),
            tls: Handshaker::new(config.tls.clone()),
        }
    }
}

fn bounds(config: &PoolConfig) -> Bounds {
    Bounds {
        connections: config.max_connections.map_or(usize::MAX, usize::from),
        keep: config.keepalive.connections,
        idle: config.keepalive.idle,
        uses: config.keepalive.requests,
        ahead: config.connect_ahead,
        eject: config.eject.clone(),
    }
}

impl Pool {
    /// With no connection yet. `connect` is `timeouts.connect`.
    pub fn new(name: &str, config: &PoolConfig, connect: Duration, metrics: &Metrics) -> Arc<Pool> {
        let servers = config.servers.iter().map(|server| Arc::new(Server::new(name, server, metrics)));
        let queue = Queue::new(config.queue.length, config.queue.relief);
        Arc::new(Pool {
            name: name.into(),
            seats: Mutex::new(Seats::new(servers.collect(), bounds(config), queue)),
            budget: Mutex::new(Budget::new(config.retries.share, config.retries.floor)),
            settings: ArcSwap::from_pointee(Settings::new(config, connect)),
            tasks: TaskTracker::new(),
            metrics: PoolMetrics::new(name, metrics),
            families: metrics.clone(),
        })
    }

    /// Takes another configuration: servers that stay keep their connections, and what waits goes on waiting.
    pub fn reconfigure(self: &Arc<Self>, config: &PoolConfig, connect: Duration) {
        self.settings.store(Arc::new(Settings::new(config, connect)));
        let mut seats = self.seats.lock();
        seats.bounds = bounds(config);
        (seats.queue.limit, seats.queue.relief) = (config.queue.length, config.queue.relief);
        let gone = seats.retain(&config.servers);
        for server in &config.servers {
            seats.add(server, || self.server(server));
        }
        if config.health.is_none() {
            seats.rows.iter_mut().for_each(|row| row.health.unchecked());
        }
        drop(seats);
        drop(gone);
        let mut budget = self.budget.lock();
        (budget.share, budget.floor) = (config.retries.share, config.retries.floor);
        drop(budget);
        self.serve_line();
    }

    pub(super) fn server(&self, config: &ServerConfig) -> Server {
        Server::new(&self.name, config, &self.families)
    }

    /// A connection that is ready for a request, for the thread with this number: one that is at hand, or the first
    /// that is up or becomes free. `class` is asked only if there is need to wait. Cancel-safe: whoever drops it is
    /// out of the line, and what was opened serves others.
    pub async fn lease(
        self: &Arc<Self>,
        worker: usize,
        clock: &Clock,
        class: impl FnOnce(&QueueConfig) -> Class,
    ) -> Result<Lease, NoLease> {
        let now = clock.now().into_std();
        let taken = self.seats.lock().take(worker, now);
        let mut rest = None;
        if let Some((server, mut link, besides)) = taken {
            let seat = self.seat(server);
            if let Some(server) = besides {
                self.opening(server).begin(worker);
            }
            if link.worker() == worker && !link.is_stale(now) {
                link.server().metrics.reused.inc();
                return Ok(Lease::new(seat, link));
            }
            rest = Some((link, seat));
        }
        // A future of its own, since a request carries what it seldom needs.
        Box::pin(async move {
            if let Some((link, seat)) = rest
                && let Some(lease) = self.awaken(link, seat, worker, now)
            {
                return Ok(lease);
            }
            let class = class(&self.settings.load().queue);
            self.wait(class, worker, clock).await
        })
        .await
    }

    /// Closes what has been idle for too long or was closed by its server, and sends those who wait to servers
    /// that may be reached again. Once a second or so.
    pub fn sweep(self: &Arc<Self>, now: Instant) {
        let cleared = self.seats.lock().clear(|link| link.is_stale(now));
        drop(cleared);
        self.serve_line();
        self.budget.lock().tick(self.answers());
        let turns = self.seats.lock().turns(now);
        for (server, up) in turns {
            match up {
                true => tracing::info!(pool = &*self.name, server = &*server.name, "is used again"),
                false => tracing::warn!(pool = &*self.name, server = &*server.name, "is left out: it fails"),
            }
        }
    }

    /// Brings the gauges up to date.
    pub fn measure(&self) {
        let seats = self.seats.lock();
        seats.measure(Instant::now());
        for class in Class::ALL {
            let waiting = i64::try_from(seats.waiting(class)).unwrap_or(i64::MAX);
            self.metrics.queue_length[class as usize].set(waiting);
        }
    }

    /// Busy and idle connections of a server.
    pub fn connections(&self, server: usize) -> (usize, usize) {
        let seats = self.seats.lock();
        seats.counts().nth(server).map_or((0, 0), |(_, busy, idle)| (busy, idle))
    }

    /// Requests in line by class, the most urgent first.
    pub fn waiting(&self) -> [usize; 3] {
        let seats = self.seats.lock();
        Class::ALL.map(|class| seats.waiting(class))
    }

    pub(super) fn seats(&self) -> parking_lot::MutexGuard<'_, Seats<Caller>> {
        self.seats.lock()
    }

    /// The lease of an idle connection, or of another of the same server, if one is alive.
    pub(super) fn awaken(&self, link: Link, seat: Seat, worker: usize, now: Instant) -> Option<Lease> {
        let mut idle = Some(link);
        while let Some(mut link) = idle.take() {
            if !link.is_stale(now)
                && let Ok(link) = link.move_to(worker)
            {
                if link.is_reused() {
                    link.server().metrics.reused.inc();
                }
                return Some(Lease::new(seat, link));
            }
            idle = self.seats.lock().exchange(seat.server, worker);
        }
        None
    }

    /// Requests that the servers have answered.
    pub(super) fn answers(&self) -> u64 {
        self.seats.lock().counts().map(|(server, ..)| server.metrics.answers()).sum()
    }

    /// The server has failed with a request.
    pub(super) fn blame(&self, server: usize) {
        self.seats.lock().fault(server, Instant::now());
    }

    /// The server has answered after it had failed.
    pub(super) fn absolve(&self, server: usize) {
        self.seats.lock().recovered(server);
    }

    pub(super) fn seat(self: &Arc<Self>, server: usize) -> Seat {
        Seat { pool: self.clone(), server, held: true }
    }

    /// A place at a server, for a connection that is to be opened.
    pub(super) fn opening(self: &Arc<Self>, server: usize) -> Opening {
        Opening::new(self.clone(), server)
    }

    /// Takes a connection back that can serve another request.
    pub(super) fn take_back(self: &Arc<Self>, mut seat: Seat, link: Link, now: Instant) {
        let rested = self.seats.lock().rest(seat.server, link, now);
        match rested {
            Rested::Kept => seat.held = false,
            Rested::Next(waiter, link) => waiter.hand(Grant::Link(link, seat)),
            Rested::TooMany(link) => drop(link),
        }
    }

    /// Passes on what became of a connection that came up.
    pub(super) fn hand_on(self: &Arc<Self>, server: usize, rested: Rested<Caller>) {
        match rested {
            Rested::Kept => {}
            Rested::Next(waiter, link) => waiter.hand(Grant::Link(link, self.seat(server))),
            Rested::TooMany(link) => drop(link),
        }
    }

    /// Calls those in line who could have a connection, or a place for one.
    pub(super) fn serve_line(self: &Arc<Self>) {
        loop {
            let offer = self.seats.lock().offer(Instant::now());
            match offer {
                Some((waiter, Offer::Link(server, link))) => {
                    waiter.hand(Grant::Link(link, self.seat(server)))
                }
                Some((waiter, Offer::Place(server))) => waiter.hand(Grant::Place(self.opening(server))),
                None => return,
            }
        }
    }
}

impl Drop for Pool {
    /// After a reload, when the last of its leases is gone.
    fn drop(&mut self) {
        for (server, ..) in self.seats.get_mut().counts() {
            server.metrics.connections(0, 0);
            server.metrics.is_up(false);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.held {
            self.pool.seats.lock().vacate(self.server);
            self.pool.serve_line();
        }
    }
}

impl PoolMetrics {
    fn new(pool: &str, metrics: &Metrics) -> PoolMetrics {
        let rejected = |reason| metrics.queue_rejected.with_label_values(&[pool, reason]);
        PoolMetrics {
            connect: metrics.upstream_connect.with_label_values(&[pool]),
            queue_length: Class::ALL
                .map(|class| metrics.queue_length.with_label_values(&[pool, class.name()])),
            queue_wait: Class::ALL.map(|class| metrics.queue_wait.with_label_values(&[pool, class.name()])),
            rejected_full: rejected("full"),
            rejected_timeout: rejected("timeout"),
            rejected_gone: rejected("client_gone"),
            retries: ["stale", "reset", "status"]
                .map(|reason| metrics.upstream_retries.with_label_values(&[pool, reason])),
            retries_refused: metrics.upstream_retry_budget_exhausted.with_label_values(&[pool]),
        }
    }
}
