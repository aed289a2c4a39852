//! A connection in use: send a request, read the answer's body, and hand the connection back at its last byte.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::http::response::Parts;

use super::link::{Link, LinkError};
use super::outgoing::Outgoing;
use super::pool::{NoLease, Seat};
use super::request_head::RequestHead;
use super::server::Fault;
use super::socket::Socket;
use crate::clock::Clock;

/// Bytes of an answer, and the time for them, that are read away to keep its connection.
const DRAINED_MAX: usize = 64 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// A connection to a server that belongs to one request. Dropping it closes the connection.
pub struct Lease {
    /// Before its place, so that it is closed when the place is free.
    link: Link,
    seat: Seat,
    /// That of the request, once it was sent.
    clock: Option<Clock>,
}

/// A request that got no answer.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct SendError {
    /// What happened, in a word.
    pub why: Why,
    /// Not a byte of an answer came, and the request was whole: whatever may be repeated may be sent again.
    pub silent: bool,
    /// The same on a connection that had been idle: the server may have closed it before the request arrived.
    pub stale: bool,
    /// What happened.
    #[source]
    pub error: LinkError,
}

/// How a request got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// The server closed the connection.
    #[error("the server closed the connection")]
    Closed,
    /// The connection broke.
    #[error("the connection to the server broke")]
    Reset,
    /// What came is not HTTP.
    #[error("the server's answer is not HTTP")]
    BadResponse,
    /// The request's own body broke off.
    #[error("the request broke off")]
    Request,
}

/// A server's socket after a `101`, with what was read beyond the head, and its place among the connections.
pub struct Tunnelled {
    /// The socket.
    pub socket: Socket,
    /// The first bytes from the server.
    pub read_ahead: Bytes,
    _seat: Seat,
}

impl Lease {
    pub(super) fn new(seat: Seat, link: Link) -> Lease {
        Lease { link, seat, clock: None }
    }

    /// Name of the server.
    pub fn server(&self) -> &Arc<str> {
        &self.link.server().name
    }

    /// Counts a fault of the server.
    pub fn failed(&self, fault: Fault) {
        self.link.server().metrics.failed(fault);
        self.seat.pool.blame(self.seat.server);
    }

    /// Sends a request and waits for the head of the answer; the body comes through [`Lease::into_body`]. Once
    /// this has failed or was dropped half-way, the connection can't be used again.
    pub async fn send(
        &mut self,
        head: &RequestHead<'_>,
        body: Outgoing,
        clock: &Clock,
    ) -> Result<Parts, SendError> {
        let began = clock.now();
        self.clock = Some(clock.clone());
        match self.link.send(head, body).await {
            Ok(head) => {
                let metrics = &self.link.server().metrics;
                metrics.answered(head.status, clock.now() - began);
                if self.link.server().is_troubled() {
                    self.seat.pool.absolve(self.seat.server);
                }
                Ok(head)
            }
            Err(error) => {
                let why = Why::of(&error);
                let silent = !self.link.has_heard() && matches!(why, Why::Closed | Why::Reset);
                Err(SendError { why, silent, stale: self.link.is_reused() && silent, error })
            }
        }
    }

    /// Closes the connection and opens a fresh one in its place; another server's where that can't be reached.
    pub async fn renew(self, clock: &Clock) -> Result<Lease, NoLease> {
        let Lease { link, seat, .. } = self;
        let (server, worker) = (link.server().clone(), link.worker());
        drop(link);
        seat.pool.clone().renew(seat, server, worker, clock).await
    }

    /// Whether another server could take the request.
    pub fn has_alternative(&self) -> bool {
        self.seat.pool.has_other(self.seat.server)
    }

    /// Closes the connection and takes one to another server.
    pub async fn elsewhere(self, clock: &Clock) -> Result<Lease, NoLease> {
        let Lease { link, seat, .. } = self;
        let worker = link.worker();
        drop(link);
        seat.pool.clone().elsewhere(seat, worker, clock).await
    }

    /// Reads what is left of the answer, if it is little, so that the connection can serve again; else closes it.
    /// Gives what it has read where that is all of it.
    pub async fn drain(self, clock: &Clock) -> Option<Bytes> {
        let mut body = self.into_body();
        let mut read = Vec::new();
        let reading = std::future::poll_fn(|cx| {
            loop {
                match std::task::ready!(Pin::new(&mut body).poll_frame(cx)) {
                    Some(Ok(frame)) => read.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
                    Some(Err(_)) => return Poll::Ready(false),
                    None => return Poll::Ready(true),
                }
                if read.len() > DRAINED_MAX {
                    return Poll::Ready(false);
                }
            }
        });
        let whole = clock.limit(DRAIN_TIME, reading).await.unwrap_or(false);
        whole.then(|| read.into())
    }

    /// Becomes the body of its answer.
    pub fn into_body(self) -> UpstreamBody {
        let mut body = UpstreamBody { lease: Some(self) };
        body.hand_back_at_end();
        body
    }

    /// Takes the socket out after a `101`.
    pub fn into_tunnel(self) -> Option<Tunnelled> {
        let (socket, read_ahead) = self.link.into_socket()?;
        Some(Tunnelled { socket, read_ahead, _seat: self.seat })
    }

    /// Keeps the connection if it can serve another request.
    fn hand_back(mut self) {
        if self.link.is_ready() && !self.link.has_moved() {
            let pool = self.seat.pool.clone();
            let now = self.clock.as_ref().map_or_else(Instant::now, |clock| clock.now().into_std());
            pool.take_back(self.seat, self.link, now);
        }
    }
}

impl Why {
    fn of(error: &LinkError) -> Why {
        match error {
            LinkError::Closed => Why::Closed,
            LinkError::Reset(_) => Why::Reset,
            LinkError::BadResponse(_) => Why::BadResponse,
            LinkError::Request(_) => Why::Request,
        }
    }
}

/// The body of an answer together with its lease, which goes back at the last byte that is read.
pub struct UpstreamBody {
    /// `None` once the end was read.
    lease: Option<Lease>,
}

impl UpstreamBody {
    /// Whether the connection was given back or given up.
    pub fn is_over(&self) -> bool {
        self.lease.is_none()
    }

    fn hand_back_at_end(&mut self) {
        if let Some(lease) = self.lease.take_if(|lease| lease.link.is_end()) {
            lease.hand_back();
        }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let Some(lease) = &mut self.lease else { return Poll::Ready(None) };
        let frame = std::task::ready!(lease.link.poll_body(cx));
        if let Some(Err(_)) = frame {
            lease.failed(Fault::Truncated);
            self.lease = None;
        } else {
            self.hand_back_at_end();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.lease.is_none()
    }

    /// Nothing is said once the end was read: what was read before it may be on its way, trailers too.
    fn size_hint(&self) -> SizeHint {
        self.lease.as_ref().map_or_else(SizeHint::default, |lease| lease.link.size_hint())
    }
}
