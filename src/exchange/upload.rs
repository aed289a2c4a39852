//! The body of a request before a worker of the application is asked for: taken in whole, so that the worker waits
//! for no client, or as far as it may wait here, and streamed from then on.
//!
//! A body that is held whole has a length, whatever the client said about it, and can be sent again.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Turn, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::Method;

use super::Context;
use super::check::{Asked, Framing};
use super::record::Record;
use super::refusal::Refusal;
use crate::body::ClientBody;
use crate::config::UploadConfig;
use crate::spool::{Held, Kind, Room, Spool};
use crate::upstream::{Outgoing, OutgoingError, Pace, Upload};

/// The body of a request as it is sent to the application.
pub(super) enum RequestBody {
    /// There is none.
    Empty,
    /// It is here, and can be sent again.
    Held(Arc<Held>, Arc<Upload>),
    /// What came until now, if anything is kept of it, and what is still to come: it can be sent once.
    Streamed(Option<(Option<Arc<Held>>, ClientBody)>, Arc<Upload>),
}

impl RequestBody {
    /// Takes a body in as far as it may wait. Cancel-safe: nothing is left of a request whose client leaves.
    pub(super) async fn take_in(
        ctx: &Context<'_>,
        asked: &Asked,
        body: ClientBody,
        record: &mut Record,
    ) -> Result<RequestBody, Refusal> {
        let upload = Upload::new(ctx.route.request_body, ctx.rules.pace);
        record.uploads(upload.clone());
        if !ctx.route.buffer.request {
            return Ok(RequestBody::Streamed(Some((None, body)), upload));
        }
        let clock = &ctx.client.clock;
        clock.start(ctx.rules.body_timeout);
        let mut intake = Intake::new(ctx, asked, body, upload.clone());
        let taken = std::future::poll_fn(|cx| intake.poll(cx)).await;
        clock.stop();
        Ok(match taken? {
            Taken::Whole(held) => {
                record.keeps(&held);
                RequestBody::Held(held, upload)
            }
            Taken::Part(held) => RequestBody::Streamed(Some((Some(held), intake.body)), upload),
        })
    }

    /// Of bytes that are here.
    pub(super) fn ready(ctx: &Context<'_>, bytes: Bytes) -> RequestBody {
        let held = Held::piece(ctx.route.spools.clone(), Kind::Request, bytes);
        RequestBody::Held(Arc::new(held), Upload::new(None, Pace::default()))
    }

    /// What the request says to the application, now that this is known of its body.
    pub(super) fn described(&self, asked: &Asked, method: &Method) -> Asked {
        match self {
            RequestBody::Held(held, _) => Asked {
                framing: Framing::Length(held.length()),
                replayable: asked.replayable || method.is_idempotent(),
                ..*asked
            },
            _ => *asked,
        }
    }

    /// The body to send; where it can be sent once only and has been, there is nothing left of it.
    pub(super) fn outgoing(&mut self) -> Outgoing {
        match self {
            RequestBody::Empty => Outgoing::default(),
            RequestBody::Held(held, upload) => Outgoing::new(Some(held.read()), None, upload),
            RequestBody::Streamed(once, upload) => match once.take() {
                Some((held, rest)) => Outgoing::new(held.map(|held| held.read()), Some(rest), upload),
                None => Outgoing::default(),
            },
        }
    }

    pub(super) fn upload(&self) -> Option<&Upload> {
        match self {
            RequestBody::Empty => None,
            RequestBody::Held(_, upload) | RequestBody::Streamed(_, upload) => Some(upload),
        }
    }
}

/// A body that is being taken in.
struct Intake<'a> {
    ctx: &'a Context<'a>,
    body: ClientBody,
    upload: Arc<Upload>,
    declared: Option<u64>,
    began: Instant,
    /// The first piece, which mostly is the only one, and isn't copied then.
    first: Option<Bytes>,
    spool: Spool,
    /// Whether it goes to a file when memory is full.
    spills: bool,
}

enum Taken {
    Whole(Arc<Held>),
    /// The rest is to be streamed.
    Part(Arc<Held>),
}

