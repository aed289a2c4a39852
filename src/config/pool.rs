//! `pools` and `upstream`: servers of an application, and how they are used.

use std::collections::HashMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use hyper::Method;

use super::health::{EJECT, EjectConfig, HEALTH, HealthConfig, eject};
use super::problem::{Fault, Placed, Problem};
use super::queue::{QUEUE, QueueConfig};
use super::reproxy::{REPROXY, ReproxyConfig};
use super::section::{Key, Section, Value};
use super::upstream_tls::{self, UpstreamTls};
use super::{address, form};

/// What the pool of `upstream:` is called in metrics and logs.
pub(super) const UPSTREAM_POOL: &str = "upstream";

/// A pool of servers that run the same application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolConfig {
    /// At least one.
    pub servers: Vec<ServerConfig>,
    /// Connections that one server is given at the most; `None` is `off`.
    pub max_connections: Option<NonZeroUsize>,
    /// Where requests wait when every connection is busy.
    pub queue: QueueConfig,
    /// Idle connections that each server keeps, and for how long.
    pub keepalive: KeepaliveConfig,
    /// Where answers of its servers may point.
    pub reproxy: ReproxyConfig,
    /// Connections that are opened before somebody needs them; 0 is `off` in the file.
    pub connect_ahead: usize,
    /// What a new connection is asked before it may take a request.
    pub verify: Option<VerifyConfig>,
    /// Requests that are sent again.
    pub retries: RetriesConfig,
    /// When a server that fails is left out for a while; `None` is `off`.
    pub eject: Option<EjectConfig>,
    /// What servers are asked now and then; `None` asks nothing.
    pub health: Option<HealthConfig>,
    /// How often names of servers are looked up; `None` looks them up once.
    pub resolve: Option<Duration>,
    /// How long to wait before each further attempt of a GET or HEAD that was answered 500; empty is `off`.
    pub error_retries: Vec<Duration>,
    /// How its `https` servers are spoken to.
    pub tls: UpstreamTls,
}

/// One server of a pool, as it was written and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServerConfig {
    /// As in the file, for metrics and logs.
    pub name: String,
    /// A name with a port (resolved at each connect), or a Unix socket.
    pub target: Target,
    /// Whether TLS is spoken there.
    pub tls: bool,
}

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// Host name or IP address, and port.
    Tcp {
        /// Name or address, without brackets.
        host: String,
        /// Port.
        port: u16,
    },
    /// Path of a Unix socket.
    Unix(PathBuf),
}

/// A question to a new connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyConfig {
    /// GET, HEAD or OPTIONS.
    pub method: Method,
    /// A path, or `*` with OPTIONS.
    pub target: String,
}

/// Idle connections to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeepaliveConfig {
    /// How many are kept idle for each server; 0 is `off` in the file.
    pub connections: usize,
    /// How long one may be idle; less than what the application server allows.
    pub idle: Duration,
    /// Requests that one connection serves; `None` is `off`.
    pub requests: Option<NonZeroU32>,
}

/// What may be sent again because a connection broke before its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetriesConfig {
    /// How often one request; 0 is `off` in the file.
    pub attempts: usize,
    /// Percent of a pool's requests.
    pub share: u32,
    /// How many in ten seconds in any case.
    pub floor: u32,
}

impl PoolConfig {
    /// A pool of which nothing but the servers was typed.
    pub fn of(servers: Vec<ServerConfig>) -> Self {
        PoolConfig {
            servers,
            // Only the application knows how many workers it has.
            max_connections: None,
            queue: QueueConfig::default(),
            keepalive: KeepaliveConfig::default(),
            reproxy: ReproxyConfig::default(),
            // A spare connection takes a worker of a prefork server.
            connect_ahead: 0,
            verify: None,
            eject: Some(EjectConfig::default()),
            // Only the application knows what a good question is.
            health: None,
            // What DNS servers of clusters and clouds say is seldom valid for less.
            resolve: Some(Duration::from_secs(30)),
            retries: RetriesConfig::default(),
            // It hides faults of the application, so that somebody has to want it.
            error_retries: Vec::new(),
            tls: UpstreamTls::default(),
        }
    }
}

impl ServerConfig {
    /// As it is written in a file; `None` where it is no server.
    pub fn read(text: &str) -> Option<ServerConfig> {
        address::server(text).ok()
    }
}

impl Default for KeepaliveConfig {
    fn default() -> Self {
        KeepaliveConfig {
            // Enough that a busy server is seldom connected to anew, few enough for its table of connections.
            connections: 256,
            // Under node's 5 s, so that a connection is seldom closed under a request. gunicorn's 2 s is shorter
            // still: the retry of a stale connection is for those.
            idle: Duration::from_secs(4),
            // The application server knows itself when a worker has served enough.
            requests: None,
        }
    }
}

impl Default for RetriesConfig {
    fn default() -> Self {
        RetriesConfig {
            // A request that breaks two servers is not given to a third.
            attempts: 1,
            // What is lost when one server of a few dies, and no more work than a pool can do besides.
            share: 20,
            // So that a quiet site has some, too.
            floor: 10,
        }
    }
}

