//! One connection to a server: speaks HTTP/1.1 over its socket, moved by whoever uses it and by nobody while idle.
//!
//! A link is a state machine between two sides of one socket: what is left of the request, and how far the answer
//! has been read. Both move in the task of the client, so that a request costs no other task, channel or wake.
//! hyper's client connection does the same by two halves and a channel between them, at twice the processor time
//! (docs/architecture.md). Whatever goes wrong makes the link useless, and whoever has it drops it.
//!
//! Message syntax and framing: RFC 9112.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use hyper::Method;
use hyper::body::{Frame, SizeHint};
use hyper::http::response::Parts;
use tokio::io::AsyncReadExt;

use super::chunked::{Chunked, Piece};
use super::lease::Why;
use super::outgoing::{Outgoing, OutgoingError};
use super::request_head::RequestHead;
use super::request_writer::{RequestWriter, Unwritten};
use super::response_head::{self, BodyLength, ResponseHead};
use super::server::Server;
use super::socket::Socket;

/// Bytes that are read at once, at least: a small answer with its head.
const READ_MIN: usize = 8 * 1024;
/// Bytes that are read at once, at most: 100 KB bodies come in few pieces. It is also what a client that has stopped
/// reading costs beyond the bound of all buffers.
const READ_MAX: usize = 128 * 1024;
/// Interim answers to one request: nobody sends more than one or two.
const INTERIM_MAX: u8 = 16;

/// A connection with everything that belongs to it. Idle ones stay where their socket is registered. In a box, since
/// it moves from hand to hand.
/// It is that of a server of a pool, or of none.
pub(super) struct Link<S = Arc<Server>>(Box<Ends<S>>);

struct Ends<S> {
    /// Whose connection it is.
    server: S,
    socket: Socket,
    request: RequestWriter,
    /// Bytes read and not understood yet.
    arrived: BytesMut,
    /// Bytes of `arrived` in which no head ends.
    searched: usize,
    /// Bytes to ask the socket for.
    room: usize,
    answer: Answer,
    /// Interim answers that came before it.
    interim: u8,
    is_answer_to_head: bool,
    keep_alive: bool,
    /// Whether a byte of the present answer has come.
    heard: bool,
    /// Whether a request went over it before the present one.
    reused: bool,
    /// Requests that went over it.
    uses: u32,
    /// Whether it is closed after the present request.
    is_last: bool,
    /// How often the server had moved when this was last known to lead to it.
    moves: Option<u32>,
    /// The thread whose reactor knows the socket.
    worker: usize,
    /// How long the server lets it idle, where it said so.
    patience: Option<Duration>,
    /// The turn of whoever used it last in which it became idle.
    idle_since: Option<Instant>,
    idle_until: Option<Instant>,
}

/// How far the answer has been read.
#[derive(Debug)]
enum Answer {
    Head,
    /// So many bytes of the body are left.
    Length(u64),
    Chunked(Chunked),
    UntilClose,
    /// The socket speaks another protocol.
    Switched,
    /// Nothing is left of it.
    Done,
}

