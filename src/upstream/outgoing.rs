//! The body of a request on its way to a server, counted and bounded: what was kept of it, then what still comes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use parking_lot::Mutex;

use crate::body::ClientBody;
use crate::spool::Reader;

/// A request body. Unlike an answer's it may move to another thread, since connections do that while idle.
#[derive(Debug, Default)]
pub struct Outgoing(Option<Box<Sending>>);

#[derive(Debug)]
struct Sending {
    /// What the proxy has taken in.
    held: Option<Reader>,
    /// What the client is still to send.
    rest: Option<ClientBody>,
    upload: Arc<Upload>,
}

/// Why a request body broke off.
#[derive(Debug, thiserror::Error)]
pub enum OutgoingError {
    /// The client left, or broke its framing.
    #[error("the client broke off its request")]
    Client(#[source] io::Error),
    /// It passed its limit.
    #[error("the request body is larger than allowed")]
    TooLarge,
    /// It has another length than its head says.
    #[error("the request body has another length than its head says")]
    Length,
    /// It comes more slowly than allowed.
    #[error("the client sends its request too slowly")]
    Slow,
    /// What was kept of it on disk can't be read.
    #[error("what was kept of the request on disk can't be read")]
    Lost(#[source] io::Error),
}

/// How far the body of a request has come; whoever sent it may look at any time.
#[derive(Debug)]
pub struct Upload {
    /// `u64::MAX` where there is none.
    limit: u64,
    /// From the client.
    received: AtomicU64,
    /// To the server.
    sent: AtomicU64,
    /// Whether the client has sent all of it.
    whole: AtomicBool,
    stage: AtomicU8,
    pace: Mutex<Pace>,
}

/// How fast a client has to send what is waited for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pace {
    /// Bytes a second; 0 is any.
    least: u64,
    grace: Duration,
    /// How long the client was waited for.
    waited: Duration,
    /// Since when it is.
    since: Option<Instant>,
}

impl Pace {
    /// So many bytes a second, `None` for any, once it was waited for as long as `grace`.
    pub fn new(least: Option<u64>, grace: Duration) -> Pace {
        Pace { least: least.unwrap_or(0), grace, waited: Duration::ZERO, since: None }
    }

    /// The client is waited for from now on.
    fn wait(&mut self, now: impl FnOnce() -> Instant) {
        if self.least > 0 && self.since.is_none() {
            self.since = Some(now());
        }
    }

    /// Something has come, so that it is so many bytes; whether that is enough.
    fn arrive(&mut self, bytes: u64, now: impl FnOnce() -> Instant) -> bool {
        let Some(since) = self.since.take() else { return true };
        self.waited += now().saturating_duration_since(since);
        let earned = Duration::from_millis(bytes.saturating_mul(1000) / self.least.max(1));
        self.waited <= self.grace.saturating_add(earned)
    }
}

/// What a request body waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// The server takes it slowly, or hasn't asked yet.
    Server,
    /// The client has sent nothing new.
    Client,
    /// It is sent.
    Done,
    /// It passed its limit.
    TooLarge,
    /// The client left, or broke its framing.
    Broken,
    /// It was kept on disk and can't be read.
    Lost,
    /// The client sends it too slowly.
    Slow,
}

impl Outgoing {
    /// Of what was kept and what is still to come.
    pub fn new(held: Option<Reader>, rest: Option<ClientBody>, upload: &Arc<Upload>) -> Outgoing {
        upload.sent.store(0, Ordering::Relaxed);
        let sending = Sending { held, rest, upload: upload.clone() };
        upload.reach(if sending.is_over() { Stage::Done } else { Stage::Server });
        Outgoing(Some(Box::new(sending)))
    }
}

impl Sending {
    fn is_over(&self) -> bool {
        self.held.as_ref().is_none_or(|held| held.left() == 0)
            && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, OutgoingError>>> {
        if let Some(held) = &mut self.held {
            match ready!(held.poll_next(cx)) {
                Some(Ok(data)) => return Poll::Ready(Some(Ok(data))),
                Some(Err(error)) => {
                    self.upload.reach(Stage::Lost);
                    return Poll::Ready(Some(Err(OutgoingError::Lost(error))));
                }
                None => self.held = None,
            }
        }
        match &mut self.rest {
            Some(rest) => self.upload.poll_client(Pin::new(rest), cx).map(Result::transpose),
            None => Poll::Ready(None),
        }
    }
}

impl Upload {
    /// Of a request that has a body; the limit is in bytes.
    pub fn new(limit: Option<u64>, pace: Pace) -> Arc<Upload> {
        Arc::new(Upload {
            limit: limit.unwrap_or(u64::MAX),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            whole: AtomicBool::new(false),
            stage: AtomicU8::new(Stage::Client as u8),
            pace: Mutex::new(pace),
        })
    }

