//! Connections on their way: opened for whoever is first in line when they are up, and for nobody in particular.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::link::Link;
use super::pool::{NoLease, Pool};
use super::seats::Failed;
use super::server::{Fault, Server};
use super::waiting::Grant;

/// After this a connection is no longer counted on, and others are opened elsewhere (RFC 8305 §5 names the same
/// time between two attempts).
const SLOW: Duration = Duration::from_millis(250);

/// A place for a connection that is being opened, given to whoever waits when it is dropped.
pub(super) struct Opening {
    pool: Arc<Pool>,
    server: usize,
    /// Whether it has become slow.
    slow: bool,
    /// Whether the place is ours to give back.
    held: bool,
}

impl Opening {
    pub(super) fn new(pool: Arc<Pool>, server: usize) -> Opening {
        Opening { pool, server, slow: false, held: true }
    }

    /// Opens the connection on this thread, which has this number.
    pub(super) fn begin(self, worker: usize) {
        let pool = self.pool.clone();
        pool.tasks.spawn(self.bring_up(worker));
    }

    /// Tries one server after another, as long as somebody waits for it.
    async fn bring_up(mut self, worker: usize) {
        let mut refused = Vec::new();
        loop {
            let failure = match self.dial(worker).await {
                Ok(link) => return self.up(link, worker),
                Err(failure) => failure,
            };
            refused.push(self.server);
            match self.failed(&refused, failure) {
                Some(next) => self = next,
                None => return,
            }
        }
    }

    async fn dial(&mut self, worker: usize) -> Result<Link, NoLease> {
        let pool = self.pool.clone();
        let server = pool.seats().server(self.server).clone();
        let mut dialing = std::pin::pin!(pool.dial_verified(&server, worker));
        if let Ok(result) = tokio::time::timeout(SLOW, dialing.as_mut()).await {
            return result;
        }
        self.slow = true;
        pool.seats().slow(self.server);
        pool.serve_line();
        dialing.await
    }

    fn up(mut self, link: Link, worker: usize) {
        self.held = false;
        let (pool, now) = (&self.pool, Instant::now());
        let rested = pool.seats().up(self.server, self.slow, link, now);
        pool.hand_on(self.server, rested);
        pool.serve_line();
        let besides = pool.seats().ahead(now);
        if let Some(server) = besides {
            pool.opening(server).begin(worker);
        }
    }

    /// The place for the next attempt, if there is to be one.
    fn failed(mut self, refused: &[usize], failure: NoLease) -> Option<Opening> {
        self.held = false;
        let pool = &self.pool;
        let failed = pool.seats().failed((self.server, self.slow), refused, Instant::now());
        match failed {
            Failed::Next(server) => return Some(Opening::new(pool.clone(), server)),
            Failed::Serve(waiter, server, link) => waiter.hand(Grant::Link(link, pool.seat(server))),
            Failed::Refuse(waiters) => {
                waiters.into_iter().for_each(|waiter| waiter.hand(Grant::Refused(failure.clone())));
            }
            Failed::Nothing => {}
        }
        None
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if self.held {
            self.pool.seats().abandon(self.server, self.slow);
            self.pool.serve_line();
        }
    }
}

impl Pool {
    /// Opens a connection to a server, within `timeouts.connect`.
    pub(super) async fn dial(&self, server: &Arc<Server>, worker: usize) -> Result<Link, NoLease> {
        let settings = self.settings.load_full();
        let limit = settings.connect;
        let (began, name) = (Instant::now(), || server.name.clone());
        let connected = match tokio::time::timeout(limit, server.connect(limit, &settings.tls)).await {
            Err(_) => Err(NoLease::ConnectTimeout { server: name(), limit }),
            Ok(Err(source)) => Err(NoLease::Connect { server: name(), source: Arc::new(source) }),
            Ok(Ok(socket)) => Ok(Link::open(socket, server.clone(), worker)),
        };
        match &connected {
            Ok(_) => {
                self.metrics.connect.observe(began.elapsed().as_secs_f64());
                server.metrics.opened.inc();
            }
            Err(NoLease::ConnectTimeout { .. }) => server.metrics.failed(Fault::ConnectTimeout),
            Err(NoLease::Connect { source, .. }) if source.kind() == ErrorKind::InvalidData => {
                server.metrics.failed(Fault::Tls);
            }
            Err(_) => server.metrics.failed(Fault::Connect),
        }
        connected
    }
}
