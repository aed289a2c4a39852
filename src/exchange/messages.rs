//! What the client of a held WebSocket says, as requests to the application, and what the answers say back.
//!
//! A message is a POST with the head of the request that was held, so that cookies and addresses are those that the
//! application knows. It is one exchange like any other: counted, logged, in line for a connection by the pool's rules.

use std::sync::Arc;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;

use super::caller::Caller;
use super::check;
use super::forward::forward_with;
use super::marks::Marks;
use super::record::Record;
use super::refusal::Refusal;
use super::relay::collect;
use super::rules::{Client, Rules};
use super::upload::RequestBody;
use super::{Context, SiteMetrics};
use crate::access_log::{AccessLog, End};
use crate::config::Edit;
use crate::hold::Kind;

/// Who speaks on a WebSocket, as far as requests need to know.
pub struct Speaker {
    caller: Caller,
    /// What the application doesn't get from the client.
    known: [Option<Edit>; 2],
}

/// What an answer says to the client.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Answered {
    /// A message.
    pub message: Option<(Kind, Bytes)>,
    /// The end, with code and reason.
    pub close: Option<(u16, Box<str>)>,
}

const CONNECTION_ID: HeaderName = HeaderName::from_static("x-comet-connection");
const TAG: HeaderName = HeaderName::from_static("x-comet-tag");
const CLOSE: &str = "x-comet-close";

/// A message that isn't of the kind that is expected, or whose answer is none (RFC 6455 §7.4.1).
const POLICY: u16 = 1008;
const INTERNAL_ERROR: u16 = 1011;
/// The client may try again later.
const TRY_AGAIN: u16 = 1013;

impl Speaker {
    /// Of the client whose request is held. `None` where the path is none, which an instruction never says.
    pub fn new(client: &Client, request: &Parts, path: &str, tag: Option<&str>) -> Option<Speaker> {
        let caller = Caller::new(client, request, path)?;
        let id = HeaderValue::try_from(format!("{:032x}", fastrand::u128(..))).ok()?;
        let tag = tag.and_then(|tag| HeaderValue::from_bytes(tag.as_bytes()).ok());
        let known = [Some(Edit::Set(CONNECTION_ID, id)), tag.map(|tag| Edit::Set(TAG, tag))];
        Some(Speaker { caller, known })
    }

    /// The head of its requests.
    pub fn parts(&self) -> &Parts {
        self.caller.parts()
    }

    /// The client, with a clock for one request.
    pub fn client(&self) -> Client {
        self.caller.client()
    }

    /// Edits of the route, and what is known of the connection.
    pub fn edits(&self, route: &[Edit]) -> Vec<Edit> {
        route.iter().chain(self.known.iter().flatten()).cloned().collect()
    }

    /// What the message is.
    pub fn describe(&mut self, kind: Kind) {
        let media_type = match kind {
            Kind::Text => HeaderValue::from_static("text/plain; charset=utf-8"),
            _ => HeaderValue::from_static("application/octet-stream"),
        };
        self.caller.describe(media_type);
    }
}

/// Carries a message to the application. Whatever becomes of it is said.
pub async fn carry(ctx: Context<'_>, parts: &Parts, data: Bytes) -> Answered {
    let marks = Marks::new(ctx.client, ctx.rules, &parts.headers);
    let mut record = Record::begin(ctx.client, ctx.rules, ctx.site, ctx.log, parts, &marks);
    record.received(data.len() as u64);
    let asked = ctx.client.clock.drive(Box::pin(ask(&ctx, parts, &marks, data, &mut record))).await;
    match asked.unwrap_or(Err(Refusal::ResponseTimeout)) {
        Ok(said) => {
            record.ends(End::Ok);
            ctx.site.words(if said.close.is_some() { "closed" } else { "ok" });
            said
        }
        Err(refusal) => {
            record.refused(&refusal, parts);
            lost(ctx.site, &refusal)
        }
    }
}

