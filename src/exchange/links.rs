//! What an application of GRIP links to: pages behind an answer that isn't held, what a held stream lacks, and where it
//! hears that a client has gone.
//!
//! Links lead to the host of the client's request. Nothing of the client goes with these requests but `Grip-Last`: the
//! last id that it has on each channel.

use std::time::SystemTime;

use bytes::Bytes;
use hyper::header::{CONTENT_LENGTH, HOST, HeaderName, HeaderValue, ORIGIN};
use hyper::http::request::Parts;
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Request, StatusCode, Uri};

use super::Context;
use super::check;
use super::classify::{Verdict, classify, instruction};
use super::forward::{Forwarded, forward, forward_with};
use super::grip::read;
use super::marks::Marks;
use super::record::Record;
use super::refusal::Refusal;
use super::upload::RequestBody;
use crate::access_log::End;
use crate::config::Edit;
use crate::hold::grip::{Link, Mode, Resume, Terms, Way, Ways};
use crate::hold::{Answer, ClientSide, Order, Speech};
use crate::message::{ChannelName, FrameBuilder, Position};

/// An answer of an application that may have others behind it.
pub(super) struct Page {
    /// What was asked for.
    pub(super) uri: Uri,
    pub(super) terms: Box<Terms>,
    pub(super) answer: Answer,
    /// The keeper's head when it was.
    pub(super) forwarded_at: Position,
}

/// Why there is nothing to be put behind a stream.
#[derive(Debug)]
pub enum Unrecovered {
    /// The application may have it later.
    Later,
    /// It says something that no stream can go on with.
    Never,
}

const GRIP_LAST: HeaderName = HeaderName::from_static("grip-last");
/// Pages that are put together: of a hundred events each, as django-eventstream has them, more than anybody waits for.
const PAGES_MAX: usize = 100;
const UNFIT: Refusal = Refusal::BadAnswer("the server's link leads nowhere");

/// What came of asking.
#[allow(clippy::large_enum_variant)] // One at a time, taken apart where it was asked for.
enum Asked {
    Page(Page),
    /// Another status than a successful one.
    Not(StatusCode),
}

/// Where a link leads; one to another host leads nowhere.
pub(super) fn target(link: &Link, uri: &Uri, host: Option<&HeaderValue>) -> Option<PathAndQuery> {
    link.target(uri, host.and_then(|host| host.to_str().ok()).unwrap_or_default())
}

/// The way to what comes behind a page.
pub(super) fn way(page: &Page, host: Option<&HeaderValue>) -> Option<Way> {
    let next = page.terms.next.as_ref()?;
    let target = target(&next.link, &page.uri, host)?.as_str().into();
    Some(Way { target, timeout: next.timeout })
}

/// Adds the pages behind an answer that isn't held, up to one that is, or the last; what there is of each stands behind
/// the one before. What is too much is left to the client, who comes back for it.
pub(super) async fn follow(
    ctx: &Context<'_>,
    host: Option<&HeaderValue>,
    marks: &Marks,
    mut page: Page,
    record: &mut Record,
) -> Result<Page, Refusal> {
    for _ in 0..PAGES_MAX {
        let Some(way) = way(&page, host).filter(|_| page.terms.mode.is_none()) else { break };
        page.terms.next = None;
        let parts = request(Method::GET, &way.target, host).ok_or(UNFIT)?;
        let Asked::Page(more) = ask(ctx, (&parts, marks), &page.terms.last_ids(), record).await? else {
            break;
        };
        if page.answer.body.len() + more.answer.body.len() > ctx.rules.hold_body {
            break;
        }
        page.answer.body = [&page.answer.body[..], &more.answer.body].concat().into();
        // Status and headers are those of the first.
        let status = page.terms.status.take();
        page = Page { answer: page.answer, ..more };
        page.terms.status = status;
    }
    Ok(page)
}

