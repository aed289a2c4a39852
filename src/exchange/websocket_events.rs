//! A client's WebSocket as requests of `application/websocket-events`: WebSocket-over-HTTP, as GRIP has it.
//!
//! The application keeps nothing of a client but what it orders: its connection is asked for an answer, and back in its
//! pool. One request at a time is out for a client; what it says meanwhile goes with the next. What stays here between
//! two of them is an [`EventSession`], as small as the head of the client's request.

use std::time::Duration;

use bytes::Bytes;
use hyper::body::Body as _;
use hyper::header::{
    ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_EXTENSIONS,
};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode, Version};

use super::Context;
use super::answer::{answer, explain};
use super::check::{self, Asked};
use super::classify::classify;
use super::decoded::decoded;
use super::event_session::EventSession;
use super::forward::{Answer as Upstream, forward_with};
use super::forwarding::to_client;
use super::grip::origin_where_asked;
use super::holding::unfit;
use super::marks::Marks;
use super::record::{Record, SiteMetrics};
use super::refusal::Refusal;
use super::relay::{collect, relay};
use super::upload::RequestBody;
use crate::access_log::End;
use crate::body::{Body, ClientBody};
use crate::config::Edit;
use crate::hold::grip::{EVENTS, Event, EventKind, Script, is_events, read_events};
use crate::hold::{Answer, Asked as AskedToHold, ClientSide, Instruction, Speech, TakeOver, moment};

/// What became of a request for a WebSocket.
pub enum Opened {
    /// The client gets this.
    Answered(Response<Body>),
    /// Its connection leaves, and whoever routes its events gets this.
    Held(TakeOver, Box<EventSession>),
}

/// What comes of a request with events.
pub enum Told {
    /// This is to be said to the shard.
    Speeches(Vec<Speech>),
    /// Nothing has reached the application, and it may be asked again.
    Again(Refusal),
}

/// Codes of a close (RFC 6455 §7.4.1).
const INTERNAL_ERROR: u16 = 1011;
/// The client may try again later.
const TRY_AGAIN: u16 = 1013;

const KEEP_ALIVE_INTERVAL: &str = "keep-alive-interval";
const CONTENT_BYTES_ACCEPTED: &str = "content-bytes-accepted";
const SET_META: &str = "set-meta-";
/// Where the log says what is wrong with it.
const CODING: &str = "Content-Encoding of WebSocket events";
const BAD_OPENING: Refusal = Refusal::BadAnswer("the server's WebSocket events don't begin with OPEN");
const BAD_EVENTS: Refusal =
    Refusal::BadAnswer("the server's WebSocket events break off or have a wrong length");

/// Whether a request asks for a WebSocket; one of HTTP/2 has the words of HTTP/1 by now.
pub fn asks_for_socket(parts: &Parts) -> bool {
    let wanted = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"websocket");
    parts.method == Method::GET
        && parts.version > Version::HTTP_10
        && parts.headers.get(hyper::header::UPGRADE).is_some_and(wanted)
}

/// What an application that speaks WebSocket itself is offered, in place of the client's extensions: what is compressed
/// can't be told apart.
pub fn offer_grip() -> Edit {
    Edit::Set(SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static("grip"))
}

/// Whether a client sends what only the proxy may.
pub fn forges_events(parts: &Parts) -> bool {
    parts.headers.get(CONTENT_TYPE).is_some_and(|value| is_events(value.as_bytes()))
}

/// Opens a WebSocket where the application does. Its connection is back in its pool before the client is held.
pub async fn open(ctx: Context<'_>, parts: &Parts, body: ClientBody) -> Opened {
    let marks = Marks::new(ctx.client, ctx.rules, &parts.headers);
    let mut record = Record::begin(ctx.client, ctx.rules, ctx.site, ctx.log, parts, &marks);
    let had_body = !body.is_end_stream();
    let opened = match check::check(parts, &body, ctx.route.request_body) {
        Ok(asked) if asked.websocket => ask_to_open(&ctx, (parts, &asked, &marks), &mut record).await,
        Ok(_) => Err(Refusal::UpgradeRequired),
        Err(refusal) => Err(refusal),
    };
    opened.unwrap_or_else(|refusal| {
        record.refused(&refusal, parts);
        ctx.client.clock.start(ctx.rules.body_timeout);
        let mut response = answer(&refusal, had_body, &parts.headers);
        if ctx.route.debug {
            explain(&refusal, &mut response);
        }
        Opened::Answered(response)
    })
}

