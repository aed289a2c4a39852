//! One request through its steps: check, lease, forward, classify, then relay, hold or tunnel.
//!
//! [`exchange`] is the list of the steps. Whatever goes wrong becomes a [`Refusal`], and [`mod@answer`] alone turns
//! that into a response, so that a client is never left in silence. The application's connection moves inside
//! the client's task: no step spawns anything. A request sees one [`Rules`] from beginning to end.
//!
//! The exchange knows no routes, no hosts and no sockets of clients: the site chooses the pool, the listener
//! owns the connection, and a hold or a tunnel leaves as a [`TakeOver`] that the listener carries out.

mod answer;
mod caller;
mod chain;
mod check;
mod classify;
mod cors;
mod decoded;
mod event_session;
mod far_side;
mod files;
mod forward;
mod forwarding;
mod grip;
mod holding;
mod inquiry;
mod kept;
mod links;
mod marks;
mod messages;
mod parley;
mod record;
mod refusal;
mod relay;
mod reproxy;
mod retries;
mod returning;
mod rules;
mod script;
mod sending;
mod tunnel;
mod upload;
mod upstream_path;
mod urgency;
mod websocket_events;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use hyper::body::Body as _;
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};

use crate::access_log::{AccessLog, End};
use crate::body::{Body, ClientBody};
use crate::config::{Edit, Websockets};
use crate::hold::{Keeper, TakeOver};
use crate::upstream::Pool;

pub use answer::is_own;
pub use caller::Caller;
pub use cors::Cors;
pub use event_session::EventSession;
pub use far_side::{FarSide, SAID_MAX};
pub use files::{Place, serve_file};
pub use grip::{GripRules, Identity};
pub use inquiry::{Inquired, inquire};
pub use kept::KeptRequest;
pub use links::{Unrecovered, ask_again, recover, request, tell_gone};
pub use messages::{Answered, Speaker, carry, not_carried};
pub use parley::{Host, Parley, parley};
pub use record::SiteMetrics;
pub use refusal::Refusal;
pub use reproxy::{Cometd, CometdAction, Elsewhere, Handoffs, Reproxy};
pub use rules::{Client, RouteRules, Rules};
pub use script::serve_script;
pub use websocket_events::{Opened, Told, asks_for_socket, forges_events, lost, offer_grip, open, tell};

use answer::answer;
use classify::Verdict;
use forward::Forwarded;
use marks::Marks;
use record::Record;

/// Everything that a request meets on its way.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Who asks.
    pub client: &'a Client,
    /// Limits and clocks.
    pub rules: &'a Rules,
    /// The same of the route.
    pub route: &'a RouteRules,
    /// Counters and name of the site.
    pub site: &'a Arc<SiteMetrics>,
    /// Which other origins may read what is held.
    pub cors: &'a Cors,
    /// Where to ask.
    pub pool: &'a Arc<Pool>,
    /// Where its answers may point, if anywhere.
    pub handoffs: Option<&'a Handoffs>,
    /// Who holds.
    pub keeper: &'a dyn Keeper,
    /// Where the lines go.
    pub log: &'a AccessLog,
    /// What is changed in the request that the application gets.
    pub edits: &'a [Edit],
}

/// What became of a request.
pub enum Outcome {
    /// The client gets this.
    Answered(Response<Body>),
    /// The client's connection leaves.
    Left(TakeOver),
    /// The same, and whoever routes what it says joins it with this.
    Joined(TakeOver, Box<FarSide>),
    /// Another route is to answer.
    Elsewhere(Box<Elsewhere>),
}

/// Takes a request through its steps. A response leaves the connection's clock running with `timeouts.body`,
/// the time that the client has to take it. Cancel-safe: when the client leaves, everything is given back.
pub async fn exchange(ctx: Context<'_>, parts: &Parts, body: ClientBody) -> Outcome {
    let marks = Marks::new(ctx.client, ctx.rules, &parts.headers);
    let mut record = Record::begin(ctx.client, ctx.rules, ctx.site, ctx.log, parts, &marks);
    let had_body = !body.is_end_stream();
    let ended = match check::check(parts, &body, ctx.route.request_body) {
        Ok(asked) => steps(&ctx, parts, &asked, Some(body), &marks, &mut record).await,
        Err(refusal) => Err(refusal),
    };
    finish(&ctx, parts, ended, had_body, &mut record)
}

