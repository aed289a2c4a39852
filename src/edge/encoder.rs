//! A body that is compressed on its way, and flushed whenever the application pauses.

use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use crate::body::{Body, BodyError, ReadAhead};
use crate::config::Encoding;

/// Bytes that are compressed at once, so that other connections of the thread don't wait for a large body: some hundred
/// microseconds of the slowest coding.
const TURN: usize = 32 * 1024;
/// What is made once and sent once isn't worth the last percent. gzip: nearly all of the default's gain for two thirds
/// of its time.
const GZIP_LEVEL: u32 = 5;
/// Its default of 11 is for what is kept.
const BROTLI_QUALITY: u32 = 4;
/// Half a megabyte for each answer under way.
const BROTLI_WINDOW: u32 = 19;
/// Its default.
const ZSTD_LEVEL: i32 = 3;

/// Compresses a body: at once where it is small and here, else as it comes. Gives it back where no coder can be had.
pub(super) fn compress(encoding: Encoding, body: Body) -> Result<Body, Body> {
    let Some(mut coder) = Coder::new(encoding) else { return Err(body) };
    match body {
        Body::Bytes(bytes) if bytes.len() <= TURN => match coder.whole(&bytes) {
            Ok(coded) => Ok(Body::from(coded)),
            Err(_) => Err(Body::Bytes(bytes)),
        },
        body => Ok(Body::Ahead(Box::pin(Encoder::new(coder, body)))),
    }
}

/// Compresses another body as it comes.
struct Encoder {
    body: Body,
    coder: Coder,
    /// Read of the body and not yet compressed.
    ahead: Bytes,
    /// Whether the coder may keep something back that was given to it.
    unflushed: bool,
    trailers: Option<HeaderMap>,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Body,
    /// The coder has given everything.
    Trailers,
    Over,
}

impl Encoder {
    fn new(coder: Coder, body: Body) -> Encoder {
        Encoder { body, coder, ahead: Bytes::new(), unflushed: false, trailers: None, stage: Stage::Body }
    }