/// Asks for what streams lack that have these ids.
///
/// # Errors
/// There is nothing, now or ever.
pub async fn recover(
    ctx: Context<'_>,
    parts: &Parts,
    last_ids: &[(ChannelName, Box<str>)],
) -> Result<Resume, Unrecovered> {
    let marks = Marks::new(ctx.client, ctx.rules, &parts.headers);
    let mut record = Record::begin(ctx.client, ctx.rules, ctx.site, ctx.log, parts, &marks);
    let asking = ctx.client.clock.drive(Box::pin(resume(&ctx, (parts, &marks), last_ids, &mut record)));
    match asking.await.unwrap_or(Err(Refusal::ResponseTimeout)) {
        Ok(resumed) => {
            record.ends(End::Ok);
            resumed
        }
        Err(refusal) => {
            record.refused(&refusal, parts);
            Err(match refusal {
                Refusal::BadInstruction(_) | Refusal::BadAnswer(_) | Refusal::HoldBody => Unrecovered::Never,
                _ => Unrecovered::Later,
            })
        }
    }
}

async fn resume(
    ctx: &Context<'_>,
    (parts, marks): (&Parts, &Marks),
    last_ids: &[(ChannelName, Box<str>)],
    record: &mut Record,
) -> Result<Result<Resume, Unrecovered>, Refusal> {
    let host = parts.headers.get(HOST);
    let first = match ask(ctx, (parts, marks), last_ids, record).await? {
        Asked::Page(first) => first,
        Asked::Not(status) => {
            record.answers(status);
            return Ok(Err(Unrecovered::Later));
        }
    };
    record.answers(first.answer.status);
    let page = follow(ctx, host, marks, first, record).await?;
    if page.terms.mode == Some(Mode::Response) {
        tracing::warn!(path = parts.uri.path(), "a stream can't go on as a response that is held");
        return Ok(Err(Unrecovered::Never));
    }
    let mut body = FrameBuilder::new();
    body.payload().extend_from_slice(&page.answer.body);
    let ways = Ways { next: way(&page, host), gone: None };
    Ok(Ok(page.terms.resume(body.chunk(), ways, page.forwarded_at)))
}

/// Makes the request of a client again whose response is held, with what it has, and gives what it is told then; nothing
/// where it is the client who has to ask again.
pub async fn ask_again(
    ctx: Context<'_>,
    (parts, body): (&Parts, Bytes),
    last_ids: &[(ChannelName, Box<str>)],
) -> Option<Speech> {
    let marks = Marks::new(ctx.client, ctx.rules, &parts.headers);
    let mut record = Record::begin(ctx.client, ctx.rules, ctx.site, ctx.log, parts, &marks);
    let asking = ctx.client.clock.drive(Box::pin(again(&ctx, (parts, body, &marks), last_ids, &mut record)));
    let said = asking.await.unwrap_or(Err(Refusal::ResponseTimeout));
    said.inspect_err(|refusal| record.refused(refusal, parts)).ok().flatten()
}

async fn again(
    ctx: &Context<'_>,
    (parts, body, marks): (&Parts, Bytes, &Marks),
    last_ids: &[(ChannelName, Box<str>)],
    record: &mut Record,
) -> Result<Option<Speech>, Refusal> {
    let edits = edits(ctx, last_ids);
    let asked = check::without_body(parts)?;
    let with_ids = Context { edits: &edits, ..*ctx };
    let body = match body.is_empty() {
        true => RequestBody::Empty,
        false => RequestBody::ready(ctx, body),
    };
    let upstream = forward_with(&with_ids, (parts, &asked, marks), body, record, &mut None).await?;
    let at = SystemTime::now();
    let verdict = classify(&asked, &upstream.head, (ctx.rules, &ctx.route.grip), ctx.handoffs)?;
    let mut terms = match verdict {
        Verdict::Relay => Box::default(),
        Verdict::Grip(terms) => terms,
        // It is the client's own request that this can be done for.
        Verdict::Hold(_) | Verdict::Reproxy(..) | Verdict::Tunnel => return Ok(None),
    };
    let (forwarded_at, host) = (upstream.forwarded_at, parts.headers.get(HOST));
    let answer = read(ctx, &mut terms, upstream).await?;
    let first = Page { uri: parts.uri.clone(), terms, answer, forwarded_at };
    let Page { terms, mut answer, forwarded_at, .. } = follow(ctx, host, marks, first, record).await?;
    ctx.cors.mark(parts.headers.get(ORIGIN), &mut answer.headers);
    record.answers(answer.status);
    record.ends(End::Ok);
    match terms.mode {
        None => {
            let reason = terms.status.as_ref().and_then(|status| status.reason.clone());
            Ok(Some(Speech::Whole(Box::new(answer), reason)))
        }
        Some(Mode::Stream) => Ok(None),
        Some(mode) => {
            let side = ClientSide { version: parts.version, keep_alive: false };
            let hold = terms.hold(mode, (answer, Ways::default()), side, forwarded_at, at);
            Ok(Some(Speech::HoldAgain(Box::new(hold))))
        }
    }
}

