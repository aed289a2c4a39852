//! Drives one client connection over HTTP/1 until it closes, leaves to be held, or becomes a tunnel.
//!
//! hyper is polled here without its shutdown, since a service may answer by an error that is a [`TakeOver`]: then
//! hyper has written nothing of an answer, and gives the socket back. Clocks run here for what the client does
//! between requests; while a request is in service they are the service's, and what it doesn't deal with in time is
//! cut. No accepting and no routing here.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::server::conn::http1;

use super::client_io::{ClientIo, poll_leaving};
use super::farewell;
use super::head_gate::{GateState, HeadLimits, Refusal};
use super::leaving::{Ear, Leaving};
use super::line::{Line, OnLine, Phase, Serve};
use crate::clock::Clock;
use crate::config::{Limits, Timeouts};
use crate::hold::{Departure, Hold, Home, Leave, Permit, TakeOver, Tunnel};
use crate::wire::WireStream;

/// How connections are served: bounds, clocks, hyper's own settings.
#[derive(Clone)]
pub struct Terms {
    heads: HeadLimits,
    request_head: Duration,
    idle: Duration,
    body: Duration,
    http: http1::Builder,
}

impl Terms {
    /// As a configuration says.
    pub fn new(limits: &Limits, timeouts: &Timeouts) -> Terms {
        let heads = HeadLimits {
            header_bytes: limits.request_header,
            headers: limits.request_headers,
            target_bytes: limits.request_target,
        };
        let mut http = http1::Builder::new();
        // A client that leaves in service is noticed here, see `client_io`.
        http.half_close(true);
        // A head that the gate let pass has to fit, with room to see its end.
        http.max_buf_size(limits.request_header.max(HTTP_BUFFER_BYTES) + HTTP_BUFFER_ROOM);
        http.header_read_timeout(None);
        // Another number than hyper's own costs an allocation for each request.
        if limits.request_headers > HYPER_HEADERS {
            http.max_headers(limits.request_headers);
        }
        let Timeouts { request_head, idle, body, .. } = *timeouts;
        Terms { heads, request_head, idle, body, http }
    }

    /// How long a client may take for what is asked of it once: a handshake, a head.
    pub fn request_head(&self) -> Duration {
        self.request_head
    }
}

/// Bytes that hyper buffers in each direction: enough for a `writev` that fills a socket.
const HTTP_BUFFER_BYTES: usize = 64 * 1024;
const HTTP_BUFFER_ROOM: usize = 1024;
/// Header fields that hyper parses without allocating.
const HYPER_HEADERS: usize = 100;
/// Bytes that are sealed already have to be taken by the client before its socket can leave.
const LEAVE_DEADLINE: Duration = Duration::from_secs(10);

/// What a connection brings along.
pub struct Arrival {
    /// The socket, after its handshake.
    pub wire: WireStream,
    /// What was read of the next request already.
    pub read_ahead: Vec<u8>,
    /// Whether it has served a request before and may be silent as long as any kept connection.
    pub kept: bool,
    /// What it needs to come back.
    pub home: Home,
}

/// One client connection.
pub struct Connection<S: Serve> {
    http: http1::Connection<ClientIo, OnLine<S>>,
    line: Rc<Line>,
    clock: Clock,
    terms: Rc<Terms>,
    home: Home,
    silence: Duration,
    seen: Option<(Phase, u64)>,
    drain: Drain,
}

/// How a connection ended.
#[derive(Debug)]
pub enum Ended {
    /// The socket is closed.
    Closed,
    /// The request head, or a request before any service saw it, was refused with this status.
    Refused(Box<RefusedHead>),
    /// It is to be held.
    Departed(Box<Departure>),
}

/// A request that was answered before any service saw it.
#[derive(Debug)]
pub struct RefusedHead {
    /// Status of the answer.
    pub status: u16,
    /// Bytes of its body.
    pub bytes: u64,
    /// What came as the first line, cut to a length for the log; whatever it was.
    pub line: Box<[u8]>,
}

