//! A request to the application and the head of its answer: lease, send, and again where that is safe.

use std::borrow::Cow;
use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use hyper::header::HeaderValue;
use hyper::http::uri::PathAndQuery;
use hyper::http::{request, response};

use super::Context;
use super::chain::client_behind;
use super::check::Asked;
use super::forwarding::{Sender, edit, is_plain, to_upstream};
use super::marks::Marks;
use super::record::Record;
use super::refusal::Refusal;
use super::retries::{Again, Retries};
use super::rules::position_value;
use super::upload::RequestBody;
use super::urgency::Look;
use crate::body::ClientBody;
use crate::clock::Clock;
use crate::config::QueueConfig;
use crate::message::Position;
use crate::upstream::{Class, Fault, Lease, NoLease, Outgoing, RequestHead, SendError, Stage, Upload, Why};

/// The head of an answer, and the connection that its body comes from.
pub(super) struct Answer {
    pub(super) head: response::Parts,
    pub(super) lease: Lease,
    /// The keeper's head when the request was forwarded.
    pub(super) forwarded_at: Position,
    /// Whether it is to be passed on as it is, but for `Connection`.
    pub(super) plain: bool,
}

impl Answer {
    /// Counts an answer that can't be passed on as a fault of its server; an instruction is the application's.
    pub(super) fn blame(&self, refusal: &Refusal) {
        if let Refusal::BadAnswer(_) = refusal {
            self.lease.failed(Fault::BadResponse);
        }
    }
}

/// What the application has to say.
pub(super) enum Forwarded {
    Answer(Answer),
    /// An answer of 500 that was to be hidden, for lack of a better one.
    Hidden(Box<HiddenAnswer>),
}

/// An answer whose connection is given back.
pub(super) struct HiddenAnswer {
    pub(super) head: response::Parts,
    /// `None` where it was too long to be kept.
    pub(super) body: Option<Bytes>,
}

/// Asks the application.
pub(super) async fn forward(
    ctx: &Context<'_>,
    parts: &request::Parts,
    asked: &Asked,
    marks: &Marks,
    body: Option<ClientBody>,
    record: &mut Record,
) -> Result<Forwarded, Refusal> {
    let mut hidden = None;
    match answer(ctx, (parts, asked, marks), body, record, &mut hidden).await {
        Ok(answer) => Ok(Forwarded::Answer(answer)),
        Err(refusal) => hidden.map(Forwarded::Hidden).ok_or(refusal),
    }
}

async fn answer(
    ctx: &Context<'_>,
    (parts, asked, marks): (&request::Parts, &Asked, &Marks),
    body: Option<ClientBody>,
    record: &mut Record,
    hidden: &mut Option<Box<HiddenAnswer>>,
) -> Result<Answer, Refusal> {
    let body = match body {
        // A future of its own, so that requests without a body don't carry its size.
        Some(body) if asked.has_body() => Box::pin(RequestBody::take_in(ctx, asked, body, record)).await?,
        _ => RequestBody::Empty,
    };
    forward_with(ctx, (parts, asked, marks), body, record, hidden).await
}

/// The same with a body that is ready to be sent. An answer of 500 that is hidden is left in `hidden`.
pub(super) async fn forward_with(
    ctx: &Context<'_>,
    (parts, asked, marks): (&request::Parts, &Asked, &Marks),
    mut body: RequestBody,
    record: &mut Record,
    hidden: &mut Option<Box<HiddenAnswer>>,
) -> Result<Answer, Refusal> {
    let clock = &ctx.client.clock;
    let asked = &body.described(asked, &parts.method);
    let target = target(ctx, parts)?;
    let mut lease = ctx.pool.lease(ctx.client.worker, clock, |queue| class(ctx, parts, queue)).await?;
    let mut retries = Retries::new(ctx.pool, parts, asked);
    loop {
        record.asks(lease.server());
        let forwarded_at = ctx.keeper.head();
        let position = position_value(forwarded_at);
        let identity = ctx.route.grip.identity().map(|identity| identity.token());
        let head = write(ctx, (parts, &target), asked, marks, &position, identity.as_ref());
        let again = match send(ctx, &mut lease, &head, body.outgoing(), body.upload()).await {
            Ok(head) => match retries.after_answer(head.status) {
                Some(again) => {
                    *hidden = Some(Box::new(HiddenAnswer { head, body: None }));
                    again
                }
                None => {
                    record.head_came(clock.now());
                    let plain = !head.status.is_informational() && is_plain(&head.headers);
                    return Ok(Answer { head, lease, forwarded_at, plain });
                }
            },
            Err(failure) => match failure.sent().and_then(|error| retries.after_failure(error, &lease)) {
                Some(again) => again,
                None => return Err(failure.refusal(&lease, body.upload())),
            },
        };
        record.retries();
        lease = Box::pin(lease_again(ctx, parts, lease, again, hidden)).await?;
    }
}

/// The connection for another attempt.
async fn lease_again(
    ctx: &Context<'_>,
    parts: &request::Parts,
    lease: Lease,
    again: Again,
    hidden: &mut Option<Box<HiddenAnswer>>,
) -> Result<Lease, NoLease> {
    let clock = &ctx.client.clock;
    match again {
        Again::Renewed => lease.renew(clock).await,
        Again::Elsewhere => lease.elsewhere(clock).await,
        Again::After(delay) => {
            let body = lease.drain(clock).await;
            if let Some(hidden) = hidden {
                hidden.body = body;
            }
            tokio::time::sleep(delay).await;
            ctx.pool.lease(ctx.client.worker, clock, |queue| class(ctx, parts, queue)).await
        }
    }
}

