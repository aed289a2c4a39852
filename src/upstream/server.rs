//! One server of a pool: who it is, and the handles of its metrics.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus::{Histogram, IntCounter, IntGauge};

use super::addresses::Addresses;
use super::socket::Socket;
use super::tls::Handshaker;
use crate::config::{ServerConfig, Target};
use crate::metrics::Metrics;

/// A server.
pub(super) struct Server {
    /// As configured.
    pub(super) name: Arc<str>,
    config: ServerConfig,
    pub(super) addresses: Addresses,
    /// What a question of the proxy's own says as `Host`.
    pub(super) host: String,
    pub(super) metrics: ServerMetrics,
    /// Until when its connections are used unasked.
    unverifiable: Mutex<Option<Instant>>,
    /// Whether it has failed since its last answer, so that the next one has to be told to the table.
    troubled: AtomicBool,
}

/// Everything that is counted for one server.
pub(super) struct ServerMetrics {
    busy: IntGauge,
    idle: IntGauge,
    up: IntGauge,
    ejections: IntCounter,
    /// Well answered, then badly or not.
    checks: [IntCounter; 2],
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
    /// It spoke no TLS, or showed a certificate that isn't believed.
    Tls,
    /// It took a connection and didn't answer what that was asked first.
    Verify,
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
    const COUNT: usize = 8;
    const NAMES: [&str; Fault::COUNT] = [
        "connect",
        "connect_timeout",
        "tls",
        "verify",
        "response_timeout",
        "reset",
        "bad_response",
        "truncated",
    ];
}

impl Server {
    pub(super) fn new(pool: &str, config: &ServerConfig, metrics: &Metrics) -> Server {
        let name = config.name.as_str();
        Server {
            name: name.into(),
            config: config.clone(),
            addresses: Addresses::new(config.target.clone()),
            host: host(config),
            metrics: ServerMetrics::new(pool, name, metrics),
            unverifiable: Mutex::new(None),
            troubled: AtomicBool::new(false),
        }
    }

    /// Whether this is what was configured, in whichever of the ways that it can be written.
    pub(super) fn is(&self, config: &ServerConfig) -> bool {
        (&self.config.target, self.config.tls) == (&config.target, config.tls)
    }

    /// Connects, and shakes hands where it is an `https` server; a handshake that failed is `InvalidData`.
    pub(super) async fn connect(&self, limit: Duration, tls: &Handshaker) -> io::Result<Socket> {
        match (self.addresses.connect(limit).await?, &self.config.target) {
            (Socket::Tcp(socket), Target::Tcp { host, .. }) if self.config.tls => {
                let shaken = tls.shake_hands_at(socket, host).await;
                shaken.map(|tls| Socket::Tls(Box::new(tls))).map_err(handshake)
            }
            (socket, _) => Ok(socket),
        }
    }

    /// Whether its address is to be looked up.
    pub(super) fn has_name(&self) -> bool {
        self.addresses.has_name()
    }

    pub(super) fn is_troubled(&self) -> bool {
        self.troubled.load(Ordering::Relaxed)
    }

    pub(super) fn note_trouble(&self, troubled: bool) {
        self.troubled.store(troubled, Ordering::Relaxed);
    }

    /// Whether a question to a new connection is of use.
    pub(super) fn is_verifiable(&self, now: Instant) -> bool {
        self.unverifiable.lock().is_none_or(|until| until <= now)
    }

    /// It closes connections that were asked.
    pub(super) fn note_unverifiable(&self, now: Instant) {
        *self.unverifiable.lock() = Some(now + UNVERIFIABLE);
    }
}

/// What a server that ends a handshake does, whatever it says by it.
fn handshake(error: io::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("TLS: {error}"))
}

/// Host and port, where it isn't that of the scheme (RFC 9110 §7.2); a Unix socket has neither.
fn host(config: &ServerConfig) -> String {
    let implied = if config.tls { 443 } else { 80 };
    match &config.target {
        Target::Tcp { host, port } => {
            let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
            if *port == implied { host } else { format!("{host}:{port}") }
        }
        Target::Unix(_) => "localhost".to_owned(),
    }
}

/// How long a server that closes connections which were asked is not asked again: what Perlbal does.
const UNVERIFIABLE: Duration = Duration::from_secs(60);

impl ServerMetrics {
    fn new(pool: &str, server: &str, metrics: &Metrics) -> ServerMetrics {
        let class = |class| metrics.upstream_requests.with_label_values(&[pool, server, class]);
        ServerMetrics {
            busy: metrics.upstream_connections.with_label_values(&[pool, server, "busy"]),
            idle: metrics.upstream_connections.with_label_values(&[pool, server, "idle"]),
            up: metrics.upstream_up.with_label_values(&[pool, server]),
            ejections: metrics.upstream_ejections.with_label_values(&[pool, server]),
            checks: ["ok", "failed"]
                .map(|result| metrics.upstream_health_checks.with_label_values(&[pool, server, result])),
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

    /// Sets whether it may be used.
    pub(super) fn is_up(&self, up: bool) {
        self.up.set(i64::from(up));
    }

    pub(super) fn ejected(&self) {
        self.ejections.inc();
    }

    /// It was asked whether it is well.
    pub(super) fn checked(&self, well: bool) {
        self.checks[usize::from(!well)].inc();
    }

    /// Requests that it has answered.
    pub(super) fn answers(&self) -> u64 {
        self.requests.iter().map(IntCounter::get).sum()
    }

    pub(super) fn failed(&self, fault: Fault) {
        self.errors[fault as usize].inc();
    }
}
