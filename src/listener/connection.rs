//! Drives one client connection over HTTP/1 until it closes, leaves to be held, or becomes a tunnel.
//!
//! The service is handed in; between its turns the [`Line`] is the client's. Clocks run here for what the client does
//! between requests; while a request is in service they are the service's, and what it doesn't deal with in time is
//! cut. No accepting and no routing here.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::time::Duration;

use hyper::{Request, Response};

use super::farewell;
use super::leaving::Leaving;
use super::line::{Line, Patience};
use super::request_reader::{HeadLimits, Refusal};
use super::taking::LeastRate;
use crate::body::{Body, BodyError, ClientBody};
use crate::clock::Clock;
use crate::config::{Http2Limits, Limits, Timeouts};
use crate::hold::{Departure, Hold, Home, Permit, TakeOver, Tunnel};
use crate::wire::WireStream;

/// How connections are served: bounds and clocks.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    pub(super) heads: HeadLimits,
    pub(super) patience: Patience,
    pub(super) http2: Http2Limits,
    /// Silence of an HTTP/2 client with requests before it is asked for a sign of life.
    pub(super) ping: Duration,
}

impl Terms {
    /// As a configuration says.
    pub fn new(limits: &Limits, timeouts: &Timeouts) -> Terms {
        let heads = HeadLimits {
            header_bytes: limits.request_header,
            headers: limits.request_headers,
            target_bytes: limits.request_target,
        };
        let Timeouts { request_head: head, idle, body, ping, answer_rate, .. } = *timeouts;
        let taking = LeastRate { least: answer_rate.unwrap_or(0), grace: body };
        let patience = Patience { first: head.min(idle), is_new: true, idle, head, body, taking };
        Terms { heads, patience, http2: limits.http2, ping }
    }

    /// How long a client may take until its first head is whole, with whatever comes before.
    pub fn first_head(&self) -> Duration {
        self.patience.first
    }

    /// The same for a client that has taken so much of that already: each step would have a clock of its own else.
    pub fn after(&self, elapsed: Duration) -> Terms {
        let first = self.patience.first.saturating_sub(elapsed);
        Terms { patience: Patience { first, ..self.patience }, ..*self }
    }
}

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

impl Arrival {
    /// Waits until there is something to do: its client speaks or leaves, or it has to leave itself. Whether there was
    /// before the time of idle connections was over, of which so much has passed. Cancel-safe.
    pub async fn stirs(&mut self, silence: Duration, terms: &Terms, leaving: &Leaving) -> bool {
        // Under TLS something may lie in the session already, which the socket doesn't know.
        if !self.read_ahead.is_empty() || self.wire.is_tls() {
            return true;
        }
        tokio::select! {
            biased;
            _ = self.wire.readable() => true,
            () = leaving.begun() => true,
            () = tokio::time::sleep(terms.patience.idle.saturating_sub(silence)) => false,
        }
    }
}

/// What serves the requests of a connection: it answers, or has the connection taken over.
pub trait Serve {
    /// Serves one request.
    fn serve(&self, request: Request<ClientBody>) -> impl Future<Output = Result<Response<Body>, TakeOver>>;
}

/// One client connection.
pub struct Connection<S: Serve> {
    service: S,
    line: Line,
    home: Home,
}

/// How a connection ended.
#[derive(Debug)]
pub enum Ended {
    /// The socket is closed.
    Closed,
    /// The request head, or a request before any service saw it, was refused with this status.
    Refused(Box<RefusedHead>),
    /// It is cut, since its client took an answer too slowly.
    TooSlow,
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

/// Why a connection serves no further request.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The client has left between requests or was silent for too long, or a last answer is written.
    Finished,
    /// The client is gone while its request was in work.
    Left,
    /// The connection broke.
    Broken(io::Error),
    /// The body of an answer broke off, or has another length than was said.
    Unanswered(Option<BodyError>),
    Refused(Refusal),
    /// A request in work, or its answer, took too long.
    Cut,
    /// The client takes its answer too slowly.
    TooSlow,
    TakenOver(TakeOver),
}

impl<S: Serve> Connection<S> {
    /// A connection before its first turn. The service runs the same clock. When the order to leave is given it ends
    /// after the request in service.
    pub fn new(arrival: Arrival, service: S, clock: Clock, terms: &Terms, leaving: &Leaving) -> Box<Self> {
        let Arrival { wire, read_ahead, kept, home } = arrival;
        let Terms { heads, mut patience, .. } = *terms;
        if kept {
            (patience.first, patience.is_new) = (patience.idle, false);
        }
        let line = Line::new(wire, read_ahead, heads, patience, clock, leaving.ear());
        // In a box, so that what becomes of it at its end doesn't make the task of its life larger.
        Box::new(Connection { service, line, home })
    }

