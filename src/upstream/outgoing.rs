//! The body of a request on its way to a server, counted and bounded.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

/// A request body. Unlike an answer's it may move to another thread, since connections do that while idle.
#[derive(Debug, Default)]
pub struct Outgoing(Option<(Incoming, Arc<Upload>)>);

/// Why a request body broke off.
#[derive(Debug, thiserror::Error)]
pub enum OutgoingError {
    /// The client left, or broke its framing.
    #[error("the client broke off its request")]
    Client(#[source] hyper::Error),
    /// It passed its limit.
    #[error("the request body is larger than allowed")]
    TooLarge,
    /// It has another length than its head says.
    #[error("the request body has another length than its head says")]
    Length,
}

/// How far the body of a request has come; whoever sent it may look at any time.
#[derive(Debug)]
pub struct Upload {
    /// `u64::MAX` where there is none.
    limit: u64,
    bytes: AtomicU64,
    stage: AtomicU8,
}

/// What a request body waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// The server takes it slowly, or hasn't asked yet.
    Server,
    /// The client has sent nothing new.
    Client,
    /// It is whole.
    Done,
    /// It passed its limit.
    TooLarge,
    /// The client left, or broke its framing.
    Broken,
}

impl Outgoing {
    /// Of a request that has one; the limit is in bytes.
    pub fn new(body: Incoming, limit: Option<u64>) -> (Outgoing, Arc<Upload>) {
        let upload = Upload {
            limit: limit.unwrap_or(u64::MAX),
            bytes: AtomicU64::new(0),
            stage: AtomicU8::new(Stage::Server as u8),
        };
        let upload = Arc::new(upload);
        (Outgoing(Some((body, upload.clone()))), upload)
    }
}

impl Upload {
    /// Bytes handed on.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// What it waits for.
    pub fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Relaxed) {
            0 => Stage::Server,
            1 => Stage::Client,
            2 => Stage::Done,
            3 => Stage::TooLarge,
            _ => Stage::Broken,
        }
    }

    fn reach(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Relaxed);
    }

    /// Counts a piece.
    fn take(&self, data: &Bytes) -> Result<(), OutgoingError> {
        let bytes = self.bytes() + data.len() as u64;
        if bytes > self.limit {
            self.reach(Stage::TooLarge);
            return Err(OutgoingError::TooLarge);
        }
        self.bytes.store(bytes, Ordering::Relaxed);
        Ok(())
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = OutgoingError;

    /// Trailers are dropped: nothing that a client says there has been checked (RFC 9110 §6.5.1).
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, OutgoingError>>> {
        let Some((body, upload)) = &mut self.0 else { return Poll::Ready(None) };
        loop {
            let frame = match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Pending => {
                    upload.reach(Stage::Client);
                    return Poll::Pending;
                }
                Poll::Ready(None) => {
                    upload.reach(Stage::Done);
                    return Poll::Ready(None);
                }
                Poll::Ready(Some(Err(error))) => {
                    upload.reach(Stage::Broken);
                    return Poll::Ready(Some(Err(OutgoingError::Client(error))));
                }
                Poll::Ready(Some(Ok(frame))) => frame,
            };
            let Ok(data) = frame.into_data() else { continue };
            if let Err(error) = upload.take(&data) {
                return Poll::Ready(Some(Err(error)));
            }
            upload.reach(if body.is_end_stream() { Stage::Done } else { Stage::Server });
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|(body, _)| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), |(body, _)| body.size_hint())
    }
}
