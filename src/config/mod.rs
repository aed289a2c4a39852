//! The configuration: from YAML text to a checked [`Config`], with every problem of a file said at once.
//!
//! Nothing outside this room sees what was typed. A [`Config`] has a value for each key, defaults included,
//! and has passed every rule; the rooms turn its parts into their own runtime types and keep no `Config`.

mod address;
mod bayeux;
mod certificate;
mod check;
mod decode;
mod defaults;
mod draft;
mod edge;
mod file;
mod form;
mod problem;
mod redirect;
mod section;
mod store;
mod substitute;
mod tickets;
mod tree;
mod units;

#[cfg(test)]
mod bad_files;
#[cfg(test)]
mod documentation;
#[cfg(test)]
mod good_files;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper::{Method, StatusCode};
use ipnet::IpNet;

pub use bayeux::BayeuxConfig;
pub use decode::keys;
pub use edge::{AccessConfig, CompressConfig, EdgeConfig, Edit, Encoding, ErrorPage};
pub use problem::{Fault, Place, Problem, Problems};
pub use tickets::TicketsConfig;

/// A whole, checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Threads for ordinary work, and as many again for held connections. Default: the number of cores.
    pub threads: NonZeroUsize,
    /// Where clients reach the proxy; at least one.
    pub listen: Vec<ListenerConfig>,
    /// Where the application and operators reach the proxy; `None` leaves the control port away.
    pub control: Option<ControlConfig>,
    /// Pools by name.
    pub pools: BTreeMap<String, PoolConfig>,
    /// Sites in the order of the file.
    pub sites: Vec<SiteConfig>,
    /// What channels keep and how holds behave where the application doesn't say.
    pub channels: ChannelsConfig,
    /// Bounds on what clients, the application and publishers may use.
    pub limits: Limits,
    /// Where bodies wait for somebody slower.
    pub buffers: BuffersConfig,
    /// The clocks of a request.
    pub timeouts: Timeouts,
    /// What clients come back with.
    pub tickets: TicketsConfig,
    /// How the proxy leaves.
    pub drain: DrainConfig,
    /// Where channels are kept.
    pub store: StoreConfig,
    /// Logs.
    pub log: LogConfig,
    /// Peers whose `X-Forwarded-*` is believed and extended.
    pub trusted_proxies: Vec<IpNet>,
}

impl Config {
    /// Reads a file, with the variables of this process's environment.
    ///
    /// # Errors
    /// Every problem of the file; what can't be read or isn't YAML hides the rest.
    pub fn load(path: &Path) -> Result<Config, Problems> {
        let name = path.display().to_string();
        let text = file::read(path).map_err(Problem::of_file).and_then(tree::text);
        let text = text.map_err(|problem| Problems::new(&name, vec![problem]))?;
        Config::parse(&name, &text, &|variable| std::env::var(variable).ok())
    }

    /// Reads the text of a file that is called `file_name` in problems. Reads the files that it names, too:
    /// certificates, keys and `${file:…}`.
    ///
    /// # Errors
    /// Every problem of the text; what isn't YAML hides the rest.
    pub fn parse(
        file_name: &str,
        text: &str,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Config, Problems> {
        let mut problems = Vec::new();
        let mut root = match tree::read(text, &mut problems) {
            Ok(root) => root,
            Err(problem) => {
                problems.push(problem);
                return Err(Problems::new(file_name, problems));
            }
        };
        substitute::fill(&mut root, environment, &mut problems);
        let draft = decode::read(&root, &mut problems);
        let config = check::check(draft, &root, SystemTime::now(), &mut problems);
        if problems.is_empty() { Ok(config) } else { Err(Problems::new(file_name, problems)) }
    }
}

/// One listening address.
#[derive(Debug, Clone)]
pub struct ListenerConfig {
    /// Address and port; port 0 lets the system choose.
    pub address: SocketAddr,
    /// Certificates in the order of the file, the first for clients that name none; empty means plain HTTP.
    pub tls: Vec<Certificate>,
    /// Peers whose connections begin with a PROXY header, which names the client.
    pub proxy_protocol: Vec<IpNet>,
}

/// A certificate chain with its key, read and matched.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The file of the chain.
    pub certificate: PathBuf,
    /// The file of the key.
    pub key: PathBuf,
    /// Both, as rustls wants them.
    pub certified: Arc<rustls::sign::CertifiedKey>,
}

