//! A client's connection while tokio has it, with TLS by a rustls session or, after a hold, by keys only.
//!
//! Invariant: what was sealed is sent, since a caller may offer other bytes after `Pending`; so a record that the
//! socket didn't take is kept until it has, and nothing else is sealed before.

use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustix::net::SendFlags;
use rustls::{ServerConfig, ServerConnection};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use super::error::WireError;
use super::mooring::Mooring;
use super::pieces::Pieces;
use super::record::PLAINTEXT_MAX;
use super::session::Session;
use super::socket::{Awake, Polled, Socket, pending, poll_with};
use super::{Scratch, Tls, Way, Wire};
use crate::stretch::Stretches;

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::new());
}

/// A client's connection in tokio: plain, with a rustls session, or with TLS 1.3 keys only.
pub struct WireStream {
    socket: Socket,
    tls: Option<Box<Tls>>,
    /// Sealed and not yet sent: one record at most. A rustls session keeps its own.
    unsent: Vec<u8>,
    writing: Writing,
    /// What of files is among the bytes to write, without TLS.
    stretches: Stretches,
}

/// A handshake that came to nothing.
pub struct Unshaken {
    /// Why.
    pub error: io::Error,
    /// The connection as it came, and what the client has said on it, where none of it was TLS.
    pub plain: Option<(WireStream, Vec<u8>)>,
}

impl fmt::Debug for Unshaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Unshaken").field(&self.error).finish()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writing {
    Open,
    /// The farewell is sealed.
    Ended,
}

impl WireStream {
    /// A connection without TLS, non-blocking. Must be used inside a tokio runtime.
    pub fn plain(socket: std::net::TcpStream) -> WireStream {
        WireStream {
            socket: Socket::Asleep(socket, None),
            tls: None,
            unsent: Vec::new(),
            writing: Writing::Open,
            stretches: Stretches::default(),
        }
    }

    /// Shakes hands with the client; all that rustls wants to send then is sent. Dropping the future closes the
    /// socket. There is no deadline in it.
    ///
    /// # Errors
    /// The socket's, or rustls's inside an error of kind `InvalidData`; the client has got the alert if it could.
    pub async fn shake_hands(mut self, config: Arc<ServerConfig>) -> Result<WireStream, Unshaken> {
        let connection = ServerConnection::new(config)
            .map_err(|error| Unshaken { error: io::Error::other(error), plain: None })?;
        let mut session = Session::new(connection);
        match poll_fn(|cx| self.poll_handshake(cx, &mut session)).await {
            Ok(()) => {
                self.tls = Some(Box::new(Tls::Session(Box::new(session))));
                Ok(self)
            }
            Err(error) => Err(Unshaken { error, plain: session.unheard().map(|said| (self, said)) }),
        }
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>, session: &mut Session) -> Poll<io::Result<()>> {
        let mut socket = Polled { socket: &mut self.socket, cx };
        SCRATCH.with_borrow_mut(|scratch| {
            loop {
                if ready!(pending(session.shake_hands(&mut socket, &mut scratch.input)))? {
                    return Poll::Ready(Ok(()));
                }
            }
        })
    }

    /// A held connection that goes back to ordinary requests, with its mooring where it was held, if it still has one.
    /// Must be used inside a tokio runtime.
    ///
    /// # Errors
    /// [`WireError::HalfSent`], or [`WireError::NoSocket`].
    pub fn from_wire(wire: Wire, mooring: Option<Mooring>) -> Result<WireStream, WireError> {
        if wire.half_sent() > 0 {
            return Err(WireError::HalfSent);
        }
        let (socket, tls) = match wire.0 {
            Way::Plain(socket) => (socket, None),
            Way::Tls(socket, tls) => (socket, Some(tls)),
            Way::Pipe(_) => return Err(WireError::NoSocket),
        };
        Ok(WireStream {
            socket: Socket::Asleep(socket, mooring),
            tls,
            unsent: Vec::new(),
            writing: Writing::Open,
            stretches: Stretches::default(),
        })
    }

    /// Sends what is sealed and makes the connection one that an event loop can hold, with its mooring if nothing had to be
    /// waited for since it came. What the client sent ahead stays in it: [`Wire::holds_input`]. Waits only while the client doesn't take what was written earlier; not
    /// cancel safe, dropping the future closes the connection.
    ///
    /// # Errors
    /// The socket's, or [`WireError::KeysKept`] where the configuration lacks `enable_secret_extraction`.
    pub async fn into_wire(mut self) -> Result<(Wire, Option<Mooring>), WireError> {
        if let Some(Tls::Session(session)) = self.tls.as_deref_mut() {
            session.release_key_update()?;
        }
        self.flush().await?;
        let tls = self.tls.map(|tls| tls.settled()).transpose()?;
        let (socket, mooring) = self.socket.into_std()?;
        let way = match tls {
            None => Way::Plain(socket),
            Some(tls) => Way::Tls(socket, Box::new(tls)),
        };
        Ok((Wire(way), mooring))
    }

    /// Waits until the client has said something, or has left. Cancel-safe.
    ///
    /// # Errors
    /// The socket's.
    pub async fn readable(&mut self) -> io::Result<()> {
        match self.socket.wake()? {
            Awake { unheard: true, .. } => Ok(()),
            Awake { socket, .. } => socket.readable().await,
        }
    }

