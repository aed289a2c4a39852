//! One server of a pool: who it is, and the handles of its metrics.

use std::sync::Arc;
use std::time::Duration;

use prometheus::{Histogram, IntCounter, IntGauge};

use crate::config::{ServerConfig, Target};
use crate::metrics::Metrics;

/// A server.
pub(super) struct Server {
    /// As configured.
    pub(super) name: Arc<str>,
    pub(super) target: Target,
    pub(super) metrics: ServerMetrics,
}

/// Everything that is counted for one server.
pub(super) struct ServerMetrics {
    busy: IntGauge,
    idle: IntGauge,
    pub(super) opened: IntCounter,
    pub(super) reused: IntCounter,
    response: Histogram,
    /// By the first digit of the status, `1xx` to `5xx`, then everything else.
    requests: [IntCounter; 6],
    errors: [IntCounter; Fault::COUNT],
}

/// What may go wrong with a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It couldn't be reached.
    Connect,
    /// It didn't take the connection in time.
    ConnectTimeout,
    /// It didn't answer in time.
    ResponseTimeout,
    /// It closed or reset the connection before its answer.
    Reset,
    /// Its answer was no HTTP, or an answer that can't be passed on.
    BadResponse,
    /// It broke off in its answer's body.
    Truncated,
}

impl Fault {
    const COUNT: usize = 6;
    const NAMES: [&str; Fault::COUNT] =
        ["connect", "connect_timeout", "response_timeout", "reset", "bad_response", "truncated"];
}

impl Server {
    pub(super) fn new(pool: &str, config: &ServerConfig, metrics: &Metrics) -> Server {
        let name = config.name.as_str();
        Server {
            name: name.into(),
            target: config.target.clone(),
            metrics: ServerMetrics::new(pool, name, metrics),
        }
    }
}

impl ServerMetrics {
    fn new(pool: &str, server: &str, metrics: &Metrics) -> ServerMetrics {
        let class = |class| metrics.upstream_requests.with_label_values(&[pool, server, class]);
        ServerMetrics {
            busy: metrics.upstream_connections.with_label_values(&[pool, server, "busy"]),
            idle: metrics.upstream_connections.with_label_values(&[pool, server, "idle"]),
            opened: metrics.upstream_connections_opened.with_label_values(&[pool, server]),
            reused: metrics.upstream_connections_reused.with_label_values(&[pool, server]),
            response: metrics.upstream_response.with_label_values(&[pool, server]),
            requests: ["1xx", "2xx", "3xx", "4xx", "5xx", "other"].map(class),
            errors: Fault::NAMES
                .map(|reason| metrics.upstream_errors.with_label_values(&[pool, server, reason])),
        }
    }

    /// Sets how many connections there are.
    pub(super) fn connections(&self, busy: usize, idle: usize) {
        for (gauge, count) in [(&self.busy, busy), (&self.idle, idle)] {
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    pub(super) fn answered(&self, status: hyper::StatusCode, after: Duration) {
        let class = usize::from(status.as_u16() / 100).wrapping_sub(1).min(5);
        self.requests[class].inc();
        self.response.observe(after.as_secs_f64());
    }

    pub(super) fn failed(&self, fault: Fault) {
        self.errors[fault as usize].inc();
    }
}