    /// Bytes that came from the client.
    pub fn bytes(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Bytes that were handed to the server.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Whether the client has sent all of it.
    pub fn is_whole(&self) -> bool {
        self.whole.load(Ordering::Relaxed)
    }

    /// What it waits for.
    pub fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Relaxed) {
            0 => Stage::Server,
            1 => Stage::Client,
            2 => Stage::Done,
            3 => Stage::TooLarge,
            4 => Stage::Broken,
            5 => Stage::Lost,
            _ => Stage::Slow,
        }
    }

    /// Reads what the client sends; `None` is the end. Trailers are dropped: nothing that a client says there has
    /// been checked (RFC 9110 §6.5.1).
    pub fn poll_client(
        &self,
        mut body: Pin<&mut ClientBody>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, OutgoingError>> {
        loop {
            let frame = match body.as_mut().poll_frame(cx) {
                Poll::Pending => {
                    self.reach(Stage::Client);
                    self.pace.lock().wait(Instant::now);
                    return Poll::Pending;
                }
                Poll::Ready(None) => {
                    self.whole.store(true, Ordering::Relaxed);
                    return Poll::Ready(Ok(None));
                }
                Poll::Ready(Some(Err(error))) => {
                    self.reach(Stage::Broken);
                    return Poll::Ready(Err(OutgoingError::Client(error)));
                }
                Poll::Ready(Some(Ok(frame))) => frame,
            };
            let Ok(data) = frame.into_data() else { continue };
            self.receive(&data)?;
            if body.is_end_stream() {
                self.whole.store(true, Ordering::Relaxed);
            }
            return Poll::Ready(Ok(Some(data)));
        }
    }

    fn reach(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Relaxed);
    }

    /// Counts a piece.
    fn receive(&self, data: &Bytes) -> Result<(), OutgoingError> {
        let bytes = self.bytes() + data.len() as u64;
        if bytes > self.limit {
            self.reach(Stage::TooLarge);
            return Err(OutgoingError::TooLarge);
        }
        self.received.store(bytes, Ordering::Relaxed);
        if !self.pace.lock().arrive(bytes, Instant::now) {
            self.reach(Stage::Slow);
            return Err(OutgoingError::Slow);
        }
        Ok(())
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = OutgoingError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, OutgoingError>>> {
        let Some(sending) = &mut self.0 else { return Poll::Ready(None) };
        let data = match ready!(sending.poll_data(cx)) {
            Some(Ok(data)) => data,
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            None => {
                sending.upload.reach(Stage::Done);
                return Poll::Ready(None);
            }
        };
        let upload = &sending.upload;
        upload.sent.fetch_add(data.len() as u64, Ordering::Relaxed);
        upload.reach(if sending.is_over() { Stage::Done } else { Stage::Server });
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|sending| sending.is_over())
    }

    fn size_hint(&self) -> SizeHint {
        let Some(sending) = &self.0 else { return SizeHint::with_exact(0) };
        let held = sending.held.as_ref().map_or(0, Reader::left);
        let rest = sending.rest.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint);
        rest.exact().map_or_else(SizeHint::default, |rest| SizeHint::with_exact(held + rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_time_that_a_client_is_waited_for_counts_against_it() {
        let start = Instant::now();
        let at = |seconds: u64| move || start + Duration::from_secs(seconds);
        let mut pace = Pace::new(Some(100), Duration::from_secs(10));
        pace.wait(at(0));
        assert!(pace.arrive(1, at(10)));
        // Nobody asks for more during an hour.
        pace.wait(at(3610));
        assert!(pace.arrive(500, at(3614)));
        pace.wait(at(3614));
        // 15 s were waited for 500 bytes: ten of grace and five for them.
        assert!(pace.arrive(500, at(3615)));
        pace.wait(at(3615));
        assert!(!pace.arrive(501, at(3616)));
        let mut any = Pace::new(None, Duration::ZERO);
        any.wait(at(0));
        assert!(any.arrive(1, at(1_000_000)));
    }
}