    /// Serves until the end. Dropping the future closes the socket.
    pub async fn run(mut self: Box<Self>) -> Ended {
        let outcome = serve(&self.service, &mut self.line).await;
        // The end in a box of its own, since its parts are large and the task has to have room for all of them.
        let end: Pin<Box<dyn Future<Output = Ended>>> = match outcome {
            Outcome::Finished => Box::pin(self.finish()),
            Outcome::Left => return Ended::Closed,
            Outcome::Broken(error) => return self.break_off(&error),
            Outcome::Unanswered(error) => return self.reset(error),
            Outcome::Refused(refusal) => Box::pin(self.refuse(refusal)),
            Outcome::Cut => return self.reset(None),
            Outcome::TooSlow => {
                self.reset(None);
                return Ended::TooSlow;
            }
            Outcome::TakenOver(TakeOver::Hold(hold, permit)) => Box::pin(self.depart(hold, permit)),
            Outcome::TakenOver(TakeOver::Tunnel(tunnel)) => Box::pin(self.carry(tunnel)),
        };
        end.await
    }

    async fn finish(self: Box<Self>) -> Ended {
        let unread = self.line.has_unread();
        let (wire, _) = self.line.into_parts();
        if unread {
            farewell::linger(wire).await;
        } else {
            farewell::close(wire).await;
        }
        Ended::Closed
    }

    fn break_off(&self, error: &io::Error) -> Ended {
        tracing::debug!(peer = %self.home.passport.peer(), %error, "connection broken");
        Ended::Closed
    }

    /// Where the end of an answer is that of the connection, only a reset tells that there is something missing.
    #[expect(clippy::boxed_local, reason = "the connection is in its box already")]
    fn reset(self: Box<Self>, error: Option<BodyError>) -> Ended {
        if let Some(error) = error {
            tracing::debug!(peer = %self.home.passport.peer(), %error, "an answer broke off");
        }
        farewell::reset(self.line.into_parts().0);
        Ended::Closed
    }

    async fn carry(self: Box<Self>, tunnel: Tunnel) -> Ended {
        let (wire, read_ahead) = self.line.into_parts();
        tunnel.carry(Box::new(wire), read_ahead).await;
        Ended::Closed
    }

    async fn depart(self: Box<Self>, mut hold: Box<Hold>, permit: Permit) -> Ended {
        let Connection { line, home, .. } = *self;
        // What follows an unfinished body can't be told from it: no further request on that connection.
        hold.client.keep_alive &= line.is_between_messages();
        let (wire, read_ahead) = line.into_parts();
        match tokio::time::timeout(LEAVE_DEADLINE, wire.into_wire()).await {
            Ok(Ok((wire, mooring))) => {
                // A copy: what was read may be a few bytes of a large buffer, and is kept for as long as the hold.
                let read_ahead = read_ahead.to_vec();
                Ended::Departed(Box::new(Departure { wire, mooring, read_ahead, hold, permit, home }))
            }
            Ok(Err(error)) => {
                tracing::debug!(peer = %home.passport.peer(), %error, "connection lost at take-over");
                Ended::Closed
            }
            Err(_) => Ended::Closed,
        }
    }

    async fn refuse(self: Box<Self>, refusal: Refusal) -> Ended {
        let line: Box<[u8]> = first_line(self.line.unread()).into();
        let peer = self.home.passport.peer();
        let (wire, _) = self.line.into_parts();
        tracing::debug!(%peer, line = %line.escape_ascii(), reason = refusal.reason, "request refused");
        let bytes = farewell::refuse(wire, refusal).await;
        Ended::Refused(Box::new(RefusedHead { status: refusal.status, bytes, line }))
    }
}

/// Request after request, until none can follow.
async fn serve(service: &impl Serve, line: &mut Line) -> Outcome {
    loop {
        let request = match poll_fn(|cx| line.poll_request(cx)).await {
            Ok(request) => request,
            Err(outcome) => return outcome,
        };
        let served = {
            let mut serving = pin!(service.serve(request));
            poll_fn(|cx| line.poll_service(cx, serving.as_mut())).await
        };
        match served {
            Ok(Ok(answer)) => line.begin(answer),
            Ok(Err(take_over)) => return Outcome::TakenOver(take_over),
            Err(outcome) => return outcome,
        }
        if let Err(outcome) = poll_fn(|cx| line.poll_answer(cx)).await {
            return outcome;
        }
    }
}

/// Bytes of a refused request line in the logs.
const LINE_LOGGED: usize = 1000;

fn first_line(head: &[u8]) -> &[u8] {
    let head = &head[..head.len().min(LINE_LOGGED)];
    head.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default()
}
