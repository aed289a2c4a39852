//! Ending connections and tickets by tag or channel, and counting by tag.

use bytes::Bytes;
use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::channels::percent_decode;
use super::publish::{checked_event, item_data};
use super::reply::{Failure, Reply, json};
use super::{Control, Whom};
use crate::message::{ChannelName, Data};

/// The last message that ended connections get.
#[derive(Debug, Clone)]
pub struct Parting {
    /// Type of the event.
    pub event: Option<Box<str>>,
    /// The payload.
    pub data: Data,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish<'a> {
    tag: Option<String>,
    channel: Option<String>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    event: Option<String>,
}

#[derive(Serialize)]
struct Counted {
    connections: usize,
}

impl Control {
    /// `POST /revoke`.
    pub(super) async fn revoke(&self, body: Bytes) -> Result<Reply, Failure> {
        let (whom, parting) = read(&body, self.limits.message)?;
        let connections = (self.operations.revoke)(whom.clone(), parting).await;
        let connections =
            connections.map_err(|error| Failure::new(StatusCode::SERVICE_UNAVAILABLE, error))?;
        tracing::info!(?whom, connections, "tickets and connections were revoked");
        Ok(json(StatusCode::OK, &Counted { connections }))
    }

    /// `GET /tags/NAME`.
    pub(super) async fn tag(&self, segment: &str) -> Result<Reply, Failure> {
        let name = percent_decode(segment).and_then(|bytes| String::from_utf8(bytes).ok());
        let tag = name.ok_or_else(|| Failure::bad("the tag is badly encoded"))?;
        Ok(json(StatusCode::OK, &Counted { connections: (self.operations.count)(tag).await }))
    }
}

pub(super) fn read(body: &[u8], limit: usize) -> Result<(Whom, Option<Parting>), Failure> {
    let wish: Wish = serde_json::from_slice(body)
        .map_err(|error| Failure::bad(format!("the body is no revocation: {error}")))?;
    let whom = match (wish.tag, wish.channel) {
        (Some(tag), None) if !tag.is_empty() => Whom::Tag(tag),
        (None, Some(channel)) => {
            let name = ChannelName::parse(&channel).map_err(|error| Failure::bad(error.to_string()))?;
            Whom::Channel(name)
        }
        _ => return Err(Failure::bad("a revocation names one `tag` or one `channel`")),
    };
    let event = wish.event.map(|event| checked_event(event.into())).transpose()?;
    let data = match (wish.message, &event) {
        (Some(message), _) => Some(item_data(message)?),
        (None, Some(_)) => Some(Data::Text(Bytes::new())),
        (None, None) => None,
    };
    if data.as_ref().is_some_and(|data| data.bytes().len() > limit) {
        let error = format!("a message has at most {limit} bytes");
        return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, error));
    }
    Ok((whom, data.map(|data| Parting { event, data })))
}