impl<'a> Intake<'a> {
    fn new(ctx: &'a Context<'a>, asked: &Asked, body: ClientBody, upload: Arc<Upload>) -> Intake<'a> {
        let declared = match asked.framing {
            Framing::Absent => Some(0),
            Framing::Length(length) => Some(length),
            Framing::Chunked => None,
        };
        let spool = Spool::new(ctx.route.spools.clone(), Kind::Request, ctx.route.request_memory);
        Intake { ctx, body, upload, declared, began: Instant::now(), first: None, spool, spills: false }
    }

    fn poll(&mut self, cx: &mut Turn<'_>) -> Poll<Result<Taken, Refusal>> {
        loop {
            if self.upload.is_whole() {
                let whole = ready!(self.poll_hold(cx));
                return Poll::Ready(whole.map(Taken::Whole));
            }
            match self.poll_room(cx) {
                Poll::Ready(Room::Some) => {}
                Poll::Pending if !self.is_late() => {
                    self.spool.work(cx);
                    return Poll::Pending;
                }
                Poll::Pending | Poll::Ready(Room::None) => {
                    let part = ready!(self.poll_hold(cx));
                    return Poll::Ready(part.map(Taken::Part));
                }
            }
            match self.poll_piece(cx) {
                Poll::Pending if self.is_late() => return Poll::Ready(Err(Refusal::BodyTimeout)),
                Poll::Pending => {
                    self.spool.work(cx);
                    return Poll::Pending;
                }
                Poll::Ready(Ok(())) => self.ctx.client.clock.start(self.ctx.rules.body_timeout),
                Poll::Ready(Err(refusal)) => return Poll::Ready(Err(refusal)),
            }
        }
    }

    fn is_late(&self) -> bool {
        self.ctx.client.clock.expired()
    }

    /// Whether to read on before anybody is asked for; decided once, when memory is full.
    fn poll_room(&mut self, cx: &mut Turn<'_>) -> Poll<Room> {
        let full = self.spool.bytes() >= self.ctx.route.request_memory as u64;
        if full && !self.spills {
            let rules = &self.ctx.route.upload;
            self.spills = is_worth_a_file(rules, self.declared, self.upload.bytes(), self.began.elapsed());
            if !self.spills {
                return Poll::Ready(Room::None);
            }
        }
        self.spool.poll_room(cx)
    }

    fn poll_piece(&mut self, cx: &mut Turn<'_>) -> Poll<Result<(), Refusal>> {
        if let Some(data) = ready!(self.upload.poll_client(Pin::new(&mut self.body), cx)).map_err(refusal)? {
            self.keep(data);
        }
        Poll::Ready(Ok(()))
    }

    fn keep(&mut self, data: Bytes) {
        if self.first.is_none() && self.spool.is_empty() {
            self.first = Some(self.ctx.route.spools.carry(Kind::Request, data));
            return;
        }
        if let Some(first) = self.first.take() {
            self.spool.push(&first);
        }
        self.spool.push(&data);
    }

    fn poll_hold(&mut self, cx: &mut Turn<'_>) -> Poll<Result<Arc<Held>, Refusal>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Ok(Arc::new(Held::piece(
                self.ctx.route.spools.clone(),
                Kind::Request,
                first,
            ))));
        }
        match self.spool.poll_hold(cx) {
            Poll::Pending if self.is_late() => Poll::Ready(Err(Refusal::Storage)),
            held => held.map_ok(Arc::new).map_err(|error| {
                tracing::debug!(%error, "a request body is lost on disk");
                Refusal::Storage
            }),
        }
    }
}

/// What a client is answered whose body doesn't come as it should.
pub(super) fn refusal(error: OutgoingError) -> Refusal {
    match error {
        OutgoingError::TooLarge => Refusal::BodyTooLarge,
        OutgoingError::Slow => Refusal::BodyTimeout,
        _ => Refusal::BodyBroken,
    }
}

/// Whether a body that has no more room in memory goes to a file, so that no worker waits for what is left of it.
fn is_worth_a_file(rules: &UploadConfig, declared: Option<u64>, received: u64, elapsed: Duration) -> bool {
    // Nobody knows how long it will take.
    let Some(declared) = declared else { return true };
    let left = declared.saturating_sub(received);
    let rate = u128::from(received) * 1000 / elapsed.as_millis().max(1);
    let long = rules.size.is_some_and(|size| declared >= size);
    let slow = rules.rate.is_some_and(|least| rate < u128::from(least));
    let late = rules.time.is_some_and(|most| u128::from(left) * 1000 > rate * most.as_millis());
    long || slow || late
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_three_reasons_is_enough_and_none_is_to_stream() {
        let rules =
            |size, rate, time: Option<u64>| UploadConfig { size, rate, time: time.map(Duration::from_secs) };
        let off = rules(None, None, None);
        // A megabyte of which a quarter came within a second.
        let of_a_megabyte = |rules| is_worth_a_file(&rules, Some(1_000_000), 250_000, Duration::from_secs(1));
        assert!(!of_a_megabyte(off));
        assert!(of_a_megabyte(rules(Some(1_000_000), None, None)));
        assert!(!of_a_megabyte(rules(Some(1_000_001), None, None)));
        assert!(of_a_megabyte(rules(None, Some(250_001), None)));
        assert!(!of_a_megabyte(rules(None, Some(250_000), None)));
        assert!(of_a_megabyte(rules(None, None, Some(2))));
        assert!(!of_a_megabyte(rules(None, None, Some(3))));
        assert!(is_worth_a_file(&off, None, 1, Duration::ZERO));
        assert!(!is_worth_a_file(&rules(None, Some(1), Some(1)), Some(10), 10, Duration::ZERO));
    }
}
