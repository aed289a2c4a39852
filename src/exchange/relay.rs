//! An answer to the client: at once when it is whole, else piece by piece, as fast as the client takes it; and where
//! the application is faster, as fast as the application gives it, so that its connection is free at its last byte.
//!
//! Nothing is delayed by that: a piece waits only while the client's socket is full.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Turn, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use hyper::header::{CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName};
use hyper::{Response, Version};

use super::Context;
use super::check::Asked;
use super::forward::{Answer, HiddenAnswer};
use super::forwarding::{to_client, to_client_with_grip};
use super::record::Record;
use super::refusal::Refusal;
use crate::access_log::End;
use crate::body::{Body, BodyError, ReadAhead};
use crate::clock::Clock;
use crate::spool::{Kind, Leash, Room, Spool, Spools};
use crate::upstream::{Errand, UpstreamBody};

const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Passes an answer on. What is already there is read at once, so that the connection is free before the
/// client has taken a byte.
pub(super) fn relay(
    ctx: &Context<'_>,
    asked: &Asked,
    answer: Answer,
    record: &mut Record,
) -> Result<Response<Body>, Refusal> {
    let Answer { mut head, lease, plain, .. } = answer;
    let status = head.status;
    let mut upstream = lease.into_body();
    let body = match glance(&mut upstream)? {
        Glance::Whole(bytes) => {
            record.whole(bytes.len() as u64, ctx.client.clock.now());
            Body::Bytes(ctx.route.spools.carry(Kind::Response, bytes))
        }
        Glance::Begun(ahead) => {
            record.answers(status);
            let may_wait = may_wait(&head.headers, ctx.route.buffer.response);
            Body::Ahead(Box::pin(Relay::new(ctx, (ahead, upstream), may_wait, asked.trailers, record.take())))
        }
    };
    record.answers(status);
    match plain {
        true => drop(head.headers.remove(CONNECTION)),
        false => strip(ctx, &mut head.headers, asked.trailers),
    }
    head.version = Version::HTTP_11;
    ctx.client.clock.start(ctx.rules.body_timeout);
    Ok(Response::from_parts(head, body))
}

fn strip(ctx: &Context<'_>, headers: &mut HeaderMap, trailers: bool) {
    match ctx.route.grip.is_on() {
        true => to_client(headers, trailers),
        false => to_client_with_grip(headers, trailers),
    }
}

/// Passes an answer on that was kept whole, or what is left of it.
pub(super) fn whole(
    ctx: &Context<'_>,
    asked: &Asked,
    hidden: HiddenAnswer,
    record: &mut Record,
) -> Response<Body> {
    let HiddenAnswer { mut head, body } = hidden;
    record.head_came(ctx.client.clock.now());
    strip(ctx, &mut head.headers, asked.trailers);
    if body.is_none() {
        // They speak of a body that is lost.
        for name in [CONTENT_LENGTH, CONTENT_TYPE, CONTENT_ENCODING] {
            head.headers.remove(name);
        }
    }
    let body = body.unwrap_or_default();
    record.whole(body.len() as u64, ctx.client.clock.now());
    record.answers(head.status);
    head.version = Version::HTTP_11;
    ctx.client.clock.start(ctx.rules.body_timeout);
    Response::from_parts(head, Body::Bytes(body))
}

/// Passes on what was fetched for an application, whose head this is.
pub(super) fn fetched(ctx: &Context<'_>, head: &HeaderMap, errand: Errand, record: &mut Record) -> Body {
    if errand.is_end_stream() {
        record.ends(End::Ok);
        return Body::Empty;
    }
    let may_wait = may_wait(head, ctx.route.buffer.response);
    Body::Ahead(Box::pin(Relay::new(ctx, (Ahead::default(), errand), may_wait, false, record.take())))
}

