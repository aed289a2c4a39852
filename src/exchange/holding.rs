//! An answer that is an instruction: read its body, free the application, and let the connection go.

use hyper::header::{CONTENT_LENGTH, ORIGIN};
use hyper::http::request;

use super::Context;
use super::check::Asked;
use super::decoded::decoded;
use super::forward::Answer as Upstream;
use super::forwarding::to_client;
use super::record::Record;
use super::refusal::Refusal;
use super::relay::collect;
use super::returning;
use crate::hold::{
    Answer, Asked as AskedToHold, BadCallback, BadUpgrade, ClientSide, Instruction, TakeOver, Unfit, moment,
};

/// Makes the hold. A request that is not the client's own, but handed on, is not `first_hand`. The application's connection is back in its pool before this returns.
pub(super) async fn hold(
    ctx: &Context<'_>,
    (parts, asked, first_hand): (&request::Parts, &Asked, bool),
    mut instruction: Instruction,
    upstream: Upstream,
    record: &mut Record,
) -> Result<TakeOver, Refusal> {
    let Upstream { mut head, lease, forwarded_at, .. } = upstream;
    if let Some(prefix) = ctx.route.channel_prefix() {
        instruction.put_under(prefix).map_err(Refusal::BadInstruction)?;
    }
    let at = moment();
    let body = collect(ctx, lease.into_body(), ctx.rules.hold_body).await?;
    let body = decoded(&mut head.headers, body, ctx.rules.hold_body, CODING)?;
    to_client(&mut head.headers, false);
    head.headers.remove(CONTENT_LENGTH);
    let for_script = instruction.fit_script(&parts.extensions, parts.uri.query());
    // A request that was handed on has another URL than the one that its client will come back to.
    let terms = instruction.ticket.take().filter(|_| first_hand);
    let of_application = terms.is_some().then(|| head.headers.clone());
    ctx.cors.mark(parts.headers.get(ORIGIN), &mut head.headers);
    let whole = !asked.has_body() || record.request_is_whole();
    let client = ClientSide { version: parts.version, keep_alive: asked.keep_alive && whole };
    let query = for_script.as_deref().or(parts.uri.query());
    let (headers, upgrade) = (&parts.headers, asked.websocket);
    let asked = AskedToHold { headers, upgrade, query, forwarded_at, now: ctx.keeper.head(), at };
    let answer = Answer { status: head.status, headers: head.headers, body };
    let mut hold = instruction.hold(asked, answer, client).map_err(unfit)?;
    let permit = ctx.keeper.admit(&hold.wishes)?;
    if hold.is_socket() && !ctx.cors.admits_socket(headers) {
        return Err(Refusal::ForeignOrigin);
    }
    if let Some((terms, headers)) = terms.zip(of_application) {
        returning::give(ctx, parts, &terms, &headers, &mut hold);
    }
    hold.subject = record.held(hold.answer.status);
    Ok(TakeOver::Hold(Box::new(hold), permit))
}

/// Where the log says what is wrong with it.
const CODING: &str = "Content-Encoding beside X-Comet-Subscribe";

/// What its client is told.
pub(super) fn unfit(unfit: Unfit) -> Refusal {
    match unfit {
        Unfit::Callback(BadCallback::Name) => {
            Refusal::BadRequest("the callback is not the name of a function")
        }
        Unfit::Callback(BadCallback::Foreign) => {
            Refusal::BadRequest("another site can't name a callback here")
        }
        Unfit::Upgrade(BadUpgrade::Key) => Refusal::BadRequest("the key of the WebSocket is not valid"),
        Unfit::Upgrade(BadUpgrade::Unasked) => Refusal::UpgradeRequired,
    }
}
