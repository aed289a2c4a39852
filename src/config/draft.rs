//! What was typed, each value by itself in order, with the places that the rules need.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use hyper::StatusCode;
use ipnet::IpNet;

use super::channels::ChannelsDraft;
use super::client_certificates::ClientsDraft;
use super::control_certificates::ControlClientsDraft;
use super::edge::EdgeDraft;
use super::problem::{Place, Placed};
use super::route_grip::RouteGripDraft;
use super::{
    Action, Buffer, BuffersConfig, Carry, CorsConfig, DrainConfig, Endpoint, GripConfig, Limits, LogConfig,
    PoolConfig, PresenceConfig, Role, Secret, ServerConfig, StoreConfig, TicketsConfig, Timeouts, Websockets,
};

/// A whole file, defaults included.
pub(super) struct Draft {
    pub(super) threads: NonZeroUsize,
    pub(super) listen: Vec<ListenerDraft>,
    pub(super) control: Option<ControlDraft>,
    pub(super) upstream: Option<Placed<Vec<ServerConfig>>>,
    pub(super) pools: Option<Placed<Vec<(String, PoolConfig)>>>,
    pub(super) sites: Option<Placed<Vec<SiteDraft>>>,
    pub(super) channels: ChannelsDraft,
    pub(super) limits: Limits,
    pub(super) buffers: BuffersConfig,
    pub(super) timeouts: Timeouts,
    pub(super) tickets: TicketsConfig,
    pub(super) presence: Vec<PresenceConfig>,
    pub(super) grip: Option<GripConfig>,
    pub(super) drain: DrainConfig,
    pub(super) log: LogConfig,
    pub(super) trusted_proxies: Vec<IpNet>,
    pub(super) store: StoreDraft,
    pub(super) user: Option<Placed<String>>,
    pub(super) group: Option<Placed<String>>,
    pub(super) watchdog: Option<Duration>,
}

/// `store`.
pub(super) enum StoreDraft {
    /// One that needs no settings.
    Plain(StoreConfig),
    /// With keys.
    Kept(Placed<KeptDraft>),
}

/// `store` with its keys.
pub(super) struct KeptDraft {
    pub(super) path: Option<Placed<PathBuf>>,
    pub(super) redis: Vec<Secret>,
    pub(super) sentinels: Vec<Secret>,
    pub(super) tls: RedisTlsDraft,
    pub(super) prefix: String,
    pub(super) sync: SyncWord,
    pub(super) interval: Duration,
    pub(super) waiting: usize,
}

/// `store.tls`; without a key, the certificate's file holds both.
#[derive(Default)]
pub(super) struct RedisTlsDraft {
    pub(super) authority: Option<Placed<PathBuf>>,
    pub(super) certificate: Option<Placed<PathBuf>>,
    pub(super) key: Option<Placed<PathBuf>>,
}

/// What `store.sync` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SyncWord {
    Group,
    Interval,
}

/// One entry of `listen`; `None` where a problem was told.
#[derive(Default)]
pub(super) struct ListenerDraft {
    pub(super) address: Option<Placed<SocketAddr>>,
    pub(super) tls: Vec<CertificateDraft>,
    pub(super) proxy_protocol: Vec<IpNet>,
    pub(super) clients: Option<ClientsDraft>,
    pub(super) http2: Option<bool>,
}

/// One entry of `tls`; without a key, the certificate's file holds both.
#[derive(Default)]
pub(super) struct CertificateDraft {
    pub(super) certificate: Option<Placed<PathBuf>>,
    pub(super) key: Option<Placed<PathBuf>>,
}

/// `control`.
#[derive(Default)]
pub(super) struct ControlDraft {
    pub(super) address: Option<Placed<Endpoint>>,
    pub(super) token: Option<Placed<Secret>>,
    pub(super) tokens: Vec<TokenDraft>,
    /// Whether a token was typed, good or bad: a bad one is told once.
    pub(super) token_typed: bool,
    pub(super) tls: Vec<CertificateDraft>,
    /// Where, if it was.
    pub(super) tls_typed: Option<Place>,
    pub(super) clients: Option<ControlClientsDraft>,
}

/// One entry of `control.tokens`; `None` where a problem was told.
#[derive(Default)]
pub(super) struct TokenDraft {
    pub(super) name: Option<Placed<String>>,
    pub(super) token: Option<Placed<Secret>>,
    pub(super) roles: Vec<Role>,
}

/// One entry of `sites`.
pub(super) struct SiteDraft {
    pub(super) name: Placed<String>,
    pub(super) aliases: Vec<Placed<String>>,
    pub(super) routes: Option<Vec<RouteDraft>>,
    pub(super) pool: Option<Placed<String>>,
    pub(super) pool_typed: Option<Place>,
    pub(super) edge: EdgeDraft,
    pub(super) https: Option<HttpsDraft>,
    pub(super) canonical: Option<Placed<String>>,
    pub(super) cors: CorsConfig,
}

/// Requests without TLS are sent to it.
#[derive(Default, Clone, Copy)]
pub(super) struct HttpsDraft {
    /// As typed.
    pub(super) port: Option<u16>,
}

/// One entry of `routes`; `None` where a problem was told.
#[derive(Default)]
pub(super) struct RouteDraft {
    /// Of the mapping.
    pub(super) place: Option<Place>,
    pub(super) path: Option<Placed<String>>,
    /// Each that was typed; one is right.
    pub(super) actions: Vec<ActionDraft>,
    pub(super) internal: bool,
    pub(super) buffer: Buffer,
    /// Where it was typed.
    pub(super) request_body: Option<BodyLimit>,
    pub(super) websockets: Websockets,
    pub(super) websocket_pool: Option<Placed<String>>,
    pub(super) debug: bool,
    pub(super) upstream_path: Option<String>,
    pub(super) channel_prefix: Option<String>,
    pub(super) grip: RouteGripDraft,
    pub(super) edge: EdgeDraft,
}

/// `files` of a route; `None` where a problem was told.
pub(super) struct FilesDraft {
    pub(super) root: Option<Placed<PathBuf>>,
    pub(super) index: Vec<String>,
    pub(super) cache_control: Option<String>,
}

/// `redirect`.
pub(super) struct RedirectDraft {
    pub(super) to: Option<Placed<String>>,
    pub(super) status: StatusCode,
    pub(super) carry: Carry,
}

impl Default for RedirectDraft {
    fn default() -> Self {
        // What can be taken back, since browsers keep the others for ever.
        RedirectDraft { to: None, status: StatusCode::FOUND, carry: Carry::Off }
    }
}

/// Bytes of a body; `None` is `off`.
pub(super) struct BodyLimit(pub(super) Option<u64>);

/// What a route does by one of its keys; `None` where a problem was told.
pub(super) struct ActionDraft {
    pub(super) key: &'static str,
    pub(super) place: Place,
    pub(super) action: Option<Action>,
}
