//! One held connection: a small struct, and what it does when its socket takes or gives bytes.
//!
//! It owns no queue. What it is in the middle of is a shared frame and an offset; what it missed meanwhile is
//! read from its channels' windows when the socket takes bytes again. Invariant: a connection that is `behind`
//! has a frame pending, so that the socket's next readiness brings it on, or waits for what a filter's URL says, or is
//! caught up before the turn ends.

use std::io;

use super::cold::{Cold, Manner};
use super::memberships::Memberships;
use crate::message::{Frame, Framing, Sequence, TransportId};
use crate::transport;
use crate::wire::{Scratch, Wire};

/// A connection that waits for events.
pub(super) struct Held {
    pub(super) wire: Wire,
    pending: Option<Frame>,
    offset: u32,
    pub(super) transport: TransportId,
    pub(super) framing: Framing,
    pub(super) stage: Stage,
    /// Whether its channels have more for it than what is pending.
    pub(super) behind: bool,
    /// Whether the poll tells when the socket takes bytes again.
    pub(super) armed: bool,
    /// Whether the system ends it when its client acknowledges nothing for too long.
    pub(super) limited: bool,
    /// Whether its last words are written, or pending.
    pub(super) said_goodbye: bool,
    /// Everything up to here is written, or pending.
    pub(super) position: Sequence,
    pub(super) memberships: Memberships,
    /// Tick of the last write, for keep-alives.
    pub(super) wrote_at: u32,
    pub(super) events: u32,
    pub(super) bytes: u64,
    pub(super) cold: Box<Cold>,
}

// Memory of a held connection is what this program is for: `docs/performance.md` has the sum.
const _: () = assert!(size_of::<Held>() <= 96);
/// How far the life of a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Gets events.
    Live,
    /// What is pending is its last.
    Ending(Reason),
    /// The hold is over, and the connection stays for its client's next request, which comes soon if it comes.
    Between,
    /// Everything is written and our side is closed; waits for the client to close its own, so that no reset
    /// takes the last bytes away (RFC 9112 §9.6).
    Lingering,
}

/// Why a held connection ends; a label of `perihelion_comet_streams_closed_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    Client,
    Answered,
    Timeout,
    Slow,
    ChannelClosed,
    Drain,
    WriteError,
    Limit,
    Protocol,
    Revoked,
    Replaced,
    Listener,
}

impl Reason {
    pub(super) const ALL: [(Reason, &str); 12] = [
        (Reason::Client, "client"),
        (Reason::Answered, "answered"),
        (Reason::Timeout, "timeout"),
        (Reason::Slow, "slow"),
        (Reason::ChannelClosed, "channel_closed"),
        (Reason::Drain, "drain"),
        (Reason::WriteError, "write_error"),
        (Reason::Limit, "limit"),
        (Reason::Protocol, "protocol"),
        (Reason::Revoked, "revoked"),
        (Reason::Replaced, "replaced"),
        (Reason::Listener, "listener"),
    ];

    /// Why a socket broke: its client took nothing for too long, by the count of the system, or something else.
    pub(super) fn of_lost(error: &io::Error, otherwise: Reason) -> Reason {
        if error.kind() == io::ErrorKind::TimedOut { Reason::Slow } else { otherwise }
    }

    pub(super) fn word(self) -> &'static str {
        Reason::ALL[self as usize].1
    }
}

/// How far a write came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Everything is with the kernel.
    Done,
    /// The socket is full; the rest is pending.
    Blocked,
}

/// What a client said while it was held.
#[derive(Debug)]
pub(super) enum Heard {
    /// Nothing that matters now; kept for later.
    Kept,
    /// More than the bound.
    TooMuch,
    /// It left.
    Left,
    /// Its socket broke.
    Lost(io::Error),
}

impl Held {
    pub(super) fn new(
        wire: Wire,
        transport: TransportId,
        framing: Framing,
        memberships: Memberships,
        position: Sequence,
        cold: Box<Cold>,
    ) -> Held {
        let (pending, offset, stage) = (None, 0, Stage::Live);
        let (behind, armed, limited, said_goodbye) = (false, false, false, false);
        let (wrote_at, events, bytes) = (cold.since, 0, 0);
        #[rustfmt::skip]
        let held = Held {
            wire, pending, offset, transport, framing, stage, behind, armed, limited, said_goodbye,
            position, memberships, wrote_at, events, bytes, cold,
        };
        held
    }