/// An address to listen on or connect to, TCP or Unix.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// IP address and port.
    Tcp(SocketAddr),
    /// Path of a Unix socket.
    Unix(PathBuf),
}

/// The control port.
#[derive(Debug, Clone)]
pub struct ControlConfig {
    /// Where it listens. Anything but loopback or a Unix socket has a token.
    pub address: Endpoint,
    /// The bearer token that each request has to carry.
    pub token: Option<Secret>,
}

/// A string that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

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
}

/// A question to a new connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyConfig {
    /// GET, HEAD or OPTIONS.
    pub method: Method,
    /// A path, or `*` with OPTIONS.
    pub target: String,
}

/// When a server is left out because of what it does to requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EjectConfig {
    /// Faults one after another.
    pub faults: NonZeroU32,
    /// How long the first time; each further time twice as long.
    pub time: Duration,
    /// How long at the most.
    pub time_max: Duration,
}

/// A question to each server, and what its answers mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthConfig {
    /// Path and query; 2xx and 3xx are good answers.
    pub path: String,
    /// What it says as `Host`; `None` is the server's address.
    pub host: Option<String>,
    /// From one question to the next.
    pub interval: Duration,
    /// How much longer that is by chance, at the most.
    pub jitter: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Good answers in a row by which a server comes back.
    pub rise: NonZeroU32,
    /// Bad ones by which it goes.
    pub fall: NonZeroU32,
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

/// One server of a pool, as it was written and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServerConfig {
    /// As in the file, for metrics and logs.
    pub name: String,
    /// A name with a port (resolved at each connect), or a Unix socket.
    pub target: Target,
}

impl ServerConfig {
    /// As it is written in a file; `None` where it is no server.
    pub fn read(text: &str) -> Option<ServerConfig> {
        address::server(text).ok()
    }
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

/// The waiting line of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueConfig {
    /// Requests that may wait.
    pub length: usize,
    /// How long one may wait.
    pub timeout: Duration,
    /// Requests that wait before all others; one sign is enough.
    pub high: Vec<SignConfig>,
    /// Requests that wait behind all others; one sign is enough, and `high` counts more.
    pub low: Vec<SignConfig>,
    /// How many may be served before somebody of a lower class who waits; `None` is `off`.
    pub relief: Option<NonZeroU32>,
}

/// By what a request is told from others: all that is given has to fit, and something is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SignConfig {
    /// A cookie.
    pub cookie: Option<NamedConfig>,
    /// A header field; its name is lower case.
    pub header: Option<NamedConfig>,
    /// What the path begins with.
    pub path: Option<String>,
    /// Where the client is.
    pub peer: Option<IpNet>,
}

/// A cookie or a header field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedConfig {
    /// Its name.
    pub name: String,
    /// Its whole value; `None` is any.
    pub value: Option<String>,
}

/// What is fetched for an application that only says where it lies; nothing by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReproxyConfig {
    /// Hosts and networks that URLs may name.
    pub urls: Vec<UrlPattern>,
    /// Absolute folders, whose files may be named.
    pub files: Vec<PathBuf>,
    /// Names of sites that requests may be handed on to; each exists.
    pub sites: Vec<String>,
    /// Answers that are remembered; 0 is `off` in the file.
    pub cache: usize,
}

/// URLs that may be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UrlPattern {
    /// By name, as hosts of sites are written. What it resolves to has to be public, or be listed too.
    Host {
        /// In lower case.
        host: String,
        /// The only port, if there is one.
        port: Option<u16>,
    },
    /// By address, private ones included.
    Net {
        /// One address or many.
        net: IpNet,
        /// The only port, if there is one.
        port: Option<u16>,
    },
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

/// One site: the hosts it answers for and its routes.
#[derive(Debug, Clone)]
pub struct SiteConfig {
    /// The key in the file, which is also the first host pattern.
    pub name: String,
    /// Host patterns, lower case: exact, `*.suffix`, or `*`; the name is the first.
    pub hosts: Vec<String>,
    /// Routes in the order of the file.
    pub routes: Vec<RouteConfig>,
    /// What holds for its requests that no route is meant by.
    pub edge: EdgeConfig,
    /// Whether requests without TLS are sent to the same place with it.
    pub https: bool,
    /// The host that all others are sent to.
    pub canonical: Option<String>,
    /// Pages of other origins that may read what is held.
    pub cors: CorsConfig,
}

