//! One connection to a server: hyper's two halves of it, polled by whoever uses it and by nobody while idle.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::{Body as _, Frame, Incoming};
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

use super::outgoing::Outgoing;
use super::socket::Socket;

/// Bytes that a server's head may have, and that may be read at once: 100 KB bodies come in few pieces.
const BUFFER_MAX: usize = 512 * 1024;
/// Bytes of an answer's head.
const HEAD_MAX: usize = 64 * 1024;

/// A connection with everything that belongs to it. Idle ones stay where their socket is registered.
pub(super) struct Link {
    sender: SendRequest<Outgoing>,
    wire: Wire,
    /// Whether a request went over it before the present one.
    reused: bool,
    /// The thread whose reactor knows the socket.
    worker: usize,
    /// How long the server lets it idle, where it said so.
    patience: Option<Duration>,
    idle_until: Option<Instant>,
}

/// The connection while hyper has it, and what is left when hyper is done with it. hyper's half must go then:
/// what waits for an answer learns from its drop that none will come.
enum Wire {
    Open(Box<Connection<TokioIo<Socket>, Outgoing>>),
    Done { socket: Socket, read_ahead: Bytes },
    Gone,
}

/// A request that got no answer.
pub(super) struct Unanswered {
    /// What hyper says.
    pub(super) error: hyper::Error,
    /// The request, where not a byte of it was sent.
    pub(super) request: Option<Box<Request<Outgoing>>>,
}

impl Link {
    /// Speaks HTTP over a socket that is registered with this thread.
    pub(super) async fn open(socket: Socket, worker: usize) -> hyper::Result<Link> {
        let io = TokioIo::new(socket);
        let builder = Builder::new().max_buf_size(BUFFER_MAX).max_header_size(HEAD_MAX).to_owned();
        let (sender, connection) = builder.handshake(io).await?;
        let wire = Wire::Open(Box::new(connection));
        Ok(Link { sender, wire, reused: false, worker, patience: None, idle_until: None })
    }

    /// Sends a request and waits for the head of its answer. Not cancel-safe: the link is of no use then.
    pub(super) fn send(
        &mut self,
        request: Request<Outgoing>,
    ) -> impl Future<Output = Result<Response<Incoming>, Unanswered>> {
        let Link { sender, wire, .. } = self;
        // Without a budget, whose end would be told to the waker that is left out.
        let answer = tokio::task::unconstrained(sender.try_send_request(request));
        async move {
            let mut answer = pin!(answer);
            let mut is_sent = false;
            let result = std::future::poll_fn(|cx| {
                let look = |aside: &mut Context<'_>| answer.as_mut().poll(aside);
                match std::mem::replace(&mut is_sent, true) {
                    false => wire.poll_for(cx, look),
                    true => wire.poll_until(cx, look),
                }
            });
            result.await.map_err(|mut failure| {
                let request = failure.take_message().map(Box::new);
                Unanswered { error: failure.into_error(), request }
            })
        }
    }

    /// Reads the body of the answer.
    pub(super) fn poll_body(
        &mut self,
        body: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let mut look = |aside: &mut Context<'_>| Pin::new(&mut *body).poll_frame(aside);
        match look(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => self.wire.poll_until(cx, look),
            ready => ready,
        }
    }

    /// Whether the next request can go over it.
    pub(super) fn is_ready(&mut self) -> bool {
        if !self.sender.is_ready() {
            self.wire.poll_aside();
        }
        self.wire.is_open() && self.sender.is_ready()
    }

    /// Remembers how long the server keeps an idle connection.
    pub(super) fn set_patience(&mut self, patience: Option<Duration>) {
        self.patience = patience.or(self.patience);
    }

    /// Becomes idle, for `limit` at the most; false where that makes no sense.
    pub(super) fn rest(&mut self, limit: Duration, now: Instant) -> bool {
        let limit = self.patience.map_or(limit, |patience| limit.min(patience));
        self.reused = true;
        self.idle_until = Some(now + limit);
        !limit.is_zero()
    }

    /// Whether an idle connection is too old, closed by the server, or has bytes that nobody asked for.
    pub(super) fn is_stale(&mut self, now: Instant) -> bool {
        self.wire.poll_aside();
        !self.wire.is_open() || self.idle_until.is_some_and(|until| until <= now)
    }

    /// Makes an idle connection one of this thread, so that its wake-ups come from here.
    pub(super) async fn move_to(self, worker: usize) -> io::Result<Link> {
        if self.worker == worker {
            return Ok(self);
        }
        let Link { wire: Wire::Open(connection), patience, .. } = self else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let parts = connection.into_parts();
        if !parts.read_buf.is_empty() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let socket = parts.io.into_inner().move_here()?;
        let mut link = Link::open(socket, worker).await.map_err(io::Error::other)?;
        (link.reused, link.patience) = (true, patience);
        Ok(link)
    }

    pub(super) fn is_reused(&self) -> bool {
        self.reused
    }

    pub(super) fn worker(&self) -> usize {
        self.worker
    }

    /// Whether bytes of an answer came that never became one.
    pub(super) fn has_heard(&self) -> bool {
        matches!(&self.wire, Wire::Done { read_ahead, .. } if !read_ahead.is_empty())
    }

    /// The socket and what was read beyond the answer, after a `101`.
    pub(super) fn into_socket(mut self) -> Option<(Socket, Bytes)> {
        // hyper may notice only now that it is done with the connection.
        self.wire.poll_aside();
        match self.wire {
            Wire::Done { socket, read_ahead } => Some((socket, read_ahead)),
            Wire::Open(_) | Wire::Gone => None,
        }
    }
}

impl Wire {
    /// Moves the bytes that can be moved. What goes wrong is told to whoever waits for the answer or its body.
    fn poll(&mut self, cx: &mut Context<'_>) {
        if let Wire::Open(connection) = self
            && connection.poll_without_shutdown(cx).is_ready()
            && let Wire::Open(connection) = std::mem::replace(self, Wire::Gone)
        {
            let parts = connection.into_parts();
            *self = Wire::Done { socket: parts.io.into_inner(), read_ahead: parts.read_buf };
        }
    }

    /// Moves bytes, and looks for what came of them. hyper's halves tell each other through the waker of whoever
    /// looks, which is the task that runs already and would only be run once more.
    fn poll_for<T>(
        &mut self,
        cx: &mut Context<'_>,
        look: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.poll(cx);
        look(&mut Context::from_waker(Waker::noop()))
    }

    /// The same where something is likely to have come: only a connection that has nothing keeps the waker, for its
    /// socket to call.
    fn poll_until<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut look: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.poll_aside();
        match look(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => self.poll_for(cx, look),
            ready => ready,
        }
    }

    /// Moves bytes for a connection that nobody waits for.
    fn poll_aside(&mut self) {
        self.poll(&mut Context::from_waker(Waker::noop()));
    }

    fn is_open(&self) -> bool {
        matches!(self, Wire::Open(_))
    }
}
