//! Whose turn it is on one client connection: what hyper, the service and the driver know of each other.
//!
//! Invariant: the gate lets the next request pass only when the answer before it is written to its last byte, so
//! that a refusal never cuts an answer, and one message at a time is in work.
//!
//! The body of the answer is kept here and not by hyper, which doesn't look at it while the client's socket is full:
//! the driver goes on reading it then, so that the application needn't wait for the client.

use std::cell::{Cell, RefCell, RefMut};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::service::Service;
use hyper::{Request, Response};

use super::head_gate::{GateState, HeadGate, HeadLimits, Refusal};
use crate::body::{Body, BodyError};
use crate::hold::TakeOver;
use crate::wire::WireStream;

/// The state that one connection's socket, service and driver share.
pub(super) struct Line {
    /// `None` once hyper is done with the connection.
    wire: RefCell<Option<WireStream>>,
    pub(super) gate: RefCell<HeadGate>,
    turn: Cell<Turn>,
    requests: Cell<u64>,
    writes: Cell<u64>,
    /// Of the answer in work.
    body: RefCell<Body>,
    /// Whether the client's socket is full.
    behind: Cell<bool>,
}

/// Who acts next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// The client: nothing of it is in work.
    Client,
    /// The service: it has the request.
    Service,
    /// The service and hyper: the head of the answer is there, its body comes.
    Answer,
    /// hyper: it has all of the answer and writes it.
    Write,
}

/// What is waited for, which decides the clock that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The first byte of a request.
    Idle,
    /// The rest of a head.
    Head,
    /// The service, which has clocks of its own.
    Service,
    /// The client, which is to read its answer; the number changes with each write that it takes.
    Answer(u64),
}

impl Line {
    /// With what was read of the first request before.
    pub(super) fn new(wire: WireStream, limits: HeadLimits, read_ahead: Vec<u8>) -> Rc<Line> {
        let gate = RefCell::new(HeadGate::with_read_ahead(limits, read_ahead));
        Rc::new(Line {
            wire: RefCell::new(Some(wire)),
            gate,
            turn: Cell::new(Turn::Client),
            requests: Cell::new(0),
            writes: Cell::new(0),
            body: RefCell::default(),
            behind: Cell::new(false),
        })
    }

    /// The socket, for whoever moves its bytes now.
    pub(super) fn wire(&self) -> RefMut<'_, WireStream> {
        RefMut::map(self.wire.borrow_mut(), |wire| {
            wire.as_mut().expect("nobody moves bytes once it is taken")
        })
    }

    /// Takes the socket from hyper's connection, which must be gone.
    pub(super) fn take_wire(&self) -> WireStream {
        self.wire.take().expect("it is taken once, at the end")
    }

    /// The phase, and the number of requests until now: one that was served between two looks is seen by it.
    pub(super) fn phase(&self) -> (Phase, u64) {
        let phase = match (self.turn.get(), self.gate.borrow().state()) {
            (Turn::Client, GateState::Idle) => Phase::Idle,
            (Turn::Client, _) => Phase::Head,
            (Turn::Service, _) => Phase::Service,
            (Turn::Answer | Turn::Write, _) => Phase::Answer(self.writes.get()),
        };
        (phase, self.requests.get())
    }

    /// Whether a request is with the service.
    pub(super) fn is_in_service(&self) -> bool {
        matches!(self.turn.get(), Turn::Service | Turn::Answer)
    }

    /// The refusal that is to be answered now, which no service will do.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        match self.gate.borrow().state() {
            GateState::Refused(refusal) if self.turn.get() == Turn::Client => Some(refusal),
            _ => None,
        }
    }

    /// Whether the client has sent what nobody read: closing at once would destroy the answer on its way.
    pub(super) fn has_unread(&self) -> bool {
        let gate = self.gate.borrow();
        !gate.unread().is_empty() || !gate.ready().is_empty() || gate.state() == GateState::Body
    }

    /// Whether the message in service has passed whole, so that what follows it is another one.
    pub(super) fn is_between_messages(&self) -> bool {
        matches!(self.gate.borrow().state(), GateState::Held | GateState::Idle)
    }

    /// Everything that was read and not handed on.
    pub(super) fn take_read_ahead(&self) -> Vec<u8> {
        let limits = HeadLimits { header_bytes: 0, headers: 0, target_bytes: 0 };
        self.gate.replace(HeadGate::new(limits)).into_read_ahead()
    }

    /// The client took some bytes.
    pub(super) fn note_write(&self) {
        self.writes.set(self.writes.get().wrapping_add(1));
        self.behind.set(false);
    }

    /// The client takes nothing now.
    pub(super) fn note_full(&self) {
        self.behind.set(true);
    }

    /// Goes on reading the answer for a client that is behind.
    pub(super) fn read_ahead(&self, cx: &mut Context<'_>) {
        if self.behind.get() {
            self.body.borrow_mut().read_ahead(cx);
        }
    }

    /// Everything that hyper had is written. Wakes the task if the next request is there already, for which no
    /// socket will.
    pub(super) fn note_flush(&self, cx: &mut Context<'_>) {
        self.behind.set(false);
        if self.turn.get() != Turn::Write {
            return;
        }
        self.turn.set(Turn::Client);
        let mut gate = self.gate.borrow_mut();
        gate.release_next();
        if !gate.ready().is_empty() || !gate.unread().is_empty() {
            cx.waker().wake_by_ref();
        }
    }

    fn begin(&self) {
        self.turn.set(Turn::Service);
        self.requests.set(self.requests.get().wrapping_add(1));
    }

    fn answer(&self, body: Body) {
        self.turn.set(Turn::Answer);
        self.body.replace(body);
    }

    fn end(&self) {
        self.body.take();
        if self.turn.get() == Turn::Answer {
            self.turn.set(Turn::Write);
        }
    }
}

/// What serves the requests of a connection: it answers, or has the connection taken over.
pub trait Serve:
    Service<Request<Incoming>, Response = Response<Body>, Error = TakeOver, Future: Unpin> + Unpin
{
}

impl<S> Serve for S where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = TakeOver, Future: Unpin> + Unpin
{
}

/// A service whose requests and answers are noted on the line.
pub(super) struct OnLine<S> {
    pub(super) service: S,
    pub(super) line: Rc<Line>,
}

impl<S: Serve> Service<Request<Incoming>> for OnLine<S> {
    type Response = Response<AnswerBody>;
    type Error = TakeOver;
    type Future = Answering<S::Future>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.line.begin();
        Answering { future: self.service.call(request), line: self.line.clone() }
    }
}

/// The future of an answer.
pub(super) struct Answering<F> {
    future: F,
    line: Rc<Line>,
}

impl<F> Future for Answering<F>
where
    F: Future<Output = Result<Response<Body>, TakeOver>> + Unpin,
{
    type Output = Result<Response<AnswerBody>, TakeOver>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.future).poll(cx).map_ok(|response| {
            response.map(|body| {
                self.line.answer(body);
                AnswerBody(self.line.clone())
            })
        })
    }
}

/// The body of an answer, which is on the line; hyper drops this when it has its last byte.
pub(super) struct AnswerBody(Rc<Line>);

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut *self.0.body.borrow_mut()).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.body.borrow().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.body.borrow().size_hint()
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        self.0.end();
    }
}
