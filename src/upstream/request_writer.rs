//! Writes a request to a server: its head and as much of its body as there is go out together (RFC 9112 §3, §7.1).

use std::io::{self, IoSlice, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use hyper::body::Body as _;
use tokio::io::AsyncWrite;

use super::outgoing::{Outgoing, OutgoingError};
use super::request_head::RequestHead;
use super::socket::Socket;

/// Bytes that are kept from one request to the next for heads; a larger head costs an allocation.
const LEAD_KEPT: usize = 8 * 1024;

/// What of a request is still to be written.
#[derive(Debug, Default)]
pub(super) struct RequestWriter {
    /// The head, or the line in front of a chunk; `lead[..led]` is written.
    lead: Vec<u8>,
    led: usize,
    piece: Bytes,
    /// What ends a chunk or the body.
    tail: &'static [u8],
    /// `None` once its last byte was taken.
    body: Option<Outgoing>,
    length: Length,
    /// TLS may keep some of what was written.
    unflushed: bool,
    /// The body broke off: nothing more is written, or the server would take what came for the whole.
    broken: bool,
}

/// How the server finds the end of the body.
#[derive(Debug, Default, Clone, Copy)]
enum Length {
    /// So many bytes are left.
    Left(u64),
    #[default]
    Chunked,
}

/// Why a request wasn't written.
#[derive(Debug)]
pub(super) enum Unwritten {
    /// Its body broke off.
    Body(OutgoingError),
    /// The server takes no more; reading from it says why, or gives an answer that came early.
    Socket,
}

impl RequestWriter {
    /// Takes the next request, whose head says by `Transfer-Encoding` whether its body is chunked.
    pub(super) fn begin(&mut self, head: &RequestHead<'_>, body: Outgoing, is_last: bool) {
        self.lead.clear();
        self.led = 0;
        head.write(&mut self.lead, is_last);
        let chunked = !body.is_end_stream() && head.fields.has("transfer-encoding");
        self.length = match body.size_hint().exact() {
            Some(length) if !chunked => Length::Left(length),
            _ => Length::Chunked,
        };
        self.body = (!body.is_end_stream()).then_some(body);
        self.broken = false;
    }

    /// Writes what can be written; ready once all is. Goes on where it was, and never after the body broke off.
    pub(super) fn poll(&mut self, socket: &mut Socket, cx: &mut Context<'_>) -> Poll<Result<(), Unwritten>> {
        loop {
            if self.broken {
                return Poll::Pending;
            }
            let starved = self.wants_more() && self.poll_body(cx).map_err(Unwritten::Body)?.is_pending();
            match (self.is_written(), starved) {
                (true, starved) if starved || self.body.is_none() => {
                    let flushed = self.poll_flush(socket, cx).map_err(|_| Unwritten::Socket)?;
                    return if starved { Poll::Pending } else { flushed.map(Ok) };
                }
                (true, _) => continue,
                (false, _) => {}
            }
            let written = ready!(self.poll_write(socket, cx)).map_err(|_| Unwritten::Socket)?;
            self.unflushed = true;
            self.advance(written);
        }
    }

    /// Whether the whole request was written.
    pub(super) fn is_done(&self) -> bool {
        self.body.is_none() && self.is_written() && !self.unflushed && !self.broken
    }

    /// Gives large buffers back, and the last piece of a body, which is empty and keeps its memory all the same.
    pub(super) fn rest(&mut self) {
        self.piece = Bytes::new();
        if self.lead.capacity() > LEAD_KEPT {
            self.lead = Vec::new();
        }
    }

    /// Whether everything that was taken of the request is written.
    fn is_written(&self) -> bool {
        self.led == self.lead.len() && self.piece.is_empty() && self.tail.is_empty()
    }

    fn wants_more(&self) -> bool {
        self.body.is_some() && self.piece.is_empty() && self.tail.is_empty()
    }

    /// Takes the next piece of the body.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, OutgoingError> {
        let Some(body) = &mut self.body else { return Ok(Poll::Ready(())) };
        let next = match Pin::new(&mut *body).poll_frame(cx) {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(next) => next.transpose(),
        };
        let is_last = body.is_end_stream();
        let queued = next.and_then(|frame| {
            let ended = frame.is_none() || is_last;
            let data = frame.and_then(|frame| frame.into_data().ok()).unwrap_or_default();
            if ended {
                self.body = None;
            }
            self.queue(data, ended)
        });
        if queued.is_err() {
            (self.body, self.broken) = (None, true);
        }
        queued.map(Poll::Ready)
    }

    fn queue(&mut self, data: Bytes, ended: bool) -> Result<(), OutgoingError> {
        match &mut self.length {
            Length::Left(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(OutgoingError::Length)?;
                if ended && *left > 0 {
                    return Err(OutgoingError::Length);
                }
            }
            Length::Chunked => {
                if self.led == self.lead.len() {
                    self.lead.clear();
                    self.led = 0;
                }
                self.tail = match (data.is_empty(), ended) {
                    (true, true) => b"0\r\n\r\n",
                    (true, false) => b"",
                    (false, true) => b"\r\n0\r\n\r\n",
                    (false, false) => b"\r\n",
                };
                if !data.is_empty() {
                    // Writing into memory can't fail.
                    let _ = write!(self.lead, "{:x}\r\n", data.len());
                }
            }
        }
        self.piece = data;
        Ok(())
    }

    fn poll_write(&self, socket: &mut Socket, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let lead = &self.lead[self.led..];
        let socket = Pin::new(socket);
        let written = if self.piece.is_empty() && self.tail.is_empty() {
            ready!(socket.poll_write(cx, lead))
        } else {
            let slices = [IoSlice::new(lead), IoSlice::new(&self.piece), IoSlice::new(self.tail)];
            ready!(socket.poll_write_vectored(cx, &slices))
        };
        match written {
            Ok(0) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            other => Poll::Ready(other),
        }
    }

    /// Sends what TLS still keeps; a socket without it keeps nothing.
    fn poll_flush(&mut self, socket: &mut Socket, cx: &mut Context<'_>) -> io::Result<Poll<()>> {
        match Pin::new(socket).poll_flush(cx) {
            Poll::Pending => Ok(Poll::Pending),
            Poll::Ready(Ok(())) => {
                self.unflushed = false;
                Ok(Poll::Ready(()))
            }
            Poll::Ready(Err(error)) => Err(error),
        }
    }

    fn advance(&mut self, written: usize) {
        let led = written.min(self.lead.len() - self.led);
        self.led += led;
        let piece = (written - led).min(self.piece.len());
        self.piece.advance(piece);
        self.tail = &self.tail[written - led - piece..];
    }
}
