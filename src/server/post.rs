//! What is posted to the application about presence, and how: one request on a connection of its own.

use std::fmt;
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::net::TcpStream;

use crate::config::PostUrl;
use crate::hub::{Change, Changes};

/// From the connect to the head of the answer.
const DEADLINE: Duration = Duration::from_secs(10);

/// Where it is posted to.
pub(super) struct Address(PostUrl);

/// What is posted: always the same bytes, however often.
pub(super) struct Letter(Bytes);

/// Why it wasn't taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unposted {
    #[error("it can't be reached: {0}")]
    Unreachable(#[from] io::Error),
    #[error("it broke off: {0}")]
    Broken(#[from] hyper::Error),
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("the request can't be written: {0}")]
    Request(#[from] hyper::http::Error),
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
    pub(super) fn new(url: PostUrl) -> Address {
        Address(url)
    }

    /// Posts once. Anything but a 2xx counts as not taken.
    pub(super) async fn post(&self, letter: &Letter) -> Result<(), Unposted> {
        tokio::time::timeout(DEADLINE, self.try_post(letter)).await.unwrap_or(Err(Unposted::Late))
    }

    async fn try_post(&self, letter: &Letter) -> Result<(), Unposted> {
        let PostUrl { host, port, authority, target } = &self.0;
        let socket = TcpStream::connect((host.as_str(), *port)).await?;
        let request = Request::post(target)
            .header(HOST, authority)
            .header(USER_AGENT, concat!("perihelion/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, "application/json")
            .header(CONNECTION, "close")
            .body(Full::new(letter.0.clone()))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
        let exchange = async move { sender.send_request(request).await };
        tokio::pin!(connection, exchange);
        let answer = tokio::select! {
            biased;
            answer = &mut exchange => answer,
            ended = &mut connection => match ended {
                Ok(()) => exchange.await,
                Err(error) => Err(error),
            },
        };
        // Whatever it has to say besides is of no interest.
        match answer?.status() {
            status if status.is_success() => Ok(()),
            status => Err(Unposted::Status(status)),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.authority)
    }
}
