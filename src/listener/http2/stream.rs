//! One stream of HTTP/2: a request, its answer or what becomes of it when it is taken over, on a clock of its own.
//!
//! As on a connection of HTTP/1 the body of a request is read when somebody wants it, an answer whose client takes nothing
//! goes on being read as far as it may wait here, and a client that takes the request back ends the work on it.

use std::future::{Future, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use hyper::body::Body as _;
use hyper::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderValue, UPGRADE};
use hyper::{Method, Request, Response, StatusCode};

use super::passage::{Passage, Speaks};
use super::sending::{Sending, head};
use super::takers::Taker;
use super::{Common, Host};
use crate::body::{Body, BodyError, ClientBody, Pipe};
use crate::clock::Clock;
use crate::date;
use crate::hold::{Departure, TakeOver, Tunnel};
use crate::listener::answer_writer::{declared, has_no_body};
use crate::listener::connection::{RefusedHead, Serve};
use crate::listener::farewell;
use crate::listener::request_head::{Framing, Head};
use crate::listener::request_reader::Refusal;
use crate::wire::{HeldEnd, Wire, pipe};

/// Serves a request to its end. A held stream keeps what this future has room for, so that what is large about a request
/// is in a box, which is gone when it is held.
pub(super) fn serve<H: Host>(
    common: Rc<Common<H>>,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
) -> impl Future<Output = ()> {
    let exchanged = Box::pin(exchange(common.clone(), request, respond));
    async move {
        // A stream that is dropped in the middle is reset by the library.
        match exchanged.await {
            None => {}
            Some(Left::Held(mut passage)) => drop(caught(Pin::new(&mut passage)).await),
            Some(Left::Tunnelled(mut tunnel)) => drop(caught(tunnel.as_mut()).await),
        }
    }
}

/// What went wrong has been told where it did.
struct Panicked;

/// A panic ends what has panicked: a connection's other streams are other people's requests.
async fn caught<F: Future + ?Sized>(mut future: Pin<&mut F>) -> Result<F::Output, Panicked> {
    poll_fn(|cx| {
        // Nobody looks at it again once it has panicked.
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(turn) => turn.map(Ok),
            Err(_) => Poll::Ready(Err(Panicked)),
        }
    })
    .await
}

/// What becomes of a request that is taken over.
enum Left {
    Held(Passage),
    Tunnelled(Pin<Box<dyn Future<Output = ()>>>),
}

async fn exchange<H: Host>(
    common: Rc<Common<H>>,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> Option<Left> {
    let (parts, body) = request.into_parts();
    let is_whole = body.is_end_stream();
    let line = line(&parts);
    let head = match super::request::read(parts, is_whole, &common.heads) {
        Ok(head) => head,
        Err(refusal) => {
            let bytes = refuse(refusal, &mut respond);
            common.host.refused(&RefusedHead { status: refusal.status, bytes, line });
            return None;
        }
    };
    let is_socket = head.parts.headers.contains_key(UPGRADE);
    let mut exchange = Exchange::begin(&common, respond, (!is_whole).then_some(body), &head);
    let Ok(taken_over) = caught(pin!(exchange.run(head))).await else {
        exchange.respond.send_reset(Reason::INTERNAL_ERROR);
        return None;
    };
    let take_over = taken_over?;
    let Exchange { respond, body, .. } = exchange;
    let (held, pipe) = pipe();
    let (speaks, hears) = (Speaks::Head(respond, Vec::new()), body.filter(|_| is_socket));
    let passage = Passage { pipe, speaks, hears, is_socket, meter: common.meter.clone() };
    Some(match take_over {
        TakeOver::Hold(hold, permit) => {
            let (wire, read_ahead, home) = (Wire::piped(held), Vec::new(), common.home.clone());
            common.host.keep(Departure { wire, mooring: None, read_ahead, hold, permit, home });
            Left::Held(passage)
        }
        TakeOver::Tunnel(tunnel) => Left::Tunnelled(Box::pin(ride(tunnel, held, passage))),
    })
}

/// A tunnel through a pipe, from end to end.
async fn ride(tunnel: Tunnel, held: HeldEnd, mut passage: Passage) {
    let mut ride = Box::pin(tunnel.carry(Box::new(held), Bytes::new()));
    let mut is_over = false;
    poll_fn(|cx| {
        // What the far end says last is carried behind its end, which drops its end of the pipe.
        is_over = is_over || ride.as_mut().poll(cx).is_ready();
        Pin::new(&mut passage).poll(cx)
    })
    .await;
}

/// What was asked for, for the log of what is refused.
fn line(parts: &hyper::http::request::Parts) -> Box<[u8]> {
    const LOGGED: usize = 1000;
    let mut line = format!("{} {} HTTP/2.0", parts.method, parts.uri).into_bytes();
    line.truncate(LOGGED);
    line.into()
}

/// Answers a request that no service will see; gives the bytes of the answer's body.
fn refuse(refusal: Refusal, respond: &mut SendResponse<Bytes>) -> u64 {
    let body = farewell::body(refusal);
    let mut answer = Response::new(());
    *answer.status_mut() = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_REQUEST);
    let headers = answer.headers_mut();
    headers.insert(DATE, now());
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    if refusal.status == 405 {
        headers.insert(ALLOW, HeaderValue::from_static(farewell::ALLOW));
    }
    let length = body.len() as u64;
    // Its client may be gone.
    if let Ok(mut send) = respond.send_response(answer, false) {
        let _ = send.send_data(body.into(), true);
    }
    length
}

