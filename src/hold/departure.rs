//! A connection on its way from ordinary work to where it is held, and the way back.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper::header::{HeaderMap, HeaderValue};
use tokio::sync::mpsc;

use super::tunnel::Tunnel;
use super::{Hold, Tickets};
use crate::message::{ChannelName, Epoch, Position, Sequence, Start};
use crate::quota::Guest;
use crate::wire::{Mooring, Wire};

/// Whoever holds connections: the shards, or whoever refuses where holding is off.
pub trait Keeper: Send + Sync {
    /// The last place in the order that was given out; a hold begins here when its request is forwarded.
    fn head(&self) -> Position;

    /// A place for one more held connection, with these channels.
    ///
    /// # Errors
    /// `limits.held_connections`, `limits.new_holds` or a quota of its channels allows none now.
    fn admit(&self, wishes: &[(ChannelName, Start)]) -> Result<Permit, Crowd>;

    /// Connections held now.
    fn held(&self) -> usize;

    /// Takes a connection over.
    fn keep_socket(&self, departure: Box<Departure>);

    /// Signs and reads tickets; `None` where nothing is held that could come back.
    fn tickets(&self) -> Option<&Tickets>;
}

/// Why there is no place for another held connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crowd {
    /// There are as many as there may be.
    Full,
    /// Too many have come at once; how long this one should wait.
    Rush(Duration),
    /// A channel has as many subscribers as it may, or would be one too many.
    Channel,
    /// The client's address has as many as it may.
    Address,
}

/// The keeper where nothing can be held: it has no place for any connection.
#[derive(Debug, Clone, Copy, Default)]
pub struct Refuse;

impl Keeper for Refuse {
    fn head(&self) -> Position {
        Position { epoch: Epoch(0), sequence: Sequence(0) }
    }

    fn admit(&self, _: &[(ChannelName, Start)]) -> Result<Permit, Crowd> {
        Err(Crowd::Full)
    }

    fn held(&self) -> usize {
        0
    }

    fn keep_socket(&self, departure: Box<Departure>) {
        // Can't have been admitted here; its client comes back.
        drop(departure);
    }

    fn tickets(&self) -> Option<&Tickets> {
        None
    }
}

/// A place among the held connections, given back on drop.
#[derive(Debug)]
pub struct Permit {
    held: Arc<AtomicUsize>,
    /// The client's place among those of its address, where these are counted.
    guest: Option<Box<Guest>>,
}

impl Permit {
    /// Takes one of `limit` places (`None`: without end) that `held` counts.
    pub fn take(held: &Arc<AtomicUsize>, limit: Option<usize>) -> Option<Permit> {
        let before = held.fetch_add(1, Ordering::Relaxed);
        let permit = Permit { held: held.clone(), guest: None };
        limit.is_none_or(|limit| before < limit).then_some(permit)
    }

    /// Places that are taken, this one included.
    pub fn taken(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Keeps the client counted for its address as long as it is held, beside what it is counted for already.
    pub fn keep(&mut self, guest: Option<Box<Guest>>) {
        match &mut self.guest {
            Some(known) => known.along_with(guest),
            none => *none = guest,
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.held.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a service answers instead of a response when the connection leaves HTTP: then nothing of an answer is written,
/// and whoever drives the connection has its socket.
#[derive(Debug)]
pub enum TakeOver {
    /// It is to be held.
    Hold(Box<Hold>, Permit),
    /// It becomes a tunnel to a server, which has agreed to it (RFC 9110 §7.8).
    Tunnel(Tunnel),
}

impl TakeOver {
    /// Edits the head that a held client gets. That of a tunnel is agreed on between both sides, and stays.
    pub fn edit_head(&mut self, edit: impl FnOnce(&mut HeaderMap)) {
        self.edit_hold(|hold| edit(&mut hold.answer.headers));
    }

    /// Edits what is to be held, where the connection leaves for that.
    pub fn edit_hold(&mut self, edit: impl FnOnce(&mut Hold)) {
        if let TakeOver::Hold(hold, _) = self {
            edit(hold);
        }
    }
}

/// A connection that leaves: socket, what was read ahead, what to hold, and the way home.
#[derive(Debug)]
pub struct Departure {
    /// The socket.
    pub wire: Wire,
    /// Where it is still registered, if it was held before.
    pub mooring: Option<Mooring>,
    /// Bytes of the client behind the request that is held.
    pub read_ahead: Vec<u8>,
    /// What to hold.
    pub hold: Box<Hold>,
    /// Its place among the held ones.
    pub permit: Permit,
    /// Where it came from.
    pub home: Home,
}

/// The way back to the thread that drove the connection.
#[derive(Debug, Clone)]
pub struct Home {
    /// Bounded: when it is full the connection is closed instead, and its client opens a new one.
    pub desk: mpsc::Sender<Return>,
    /// What the thread needs to know again.
    pub passport: Passport,
}

/// What is known of a connection from its accept on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passport {
    /// Of the peer of the socket, which may be a trusted proxy. An address with its port takes a third less without
    /// what IPv6 has besides, and a held connection keeps it.
    ip: IpAddr,
    port: u16,
    /// Number of its listener in the thread's own table.
    pub listener: u16,
    /// The certificate that the client has shown, as a field says it (RFC 9440 §2.1).
    pub certificate: Option<Arc<HeaderValue>>,
}

impl Passport {
    /// Of a client that has shown no certificate.
    pub fn new(peer: SocketAddr, listener: u16) -> Passport {
        Passport { ip: peer.ip(), port: peer.port(), listener, certificate: None }
    }

    /// The same of one that has, if it has.
    pub fn with_certificate(self, certificate: Option<Arc<HeaderValue>>) -> Passport {
        Passport { certificate, ..self }
    }

    /// The peer of the socket, which may be a trusted proxy.
    pub fn peer(&self) -> SocketAddr {
        SocketAddr::new(self.ip, self.port)
    }
}

/// A connection that comes back for its next request.
#[derive(Debug)]
pub struct Return {
    /// The socket.
    pub wire: Wire,
    /// Where it is still registered.
    pub mooring: Option<Mooring>,
    /// Bytes of the client behind the request that was answered: its next request, or nothing yet.
    pub read_ahead: Vec<u8>,
    /// How long its client has said nothing since.
    pub silence: Duration,
    /// Its place among the held ones, until it is counted as a connection again.
    pub permit: Permit,
    /// As it left.
    pub passport: Passport,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permit_gives_its_place_back() {
        let held = Arc::new(AtomicUsize::new(0));
        let first = Permit::take(&held, Some(1)).unwrap();
        assert!(Permit::take(&held, Some(1)).is_none());
        drop(first);
        assert!(Permit::take(&held, Some(1)).is_some());
        assert!(Permit::take(&held, None).is_some());
        assert_eq!(held.load(Ordering::Relaxed), 0);
    }
}