async fn ask_to_open(
    ctx: &Context<'_>,
    (parts, asked, marks): (&Parts, &Asked, &Marks),
    record: &mut Record,
) -> Result<Opened, Refusal> {
    // What can't be held is not asked for: the application would count on it.
    let (now, at) = (ctx.keeper.head(), moment());
    let (headers, query) = (&parts.headers, parts.uri.query());
    let wish = AskedToHold { headers, upgrade: true, query, forwarded_at: now, now, at };
    let nothing = Answer { status: StatusCode::OK, headers: HeaderMap::new(), body: Bytes::new() };
    let side = ClientSide { version: parts.version, keep_alive: asked.keep_alive };
    let mut hold = Instruction::socket().hold(wish, nothing, side).map_err(unfit)?;
    hold.speaks_grip(origin_where_asked(ctx, parts), ctx.route.channels.clone(), now);
    let permit = ctx.keeper.admit(&hold.wishes)?;
    let mut session = EventSession::new(ctx.client, parts);
    let own = session.parts();
    let own_asked = Asked { holdable: false, ..check::without_body(&own)? };
    let mut opening = Vec::new();
    Event::bare(EventKind::Open).write(&mut opening);
    let body = RequestBody::ready(ctx, opening.into());
    let mut upstream = forward_with(ctx, (&own, &own_asked, marks), body, record, &mut None).await?;
    if !is_answer(&upstream) {
        // The application's own way to say no.
        classify(&own_asked, &upstream.head, (ctx.rules, &ctx.route.grip), None)
            .inspect_err(|refusal| upstream.blame(refusal))?;
        return relay(ctx, asked, upstream, record).map(Opened::Answered);
    }
    let mut headers = std::mem::take(&mut upstream.head.headers);
    let after = upstream.forwarded_at.sequence;
    let events = events(ctx, &mut headers, upstream).await?;
    if events.first().is_none_or(|first| first.kind != EventKind::Open) {
        return Err(BAD_OPENING);
    }
    session.opens(&headers, ctx.route.channels.clone());
    take_orders(&mut session, &headers);
    let script = Script::of_events(session.tongue(), events, after);
    session.opening(script);
    hold.answer.headers = for_client(headers);
    hold.subject = record.held(hold.answer.status);
    Ok(Opened::Held(TakeOver::Hold(Box::new(hold), permit), Box::new(session)))
}

/// Carries what there is to tell to the application. Whatever becomes of it is said.
pub async fn tell(ctx: Context<'_>, session: &mut EventSession) -> Told {
    let parts = session.parts();
    let marks = Marks::new(ctx.client, ctx.rules, &parts.headers);
    let mut record = Record::begin(ctx.client, ctx.rules, ctx.site, ctx.log, &parts, &marks);
    let asked = ctx.client.clock.drive(Box::pin(ask(&ctx, &parts, &marks, session, &mut record))).await;
    match asked.unwrap_or(Err(Refusal::ResponseTimeout)) {
        Ok(script) => {
            record.ends(End::Ok);
            ctx.site.words(if script.ends { "closed" } else { "ok" });
            Told::Speeches(session.said(script))
        }
        Err(refusal) => {
            record.refused(&refusal, &parts);
            match refusal {
                Refusal::NoLease(_) => Told::Again(refusal),
                refusal => Told::Speeches(lost(session, ctx.site, &refusal)),
            }
        }
    }
}

