//! One request to a server that belongs to no pool, over a connection of its own which is closed afterwards.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::http::response::Parts;
use tokio::net::TcpStream;

use super::link::{Link, LinkError};
use super::outgoing::Outgoing;
use super::request_head::RequestHead;
use super::socket::Socket;

/// A connection for one request. Dropping it closes the connection.
pub struct Errand(Link<()>);

impl Errand {
    /// Connects from the thread with this number.
    pub async fn connect(address: SocketAddr, worker: usize) -> io::Result<Errand> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        Ok(Errand(Link::open(Socket::Tcp(socket), (), worker)))
    }

    /// Sends a request without a body and waits for the head of the answer.
    pub async fn ask(&mut self, head: &RequestHead<'_>) -> Result<Parts, LinkError> {
        self.0.send(head, Outgoing::default()).await
    }

    /// The next piece of the answer's body; its trailers are dropped.
    pub fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            match ready!(self.0.poll_body(cx)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
            }
        }
    }

    /// Bytes of the body that are left, where the answer says so.
    pub fn left(&self) -> Option<u64> {
        self.0.size_hint().exact()
    }
}
