//! The answer of one stream of HTTP/2, sent as fast as its client takes it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};
use hyper::body::Body as _;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, DATE, HeaderMap, HeaderName, HeaderValue, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::response::Parts;
use hyper::{Response, Version};

use super::stream::now;
use super::takers::Taker;
use super::{Common, Host, earns};
use crate::body::{Body, BodyError};
use crate::clock::Clock;
use crate::listener::answer_writer::may_trail;

/// The head as HTTP/2 has it; `length` is that of the body, where it has one.
pub(super) fn head(parts: Parts, length: Option<u64>, is_head: bool) -> Response<()> {
    let mut head = Response::new(());
    *head.status_mut() = parts.status;
    *head.version_mut() = Version::HTTP_2;
    let mut headers = parts.headers;
    for name in OF_CONNECTION {
        headers.remove(name);
    }
    // What the body would have, where it is asked for.
    match length {
        Some(length) => drop(headers.insert(CONTENT_LENGTH, HeaderValue::from(length))),
        None if is_head => {}
        None => drop(headers.remove(CONTENT_LENGTH)),
    }
    if length.is_some() {
        headers.remove(TRAILER);
    }
    headers.entry(DATE).or_insert_with(now);
    *head.headers_mut() = headers;
    head
}

/// Fields that say something of a connection of HTTP/1 (RFC 9113 §8.2.2). Those of the application are gone already.
const OF_CONNECTION: [HeaderName; 5] = [
    CONNECTION,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// An answer on its way.
pub(super) struct Sending {
    pub(super) send: SendStream<Bytes>,
    pub(super) body: Body,
    /// What the client hasn't said that it takes.
    pub(super) piece: Bytes,
    /// Bytes that are missing, where the head says so.
    pub(super) left: Option<u64>,
    pub(super) taker: Taker,
}

impl Sending {
    /// Ready at the end. While it isn't, the client is waited for where there is a piece, else the body.
    pub(super) fn poll<H: Host>(
        &mut self,
        cx: &mut Context<'_>,
        clock: &Clock,
        common: &Common<H>,
    ) -> Poll<Result<(), Option<BodyError>>> {
        loop {
            let is_over = if self.piece.is_empty() {
                ready!(self.poll_body(cx))
            } else {
                let sent = ready!(self.poll_piece(cx, common));
                clock.start(common.patience.body);
                sent
            };
            match is_over {
                Ok(false) => {}
                Ok(true) => return Poll::Ready(Ok(())),
                Err(error) => {
                    self.send.send_reset(Reason::INTERNAL_ERROR);
                    return Poll::Ready(Err(error));
                }
            }
        }
    }

    /// Takes the next piece; says whether everything is sent by that.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Option<BodyError>>> {
        let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Poll::Ready(Err(Some(error))),
            None => return Poll::Ready(self.end(None)),
        };
        match frame.into_data() {
            Ok(data) => {
                if let Some(left) = &mut self.left {
                    match left.checked_sub(data.len() as u64) {
                        Some(rest) => *left = rest,
                        None => return Poll::Ready(Err(None)),
                    }
                }
                self.piece = data;
                Poll::Ready(Ok(false))
            }
            Err(frame) => Poll::Ready(self.end(frame.into_trailers().ok())),
        }
    }

    /// Sends of a piece what the client takes.
    fn poll_piece<H: Host>(
        &mut self,
        cx: &mut Context<'_>,
        common: &Common<H>,
    ) -> Poll<Result<bool, Option<BodyError>>> {
        let some = self.piece.len();
        self.send.reserve_capacity(some);
        if self.send.capacity() == 0 {
            match ready!(self.send.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Poll::Ready(Err(None)),
            }
        }
        let taken = self.piece.split_to(self.send.capacity().min(some));
        if earns(taken.len(), some) {
            common.meter.earn();
        }
        self.taker.give(taken.len());
        let is_last = self.piece.is_empty() && (self.left == Some(0) || self.body.is_end_stream());
        if is_last && self.left.is_some_and(|left| left > 0) {
            return Poll::Ready(Err(None));
        }
        if self.piece.is_empty() {
            // An empty one would keep its memory all the same, which others may wait for.
            self.piece = Bytes::new();
        }
        let sent = self.send.send_data(taken, is_last).map_err(|_| None);
        if is_last {
            // What it keeps busy is free before the client has taken its bytes.
            self.body = Body::Empty;
        }
        Poll::Ready(sent.map(|()| is_last))
    }

    /// Behind the last piece.
    fn end(&mut self, trailers: Option<HeaderMap>) -> Result<bool, Option<BodyError>> {
        if self.left.is_some_and(|left| left > 0) {
            return Err(None);
        }
        let trailers = trailers.into_iter().flat_map(|trailers| {
            trailers
                .iter()
                .filter(|(name, _)| may_trail(name))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect::<Vec<_>>()
        });
        let trailers: HeaderMap = trailers.collect();
        let sent = match trailers.is_empty() {
            true => self.send.send_data(Bytes::new(), true),
            false => self.send.send_trailers(trailers),
        };
        sent.map(|()| true).map_err(|_| None)
    }
}
