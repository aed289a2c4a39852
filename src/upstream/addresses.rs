//! Where a server is: its addresses, looked up by name now and then, and tried one after another.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::{TcpStream, UnixStream, lookup_host};

use super::socket::Socket;
use crate::config::Target;

/// The addresses of a server.
pub(super) struct Addresses {
    target: Target,
    known: Mutex<Known>,
    looking_up: AtomicBool,
    moves: AtomicU32,
}

#[derive(Default)]
struct Known {
    list: Vec<SocketAddr>,
    /// Where the next attempt begins, so that each address has its share.
    turn: usize,
}

impl Addresses {
    pub(super) fn new(target: Target) -> Addresses {
        let known = match &target {
            Target::Tcp { host, port } => {
                let address = host.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, *port));
                Known { list: address.into_iter().collect(), turn: 0 }
            }
            Target::Unix(_) => Known::default(),
        };
        Addresses {
            target,
            known: Mutex::new(known),
            looking_up: AtomicBool::new(false),
            moves: AtomicU32::new(0),
        }
    }

    /// Whether there is a name to look up.
    pub(super) fn has_name(&self) -> bool {
        matches!(&self.target, Target::Tcp { host, .. } if host.parse::<IpAddr>().is_err())
    }

    /// Connects to the first address that takes it; each has an equal part of the time.
    pub(super) async fn connect(&self, limit: Duration) -> io::Result<Socket> {
        if let Target::Unix(path) = &self.target {
            return Ok(Socket::Unix(UnixStream::connect(path).await?));
        }
        if self.known.lock().list.is_empty() {
            self.look_up().await?;
        }
        let addresses = self.in_turn();
        let part = limit / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
        let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in addresses {
            match tokio::time::timeout(part, TcpStream::connect(address)).await {
                Ok(Ok(socket)) => {
                    socket.set_nodelay(true)?;
                    return Ok(Socket::Tcp(socket));
                }
                Ok(Err(error)) => failure = error,
                Err(_) => failure = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(failure)
    }

    /// Looks the name up; true where an address is gone that was there before. What can't be looked up stays.
    pub(super) async fn look_up(&self) -> io::Result<bool> {
        let Target::Tcp { host, port } = &self.target else { return Ok(false) };
        let list: Vec<SocketAddr> = lookup_host((host.as_str(), *port)).await?.collect();
        if list.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        }
        Ok(self.replace(list))
    }

    /// The same, unless the last time isn't over: the system gives up a lookup when it likes.
    pub(super) async fn look_up_once(&self) -> io::Result<bool> {
        if self.looking_up.swap(true, Ordering::Relaxed) {
            return Ok(false);
        }
        let result = self.look_up().await;
        self.looking_up.store(false, Ordering::Relaxed);
        result
    }

    fn replace(&self, list: Vec<SocketAddr>) -> bool {
        let mut known = self.known.lock();
        let is_gone = known.list.iter().any(|address| !list.contains(address));
        known.list = list;
        if is_gone {
            self.moves.fetch_add(1, Ordering::Release);
        }
        is_gone
    }

    /// How often an address has gone that was there before.
    pub(super) fn moves(&self) -> u32 {
        self.moves.load(Ordering::Acquire)
    }

    /// Whether the server is at this address as far as is known.
    pub(super) fn contains(&self, address: SocketAddr) -> bool {
        self.known.lock().list.contains(&address)
    }

    fn in_turn(&self) -> Vec<SocketAddr> {
        let known = &mut *self.known.lock();
        let mut list = known.list.clone();
        if !list.is_empty() {
            list.rotate_left(known.turn % known.list.len());
            known.turn = known.turn.wrapping_add(1);
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(list: &[&str]) -> Addresses {
        let addresses = Addresses::new(Target::Tcp { host: "app.internal".into(), port: 80 });
        addresses.replace(list.iter().map(|address| address.parse().unwrap()).collect());
        addresses
    }

    #[test]
    fn each_address_has_its_turn_and_one_that_is_gone_is_noticed() {
        let addresses = named(&["10.0.0.1:80", "10.0.0.2:80"]);
        let first = |addresses: &Addresses| addresses.in_turn()[0].to_string();
        assert_eq!(
            [first(&addresses), first(&addresses), first(&addresses)],
            ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.1:80"]
        );
        let more = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"].map(|address| address.parse().unwrap());
        assert!(!addresses.replace(more.to_vec()));
        assert!(addresses.replace(more[1..].to_vec()));
        assert!(!addresses.contains(more[0]) && addresses.contains(more[2]));
    }

    #[test]
    fn an_address_is_no_name() {
        assert!(named(&[]).has_name());
        for host in ["10.0.0.1", "::1"] {
            assert!(!Addresses::new(Target::Tcp { host: host.into(), port: 80 }).has_name());
        }
        assert!(!Addresses::new(Target::Unix("/x".into())).has_name());
    }

    #[tokio::test]
    async fn an_address_that_refuses_is_followed_by_the_next() {
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let there = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addresses = named(&[&gone.to_string(), &there.local_addr().unwrap().to_string()]);
        for _ in 0..2 {
            assert!(addresses.connect(Duration::from_secs(5)).await.is_ok());
        }
        assert!(named(&[&gone.to_string()]).connect(Duration::from_secs(5)).await.is_err());
    }
}