/// A message that can't be carried anywhere, with its counters and its line in the log.
pub fn not_carried(
    client: &Client,
    rules: &Rules,
    site: &Arc<SiteMetrics>,
    log: &AccessLog,
    parts: &Parts,
    refusal: &Refusal,
) -> Answered {
    let marks = Marks::new(client, rules, &parts.headers);
    Record::begin(client, rules, site, log, parts, &marks).refused(refusal, parts);
    lost(site, refusal)
}

/// A message is lost, and its client must not believe that it arrived.
fn lost(site: &SiteMetrics, refusal: &Refusal) -> Answered {
    site.words("failed");
    let later = [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS].contains(&refusal.status());
    Answered::close(if later { TRY_AGAIN } else { INTERNAL_ERROR })
}

async fn ask(
    ctx: &Context<'_>,
    parts: &Parts,
    marks: &Marks,
    data: Bytes,
    record: &mut Record,
) -> Result<Answered, Refusal> {
    let asked = check::without_body(parts)?;
    let body = RequestBody::ready(ctx, data);
    // A POST is asked once, so that nothing is hidden.
    let answer = forward_with(ctx, (parts, &asked, marks), body, record, &mut None).await?;
    let status = answer.head.status;
    record.answers(status);
    if !status.is_success() {
        answer.lease.drain(&ctx.client.clock).await;
        return Ok(Answered::close(if status.is_client_error() { POLICY } else { INTERNAL_ERROR }));
    }
    let body = collect(ctx, answer.lease.into_body(), ctx.rules.hold_body).await?;
    record.sends(body.len() as u64);
    let headers = &answer.head.headers;
    let message = (!body.is_empty()).then(|| (kind(headers, &body), body));
    Ok(Answered { message, close: headers.get(CLOSE).map(closing) })
}

impl Answered {
    fn close(code: u16) -> Answered {
        Answered { message: None, close: Some((code, "".into())) }
    }
}

/// What says that it is bytes, or is no text, goes as bytes.
fn kind(headers: &HeaderMap, body: &[u8]) -> Kind {
    let is_bytes = headers
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().to_ascii_lowercase().starts_with(b"application/octet-stream"));
    if is_bytes || std::str::from_utf8(body).is_err() { Kind::Binary } else { Kind::Text }
}

/// `4001 too many of you`: a code that may be sent (RFC 6455 §7.4) and a reason.
fn closing(value: &HeaderValue) -> (u16, Box<str>) {
    let text = value.to_str().unwrap_or_default().trim();
    let (code, reason) = text.split_once(' ').unwrap_or((text, ""));
    match code.parse() {
        Ok(code @ (1000..=1003 | 1007..=1014 | 3000..=4999)) => (code, reason.trim().into()),
        _ => {
            tracing::warn!(?value, "the application sent an X-Comet-Close without a code that may be sent");
            (INTERNAL_ERROR, "".into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_has_a_code_that_may_be_sent() {
        let closing = |value: &str| closing(&value.parse().unwrap());
        assert_eq!(closing("4001 too many of you"), (4001, "too many of you".into()));
        assert_eq!(closing("1000"), (1000, "".into()));
        for bad in ["", "x", "999", "1005", "1006 gone", "5000", "-1", "70000"] {
            assert_eq!(closing(bad), (1011, "".into()), "{bad}");
        }
    }

    #[test]
    fn an_answer_is_text_unless_it_says_otherwise_or_can_not_be() {
        let kind = |media_type: &str, body: &[u8]| {
            kind(&HeaderMap::from_iter([(CONTENT_TYPE, media_type.parse().unwrap())]), body)
        };
        assert_eq!(kind("application/json", b"{}"), Kind::Text);
        assert_eq!(kind("Application/Octet-Stream", b"{}"), Kind::Binary);
        assert_eq!(kind("text/plain", b"\xff"), Kind::Binary);
    }
}
