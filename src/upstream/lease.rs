//! A connection in use: send a request, read the answer's body, and hand the connection back at its last byte.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{HeaderMap, HeaderName};
use hyper::{Request, Response};

use super::link::{Link, Unanswered};
use super::outgoing::Outgoing;
use super::pool::{NoLease, Pool, Seat};
use super::server::Fault;
use super::socket::Socket;
use crate::clock::Clock;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// A connection to a server that belongs to one request. Dropping it closes the connection.
pub struct Lease {
    /// Before its place, so that it is closed when the place is free.
    link: Link,
    seat: Seat,
}

/// A request that got no answer.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct SendError {
    /// What happened.
    pub why: Why,
    /// The request, where not a byte of it was sent: it may be sent again whatever it is.
    pub request: Option<Box<Request<Outgoing>>>,
    /// The connection had been idle and not a byte of an answer came: the server may have closed it before the
    /// request arrived, so that whatever may be repeated may be sent again.
    pub stale: bool,
    /// What hyper says.
    #[source]
    pub error: hyper::Error,
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
        Lease { link, seat }
    }

    /// Name of the server.
    pub fn server(&self) -> &Arc<str> {
        &self.pool().server(self.seat.server).name
    }

    /// Counts a fault of the server.
    pub fn failed(&self, fault: Fault) {
        self.pool().server(self.seat.server).metrics.failed(fault);
    }

    /// Sends a request and waits for the head of the answer; the body comes through [`Lease::into_body`]. Once
    /// this has failed or was dropped half-way, the connection can't be used again.
    pub async fn send(&mut self, request: Request<Outgoing>) -> Result<Response<Incoming>, SendError> {
        let began = Instant::now();
        let answer = self.link.send(request).await;
        match answer {
            Ok(response) => {
                let metrics = &self.pool().server(self.seat.server).metrics;
                metrics.answered(response.status(), began.elapsed());
                self.link.set_patience(patience(response.headers()));
                Ok(response)
            }
            Err(Unanswered { error, request }) => {
                let why = Why::of(&error);
                let silent = !self.link.has_heard() && matches!(why, Why::Closed | Why::Reset);
                Err(SendError { why, request, stale: self.link.is_reused() && silent, error })
            }
        }
    }

    /// Closes the connection and opens a fresh one in its place; another server's where that can't be reached.
    pub async fn renew(self, clock: &Clock) -> Result<Lease, NoLease> {
        let Lease { link, seat } = self;
        let worker = link.worker();
        drop(link);
        let pool = seat.pool.clone();
        pool.renew(seat, worker, clock).await
    }

    /// Joins the lease with the body of its answer.
    pub fn into_body(self, body: Incoming) -> UpstreamBody {
        let mut body = UpstreamBody { body, lease: Some(self) };
        body.hand_back_at_end();
        body
    }

    /// Takes the socket out after a `101`.
    pub fn into_tunnel(self) -> Option<Tunnelled> {
        let (socket, read_ahead) = self.link.into_socket()?;
        Some(Tunnelled { socket, read_ahead, _seat: self.seat })
    }

    fn pool(&self) -> &Arc<Pool> {
        &self.seat.pool
    }

    /// Keeps the connection if it can serve another request.
    fn hand_back(mut self) {
        if self.link.is_ready() {
            let pool = self.seat.pool.clone();
            pool.take_back(self.seat, self.link);
        }
    }
}

impl Why {
    fn of(error: &hyper::Error) -> Why {
        if error.is_user() {
            Why::Request
        } else if error.is_parse() {
            Why::BadResponse
        } else if error.is_incomplete_message() || error.is_canceled() {
            Why::Closed
        } else {
            Why::Reset
        }
    }
}

/// The body of an answer together with its lease, which goes back at the last byte that is read.
pub struct UpstreamBody {
    body: Incoming,
    /// `None` once the end was read.
    lease: Option<Lease>,
}

impl UpstreamBody {
    /// Whether the connection was given back or given up.
    pub fn is_over(&self) -> bool {
        self.lease.is_none()
    }

    fn hand_back_at_end(&mut self) {
        if self.body.is_end_stream()
            && let Some(lease) = self.lease.take()
        {
            lease.hand_back();
        }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let UpstreamBody { body, lease } = &mut *self;
        let Some(leased) = lease else { return Poll::Ready(None) };
        let frame = std::task::ready!(leased.link.poll_body(body, cx));
        match &frame {
            Some(Ok(_)) => self.hand_back_at_end(),
            Some(Err(_)) => {
                leased.failed(Fault::Truncated);
                *lease = None;
            }
            None => {
                if let Some(lease) = lease.take() {
                    lease.hand_back();
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.lease.is_none() || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// How long the server keeps an idle connection, by its `Keep-Alive: timeout=5`; a second less, since the
/// connection must not be used when the server is about to close it.
fn patience(headers: &HeaderMap) -> Option<Duration> {
    let (_, value) = headers.iter().find(|(name, _)| **name == KEEP_ALIVE)?;
    let value = value.to_str().ok()?;
    let seconds = value.split(',').find_map(|part| part.trim().strip_prefix("timeout="))?;
    let seconds: u64 = seconds.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.saturating_sub(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_names_its_timeout_is_left_a_second_earlier() {
        let cases = [
            ("timeout=5", Some(4)),
            ("max=100, timeout=2", Some(1)),
            ("timeout=0", Some(0)),
            ("max=1", None),
        ];
        for (value, expected) in cases {
            let headers = HeaderMap::from_iter([(KEEP_ALIVE, value.parse().unwrap())]);
            assert_eq!(patience(&headers), expected.map(Duration::from_secs), "{value}");
        }
    }
}