/// Origins whose pages may read the answers of held connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CorsConfig {
    /// Those that are named, with the cookies of their visitors; none by default.
    Origins(Vec<String>),
    /// Any, without cookies.
    Any,
}

impl Default for CorsConfig {
    fn default() -> CorsConfig {
        CorsConfig::Origins(Vec::new())
    }
}

/// One route of a site.
#[derive(Debug, Clone)]
pub struct RouteConfig {
    /// Path prefix; begins with a slash.
    pub path: String,
    /// What answers it.
    pub action: Action,
    /// Whether only an application's answer leads here, and no request of a client.
    pub internal: bool,
    /// What holds for its requests whatever answers them, that of the site included.
    pub edge: EdgeConfig,
    /// Which bodies may wait in the proxy.
    pub buffer: Buffer,
    /// Bytes of a request's body; `None` is `off`.
    pub request_body: Option<u64>,
}

/// Which bodies the proxy takes in, so that the application needn't wait for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buffer {
    /// A request's, before it is sent to the application.
    pub request: bool,
    /// An answer's, while the client is slower than the application.
    pub response: bool,
}

/// What answers the requests of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// The pool of this name, which exists in [`Config::pools`].
    Pool(String),
    /// Files.
    Files(FilesConfig),
    /// Another address.
    Redirect(RedirectConfig),
    /// Bayeux, answered by the proxy itself.
    Bayeux(BayeuxConfig),
}

/// A folder of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesConfig {
    /// The folder, which existed when the file was checked.
    pub root: PathBuf,
    /// Names of the files that stand for a folder; none is `off` in the file.
    pub index: Vec<String>,
    /// What every file says in `Cache-Control`.
    pub cache_control: Option<String>,
}

/// Where a route sends its clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedirectConfig {
    /// A URL, or a path of the same host.
    pub to: String,
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
    /// What of the request's target is put behind `to`.
    pub carry: Carry,
}

/// What a redirect carries over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carry {
    /// Nothing.
    Off,
    /// Path and query.
    Whole,
    /// What the path has behind that of the route, and the query.
    Rest,
}

/// Channels and holds.
#[derive(Debug, Clone)]
pub struct ChannelsConfig {
    /// What each channel keeps for those who come back.
    pub history: HistoryConfig,
    /// What happens to a reader that has fallen out of its channel's window.
    pub slow: SlowReader,
    /// Silence before a keep-alive where the application names none; `None` is `off`.
    pub keepalive: Option<Duration>,
    /// How long a poll is held where the application names no timeout.
    pub poll_timeout: Duration,
    /// How many clients of streams may come back in a time when all are cut off; `None` is `off`.
    pub returns: Option<Rate>,
}

/// What a channel keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryConfig {
    /// Messages kept; 0 is `off` in the file.
    pub messages: usize,
    /// How long a message is kept; `None` is `off`.
    pub age: Option<Duration>,
}

/// The policy for a reader that needs what has left the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlowReader {
    /// Close it; it comes back with its position.
    Close,
    /// Tell it what it missed and go on.
    Gap,
}

/// Bounds. `None` is `off`.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Client connections of the whole process, held ones included.
    pub connections: Option<usize>,
    /// What one address may take.
    pub per_address: PerAddress,
    /// Held connections of the whole process.
    pub held_connections: Option<usize>,
    /// Connections taken over in a time, polls included; `None` is `off`.
    pub new_holds: Option<Rate>,
    /// Bytes of a request's head.
    pub request_header: usize,
    /// Header fields of a request.
    pub request_headers: usize,
    /// Bytes of a request target.
    pub request_target: usize,
    /// Bytes of a request's body.
    pub request_body: Option<u64>,
    /// Bytes of an application's body that goes with a hold (the stream's beginning, the poll's fallback).
    pub hold_body: usize,
    /// Channels that one connection may hold.
    pub hold_channels: usize,
    /// Bytes of one published message.
    pub message: usize,
    /// Messages of one publish request.
    pub batch: usize,
    /// Channels that live at once.
    pub channels: usize,
    /// Bytes of all messages kept, over all channels.
    pub history_bytes: usize,
    /// Bytes that may wait for one held connection in one turn.
    pub turn_bytes: usize,
    /// Bytes of the body of `POST /publish`.
    pub publish_body: usize,
    /// Bayeux sessions that live at once.
    pub bayeux_sessions: usize,
}

