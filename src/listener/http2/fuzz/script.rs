//! Frames as an input writes them, and as they stand in bytes.
//!
//! A frame is four bytes and what it carries: kind, flags, stream and length. Of the kind 0x80 says that a head is spelt
//! out in text, fields parted by 0x1e and each value from its name by 0x1f; of the stream 0x80 means one far away.
//! So what is spoilt at random mostly still is a sequence of whole frames.

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 1;
pub(super) const ACK: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

const SPELT_OUT: u8 = 0x80;
const FAR_AWAY: u8 = 0x80;
const FIELD_END: u8 = 0x1e;
const NAME_END: u8 = 0x1f;

/// The bytes of all frames of a script.
pub(super) fn bytes(mut script: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let [kind, flags, stream, length, rest @ ..] = script {
        let (carried, behind) = rest.split_at(usize::from(*length).min(rest.len()));
        script = behind;
        let payload = if kind & SPELT_OUT == 0 { carried.to_vec() } else { spelt_out(carried) };
        let stream = u32::from(stream & !FAR_AWAY) | if stream & FAR_AWAY == 0 { 0 } else { 0x7fff_ff00 };
        bytes.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
        bytes.extend_from_slice(&[kind & !SPELT_OUT, *flags]);
        bytes.extend_from_slice(&stream.to_be_bytes());
        bytes.extend_from_slice(&payload);
    }
    bytes
}

/// Literal fields that no table keeps (RFC 7541 §6.2.2).
fn spelt_out(text: &[u8]) -> Vec<u8> {
    let mut block = Vec::new();
    for field in text.split(|&byte| byte == FIELD_END) {
        let mut parts = field.splitn(2, |&byte| byte == NAME_END);
        block.push(0);
        for part in [parts.next().unwrap_or_default(), parts.next().unwrap_or_default()] {
            // A script gives no frame more than 255 bytes.
            match part.len() {
                short @ ..127 => block.push(short as u8),
                long if long - 127 < 128 => block.extend([127, (long - 127) as u8]),
                long => block.extend([127, (long - 127) as u8 | 0x80, 1]),
            }
            block.extend_from_slice(part);
        }
    }
    block
}

/// What stands in front of a frame, and what of it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: u8,
    flags: u8,
    pub(super) stream: u32,
    pub(super) length: usize,
    /// As much as has come.
    payload: Vec<u8>,
}

impl Frame {
    /// Every frame that begins in these bytes.
    pub(super) fn all(mut bytes: &[u8]) -> Vec<Frame> {
        let mut all = Vec::new();
        while let [a, b, c, kind, flags, d, e, f, g, rest @ ..] = bytes {
            let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            let (payload, behind) = rest.split_at(length.min(rest.len()));
            let stream = u32::from_be_bytes([*d, *e, *f, *g]) & !(1 << 31);
            all.push(Frame { kind: *kind, flags: *flags, stream, length, payload: payload.to_vec() });
            bytes = behind;
        }
        all
    }

    pub(super) fn is(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Whether it says something of a stream that the state of the stream has to allow.
    pub(super) fn is_of_stream(&self) -> bool {
        matches!(self.kind, DATA | HEADERS | RST_STREAM)
    }

    fn number(&self, at: usize) -> Option<u32> {
        self.payload.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes)
    }

    /// Why a stream or the connection ends.
    pub(super) fn reason(&self) -> Option<u32> {
        match self.kind {
            RST_STREAM => self.number(0),
            GOAWAY => self.number(4),
            _ => None,
        }
    }

    /// By how much it opens a window.
    pub(super) fn granted(&self) -> Option<u64> {
        if self.kind == WINDOW_UPDATE { self.number(0).map(u64::from) } else { None }
    }

    /// The largest frame that settings allow (RFC 9113 §6.5.2).
    pub(super) fn largest(&self) -> Option<usize> {
        let of_frames = |setting: &[u8]| match *setting {
            [0, 5, a, b, c, d] => Some(u32::from_be_bytes([a, b, c, d]) as usize),
            _ => None,
        };
        if self.kind == SETTINGS { self.payload.chunks(6).filter_map(of_frames).max() } else { None }
    }
}
