//! A connection to a server as bytes: TCP, Unix or TLS, moved between threads.

use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::tls::TlsSocket;

/// A connected socket of either family, registered with the reactor of one thread.
#[derive(Debug)]
pub enum Socket {
    /// TCP, without Nagle's delay.
    Tcp(TcpStream),
    /// Unix.
    Unix(UnixStream),
    /// TLS over TCP.
    Tls(Box<TlsSocket>),
}

impl Socket {
    /// Where it leads, over TCP.
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        match self {
            Socket::Tcp(socket) => socket.peer_addr().ok(),
            Socket::Unix(_) => None,
            Socket::Tls(tls) => tls.tcp()?.peer_addr().ok(),
        }
    }

    /// Registers the socket with the reactor of the thread that calls this.
    pub(super) fn move_here(self) -> io::Result<Socket> {
        match self {
            Socket::Tcp(socket) => TcpStream::from_std(socket.into_std()?).map(Socket::Tcp),
            Socket::Unix(socket) => UnixStream::from_std(socket.into_std()?).map(Socket::Unix),
            Socket::Tls(tls) => Ok(Socket::Tls(Box::new(tls.move_here()?))),
        }
    }

    /// Whether the system has bytes or an end for it; with a system call.
    pub(super) fn has_bytes(&self) -> bool {
        let socket = match self {
            Socket::Tcp(socket) => SockRef::from(socket),
            Socket::Unix(socket) => SockRef::from(socket),
            Socket::Tls(tls) => match tls.tcp() {
                Some(socket) => SockRef::from(socket),
                None => return true,
            },
        };
        let peeked = socket.peek(&mut [MaybeUninit::uninit()]);
        !matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Whether bytes or an end have come, as far as the reactor knows; without a system call where nothing has.
    pub(super) fn has_something(&mut self) -> bool {
        let mut byte = [0];
        let read = match self {
            Socket::Tcp(socket) => socket.try_read(&mut byte),
            Socket::Unix(socket) => socket.try_read(&mut byte),
            Socket::Tls(tls) => return tls.has_something(),
        };
        !matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(socket) => Pin::new(socket).poll_read(cx, buffer),
            Socket::Unix(socket) => Pin::new(socket).poll_read(cx, buffer),
            Socket::Tls(tls) => Pin::new(&mut **tls).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Tcp(socket) => Pin::new(socket).poll_write(cx, bytes),
            Socket::Unix(socket) => Pin::new(socket).poll_write(cx, bytes),
            Socket::Tls(tls) => Pin::new(&mut **tls).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Tcp(socket) => Pin::new(socket).poll_write_vectored(cx, slices),
            Socket::Unix(socket) => Pin::new(socket).poll_write_vectored(cx, slices),
            Socket::Tls(tls) => Pin::new(&mut **tls).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(_) | Socket::Unix(_) => Poll::Ready(Ok(())),
            Socket::Tls(tls) => Pin::new(&mut **tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
            Socket::Unix(socket) => Pin::new(socket).poll_shutdown(cx),
            Socket::Tls(tls) => Pin::new(&mut **tls).poll_shutdown(cx),
        }
    }
}
