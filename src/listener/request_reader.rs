//! Makes requests of the bytes that come from a client: whole, strictly checked heads, and the bodies behind them.
//!
//! Invariants: nothing of a head is handed on before all of it was found good; the next message is looked at only
//! when the owner releases it, so that refusing a pipelined request never cuts the answer before it. No clocks and no
//! I/O here: the owner reads, writes and waits. Whatever it has just read it shows once; what isn't understood at
//! once is kept here.
//!
//! Message syntax: RFC 9112.

use bytes::{Buf, Bytes, BytesMut};

use super::chunks::Chunks;
use super::head_scan::HeadScan;
use super::request_head::{FIELDS_MAX, Framing, Head};

/// Longest target that the URI type takes.
const TARGET_BYTES_MAX: usize = 65_534;

/// Reads the messages of one client's connection, one after another.
#[derive(Debug)]
pub struct RequestReader {
    limits: HeadLimits,
    place: Place,
    /// What was read and not understood yet. Without capacity while empty, so that an idle connection costs nothing
    /// here.
    ahead: BytesMut,
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

/// The place in the bytes of a connection that has been reached.
#[derive(Debug)]
enum Place {
    Head(HeadScan),
    /// So many bytes of the body are left.
    Length(u64),
    Chunked(Chunks),
    /// Behind a message, before it was released.
    Between,
    /// In front of what was refused.
    Refused,
}

impl RequestReader {
    /// A reader before the first message of a connection, of which these bytes were read already: see
    /// [`RequestReader::into_ahead`].
    pub fn new(limits: HeadLimits, read_ahead: Vec<u8>) -> Self {
        let limits = HeadLimits {
            headers: limits.headers.min(FIELDS_MAX),
            target_bytes: limits.target_bytes.min(TARGET_BYTES_MAX),
            header_bytes: limits.header_bytes,
        };
        let place = Place::Head(HeadScan::default());
        RequestReader { limits, place, ahead: Bytes::from(read_ahead).into() }
    }

    /// The head of the next request, once it is whole, by what is here and what was just read.
    ///
    /// # Errors
    /// It is refused, and so is all that follows.
    pub fn next_head(&mut self, fresh: &[u8]) -> Result<Option<Head>, Refusal> {
        let kept = self.keep_behind(fresh);
        let Place::Head(scan) = &mut self.place else { return Ok(None) };
        match scan.advance(if kept { &self.ahead } else { fresh }, &self.limits) {
            Ok(Some((length, head))) => {
                self.pass(kept, fresh, length);
                self.place = match head.framing {
                    Framing::Length(0) => Place::Between,
                    Framing::Length(length) => Place::Length(length),
                    Framing::Chunked => Place::Chunked(Chunks::default()),
                };
                Ok(Some(head))
            }
            Ok(None) => {
                self.pass(kept, fresh, 0);
                Ok(None)
            }
            Err(refusal) => {
                self.pass(kept, fresh, 0);
                self.place = Place::Refused;
                Err(refusal)
            }
        }
    }

    /// What of the present body is here or was just read, which may be nothing.
    ///
    /// # Errors
    /// Its framing is broken, for this reason, and nothing more can be read.
    pub fn take_body(&mut self, fresh: &[u8]) -> Result<Bytes, &'static str> {
        let kept = self.keep_behind(fresh);
        let bytes = if kept { &self.ahead[..] } else { fresh };
        let (data, passed, is_over) = match &mut self.place {
            Place::Length(left) => {
                let count = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= count as u64;
                (Bytes::copy_from_slice(&bytes[..count]), count, *left == 0)
            }
            Place::Chunked(chunks) => {
                let mut data = Vec::new();
                match chunks.decode(bytes, &mut data) {
                    Ok(passed) => (data.into(), passed, chunks.is_over()),
                    Err(reason) => {
                        self.place = Place::Refused;
                        self.pass(kept, fresh, 0);
                        return Err(reason);
                    }
                }
            }
            Place::Head(_) | Place::Between | Place::Refused => (Bytes::new(), 0, false),
        };
        if is_over {
            self.place = Place::Between;
        }
        self.pass(kept, fresh, passed);
        Ok(data)
    }

    /// The present message is answered: the next one may come. Only behind its end.
    pub fn release_next(&mut self) {
        debug_assert!(self.is_between(), "released inside a message");
        self.place = Place::Head(HeadScan::default());
    }

    /// Whether the present message is read to its end, and the next one wasn't released.
    pub fn is_between(&self) -> bool {
        matches!(self.place, Place::Between)
    }

    /// Whether nothing of the next head is there.
    pub fn is_idle(&self) -> bool {
        matches!(self.place, Place::Head(_)) && matches!(&self.ahead[..], b"" | b"\r" | b"\r\n")
    }

    /// Whether a client whose request is read to its end may write further ahead.
    pub fn has_room(&self) -> bool {
        self.ahead.len() < self.limits.header_bytes
    }

    /// Keeps what a client writes ahead of its turn.
    pub fn write_ahead(&mut self, fresh: &[u8]) {
        self.ahead.extend_from_slice(fresh);
    }

    /// What was read and not understood yet, or never. After a refused head it begins with it, for the log.
    pub fn ahead(&self) -> &[u8] {
        &self.ahead
    }

    /// The same, for a connection that is taken over.
    pub fn into_ahead(self) -> Bytes {
        self.ahead.freeze()
    }

    /// Puts what was just read behind what is here already, and says whether there was any.
    fn keep_behind(&mut self, fresh: &[u8]) -> bool {
        let kept = !self.ahead.is_empty();
        if kept {
            self.ahead.extend_from_slice(fresh);
        }
        kept
    }

    /// So many bytes are understood; the rest stays here.
    fn pass(&mut self, kept: bool, fresh: &[u8], count: usize) {
        match kept {
            true if count == self.ahead.len() => self.ahead = BytesMut::new(),
            true => self.ahead.advance(count),
            false if count < fresh.len() => self.ahead.extend_from_slice(&fresh[count..]),
            false => {}
        }
    }
}
