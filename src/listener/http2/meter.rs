//! The bytes of an HTTP/2 client on their way to the library, with an eye on its frames: what it does too often that costs
//! us work and brings it nothing ends its connection.
//!
//! The library bounds what a client can make us keep. What it can make us do, it may do without end: answer `PING` and
//! `SETTINGS`, take note of priorities and windows, begin requests and drop them. Frames are therefore counted here, as
//! they come, by their first nine bytes (RFC 9113 §4.1). Whoever asks for something, or takes what it is sent, may send
//! some of them for that.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::config::{Http2Limits, Rate};
use crate::sys;
use crate::wire::WireStream;

/// Bytes in front of the first frame (RFC 9113 §3.4).
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEAD: usize = 9;

/// Kinds of frames (RFC 9113 §6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// Frames beside that a request, or a piece that a client has taken, is good for: a window for the stream and one for the
/// connection, a priority, a ping.
const EARNED: f64 = 4.0;

/// What a client has done too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flood {
    /// Requests that it has taken back.
    Resets,
    /// Frames that neither ask for anything nor bring anything.
    Control,
    /// What the library itself puts up with.
    Library,
}

impl Flood {
    /// Every kind.
    pub const ALL: [Flood; 3] = [Flood::Resets, Flood::Control, Flood::Library];

    /// A word for the metrics.
    pub fn word(self) -> &'static str {
        match self {
            Flood::Resets => "resets",
            Flood::Control => "control_frames",
            Flood::Library => "library",
        }
    }
}

/// What is known of a client's frames.
pub(super) struct Meter {
    frames: RefCell<Frames>,
    resets: RefCell<Budget>,
    control: RefCell<Budget>,
    seen: Cell<u64>,
    settled: Cell<bool>,
    in_head: Cell<bool>,
    flood: Cell<Option<Flood>>,
    /// Bytes that the socket has got.
    wrote: Cell<u64>,
    /// What the client's system hasn't, once somebody has asked.
    untaken: Cell<Asked>,
}

/// A question that only who has the socket can answer.
#[derive(Debug, Clone, Copy, Default)]
enum Asked {
    #[default]
    Nothing,
    Open,
    Answered(u64),
}

impl Meter {
    pub(super) fn new(limits: &Http2Limits) -> Rc<Meter> {
        let now = Instant::now();
        Rc::new(Meter {
            frames: RefCell::new(Frames::new()),
            resets: RefCell::new(Budget::new(limits.resets, now)),
            control: RefCell::new(Budget::new(limits.control_frames, now)),
            seen: Cell::new(0),
            settled: Cell::new(false),
            in_head: Cell::new(false),
            flood: Cell::new(None),
            wrote: Cell::new(0),
            untaken: Cell::default(),
        })
    }

    /// Bytes that the socket has got.
    pub(super) fn wrote(&self) -> u64 {
        self.wrote.get()
    }

    /// How many of these the client's system hasn't, as it was when the connection last had a turn. Where nobody had
    /// asked before that, it is known after the next.
    pub(super) fn untaken(&self) -> Option<u64> {
        match self.untaken.replace(Asked::Open) {
            Asked::Answered(untaken) => Some(untaken),
            Asked::Nothing | Asked::Open => None,
        }
    }

    /// Frames that have come.
    pub(super) fn seen(&self) -> u64 {
        self.seen.get()
    }

    /// Whether the client has acknowledged what we have told it of ourselves.
    pub(super) fn is_settled(&self) -> bool {
        self.settled.get()
    }

    /// Whether a head has begun and isn't whole.
    pub(super) fn is_in_head(&self) -> bool {
        self.in_head.get()
    }

    /// What there was too much of.
    pub(super) fn flood(&self) -> Option<Flood> {
        self.flood.get()
    }

    /// The client has taken a piece that wasn't cut small for its window.
    pub(super) fn earn(&self) {
        self.control.borrow_mut().give_back(EARNED);
    }

    fn note_written(&self, wrote: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = wrote {
            self.wrote.set(self.wrote.get().wrapping_add(*bytes as u64));
        }
    }

    pub(super) fn see(&self, bytes: &[u8]) {
        self.frames.borrow_mut().read(bytes, |frame| self.count(frame));
        self.in_head.set(self.frames.borrow().in_head);
    }