/// How a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The server closed the connection.
    #[error("{}", Why::Closed)]
    Closed,
    /// The connection broke.
    #[error("{}", Why::Reset)]
    Reset(#[source] io::Error),
    /// What came is not HTTP.
    #[error("{why}: {0}", why = Why::BadResponse)]
    BadResponse(&'static str),
    /// The request's own body broke off.
    #[error("{}", Why::Request)]
    Request(#[source] OutgoingError),
}

impl<S> Link<S> {
    /// Speaks HTTP over a socket that is registered with this thread.
    pub(super) fn open(socket: Socket, server: S, worker: usize) -> Link<S> {
        Link(Box::new(Ends {
            server,
            socket,
            request: RequestWriter::default(),
            arrived: BytesMut::new(),
            searched: 0,
            room: READ_MIN,
            answer: Answer::Done,
            interim: 0,
            is_answer_to_head: false,
            keep_alive: true,
            heard: false,
            reused: false,
            uses: 0,
            is_last: false,
            moves: None,
            worker,
            patience: None,
            idle_since: None,
            idle_until: None,
        }))
    }

    /// Sends a request and waits for the head of its answer. Not cancel-safe: the link is of no use then.
    pub(super) async fn send(&mut self, head: &RequestHead<'_>, body: Outgoing) -> Result<Parts, LinkError> {
        let ends = &mut *self.0;
        ends.begin(head, body);
        std::future::poll_fn(|cx| ends.poll_head(cx)).await
    }

    /// Reads the body of the answer; a request that was answered early goes on being sent by it.
    pub(super) fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_body(cx)
    }

    /// Whether the answer was read to its end.
    pub(super) fn is_end(&self) -> bool {
        matches!(self.0.answer, Answer::Done | Answer::Switched)
    }

    /// Bytes of the body that are left, where its head said so.
    pub(super) fn size_hint(&self) -> SizeHint {
        match self.0.answer {
            Answer::Length(left) => SizeHint::with_exact(left),
            Answer::Done => SizeHint::with_exact(0),
            _ => SizeHint::default(),
        }
    }

    /// Whether the next request can go over it: nothing is left to write, nothing came that nobody asked for.
    pub(super) fn is_ready(&self) -> bool {
        let ends = &*self.0;
        ends.keep_alive
            && matches!(ends.answer, Answer::Done)
            && ends.arrived.is_empty()
            && ends.request.is_done()
    }

    /// Becomes idle, for `limit` at the most; false where that makes no sense.
    pub(super) fn rest(&mut self, limit: Duration, now: Instant) -> bool {
        let ends = &mut *self.0;
        let limit = ends.patience.map_or(limit, |patience| limit.min(patience));
        ends.reused = true;
        (ends.idle_since, ends.idle_until) = (Some(now), Some(now + limit));
        ends.request.rest();
        if ends.room > READ_MIN {
            (ends.room, ends.arrived) = (READ_MIN, BytesMut::new());
        }
        !limit.is_zero()
    }

    /// Whether an idle connection is too old, closed by the server, or has bytes that nobody asked for.
    pub(super) fn is_stale(&mut self, now: Instant) -> bool {
        let ends = &mut *self.0;
        // The next request of a client may be read in the turn that has answered the one before, and the reactor
        // has not looked at this socket meanwhile.
        let is_news = ends.idle_since == Some(now);
        ends.idle_until.is_some_and(|until| until <= now)
            || ends.socket.has_something()
            || is_news && ends.socket.has_bytes()
    }

    /// Makes an idle connection one of this thread, so that its wake-ups come from here.
    pub(super) fn move_to(mut self, worker: usize) -> io::Result<Link<S>> {
        if self.0.worker == worker {
            return Ok(self);
        }
        let socket = self.0.socket.move_here()?;
        // What the reactor knew of the socket is lost.
        if socket.has_bytes() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        (self.0.socket, self.0.worker) = (socket, worker);
        Ok(self)
    }

    pub(super) fn server(&self) -> &S {
        &self.0.server
    }

    /// Where it leads, over TCP.
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        self.0.socket.peer()
    }

    pub(super) fn is_reused(&self) -> bool {
        self.0.reused
    }

    /// Requests that went over it.
    pub(super) fn uses(&self) -> u32 {
        self.0.uses
    }

    /// Takes a request, which may be the last.
    pub(super) fn take_up(&mut self, is_last: bool) {
        self.0.uses = self.0.uses.saturating_add(1);
        self.0.is_last = is_last;
    }

    /// Whether it is closed after the present request.
    pub(super) fn is_last(&self) -> bool {
        self.0.is_last
    }

    pub(super) fn worker(&self) -> usize {
        self.0.worker
    }

    /// Whether bytes of an answer came that never became one.
    pub(super) fn has_heard(&self) -> bool {
        self.0.heard
    }

    /// The socket and what was read beyond the answer, after a `101`.
    pub(super) fn into_socket(self) -> Option<(Socket, Bytes)> {
        let Ends { socket, arrived, answer, .. } = *self.0;
        matches!(answer, Answer::Switched).then(|| (socket, arrived.freeze()))
    }
}

impl Link {
    /// Whether the server has gone from where this leads, by its name.
    pub(super) fn has_moved(&mut self) -> bool {
        let addresses = &self.0.server.addresses;
        let moves = Some(addresses.moves());
        if std::mem::replace(&mut self.0.moves, moves) == moves {
            return false;
        }
        addresses.has_name() && self.peer().is_some_and(|peer| !addresses.contains(peer))
    }
}

