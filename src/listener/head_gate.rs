//! Lets only whole, strictly checked request heads through from a client's socket to hyper.
//!
//! hyper repairs or accepts many heads in silence (both `Content-Length` and `Transfer-Encoding`, bare line feeds,
//! two Hosts), and answers the rest without a body. Behind the gate every message is well framed, and what is
//! refused gets an answer of our own.
//!
//! Invariants: bytes pass unchanged and in order; none of a head passes before all of it was found good; none of a
//! message passes before the owner released it, so that refusing a pipelined request never cuts the answer
//! before it. No clocks and no I/O here: the owner reads, writes and waits.
//!
//! Message syntax: RFC 9112.

use super::chunks::{Chunks, Tracked};
use super::head_scan::HeadScan;
use super::request_head::{FIELDS_MAX, Framing};

/// Longest target that hyper's URI type takes.
const TARGET_BYTES_MAX: usize = 65_534;

/// Stands between the bytes of one client's connection and its HTTP/1 server.
#[derive(Debug)]
pub struct HeadGate {
    judge: Judge,
    /// What was read and could not be handed on at once. Without capacity while empty, so that an idle connection
    /// costs nothing here.
    ahead: Vec<u8>,
    /// `ahead[..taken]` was handed on.
    taken: usize,
    /// `ahead[taken..cleared]` may be handed on; `taken <= cleared <= ahead.len()`.
    cleared: usize,
}

/// Bounds of a head. A head of exactly the bound passes.
#[derive(Debug, Clone, Copy)]
pub struct HeadLimits {
    /// Bytes of the whole head, the empty line at its end included (431). Also how far a client may write ahead
    /// while it waits for an answer.
    pub header_bytes: usize,
    /// Header fields (431); at most 256.
    pub headers: usize,
    /// Bytes of the request target (414); at most 65,534.
    pub target_bytes: usize,
}

/// Why a request was refused, and the status to answer. The connection can only be closed after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The status code.
    pub status: u16,
    /// A few words for the body of the answer.
    pub reason: &'static str,
}

impl Refusal {
    pub(super) const fn bad(reason: &'static str) -> Self {
        Refusal { status: 400, reason }
    }
}

/// How far the connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GateState {
    /// Between messages; nothing of the next head is there.
    Idle,
    /// A head has begun and is not whole.
    Head,
    /// A head has passed, its body has not.
    Body,
    /// A message has passed whole; the next one waits for [`HeadGate::release_next`].
    Held,
    /// Everything passes.
    Tunnel,
    /// The message that was released last is refused; nothing passes any more.
    Refused(Refusal),
}

impl HeadGate {
    /// A gate before the first message of a connection.
    pub fn new(limits: HeadLimits) -> Self {
        Self::with_read_ahead(limits, Vec::new())
    }

    /// A gate before a message of which these bytes were read already: see [`HeadGate::into_read_ahead`].
    pub fn with_read_ahead(limits: HeadLimits, read_ahead: Vec<u8>) -> Self {
        let limits = HeadLimits {
            headers: limits.headers.min(FIELDS_MAX),
            target_bytes: limits.target_bytes.min(TARGET_BYTES_MAX),
            header_bytes: limits.header_bytes,
        };
        let judge = Judge { limits, phase: Phase::Head(HeadScan::default()), next: Next::Wait };
        let mut gate = HeadGate { judge, ahead: read_ahead, taken: 0, cleared: 0 };
        gate.clear_ahead();
        gate
    }

    /// Takes bytes just read from the client. The first so many of them, as returned, go to the server at once,
    /// behind all that [`HeadGate::ready`] gave before; the gate keeps a copy of the rest.
    ///
    /// A request that arrives in one read into the server's own buffer is thus never copied.
    /// Returns 0 while anything is kept: ask `ready` then.
    pub fn admit(&mut self, bytes: &[u8]) -> usize {
        if let Phase::Refused(_) = self.judge.phase {
            return 0;
        }
        if !self.ahead.is_empty() {
            self.keep(bytes);
            self.clear_ahead();
            return 0;
        }
        let passed = self.judge.clear(bytes);
        self.keep(&bytes[passed..]);
        passed
    }

    /// Kept bytes that may go to the server now.
    pub fn ready(&self) -> &[u8] {
        &self.ahead[self.taken..self.cleared]
    }

    /// Notes that the first `count` bytes of [`HeadGate::ready`] went to the server.
    pub fn consume(&mut self, count: usize) {
        debug_assert!(count <= self.cleared - self.taken, "consumed what was not ready");
        self.taken = (self.taken + count).min(self.cleared);
        if self.taken == self.ahead.len() {
            self.ahead = Vec::new();
            (self.taken, self.cleared) = (0, 0);
        }
    }

    /// Whether to read from the client. False while `ready` bytes are to be handed on first, while the client has
    /// written as far ahead as it may, and after a refusal.
    pub fn wants_more(&self) -> bool {
        match self.judge.phase {
            Phase::Refused(_) => false,
            Phase::Held => self.ahead.len() - self.taken < self.judge.limits.header_bytes,
            _ => self.ready().is_empty(),
        }
    }

