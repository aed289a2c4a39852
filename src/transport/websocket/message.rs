//! A message of a client's WebSocket, put together from its frames (RFC 6455 §5.4); pure.

use super::Fault;
use crate::message::SocketType;

/// What a message is. Pings and pongs are answered by the proxy where nobody wants to hear of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8.
    Text,
    /// Any bytes.
    Binary,
    /// A question whether the other side is there.
    Ping,
    /// The answer to it.
    Pong,
}

impl From<SocketType> for Kind {
    fn from(kind: SocketType) -> Kind {
        match kind {
            SocketType::Text => Kind::Text,
            SocketType::Binary => Kind::Binary,
            SocketType::Ping => Kind::Ping,
            SocketType::Pong => Kind::Pong,
        }
    }
}

/// A message that has begun.
#[derive(Debug)]
pub(super) struct Unfinished {
    kind: Kind,
    data: Vec<u8>,
    /// Bytes of `data` that are UTF-8 for certain: a fault is said when it comes, not at the end (§8.1).
    checked: usize,
    /// The frame that is being read.
    frame: Option<Rest>,
}

/// What is still to come of a frame.
#[derive(Debug)]
struct Rest {
    bytes: u64,
    /// Begins with the byte that is next.
    mask: [u8; 4],
    last: bool,
}

/// How far a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// More bytes of its frame have to come.
    Open,
    /// Another head comes next.
    Between,
    /// It is whole.
    Whole,
}

impl Unfinished {
    pub(super) fn new(kind: Kind) -> Unfinished {
        Unfinished { kind, data: Vec::new(), checked: 0, frame: None }
    }

    /// A frame of so many bytes begins.
    pub(super) fn begin(&mut self, bytes: u64, mask: [u8; 4], last: bool, limit: usize) -> Result<(), Fault> {
        if bytes > limit.saturating_sub(self.data.len()) as u64 {
            return Err(Fault::TooLong);
        }
        self.frame = Some(Rest { bytes, mask, last });
        Ok(())
    }

    /// Takes what there is of the frame.
    pub(super) fn take(&mut self, bytes: &mut &[u8]) -> Result<Part, Fault> {
        let Some(frame) = &mut self.frame else { return Ok(Part::Between) };
        let length = usize::try_from(frame.bytes).unwrap_or(usize::MAX).min(bytes.len());
        let (piece, rest) = bytes.split_at(length);
        *bytes = rest;
        frame.bytes -= length as u64;
        let from = self.data.len();
        self.data.extend_from_slice(piece);
        for (at, byte) in self.data[from..].iter_mut().enumerate() {
            *byte ^= frame.mask[at % 4];
        }
        frame.mask.rotate_left(length % 4);
        let (over, last) = (frame.bytes == 0, frame.last);
        self.check(over && last)?;
        if over {
            self.frame = None;
        }
        Ok(match (over, last) {
            (false, _) => Part::Open,
            (true, false) => Part::Between,
            (true, true) => Part::Whole,
        })
    }

    pub(super) fn into_words(self) -> (Kind, Vec<u8>) {
        (self.kind, self.data)
    }

    fn check(&mut self, whole: bool) -> Result<(), Fault> {
        if self.kind != Kind::Text {
            return Ok(());
        }
        match std::str::from_utf8(&self.data[self.checked..]) {
            Ok(_) => self.checked = self.data.len(),
            // A character of which more may come.
            Err(error) if error.error_len().is_none() && !whole => self.checked += error.valid_up_to(),
            Err(_) => return Err(Fault::Encoding),
        }
        Ok(())
    }
}
