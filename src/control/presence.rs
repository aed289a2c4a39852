//! Looking at who is on a channel, and where a member is.

use std::time::UNIX_EPOCH;

use hyper::StatusCode;
use serde::Serialize;

use super::Control;
use super::channels::{Query, percent_decode};
use super::reply::{Failure, Reply, json};
use crate::hub::Member;
use crate::message::ChannelName;

#[derive(Serialize)]
struct Page<'a> {
    channel: &'a str,
    count: usize,
    members: Vec<Row<'a>>,
    next: Option<&'a str>,
}

#[derive(Serialize)]
struct Row<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
    connections: usize,
    since: u64,
}

#[derive(Serialize)]
struct Places<'a> {
    member: &'a str,
    channels: Vec<Row<'a>>,
}

impl Control {
    /// `GET /channels/NAME/presence?after=TAG&limit=N`: in the order of tags; `next` is what to pass as `after`.
    pub(super) fn channel_presence(&self, name: &ChannelName, query: Option<&str>) -> Result<Reply, Failure> {
        let query = Query(query.unwrap_or_default());
        let after = query.value("after")?.map(String::from_utf8).transpose();
        let after = after.map_err(|_| Failure::bad("after is badly encoded"))?;
        let limit = query.limit()?;
        let presence = self.operations.presence.as_ref();
        let page = presence.and_then(|presence| presence.members(name, after.as_deref(), limit));
        let page = page.ok_or_else(|| {
            Failure::new(
                StatusCode::NOT_FOUND,
                format!("no entry of `presence` watches the channel {name:?}"),
            )
        })?;
        let members = page.members.iter().map(|member| row(Some(&member.tag), None, member)).collect();
        let (channel, next) = (name.as_str(), page.next.as_deref());
        Ok(json(StatusCode::OK, &Page { channel, count: page.count, members, next }))
    }

    /// `GET /tags/NAME/presence`.
    pub(super) fn tag_presence(&self, segment: &str) -> Result<Reply, Failure> {
        let name = percent_decode(segment).and_then(|bytes| String::from_utf8(bytes).ok());
        let tag = name.ok_or_else(|| Failure::bad("the tag is badly encoded"))?;
        let presence = self.operations.presence.as_ref();
        let channels = presence.map(|presence| presence.channels_of(&tag)).unwrap_or_default();
        let channels =
            channels.iter().map(|(channel, member)| row(None, Some(channel.as_str()), member)).collect();
        Ok(json(StatusCode::OK, &Places { member: &tag, channels }))
    }
}

fn row<'a>(tag: Option<&'a str>, channel: Option<&'a str>, member: &Member) -> Row<'a> {
    let since = member.since.duration_since(UNIX_EPOCH).unwrap_or_default();
    let since = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    Row { member: tag, channel, connections: member.connections, since }
}