/// Whether an answer may be read faster than the client takes it. The application's word counts more than the
/// route's, as in nginx; a stream of events is never read ahead: what waits here would tell the application that a
/// client has heard what it hasn't.
fn may_wait(headers: &HeaderMap, configured: bool) -> bool {
    let kind =
        headers.get(CONTENT_TYPE).and_then(|value| value.as_bytes().split(|byte| *byte == b';').next());
    if kind.is_some_and(|kind| kind.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")) {
        return false;
    }
    match headers.get(ACCEL_BUFFERING).map(|value| value.as_bytes()) {
        Some(word) if word.eq_ignore_ascii_case(b"no") => false,
        Some(word) if word.eq_ignore_ascii_case(b"yes") => true,
        _ => configured,
    }
}

/// As much of a body as is there without waiting.
enum Glance {
    Whole(Bytes),
    Begun(Ahead),
}

/// The pieces that were read at once: the end of chunks is a piece of its own, so that two make a whole.
#[derive(Default)]
struct Ahead([Option<Frame<Bytes>>; 2]);

impl Ahead {
    fn take(&mut self) -> Option<Frame<Bytes>> {
        self.0.iter_mut().find_map(Option::take)
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    fn bytes(&self) -> u64 {
        self.0.iter().flatten().filter_map(Frame::data_ref).map(|data| data.len() as u64).sum()
    }

    /// The only piece, which is data; no bytes where there is no piece.
    fn whole(&mut self) -> Option<Bytes> {
        match &mut self.0 {
            [None, None] => Some(Bytes::new()),
            [Some(only), None] => only.data_mut().map(std::mem::take),
            _ => None,
        }
    }
}

/// Reads what came with the head: usually all of a small body. Errors here can still be told to the client. Leaves
/// no waker behind: whoever gets a body that has only begun goes on reading it.
fn glance(upstream: &mut UpstreamBody) -> Result<Glance, Refusal> {
    if upstream.is_end_stream() {
        return Ok(Glance::Whole(Bytes::new()));
    }
    let mut ahead = Ahead::default();
    for place in &mut ahead.0 {
        match Pin::new(&mut *upstream).poll_frame(&mut Turn::from_waker(Waker::noop())) {
            Poll::Pending | Poll::Ready(None) => break,
            Poll::Ready(Some(Err(_))) => return Err(Refusal::Truncated),
            Poll::Ready(Some(Ok(frame))) => *place = Some(frame),
        }
    }
    let whole = if upstream.is_over() { ahead.whole() } else { None };
    Ok(whole.map_or(Glance::Begun(ahead), Glance::Whole))
}

/// A body on its way. Whoever drives the client's connection drives the other one by it.
struct Relay<B> {
    /// Read already, before anything else.
    ahead: Ahead,
    /// What the client hasn't taken; `None` where nothing may wait.
    spool: Option<Spool>,
    source: Source<B>,
    spools: Arc<Spools>,
    /// Once memory has been tight.
    leash: Option<Arc<Leash>>,
    record: Record,
    clock: Clock,
    limit: Duration,
    trailers: bool,
}

/// A piece smaller than this is handed on whole.
const CUT_MIN: usize = 16 * 1024;

/// The other side of a body.
struct Source<B> {
    upstream: B,
    /// What came behind what waits in the spool: trailers or a fault, each the last of its body.
    last: Option<Result<Frame<Bytes>, io::Error>>,
}

type Piece = Result<Frame<Bytes>, BodyError>;

/// What a body comes from: a lease, or an errand.
trait Upstream: HttpBody<Data = Bytes, Error = io::Error> + Unpin + 'static {}

impl Upstream for UpstreamBody {}
impl Upstream for Errand {}

impl<B: Upstream> Relay<B> {
    fn new(
        ctx: &Context<'_>,
        (ahead, upstream): (Ahead, B),
        may_wait: bool,
        trailers: bool,
        record: Record,
    ) -> Relay<B> {
        let spool = || Spool::new(ctx.route.spools.clone(), Kind::Response, ctx.route.response_memory);
        Relay {
            ahead,
            spool: may_wait.then(spool),
            source: Source { upstream, last: None },
            spools: ctx.route.spools.clone(),
            leash: None,
            record,
            clock: ctx.client.clock.clone(),
            limit: ctx.rules.body_timeout,
            trailers,
        }
    }

