//! Writes answers to a client: the head, and the body by the framing that the client understands (RFC 9112 §6).
//!
//! What is small is put together, so that a small answer is one write. A large piece is never copied, and neither is
//! one of a file, which may only stand for its bytes.

use std::io::{self, IoSlice, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use hyper::body::Body as _;
use hyper::ext::ReasonPhrase;
use hyper::header::{
    AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    DATE, HOST, HeaderMap, HeaderName, HeaderValue, MAX_FORWARDS, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING,
};
use hyper::http::response::Parts;
use hyper::{StatusCode, Version};
use tokio::io::AsyncWrite;

use crate::body::{Body, BodyError};
use crate::date;
use crate::wire::WireStream;

/// Bytes of a piece that cost less to copy than to send from where they stand.
const FEW: usize = 2 * 1024;
/// Bytes that are put together before they are written.
const TOGETHER_MAX: usize = 16 * 1024;
/// Bytes that are kept from one answer to the next for what is put together.
const LEAD_KEPT: usize = 4 * 1024;

/// The interim answer to a client that waits to be told to go on (RFC 9110 §15.2.1).
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What an answer depends on of the request that it answers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) version: Version,
    pub(super) is_head: bool,
    /// Whether another request may follow.
    pub(super) keep_alive: bool,
}

/// What of an answer is still to be written.
#[derive(Debug, Default)]
pub(super) struct AnswerWriter {
    /// The head, and what was put behind it; `lead[..led]` is written.
    lead: Vec<u8>,
    led: usize,
    /// Stands behind `lead`.
    piece: Bytes,
    /// What ends a chunk or the body.
    tail: &'static [u8],
    rest: Rest,
    /// Whether the client takes nothing now.
    behind: bool,
    /// Bytes that the socket has taken since the connection is ours.
    given: u64,
}

/// What is still to be taken of the body, by how the client finds its end.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Rest {
    /// So many bytes.
    Length(u64),
    Chunked,
    UntilClose,
    #[default]
    Nothing,
}

/// Why an answer wasn't written.
#[derive(Debug)]
pub(super) enum Unwritten {
    /// Its body broke off, or has another length than its head says.
    Body(Option<BodyError>),
    /// The client is gone.
    Socket(io::Error),
}

impl AnswerWriter {
    /// Takes the next answer; says whether another one may follow it.
    pub(super) fn begin(&mut self, asked: Asked, answer: &Parts, body: &Body) -> bool {
        let bodiless = asked.is_head || has_no_body(answer.status);
        // A body that was read to its end already may not say how long it is any more.
        let length = body.size_hint().exact().or_else(|| declared(&answer.headers));
        self.rest = match length {
            _ if bodiless => Rest::Nothing,
            Some(0) => Rest::Nothing,
            Some(length) => Rest::Length(length),
            None if asked.version == Version::HTTP_10 => Rest::UntilClose,
            None => Rest::Chunked,
        };
        let closes = |value: &HeaderValue| words(value).any(|word| word.eq_ignore_ascii_case(b"close"));
        let says_close = answer.headers.get_all(CONNECTION).iter().any(closes);
        let keep_alive = asked.keep_alive && !says_close && self.rest != Rest::UntilClose;
        self.behind = false;
        self.make_room();
        self.status_line(asked.version, answer);
        self.fields(&answer.headers, asked.is_head);
        match length {
            Some(length) if !bodiless => self.length(length),
            _ if self.rest == Rest::Chunked => self.line(b"transfer-encoding: chunked\r\n"),
            _ => {}
        }
        match (asked.version, keep_alive) {
            (Version::HTTP_10, true) => self.line(b"connection: keep-alive\r\n"),
            (Version::HTTP_10, false) | (_, true) => {}
            (_, false) if says_close => {}
            (_, false) => self.line(b"connection: close\r\n"),
        }
        self.line(b"\r\n");
        keep_alive
    }

