//! A body that doesn't come from the application: a file, as fast as the client takes it.

use std::io;
use std::pin::Pin;
use std::task::{Context as Turn, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::record::Record;
use super::rules::{Client, Rules};
use crate::access_log::End;
use crate::body::{Body, BodyError};
use crate::clock::Clock;
use crate::files::Reading;
use crate::stretch::{STRETCH_MAX, Stretches};

/// Where a body comes from, piece by piece.
pub(super) trait Source: Unpin + 'static {
    /// The next piece, `None` at the end.
    fn poll_piece(&mut self, cx: &mut Turn<'_>) -> Poll<Option<io::Result<Bytes>>>;

    /// Bytes that are left, where that is known.
    fn left(&self) -> Option<u64>;

    /// What it means that it broke off.
    fn broken(error: io::Error) -> (End, BodyError);
}

/// A file, stretches of which the client's socket sends by itself where it can.
pub(super) struct FileSource {
    pub(super) reading: Reading,
    pub(super) stretches: Option<Stretches>,
}

impl Source for FileSource {
    fn poll_piece(&mut self, cx: &mut Turn<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let FileSource { reading, stretches } = self;
        if let Some(stretches) = stretches
            && let Some((file, at, length)) = reading.stretch(STRETCH_MAX)
        {
            return Poll::Ready(Some(Ok(stretches.stand_in(file, at, length))));
        }
        reading.poll_piece(cx)
    }

    fn left(&self) -> Option<u64> {
        Some(self.reading.left())
    }

    fn broken(error: io::Error) -> (End, BodyError) {
        (End::FileBroken, BodyError::File(error))
    }
}

/// The body of an answer whose status is recorded.
pub(super) fn send(client: &Client, rules: &Rules, source: impl Source, record: &mut Record) -> Body {
    if source.left() == Some(0) {
        return whole(Bytes::new(), record);
    }
    let (record, clock, limit) = (record.take(), client.clock.clone(), rules.body_timeout);
    Body::Boxed(Box::pin(Sending { source, record, clock, limit }))
}

/// A body that is all there.
pub(super) fn whole(bytes: Bytes, record: &mut Record) -> Body {
    record.sends(bytes.len() as u64);
    record.ends(End::Ok);
    Body::Bytes(bytes)
}

/// A body on its way.
struct Sending<S> {
    source: S,
    record: Record,
    clock: Clock,
    limit: Duration,
}

impl<S: Source> HttpBody for Sending<S> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Turn<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Sending { source, record, clock, limit } = &mut *self;
        let piece = match source.poll_piece(cx) {
            Poll::Pending if clock.expired() => {
                record.ends(End::Stalled);
                return Poll::Ready(Some(Err(BodyError::Stalled(*limit))));
            }
            piece => ready!(piece),
        };
        if piece.is_none() || source.left() == Some(0) {
            record.ends(End::Ok);
        }
        Poll::Ready(piece.map(|piece| match piece {
            Ok(bytes) => {
                clock.start(*limit);
                record.sends(bytes.len() as u64);
                Ok(Frame::data(bytes))
            }
            Err(error) => {
                let (end, error) = S::broken(error);
                record.ends(end);
                Err(error)
            }
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.source.left() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.source.left().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
