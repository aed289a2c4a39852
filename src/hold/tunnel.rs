//! A client's connection that becomes a tunnel: what the listener is given, and gives its socket to.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

/// A client's connection as bytes, TLS taken off.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

type Ride = Pin<Box<dyn Future<Output = ()>>>;

/// The far end of a tunnel, waiting for the near one.
pub struct Tunnel(Box<dyn FnOnce(Box<dyn Duplex>, Bytes) -> Ride + Send>);

impl Tunnel {
    /// Made of what is to be done with the client's connection and what was read ahead from it. That writes
    /// the `101` first; nothing was written before.
    pub fn new<F, R>(ride: F) -> Tunnel
    where
        F: FnOnce(Box<dyn Duplex>, Bytes) -> R + Send + 'static,
        R: Future<Output = ()> + 'static,
    {
        Tunnel(Box::new(move |client, read_ahead| Box::pin(ride(client, read_ahead))))
    }

    /// Runs until both ends are closed or nothing moved for too long; bounds its own time and memory. Dropping
    /// it closes both ends.
    pub async fn carry(self, client: Box<dyn Duplex>, read_ahead: Bytes) {
        (self.0)(client, read_ahead).await;
    }
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tunnel")
    }
}