fn finish(
    ctx: &Context<'_>,
    parts: &Parts,
    ended: Result<Outcome, Refusal>,
    had_body: bool,
    record: &mut Record,
) -> Outcome {
    ended.unwrap_or_else(|refusal| {
        let unread = had_body && !record.request_is_whole();
        record.refused(&refusal, parts);
        ctx.client.clock.start(ctx.rules.body_timeout);
        let mut response = answer(&refusal, unread, &parts.headers);
        if ctx.route.debug {
            answer::explain(&refusal, &mut response);
        }
        Outcome::Answered(response)
    })
}

/// Refuses a request that reaches no pool, with its counters and its line in the log.
pub fn refuse(
    client: &Client,
    rules: &Rules,
    site: &Arc<SiteMetrics>,
    log: &AccessLog,
    (parts, body): (&Parts, &ClientBody),
    refusal: &Refusal,
) -> Response<Body> {
    let marks = Marks::new(client, rules, &parts.headers);
    Record::begin(client, rules, site, log, parts, &marks).refused(refusal, parts);
    client.clock.start(rules.body_timeout);
    answer(refusal, !body.is_end_stream(), &parts.headers)
}

/// Sends a request elsewhere, with its counters and its line in the log.
pub fn redirect(
    client: &Client,
    rules: &Rules,
    site: &Arc<SiteMetrics>,
    log: &AccessLog,
    (parts, body): (&Parts, &ClientBody),
    (status, location): (StatusCode, &str),
) -> Response<Body> {
    let marks = Marks::new(client, rules, &parts.headers);
    Record::begin(client, rules, site, log, parts, &marks).redirected(status);
    client.clock.start(rules.body_timeout);
    answer::redirect(status, location, !body.is_end_stream())
}

/// The steps themselves. A request that was handed on from another route has no body.
async fn steps(
    ctx: &Context<'_>,
    parts: &Parts,
    asked: &check::Asked,
    body: Option<ClientBody>,
    marks: &Marks,
    record: &mut Record,
) -> Result<Outcome, Refusal> {
    if let Some(response) = ctx.cors.preflight(parts) {
        record.answers(response.status());
        record.ends(End::Ok);
        ctx.client.clock.start(ctx.rules.body_timeout);
        return Ok(Outcome::Answered(response));
    }
    let first_hand = body.is_some();
    if first_hand && let Some(back) = returning::resume(ctx, parts, asked, record) {
        return back.map(Outcome::Left);
    }
    if let Some(handoffs) = ctx.handoffs
        && let Some(response) = Box::pin(reproxy::remembered(ctx, handoffs, parts, asked, record)).await
    {
        return Ok(Outcome::Answered(response));
    }
    let mut answer = match forward::forward(ctx, parts, asked, marks, body, record).await? {
        Forwarded::Answer(answer) => answer,
        Forwarded::Hidden(hidden) => return Ok(Outcome::Answered(relay::whole(ctx, asked, *hidden, record))),
    };
    let body = record.take_body();
    let verdict = match answer.plain {
        true => Ok(Verdict::Relay),
        false => classify::classify(asked, &answer.head, (ctx.rules, &ctx.route.grip), ctx.handoffs),
    };
    match verdict.inspect_err(|refusal| answer.blame(refusal))? {
        Verdict::Relay => {
            ctx.cors.mark_unheld(parts, &mut answer.head);
            relay::relay(ctx, asked, answer, record).map(Outcome::Answered)
        }
        Verdict::Hold(instruction) => {
            // A future of its own, so that ordinary requests don't carry its size.
            let request = (parts, asked, first_hand);
            Box::pin(holding::hold(ctx, request, instruction, answer, record)).await.map(Outcome::Left)
        }
        Verdict::Reproxy(handoffs, instruction) => {
            let request = (parts, asked, marks);
            Box::pin(reproxy::hand_on(ctx, request, handoffs, instruction, answer, record)).await
        }
        Verdict::Grip(terms) => {
            let request = (parts, asked, marks, body);
            Box::pin(grip::obey(ctx, request, terms, answer, record)).await
        }
        Verdict::Tunnel if first_hand && ctx.route.websockets == Websockets::Grip => {
            far_side::take(ctx, (parts, asked), answer, record)
        }
        Verdict::Tunnel => tunnel::tunnel(answer, record).map(Outcome::Left),
    }
}