pub(super) static POOL: Section<PoolConfig> = Section {
    short: Some("a server, a list of servers"),
    required: &[("servers", "at least one server")],
    keys: &[
        Key::new("servers", |pool, value| pool.servers = servers(value)),
        Key::new("max_connections", |pool, value| {
            value.put(&mut pool.max_connections, &form::NONZERO_OR_OFF)
        }),
        Key::section("queue", ".", &QUEUE, |pool, value| match value.is_text() {
            true => value.put(&mut pool.queue.length, &form::COUNT_OR_NONE),
            false => QUEUE.fill(&mut pool.queue, value),
        }),
        Key::section("keepalive", ".", &KEEPALIVE, |pool, value| match value.is_text() {
            true => value.put(&mut pool.keepalive.connections, &form::COUNT_OR_NONE),
            false => KEEPALIVE.fill(&mut pool.keepalive, value),
        }),
        Key::section("reproxy", ".", &REPROXY, |pool, value| REPROXY.fill(&mut pool.reproxy, value)),
        Key::new("connect_ahead", |pool, value| value.put(&mut pool.connect_ahead, &form::COUNT_OR_NONE)),
        Key::new("verify", |pool, value| pool.verify = value.read(&form::VERIFY)),
        Key::section("eject", ".", &EJECT, eject),
        Key::section("health", ".", &HEALTH, |pool, value| {
            let mut health = HealthConfig::at(String::new());
            match value.is_text() {
                true => value.put(&mut health.path, &form::QUESTION),
                false => HEALTH.fill(&mut health, value),
            }
            pool.health = Some(health);
        }),
        Key::new("resolve", |pool, value| value.put(&mut pool.resolve, &form::INTERVAL)),
        Key::section("retries", ".", &RETRIES, |pool, value| match value.is_text() {
            true => value.put(&mut pool.retries.attempts, &form::COUNT_OR_NONE),
            false => RETRIES.fill(&mut pool.retries, value),
        }),
        Key::new("error_retries", |pool, value| {
            value.each_of_some(|item| pool.error_retries.extend(item.read(&form::DELAY)));
        }),
        Key::section("tls", ".", upstream_tls::SECTION, |pool, value| pool.tls = upstream_tls::read(value)),
    ],
};

static KEEPALIVE: Section<KeepaliveConfig> = Section {
    short: Some(form::COUNT_OR_NONE.expected),
    required: &[],
    keys: &[
        Key::new("connections", |keepalive, value| {
            value.put(&mut keepalive.connections, &form::COUNT_OR_NONE)
        }),
        Key::new("idle", |keepalive, value| value.put(&mut keepalive.idle, &form::DURATION)),
        Key::new("requests", |keepalive, value| value.put(&mut keepalive.requests, &form::TURNS)),
    ],
};

static RETRIES: Section<RetriesConfig> = Section {
    short: Some(form::COUNT_OR_NONE.expected),
    required: &[],
    keys: &[
        Key::new("attempts", |retries, value| value.put(&mut retries.attempts, &form::COUNT_OR_NONE)),
        Key::new("share", |retries, value| value.put(&mut retries.share, &form::PERCENT)),
        Key::new("floor", |retries, value| value.put(&mut retries.floor, &form::FLOOR)),
    ],
};

pub(super) fn upstream(value: Value<'_>) -> Placed<Vec<ServerConfig>> {
    let place = value.node.place;
    if value.is_map() {
        value.refuse("a server or a list of servers; `pools` and `sites` can say more");
        return Placed { place, value: Vec::new() };
    }
    Placed { place, value: servers(value) }
}

pub(super) fn pools(value: Value<'_>) -> Placed<Vec<(String, PoolConfig)>> {
    let place = value.node.place;
    let mut pools = Vec::new();
    value.each_named(&form::POOL, |name, value| pools.push((name.value, pool(value))));
    Placed { place, value: pools }
}

/// A pool, or nothing but its servers.
fn pool(value: Value<'_>) -> PoolConfig {
    let mut pool = PoolConfig::of(Vec::new());
    match value.is_text() || value.is_list() {
        true => pool.servers = servers(value),
        false => POOL.fill(&mut pool, value),
    }
    pool
}

/// One server or several, each of them once.
fn servers(value: Value<'_>) -> Vec<ServerConfig> {
    let mut servers = Vec::new();
    let mut lines = HashMap::new();
    value.each_of_some(|item| {
        let place = item.node.place;
        let Value { key, node, problems } = item;
        let Some(server) = (Value { key, node, problems: &mut *problems }).read(&form::SERVER) else {
            return;
        };
        match lines.get(&server.target) {
            Some(&first) => {
                let fault = Fault::Repeated { what: "server", value: server.name, first };
                problems.push(Problem::new(place, fault).expected("each server once in a pool"));
            }
            None => {
                lines.insert(server.target.clone(), place.line);
                servers.push(server);
            }
        }
    });
    servers
}