/// The client must not believe that what it said has arrived.
pub fn lost(session: &mut EventSession, site: &SiteMetrics, refusal: &Refusal) -> Vec<Speech> {
    site.words("failed");
    session.fails();
    let later = [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS].contains(&refusal.status());
    vec![Speech::Close(if later { TRY_AGAIN } else { INTERNAL_ERROR }, "".into())]
}

async fn ask(
    ctx: &Context<'_>,
    parts: &Parts,
    marks: &Marks,
    session: &mut EventSession,
    record: &mut Record,
) -> Result<Script, Refusal> {
    let asked = check::without_body(parts)?;
    let (bytes, offer) = session.offer();
    record.received(bytes.len() as u64);
    let body = RequestBody::ready(ctx, bytes);
    let mut upstream = forward_with(ctx, (parts, &asked, marks), body, record, &mut None).await?;
    record.answers(upstream.head.status);
    if !is_answer(&upstream) {
        upstream.lease.drain(&ctx.client.clock).await;
        return Err(Refusal::BadAnswer("the server answered WebSocket events with something else"));
    }
    let mut headers = std::mem::take(&mut upstream.head.headers);
    let after = upstream.forwarded_at.sequence;
    let events = events(ctx, &mut headers, upstream).await?;
    let accepted =
        headers.get(CONTENT_BYTES_ACCEPTED).map(|value| number(value).ok_or(BAD_EVENTS)).transpose()?;
    session.takes(offer, accepted.map(|bytes| bytes as usize)).map_err(Refusal::BadAnswer)?;
    take_orders(session, &headers);
    Ok(Script::of_events(session.tongue(), events, after))
}

fn is_answer(upstream: &Upstream) -> bool {
    let media_type = upstream.head.headers.get(CONTENT_TYPE);
    upstream.head.status == StatusCode::OK && media_type.is_some_and(|value| is_events(value.as_bytes()))
}

async fn events(
    ctx: &Context<'_>,
    headers: &mut HeaderMap,
    upstream: Upstream,
) -> Result<Vec<Event>, Refusal> {
    let body = collect(ctx, upstream.lease.into_body(), ctx.rules.hold_body).await?;
    let body = decoded(headers, body, ctx.rules.hold_body, CODING)?;
    read_events(body).map_err(|_| BAD_EVENTS)
}

/// What the head of an answer says about the connection.
fn take_orders(session: &mut EventSession, headers: &HeaderMap) {
    let interval = headers.get(KEEP_ALIVE_INTERVAL).and_then(number).filter(|seconds| *seconds > 0);
    session.looked_after_every(interval.map(Duration::from_secs));
    for (name, value) in headers {
        if let Some(name) = name.as_str().strip_prefix(SET_META) {
            session.set_meta(name, value);
        }
    }
}

fn number(value: &HeaderValue) -> Option<u64> {
    let text = value.to_str().ok()?.trim();
    text.parse().ok().filter(|_| text.bytes().all(|digit| digit.is_ascii_digit()))
}

/// What the client sees of the head.
fn for_client(mut headers: HeaderMap) -> HeaderMap {
    to_client(&mut headers, false);
    let own = |name: &HeaderName| {
        name.as_str().starts_with(SET_META)
            || [KEEP_ALIVE_INTERVAL, CONTENT_BYTES_ACCEPTED].contains(&name.as_str())
    };
    let own: Vec<HeaderName> = headers.keys().filter(|name| own(name)).cloned().collect();
    for name in own.iter().chain(&[CONTENT_LENGTH, CONTENT_TYPE, SEC_WEBSOCKET_EXTENSIONS]) {
        headers.remove(name);
    }
    headers
}

/// The head of a request with events, but for what the client has sent.
pub(super) fn events_request() -> Parts {
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = Method::POST;
    let events = HeaderValue::from_static(EVENTS);
    parts.headers.insert(CONTENT_TYPE, events.clone());
    parts.headers.insert(ACCEPT, events);
    parts.headers.insert(SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static("grip"));
    parts
}
