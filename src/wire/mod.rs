//! A client's socket: plain, with nothing but TLS 1.3 keys, or with a kept rustls session; or the pipe that stands for
//! one where the client has but a stream of HTTP/2.
//!
//! A [`Wire`] is what an event loop with thousands of connections holds: non-blocking, edge triggered, and as small
//! as can be. Ciphertext, plaintext on its way and key schedules live in the thread's [`Scratch`] or on the stack.
//! A [`WireStream`] is the same connection while tokio has it; the two turn into each other.
//!
//! Invariants: no number seals two plaintexts; nothing that the client sent is lost when a connection changes hands.
//! Deliberately absent: readiness, timers, HTTP; and in a connection with keys only, everything that needs a session.

mod error;
mod inbox;
mod keyed;
mod mooring;
mod pieces;
mod pipe;
mod record;
mod session;
mod socket;
mod stream;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

pub use error::{Fault, WireError};
pub use mooring::{Harbour, Mooring};
pub use pipe::{Bell, HeldEnd, StreamEnd, Waiting, pipe};
pub use stream::{Unshaken, WireStream};

use inbox::{INPUT, uninterrupted};
use keyed::{Keyed, some};
use pieces::Pieces;
use session::{Kept, Session};

/// A client's socket and what it takes to speak on it. Non-blocking; dropping it closes the socket.
///
/// One with TLS comes from [`WireStream::into_wire`] only, which knows that nothing undecrypted is lost in rustls.
pub struct Wire(Way);

/// How bytes come to the client.
enum Way {
    Plain(TcpStream),
    Tls(TcpStream, Box<Tls>),
    Pipe(HeldEnd),
}

/// How a connection is protected.
enum Tls {
    Keyed(Keyed),
    Session(Box<Session>),
}

// A million held connections: what each has more is megabytes. 128 is a size class of the allocator.
const _: () = assert!(size_of::<Wire>() <= 16);
const _: () = assert!(size_of::<Tls>() <= 128);

impl Wire {
    /// A socket without TLS. It must be non-blocking.
    pub fn plain(socket: TcpStream) -> Wire {
        Wire(Way::Plain(socket))
    }

    /// The held end of a pipe.
    pub fn piped(end: HeldEnd) -> Wire {
        Wire(Way::Pipe(end))
    }

    /// Writes `bytes` until all are out or the socket is full, and returns how many are done with.
    ///
    /// A short count, or `WouldBlock` where nothing is done with, means that the socket is full and will become
    /// writable again. The next call must then begin with the same bytes, from the returned count on, and be at
    /// least [`Self::half_sent`] long. Any other error ends the connection. `Ok(0)` is for empty `bytes` only.
    ///
    /// # Errors
    /// [`Fault::WornOut`] or [`Fault::OtherBytes`] inside the error, else the socket's.
    pub fn write(&mut self, bytes: &[u8], scratch: &mut Scratch) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)], scratch)
    }

    /// [`Self::write`] for a head of one's own before bytes that are shared.
    pub fn write2(&mut self, first: &[u8], second: &[u8], scratch: &mut Scratch) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(first), IoSlice::new(second)], scratch)
    }

    /// [`Self::write`] for any number of slices: one `writev` where it suffices, or records that run across them.
    pub fn write_vectored(&mut self, slices: &[IoSlice<'_>], scratch: &mut Scratch) -> io::Result<usize> {
        match &mut self.0 {
            Way::Plain(socket) => write_plain(socket, slices),
            Way::Tls(socket, tls) => tls.write(socket, slices, &mut scratch.output),
            Way::Pipe(end) => end.write(slices),
        }
    }

    /// How many bytes the next write must begin with again: the plaintext of a record that is out in part.
    /// Never more than 48 KiB; 0 without TLS.
    pub fn half_sent(&self) -> usize {
        match &self.0 {
            Way::Plain(_) | Way::Pipe(_) => 0,
            Way::Tls(_, tls) => tls.half_sent(),
        }
    }

    /// Reads what the client sent; `Ok(0)` is its end (`close_notify`, or the end of the stream between two records,
    /// which can't cut off a request unnoticed since requests carry their own length).
    ///
    /// Edge triggered: to be called until `WouldBlock`.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing now. A [`Fault`], an error of rustls or of the socket ends the connection.
    pub fn read(&mut self, into: &mut [u8], scratch: &mut Scratch) -> io::Result<usize> {
        match &mut self.0 {
            Way::Plain(socket) => uninterrupted(|| socket.read(into)),
            Way::Tls(socket, tls) => tls.read(socket, into, &mut scratch.input),
            Way::Pipe(end) => end.read(into),
        }
    }

    /// Whether a read may give something that the socket's readiness doesn't announce: bytes that came before the
    /// connection changed hands.
    pub fn holds_input(&self) -> bool {
        match &self.0 {
            Way::Plain(_) => false,
            Way::Tls(_, tls) => tls.holds_input(),
            Way::Pipe(end) => end.holds_input(),
        }
    }

    /// Says goodbye and ends the writing side: `close_notify`, or the alert that the client's fault asks for, as far
    /// as the socket takes it at once. Not possible inside a half-sent record: then the stream just ends.
    pub fn close(&mut self) {
        // Best effort: the connection is over whatever comes of it.
        let _ = match &mut self.0 {
            Way::Plain(socket) => socket.shutdown(Shutdown::Write),
            Way::Tls(socket, tls) => {
                let _ = tls.farewell(socket);
                socket.shutdown(Shutdown::Write)
            }
            Way::Pipe(end) => {
                end.close();
                Ok(())
            }
        };
    }

    /// Whether the client speaks TLS on a socket of its own.
    pub fn is_tls(&self) -> bool {
        matches!(self.0, Way::Tls(..))
    }

    /// The socket itself, for addresses, options and readiness, not to be read or written; `None` where there is a pipe
    /// instead.
    pub fn socket(&self) -> Option<&TcpStream> {
        match &self.0 {
            Way::Plain(socket) | Way::Tls(socket, _) => Some(socket),
            Way::Pipe(_) => None,
        }
    }

    /// The socket, where bytes go onto it as they are: who sends there gets what [`Self::write`] would have got.
    pub fn bare(&self) -> Option<&TcpStream> {
        match &self.0 {
            Way::Plain(socket) => Some(socket),
            Way::Tls(..) | Way::Pipe(_) => None,
        }
    }

    /// Has a bell rung when a pipe can be read or written again. A socket's readiness is asked of the system.
    pub fn ring(&self, bell: Arc<dyn Bell>, key: u32) {
        if let Way::Pipe(end) = &self.0 {
            end.ring(bell, key);
        }
    }
}