    /// How far the connection is, bytes that are still `ready` counted as passed.
    pub fn state(&self) -> GateState {
        match self.judge.phase {
            Phase::Head(_) if matches!(self.unread(), b"" | b"\r" | b"\r\n") => GateState::Idle,
            Phase::Head(_) => GateState::Head,
            Phase::Length(_) | Phase::Chunked(_) => GateState::Body,
            Phase::Held => GateState::Held,
            Phase::Tunnel => GateState::Tunnel,
            Phase::Refused(refusal) => GateState::Refused(refusal),
        }
    }

    /// The answer to the current message is written: the next one may pass, as soon as the body of this one has.
    /// Without effect while no message has passed since the last call.
    pub fn release_next(&mut self) {
        self.follow(Next::Message);
    }

    /// The answer to the current message was 101: whatever follows it passes unseen.
    pub fn pass_everything(&mut self) {
        self.follow(Next::Tunnel);
    }

    /// Bytes that were read and may not pass yet, or never. After a refused head they begin with it, for the log.
    pub fn unread(&self) -> &[u8] {
        &self.ahead[self.cleared..]
    }

    /// Everything that was read and not handed on, for a connection that is taken over.
    pub fn into_read_ahead(mut self) -> Vec<u8> {
        self.ahead.drain(..self.taken);
        self.ahead
    }

    fn follow(&mut self, next: Next) {
        match self.judge.phase {
            Phase::Held => {
                self.judge.phase = next.phase();
                self.clear_ahead();
            }
            Phase::Length(_) | Phase::Chunked(_) => self.judge.next = next,
            Phase::Head(_) | Phase::Tunnel | Phase::Refused(_) => {}
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.ahead.capacity() - self.ahead.len() < bytes.len() {
            self.ahead.drain(..self.taken);
            self.cleared -= self.taken;
            self.taken = 0;
        }
        self.ahead.extend_from_slice(bytes);
    }

    fn clear_ahead(&mut self) {
        self.cleared += self.judge.clear(&self.ahead[self.cleared..]);
    }
}

/// Decides which bytes pass; keeps none of them.
#[derive(Debug)]
struct Judge {
    limits: HeadLimits,
    phase: Phase,
    next: Next,
}

#[derive(Debug)]
enum Phase {
    Head(HeadScan),
    /// So many bytes of the body are left.
    Length(u64),
    Chunked(Chunks),
    Held,
    Tunnel,
    Refused(Refusal),
}

/// What follows the message that is passing.
#[derive(Debug, Clone, Copy)]
enum Next {
    Wait,
    Message,
    Tunnel,
}

impl Next {
    fn phase(self) -> Phase {
        match self {
            Next::Wait => Phase::Held,
            Next::Message => Phase::Head(HeadScan::default()),
            Next::Tunnel => Phase::Tunnel,
        }
    }
}

impl Judge {
    /// How many of the bytes pass that follow those cleared so far. What doesn't is shown again, in front of what
    /// comes after it.
    fn clear(&mut self, bytes: &[u8]) -> usize {
        let mut cleared = 0;
        while cleared < bytes.len() {
            match self.step(&bytes[cleared..]) {
                Some(count) => cleared += count,
                None => break,
            }
        }
        cleared
    }

    /// Clears what belongs to the current phase; `None` if nothing passes before more bytes or a release come.
    fn step(&mut self, bytes: &[u8]) -> Option<usize> {
        match &mut self.phase {
            Phase::Head(scan) => match scan.advance(bytes, &self.limits) {
                Ok(head) => {
                    let head = head?;
                    match head.framing {
                        Framing::Length(0) => self.end_message(),
                        Framing::Length(length) => self.phase = Phase::Length(length),
                        Framing::Chunked => self.phase = Phase::Chunked(Chunks::default()),
                    }
                    Some(head.len)
                }
                Err(refusal) => self.refuse(refusal, 0),
            },
            Phase::Length(left) => {
                let count = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= count as u64;
                if *left == 0 {
                    self.end_message();
                }
                Some(count)
            }
            Phase::Chunked(chunks) => match chunks.track(bytes) {
                Tracked::More => Some(bytes.len()),
                Tracked::End(count) => {
                    self.end_message();
                    Some(count)
                }
                Tracked::Bad(count, reason) => self.refuse(Refusal::bad(reason), count),
            },
            Phase::Tunnel => Some(bytes.len()),
            Phase::Held | Phase::Refused(_) => None,
        }
    }

    fn end_message(&mut self) {
        self.phase = std::mem::replace(&mut self.next, Next::Wait).phase();
    }

    fn refuse(&mut self, refusal: Refusal, passed_before: usize) -> Option<usize> {
        self.phase = Phase::Refused(refusal);
        Some(passed_before)
    }
}
