//! One client's side of its connection while it is served: requests come out, answers go in, and in between the client
//! is listened to.
//!
//! Invariant: one message at a time is in work, and the next one is looked at only when the answer before it is written
//! to its last byte.
//!
//! Each poll is one turn of the connection and ends with its clock. While a request is in work, its body is read when
//! somebody wants it; behind that the client is read ahead, within bounds, so that one that leaves is noticed at once. So
//! is one whose body nobody wants, of which nothing is read.
//! An answer whose client takes nothing goes on being read, so that the application needn't wait for the client.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::{Method, Request, Response, Version};
use tokio::io::{AsyncRead, ReadBuf};

use super::answer_writer::{AnswerWriter, Asked, Unwritten};
use super::connection::Outcome;
use super::leaving::Ear;
use super::request_head::{Framing, Head};
use super::request_reader::{HeadLimits, Refusal, RequestReader};
use super::taking::{LeastRate, Look, Taking};
use crate::body::{Body, ClientBody, Pipe};
use crate::clock::Clock;
use crate::hold::TakeOver;
use crate::sys;
use crate::wire::WireStream;

/// Bytes read at once: what a busy upload has in the socket, and far more than a request.
const READ_BYTES: usize = 64 * 1024;

/// How long a client isn't listened to while its request is in work, where the socket has nobody who waits for it: most
/// requests are answered by then, and to be told of its leaving would cost more than to answer a client that has left.
const UNHEARD: Duration = Duration::from_millis(100);

thread_local! {
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// How long a client may take for what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Silence before the first request; of a new connection, until its first head is whole.
    pub(super) first: Duration,
    /// Whether it is that.
    pub(super) is_new: bool,
    /// The same between requests.
    pub(super) idle: Duration,
    /// A head, from its first byte.
    pub(super) head: Duration,
    /// Silence inside an answer.
    pub(super) body: Duration,
    /// How fast an answer has to be taken.
    pub(super) taking: LeastRate,
}

/// A client's socket, what it has said, and what it is still to hear.
pub(super) struct Line {
    wire: WireStream,
    reader: RequestReader,
    writer: AnswerWriter,
    clock: Clock,
    patience: Patience,
    leaving: Ear,
    asked: Asked,
    /// The body of the request in work, until all of it is read.
    upload: Option<Pipe>,
    /// Whether the client waits to be told before it sends the body.
    expects_continue: bool,
    /// Of the answer in work.
    body: Body,
    /// Whether a head has begun, and its time runs.
    in_head: bool,
    /// Bytes that the socket had taken when the clock was started.
    given: u64,
    /// How the client takes the answer in work.
    taking: Taking,
}

/// What a service makes of a request.
pub(super) type Served = Result<Response<Body>, TakeOver>;

const LATE_HEAD: Refusal = Refusal { status: 408, reason: "the request head took too long" };

impl Line {
    /// With what was read of the first request before.
    pub(super) fn new(
        wire: WireStream,
        read_ahead: Vec<u8>,
        limits: HeadLimits,
        patience: Patience,
        clock: Clock,
        leaving: Ear,
    ) -> Line {
        clock.start(patience.first);
        Line {
            wire,
            reader: RequestReader::new(limits, read_ahead),
            writer: AnswerWriter::default(),
            clock,
            patience,
            leaving,
            asked: Asked { version: Version::HTTP_11, is_head: false, keep_alive: true },
            upload: None,
            expects_continue: false,
            body: Body::Empty,
            in_head: false,
            given: 0,
            taking: Taking::new(patience.taking),
        }
    }