enum Drain {
    Awaited(Ear),
    Due,
    Told,
}

enum Outcome {
    Done(hyper::Result<()>),
    Refused(Refusal),
    TimedOut,
    /// The client is gone while its request was in service.
    Left,
}

impl<S: Serve> Connection<S> {
    /// A connection before its first turn. The service runs the same clock. When the order to leave is given it ends
    /// after the request in service.
    pub fn new(arrival: Arrival, service: S, clock: Clock, terms: Rc<Terms>, leaving: &Leaving) -> Box<Self> {
        let Arrival { wire, read_ahead, kept, home } = arrival;
        let line = Line::new(wire, terms.heads, read_ahead);
        let http =
            terms.http.serve_connection(ClientIo(line.clone()), OnLine { service, line: line.clone() });
        let silence = if kept { terms.idle } else { terms.request_head.min(terms.idle) };
        let drain = Drain::Awaited(leaving.ear());
        // In a box, so that what becomes of it at its end doesn't make the task of its life larger.
        Box::new(Connection { http, line, clock, terms, home, silence, seen: None, drain })
    }

    /// Serves until the end. Dropping the future closes the socket.
    pub async fn run(mut self: Box<Self>) -> Ended {
        let outcome = std::future::poll_fn(|cx| self.poll(cx)).await;
        // The end in a box of its own, since its parts are large and the task has to have room for all of them.
        let end: Pin<Box<dyn Future<Output = Ended>>> = match outcome {
            Outcome::Done(Ok(())) => Box::pin(self.finish()),
            Outcome::Done(Err(error)) => Box::pin(self.fail(error)),
            Outcome::Refused(refusal) => Box::pin(self.refuse(refusal)),
            Outcome::TimedOut => Box::pin(self.time_out()),
            Outcome::Left => return Ended::Closed,
        };
        end.await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        loop {
            if let Poll::Ready(done) = self.http.poll_without_shutdown(cx) {
                return Poll::Ready(Outcome::Done(done));
            }
            if let Some(refusal) = self.line.refusal() {
                return Poll::Ready(Outcome::Refused(refusal));
            }
            if self.line.is_in_service() && poll_leaving(&self.line, cx).is_ready() {
                return Poll::Ready(Outcome::Left);
            }
            if self.poll_drain(cx) {
                continue;
            }
            self.line.read_ahead(cx);
            self.follow_phase();
            if self.clock.poll(cx).is_pending() {
                return Poll::Pending;
            }
            // The service may not have been asked since the deadline passed: it answers better than a cut does.
            if let Poll::Ready(done) = self.http.poll_without_shutdown(cx) {
                return Poll::Ready(Outcome::Done(done));
            }
            self.follow_phase();
            if self.clock.expired() {
                return Poll::Ready(Outcome::TimedOut);
            }
        }
    }

