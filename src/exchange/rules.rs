//! What holds for every request: limits and clocks, and what is known of the client's connection.

use std::cell::{OnceCell, RefCell};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{HeaderMap, HeaderValue};
use ipnet::IpNet;

use super::chain::client_behind;
use super::forwarding::FORWARDED_PROTO;
use super::grip::{GripRules, Identity};
use super::upstream_path::UpstreamPath;
use crate::clock::Clock;
use crate::config::{Buffer, BuffersConfig, Config, RouteConfig, UploadConfig, Websockets};
use crate::hold::{Passport, RouteChannels};
use crate::message::{ChannelName, Position};
use crate::spool::Spools;
use crate::stretch::Stretches;
use crate::upstream::Pace;

/// Limits and clocks, taken from a configuration once.
#[derive(Clone)]
pub struct Rules {
    /// Bytes of an answer's body that goes with a hold.
    pub hold_body: usize,
    /// Channels of one hold.
    pub hold_channels: usize,
    /// Bytes of a message on a held WebSocket.
    pub socket_message: usize,
    /// From the request sent to the head of the answer.
    pub response_timeout: Duration,
    /// Silence inside a body.
    pub body_timeout: Duration,
    /// How fast a request's body has to come.
    pub pace: Pace,
    /// Peers whose `X-Forwarded-*` is believed.
    pub trusted_proxies: Box<[IpNet]>,
}

impl Rules {
    /// As configured.
    pub fn new(config: &Config) -> Rules {
        Rules {
            hold_body: config.limits.hold_body,
            hold_channels: config.limits.hold_channels,
            socket_message: config.limits.socket_message,
            response_timeout: config.timeouts.response,
            body_timeout: config.timeouts.body,
            pace: Pace::new(config.timeouts.body_rate, config.timeouts.body_grace),
            trusted_proxies: config.trusted_proxies.as_slice().into(),
        }
    }

    /// Whether this peer is a proxy of ours.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|net| net.contains(&peer))
    }
}

/// What holds for the requests of one route.
#[derive(Clone)]
pub struct RouteRules {
    /// Where bodies wait for somebody slower.
    pub spools: Arc<Spools>,
    /// Bytes of a request's body; `None` is without end.
    pub request_body: Option<u64>,
    /// Which bodies may wait here.
    pub buffer: Buffer,
    /// Bytes of one request's body that wait in memory.
    pub request_memory: usize,
    /// Bytes of one answer's body that wait in memory.
    pub response_memory: usize,
    /// Which request bodies go to a file.
    pub upload: UploadConfig,
    /// How WebSockets reach the application.
    pub websockets: Websockets,
    /// Whether clients are told what is wrong with the application.
    pub debug: bool,
    /// What takes the place of the route's path in requests to the application.
    pub upstream_path: Option<Arc<UpstreamPath>>,
    /// What it says of the channels of its application.
    pub channels: Option<Arc<RouteChannels>>,
    /// Whether its application speaks GRIP.
    pub grip: GripRules,
}

impl RouteRules {
    /// For requests of the proxy itself, which no route of a client is meant by.
    pub fn of_proxy(config: &Config, identity: Option<&Arc<Identity>>, spools: &Arc<Spools>) -> RouteRules {
        let BuffersConfig { request: request_memory, response: response_memory, upload, .. } = config.buffers;
        let (spools, buffer, websockets) = (spools.clone(), Buffer::default(), Websockets::default());
        let (request_body, debug) = (None, false);
        RouteRules {
            spools,
            request_body,
            buffer,
            request_memory,
            response_memory,
            upload,
            websockets,
            debug,
            upstream_path: None,
            channels: None,
            grip: GripRules::On(identity.cloned()),
        }
    }

    /// As configured.
    pub fn new(
        route: &RouteConfig,
        config: &Config,
        identity: Option<&Arc<Identity>>,
        spools: &Arc<Spools>,
    ) -> RouteRules {
        let RouteConfig { request_body, buffer, websockets, debug, .. } = *route;
        let upstream_path = route.upstream_path.as_ref();
        RouteRules {
            request_body,
            buffer,
            websockets,
            debug,
            upstream_path: upstream_path.map(|becomes| Arc::new(UpstreamPath::new(&route.path, becomes))),
            channels: channels_of(route).map(Arc::new),
            grip: GripRules::new(config.grip.as_ref(), identity, route.grip.as_ref()),
            ..RouteRules::of_proxy(config, identity, spools)
        }
    }