    /// What is next of the compressed body; nothing yet where more has to be read, or fed, first.
    fn poll_coded(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, BodyError>> {
        if !self.ahead.is_empty() {
            let part = self.ahead.split_to(self.ahead.len().min(TURN));
            self.unflushed = true;
            return Poll::Ready(self.coder.code(Step::Feed(&part)));
        }
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                match frame.into_data() {
                    Ok(data) => self.ahead = data,
                    Err(frame) => self.trailers = frame.into_trailers().ok(),
                }
                Poll::Ready(Ok(Bytes::new()))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Err(error)),
            Poll::Ready(None) => {
                self.stage = Stage::Trailers;
                Poll::Ready(self.coder.code(Step::Finish))
            }
            // Whoever waits for the rest shall have what was said so far.
            Poll::Pending if std::mem::take(&mut self.unflushed) => Poll::Ready(self.coder.code(Step::Flush)),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl HttpBody for Encoder {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        while self.stage == Stage::Body {
            match self.poll_coded(cx) {
                Poll::Ready(Ok(coded)) if coded.is_empty() => {}
                Poll::Ready(coded) => return Poll::Ready(Some(coded.map(Frame::data))),
                Poll::Pending => return Poll::Pending,
            }
        }
        self.stage = Stage::Over;
        Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.stage == Stage::Over || self.stage == Stage::Trailers && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl ReadAhead for Encoder {
    /// What waits is what the application said: compressing it is for when the client takes it.
    fn read_ahead(mut self: Pin<&mut Self>, cx: &mut Context<'_>) {
        self.body.read_ahead(cx);
    }
}

/// What a coder is to do.
enum Step<'a> {
    Feed(&'a [u8]),
    /// Gives out all that was fed, at the cost of some bytes.
    Flush,
    Finish,
}

/// The codings, each writing into memory.
enum Coder {
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
    /// `None` at its end.
    Brotli(Option<Box<brotli::CompressorWriter<Vec<u8>>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Coder {
    fn new(encoding: Encoding) -> Option<Coder> {
        Some(match encoding {
            Encoding::Gzip => {
                Coder::Gzip(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(GZIP_LEVEL)))
            }
            Encoding::Brotli => {
                let coder = brotli::CompressorWriter::new(Vec::new(), TURN, BROTLI_QUALITY, BROTLI_WINDOW);
                Coder::Brotli(Some(Box::new(coder)))
            }
            Encoding::Zstd => Coder::Zstd(zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL).ok()?),
        })
    }

    fn whole(&mut self, bytes: &[u8]) -> Result<Vec<u8>, BodyError> {
        let begun = self.code(Step::Feed(bytes))?;
        let ended = self.code(Step::Finish)?;
        Ok([begun, ended].concat())
    }

    /// Takes a step; gives what has come out so far, which may be nothing.
    fn code(&mut self, step: Step<'_>) -> Result<Bytes, BodyError> {
        match self {
            Coder::Gzip(coder) => match step {
                Step::Feed(part) => coder.write_all(part),
                Step::Flush => coder.flush(),
                Step::Finish => coder.try_finish(),
            }
            .map(|()| coder.get_mut()),
            Coder::Zstd(coder) => match step {
                Step::Feed(part) => coder.write_all(part),
                Step::Flush => coder.flush(),
                Step::Finish => coder.do_finish(),
            }
            .map(|()| coder.get_mut()),
            Coder::Brotli(place) => {
                // Only its end takes it away.
                let Some(mut coder) = place.take() else { return Ok(Bytes::new()) };
                let done = match step {
                    Step::Feed(part) => coder.write_all(part),
                    Step::Flush => coder.flush(),
                    Step::Finish => return Ok(coder.into_inner().into()),
                };
                done.map(|()| place.insert(coder).get_mut())
            }
        }
        .map(|out| std::mem::take(out).into())
        .map_err(BodyError::Coder)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::io::Read;

    use super::*;

    /// Gives its pieces one by one, and is pending where there is `None`.
    struct Pieces(VecDeque<Option<Frame<Bytes>>>);

    impl HttpBody for Pieces {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            match self.0.pop_front() {
                Some(Some(frame)) => Poll::Ready(Some(Ok(frame))),
                Some(None) => Poll::Pending,
                None => Poll::Ready(None),
            }
        }
    }

    fn pieces(pieces: &[Option<&'static str>]) -> Body {
        let frame =
            |piece: &Option<&'static str>| piece.map(|text| Frame::data(Bytes::from_static(text.as_bytes())));
        Body::Boxed(Box::pin(Pieces(pieces.iter().map(frame).collect())))
    }

    /// Everything up to the next time that it waits, or the end.
    fn read(body: &mut Body) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        while let Poll::Ready(Some(frame)) = Pin::new(&mut *body).poll_frame(&mut cx) {
            bytes.extend_from_slice(frame.unwrap().data_ref().unwrap());
        }
        bytes
    }

    /// What a client has understood of so many bytes, be they the whole or not.
    fn understood(encoding: Encoding, coded: &[u8]) -> String {
        let mut text = Vec::new();
        // Where the end is missing there is an error behind the last byte that could be read.
        let _ = match encoding {
            Encoding::Gzip => flate2::read::GzDecoder::new(coded).read_to_end(&mut text),
            Encoding::Brotli => brotli::Decompressor::new(coded, 4096).read_to_end(&mut text),
            Encoding::Zstd => zstd::stream::read::Decoder::new(coded).unwrap().read_to_end(&mut text),
        };
        String::from_utf8(text).unwrap()
    }

    const ALL: [Encoding; 3] = [Encoding::Gzip, Encoding::Brotli, Encoding::Zstd];

    #[test]
    fn what_the_application_said_before_it_paused_is_with_the_client() {
        for encoding in ALL {
            let body =
                pieces(&[Some("first "), Some("second"), None, None, None, Some(" third"), None, None]);
            let mut body = compress(encoding, body).unwrap_or_default();
            let mut coded = read(&mut body);
            assert_eq!(understood(encoding, &coded), "first second", "{encoding:?}");
            assert_eq!(read(&mut body), b"", "{encoding:?}: a pause is flushed once");
            coded.extend(read(&mut body));
            assert_eq!(understood(encoding, &coded), "first second third", "{encoding:?}");
            coded.extend(read(&mut body));
            assert!(body.is_end_stream(), "{encoding:?}");
            assert_eq!(understood(encoding, &coded), "first second third", "{encoding:?}");
        }
    }

    #[test]
    fn large_bodies_come_back_as_they_were() {
        for encoding in ALL {
            for length in [0, 1, TURN, TURN + 1, 10 * TURN + 7] {
                let text: String = (0..length).map(|n| char::from(b'a' + (n * n % 23) as u8)).collect();
                let mut body = compress(encoding, Body::from(text.clone())).unwrap_or_default();
                let coded = read(&mut body);
                assert!(understood(encoding, &coded) == text, "{encoding:?} {length}");
                assert!(coded.len() < length / 2 + 100, "{encoding:?} {length} {}", coded.len());
            }
        }
    }

    #[test]
    fn trailers_follow_and_errors_end_it() {
        let trailers = HeaderMap::from_iter([(hyper::header::ETAG, "x".parse().unwrap())]);
        let frames = [Some(Frame::data(Bytes::from_static(b"a"))), Some(Frame::trailers(trailers.clone()))];
        let mut body =
            compress(Encoding::Gzip, Body::Boxed(Box::pin(Pieces(frames.into())))).unwrap_or_default();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut last = None;
        while let Poll::Ready(Some(frame)) = Pin::new(&mut body).poll_frame(&mut cx) {
            last = Some(frame.unwrap());
        }
        assert_eq!(last.and_then(|frame| frame.into_trailers().ok()), Some(trailers));
    }
}