    /// Writes what can be written. Ready once all is; while it isn't, the body or the client is waited for.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        wire: &mut WireStream,
        body: &mut Body,
    ) -> Poll<Result<(), Unwritten>> {
        loop {
            let starved = self.poll_fill(cx, body).map_err(Unwritten::Body)?.is_pending();
            if !self.is_written() {
                ready!(self.poll_write(cx, wire)).map_err(Unwritten::Socket)?;
                continue;
            }
            ready!(self.poll_flush(cx, wire)).map_err(Unwritten::Socket)?;
            if starved {
                return Poll::Pending;
            }
            self.rest();
            return Poll::Ready(Ok(()));
        }
    }

    /// Tells a client to go on, before anything of its answer is here; ready once that is written.
    pub(super) fn poll_continue(
        &mut self,
        cx: &mut Context<'_>,
        wire: &mut WireStream,
    ) -> Poll<io::Result<()>> {
        if self.lead.is_empty() {
            self.line(CONTINUE);
        }
        while !self.is_written() {
            ready!(self.poll_write(cx, wire))?;
        }
        ready!(self.poll_flush(cx, wire))?;
        self.make_room();
        Poll::Ready(Ok(()))
    }

    /// Whether nothing is left to be taken of the body.
    pub(super) fn has_all(&self) -> bool {
        self.rest == Rest::Nothing
    }

    /// Whether the client takes nothing now.
    pub(super) fn is_behind(&self) -> bool {
        self.behind
    }

    /// Bytes that the socket has taken since the connection is ours; the client's system may have got fewer.
    pub(super) fn given(&self) -> u64 {
        self.given
    }

    fn status_line(&mut self, version: Version, answer: &Parts) {
        let status = answer.status;
        self.line(if version == Version::HTTP_10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
        self.line(status.as_str().as_bytes());
        self.line(b" ");
        match answer.extensions.get::<ReasonPhrase>() {
            Some(reason) => self.line(reason.as_bytes()),
            None => self.line(status.canonical_reason().unwrap_or_default().as_bytes()),
        }
        self.line(b"\r\n");
    }

    /// The fields but those of the framing, which is written by what the body is.
    fn fields(&mut self, headers: &HeaderMap, is_head: bool) {
        let mut has_date = false;
        for (name, value) in headers {
            match *name {
                TRANSFER_ENCODING => continue,
                // What the body would have.
                CONTENT_LENGTH if !is_head => continue,
                TRAILER if self.rest != Rest::Chunked => continue,
                DATE => has_date = true,
                _ => {}
            }
            self.field(name, value);
        }
        if !has_date {
            self.lead.extend_from_slice(b"date: ");
            date::write(&mut self.lead);
            self.line(b"\r\n");
        }
    }

    fn field(&mut self, name: &HeaderName, value: &HeaderValue) {
        let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
        self.lead.reserve(name.len() + value.len() + 4);
        self.line(name);
        self.line(b": ");
        self.line(value);
        self.line(b"\r\n");
    }

    fn length(&mut self, length: u64) {
        self.line(b"content-length: ");
        self.line(itoa::Buffer::new().format(length).as_bytes());
        self.line(b"\r\n");
    }

    fn line(&mut self, text: &[u8]) {
        self.lead.extend_from_slice(text);
    }

    /// Takes what the body has, as far as there is room for it; pending while it has nothing.
    fn poll_fill(&mut self, cx: &mut Context<'_>, body: &mut Body) -> Result<Poll<()>, Option<BodyError>> {
        while self.rest != Rest::Nothing && self.has_room() {
            let frame = match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(frame) => frame.transpose()?,
            };
            match frame.map(|frame| frame.into_data()) {
                None => self.end(None)?,
                Some(Ok(data)) => self.take(data, body)?,
                Some(Err(frame)) => self.end(frame.into_trailers().ok())?,
            }
        }
        if self.rest == Rest::Nothing {
            // What it keeps busy is free before the client has taken its bytes.
            *body = Body::Empty;
        }
        Ok(Poll::Ready(()))
    }

    fn has_room(&self) -> bool {
        self.piece.is_empty() && self.tail.is_empty() && self.lead.len() < TOGETHER_MAX
    }

    fn take(&mut self, data: Bytes, body: &Body) -> Result<(), Option<BodyError>> {
        if data.is_empty() {
            return Ok(());
        }
        self.make_room();
        self.tail = match &mut self.rest {
            Rest::Length(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(None)?;
                if *left == 0 {
                    self.rest = Rest::Nothing;
                }
                b""
            }
            Rest::Chunked => {
                // Writing into memory can't fail.
                let _ = write!(self.lead, "{:x}\r\n", data.len());
                match body.is_end_stream() {
                    true => {
                        self.rest = Rest::Nothing;
                        b"\r\n0\r\n\r\n"
                    }
                    false => b"\r\n",
                }
            }
            Rest::UntilClose | Rest::Nothing => b"",
        };
        if data.len() <= FEW && !matches!(body, Body::File(_)) {
            self.lead.extend_from_slice(&data);
            self.lead.extend_from_slice(std::mem::take(&mut self.tail));
        } else {
            self.piece = data;
        }
        Ok(())
    }

    /// Behind the last piece.
    fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), Option<BodyError>> {
        match std::mem::take(&mut self.rest) {
            Rest::Length(left) if left > 0 => return Err(None),
            Rest::Chunked => {
                self.line(b"0\r\n");
                for (name, value) in trailers.iter().flatten().filter(|(name, _)| may_trail(name)) {
                    self.field(name, value);
                }
                self.line(b"\r\n");
            }
            _ => {}
        }
        Ok(())
    }

    /// What is written gives its place up; an interim answer may not be yet.
    fn make_room(&mut self) {
        if self.led == self.lead.len() {
            self.lead.clear();
            self.led = 0;
        }
    }

    fn is_written(&self) -> bool {
        self.led == self.lead.len() && self.piece.is_empty() && self.tail.is_empty()
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, wire: &mut WireStream) -> Poll<io::Result<()>> {
        let lead = &self.lead[self.led..];
        let wire = Pin::new(wire);
        let written = match (lead.is_empty(), self.piece.is_empty() && self.tail.is_empty()) {
            (_, true) => wire.poll_write(cx, lead),
            (true, false) => {
                let pieces = [IoSlice::new(&self.piece), IoSlice::new(self.tail)];
                wire.poll_write_vectored(cx, if self.tail.is_empty() { &pieces[..1] } else { &pieces })
            }
            (false, false) => {
                let pieces = [IoSlice::new(lead), IoSlice::new(&self.piece), IoSlice::new(self.tail)];
                wire.poll_write_vectored(cx, if self.tail.is_empty() { &pieces[..2] } else { &pieces })
            }
        };
        self.behind = written.is_pending();
        let written = ready!(written)?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.given = self.given.wrapping_add(written as u64);
        self.advance(written);
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>, wire: &mut WireStream) -> Poll<io::Result<()>> {
        let flushed = Pin::new(wire).poll_flush(cx);
        self.behind = flushed.is_pending();
        flushed
    }

    fn advance(&mut self, written: usize) {
        let led = written.min(self.lead.len() - self.led);
        self.led += led;
        let piece = (written - led).min(self.piece.len());
        match piece < self.piece.len() {
            true => self.piece.advance(piece),
            // An empty one would keep its memory all the same, which others may wait for.
            false => self.piece = Bytes::new(),
        }
        self.tail = &self.tail[written - led - piece..];
    }

    /// Gives large buffers back.
    fn rest(&mut self) {
        self.make_room();
        if self.lead.capacity() > LEAD_KEPT {
            self.lead = Vec::new();
        }
    }
}

