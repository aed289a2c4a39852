//! One request through its steps: check, lease, forward, classify, then relay, hold or tunnel.
//!
//! [`exchange`] is the list of the steps. Whatever goes wrong becomes a [`Refusal`], and [`answer`] alone turns
//! that into a response, so that a client is never left in silence. The application's connection moves inside
//! the client's task: no step spawns anything. A request sees one [`Rules`] from beginning to end.
//!
//! The exchange knows no routes, no hosts and no sockets of clients: the site chooses the pool, the listener
//! owns the connection, and a hold or a tunnel leaves as a [`TakeOver`] that the listener carries out.

mod answer;
mod chain;
mod check;
mod classify;
mod cors;
mod files;
mod forward;
mod forwarding;
mod holding;
mod marks;
mod record;
mod relay;
mod rules;
mod tunnel;
mod urgency;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use hyper::body::{Body as _, Incoming};
use hyper::{Request, Response, StatusCode};

use crate::access_log::{AccessLog, End};
use crate::body::Body;
use crate::config::Edit;
use crate::hold::{Keeper, TakeOver};
use crate::upstream::Pool;

pub use answer::{Refusal, is_own};
pub use cors::Cors;
pub use files::{Place, serve_file};
pub use record::SiteMetrics;
pub use rules::{Client, Rules};

use answer::answer;
use classify::Verdict;
use marks::Marks;
use record::Record;

/// Everything that a request meets on its way.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Who asks.
    pub client: &'a Client,
    /// Limits and clocks.
    pub rules: &'a Rules,
    /// Counters and name of the site.
    pub site: &'a Arc<SiteMetrics>,
    /// Which other origins may read what is held.
    pub cors: &'a Cors,
    /// Where to ask.
    pub pool: &'a Arc<Pool>,
    /// Who holds.
    pub keeper: &'a dyn Keeper,
    /// Where the lines go.
    pub log: &'a AccessLog,
    /// What is changed in the request that the application gets.
    pub edits: &'a [Edit],
}

/// Takes a request through its steps. A response leaves the connection's clock running with `timeouts.body`,
/// the time that the client has to take it. Cancel-safe: when the client leaves, everything is given back.
pub async fn exchange(ctx: Context<'_>, request: Request<Incoming>) -> Result<Response<Body>, TakeOver> {
    let (parts, body) = request.into_parts();
    let marks = Marks::new(&parts.headers, ctx.rules.trusts(ctx.client.ip()));
    let mut record = Record::begin(ctx.client, ctx.rules, ctx.site, ctx.log, &parts, &marks);
    let had_body = !body.is_end_stream();
    match steps(&ctx, &parts, body, &marks, &mut record).await {
        Ok(Ended::Answered(response)) => Ok(response),
        Ok(Ended::Left(take_over)) => Err(take_over),
        Err(refusal) => {
            let unread = had_body && !record.request_is_whole();
            record.refused(&refusal);
            ctx.client.clock.start(ctx.rules.body_timeout);
            Ok(answer(&refusal, unread, &parts.headers))
        }
    }
}

/// Refuses a request that reaches no pool, with its counters and its line in the log.
pub fn refuse(
    client: &Client,
    rules: &Rules,
    site: &Arc<SiteMetrics>,
    log: &AccessLog,
    request: Request<Incoming>,
    refusal: &Refusal,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let marks = Marks::new(&parts.headers, rules.trusts(client.ip()));
    Record::begin(client, rules, site, log, &parts, &marks).refused(refusal);
    client.clock.start(rules.body_timeout);
    answer(refusal, !body.is_end_stream(), &parts.headers)
}

/// Sends a request elsewhere, with its counters and its line in the log.
pub fn redirect(
    client: &Client,
    rules: &Rules,
    site: &Arc<SiteMetrics>,
    log: &AccessLog,
    request: Request<Incoming>,
    (status, location): (StatusCode, &str),
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let marks = Marks::new(&parts.headers, rules.trusts(client.ip()));
    Record::begin(client, rules, site, log, &parts, &marks).redirected(status);
    client.clock.start(rules.body_timeout);
    answer::redirect(status, location, !body.is_end_stream())
}

enum Ended {
    Answered(Response<Body>),
    Left(TakeOver),
}

async fn steps(
    ctx: &Context<'_>,
    parts: &hyper::http::request::Parts,
    body: Incoming,
    marks: &Marks,
    record: &mut Record,
) -> Result<Ended, Refusal> {
    let asked = check::check(parts, &body, ctx.rules)?;
    if let Some(response) = ctx.cors.preflight(parts) {
        record.answers(response.status());
        record.ends(End::Ok);
        ctx.client.clock.start(ctx.rules.body_timeout);
        return Ok(Ended::Answered(response));
    }
    let answer = forward::forward(ctx, parts, &asked, marks, body, record).await?;
    let verdict = classify::classify(&asked, &answer.head, ctx.rules);
    match verdict.inspect_err(|refusal| answer.blame(refusal))? {
        Verdict::Relay => relay::relay(ctx, &asked, answer, record).map(Ended::Answered),
        Verdict::Hold(instruction) => {
            // A future of its own, so that ordinary requests don't carry its size.
            Box::pin(holding::hold(ctx, parts, &asked, instruction, answer, record)).await.map(Ended::Left)
        }
        Verdict::Tunnel => tunnel::tunnel(answer, record).map(Ended::Left),
    }
}