/// What one address may take, an IPv6 one together with its /64. `None` is `off`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PerAddress {
    /// Connections at once, held ones included.
    pub connections: Option<usize>,
    /// Requests in a time.
    pub requests: Option<Rate>,
    /// Requests that may come at once; `None` for as many as the rate has.
    pub burst: Option<NonZeroU32>,
    /// Addresses whose requests are remembered.
    pub addresses: usize,
    /// Networks that are not counted.
    pub except: Vec<IpNet>,
}

/// So many in a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: NonZeroU32,
    /// In what time.
    pub per: Duration,
}

/// Where bodies wait for somebody slower.
#[derive(Debug, Clone)]
pub struct BuffersConfig {
    /// Bytes of all bodies in memory, requests and answers together.
    pub memory: usize,
    /// Bytes of one request's body in memory.
    pub request: usize,
    /// Bytes of one answer's body in memory.
    pub response: usize,
    /// Where nameless files are made.
    pub folder: PathBuf,
    /// Bytes of all of them together; 0 is `off` in the file.
    pub disk: u64,
    /// Which request bodies go to a file.
    pub upload: UploadConfig,
}

/// The reasons for which the body of a request that has no room in memory goes to a file; where there is none, the
/// application is asked at once and the rest is streamed. `None` is `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadConfig {
    /// It is at least so long, in bytes.
    pub size: Option<u64>,
    /// It comes slower than so many bytes a second.
    pub rate: Option<u64>,
    /// What is left of it would take longer.
    pub time: Option<Duration>,
}

/// The clocks of a request; each of them separate.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// From the first byte of a request to the end of its head (408); also for a TLS handshake.
    pub request_head: Duration,
    /// Silence between two requests of a kept connection.
    pub idle: Duration,
    /// Silence inside a body, from or to the client or the application.
    pub body: Duration,
    /// Connecting to a server.
    pub connect: Duration,
    /// From the request sent to the head of the answer (504).
    pub response: Duration,
    /// Silence inside a tunnel, such as a WebSocket that is passed on.
    pub tunnel: Duration,
}

/// How the proxy leaves.
#[derive(Debug, Clone)]
pub struct DrainConfig {
    /// After this the rest is cut.
    pub timeout: Duration,
    /// Held streams end spread over this.
    pub spread: Duration,
    /// How long `/readyz` says 503 before listeners close.
    pub lameduck: Duration,
}

/// Where channels are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreConfig {
    /// In memory alone: a start begins with nothing.
    Memory,
    /// In a folder.
    Disk(DiskConfig),
    /// In Redis or Valkey, for several nodes.
    Redis(RedisConfig),
}

/// A store that several nodes share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisConfig {
    /// `redis://` or `rediss://`; it may have a password.
    pub url: Secret,
    /// What the names of its keys begin with.
    pub prefix: String,
    /// Bytes of messages that may wait for it.
    pub waiting: usize,
}

/// A store in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskConfig {
    /// The folder; the one above it exists.
    pub path: PathBuf,
    /// When what is published is made safe.
    pub sync: SyncTime,
    /// Bytes of messages that may wait for the disk.
    pub waiting: usize,
}

/// When what is published is made safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncTime {
    /// Before it is answered, with all that wait.
    Group,
    /// This often. A loss of power may take back what was answered since; the end of the process may not.
    Interval(Duration),
}

/// Logs.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// Form of the access log, on standard output.
    pub access: AccessFormat,
    /// Level of the error log, on standard error.
    pub level: LogLevel,
}

/// Form of the access log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessFormat {
    /// NCSA combined, byte-exact.
    Combined,
    /// One JSON object a line.
    Json,
    /// None.
    Off,
}

/// Level of the error log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// What someone must act on.
    Error,
    /// Degraded.
    Warn,
    /// What an operator did or must know.
    Info,
    /// Mistakes of peers.
    Debug,
    /// Everything.
    Trace,
}