/// The moment, as `Date` says it.
pub(super) fn now() -> HeaderValue {
    let mut text = Vec::with_capacity(32);
    date::write(&mut text);
    HeaderValue::from_maybe_shared(Bytes::from(text)).expect("a date is visible ASCII")
}

/// A request in work.
struct Exchange<'a, H: Host> {
    common: &'a Common<H>,
    respond: SendResponse<Bytes>,
    /// What the client still sends.
    body: Option<RecvStream>,
    /// The same for whoever wants it.
    upload: Option<Pipe>,
    expects_continue: bool,
    is_head: bool,
    is_socket: bool,
    clock: Clock,
}

/// Nothing more can be said on the stream.
struct Gone;

impl<'a, H: Host> Exchange<'a, H> {
    fn begin(
        common: &'a Common<H>,
        respond: SendResponse<Bytes>,
        body: Option<RecvStream>,
        head: &Head,
    ) -> Exchange<'a, H> {
        let upload = match head.framing {
            Framing::Length(0) => None,
            Framing::Length(length) => Some(Pipe::new(Some(length))),
            Framing::Chunked => Some(Pipe::new(None)),
        };
        Exchange {
            common,
            respond,
            body,
            upload,
            expects_continue: head.expects_continue,
            is_head: head.parts.method == Method::HEAD,
            is_socket: head.parts.headers.contains_key(UPGRADE),
            clock: Clock::default(),
        }
    }

    /// Has it served and answered, unless it is taken over.
    async fn run(&mut self, head: Head) -> Option<TakeOver> {
        let upload = self.upload.clone().map_or(ClientBody::Empty, ClientBody::Piped);
        let service = self.common.host.service(self.clock.clone());
        let served = {
            let mut serving = pin!(service.serve(Request::from_parts(head.parts, upload)));
            poll_fn(|cx| self.poll_service(cx, serving.as_mut())).await
        };
        match served {
            Ok(Ok(answer)) => {
                self.answer(answer).await;
                None
            }
            Ok(Err(take_over)) => Some(take_over),
            Err(Gone) => None,
        }
    }

    /// Gives the service its turn, and it the body that it wants.
    fn poll_service(
        &mut self,
        cx: &mut Context<'_>,
        mut serving: Pin<&mut impl Future<Output = Result<Response<Body>, TakeOver>>>,
    ) -> Poll<Result<Result<Response<Body>, TakeOver>, Gone>> {
        loop {
            if let Poll::Ready(served) = serving.as_mut().poll(cx) {
                return Poll::Ready(Ok(served));
            }
            if self.respond.poll_reset(cx).is_ready() {
                return Poll::Ready(Err(Gone));
            }
            if self.poll_upload(cx).is_ready() {
                continue;
            }
            ready!(self.clock.poll(cx));
            // The service may not have been asked since the deadline passed: it answers better than a cut does.
            if let Poll::Ready(served) = serving.as_mut().poll(cx) {
                return Poll::Ready(Ok(served));
            }
            if self.clock.expired() {
                self.respond.send_reset(Reason::CANCEL);
                return Poll::Ready(Err(Gone));
            }
        }
    }

    /// Reads the next piece of the request's body for whoever wants it; ready when there was one.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (Some(pipe), Some(body)) = (&self.upload, &mut self.body) else { return Poll::Pending };
        if !pipe.is_wanted() {
            return Poll::Pending;
        }
        if std::mem::take(&mut self.expects_continue) {
            let mut interim = Response::new(());
            *interim.status_mut() = StatusCode::CONTINUE;
            // A client that is gone is noticed by what follows.
            let _ = self.respond.send_informational(interim);
        }
        match ready!(body.poll_data(cx)) {
            Some(Ok(data)) => {
                let length = data.len();
                let is_last = body.is_end_stream();
                pipe.push(data, is_last);
                // Who wants a piece has taken the one before.
                if body.flow_control().release_capacity(length).is_err() || is_last {
                    self.upload = None;
                }
            }
            Some(Err(_)) => {
                pipe.break_off(io::ErrorKind::InvalidData, "the client broke its request off");
                self.upload = None;
            }
            // Trailers may follow, which nobody is given.
            None => {
                pipe.push(Bytes::new(), true);
                self.upload = None;
            }
        }
        Poll::Ready(())
    }

    /// Sends the answer to its end.
    async fn answer(&mut self, answer: Response<Body>) {
        self.expects_continue = false;
        let (mut parts, body) = answer.into_parts();
        if self.is_socket && parts.status.is_success() {
            // It would open the WebSocket (RFC 8441 §5), which nobody here means.
            parts.status = StatusCode::BAD_GATEWAY;
        }
        let bodiless = self.is_head || has_no_body(parts.status);
        // A body that was read to its end already may not say how long it is any more.
        let length = body.size_hint().exact().or_else(|| declared(&parts.headers));
        let is_all = bodiless || length == Some(0);
        let head = head(parts, length.filter(|_| !bodiless), self.is_head);
        let Ok(send) = self.respond.send_response(head, is_all) else { return };
        if is_all {
            return;
        }
        let taker = Taker::new(&self.common.takers);
        let mut sending = Sending { send, body, piece: Bytes::new(), left: length, taker };
        if let Err(Some(error)) = poll_fn(|cx| self.poll_answer(cx, &mut sending)).await {
            tracing::debug!(%error, "an answer broke off");
        }
    }

    /// Ready at the end; an error where the client doesn't get all.
    fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        sending: &mut Sending,
    ) -> Poll<Result<(), Option<BodyError>>> {
        loop {
            if let Poll::Ready(sent) = sending.poll(cx, &self.clock, self.common) {
                return Poll::Ready(sent);
            }
            if sending.send.poll_reset(cx).is_ready() {
                return Poll::Ready(Err(None));
            }
            if self.poll_upload(cx).is_ready() {
                continue;
            }
            let is_behind = !sending.piece.is_empty();
            sending.taker.waits(is_behind);
            if is_behind {
                sending.body.read_ahead(cx);
            }
            ready!(self.clock.poll(cx));
            // As above: the body says it better.
            if let Poll::Ready(sent) = sending.poll(cx, &self.clock, self.common) {
                return Poll::Ready(sent);
            }
            if self.clock.expired() {
                sending.send.send_reset(Reason::CANCEL);
                return Poll::Ready(Err(None));
            }
        }
    }
}