    /// Whether the socket is full.
    pub(super) fn blocked(&self) -> bool {
        self.pending.is_some()
    }

    /// Whether its client has been sent as much as it can bear in one stream.
    pub(super) fn is_worn_out(&self) -> bool {
        transport::transport(self.transport).bytes_max().is_some_and(|most| self.bytes >= most)
    }

    /// Tick since which signs of life are waited for.
    pub(super) fn silent_since(&self) -> u32 {
        match &self.cold.manner {
            Manner::Stream(Some(companion)) => match &companion.grip {
                Some(grip) if grip.beats() => grip.beat_at,
                _ => self.wrote_at,
            },
            _ => self.wrote_at,
        }
    }

    /// Gives up what is pending, since the connection is cut.
    pub(super) fn forget_pending(&mut self) {
        self.pending = None;
    }

    /// Writes a frame that carries so many events. Nothing is pending before.
    pub(super) fn send(
        &mut self,
        frame: &Frame,
        events: usize,
        scratch: &mut Scratch,
    ) -> io::Result<Progress> {
        debug_assert!(!self.blocked());
        self.events = self.events.saturating_add(events as u32);
        let written = self.wire.write(frame.bytes(self.framing), scratch);
        self.sent(frame, written)
    }

    /// After a write of a whole frame: what the socket didn't take is pending.
    pub(super) fn sent(&mut self, frame: &Frame, written: io::Result<usize>) -> io::Result<Progress> {
        let written = taken(written)?;
        self.bytes += written as u64;
        if written == frame.bytes(self.framing).len() {
            return Ok(Progress::Done);
        }
        self.pending = Some(frame.clone());
        self.offset = written as u32;
        Ok(Progress::Blocked)
    }

    /// The same of bytes that nobody else gets: they become a frame only where some are left.
    pub(super) fn send_own(
        &mut self,
        bytes: Vec<u8>,
        events: usize,
        scratch: &mut Scratch,
    ) -> io::Result<Progress> {
        debug_assert!(!self.blocked());
        self.events = self.events.saturating_add(events as u32);
        let written = taken(self.wire.write(&bytes, scratch))?;
        self.bytes += written as u64;
        if written == bytes.len() {
            return Ok(Progress::Done);
        }
        self.offset = written as u32;
        self.pending = Some(Frame::raw(bytes));
        Ok(Progress::Blocked)
    }

    /// Writes a head of its own and a body that others share.
    pub(super) fn send_answer(
        &mut self,
        head: Vec<u8>,
        body: &Frame,
        scratch: &mut Scratch,
    ) -> io::Result<Progress> {
        debug_assert!(!self.blocked());
        let body = body.payload();
        let written = taken(self.wire.write2(&head, body, scratch))?;
        self.bytes += written as u64;
        if written == head.len() + body.len() {
            return Ok(Progress::Done);
        }
        self.offset = written as u32;
        self.pending = Some(Frame::raw([&head, body].concat()));
        Ok(Progress::Blocked)
    }

    /// Goes on with what is pending.
    pub(super) fn flush(&mut self, scratch: &mut Scratch) -> io::Result<Progress> {
        let Some(frame) = &self.pending else { return Ok(Progress::Done) };
        let rest = &frame.bytes(self.framing)[self.offset as usize..];
        let written = taken(self.wire.write(rest, scratch))?;
        self.bytes += written as u64;
        if written < rest.len() {
            self.offset += written as u32;
            return Ok(Progress::Blocked);
        }
        self.pending = None;
        Ok(Progress::Done)
    }

    /// Whether its hold is over.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Between | Stage::Lingering)
    }

    /// Reads until the socket has no more; what the client says is kept up to `limit` bytes.
    pub(super) fn hear(&mut self, limit: usize, buffer: &mut [u8], scratch: &mut Scratch) -> Heard {
        loop {
            match self.wire.read(buffer, scratch) {
                Ok(0) => return Heard::Left,
                Ok(_) if self.stage == Stage::Lingering => {}
                Ok(read) if self.cold.read_ahead.len() + read > limit => return Heard::TooMuch,
                Ok(read) => self.cold.read_ahead.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Heard::Kept,
                Err(error) => return Heard::Lost(error),
            }
        }
    }
}

/// Bytes that the socket took: none where it is full.
fn taken(written: io::Result<usize>) -> io::Result<usize> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        written => written,
    }
}
