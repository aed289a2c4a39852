//! An answer to the client: at once when it is whole, else piece by piece, as fast as the client takes it.

use std::pin::Pin;
use std::task::{Context as Turn, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use hyper::{Response, Version};

use super::Context;
use super::answer::Refusal;
use super::check::Asked;
use super::forward::Answer;
use super::forwarding::to_client;
use super::record::Record;
use crate::access_log::End;
use crate::body::{Body, BodyError};
use crate::clock::Clock;
use crate::upstream::UpstreamBody;

/// Passes an answer on. What is already there is read at once, so that the connection is free before the
/// client has taken a byte.
pub(super) fn relay(
    ctx: &Context<'_>,
    asked: &Asked,
    answer: Answer,
    record: &mut Record,
) -> Result<Response<Body>, Refusal> {
    let Answer { mut head, lease, .. } = answer;
    to_client(&mut head.headers, asked.trailers);
    head.version = Version::HTTP_11;
    let status = head.status;
    let mut upstream = lease.into_body();
    let body = match glance(&mut upstream)? {
        Glance::Whole(bytes) => {
            record.sends(bytes.len() as u64);
            record.ends(End::Ok);
            Body::Bytes(bytes)
        }
        Glance::Begun(ahead) => {
            let (record, clock, limit) = (record.take(), ctx.client.clock.clone(), ctx.rules.body_timeout);
            let trailers = asked.trailers;
            let mut relay = Relay { ahead, upstream, record, clock, limit, trailers };
            relay.record.answers(status);
            Body::Boxed(Box::pin(relay))
        }
    };
    record.answers(status);
    ctx.client.clock.start(ctx.rules.body_timeout);
    Ok(Response::from_parts(head, body))
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

/// A body on its way. Whoever drives the client's connection drives the application's by it.
struct Relay {
    /// Read already.
    ahead: Ahead,
    upstream: UpstreamBody,
    record: Record,
    clock: Clock,
    limit: Duration,
    trailers: bool,
}

impl Relay {
    fn poll_upstream(&mut self, cx: &mut Turn<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(frame) = self.ahead.take() {
            return Poll::Ready(Some(Ok(frame)));
        }
        match Pin::new(&mut self.upstream).poll_frame(cx) {
            Poll::Pending if self.clock.expired() => {
                self.record.ends(End::Stalled);
                Poll::Ready(Some(Err(BodyError::Stalled(self.limit))))
            }
            Poll::Ready(Some(Err(error))) => {
                self.record.ends(End::UpstreamReset);
                Poll::Ready(Some(Err(BodyError::Upstream(error))))
            }
            other => other.map_err(BodyError::Upstream),
        }
    }

    /// Everything is handed on; what the client takes of it is the connection's affair.
    fn finish_at_end(&mut self) {
        if self.ahead.is_empty() && self.upstream.is_end_stream() {
            self.record.ends(End::Ok);
        }
    }
}

impl HttpBody for Relay {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Turn<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            let frame = match ready!(self.poll_upstream(cx)) {
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
        self.ahead.is_empty() && self.upstream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.upstream.size_hint().exact() {
            Some(rest) => SizeHint::with_exact(rest + self.ahead.bytes()),
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
