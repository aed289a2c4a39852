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

use super::talk::Event;

/// From the connect to the end of the answer; somebody waits for it with a finger on the key.
const DEADLINE: Duration = Duration::from_secs(5);
/// Bytes of an answer that are read; a receipt has about fifty.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

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

/// Publishes one event and waits for the receipt.
///
/// A broken connection is tried a second time: the event's number is its id, so the hub takes it once.
/// Cancel-safe in the sense that a cancelled publish may or may not have happened.
pub(super) async fn publish(control: SocketAddr, event: &Event) -> Result<Receipt, PublishError> {
    let twice = async {
        match attempt(control, event).await {
            Err(PublishError::Broken(..)) => attempt(control, event).await,
            done => done,
        }
    };
    tokio::time::timeout(DEADLINE, twice).await.unwrap_or(Err(PublishError::Silent(control)))
}

async fn attempt(control: SocketAddr, event: &Event) -> Result<Receipt, PublishError> {
    let broken = |error: hyper::Error| PublishError::Broken(control, error.into());
    let socket =
        TcpStream::connect(control).await.map_err(|error| PublishError::Unreachable(control, error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await.map_err(broken)?;
    let exchange = async move {
        let (head, body) = sender.send_request(request(control, event)).await.map_err(broken)?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        receipt(head.status, &body.map_err(|error| PublishError::Broken(control, error))?.to_bytes())
    };
    // The connection ends when the exchange drops its sender; whatever ends it early, the exchange says.
    let (_, receipt) = tokio::join!(connection, exchange);
    receipt
}

fn request(control: SocketAddr, event: &Event) -> Request<Full<Bytes>> {
    let channel = event.deed.channel();
    let body = serde_json::to_vec(event).expect("an event has strings and numbers only");
    Request::post(format!("/channels/{channel}"))
        .header(HOST, control.to_string())
        .header(CONTENT_TYPE, "application/json")
        .header("X-Comet-Event", channel)
        .header("X-Comet-Id", event.number)
        .body(Full::from(body))
        .expect("a channel's name and an address make a valid head")
}

fn receipt(status: StatusCode, body: &[u8]) -> Result<Receipt, PublishError> {
    let refused = || PublishError::Refused { status, text: String::from_utf8_lossy(body).into_owned() };
    if !status.is_success() {
        return Err(refused());
    }
    serde_json::from_slice(body).map_err(|_| refused())
}
