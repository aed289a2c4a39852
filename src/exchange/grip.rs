//! An answer that speaks GRIP: what of it the client gets, and whether its connection is held.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use hyper::Response;
use hyper::ext::ReasonPhrase;
use hyper::header::{CONTENT_LENGTH, HOST, HeaderValue, ORIGIN};
use hyper::http::request;

use super::check::Asked;
use super::decoded::decoded;
use super::files::response;
use super::forward::Answer as Upstream;
use super::forwarding::to_client;
use super::links::{Page, follow, target, way};
use super::marks::Marks;
use super::record::Record;
use super::refusal::Refusal;
use super::relay::{collect, relay};
use super::sending::whole;
use super::{Context, Outcome};
use crate::body::Body;
use crate::config::{GripConfig, RouteGrip, Signing};
use crate::hold::grip::{FEATURES, FEATURES_ASKING, Mode, Status, Terms, Ways};
use crate::hold::{Answer, BadInstruction, ClientSide, Length, TakeOver, is_for_script, moment};
use crate::jwt::Signer;
use crate::spool::Held;

/// Whether the applications of a route speak GRIP, and how they know the proxy.
#[derive(Clone)]
pub enum GripRules {
    /// They don't, or nobody here is meant by it.
    Off,
    /// They do; without an identity they aren't told that it is understood.
    On(Option<Arc<Identity>>),
}

impl GripRules {
    /// As configured for all, and for the route: what that says of itself counts.
    pub(super) fn new(
        all: Option<&GripConfig>,
        identity: Option<&Arc<Identity>>,
        own: Option<&RouteGrip>,
    ) -> GripRules {
        let Some(RouteGrip { key, issuer, .. }) = own else { return GripRules::Off };
        if key.is_none() && issuer.is_none() {
            return GripRules::On(identity.cloned());
        }
        let mut config = all.cloned().unwrap_or_default();
        key.iter().for_each(|key| config.key = key.clone());
        issuer.iter().for_each(|issuer| config.issuer = issuer.clone());
        GripRules::On(Some(Arc::new(Identity::new(&config))))
    }

    /// How they know the proxy.
    pub fn identity(&self) -> Option<&Arc<Identity>> {
        match self {
            GripRules::Off => None,
            GripRules::On(identity) => identity.as_ref(),
        }
    }

    /// Whether they speak it.
    pub(super) fn is_on(&self) -> bool {
        matches!(self, GripRules::On(_))
    }
}

/// How applications know the proxy.
pub struct Identity {
    /// Nothing is signed without a key.
    signer: Option<Signer>,
    /// What stands in `Grip-Feature`.
    features: Box<str>,
    /// Whether filters may ask URLs.
    asks: bool,
}

impl Identity {
    /// As configured.
    pub fn new(config: &GripConfig) -> Identity {
        let signer = match &config.key {
            Signing::Off => None,
            Signing::By(key) => Some(Signer::new(key.clone(), &config.issuer)),
        };
        let asks = !config.filters.is_empty();
        let more = if asks { FEATURES_ASKING } else { "" };
        Identity { signer, features: [FEATURES, more].concat().into(), asks }
    }

    /// What stands in `Grip-Feature`.
    pub(super) fn features(&self) -> &str {
        &self.features
    }

    /// What stands in `Grip-Sig`.
    pub fn token(&self) -> Option<HeaderValue> {
        self.signer.as_ref()?.token(SystemTime::now())
    }
}

/// The URL that a client's request was for, from which filters may ask, where they may at all.
pub(super) fn origin_where_asked(ctx: &Context<'_>, parts: &request::Parts) -> Option<Box<str>> {
    let asks = ctx.route.grip.identity().is_some_and(|identity| identity.asks);
    asks.then(|| origin(ctx, parts))
}

/// The URL that a client's request was for, as far as what is relative to it needs it.
fn origin(ctx: &Context<'_>, parts: &request::Parts) -> Box<str> {
    let scheme = if ctx.client.is_secure(ctx.rules, &parts.headers) { "https" } else { "http" };
    let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    format!("{scheme}://{host}{}", parts.uri.path()).into()
}

