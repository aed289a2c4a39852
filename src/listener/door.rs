//! One listening address as all threads share it, and the loop that accepts at it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use prometheus::{IntCounter, IntGauge};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::Terms;
use super::places::{Place, Places};
use crate::hold::Keeper;
use crate::metrics::Metrics;
use crate::wire::WireStream;

/// A listening address.
pub struct Door {
    /// As it is bound, its port chosen.
    pub address: SocketAddr,
    tls: ArcSwapOption<ServerConfig>,
    measures: Measures,
}

struct Measures {
    open: IntGauge,
    accepted: IntCounter,
    over_limit: IntCounter,
    no_descriptor: IntCounter,
    shaken: IntCounter,
    unshaken: IntCounter,
    late: IntCounter,
}

/// A connection counted as open at its door, until dropped.
pub struct Entered(IntGauge);

impl Door {
    /// With TLS, or without.
    pub fn new(address: SocketAddr, tls: Option<Arc<ServerConfig>>, metrics: &Metrics) -> Door {
        let name = address.to_string();
        let rejected = |reason| metrics.connections_rejected.with_label_values(&[name.as_str(), reason]);
        let handshakes = |result| metrics.tls_handshakes.with_label_values(&[name.as_str(), result]);
        let measures = Measures {
            open: metrics.connections_open.with_label_values(&[&name]),
            accepted: metrics.connections_accepted.with_label_values(&[&name]),
            over_limit: rejected("limit"),
            no_descriptor: rejected("descriptors"),
            shaken: handshakes("ok"),
            unshaken: handshakes("failed"),
            late: handshakes("timeout"),
        };
        Door { address, tls: ArcSwapOption::new(tls), measures }
    }

    /// What connections that come from now on are offered.
    pub fn set_tls(&self, tls: Option<Arc<ServerConfig>>) {
        self.tls.store(tls);
    }

    /// Counts a connection as open.
    pub fn enter(&self) -> Entered {
        self.measures.open.inc();
        Entered(self.measures.open.clone())
    }

    /// Makes a new socket one that speaks HTTP; `None` if the client doesn't manage to.
    pub async fn shake_hands(&self, socket: TcpStream, terms: &Terms) -> Option<WireStream> {
        // Answers are written whole: waiting for more only delays them. A socket without the option still works.
        let _ = socket.set_nodelay(true);
        let Some(tls) = self.tls.load_full() else { return Some(WireStream::plain(socket)) };
        match tokio::time::timeout(terms.request_head(), WireStream::accept(socket, tls)).await {
            Ok(Ok(wire)) => {
                self.measures.shaken.inc();
                Some(wire)
            }
            Ok(Err(error)) => {
                self.measures.unshaken.inc();
                tracing::debug!(listener = %self.address, %error, "TLS handshake failed");
                None
            }
            Err(_) => {
                self.measures.late.inc();
                None
            }
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
    /// Its socket, before any handshake.
    pub socket: TcpStream,
    /// Where it comes from; IPv4 even through an IPv6 socket.
    pub peer: SocketAddr,
    /// Its place among the connections of the process.
    pub place: Place,
}

/// Accepts until it is closed, and then what the kernel had accepted already, which would be reset otherwise.
pub async fn accept(
    socket: TcpListener,
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
            accepted = socket.accept() => accepted,
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
    while let Some((socket, peer)) = std::future::poll_fn(|cx| waiting(socket.poll_accept(cx))).await {
        admit(socket, peer, door, places, keeper, &mut welcome);
    }
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
    let peer = SocketAddr::new(canonical(peer.ip()), peer.port());
    match places.take(keeper.held()) {
        Some(place) => welcome(Guest { socket, peer, place }),
        None => door.measures.over_limit.inc(),
    }
}

fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

fn waiting(
    accepted: std::task::Poll<io::Result<(TcpStream, SocketAddr)>>,
) -> std::task::Poll<Option<(TcpStream, SocketAddr)>> {
    std::task::Poll::Ready(match accepted {
        std::task::Poll::Ready(Ok(client)) => Some(client),
        std::task::Poll::Ready(Err(_)) | std::task::Poll::Pending => None,
    })
}

/// Errors of `accept` that say something of the client, which has left, and nothing of us (accept(2)).
fn is_of_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, PermissionDenied, TimedOut};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | PermissionDenied | TimedOut)
        || error.raw_os_error().is_some_and(|code| NETWORK_ERRORS.contains(&code))
}

/// ENONET, EPROTO, ENOPROTOOPT, EOPNOTSUPP, ENETDOWN, ENETUNREACH, EHOSTDOWN, EHOSTUNREACH on Linux.
const NETWORK_ERRORS: [i32; 8] = [64, 71, 92, 95, 100, 101, 112, 113];