/// The length that a head says.
pub(super) fn declared(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Whether answers of this status end with their head (RFC 9112 §6.3).
pub(super) fn has_no_body(status: StatusCode) -> bool {
    status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// Whether a field means the same behind a body as in front of it (RFC 9110 §6.5.1).
pub(super) fn may_trail(name: &HeaderName) -> bool {
    !matches!(
        *name,
        AUTHORIZATION
            | CACHE_CONTROL
            | CONTENT_ENCODING
            | CONTENT_LENGTH
            | CONTENT_RANGE
            | CONTENT_TYPE
            | HOST
            | MAX_FORWARDS
            | SET_COOKIE
            | TE
            | TRAILER
            | TRANSFER_ENCODING
    )
}

fn words(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use hyper::Response;
    use hyper::body::Frame;
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    const ASKED: Asked = Asked { version: Version::HTTP_11, is_head: false, keep_alive: true };
    const OLD: Asked = Asked { version: Version::HTTP_10, ..ASKED };

    fn parts(status: u16, fields: &[(&'static str, &'static str)]) -> Parts {
        let mut answer = Response::builder().status(status).header("date", "D");
        for (name, value) in fields {
            answer = answer.header(*name, *value);
        }
        answer.body(()).unwrap().into_parts().0
    }

    /// A body whose length nobody knows.
    struct Frames(std::vec::IntoIter<Frame<Bytes>>);

    impl hyper::body::Body for Frames {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            Poll::Ready(self.0.next().map(Ok))
        }
    }

    fn endless(frames: Vec<Frame<Bytes>>) -> Body {
        Body::Boxed(Box::pin(Frames(frames.into_iter())))
    }

    fn head(
        asked: Asked,
        status: u16,
        fields: &[(&'static str, &'static str)],
        body: &Body,
    ) -> (String, bool) {
        let mut writer = AnswerWriter::default();
        let keep_alive = writer.begin(asked, &parts(status, fields), body);
        let text = String::from_utf8(writer.lead).unwrap();
        let lines = text.strip_suffix("\r\n\r\n").unwrap().replace("date: D", "");
        (lines.split("\r\n").filter(|line| !line.is_empty()).collect::<Vec<_>>().join("|"), keep_alive)
    }

    #[test]
    fn the_head_says_what_the_body_is_and_whether_another_answer_may_follow() {
        let (hi, none) = (|| Body::from("hi"), || Body::Empty);
        let last = Asked { keep_alive: false, ..ASKED };
        let to_head = Asked { is_head: true, ..ASKED };
        let close = [("connection", "close")];
        let length = [("content-length", "7")];
        for (asked, status, fields, body, text, keep_alive) in [
            (ASKED, 200, &[][..], hi(), "HTTP/1.1 200 OK|content-length: 2", true),
            (ASKED, 200, &[], none(), "HTTP/1.1 200 OK|content-length: 0", true),
            (ASKED, 204, &length, none(), "HTTP/1.1 204 No Content", true),
            (ASKED, 304, &length, none(), "HTTP/1.1 304 Not Modified", true),
            (to_head, 200, &length, none(), "HTTP/1.1 200 OK|content-length: 7", true),
            (to_head, 200, &[], none(), "HTTP/1.1 200 OK", true),
            (to_head, 200, &[], endless(vec![]), "HTTP/1.1 200 OK", true),
            (ASKED, 200, &[], endless(vec![]), "HTTP/1.1 200 OK|transfer-encoding: chunked", true),
            (ASKED, 200, &length, endless(vec![]), "HTTP/1.1 200 OK|content-length: 7", true),
            (ASKED, 200, &close, hi(), "HTTP/1.1 200 OK|connection: close|content-length: 2", false),
            (last, 200, &[], hi(), "HTTP/1.1 200 OK|content-length: 2|connection: close", false),
            (OLD, 200, &[], hi(), "HTTP/1.0 200 OK|content-length: 2|connection: keep-alive", true),
            (OLD, 200, &[], endless(vec![]), "HTTP/1.0 200 OK", false),
            (ASKED, 299, &[], none(), "HTTP/1.1 299 |content-length: 0", true),
        ] {
            assert_eq!(head(asked, status, fields, &body), (text.to_owned(), keep_alive));
        }
        let mut writer = AnswerWriter::default();
        writer.begin(ASKED, &Response::new(()).into_parts().0, &Body::Empty);
        let text = String::from_utf8(writer.lead).unwrap();
        assert_eq!(text.matches("date: ").count(), 1, "an answer without a date gets one");
    }

    /// What a client hears of a body.
    async fn heard(asked: Asked, mut body: Body) -> Result<String, Unwritten> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut wire = WireStream::plain(listener.accept().await.unwrap().0.into_std().unwrap());
        let mut writer = AnswerWriter::default();
        writer.begin(asked, &parts(200, &[("trailer", "x-sum")]), &body);
        let written = async {
            let written = poll_fn(|cx| writer.poll(cx, &mut wire, &mut body)).await;
            drop(wire);
            written
        };
        let mut text = String::new();
        let (written, read) = tokio::join!(written, client.read_to_string(&mut text));
        read.unwrap();
        written.map(|()| text.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    #[tokio::test]
    async fn chunks_carry_what_comes_and_the_trailers_that_may_stand_there() {
        let large = "x".repeat(FEW + 1);
        let frames = || {
            let trailers = [("x-sum", "1"), ("content-length", "2")];
            let trailers = trailers
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
            vec![
                Frame::data("hello".into()),
                Frame::data(Bytes::new()),
                Frame::data(large.clone().into()),
                Frame::trailers(trailers.into_iter().collect()),
            ]
        };
        let chunked = heard(ASKED, endless(frames())).await.unwrap();
        assert_eq!(chunked, format!("5\r\nhello\r\n{:x}\r\n{large}\r\n0\r\nx-sum: 1\r\n\r\n", FEW + 1));
        assert_eq!(heard(OLD, endless(frames())).await.unwrap(), format!("hello{large}"));
        assert_eq!(heard(ASKED, large.clone().into()).await.unwrap(), large);
    }
}