    /// What stands before the names of the channels that the application puts its clients on.
    pub(super) fn channel_prefix(&self) -> Option<&str> {
        self.channels.as_deref()?.prefix()
    }

    /// What clients of GRIP are on whatever the application says.
    pub(super) fn always_on(&self) -> &[ChannelName] {
        self.channels.as_deref().map_or(&[], RouteChannels::always)
    }
}

fn channels_of(route: &RouteConfig) -> Option<RouteChannels> {
    // A checked configuration has none but names that are short enough.
    let always =
        route.grip.iter().flat_map(|grip| &grip.channels).filter_map(|name| ChannelName::parse(name).ok());
    RouteChannels::new(route.channel_prefix.as_deref(), always.collect())
}

/// A client's connection, as far as requests need to know it. Lives on one thread.
pub struct Client {
    /// Peer and listener.
    pub passport: Passport,
    /// Whether it speaks TLS.
    pub secure: bool,
    /// The connection's clock.
    pub clock: Clock,
    /// Number of the thread, for the pool's choice of connections.
    pub worker: usize,
    /// Where parts of files may stand among the bytes of an answer; `None` under TLS.
    pub(super) stretches: Option<Stretches>,
    /// The peer's address as a header, once it was needed.
    address: OnceCell<HeaderValue>,
}

impl Client {
    /// Once for each connection.
    pub fn new(
        passport: Passport,
        secure: bool,
        clock: Clock,
        worker: usize,
        stretches: Option<Stretches>,
    ) -> Client {
        Client { passport, secure, clock, worker, stretches, address: OnceCell::new() }
    }

    /// For a request of the proxy's own, on behalf of a client that is held.
    pub fn for_one_request(passport: Passport, secure: bool, worker: usize) -> Client {
        Client::new(passport, secure, Clock::default(), worker, None)
    }

    /// The peer's address as a header.
    pub(super) fn address(&self) -> &HeaderValue {
        self.address.get_or_init(|| address_value(self.ip()))
    }

    /// The peer's address, an IPv4 one as such.
    pub fn ip(&self) -> IpAddr {
        self.passport.peer().ip().to_canonical()
    }

    /// The client's address, behind proxies that are trusted to name it.
    pub fn address_behind(&self, rules: &Rules, headers: &HeaderMap) -> IpAddr {
        client_behind(headers, self.ip(), |address| rules.trusts(address))
    }

    /// Whether the client speaks TLS, to us or to a trusted proxy.
    pub fn is_secure(&self, rules: &Rules, headers: &HeaderMap) -> bool {
        let said = || headers.get(FORWARDED_PROTO).is_some_and(|scheme| scheme.as_bytes() == b"https");
        self.secure || rules.trusts(self.ip()) && said()
    }
}

thread_local! {
    /// What the last requests were told: where nothing is published in between, all are told the same.
    static POSITION: RefCell<Option<(Position, HeaderValue)>> = const { RefCell::new(None) };
}

/// A position as a header's value.
pub(super) fn position_value(position: Position) -> HeaderValue {
    POSITION.with_borrow_mut(|known| match known {
        Some((at, value)) if *at == position => value.clone(),
        _ => {
            let value = visible(position.to_string().into());
            *known = Some((position, value.clone()));
            value
        }
    })
}

/// An address as a header's value; one of IPv4 without the formatting of the standard library, which takes as long as
/// reading a small head.
fn address_value(address: IpAddr) -> HeaderValue {
    let IpAddr::V4(address) = address else { return visible(address.to_string().into()) };
    let mut text = Vec::with_capacity("255.255.255.255".len());
    for octet in address.octets() {
        if !text.is_empty() {
            text.push(b'.');
        }
        text.extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
    }
    visible(text)
}

fn visible(text: Vec<u8>) -> HeaderValue {
    HeaderValue::try_from(text).expect("addresses and positions are visible ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_as_everybody_writes_it() {
        for address in ["0.0.0.0", "127.1.0.10", "255.255.255.255", "::1", "2001:db8::9"] {
            assert_eq!(address_value(address.parse().unwrap()), address);
        }
    }
}
