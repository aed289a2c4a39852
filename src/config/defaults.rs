//! What each key is when it is left out, with the reason.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use super::draft::{KeptDraft, SyncWord};
use super::{
    AccessFormat, Buffer, BuffersConfig, ChannelsConfig, DrainConfig, EjectConfig, HealthConfig,
    HistoryConfig, KeepaliveConfig, Limits, LogConfig, LogLevel, PerAddress, PoolConfig, QueueConfig,
    ReproxyConfig, RetriesConfig, ServerConfig, SlowReader, Timeouts, UploadConfig,
};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// The site and the pool that `upstream:` stands for.
pub(super) const UPSTREAM_SITE: &str = "*";
/// Its name in metrics and logs.
pub(super) const UPSTREAM_POOL: &str = "upstream";
/// What every server calls the page of a folder.
pub(super) const INDEX: &str = "index.html";
/// What a site without `routes` serves from its pool.
pub(super) const ROUTE_PATH: &str = "/";

/// As many as cores; one where the system doesn't tell.
pub(super) fn threads() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
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
        }
    }
}

/// A count that is none only if this program is wrong.
const fn count(number: u32) -> NonZeroU32 {
    match NonZeroU32::new(number) {
        Some(number) => number,
        None => NonZeroU32::MIN,
    }
}

impl Default for EjectConfig {
    fn default() -> Self {
        EjectConfig {
            // More than one bad request does, fewer than people notice.
            faults: count(5),
            // About a restart.
            time: Duration::from_secs(5),
            // Somebody who has mended it doesn't want to wait longer.
            time_max: Duration::from_secs(60),
        }
    }
}

