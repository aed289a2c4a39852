//! What is posted to the application about presence, and how: one request on a connection of its own.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hyper::StatusCode;
use serde::Serialize;

use crate::config::{KeepaliveConfig, PostUrl, Roots};
use crate::hub::{Change, Changes};
use crate::upstream::{Poster, Unposted};

/// From the connect to the head of the answer.
const DEADLINE: Duration = Duration::from_secs(10);

/// Bytes of an answer that are read, so that its end is known; nobody looks at them.
const ANSWER_MAX: usize = 64 << 10;

/// Where it is posted to, over a connection of its own.
pub(super) struct Address {
    url: PostUrl,
    poster: Poster,
}

/// What is posted: always the same bytes, however often.
pub(super) struct Letter(Bytes);

/// Why it wasn't taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Untaken {
    #[error(transparent)]
    Unposted(#[from] Unposted),
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("it took more than {} s", DEADLINE.as_secs())]
    Late,
}

#[derive(Serialize)]
struct Told<'a> {
    r#type: &'static str,
    channel: &'a str,
    member: &'a str,
    members: usize,
    at: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<&'a str>,
}

#[derive(Serialize)]
struct Written<'a> {
    instance: &'a str,
    number: u64,
    lost: u64,
    changes: Vec<Told<'a>>,
}

impl Letter {
    /// The news of a batch.
    pub(super) fn new(instance: &str, number: u64, changes: &Changes) -> Letter {
        let told = changes.list.iter().map(|change| told(change, None)).collect();
        Letter(json(&Written { instance, number, lost: changes.lost, changes: told }))
    }

    /// A single piece of news.
    pub(super) fn change(change: &Change, instance: Option<&str>) -> Vec<u8> {
        json(&told(change, instance)).into()
    }
}

fn told<'a>(change: &'a Change, instance: Option<&'a str>) -> Told<'a> {
    let Change { kind, channel, member, members, at } = change;
    let (r#type, channel) = (kind.word(), channel.as_str());
    Told { r#type, channel, member, members: *members, at: unix_milliseconds(*at), instance }
}

/// Strings and numbers only, so that writing them can't fail.
fn json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).unwrap_or_default().into()
}

fn unix_milliseconds(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Address {
    pub(super) fn new(url: PostUrl, roots: Roots) -> Address {
        // Changes of a second or more go together, so that a connection would mostly be kept for nothing.
        let keepalive = KeepaliveConfig { connections: 0, ..KeepaliveConfig::default() };
        Address { url, poster: Poster::new(&keepalive, roots) }
    }

    /// Posts once. Anything but a 2xx counts as not taken.
    pub(super) async fn post(&self, letter: &Letter) -> Result<(), Untaken> {
        let fields = [("content-type", &b"application/json"[..])];
        let posting = self.poster.post(&self.url, &fields, letter.0.clone(), ANSWER_MAX);
        match tokio::time::timeout(DEADLINE, posting).await {
            Err(_) => Err(Untaken::Late),
            // Whatever it has to say besides is of no interest.
            Ok(Err(Unposted::TooLarge(_))) => Ok(()),
            Ok(answered) => match answered?.0.status {
                status if status.is_success() => Ok(()),
                status => Err(Untaken::Status(status)),
            },
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url.authority)
    }
}
