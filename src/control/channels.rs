//! Looking at channels and deleting them.

use std::time::Instant;

use hyper::StatusCode;
use serde::Serialize;
use serde_json::value::RawValue;

use super::reply::{Failure, Reply, json};
use crate::hub::{ChannelFacts, Hub};
use crate::message::{ChannelName, Start};
use crate::transport::message_object;

/// Channels of a page, and messages of an answer, where the request names no limit.
const PAGE: usize = 1000;
const PAGE_MAX: usize = 10_000;

#[derive(Serialize)]
struct Facts<'a> {
    channel: &'a str,
    subscribers: usize,
    messages: usize,
    first: Option<String>,
    last: Option<String>,
}

#[derive(Serialize)]
struct Listing<'a> {
    channels: Vec<Facts<'a>>,
    next: Option<&'a str>,
}

/// `GET /channels?after=NAME&limit=N`: in the order of names; `next` is what to pass as `after`.
pub(super) fn list(hub: &Hub, query: Option<&str>) -> Result<Reply, Failure> {
    let query = Query(query.unwrap_or_default());
    let after = query.value("after")?.map(|name| ChannelName::from_bytes(&name)).transpose();
    let after = after.map_err(|error| Failure::bad(format!("after: {error}")))?;
    let page = hub.channels(after.as_ref(), query.limit()?, Instant::now());
    let channels: Vec<_> = page.channels.iter().map(facts).collect();
    let next = page.next.as_ref().map(ChannelName::as_str);
    Ok(json(StatusCode::OK, &Listing { channels, next }))
}

/// `GET /channels/NAME`.
pub(super) fn inspect(hub: &Hub, name: &ChannelName) -> Result<Reply, Failure> {
    let channel = hub.channel(name, Instant::now()).ok_or_else(|| missing(name))?;
    Ok(json(StatusCode::OK, &facts(&channel)))
}

/// `DELETE /channels/NAME`.
pub(super) async fn delete(hub: &Hub, name: &ChannelName) -> Result<Reply, Failure> {
    if !super::settled(hub.delete(name, Instant::now())).await? {
        return Err(missing(name));
    }
    tracing::info!(channel = %name, "a channel was deleted");
    Ok(json(StatusCode::OK, &serde_json::json!({ "deleted": true })))
}

/// `GET /channels/NAME/messages?since=POSITION&limit=N`.
pub(super) fn messages(hub: &Hub, name: &ChannelName, query: Option<&str>) -> Result<Reply, Failure> {
    let query = Query(query.unwrap_or_default());
    let start = match query.value("since")?.as_deref() {
        None | Some(b"earliest") => Start::Earliest,
        Some(position) => {
            let text = String::from_utf8_lossy(position);
            let position =
                text.parse().map_err(|_| Failure::bad(format!("since: {text:?} is no position")))?;
            Start::After(position)
        }
    };
    let history = hub.history(name, start, query.limit()?, Instant::now()).ok_or_else(|| missing(name))?;
    let objects = history.entries.iter().map(|entry| {
        let mut object = Vec::new();
        message_object(entry, &mut object);
        String::from_utf8(object).ok().and_then(|object| RawValue::from_string(object).ok())
    });
    let messages: Vec<Option<Box<RawValue>>> = objects.collect();
    let position = history.position.to_string();
    let (gap, more) = (history.gap.is_some(), history.more);
    let answer = Messages { position, gap, more, messages };
    Ok(json(StatusCode::OK, &answer))
}

#[derive(Serialize)]
struct Messages {
    position: String,
    gap: bool,
    more: bool,
    messages: Vec<Option<Box<RawValue>>>,
}

fn facts(channel: &ChannelFacts) -> Facts<'_> {
    Facts {
        channel: channel.name.as_str(),
        subscribers: channel.subscribers,
        messages: channel.messages,
        first: channel.first.map(|position| position.to_string()),
        last: channel.last.map(|position| position.to_string()),
    }
}

fn missing(name: &ChannelName) -> Failure {
    Failure::new(StatusCode::NOT_FOUND, format!("there is no channel {name:?}"))
}

/// The query of a request.
pub(super) struct Query<'a>(pub(super) &'a str);

impl Query<'_> {
    pub(super) fn value(&self, key: &str) -> Result<Option<Vec<u8>>, Failure> {
        let pair = |pair: &&str| pair.split_once('=').is_some_and(|(name, _)| name == key);
        let Some(found) = self.0.split('&').find(pair) else { return Ok(None) };
        let value = &found[key.len() + 1..];
        let decoded = percent_decode(value).ok_or_else(|| Failure::bad(format!("{key} is badly encoded")))?;
        Ok(Some(decoded).filter(|value| !value.is_empty()))
    }

    pub(super) fn limit(&self) -> Result<usize, Failure> {
        let Some(value) = self.value("limit")? else { return Ok(PAGE) };
        let number = std::str::from_utf8(&value).ok().and_then(|text| text.parse().ok());
        let limit = number.filter(|limit| (1..=PAGE_MAX).contains(limit));
        limit.ok_or_else(|| Failure::bad(format!("limit is a whole number from 1 to {PAGE_MAX}")))
    }
}

/// RFC 3986 §2.1; `None` where a `%` isn't followed by two hexadecimal digits.
pub(super) fn percent_decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        let (byte, left) = match (first, behind) {
            (b'%', [high, low, left @ ..]) => {
                let digit = |digit: &u8| char::from(*digit).to_digit(16);
                ((digit(high)? * 16 + digit(low)?) as u8, left)
            }
            (b'%', _) => return None,
            (byte, left) => (*byte, left),
        };
        bytes.push(byte);
        rest = left;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_encoding_is_read_strictly() {
        assert_eq!(percent_decode("a%2Fb%c3%a4+"), Some("a/bä+".into()));
        for bad in ["%", "%1", "%zz", "a%2"] {
            assert_eq!(percent_decode(bad), None, "{bad}");
        }
    }
}