impl HealthConfig {
    /// Of which nothing but the path was typed.
    pub fn at(path: String) -> Self {
        HealthConfig {
            path,
            host: None,
            interval: Duration::from_secs(5),
            // So that many proxies don't ask at the same moment.
            jitter: Duration::from_millis(500),
            // A worker that is busy for a moment is well.
            timeout: Duration::from_secs(2),
            rise: count(2),
            fall: count(3),
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

impl Default for QueueConfig {
    fn default() -> Self {
        QueueConfig {
            // Some seconds of work for a pool of a few dozen workers; a longer line only makes answers late.
            length: 1000,
            // About as long as a person waits before they reload, which would queue a second request.
            timeout: Duration::from_secs(30),
            high: Vec::new(),
            low: Vec::new(),
            // A tenth of the connections for the less urgent: slow, but not starved.
            relief: NonZeroU32::new(10),
        }
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

impl Default for ChannelsConfig {
    fn default() -> Self {
        ChannelsConfig {
            history: HistoryConfig::default(),
            // It comes back with its position and reads what is left from history: nothing is lost silently.
            slow: SlowReader::Close,
            // Under the 30 s after which the more impatient middleboxes forget a silent connection.
            keepalive: Some(Duration::from_secs(20)),
            // Under the 60 s that load balancers and nginx wait for an answer.
            poll_timeout: Duration::from_secs(55),
            // Browsers come back after some seconds, which is right until there are thousands.
            returns: None,
        }
    }
}

impl Default for HistoryConfig {
    fn default() -> Self {
        HistoryConfig {
            // What a chat or a ticker says while a phone changes its network.
            messages: 100,
            // Longer than any reconnection; an older page is better loaded anew.
            age: Some(Duration::from_secs(300)),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            // The operating system's limit on open files is the first that an operator sets.
            connections: None,
            per_address: PerAddress::default(),
            // About 1 GiB of memory at what a held connection costs.
            held_connections: Some(1_000_000),
            // Only the operator knows what the application can render in a second.
            new_holds: None,
            // Room for the cookies and tokens of large sites.
            request_header: 64 * KIB,
            // hyper's own bound, and that of most servers behind.
            request_headers: 100,
            // What Apache and nginx allow by default: more would be refused behind us.
            request_target: 8 * KIB,
            // On disk or streamed, so it costs no memory; it bounds what a client can keep a worker busy with.
            request_body: Some(1 << 30),
            // A page that goes before a stream, kept in memory until it is sent.
            hold_body: MIB,
            // A personal channel and those of a page; thousands would make each wake of a shard slow.
            hold_channels: 100,
            // The size at which something should be fetched by URL instead.
            message: MIB,
            // A request that is ordered as one step must not keep other publishers waiting.
            batch: 10_000,
            // About a kilobyte each while they are empty.
            channels: 1_000_000,
            // A quarter of the memory of a small machine.
            history_bytes: 256 * MIB,
            // More than a socket's send buffer takes at once, small beside what a burst would pile up.
            turn_bytes: 256 * KIB,
            // A full batch of messages of the usual size, and few enough for all publishers at once.
            publish_body: 16 * MIB,
            // Some kilobytes each while nothing waits for them.
            bayeux_sessions: 100_000,
        }
    }
}

impl Default for PerAddress {
    fn default() -> Self {
        PerAddress {
            // Behind one address there may be an office, or a country's mobile network.
            connections: None,
            requests: None,
            burst: None,
            // Some megabytes, and more than a busy site has clients in a minute.
            addresses: 65_536,
            except: Vec::new(),
        }
    }
}

impl Default for Buffer {
    /// A worker of the application is the scarce thing: it waits for no client, in neither direction.
    fn default() -> Self {
        Buffer { request: true, response: true }
    }
}

impl Default for BuffersConfig {
    fn default() -> Self {
        BuffersConfig {
            // An eighth of a small machine: a few hundred slow clients before files are needed.
            memory: 128 * MIB,
            // Forms and JSON stay in memory; what is larger is a file at the client's, too.
            request: 256 * KIB,
            // Nearly every page; the same as Perlbal's.
            response: 256 * KIB,
            // Made to last and on a disk, while /tmp is memory on many systems.
            folder: "/var/tmp".into(),
            // Room for some thousand pages and uploads, and a size that no machine misses.
            disk: 1 << 30,
            upload: UploadConfig::default(),
        }
    }
}

impl Default for UploadConfig {
    fn default() -> Self {
        UploadConfig {
            // Whatever has no room in memory, where its length is known.
            size: Some(256 << 10),
            // Nobody knows how fast clients are, only how long a worker may wait.
            rate: None,
            // The longest that a worker may wait for a client.
            time: Some(Duration::from_secs(5)),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            // A head is one packet or two; who takes longer holds a connection on purpose.
            request_head: Duration::from_secs(10),
            // Over the 60 s of load balancers, so that they close first and never send into a closing connection.
            idle: Duration::from_secs(75),
            // Silence, not duration: a slow phone still sends something within a minute.
            body: Duration::from_secs(60),
            // A lost SYN is sent again after 1 and 3 s.
            connect: Duration::from_secs(5),
            // What nginx and Apache allow an application.
            response: Duration::from_secs(60),
            // Longer than WebSockets are silent that have a ping of their own.
            tunnel: Duration::from_secs(3600),
        }
    }
}

impl Default for DrainConfig {
    fn default() -> Self {
        DrainConfig {
            // What systemd, Docker's `stop -t` users and Kubernetes commonly allow before they kill.
            timeout: Duration::from_secs(30),
            // Slow enough that those who come back don't arrive in the same second.
            spread: Duration::from_secs(10),
            // Only behind a load balancer that asks `/readyz` is waiting of use.
            lameduck: Duration::ZERO,
        }
    }
}

impl Default for KeptDraft {
    fn default() -> Self {
        KeptDraft {
            path: None,
            redis: None,
            // Whoever looks into Redis sees whose keys they are.
            prefix: "perihelion".to_owned(),
            // Who asks for a disk wants what was acknowledged to be there.
            sync: SyncWord::Group,
            // What Redis calls `everysec`, and what people who choose it expect to lose at most.
            interval: Duration::from_secs(1),
            // Some seconds of a slow disk at the usual size of a message.
            waiting: 64 * MIB,
        }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig {
            // What every log reader understands.
            access: AccessFormat::Combined,
            // What an operator did or must know; mistakes of clients are counted, not logged.
            level: LogLevel::Info,
        }
    }
}