/// How urgent the request is in this line.
fn class(ctx: &Context<'_>, parts: &request::Parts, queue: &QueueConfig) -> Class {
    let client = client_behind(&parts.headers, ctx.client.ip(), |address| ctx.rules.trusts(address));
    Look { headers: &parts.headers, path: parts.uri.path(), client }.class(queue)
}

/// What the application is asked for: without scheme and authority (RFC 9112 §3.2.1).
fn target<'a>(ctx: &Context<'a>, parts: &'a request::Parts) -> Result<Cow<'a, str>, Refusal> {
    match &ctx.route.upstream_path {
        Some(path) => path.target(&parts.uri).map(Cow::Owned),
        None => Ok(parts.uri.path_and_query().map_or(parts.uri.path(), PathAndQuery::as_str).into()),
    }
}

/// The request as the application gets it.
fn write<'a>(
    ctx: &Context<'a>,
    (parts, target): (&'a request::Parts, &'a str),
    asked: &Asked,
    marks: &'a Marks,
    position: &'a HeaderValue,
    identity: Option<&'a Option<HeaderValue>>,
) -> RequestHead<'a> {
    let client = ctx.client;
    let trusted = ctx.rules.trusts(client.ip());
    let takes_files = ctx.handoffs.is_some_and(|handoffs| handoffs.reproxy.sends_files());
    let certificate = client.passport.certificate.as_deref();
    let (address, secure, passes_grip) =
        (client.address(), client.secure, trusted && !ctx.route.grip.is_on());
    let sender = Sender { address, secure, certificate, trusted, passes_grip, takes_files, marks };
    let mut fields = to_upstream(&parts.headers, asked, &sender, position);
    if let Some(token) = identity {
        let features = ctx.route.grip.identity().map_or("", |identity| identity.features());
        fields.add("grip-feature", features.as_bytes());
        token.iter().for_each(|token| fields.add("grip-sig", token.as_bytes()));
    }
    if let Some(path) = &ctx.route.upstream_path {
        path.say(&mut fields);
    }
    edit(&mut fields, ctx.edits);
    RequestHead { method: &parts.method, target, fields }
}

/// Why there is no head of an answer.
enum Failure {
    Send(Box<SendError>),
    /// The clock ran out; says what the request waited for.
    Late(Stage),
}

/// Sends a request and waits for the head of the answer, by the clock of the phase that it is in.
async fn send(
    ctx: &Context<'_>,
    lease: &mut Lease,
    head: &RequestHead<'_>,
    body: Outgoing,
    upload: Option<&Upload>,
) -> Result<response::Parts, Failure> {
    let clock = &ctx.client.clock;
    let mut phase = Phase::begin(ctx, upload);
    let mut sending = pin!(lease.send(head, body, clock));
    let result = std::future::poll_fn(|cx| match sending.as_mut().poll(cx) {
        Poll::Ready(result) => Poll::Ready(result.map_err(|error| Failure::Send(Box::new(error)))),
        Poll::Pending => match phase.turn(clock) {
            Some(stage) => Poll::Ready(Err(Failure::Late(stage))),
            None => Poll::Pending,
        },
    })
    .await;
    clock.stop();
    result
}

/// While the body is sent, silence counts; then the answer is awaited.
struct Phase<'a> {
    ctx: &'a Context<'a>,
    /// `None` once it is done.
    upload: Option<&'a Upload>,
    bytes: u64,
}

impl<'a> Phase<'a> {
    fn begin(ctx: &'a Context<'a>, upload: Option<&'a Upload>) -> Phase<'a> {
        let rules = ctx.rules;
        ctx.client.clock.start(if upload.is_some() { rules.body_timeout } else { rules.response_timeout });
        Phase { ctx, upload, bytes: 0 }
    }

    /// After each turn: what the request waited for when the time is over.
    fn turn(&mut self, clock: &Clock) -> Option<Stage> {
        let Some(upload) = self.upload else { return clock.expired().then_some(Stage::Done) };
        if upload.stage() == Stage::Done {
            self.upload = None;
            clock.start(self.ctx.rules.response_timeout);
        } else if upload.sent() > self.bytes {
            self.bytes = upload.sent();
            clock.start(self.ctx.rules.body_timeout);
        }
        clock.expired().then(|| upload.stage())
    }
}

impl Failure {
    /// What went wrong where no clock ran out.
    fn sent(&self) -> Option<&SendError> {
        match self {
            Failure::Send(error) => Some(error),
            Failure::Late(_) => None,
        }
    }

    fn refusal(self, lease: &Lease, upload: Option<&Upload>) -> Refusal {
        match self {
            Failure::Send(error) if error.why == Why::Request => match upload.map(Upload::stage) {
                Some(Stage::TooLarge) => Refusal::BodyTooLarge,
                Some(Stage::Lost) => Refusal::Storage,
                Some(Stage::Slow) => Refusal::BodyTimeout,
                _ => Refusal::BodyBroken,
            },
            Failure::Send(error) => {
                let bad = error.why == Why::BadResponse;
                lease.failed(if bad { Fault::BadResponse } else { Fault::Reset });
                tracing::debug!(server = &**lease.server(), error = &*error as &dyn std::error::Error);
                Refusal::NoAnswer(error.why)
            }
            Failure::Late(Stage::Client) => Refusal::BodyTimeout,
            Failure::Late(stage) => {
                lease.failed(Fault::ResponseTimeout);
                if stage == Stage::Done { Refusal::ResponseTimeout } else { Refusal::UploadTimeout }
            }
        }
    }
}