    /// Ready once the client has left or said that nothing more will come, though what it has said before is not read.
    pub fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.socket.poll_left(cx)
    }

    /// Whether nobody is told when the client says something or leaves: it is seen where it is read.
    pub fn is_asleep(&self) -> bool {
        matches!(self.socket, Socket::Asleep(..))
    }

    /// The socket itself, before anything is spoken on it.
    ///
    /// # Errors
    /// It can't be waited for.
    pub fn bare(&mut self) -> io::Result<&mut TcpStream> {
        self.socket.awake()
    }

    /// The socket itself, for options, unless it is lost; not to be read or written.
    pub fn socket(&self) -> Option<BorrowedFd<'_>> {
        match &self.socket {
            Socket::Awake(awake) => Some(awake.socket.as_fd()),
            Socket::Asleep(socket, _) => Some(socket.as_fd()),
            Socket::Lost => None,
        }
    }

    /// Whether the client speaks TLS.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// For whoever wants parts of files to be sent, unless the client speaks TLS.
    pub fn stretches(&self) -> Option<Stretches> {
        (!self.is_tls()).then(|| self.stretches.clone())
    }

    /// The TLS session, for ALPN and server name; none without TLS and after a hold under TLS 1.3.
    pub fn session(&self) -> Option<&ServerConnection> {
        match self.tls.as_deref() {
            Some(Tls::Session(session)) => Some(session.connection()),
            None | Some(Tls::Keyed(_)) => None,
        }
    }

    /// Seals the farewell, once: `close_notify`, or the alert that the client's fault asks for.
    fn end(&mut self) {
        if self.writing == Writing::Ended {
            return;
        }
        self.writing = Writing::Ended;
        match self.tls.as_deref_mut() {
            None => {}
            Some(Tls::Keyed(keyed)) => self.unsent.extend(keyed.farewell().into_iter().flatten()),
            Some(Tls::Session(session)) => session.end(),
        }
    }

    /// Sends all that is sealed.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut socket = Polled { socket: &mut self.socket, cx };
        if let Some(Tls::Session(session)) = self.tls.as_deref_mut() {
            return pending(session.drain(&mut socket));
        }
        while !self.unsent.is_empty() {
            match ready!(pending(socket.write(&self.unsent)))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => drop(self.unsent.drain(..count)),
            }
        }
        self.unsent = Vec::new();
        Poll::Ready(Ok(()))
    }

    /// Sends without TLS.
    fn poll_plain(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self.stretches.first_blank(slices) {
            None => {}
            Some(0) => return self.poll_stretch(cx),
            // What stands before goes out with what follows it.
            Some(1) => return self.poll_more(cx, &slices[0]),
            Some(blank) => {
                return Pin::new(self.socket.awake()?).poll_write_vectored(cx, &slices[..blank]);
            }
        }
        self.socket.poll_write(cx, slices)
    }

    /// Sends of the first stretch what the socket takes.
    fn poll_stretch(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let WireStream { socket, stretches, .. } = self;
        poll_with(socket.awake()?, cx, |socket| stretches.send(socket))
    }

    /// Sends bytes that may wait for the next ones.
    fn poll_more(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        poll_with(self.socket.awake()?, cx, |socket| Ok(rustix::net::send(socket, bytes, SendFlags::MORE)?))
    }

    /// Seals what goes into one record (a rustls session: what it takes), and sends what the socket takes of it.
    fn poll_seal(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if slices.iter().all(|slice| slice.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        ready!(self.poll_drain(cx))?;
        let count = match self.tls.as_deref_mut() {
            None => return self.poll_plain(cx, slices),
            Some(Tls::Session(session)) => session.seal(slices)?,
            Some(Tls::Keyed(keyed)) => SCRATCH.with_borrow_mut(|scratch| -> io::Result<usize> {
                let (plaintext, sealed) = keyed.seal_one(Pieces::new(slices), &mut scratch.output)?;
                let record = &scratch.output[..sealed];
                let sent = match (Polled { socket: &mut self.socket, cx }).write(record) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                    other => other?,
                };
                self.unsent.extend_from_slice(&record[sent..]);
                Ok(plaintext)
            })?,
        };
        match self.poll_drain(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(count)),
        }
    }
}

impl AsyncRead for WireStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Some(tls) = this.tls.as_deref_mut() else {
            return this.socket.poll_read(cx, buf);
        };
        let mut socket = Polled { socket: &mut this.socket, cx };
        let into = buf.initialize_unfilled_to(buf.remaining().min(PLAINTEXT_MAX));
        let count = SCRATCH.with_borrow_mut(|scratch| match tls {
            Tls::Keyed(keyed) => pending(keyed.read(&mut socket, into, &mut scratch.input)),
            Tls::Session(session) => pending(session.read(&mut socket, into, &mut scratch.input)),
        });
        match ready!(count) {
            Ok(count) => buf.advance(count),
            Err(error) => {
                // Nobody shuts down after an error, and the client shall hear why; if it doesn't listen, no matter.
                this.end();
                let _ = this.poll_drain(cx);
                return Poll::Ready(Err(error));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for WireStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_seal(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_seal(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_drain(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        this.end();
        ready!(this.poll_drain(cx))?;
        if let Some(ended) = this.socket.at_once(|socket| socket.shutdown(Shutdown::Write)) {
            return Poll::Ready(ended);
        }
        Pin::new(this.socket.awake()?).poll_shutdown(cx)
    }
}
