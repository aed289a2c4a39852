//! A client's socket as hyper sees it: whole, checked messages, one at a time.
//!
//! While a request is in service the driver still reads, bounded by the gate, so that a client that leaves is noticed
//! at once. hyper could do that too, but takes a new buffer for it with each request.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::head_gate::{GateState, HeadGate};
use super::line::Line;
use crate::wire::WireStream;

/// Bytes read at once: what a busy upload has in the socket, and far more than a request.
const READ_BYTES: usize = 64 * 1024;

thread_local! {
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// hyper's end of the line.
pub(super) struct ClientIo(pub(super) Rc<Line>);

impl ClientIo {
    /// Tells the line what became of a write.
    fn note<T>(&self, written: &Poll<T>) {
        if written.is_ready() {
            self.0.note_write();
        } else {
            self.0.note_full();
        }
    }

    /// Reads once from the socket, and says whether hyper got something by it, which may be the end.
    fn poll_socket(
        wire: &mut WireStream,
        gate: &mut HeadGate,
        cx: &mut Context<'_>,
        into: &mut ReadBufCursor<'_>,
    ) -> Poll<io::Result<bool>> {
        READ.with_borrow_mut(|buffer| {
            let room = buffer.len().min(into.remaining());
            let mut read = ReadBuf::new(&mut buffer[..room]);
            ready!(Pin::new(wire).poll_read(cx, &mut read))?;
            let passed = gate.admit(read.filled());
            into.put_slice(&read.filled()[..passed]);
            Poll::Ready(Ok(passed > 0 || read.filled().is_empty()))
        })
    }
}

/// Reads what a client sends while its request is in service, as far as the gate lets it write ahead; ready at its end.
pub(super) fn poll_leaving(line: &Line, cx: &mut Context<'_>) -> Poll<()> {
    let (wire, mut gate) = (&mut *line.wire(), line.gate.borrow_mut());
    while gate.state() == GateState::Held && gate.wants_more() {
        let end = READ.with_borrow_mut(|buffer| {
            let mut read = ReadBuf::new(buffer);
            ready!(Pin::new(&mut *wire).poll_read(cx, &mut read)).map_or(Poll::Ready(true), |()| {
                gate.admit(read.filled());
                Poll::Ready(read.filled().is_empty())
            })
        });
        if ready!(end) {
            return Poll::Ready(());
        }
    }
    Poll::Pending
}

impl Read for ClientIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let line = &self.0;
        let (wire, mut gate) = (&mut *line.wire(), line.gate.borrow_mut());
        loop {
            let ready = gate.ready();
            if !ready.is_empty() {
                let count = ready.len().min(into.remaining());
                into.put_slice(&ready[..count]);
                gate.consume(count);
                return Poll::Ready(Ok(()));
            }
            match gate.state() {
                // The service has to hear that the body it reads is broken; a bad head is the driver's to answer.
                GateState::Refused(refusal) if line.is_in_service() => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, refusal.reason)));
                }
                GateState::Refused(_) => return Poll::Pending,
                _ if !gate.wants_more() => return Poll::Pending,
                _ => {}
            }
            if ready!(Self::poll_socket(wire, &mut gate, cx, &mut into))? {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl Write for ClientIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut *self.0.wire()).poll_write(cx, bytes);
        self.note(&written);
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut *self.0.wire()).poll_write_vectored(cx, slices);
        self.note(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.0.wire().is_write_vectored()
    }

    /// hyper calls this when it has written all that it had.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut *self.0.wire()).poll_flush(cx);
        match flushed {
            Poll::Ready(Ok(())) => self.0.note_flush(cx),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.0.note_full(),
        }
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.wire()).poll_shutdown(cx)
    }
}
