//! A question of the proxy to an application, about a client, whose answer no client sees.
//!
//! It is one exchange like any other: counted, logged, in line for a connection by the pool's rules.

use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, HeaderMap};
use hyper::http::request::Parts;

use super::Context;
use super::check;
use super::forward::forward_with;
use super::marks::Marks;
use super::record::Record;
use super::refusal::Refusal;
use super::relay::collect;
use super::upload::RequestBody;
use crate::access_log::End;

/// An answer.
#[derive(Debug)]
pub struct Inquired {
    /// Its status.
    pub status: StatusCode,
    /// How long it may be kept, where it says that.
    pub max_age: Option<Duration>,
    /// Its body.
    pub body: Bytes,
}

/// Asks, and waits for the answer this long; nothing where there is none.
pub async fn inquire(ctx: Context<'_>, parts: &Parts, question: Bytes, limit: Duration) -> Option<Inquired> {
    let marks = Marks::new(ctx.client, ctx.rules, &parts.headers);
    let mut record = Record::begin(ctx.client, ctx.rules, ctx.site, ctx.log, parts, &marks);
    record.received(question.len() as u64);
    let asking = ctx.client.clock.drive(Box::pin(ask(&ctx, parts, &marks, question, &mut record)));
    let asked = match tokio::time::timeout(limit, asking).await {
        Ok(Ok(asked)) => asked,
        Ok(Err(_)) | Err(_) => Err(Refusal::ResponseTimeout),
    };
    match asked {
        Ok(inquired) => {
            record.ends(End::Ok);
            Some(inquired)
        }
        Err(refusal) => {
            record.refused(&refusal, parts);
            None
        }
    }
}

async fn ask(
    ctx: &Context<'_>,
    parts: &Parts,
    marks: &Marks,
    question: Bytes,
    record: &mut Record,
) -> Result<Inquired, Refusal> {
    // It changes nothing, so that it may be asked again where the connection was lost before it arrived.
    let asked = check::Asked { replayable: true, ..check::without_body(parts)? };
    let body = RequestBody::ready(ctx, question);
    let answer = forward_with(ctx, (parts, &asked, marks), body, record, &mut None).await?;
    let (status, max_age) = (answer.head.status, max_age(&answer.head.headers));
    record.answers(status);
    let body = collect(ctx, answer.lease.into_body(), ctx.rules.hold_body).await?;
    Ok(Inquired { status, max_age, body })
}

/// Only what is said to be fresh for a while may be kept of an answer to a POST (RFC 9110 §9.3.3).
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let directives: Vec<String> =
        values.flat_map(|value| value.split(',')).map(|one| one.trim().to_ascii_lowercase()).collect();
    if directives.iter().any(|one| ["no-store", "no-cache"].contains(&&**one)) {
        return None;
    }
    let seconds = directives.iter().find_map(|one| one.strip_prefix("max-age="))?;
    let seconds = seconds.trim_matches('"').parse().ok().filter(|seconds: &u32| *seconds > 0)?;
    Some(Duration::from_secs(seconds.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_kept_for_as_long_as_it_says() {
        for (value, expected) in [
            ("max-age=60", Some(60)),
            ("private, Max-Age=5", Some(5)),
            ("max-age=\"7\"", Some(7)),
            ("no-store, max-age=60", None),
            ("max-age=60, no-cache", None),
            ("max-age=0", None),
            ("max-age=-1", None),
            ("max-age=99999999999", None),
            ("s-maxage=60", None),
            ("", None),
        ] {
            let headers = HeaderMap::from_iter([(CACHE_CONTROL, value.parse().unwrap())]);
            assert_eq!(max_age(&headers), expected.map(Duration::from_secs), "{value}");
        }
        assert_eq!(max_age(&HeaderMap::new()), None);
    }
}