impl<S> Ends<S> {
    fn begin(&mut self, head: &RequestHead<'_>, body: Outgoing) {
        self.is_answer_to_head = *head.method == Method::HEAD;
        self.request.begin(head, body, self.is_last);
        self.answer = Answer::Head;
        self.interim = 0;
        self.heard = false;
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Parts, LinkError>> {
        match self.poll_request(cx) {
            Err(Unwritten::Body(error)) => return Poll::Ready(Err(LinkError::Request(error))),
            Err(Unwritten::Socket) | Ok(()) => {}
        }
        loop {
            let taken = response_head::take(&mut self.arrived, &mut self.searched, self.is_answer_to_head);
            if let Some(head) = taken.map_err(LinkError::BadResponse)? {
                if let Some(parts) = self.understand(head) {
                    return Poll::Ready(Ok(parts));
                }
                self.interim += 1;
                if self.interim > INTERIM_MAX {
                    return Poll::Ready(Err(LinkError::BadResponse("too many interim answers")));
                }
                continue;
            }
            match ready!(self.poll_read(cx)) {
                Ok(0) => return Poll::Ready(Err(LinkError::Closed)),
                Ok(_) => self.heard = true,
                Err(error) => return Poll::Ready(Err(LinkError::Reset(error))),
            }
        }
    }

    /// The head of the answer itself; interim ones are for us alone (RFC 9110 §15.2).
    fn understand(&mut self, head: ResponseHead) -> Option<Parts> {
        self.answer = match head.body {
            BodyLength::Switched => Answer::Switched,
            _ if head.parts.status.is_informational() => return None,
            BodyLength::Exactly(0) => Answer::Done,
            BodyLength::Exactly(length) => Answer::Length(length),
            BodyLength::Chunked => Answer::Chunked(Chunked::default()),
            BodyLength::UntilClose => Answer::UntilClose,
        };
        self.keep_alive = head.keep_alive;
        self.patience = head.patience.or(self.patience);
        Some(head.parts)
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if !self.request.is_done() && self.poll_request(cx).is_err() {
            // The answer may still be whole.
            self.keep_alive = false;
        }
        loop {
            match self.take_piece() {
                Ok(Some(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(None) if matches!(self.answer, Answer::Done) => return Poll::Ready(None),
                Ok(None) => {}
                Err(reason) => {
                    return Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::InvalidData, reason))));
                }
            }
            match ready!(self.poll_read(cx)) {
                Ok(0) if matches!(self.answer, Answer::UntilClose) => self.answer = Answer::Done,
                Ok(0) => return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into()))),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }

    /// What has arrived of the body.
    fn take_piece(&mut self) -> Result<Option<Frame<Bytes>>, &'static str> {
        match &mut self.answer {
            Answer::Chunked(chunked) => match chunked.next(&mut self.arrived)? {
                Some(Piece::Data(data)) => {
                    if chunked.ends_here(&mut self.arrived)? {
                        self.answer = Answer::Done;
                    }
                    Ok(Some(Frame::data(data)))
                }
                Some(Piece::Trailers(trailers)) => {
                    self.answer = Answer::Done;
                    Ok(Some(Frame::trailers(trailers)))
                }
                Some(Piece::End) => {
                    self.answer = Answer::Done;
                    Ok(None)
                }
                None => Ok(None),
            },
            _ if self.arrived.is_empty() => Ok(None),
            Answer::Length(left) => {
                let count =
                    usize::try_from(*left).map_or(self.arrived.len(), |left| left.min(self.arrived.len()));
                *left -= count as u64;
                if *left == 0 {
                    self.answer = Answer::Done;
                }
                Ok(Some(Frame::data(self.arrived.split_to(count).freeze())))
            }
            Answer::UntilClose => Ok(Some(Frame::data(self.arrived.split().freeze()))),
            Answer::Head | Answer::Switched | Answer::Done => Ok(None),
        }
    }

    /// Sends what can be sent of the request.
    fn poll_request(&mut self, cx: &mut Context<'_>) -> Result<(), Unwritten> {
        match self.request.poll(&mut self.socket, cx) {
            Poll::Ready(result) => result,
            Poll::Pending => Ok(()),
        }
    }

    /// Reads once; 0 at the end. Asks for more at once while the socket has more than was asked for.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let wanted = match self.answer {
            Answer::Length(left) => {
                usize::try_from(left).map_or(READ_MAX, |left| left.clamp(READ_MIN, READ_MAX))
            }
            _ => self.room,
        };
        // Where there is room left it is used up first: a piece keeps all the memory that it was read into.
        if self.arrived.capacity() - self.arrived.len() < wanted / 4 {
            self.arrived.reserve(wanted);
        }
        let count = ready!(pin!(self.socket.read_buf(&mut self.arrived)).poll(cx))?;
        if count >= self.room {
            self.room = (self.room * 2).min(READ_MAX);
        }
        Poll::Ready(Ok(count))
    }
}