/// Tells the application that a client has gone.
pub async fn tell_gone(ctx: Context<'_>, parts: &Parts) {
    let marks = Marks::new(ctx.client, ctx.rules, &parts.headers);
    let mut record = Record::begin(ctx.client, ctx.rules, ctx.site, ctx.log, parts, &marks);
    let asking = ctx.client.clock.drive(Box::pin(ask(&ctx, (parts, &marks), &[], &mut record)));
    match asking.await.unwrap_or(Err(Refusal::ResponseTimeout)) {
        Ok(Asked::Page(page)) => record.answers(page.answer.status),
        Ok(Asked::Not(status)) => record.answers(status),
        Err(refusal) => return record.refused(&refusal, parts),
    }
    record.ends(End::Ok);
}

async fn ask(
    ctx: &Context<'_>,
    (parts, marks): (&Parts, &Marks),
    last_ids: &[(ChannelName, Box<str>)],
    record: &mut Record,
) -> Result<Asked, Refusal> {
    let edits = edits(ctx, last_ids);
    let ctx = &Context { edits: &edits, ..*ctx };
    let asked = check::without_body(parts)?;
    let upstream = match forward(ctx, parts, &asked, marks, None, record).await? {
        Forwarded::Answer(upstream) => upstream,
        Forwarded::Hidden(hidden) => return Ok(Asked::Not(hidden.head.status)),
    };
    let (forwarded_at, status) = (upstream.forwarded_at, upstream.head.status);
    if !status.is_success() {
        upstream.lease.drain(&ctx.client.clock).await;
        return Ok(Asked::Not(status));
    }
    let mut terms = match instruction(&ctx.route.grip, &upstream.head.headers)? {
        Some(Order::Grip(terms)) => terms,
        _ => Box::default(),
    };
    let answer = read(ctx, &mut terms, upstream).await?;
    Ok(Asked::Page(Page { uri: parts.uri.clone(), terms, answer, forwarded_at }))
}

/// The head of a request to where a link leads.
pub fn request(method: Method, target: &str, host: Option<&HeaderValue>) -> Option<Parts> {
    let mut parts = Request::builder().method(method).uri(target).body(()).ok()?.into_parts().0;
    parts.headers.extend(host.map(|host| (HOST, host.clone())));
    if parts.method == Method::POST {
        parts.headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    Some(parts)
}

/// Those of the route, and what the client has.
fn edits(ctx: &Context<'_>, last_ids: &[(ChannelName, Box<str>)]) -> Vec<Edit> {
    let last = last_ids.iter().filter_map(|(channel, id)| {
        let route = ctx.route.channels.as_deref();
        grip_last(route.map_or(channel.as_str(), |route| route.own_name(channel)), id)
    });
    ctx.edits.iter().cloned().chain(last).collect()
}

/// `news; last-id=7`. What can't stand there is left out: nobody could read it.
fn grip_last(channel: &str, id: &str) -> Option<Edit> {
    let is_plain = |text: &str| !text.contains(['"', '\\', ';', ',', ' ']);
    let value = match is_plain(id) {
        true => format!("{channel}; last-id={id}"),
        false => format!("{channel}; last-id=\"{}\"", id.replace('\\', r"\\").replace('"', "\\\"")),
    };
    Some(Edit::Add(GRIP_LAST, HeaderValue::from_bytes(value.as_bytes()).ok()?))
}
