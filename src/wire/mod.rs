//! A client's socket after it has left hyper.

use std::net::TcpStream;

/// A socket in std form, non-blocking.
#[derive(Debug)]
pub struct Wire(TcpStream);

impl Wire {
    /// Without TLS.
    pub fn plain(socket: TcpStream) -> Wire {
        Wire(socket)
    }
}
