//! One listening address as all threads share it, and the loop that accepts at it.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use ipnet::IpNet;
use prometheus::{IntCounter, IntGauge};
use rustix::net::SocketFlags;
use rustls::ServerConfig;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, Interest};
use tokio_util::sync::CancellationToken;

use super::Terms;
use super::http2::{self, Protocol};
use super::places::{Place, Places};
use super::plain_http;
use super::proxy_header::{self, Parsed};
use crate::hold::Keeper;
use crate::metrics::Metrics;
use crate::wire::{Unshaken, WireStream};

/// A listening address.
pub struct Door {
    /// As it is bound, its port chosen.
    pub address: SocketAddr,
    tls: ArcSwapOption<ServerConfig>,
    /// Who says by a PROXY header whose connection it passes on.
    balancers: ArcSwap<Vec<IpNet>>,
    /// Whether HTTP/2 is spoken without TLS; with it the handshake says so.
    http2: AtomicBool,
    measures: Measures,
}

struct Measures {
    open: IntGauge,
    accepted: IntCounter,
    over_limit: IntCounter,
    no_descriptor: IntCounter,
    bad_proxy_header: IntCounter,
    over_address_limit: IntCounter,
    shaken: IntCounter,
    unshaken: IntCounter,
    late: IntCounter,
}

/// A connection counted as open at its door, until dropped.
pub struct Entered(IntGauge);

impl Door {
    /// With TLS, or without, and then with HTTP/2 or not; behind these balancers, which send a PROXY header.
    pub fn new(
        address: SocketAddr,
        tls: Option<Arc<ServerConfig>>,
        balancers: Vec<IpNet>,
        http2: bool,
        metrics: &Metrics,
    ) -> Door {
        let name = address.to_string();
        let rejected = |reason| metrics.connections_rejected.with_label_values(&[name.as_str(), reason]);
        let handshakes = |result| metrics.tls_handshakes.with_label_values(&[name.as_str(), result]);
        let measures = Measures {
            open: metrics.connections_open.with_label_values(&[&name]),
            accepted: metrics.connections_accepted.with_label_values(&[&name]),
            over_limit: rejected("limit"),
            no_descriptor: rejected("descriptors"),
            bad_proxy_header: rejected("proxy_protocol"),
            over_address_limit: rejected("per_address"),
            shaken: handshakes("ok"),
            unshaken: handshakes("failed"),
            late: handshakes("timeout"),
        };
        let balancers = ArcSwap::from_pointee(balancers);
        let http2 = AtomicBool::new(http2);
        Door { address, tls: ArcSwapOption::new(tls), balancers, http2, measures }
    }

    /// What connections that come from now on are offered, and who introduces them.
    pub fn change(&self, tls: Option<Arc<ServerConfig>>, balancers: Vec<IpNet>, http2: bool) {
        self.http2.store(http2, Ordering::Relaxed);
        self.tls.store(tls);
        self.balancers.store(Arc::new(balancers));
    }

    /// Counts a connection as open.
    pub fn enter(&self) -> Entered {
        self.measures.open.inc();
        Entered(self.measures.open.clone())
    }

    /// Who the client is: the peer, unless that is a balancer, which says so in front of everything else. `None` if
    /// it doesn't manage to.
    pub async fn meet(&self, wire: &mut WireStream, peer: SocketAddr, terms: &Terms) -> Option<SocketAddr> {
        if !self.balancers.load().iter().any(|net| net.contains(&peer.ip())) {
            return Some(peer);
        }
        // In a box, as a handshake is.
        let header = Box::pin(tokio::time::timeout(terms.first_head(), read_proxy_header(wire)));
        match header.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(client) => Some(client.unwrap_or(peer)),
            Err(error) => {
                self.measures.bad_proxy_header.inc();
                tracing::debug!(listener = %self.address, %peer, %error, "no PROXY header");
                None
            }
        }
    }

    /// Counts a client that is let go because its address has enough connections.
    pub fn turn_away(&self) {
        self.measures.over_address_limit.inc();
    }

    /// Makes a new connection one that speaks HTTP; `None` if the client doesn't manage to.
    pub async fn shake_hands(&self, wire: WireStream, terms: &Terms) -> Option<WireStream> {
        let Some(tls) = self.tls.load_full() else { return Some(wire) };
        // In a box, since it is large and soon over.
        match Box::pin(tokio::time::timeout(terms.first_head(), wire.shake_hands(tls))).await {
            Ok(Ok(wire)) => {
                self.measures.shaken.inc();
                Some(wire)
            }
            Ok(Err(Unshaken { error, plain })) => {
                self.measures.unshaken.inc();
                tracing::debug!(listener = %self.address, %error, "TLS handshake failed");
                if let Some((wire, said)) = plain {
                    Box::pin(plain_http::turn_away(wire, said)).await;
                }
                None
            }
            Err(_) => {
                self.measures.late.inc();
                None
            }
        }
    }

    /// What a client speaks, and what was read to know that; `None` if it has left or takes too long.
    pub async fn protocol(&self, wire: &mut WireStream, terms: &Terms) -> Option<(Protocol, Vec<u8>)> {
        if let Some(session) = wire.session() {
            let is_http2 = session.alpn_protocol() == Some(b"h2");
            return Some((if is_http2 { Protocol::Http2 } else { Protocol::Http1 }, Vec::new()));
        }
        if !self.http2.load(Ordering::Relaxed) {
            return Some((Protocol::Http1, Vec::new()));
        }
        // In a box, as a handshake is.
        Box::pin(http2::tell_apart(wire, terms.patience.first)).await.ok()
    }
}

