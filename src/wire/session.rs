//! A connection whose rustls session is kept: TLS 1.2 on a shard, any version while tokio has it.
//!
//! Invariant: rustls is given one whole record after the other, so that nothing undecrypted ever lies in it, where
//! it could be neither seen nor fetched when the keys are taken out.

use std::io::{self, IoSlice, Read, Write};

use rustls::{ProtocolVersion, ServerConnection};

use super::OUTPUT;
use super::error::{Fault, WireError};
use super::inbox::{Arrivals, INPUT, Inbox, uninterrupted};
use super::keyed::{Keyed, some};
use super::pieces::Pieces;
use super::record::{PAYLOAD_MAX, PLAINTEXT_MAX};

/// Plaintext sealed at once; rustls takes 64 KiB when it has nothing to send.
const CHUNK: usize = 3 * PLAINTEXT_MAX;
const _: () = assert!(CHUNK <= OUTPUT, "a chunk is gathered in the output buffer");

pub(super) struct Session {
    connection: ServerConnection,
    inbox: Inbox,
    /// Plaintext at the front of the next [`Self::write`] that rustls has sealed already.
    sealed: usize,
    /// Whether the client has sent a record.
    heard: bool,
}

/// What [`Session::give_up`] has made of the session.
pub(super) enum Kept {
    Keyed(Keyed),
    Session(Box<Session>),
}

impl Session {
    pub(super) fn new(connection: ServerConnection) -> Session {
        Session { connection, inbox: Inbox::default(), sealed: 0, heard: false }
    }

    pub(super) fn connection(&self) -> &ServerConnection {
        &self.connection
    }

    pub(super) fn holds_input(&self) -> bool {
        // rustls wants nothing more while it has plaintext, or once the client said that nothing comes.
        !self.inbox.is_empty() || !self.connection.wants_read()
    }

    pub(super) fn half_sent(&self) -> usize {
        self.sealed
    }

    /// Drops the session where keys are enough (TLS 1.3). Everything that rustls has to send must be out.
    pub(super) fn give_up(mut self: Box<Session>) -> Result<Kept, WireError> {
        if self.connection.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
            return Ok(Kept::Session(self));
        }
        let (plaintext, ended) = self.take_plaintext();
        let Session { connection, mut inbox, .. } = *self;
        inbox.prepend(&plaintext);
        let mut keyed =
            Keyed::new(connection.dangerous_extract_secrets().map_err(WireError::KeysKept)?, inbox)?;
        if ended {
            keyed.end();
        }
        Ok(Kept::Keyed(keyed))
    }

    /// What is decrypted and not read (one record's content at most), and whether nothing comes behind it.
    fn take_plaintext(&mut self) -> (Vec<u8>, bool) {
        let mut plaintext = Vec::new();
        // Whatever is missing to an end is an error here, and what was read before it counts.
        let ended = self.connection.reader().read_to_end(&mut plaintext).is_ok();
        (plaintext, ended)
    }

    /// Answers to the client's KeyUpdate wait in rustls for the next write: makes them part of what it has to send.
    pub(super) fn release_key_update(&mut self) -> io::Result<()> {
        self.connection.writer().write(&[]).map(drop)
    }

    /// Seals as much of `slices` as rustls takes.
    pub(super) fn seal(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.connection.writer().write_vectored(slices)? {
            0 => Err(Fault::WornOut.into()),
            count => Ok(count),
        }
    }

    /// Writes what rustls has to send; `WouldBlock` while something is left.
    pub(super) fn drain(&mut self, socket: &mut impl Write) -> io::Result<()> {
        while self.connection.wants_write() {
            if uninterrupted(|| self.connection.write_tls(socket))? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }

    /// Seals and writes until all is out or the socket is full: see [`Wire::write`](super::Wire::write).
    pub(super) fn write(
        &mut self,
        socket: &mut impl Write,
        mut pieces: Pieces<'_>,
        output: &mut [u8; OUTPUT],
    ) -> io::Result<usize> {
        let total = pieces.remaining();
        if self.sealed > total {
            return Err(Fault::OtherBytes.into());
        }
        pieces.skip(self.sealed);
        let mut done = 0;
        loop {
            match self.drain(socket) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return some(done),
                Err(error) => return Err(error),
            }
            done += std::mem::take(&mut self.sealed);
            if done == total {
                return Ok(done);
            }
            let chunk = &mut output[..CHUNK.min(total - done)];
            pieces.fill(chunk);
            self.sealed = self.seal(&[IoSlice::new(chunk)])?;
            if self.sealed < chunk.len() {
                return Err(Fault::WornOut.into());
            }
        }
    }

    /// Queues the last record, `close_notify`.
    pub(super) fn end(&mut self) {
        self.connection.send_close_notify();
    }

    /// Reads plaintext: see [`Wire::read`](super::Wire::read).
    pub(super) fn read(
        &mut self,
        socket: &mut (impl Read + Write),
        into: &mut [u8],
        input: &mut [u8; INPUT],
    ) -> io::Result<usize> {
        let mut arrivals = self.inbox.resume(input);
        let outcome = self.read_arrivals(&mut arrivals, socket, into);
        self.inbox.keep(&[], arrivals.rest());
        outcome
    }

    fn read_arrivals(
        &mut self,
        arrivals: &mut Arrivals<'_>,
        socket: &mut (impl Read + Write),
        into: &mut [u8],
    ) -> io::Result<usize> {
        let mut read = 0;
        loop {
            match self.connection.reader().read(&mut into[read..]) {
                // Full, or close_notify.
                Ok(0) => return Ok(read),
                Ok(count) => read += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if let Some(record) = arrivals.next(PAYLOAD_MAX)? {
                        self.give(record, socket)?;
                    } else if read > 0 || !arrivals.refill(socket)? {
                        return Ok(read);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// One step of the handshake: sends what is to be sent, then reads one record. `Ok(true)` when it is over and
    /// all of it is sent.
    pub(super) fn shake_hands(
        &mut self,
        socket: &mut (impl Read + Write),
        input: &mut [u8; INPUT],
    ) -> io::Result<bool> {
        self.drain(socket)?;
        if !self.connection.is_handshaking() {
            return Ok(true);
        }
        let mut arrivals = self.inbox.resume(input);
        let outcome = match arrivals.next(PAYLOAD_MAX).map_err(io::Error::from) {
            Ok(Some(record)) => {
                self.heard = true;
                self.give(record, socket)
            }
            Ok(None) => match arrivals.refill(socket) {
                Ok(true) => Ok(()),
                Ok(false) => Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        self.inbox.keep(&[], arrivals.rest());
        outcome.map(|()| false)
    }

    /// What the client has sent of something that is no record, before any.
    pub(super) fn unheard(self) -> Option<Vec<u8>> {
        if self.heard { None } else { self.inbox.into_bytes() }
    }

    /// Lets rustls have one record. What it answers to a bad one goes out if the socket takes it at once.
    fn give(&mut self, record: &mut [u8], socket: &mut impl Write) -> io::Result<()> {
        let mut left = &record[..];
        while !left.is_empty() && self.connection.read_tls(&mut left)? > 0 {
            if let Err(error) = self.connection.process_new_packets() {
                // The fault is what matters; a client that doesn't read gets no alert.
                let _ = self.drain(socket);
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
        Ok(())
    }
}
