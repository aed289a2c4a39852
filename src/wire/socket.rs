//! A client's socket, which tokio knows once somebody has to wait for it.

use std::io::{self, IoSlice, Read, Write};
use std::mem;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::RecvFlags;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use super::mooring::Mooring;

/// A socket that tokio knows, or that it needn't know yet: most requests have come by the time that their connection is
/// looked at, and many of these connections are held then, by others. To be told of readiness would cost more than they do.
pub(super) enum Socket {
    Awake(Awake),
    Asleep(std::net::TcpStream, Option<Mooring>),
    /// Tokio couldn't take it.
    Lost,
}

pub(super) struct Awake {
    pub(super) socket: TcpStream,
    /// Whether it has bytes of which tokio was made to think that they are read: it tells what comes behind them.
    pub(super) unheard: bool,
}

impl Socket {
    /// As one that tokio knows.
    pub(super) fn awake(&mut self) -> io::Result<&mut TcpStream> {
        self.wake().map(|awake| &mut awake.socket)
    }

    pub(super) fn wake(&mut self) -> io::Result<&mut Awake> {
        if let Socket::Asleep(..) = self
            && let Socket::Asleep(socket, mooring) = mem::replace(self, Socket::Lost)
        {
            if let Some(mooring) = mooring {
                mooring.cast_off(socket.as_fd());
            }
            *self = Socket::Awake(Awake { socket: TcpStream::from_std(socket)?, unheard: false });
        }
        match self {
            Socket::Awake(awake) => Ok(awake),
            Socket::Asleep(..) | Socket::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.at_once(|mut socket| socket.read(buf.initialize_unfilled())) {
            Some(Ok(count)) => {
                buf.advance(count);
                return Poll::Ready(Ok(()));
            }
            Some(Err(error)) => return Poll::Ready(Err(error)),
            None => {}
        }
        let awake = self.wake()?;
        if awake.unheard {
            let room = buf.remaining();
            let read = rustix::net::recv(&awake.socket, buf.initialize_unfilled(), RecvFlags::DONTWAIT);
            match read.map_err(io::Error::from) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => awake.unheard = false,
                Err(error) => return Poll::Ready(Err(error)),
                Ok((count, _)) => {
                    // Where there is room left tokio hears of what comes next.
                    awake.unheard = count == room;
                    buf.advance(count);
                    return Poll::Ready(Ok(()));
                }
            }
        }
        Pin::new(&mut awake.socket).poll_read(cx, buf)
    }

    /// Ready once the client has left, whatever it has said before and nobody has read.
    pub(super) fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Ok(Awake { socket, unheard }) = self.wake() else { return Poll::Ready(()) };
        while ready!(socket.poll_read_ready(cx)).is_ok() {
            let look = || if has_left(socket) { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) };
            if socket.try_io(Interest::READABLE, look).is_ok() {
                return Poll::Ready(());
            }
            *unheard = true;
        }
        Poll::Ready(())
    }

    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let at_once = self.at_once(|mut socket| match slices {
            [only] => socket.write(only),
            slices => socket.write_vectored(slices),
        });
        if let Some(written) = at_once {
            return Poll::Ready(written);
        }
        let socket = Pin::new(self.awake()?);
        match slices {
            [only] => socket.poll_write(cx, only),
            slices => socket.poll_write_vectored(cx, slices),
        }
    }

    /// What comes of reading or writing at once, without waiting; `None` where somebody has to wait, or where tokio knows.
    pub(super) fn at_once<T>(
        &self,
        io: impl FnOnce(&std::net::TcpStream) -> io::Result<T>,
    ) -> Option<io::Result<T>> {
        let Socket::Asleep(socket, _) = self else { return None };
        match io(socket) {
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                None
            }
            done => Some(done),
        }
    }

    pub(super) fn into_std(self) -> io::Result<(std::net::TcpStream, Option<Mooring>)> {
        match self {
            Socket::Awake(awake) => Ok((awake.socket.into_std()?, None)),
            Socket::Asleep(socket, mooring) => Ok((socket, mooring)),
            Socket::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

/// Whether nothing follows what the other side has sent, or the connection is broken (poll(2)).
fn has_left(socket: &TcpStream) -> bool {
    let mut looked = [PollFd::new(socket, PollFlags::RDHUP)];
    // It doesn't wait, so that nothing can go wrong with it.
    poll(&mut looked, Some(&Timespec::default())).is_ok_and(|count| count > 0)
}

/// Sends in another way than tokio knows.
pub(super) fn poll_with(
    socket: &TcpStream,
    cx: &mut Context<'_>,
    send: impl Fn(&TcpStream) -> io::Result<usize>,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(socket.poll_write_ready(cx))?;
        match socket.try_io(Interest::WRITABLE, || send(socket)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            sent => return Poll::Ready(sent),
        }
    }
}

/// A tokio socket as a non-blocking one: `WouldBlock` means that the task will be woken.
pub(super) struct Polled<'a, 'c> {
    pub(super) socket: &'a mut Socket,
    pub(super) cx: &'a mut Context<'c>,
}

impl Read for Polled<'_, '_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut into = ReadBuf::new(into);
        blocking(self.socket.poll_read(self.cx, &mut into)).map(|()| into.filled().len())
    }
}

impl Write for Polled<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        blocking(self.socket.poll_write(self.cx, &[IoSlice::new(bytes)]))
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        blocking(self.socket.poll_write(self.cx, slices))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn blocking<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

pub(super) fn pending<T>(result: io::Result<T>) -> Poll<io::Result<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        other => Poll::Ready(other),
    }
}