    /// Waits for the next request.
    pub(super) fn poll_request(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Request<ClientBody>, Outcome>> {
        if !self.reader.ahead().is_empty()
            && let Some(head) = self.reader.next_head(&[]).map_err(Outcome::Refused)?
        {
            return Poll::Ready(Ok(self.take_up(head)));
        }
        loop {
            self.follow_head();
            match self.poll_head(cx)? {
                Poll::Ready(Some(head)) => return Poll::Ready(Ok(self.take_up(head))),
                Poll::Ready(None) => continue,
                Poll::Pending => {}
            }
            // Who doesn't have to wait needn't be told. A head that has begun is let finish.
            if self.leaving.poll(cx).is_ready() && self.reader.is_idle() {
                return Poll::Ready(Err(Outcome::Finished));
            }
            break;
        }
        ready!(self.clock.poll(cx));
        Poll::Ready(Err(if self.in_head { Outcome::Refused(LATE_HEAD) } else { Outcome::Finished }))
    }

    /// Gives the service its turn, and it the body that it wants.
    pub(super) fn poll_service(
        &mut self,
        cx: &mut Context<'_>,
        mut serving: Pin<&mut impl Future<Output = Served>>,
    ) -> Poll<Result<Served, Outcome>> {
        loop {
            if let Poll::Ready(served) = serving.as_mut().poll(cx) {
                return Poll::Ready(Ok(served));
            }
            if self.poll_client(cx)?.is_ready() {
                continue;
            }
            ready!(self.clock.poll(cx));
            // The service may not have been asked since the deadline passed: it answers better than a cut does.
            if let Poll::Ready(served) = serving.as_mut().poll(cx) {
                return Poll::Ready(Ok(served));
            }
            if self.clock.expired() {
                return Poll::Ready(Err(Outcome::Cut));
            }
        }
    }

    /// Takes the answer to the request in work.
    pub(super) fn begin(&mut self, answer: Response<Body>) {
        let (parts, body) = answer.into_parts();
        self.body = body;
        self.clock.rouse();
        // Nothing may stand between the parts of an answer.
        self.expects_continue = false;
        self.asked.keep_alive &= !self.leaving.is_given();
        self.asked.keep_alive = self.writer.begin(self.asked, &parts, &self.body);
        self.taking.begin(self.writer.given());
    }

    /// Writes the answer to its end; then the next request may come.
    pub(super) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Outcome>> {
        loop {
            if let Poll::Ready(written) = self.writer.poll(cx, &mut self.wire, &mut self.body) {
                return Poll::Ready(written.map_err(Outcome::from).and_then(|()| self.settle(cx)));
            }
            if !self.writer.has_all() && self.poll_client(cx)?.is_ready() {
                continue;
            }
            if self.writer.is_behind() {
                self.body.read_ahead(cx);
            }
            self.follow_writes()?;
            ready!(self.clock.poll(cx));
            // As above: the body says it better.
            if let Poll::Ready(written) = self.writer.poll(cx, &mut self.wire, &mut self.body) {
                return Poll::Ready(written.map_err(Outcome::from).and_then(|()| self.settle(cx)));
            }
            self.follow_writes()?;
            if self.clock.expired() {
                self.follow_kernel()?;
            }
        }
    }

    /// Whether the client has sent what nobody read: closing at once would destroy the answer on its way.
    pub(super) fn has_unread(&self) -> bool {
        !self.reader.ahead().is_empty() || self.upload.is_some()
    }

    /// Whether the message in work is read to its end, so that what follows it is another one.
    pub(super) fn is_between_messages(&self) -> bool {
        self.reader.is_between()
    }

    /// What was read and not understood, with the head that was refused at its beginning.
    pub(super) fn unread(&self) -> &[u8] {
        self.reader.ahead()
    }

    /// The socket, and what was read ahead.
    pub(super) fn into_parts(self) -> (WireStream, bytes::Bytes) {
        (self.wire, self.reader.into_ahead())
    }

    /// Begins the time of a head with its first byte.
    fn follow_head(&mut self) {
        let in_head = !self.reader.is_idle();
        if in_head && !self.in_head && !self.patience.is_new {
            self.clock.start(self.patience.head);
        }
        self.in_head = in_head;
    }

    /// Begins the time of the client anew with each write that it takes, unless it takes too little in all.
    fn follow_writes(&mut self) -> Result<(), Outcome> {
        match self.writer.is_behind() {
            true => self.taking.wait(|| self.clock.now()),
            false => self.taking.go_on(|| self.clock.now()),
        }
        if self.given != self.writer.given() {
            self.given = self.writer.given();
            self.clock.start(self.patience.body);
            if self.taking.is_due(|| self.clock.now()) && self.look() == Look::TooSlow {
                return Err(Outcome::TooSlow);
            }
        }
        Ok(())
    }

    /// The socket has taken nothing for too long. What the kernel kept may have gone to the client all the same: it tells
    /// us that there is room only when there is much.
    fn follow_kernel(&mut self) -> Result<(), Outcome> {
        if !self.writer.is_behind() {
            return Err(Outcome::Cut);
        }
        match self.look() {
            Look::Moves => self.clock.start(self.patience.body),
            Look::Stands => return Err(Outcome::Cut),
            Look::TooSlow => return Err(Outcome::TooSlow),
        }
        Ok(())
    }

    fn look(&mut self) -> Look {
        // Where nobody knows, what was given counts as taken.
        let untaken = self.wire.socket().and_then(sys::untaken_bytes).unwrap_or(0);
        self.taking.look(self.writer.given(), untaken, || self.clock.now())
    }

    /// Reads once; gives the head if it is whole by that.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Result<Poll<Option<Head>>, Outcome> {
        let Line { wire, reader, .. } = self;
        read(wire, cx, |fresh| match fresh {
            [] => Err(Outcome::Finished),
            fresh => reader.next_head(fresh).map_err(Outcome::Refused),
        })
    }