    fn poll_piece(&mut self, cx: &mut Turn<'_>) -> Poll<Option<Piece>> {
        let next = match self.spools.is_tight() {
            false => self.poll_next(cx),
            true => self.poll_little(cx),
        };
        match &next {
            Poll::Pending if self.clock.expired() => {
                self.record.ends(End::Stalled);
                return Poll::Ready(Some(Err(BodyError::Stalled(self.limit))));
            }
            Poll::Ready(Some(Err(BodyError::Upstream(_)))) => self.record.ends(End::UpstreamReset),
            Poll::Ready(Some(Err(_))) => self.record.ends(End::Stalled),
            _ => {}
        }
        next
    }

    fn poll_next(&mut self, cx: &mut Turn<'_>) -> Poll<Option<Piece>> {
        if let Some(frame) = self.ahead.take() {
            return Poll::Ready(Some(Ok(self.carry(frame))));
        }
        match self.poll_spool(cx) {
            Poll::Ready(None) => self.poll_source(cx).map_ok(|frame| self.carry(frame)),
            waiting => waiting,
        }
    }

    /// A small piece, when the one before has been written to the client: what the client's side has in hand can't go
    /// to a file.
    fn poll_little(&mut self, cx: &mut Turn<'_>) -> Poll<Option<Piece>> {
        let leash = self.leash.get_or_insert_default().clone();
        if leash.poll_home(cx).is_pending() {
            self.read_waiting(cx);
            return Poll::Pending;
        }
        let next = match self.ahead.take() {
            Some(frame) => self.cut(frame, cx),
            None => match self.poll_spool(cx) {
                Poll::Ready(None) => match ready!(self.poll_source(cx)) {
                    Some(Ok(frame)) => self.cut(frame, cx),
                    end => Poll::Ready(end),
                },
                waiting => waiting,
            },
        };
        next.map_ok(|frame| frame.map_data(|data| leash.hand(data)))
    }

    /// The beginning of a large piece, the rest of which waits.
    fn cut(&mut self, frame: Frame<Bytes>, cx: &mut Turn<'_>) -> Poll<Option<Piece>> {
        let Some(spool) = self.spool.as_mut().filter(|spool| spool.is_empty()) else {
            return Poll::Ready(Some(Ok(self.carry(frame))));
        };
        match frame.into_data() {
            Ok(data) if data.len() >= CUT_MIN => {
                spool.push(&data);
                drop(data);
                spool.poll_next(cx).map_err(BodyError::Spool).map_ok(Frame::data)
            }
            Ok(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
            Err(frame) => Poll::Ready(Some(Ok(frame))),
        }
    }

    fn poll_source(&mut self, cx: &mut Turn<'_>) -> Poll<Option<Piece>> {
        self.source.poll(cx).map_err(BodyError::Upstream)
    }

    /// Counts what hasn't waited while it is on its way to the client.
    fn carry(&self, frame: Frame<Bytes>) -> Frame<Bytes> {
        frame.map_data(|data| self.spools.carry(Kind::Response, data))
    }

    /// What waits, while the source is read on.
    fn poll_spool(&mut self, cx: &mut Turn<'_>) -> Poll<Option<Piece>> {
        self.read_waiting(cx);
        match &mut self.spool {
            Some(spool) if !spool.is_empty() => {
                spool.poll_next(cx).map_err(BodyError::Spool).map_ok(Frame::data)
            }
            _ => Poll::Ready(None),
        }
    }

    /// Reads the source on where something waits already.
    fn read_waiting(&mut self, cx: &mut Turn<'_>) {
        let Relay { source, spool, .. } = self;
        if let Some(spool) = spool.as_mut().filter(|spool| !spool.is_empty()) {
            source.read_into(spool, cx);
        }
    }

    fn is_over(&self) -> bool {
        self.ahead.is_empty() && self.waiting() == 0 && self.source.is_over()
    }

    fn waiting(&self) -> u64 {
        self.spool.as_ref().map_or(0, Spool::bytes)
    }

    /// Everything is handed on; what the client takes of it is the connection's affair.
    fn finish_at_end(&mut self) {
        if self.is_over() {
            self.record.ends(End::Ok);
        }
    }
}

impl<B: Upstream> Source<B> {
    fn poll(&mut self, cx: &mut Turn<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.last.take() {
            Some(last) => Poll::Ready(Some(last)),
            None => Pin::new(&mut self.upstream).poll_frame(cx),
        }
    }