    /// True when hyper was told that it shall end, and is to be polled for it. A head that has begun is let finish,
    /// because hyper, which hasn't seen it, would close.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> bool {
        if let Drain::Awaited(drain) = &mut self.drain
            && drain.poll(cx).is_ready()
        {
            self.drain = Drain::Due;
        }
        let due = matches!(self.drain, Drain::Due) && self.line.phase().0 != Phase::Head;
        if due {
            self.drain = Drain::Told;
            Pin::new(&mut self.http).graceful_shutdown();
        }
        due
    }

    /// The socket, once hyper is to do nothing more.
    #[expect(clippy::boxed_local, reason = "the connection is in its box already")]
    fn into_wire(self: Box<Self>) -> WireStream {
        let Connection { http, line, .. } = *self;
        drop(http);
        line.take_wire()
    }

    fn follow_phase(&mut self) {
        let now = self.line.phase();
        if self.seen == Some(now) {
            return;
        }
        let first = self.seen.replace(now).is_none();
        match now.0 {
            Phase::Idle if first => self.clock.start(self.silence),
            Phase::Idle => self.clock.start(self.terms.idle),
            Phase::Head => self.clock.start(self.terms.request_head),
            Phase::Answer(_) => self.clock.start(self.terms.body),
            Phase::Service => {}
        }
    }

    /// The client has left, or a last answer is written.
    async fn finish(self: Box<Self>) -> Ended {
        let unread = self.line.has_unread();
        let wire = self.into_wire();
        if unread {
            farewell::linger(wire).await;
        } else {
            farewell::close(wire).await;
        }
        Ended::Closed
    }

    async fn fail(self: Box<Self>, error: hyper::Error) -> Ended {
        match TakeOver::out_of(&error) {
            Some(Leave::Hold(hold, permit)) => self.depart(hold, permit).await,
            Some(Leave::Tunnel(tunnel)) => self.carry(tunnel).await,
            None => self.break_off(&error),
        }
    }

    fn break_off(self: Box<Self>, error: &hyper::Error) -> Ended {
        tracing::debug!(peer = %self.home.passport.peer, %error, "connection broken");
        let wire = self.into_wire();
        if error.is_user() {
            // The answer's body broke off. Where its end is that of the connection, only a reset tells.
            farewell::reset(wire);
        }
        Ended::Closed
    }

    async fn carry(self: Box<Self>, tunnel: Tunnel) -> Ended {
        let read_ahead = self.line.take_read_ahead();
        let read_buf = self.http.into_parts().read_buf;
        tunnel.carry(Box::new(self.line.take_wire()), joined(read_buf, read_ahead)).await;
        Ended::Closed
    }

    async fn depart(self: Box<Self>, mut hold: Box<Hold>, permit: Permit) -> Ended {
        // What follows an unfinished body can't be told from it: no further request on that connection.
        hold.client.keep_alive &= self.line.is_between_messages();
        let read_ahead = self.line.take_read_ahead();
        let read_buf = self.http.into_parts().read_buf;
        match tokio::time::timeout(LEAVE_DEADLINE, self.line.take_wire().into_wire()).await {
            Ok(Ok(wire)) => {
                // A copy: converted, a few bytes would keep hyper's whole buffer for as long as the hold lasts.
                let read_ahead = joined(read_buf, read_ahead).to_vec();
                let home = self.home;
                Ended::Departed(Box::new(Departure { wire, read_ahead, hold, permit, home }))
            }
            Ok(Err(error)) => {
                tracing::debug!(peer = %self.home.passport.peer, %error, "connection lost at take-over");
                Ended::Closed
            }
            Err(_) => Ended::Closed,
        }
    }

    async fn refuse(self: Box<Self>, refusal: Refusal) -> Ended {
        let line: Box<[u8]> = first_line(self.line.gate.borrow().unread()).into();
        let peer = self.home.passport.peer;
        let wire = self.into_wire();
        tracing::debug!(%peer, line = %line.escape_ascii(), reason = refusal.reason, "request refused");
        let bytes = farewell::refuse(wire, refusal).await;
        Ended::Refused(Box::new(RefusedHead { status: refusal.status, bytes, line }))
    }

    async fn time_out(self: Box<Self>) -> Ended {
        let state = self.line.gate.borrow().state();
        let phase = self.line.phase().0;
        match phase {
            Phase::Head if state == GateState::Head => self.refuse(LATE_HEAD).await,
            Phase::Idle | Phase::Head => {
                farewell::close(self.into_wire()).await;
                Ended::Closed
            }
            Phase::Service | Phase::Answer(_) => {
                farewell::reset(self.into_wire());
                Ended::Closed
            }
        }
    }
}

const LATE_HEAD: Refusal = Refusal { status: 408, reason: "the request head took too long" };
/// Bytes of a refused request line in the logs.
const LINE_LOGGED: usize = 1000;

fn first_line(head: &[u8]) -> &[u8] {
    let head = &head[..head.len().min(LINE_LOGGED)];
    head.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default()
}

fn joined(first: Bytes, second: Vec<u8>) -> Bytes {
    match (first.is_empty(), second.is_empty()) {
        (_, true) => first,
        (true, false) => second.into(),
        (false, false) => [first.as_ref(), &second].concat().into(),
    }
}