/// Does what the application says. Its connection is back in its pool before a client is held.
pub(super) async fn obey(
    ctx: &Context<'_>,
    (parts, asked, marks, body): (&request::Parts, &Asked, &Marks, Option<Arc<Held>>),
    mut terms: Box<Terms>,
    mut upstream: Upstream,
    record: &mut Record,
) -> Result<Outcome, Refusal> {
    if terms.mode.is_none() && !terms.is_body && terms.next.is_none() {
        let head = &mut upstream.head;
        terms.dress(&mut head.status, &mut head.headers);
        say(terms.status.as_ref(), &mut head.extensions);
        return match Length::of(head.status, 0) {
            Length::Bodiless => Ok(Outcome::Answered(bodiless(ctx, upstream, record).await?)),
            _ => relay(ctx, asked, upstream, record).map(Outcome::Answered),
        };
    }
    let at = moment();
    let forwarded_at = upstream.forwarded_at;
    let answer = read(ctx, &mut terms, upstream).await?;
    let host = parts.headers.get(HOST);
    // Of pages behind one another the first says where it is heard that the client has gone.
    let gone = terms.gone.as_ref().and_then(|gone| target(gone, &parts.uri, host));
    let first = Page { uri: parts.uri.clone(), terms, answer, forwarded_at };
    let page = follow(ctx, host, marks, first, record).await?;
    let ways = Ways { next: way(&page, host), gone: gone.map(|gone| gone.as_str().into()) };
    let Page { terms, answer, forwarded_at, .. } = page;
    // A script runs when it is all there, so that a stream of it would never be.
    let is_endless = terms.mode == Some(Mode::Stream) && is_for_script(&parts.extensions);
    let mode = terms.mode.filter(|_| !is_endless && !terms.lacks_link(&ways));
    let Some(mode) = mode else { return Ok(Outcome::Answered(answered(ctx, &terms, answer, record))) };
    let whole = !asked.has_body() || record.request_is_whole();
    let client = ClientSide { version: parts.version, keep_alive: asked.keep_alive && whole };
    let mut hold = terms.hold(mode, (answer, ways), client, forwarded_at, at);
    let permit = ctx.keeper.admit(&hold.wishes)?;
    ctx.cors.mark(parts.headers.get(ORIGIN), &mut hold.answer.headers);
    hold.answers_script(&parts.extensions);
    hold.ask_from(origin_where_asked(ctx, parts));
    if hold.could_lose()
        && let Some(company) = &mut hold.grip
    {
        let body = body.filter(|body| body.length() <= REPEATED_MAX);
        company.request_body = body.and_then(|body| body.in_memory());
    }
    hold.subject = record.held(hold.answer.status);
    Ok(Outcome::Left(TakeOver::Hold(Box::new(hold), permit)))
}

/// The whole answer, as far as the client may see it.
pub(super) async fn read(
    ctx: &Context<'_>,
    terms: &mut Terms,
    upstream: Upstream,
) -> Result<Answer, Refusal> {
    let Upstream { mut head, lease, .. } = upstream;
    let body = collect(ctx, lease.into_body(), ctx.rules.hold_body).await?;
    // What is published later, and pages behind this one, are plain bytes: they can't stand behind or in place of coded ones.
    let body = decoded(&mut head.headers, body, ctx.rules.hold_body, CODING)?;
    let mut answer = match terms.is_body {
        true => terms.read_body(head.status, &body).map_err(Refusal::BadInstruction)?,
        false => {
            to_client(&mut head.headers, false);
            head.headers.remove(CONTENT_LENGTH);
            Answer { status: head.status, headers: head.headers, body }
        }
    };
    if let Some(route) = &ctx.route.channels {
        terms.put_on(route).map_err(Refusal::BadInstruction)?;
    }
    terms.dress(&mut answer.status, &mut answer.headers);
    let changed = terms.session().change_beginning(&answer.body).map(std::borrow::Cow::into_owned);
    answer.body = changed.map_err(|error| unfiltered(&error))?.into();
    Ok(answer)
}

/// Bytes of a request's body that is kept for as long as its response is held. As much as Pushpin keeps.
const REPEATED_MAX: u64 = 100_000;

/// Where the log says what is wrong with it.
const CODING: &str = "Content-Encoding";

fn unfiltered(error: &impl ToString) -> Refusal {
    let value = "build-id".to_owned();
    Refusal::BadInstruction(BadInstruction { header: "Grip-Channel", value, reason: error.to_string() })
}

/// An answer that is all there.
fn answered(ctx: &Context<'_>, terms: &Terms, answer: Answer, record: &mut Record) -> Response<Body> {
    record.answers(answer.status);
    ctx.client.clock.start(ctx.rules.body_timeout);
    let body = match Length::of(answer.status, 0) {
        Length::Bodiless => Bytes::new(),
        _ => answer.body,
    };
    let mut response = response(answer.status, answer.headers, whole(body, record));
    say(terms.status.as_ref(), response.extensions_mut());
    response
}

/// A status that says that there is no body, whatever the application has sent with it.
async fn bodiless(
    ctx: &Context<'_>,
    upstream: Upstream,
    record: &mut Record,
) -> Result<Response<Body>, Refusal> {
    let Upstream { mut head, lease, .. } = upstream;
    collect(ctx, lease.into_body(), ctx.rules.hold_body).await?;
    to_client(&mut head.headers, false);
    head.headers.remove(CONTENT_LENGTH);
    record.answers(head.status);
    ctx.client.clock.start(ctx.rules.body_timeout);
    Ok(response(head.status, head.headers, whole(Bytes::new(), record)))
}

fn say(status: Option<&Status>, extensions: &mut hyper::http::Extensions) {
    let reason = status.and_then(|Status { reason, .. }| reason.as_deref());
    if let Some(Ok(reason)) = reason.map(|reason| ReasonPhrase::try_from(reason.as_bytes())) {
        extensions.insert(reason);
    }
}

/// Whether the client of a refused answer is told so in the words that applications of GRIP know.
pub(super) fn is_grip(bad: &BadInstruction) -> bool {
    bad.header.starts_with("Grip-") || bad.header == CODING || bad.value == "application/grip-instruct"
}

/// Those of a client that is told to send no WebSocket events.
pub(super) const FORGED: &str = "Client not allowed to send WebSocket events directly.\n";

/// What stands before the reasons where these are told.
pub(super) const MISREAD: &str = "Failed to parse accept instructions: ";

/// Those words.
pub(super) const REFUSED: &str = "Error while proxying to origin.\n";
