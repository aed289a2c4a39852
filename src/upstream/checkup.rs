//! What is done about a server besides requests: asking whether it is well, and looking its name up.
//!
//! The pool says what is due; whoever owns the tasks runs it, and stops it by dropping it.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use hyper::Method;

use super::link::Link;
use super::outgoing::Outgoing;
use super::pool::Pool;
use super::request_head::{Fields, RequestHead};
use super::roster::Due;
use crate::config::HealthConfig;

/// Something to do about a server of a pool.
pub struct Checkup {
    pool: Arc<Pool>,
    due: Due,
}

impl Pool {
    /// What is due now. Each is to be run; no server is asked twice at a time.
    pub fn checkups(self: &Arc<Self>, now: Instant) -> Vec<Checkup> {
        let settings = self.settings.load();
        let check = settings.health.as_ref().map(|health| {
            let jitter = health.jitter.min(health.interval);
            health.interval + jitter.mul_f64(fastrand::f64())
        });
        let due = self.seats().due(now, (check, settings.resolve));
        due.into_iter().map(|due| Checkup { pool: self.clone(), due }).collect()
    }

    /// When something is due next.
    pub fn next_checkup(&self) -> Option<Instant> {
        let settings = self.settings.load();
        let any = settings.health.is_some() || settings.resolve.is_some();
        any.then(|| self.seats().next_due()).flatten()
    }
}

impl Checkup {
    /// Does it.
    pub async fn run(self) {
        if self.due.lookup {
            self.look_up().await;
        }
        if self.due.check {
            self.check().await;
        }
    }

    async fn look_up(&self) {
        let server = &self.due.server;
        match server.addresses.look_up_once().await {
            Ok(true) => {
                let moved = |link: &mut Link| {
                    Arc::ptr_eq(link.server(), server)
                        && link.peer().is_some_and(|peer| !server.addresses.contains(peer))
                };
                let gone = self.pool.seats().clear(moved);
                tracing::info!(server = &*server.name, closed = gone.len(), "has other addresses");
            }
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(server = &*server.name, %error, "its name can't be looked up: the addresses that are known stay");
            }
        }
    }

    async fn check(&self) {
        let Due { row, server, .. } = &self.due;
        let settings = self.pool.settings.load_full();
        let Some(health) = &settings.health else { return };
        let outcome = tokio::time::timeout(health.timeout.min(health.interval), self.ask(health)).await;
        let outcome = outcome.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        if let Err(error) = &outcome {
            tracing::debug!(server = &*server.name, %error, "not well");
        }
        server.metrics.checked(outcome.is_ok());
        if let Some(row) = self.pool.seats().row_of(*row, server) {
            row.health.checked(outcome.is_ok(), health);
        }
        self.pool.serve_line();
    }

    /// On a connection of its own: those of the pool are for requests.
    async fn ask(&self, health: &HealthConfig) -> io::Result<()> {
        let server = &self.due.server;
        let socket = server.connect(health.timeout, &self.pool.settings.load().tls).await?;
        let mut link = Link::open(socket, server.clone(), usize::MAX);
        let mut fields = Fields::default();
        fields.add("host", health.host.as_ref().unwrap_or(&server.host).as_bytes());
        fields.add("connection", &b"close"[..]);
        let question = RequestHead { method: &Method::GET, target: &health.path, fields };
        let head = link.send(&question, Outgoing::default()).await.map_err(io::Error::other)?;
        if head.status.is_success() || head.status.is_redirection() {
            return Ok(());
        }
        Err(io::Error::other(format!("answered {}", head.status.as_u16())))
    }
}