/// Shows how it is protected, never with which keys.
impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protection = match &self.0 {
            Way::Plain(_) => "plain",
            Way::Tls(_, tls) => match &**tls {
                Tls::Keyed(_) => "keys",
                Tls::Session(_) => "session",
            },
            Way::Pipe(_) => "pipe",
        };
        f.debug_struct("Wire").field("socket", &self.socket()).field("protection", &protection).finish()
    }
}

impl Tls {
    fn write(
        &mut self,
        mut socket: &TcpStream,
        slices: &[IoSlice<'_>],
        output: &mut Output,
    ) -> io::Result<usize> {
        match self {
            Tls::Keyed(keyed) => keyed.write(&mut socket, Pieces::new(slices), output),
            Tls::Session(session) => session.write(&mut socket, Pieces::new(slices), output),
        }
    }

    fn read(&mut self, mut socket: &TcpStream, into: &mut [u8], input: &mut Input) -> io::Result<usize> {
        match self {
            Tls::Keyed(keyed) => keyed.read(&mut socket, into, input),
            Tls::Session(session) => session.read(&mut socket, into, input),
        }
    }

    fn half_sent(&self) -> usize {
        match self {
            Tls::Keyed(keyed) => keyed.half_sent(),
            Tls::Session(session) => session.half_sent(),
        }
    }

    fn holds_input(&self) -> bool {
        match self {
            Tls::Keyed(keyed) => keyed.holds_input(),
            Tls::Session(session) => session.holds_input(),
        }
    }

    fn farewell(&mut self, mut socket: &TcpStream) -> io::Result<()> {
        match self {
            Tls::Keyed(keyed) => keyed.farewell().map_or(Ok(()), |record| socket.write_all(&record)),
            Tls::Session(session) => {
                session.end();
                session.drain(&mut socket)
            }
        }
    }

    /// With no more than a held connection needs.
    fn settled(self) -> Result<Tls, WireError> {
        match self {
            Tls::Keyed(_) => Ok(self),
            Tls::Session(session) => Ok(match session.give_up()? {
                Kept::Keyed(keyed) => Tls::Keyed(keyed),
                Kept::Session(session) => Tls::Session(session),
            }),
        }
    }
}

/// The buffers of a thread, for whichever connection is at work. 82 KiB.
pub struct Scratch {
    input: Box<Input>,
    output: Box<Output>,
}

type Input = [u8; INPUT];
type Output = [u8; OUTPUT];

/// Bytes of a thread's output buffer: four full records.
const OUTPUT: usize = 4 * (record::PLAINTEXT_MAX + record::OVERHEAD);

impl Scratch {
    /// Buffers for one thread.
    pub fn new() -> Scratch {
        Scratch { input: Box::new([0; INPUT]), output: Box::new([0; OUTPUT]) }
    }
}

impl Default for Scratch {
    fn default() -> Scratch {
        Scratch::new()
    }
}

fn write_plain(mut socket: &TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    /// Slices that Linux takes in one `writev`.
    const IOV_MAX: usize = 1024;
    let mut done = 0;
    for some_slices in slices.chunks(IOV_MAX) {
        let wanted: usize = some_slices.iter().map(|slice| slice.len()).sum();
        let written = uninterrupted(|| match some_slices {
            [only] => socket.write(only),
            several => socket.write_vectored(several),
        });
        match written {
            Ok(count) => {
                done += count;
                if count < wanted {
                    break;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return some(done),
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}