    /// Reads what there is, as far as there is room.
    fn read_into(&mut self, spool: &mut Spool, cx: &mut Turn<'_>) {
        while !self.is_over() && self.last.is_none() && spool.poll_room(cx) == Poll::Ready(Room::Some) {
            match Pin::new(&mut self.upstream).poll_frame(cx) {
                Poll::Pending | Poll::Ready(None) => break,
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => spool.push(&data),
                    Err(trailers) => self.last = Some(Ok(trailers)),
                },
                Poll::Ready(Some(Err(error))) => self.last = Some(Err(error)),
            }
        }
        spool.work(cx);
    }

    fn is_over(&self) -> bool {
        self.last.is_none() && self.upstream.is_end_stream()
    }
}

impl<B: Upstream> ReadAhead for Relay<B> {
    fn read_ahead(mut self: Pin<&mut Self>, cx: &mut Turn<'_>) {
        let Relay { source, spool, .. } = &mut *self;
        if let Some(spool) = spool {
            source.read_into(spool, cx);
        }
    }
}

impl<B: Upstream> HttpBody for Relay<B> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Turn<'_>) -> Poll<Option<Piece>> {
        loop {
            let frame = match ready!(self.poll_piece(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    self.finish_at_end();
                    return Poll::Ready(None);
                }
            };
            let limit = self.limit;
            self.clock.start(limit);
            if let Some(data) = frame.data_ref() {
                let bytes = data.len() as u64;
                self.record.sends(bytes);
            } else if !self.trailers {
                continue;
            }
            self.finish_at_end();
            return Poll::Ready(Some(Ok(frame)));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        match self.source.upstream.size_hint().exact() {
            Some(rest) => SizeHint::with_exact(rest + self.ahead.bytes() + self.waiting()),
            None => SizeHint::default(),
        }
    }
}

/// Reads a whole body, up to a bound.
pub(super) async fn collect(
    ctx: &Context<'_>,
    mut upstream: UpstreamBody,
    limit: usize,
) -> Result<Bytes, Refusal> {
    if upstream.size_hint().lower() > limit as u64 {
        return Err(Refusal::HoldBody);
    }
    let mut whole = Pieces::default();
    while !upstream.is_end_stream() {
        let next = std::future::poll_fn(|cx| Pin::new(&mut upstream).poll_frame(cx));
        let frame = ctx.client.clock.limit(ctx.rules.body_timeout, next).await;
        match frame.map_err(|_| Refusal::ResponseTimeout)? {
            None => break,
            Some(Err(_)) => return Err(Refusal::Truncated),
            Some(Ok(frame)) => whole.add(frame.into_data().unwrap_or_default()),
        }
        if whole.length > limit {
            return Err(Refusal::HoldBody);
        }
    }
    Ok(whole.join())
}

/// The pieces of a body; mostly there is one.
#[derive(Default)]
struct Pieces {
    pieces: Vec<Bytes>,
    length: usize,
}

impl Pieces {
    fn add(&mut self, piece: Bytes) {
        self.length += piece.len();
        self.pieces.push(piece);
    }

    /// A single piece is copied too where it is a small part of the buffer that it was read into.
    fn join(self) -> Bytes {
        Bytes::from(self.pieces.concat())
    }
}