    fn take_up(&mut self, head: Head) -> Request<ClientBody> {
        let Head { parts, framing, keep_alive, expects_continue } = head;
        self.asked = Asked { version: parts.version, is_head: parts.method == Method::HEAD, keep_alive };
        self.in_head = false;
        self.patience.is_new = false;
        if self.wire.is_asleep() {
            self.clock.rest(UNHEARD);
        }
        self.upload = match framing {
            Framing::Length(0) => None,
            Framing::Length(length) => Some(Pipe::new(Some(length))),
            Framing::Chunked => Some(Pipe::new(None)),
        };
        self.expects_continue = expects_continue && self.upload.is_some();
        let body = self.upload.clone().map_or(ClientBody::Empty, ClientBody::Piped);
        Request::from_parts(parts, body)
    }

    /// What the client brings while its request is in work; ready when whoever works on it has something by that.
    fn poll_client(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Outcome> {
        match &self.upload {
            None if self.clock.rests() => Ok(Poll::Pending),
            None => self.poll_leaving(cx),
            Some(pipe) if pipe.is_wanted() => self.poll_upload(cx),
            // What it sends stays in the socket.
            Some(_) if self.wire.poll_left(cx).is_ready() => Err(Outcome::Left),
            Some(_) => Ok(Poll::Pending),
        }
    }

    /// Reads the next piece of the request's body.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Outcome> {
        if self.expects_continue && self.reader.ahead().is_empty() {
            match self.writer.poll_continue(cx, &mut self.wire) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(written) => written.map_err(Outcome::Broken)?,
            }
        }
        self.expects_continue = false;
        let Line { wire, reader, upload: Some(pipe), .. } = self else { return Ok(Poll::Pending) };
        let mut piece = reader.take_body(&[]);
        while matches!(&piece, Ok(data) if data.is_empty()) && !reader.is_between() {
            let next = read(wire, cx, |fresh| Ok((fresh.is_empty(), reader.take_body(fresh))));
            piece = match next {
                Ok(Poll::Pending) => return Ok(Poll::Pending),
                Ok(Poll::Ready((false, piece))) => piece,
                Ok(Poll::Ready((true, _))) => Err("the client has left"),
                Err(Outcome::Broken(error)) => {
                    pipe.break_off(error.kind(), "the connection broke");
                    self.break_upload();
                    return Ok(Poll::Ready(()));
                }
                Err(other) => return Err(other),
            };
        }
        match piece {
            Ok(data) => {
                let is_last = reader.is_between();
                pipe.push(data, is_last);
                if is_last {
                    self.upload = None;
                }
            }
            Err(reason) => {
                pipe.break_off(io::ErrorKind::InvalidData, reason);
                self.break_upload();
            }
        }
        Ok(Poll::Ready(()))
    }

    /// The rest of the body will never be read, nor anything behind it.
    fn break_upload(&mut self) {
        self.upload = None;
        self.asked.keep_alive = false;
    }

    /// Reads what a client writes ahead of its turn, as far as it may; an error when it has left.
    fn poll_leaving(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Outcome> {
        let Line { wire, reader, .. } = self;
        while reader.is_between() && reader.has_room() {
            let ahead = |fresh: &[u8]| match fresh {
                [] => Err(Outcome::Left),
                fresh => {
                    reader.write_ahead(fresh);
                    Ok(())
                }
            };
            if read(wire, cx, ahead)?.is_pending() {
                break;
            }
        }
        Ok(Poll::Pending)
    }

    /// Behind an answer: what has come of a body that nobody wanted is read away; if there is more, the connection
    /// can't be kept.
    fn settle(&mut self, cx: &mut Context<'_>) -> Result<(), Outcome> {
        let Line { wire, reader, .. } = self;
        if self.upload.is_some() && reader.take_body(&[]).is_ok() && !reader.is_between() {
            // What it says of the client is seen at its end.
            let _ = read(wire, cx, |fresh| Ok(reader.take_body(fresh)));
        }
        if !reader.is_between() || !self.asked.keep_alive {
            return Err(Outcome::Finished);
        }
        self.upload = None;
        reader.release_next();
        self.clock.start(self.patience.idle);
        Ok(())
    }
}

/// Reads once from a socket; nothing is its end.
fn read<T>(
    wire: &mut WireStream,
    cx: &mut Context<'_>,
    take: impl FnOnce(&[u8]) -> Result<T, Outcome>,
) -> Result<Poll<T>, Outcome> {
    READ.with_borrow_mut(|buffer| {
        let mut fresh = ReadBuf::new(buffer);
        match Pin::new(wire).poll_read(cx, &mut fresh) {
            Poll::Pending => Ok(Poll::Pending),
            Poll::Ready(Ok(())) => take(fresh.filled()).map(Poll::Ready),
            Poll::Ready(Err(error)) => Err(Outcome::Broken(error)),
        }
    })
}

impl From<Unwritten> for Outcome {
    fn from(unwritten: Unwritten) -> Outcome {
        match unwritten {
            Unwritten::Body(error) => Outcome::Unanswered(error),
            Unwritten::Socket(error) => Outcome::Broken(error),
        }
    }
}
