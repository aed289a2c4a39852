//! HTTP/2 by hand: each frame and each byte of a head as a test writes it, and frames as they come back.

use std::net::SocketAddr;

use super::Raw;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

/// Flags.
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;
/// Of a whole request without a body.
pub(crate) const WHOLE: u8 = END_STREAM | END_HEADERS;

/// A connection.
pub(crate) struct Frames(pub(crate) Raw);

/// A frame that has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frames {
    /// One that has sent its preface, with settings that say nothing, and has acknowledged the proxy's.
    pub(crate) fn connect(address: SocketAddr) -> Frames {
        let mut frames = Frames(Raw::connect(address));
        frames.send(PREFACE);
        frames.send(frame(SETTINGS, 0, 0, &[]));
        frames.send(frame(SETTINGS, ACK, 0, &[]));
        frames
    }

    /// Sends as much as is taken: whoever ends a connection may do so early.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.0.try_send(bytes);
    }

    /// The next frame; `None` where the connection has ended.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Option<Frame> {
        let head = self.0.exactly_unless_closed(9)?;
        let number = |bytes: &[u8]| bytes.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
        let payload = self.0.exactly_unless_closed(number(&head[..3]) as usize)?;
        Some(Frame { kind: head[3], flags: head[4], stream: number(&head[5..]), payload })
    }

    /// The next frame of this kind; `None` where none comes before the end.
    #[track_caller]
    pub(crate) fn next_of(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.next()?;
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }

    /// The reason of the GOAWAY with which the connection ends; `None` without one.
    #[track_caller]
    pub(crate) fn end(&mut self) -> Option<u32> {
        let mut reason = None;
        while let Some(frame) = self.next() {
            if frame.kind == GOAWAY {
                reason = Some(frame.reason());
            }
        }
        reason
    }
}

impl Frame {
    /// Why a stream was reset, or the connection ends.
    pub(crate) fn reason(&self) -> u32 {
        let last = self.payload.get(self.payload.len() - 4..).expect("a whole frame");
        let last = if self.kind == GOAWAY { &self.payload[4..8] } else { last };
        u32::from_be_bytes(last.try_into().expect("four bytes"))
    }

    /// The status that a head begins with (RFC 7541 §6, appendices A and B).
    pub(crate) fn status(&self) -> u16 {
        const INDEXED: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
        match self.payload[0] {
            index @ 0x88..=0x8e => INDEXED[usize::from(index - 0x88)],
            _ => {
                let coded = &self.payload[2..2 + usize::from(self.payload[1] & 0x7f)];
                let mut bits = coded.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
                (0..3).fold(0, |status, _| status * 10 + digit(&mut bits))
            }
        }
    }
}

/// The next digit in Huffman's code: five bits up to 2, else six.
fn digit(bits: &mut impl Iterator<Item = u8>) -> u16 {
    let five = bits.by_ref().take(5).fold(0, |code, bit| code << 1 | u16::from(bit));
    if five < 3 { five } else { (five << 1 | u16::from(bits.next().expect("a sixth bit"))) - 0x19 + 3 }
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A head in which every field is spelt out (RFC 7541 §6.2.2).
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            length(text.len(), &mut block);
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// RFC 7541 §5.1, with seven bits.
fn length(mut number: usize, out: &mut Vec<u8>) {
    if number < 127 {
        return out.push(number as u8);
    }
    out.push(127);
    number -= 127;
    while number >= 128 {
        out.push((number % 128 + 128) as u8);
        number /= 128;
    }
    out.push(number as u8);
}

/// What a GET begins with.
pub(crate) const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")];

/// A whole GET on a stream.
pub(crate) fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, WHOLE, stream, &block(&GET))
}
