//! `limits`: bounds on what clients, the application and publishers may use.

use std::num::NonZeroU32;
use std::time::Duration;

use ipnet::IpNet;

use super::form;
use super::http2::{HTTP2, Http2Limits};
use super::section::{Key, Section};
use super::units::{KIB, MIB};

/// Bounds. `None` is `off`.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Client connections of the whole process, held ones included.
    pub connections: Option<usize>,
    /// What one address may take.
    pub per_address: PerAddress,
    /// What one HTTP/2 connection may have under way.
    pub http2: Http2Limits,
    /// Held connections of the whole process.
    pub held_connections: Option<usize>,
    /// Whether the file says so, and somebody counts on it.
    pub held_is_typed: bool,
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
    /// Bytes of a client's message on a held WebSocket.
    pub socket_message: usize,
    /// Bytes of one published message.
    pub message: usize,
    /// Messages of one publish request.
    pub batch: usize,
    /// Channels that live at once.
    pub channels: usize,
    /// Held connections on one channel, where no rule says otherwise; `None` is `off`.
    pub subscribers: Option<usize>,
    /// Bytes of all messages kept, over all channels.
    pub history_bytes: usize,
    /// Bytes that may wait for one held connection in one turn.
    pub turn_bytes: usize,
    /// Bytes of the body of `POST /publish`.
    pub publish_body: usize,
    /// Bayeux sessions that live at once.
    pub bayeux_sessions: usize,
    /// Questions to applications for what held clients may lack that are under way at once.
    pub recoveries: usize,
}

/// What one address may take, an IPv6 one together with its /64. `None` is `off`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PerAddress {
    /// Connections at once, held ones included.
    pub connections: Option<usize>,
    /// Held connections at once.
    pub holds: Option<usize>,
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

impl Default for Limits {
    fn default() -> Self {
        Limits {
            // The operating system's limit on open files is the first that an operator sets.
            connections: None,
            per_address: PerAddress::default(),
            http2: Http2Limits::default(),
            // About 1 GiB of memory at what a held connection costs.
            held_connections: Some(1_000_000),
            held_is_typed: false,
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
            // What people write and programs report; each held WebSocket may have one of them unfinished.
            socket_message: 64 * KIB,
            // The size at which something should be fetched by URL instead.
            message: MIB,
            // A request that is ordered as one step must not keep other publishers waiting.
            batch: 10_000,
            // About a kilobyte each while they are empty.
            channels: 1_000_000,
            // A channel is what many listen to.
            subscribers: None,
            // A quarter of the memory of a small machine.
            history_bytes: 256 * MIB,
            // More than a socket's send buffer takes at once, small beside what a burst would pile up.
            turn_bytes: 256 * KIB,
            // A full batch of messages of the usual size, and few enough for all publishers at once.
            publish_body: 16 * MIB,
            // Some kilobytes each while nothing waits for them.
            bayeux_sessions: 100_000,
            // Some connections of a pool: clients that are waiting for an answer come first.
            recoveries: 64,
        }
    }
}

impl Default for PerAddress {
    fn default() -> Self {
        PerAddress {
            // Behind one address there may be an office, or a country's mobile network.
            connections: None,
            holds: None,
            requests: None,
            burst: None,
            // Some megabytes, and more than a busy site has clients in a minute.
            addresses: 65_536,
            except: Vec::new(),
        }
    }
}

pub(super) static LIMITS: Section<Limits> = Section {
    short: None,
    required: &[],
    keys: &[
        Key::new("connections", |limits, value| value.put(&mut limits.connections, &form::COUNT_OR_OFF)),
        Key::section("per_address", ".", &PER_ADDRESS, |limits, value| {
            PER_ADDRESS.fill(&mut limits.per_address, value);
        }),
        Key::section("http2", ".", &HTTP2, |limits, value| HTTP2.fill(&mut limits.http2, value)),
        Key::new("held_connections", |limits, value| {
            limits.held_is_typed = true;
            value.put(&mut limits.held_connections, &form::COUNT_OR_OFF);
        }),
        Key::new("new_holds", |limits, value| value.put(&mut limits.new_holds, &form::RATE_OR_OFF)),
        Key::new("request_header", |limits, value| value.put(&mut limits.request_header, &form::HEAD_SIZE)),
        Key::new("request_headers", |limits, value| value.put(&mut limits.request_headers, &form::COUNT)),
        Key::new("request_target", |limits, value| value.put(&mut limits.request_target, &form::TARGET_SIZE)),
        Key::new("request_body", |limits, value| value.put(&mut limits.request_body, &form::SIZE_OR_OFF)),
        Key::new("hold_body", |limits, value| value.put(&mut limits.hold_body, &form::SIZE)),
        Key::new("hold_channels", |limits, value| value.put(&mut limits.hold_channels, &form::COUNT)),
        Key::new("socket_message", |limits, value| value.put(&mut limits.socket_message, &form::SIZE)),
        Key::new("message", |limits, value| value.put(&mut limits.message, &form::SIZE)),
        Key::new("batch", |limits, value| value.put(&mut limits.batch, &form::COUNT)),
        Key::new("channels", |limits, value| value.put(&mut limits.channels, &form::COUNT)),
        Key::new("subscribers", |limits, value| value.put(&mut limits.subscribers, &form::COUNT_OR_OFF)),
        Key::new("history_bytes", |limits, value| value.put(&mut limits.history_bytes, &form::SIZE)),
        Key::new("publish_body", |limits, value| value.put(&mut limits.publish_body, &form::SIZE)),
        Key::new("bayeux_sessions", |limits, value| value.put(&mut limits.bayeux_sessions, &form::COUNT)),
        Key::new("recoveries", |limits, value| value.put(&mut limits.recoveries, &form::COUNT)),
        Key::new("turn_bytes", |limits, value| value.put(&mut limits.turn_bytes, &form::SIZE)),
    ],
};

static PER_ADDRESS: Section<PerAddress> = Section {
    short: None,
    required: &[],
    keys: &[
        Key::new("connections", |limits, value| value.put(&mut limits.connections, &form::COUNT_OR_OFF)),
        Key::new("holds", |limits, value| value.put(&mut limits.holds, &form::COUNT_OR_OFF)),
        Key::new("requests", |limits, value| value.put(&mut limits.requests, &form::RATE_OR_OFF)),
        Key::new("burst", |limits, value| limits.burst = value.read(&form::BURST)),
        Key::new("addresses", |limits, value| value.put(&mut limits.addresses, &form::COUNT)),
        Key::new("except", |limits, value| {
            value.each(|item| limits.except.extend(item.read(&form::NET)));
        }),
    ],
};