/// Takes the header off a connection and nothing of what follows it.
async fn read_proxy_header(wire: &mut WireStream) -> io::Result<Option<SocketAddr>> {
    let socket = wire.bare()?;
    let mut seen = Vec::new();
    loop {
        let before = seen.len();
        // There is room: a header of that length would be whole.
        seen.resize(proxy_header::LENGTH_MAX, 0);
        let arrived = socket.peek(&mut seen[before..]).await?;
        if arrived == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        seen.truncate(before + arrived);
        let (length, header) = match proxy_header::parse(&seen) {
            Parsed::More => (seen.len(), None),
            Parsed::Whole { length, client } => (length, Some(client)),
            Parsed::Bad(reason) => return Err(io::Error::new(io::ErrorKind::InvalidData, reason)),
        };
        socket.read_exact(&mut seen[before..length]).await?;
        if let Some(client) = header {
            return Ok(client);
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A client that was let in.
pub struct Guest {
    /// Its connection, before any handshake.
    pub wire: WireStream,
    /// Where it comes from; IPv4 even through an IPv6 socket.
    pub peer: SocketAddr,
    /// Its place among the connections of the process.
    pub place: Place,
}

/// Accepts until it is closed, and then what the kernel had accepted already, which would be reset otherwise.
pub async fn accept(
    listener: AsyncFd<TcpListener>,
    door: &Door,
    places: &Arc<Places>,
    keeper: &dyn Keeper,
    closed: CancellationToken,
    mut welcome: impl FnMut(Guest),
) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = closed.cancelled() => break,
            accepted = listener.async_io(Interest::READABLE, next) => accepted,
        };
        match accepted {
            Ok((socket, peer)) => admit(socket, peer, door, places, keeper, &mut welcome),
            Err(error) if is_of_one_client(&error) => {}
            Err(error) => {
                door.measures.no_descriptor.inc();
                tracing::warn!(listener = %door.address, %error, "can't accept connections");
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }
    while let Ok((socket, peer)) = next(listener.get_ref()) {
        admit(socket, peer, door, places, keeper, &mut welcome);
    }
}

/// The next client, by a socket that tokio doesn't know.
fn next(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (socket, peer) = rustix::net::acceptfrom_with(listener, flags)?;
    // A client that left at once may have no address any more.
    let peer =
        peer.and_then(|peer| SocketAddr::try_from(peer).ok()).ok_or(io::ErrorKind::ConnectionAborted)?;
    Ok((socket.into(), peer))
}

/// Without it a process out of descriptors would spin; the one that ends a connection frees one.
const BACK_OFF: Duration = Duration::from_millis(75);

fn admit(
    socket: TcpStream,
    peer: SocketAddr,
    door: &Door,
    places: &Arc<Places>,
    keeper: &dyn Keeper,
    welcome: &mut impl FnMut(Guest),
) {
    door.measures.accepted.inc();
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    match places.take(keeper.held()) {
        Some(place) => welcome(Guest { wire: WireStream::plain(socket), peer, place }),
        None => door.measures.over_limit.inc(),
    }
}

/// Errors of `accept` that say something of the client, which has left, and nothing of us (accept(2)).
fn is_of_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, PermissionDenied, TimedOut};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | PermissionDenied | TimedOut)
        || error.raw_os_error().is_some_and(|code| NETWORK_ERRORS.contains(&code))
}

/// ENONET, EPROTO, ENOPROTOOPT, EOPNOTSUPP, ENETDOWN, ENETUNREACH, EHOSTDOWN, EHOSTUNREACH on Linux.
const NETWORK_ERRORS: [i32; 8] = [64, 71, 92, 95, 100, 101, 112, 113];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Limits, Timeouts};

    #[tokio::test]
    async fn a_client_that_does_not_shake_hands_is_let_go_and_counted() {
        let metrics = Metrics::new().unwrap();
        let tickets = crate::listener::Tickets::new().unwrap();
        let tls = crate::listener::server_config(&[], &tickets, (None, false)).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let door = Door::new(listener.local_addr().unwrap(), Some(tls), Vec::new(), false, &metrics);
        let timeouts = Timeouts { request_head: Duration::from_millis(30), ..Timeouts::default() };
        let terms = Terms::new(&Limits::default(), &timeouts);
        for bytes in [&b""[..], b"\x16\x03", b"SSH-2.0-OpenSSH\r\n"] {
            let client = tokio::net::TcpStream::connect(door.address).await.unwrap();
            client.writable().await.unwrap();
            client.try_write(bytes).unwrap();
            let (socket, _) = listener.accept().await.unwrap();
            let wire = WireStream::plain(socket.into_std().unwrap());
            assert!(door.shake_hands(wire, &terms).await.is_none());
        }
        assert_eq!((door.measures.late.get(), door.measures.unshaken.get()), (2, 1));
    }

    #[test]
    fn errors_of_one_client_are_told_from_a_lack_of_descriptors() {
        let of_client = |code| is_of_one_client(&io::Error::from_raw_os_error(code));
        // ECONNABORTED, EPROTO, EPERM; EMFILE, ENFILE, ENOMEM.
        assert!([103, 71, 1].into_iter().all(of_client));
        assert!(![24, 23, 12].into_iter().any(of_client));
    }
}
