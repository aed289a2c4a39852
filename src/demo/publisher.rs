//! Publishes on the control port, the way any application would: one HTTP POST for each event.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;

use super::gallery;
use super::talk::Event;

/// From the connect to the end of the answer; somebody waits for it with a finger on the key.
const DEADLINE: Duration = Duration::from_secs(5);
/// Bytes of an answer that are read; a receipt has about fifty.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// What is posted to a channel.
#[derive(Debug, Clone)]
pub(super) struct Parcel {
    channel: &'static str,
    event: Option<&'static str>,
    /// By which the hub takes it once, however often it is posted.
    id: Option<u64>,
    content_type: &'static str,
    body: Bytes,
}

impl Parcel {
    /// An event of the talk.
    pub(super) fn event(event: &Event) -> Parcel {
        let channel = event.deed.channel();
        let body = serde_json::to_vec(event).expect("an event has strings and numbers only").into();
        let (event, id) = (Some(channel), Some(event.number));
        Parcel { channel, event, id, content_type: "application/json", body }
    }

    /// A line of the gallery's chat.
    pub(super) fn line(name: &str, text: &str) -> Parcel {
        let (channel, body) = (gallery::LINES, format!("{name}: {text}\n").into());
        Parcel { channel, event: None, id: None, content_type: "text/plain; charset=utf-8", body }
    }

    /// The next live picture.
    pub(super) fn picture(bitmap: Vec<u8>) -> Parcel {
        let (channel, body) = (gallery::PICTURE, bitmap.into());
        Parcel { channel, event: None, id: None, content_type: "image/bmp", body }
    }
}

/// What the control port says of a published event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) struct Receipt {
    /// Connections that hold the channel.
    pub(super) subscribers: u64,
}

/// Why an event could not be published.
#[derive(Debug, thiserror::Error)]
pub(super) enum PublishError {
    /// No connection.
    #[error("the control port at {0} can't be reached: {1}")]
    Unreachable(SocketAddr, #[source] io::Error),
    /// The connection broke.
    #[error("the control port at {0} broke off: {1}")]
    Broken(SocketAddr, #[source] Box<dyn Error + Send + Sync>),
    /// No answer in time.
    #[error("the control port at {0} did not answer in {seconds} s", seconds = DEADLINE.as_secs())]
    Silent(SocketAddr),
    /// An answer that isn't a receipt.
    #[error("the control port refused it: {status} {text}")]
    Refused {
        /// Its status.
        status: StatusCode,
        /// Its body, as far as it goes.
        text: String,
    },
}

/// Publishes and waits for the receipt.
///
/// A broken connection is tried a second time where an id makes sure that the hub takes it once.
/// Cancel-safe in the sense that a cancelled publish may or may not have happened.
pub(super) async fn publish(control: SocketAddr, parcel: &Parcel) -> Result<Receipt, PublishError> {
    let twice = async {
        match attempt(control, parcel).await {
            Err(PublishError::Broken(..)) if parcel.id.is_some() => attempt(control, parcel).await,
            done => done,
        }
    };
    tokio::time::timeout(DEADLINE, twice).await.unwrap_or(Err(PublishError::Silent(control)))
}

async fn attempt(control: SocketAddr, parcel: &Parcel) -> Result<Receipt, PublishError> {
    let broken = |error: hyper::Error| PublishError::Broken(control, error.into());
    let socket =
        TcpStream::connect(control).await.map_err(|error| PublishError::Unreachable(control, error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await.map_err(broken)?;
    let exchange = async move {
        let (head, body) = sender.send_request(request(control, parcel)).await.map_err(broken)?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        receipt(head.status, &body.map_err(|error| PublishError::Broken(control, error))?.to_bytes())
    };
    // The connection ends when the exchange drops its sender; whatever ends it early, the exchange says.
    let (_, receipt) = tokio::join!(connection, exchange);
    receipt
}

fn request(control: SocketAddr, parcel: &Parcel) -> Request<Full<Bytes>> {
    let Parcel { channel, event, id, content_type, body } = parcel;
    let mut request = Request::post(format!("/channels/{channel}"))
        .header(HOST, control.to_string())
        .header(CONTENT_TYPE, *content_type);
    if let Some(event) = event {
        request = request.header("X-Comet-Event", *event);
    }
    if let Some(id) = id {
        request = request.header("X-Comet-Id", *id);
    }
    request.body(Full::from(body.clone())).expect("a channel's name and an address make a valid head")
}

fn receipt(status: StatusCode, body: &[u8]) -> Result<Receipt, PublishError> {
    let refused = || PublishError::Refused { status, text: String::from_utf8_lossy(body).into_owned() };
    if !status.is_success() {
        return Err(refused());
    }
    serde_json::from_slice(body).map_err(|_| refused())
}