    fn count(&self, frame: Frame) {
        self.seen.set(self.seen.get().wrapping_add(1));
        let within = match frame.kind {
            RST_STREAM => self.resets.borrow_mut().take(Flood::Resets),
            HEADERS => {
                self.earn();
                Ok(())
            }
            CONTINUATION => Ok(()),
            DATA if frame.length > 0 || frame.flags & END_STREAM != 0 => Ok(()),
            kind => {
                self.settled.set(self.settled.get() || kind == SETTINGS && frame.flags & ACK != 0);
                self.control.borrow_mut().take(Flood::Control)
            }
        };
        if let Err(flood) = within
            && self.flood.get().is_none()
        {
            self.flood.set(Some(flood));
        }
    }
}

/// So many in a time, all of which may come at once.
struct Budget {
    /// `None` is without end.
    rate: Option<Rate>,
    left: f64,
    at: Instant,
}

impl Budget {
    fn new(rate: Option<Rate>, now: Instant) -> Budget {
        Budget { rate, left: rate.map_or(0.0, |rate| f64::from(rate.count.get())), at: now }
    }

    fn take(&mut self, flood: Flood) -> Result<(), Flood> {
        let Some(Rate { count, per }) = self.rate else { return Ok(()) };
        if self.left < 1.0 {
            let now = Instant::now();
            let passed = (now - self.at).as_secs_f64();
            self.at = now;
            self.give_back(passed / per.as_secs_f64() * f64::from(count.get()));
        }
        self.left -= 1.0;
        if self.left < 0.0 { Err(flood) } else { Ok(()) }
    }

    fn give_back(&mut self, some: f64) {
        let most = self.rate.map_or(0.0, |rate| f64::from(rate.count.get()));
        self.left = (self.left + some).min(most);
    }
}

/// The first bytes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Frame {
    length: usize,
    kind: u8,
    flags: u8,
}

/// Finds the frames in a run of bytes, however it is cut.
struct Frames {
    head: [u8; FRAME_HEAD],
    /// Bytes of `head` that are here.
    filled: usize,
    /// Bytes in front of the next one.
    skip: usize,
    in_head: bool,
    /// Whether `in_head` ends with the bytes that are skipped.
    ends_head: bool,
}

impl Frames {
    fn new() -> Frames {
        Frames { head: [0; FRAME_HEAD], filled: 0, skip: PREFACE.len(), in_head: false, ends_head: false }
    }

    fn read(&mut self, mut bytes: &[u8], mut found: impl FnMut(Frame)) {
        loop {
            let skipped = self.skip.min(bytes.len());
            bytes = &bytes[skipped..];
            self.skip -= skipped;
            if self.skip == 0 && self.ends_head {
                (self.in_head, self.ends_head) = (false, false);
            }
            if self.skip > 0 || bytes.is_empty() {
                return;
            }
            let some = (FRAME_HEAD - self.filled).min(bytes.len());
            self.head[self.filled..self.filled + some].copy_from_slice(&bytes[..some]);
            self.filled += some;
            bytes = &bytes[some..];
            if self.filled == FRAME_HEAD {
                found(self.begin());
            }
        }
    }

    fn begin(&mut self) -> Frame {
        let [a, b, c, kind, flags, ..] = self.head;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        (self.filled, self.skip) = (0, length);
        if matches!(kind, HEADERS | CONTINUATION) {
            self.in_head = true;
            self.ends_head = flags & END_HEADERS != 0;
        }
        Frame { length, kind, flags }
    }
}

/// A client's connection under the eye of its meter.
pub(super) struct Metered {
    wire: WireStream,
    /// Read before, and not by the library.
    read_ahead: Bytes,
    meter: Rc<Meter>,
}

impl Metered {
    pub(super) fn new(wire: WireStream, read_ahead: Vec<u8>, meter: Rc<Meter>) -> Metered {
        Metered { wire, read_ahead: read_ahead.into(), meter }
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if matches!(self.meter.untaken.get(), Asked::Open) {
            // Where nobody knows, what was given counts as taken.
            let untaken = self.wire.socket().and_then(sys::untaken_bytes).unwrap_or(0);
            self.meter.untaken.set(Asked::Answered(untaken));
        }
        if self.meter.flood().is_some() {
            // Whoever polls the connection looks at the meter behind each turn, and closes it.
            return Poll::Pending;
        }
        let before = into.filled().len();
        if self.read_ahead.is_empty() {
            std::task::ready!(Pin::new(&mut self.wire).poll_read(cx, into))?;
        } else {
            let some = self.read_ahead.len().min(into.remaining());
            into.put_slice(&self.read_ahead[..some]);
            self.read_ahead.advance(some);
        }
        self.meter.see(&into.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.wire).poll_write(cx, bytes);
        self.meter.note_written(&wrote);
        wrote
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.wire).poll_write_vectored(cx, slices);
        self.meter.note_written(&wrote);
        wrote
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use super::*;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let length = (payload as u32).to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], &vec![0xff; payload]].concat()
    }

    #[test]
    fn frames_are_found_however_their_bytes_are_cut() {
        let expected = [(4, 0, 6), (1, 0, 20), (9, 4, 3), (0, 1, 0), (0, 0, 300), (6, 1, 8)];
        let frames = expected.iter().flat_map(|&(kind, flags, length)| frame(kind, flags, length));
        let bytes: Vec<u8> = PREFACE.iter().copied().chain(frames).collect();
        for step in [1, 2, 8, 9, 10, 31, 1000] {
            let mut found = Vec::new();
            let mut frames = Frames::new();
            for piece in bytes.chunks(step) {
                frames.read(piece, |frame| found.push((frame.kind, frame.flags, frame.length)));
            }
            assert_eq!(found, expected, "in steps of {step}");
            assert!(!frames.in_head);
        }
        let mut frames = Frames::new();
        let whole = PREFACE.len() + 15 + 29 + 12;
        frames.read(&bytes[..whole - 1], |_| {});
        assert!(frames.in_head, "its last byte is missing");
        frames.read(&bytes[whole - 1..whole], |_| {});
        assert!(!frames.in_head);
    }

    fn meter(resets: u32, control: u32) -> Rc<Meter> {
        let rate =
            |count| Some(Rate { count: NonZeroU32::new(count).unwrap(), per: Duration::from_secs(3600) });
        let limits =
            Http2Limits { resets: rate(resets), control_frames: rate(control), ..Http2Limits::default() };
        let meter = Meter::new(&limits);
        meter.see(PREFACE);
        meter
    }

    #[test]
    fn what_brings_nothing_is_counted_and_what_asks_for_something_is_good_for_some_of_it() {
        for (kind, flags, length) in [(4, 0, 0), (6, 0, 8), (2, 0, 5), (8, 0, 4), (0, 0, 0), (0x10, 0, 9)] {
            let meter = meter(5, 10);
            (0..10).for_each(|_| meter.see(&frame(kind, flags, length)));
            assert_eq!(meter.flood(), None, "{kind}");
            meter.see(&frame(1, 5, 10));
            (0..EARNED as usize).for_each(|_| meter.see(&frame(kind, flags, length)));
            assert_eq!(meter.flood(), None, "{kind}");
            meter.see(&frame(kind, flags, length));
            assert_eq!(meter.flood(), Some(Flood::Control), "{kind}");
        }
        let meter = meter(5, 10);
        (0..1000).for_each(|_| meter.see(&frame(0, 0, 1)));
        (0..1000).for_each(|_| meter.see(&frame(1, 5, 1)));
        (0..5).for_each(|_| meter.see(&frame(3, 0, 4)));
        assert_eq!(meter.flood(), None);
        meter.see(&frame(3, 0, 4));
        assert_eq!(meter.flood(), Some(Flood::Resets));
    }

    #[test]
    fn a_budget_comes_back_with_time() {
        let rate = Rate { count: NonZeroU32::new(100).unwrap(), per: Duration::from_millis(100) };
        let mut budget = Budget::new(Some(rate), Instant::now());
        while budget.take(Flood::Control).is_ok() {}
        std::thread::sleep(Duration::from_millis(20));
        assert!(budget.take(Flood::Control).is_ok());
        let mut endless = Budget::new(None, Instant::now());
        assert!((0..1000).all(|_| endless.take(Flood::Control).is_ok()));
    }
}
