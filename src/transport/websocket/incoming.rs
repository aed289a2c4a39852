//! What a client says on a WebSocket, read from whatever pieces it comes in (RFC 6455 §5); pure.
//!
//! Where nobody takes messages one is refused at its head, and none of its bytes are kept: the memory of a client that
//! talks is bounded by a control frame then, and by the limit of a message otherwise.

use super::message::{Kind, Part, Unfinished};

/// Reads one client's frames.
pub type Incoming = Frames<4>;
/// Reads those of a server, which have no mask (§5.1).
pub type FromServer = Frames<0>;

/// Reads the frames of one side, with masks of so many bytes.
#[derive(Debug, Default)]
pub struct Frames<const MASK: usize> {
    /// The head that is being read, with its payload for a control frame: 2 bytes, up to 8 of the length, 4 of the
    /// mask, up to 125 of payload.
    frame: Vec<u8>,
    /// The message that has begun, in a box, since most clients say nothing.
    message: Option<Box<Unfinished>>,
}

/// Something whole that a client has said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// A message.
    Message(Kind, Vec<u8>),
    /// It wants to know whether we are there.
    Ping(Vec<u8>),
    /// It is there.
    Pong(Vec<u8>),
    /// It leaves, with a code and a reason where it gave them.
    Close(Option<(u16, Box<str>)>),
}

/// Why a client is closed, as the code that it is told (§7.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It broke the protocol.
    #[error("the frame is not one of a client")]
    Protocol,
    /// A text, or the reason of a close, is not UTF-8.
    #[error("the text is not UTF-8")]
    Encoding,
    /// It sent a message, and nobody takes any here.
    #[error("no messages are taken here")]
    Message,
    /// It sent a message that is longer than any may be.
    #[error("the message is too long")]
    TooLong,
}

impl Fault {
    /// The code.
    pub fn code(self) -> u16 {
        match self {
            Fault::Protocol => 1002,
            Fault::Encoding => 1007,
            Fault::Message => 1008,
            Fault::TooLong => 1009,
        }
    }
}

const HEAD: usize = 2;
/// Longest payload of a control frame (§5.5).
const CONTROL_MAX: usize = 125;
const FINAL: u8 = 0x80;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;

impl<const MASK: usize> Frames<MASK> {
    /// Takes bytes until something whole was said; `None` when they are used up before. Messages may have `limit`
    /// bytes; `None` takes no messages at all.
    ///
    /// # Errors
    /// What ends the connection; nothing may be read afterwards.
    pub fn take(&mut self, limit: Option<usize>, bytes: &mut &[u8]) -> Result<Option<Said>, Fault> {
        loop {
            match self.message.as_mut().map_or(Ok(Part::Between), |message| message.take(bytes))? {
                Part::Open => return Ok(None),
                Part::Whole => {
                    let whole = self.message.take().map(|message| message.into_words());
                    return Ok(whole.map(|(kind, data)| Said::Message(kind, data)));
                }
                Part::Between => {}
            }
            let Some(head) = self.take_head(limit, bytes)? else { return Ok(None) };
            let frame = std::mem::take(&mut self.frame);
            match head {
                Head::Control => return said::<MASK>(&frame).map(Some),
                Head::Data => self.begin(&frame, limit.unwrap_or_default())?,
            }
        }
    }

    /// Reads a head to its end, and a control frame with it.
    fn take_head(&mut self, limit: Option<usize>, bytes: &mut &[u8]) -> Result<Option<Head>, Fault> {
        loop {
            let (wanted, head) = match self.frame[..] {
                [] | [_] => (HEAD, None),
                [first, second, ..] => {
                    let (length, head) = self.head(first, second, limit)?;
                    (length, Some(head))
                }
            };
            if self.frame.len() == wanted {
                return Ok(head);
            }
            let length = bytes.len().min(wanted - self.frame.len());
            if length == 0 {
                return Ok(None);
            }
            let (piece, rest) = bytes.split_at(length);
            self.frame.extend_from_slice(piece);
            *bytes = rest;
        }
    }

    /// How many bytes are to be read before the rest can be, by the first two.
    fn head(&self, first: u8, second: u8, limit: Option<usize>) -> Result<(usize, Head), Fault> {
        let length = usize::from(second & !MASKED);
        if first & RESERVED != 0 || (second & MASKED == 0) != (MASK == 0) {
            return Err(Fault::Protocol);
        }
        let data = |length| match length {
            126 => HEAD + 2 + MASK,
            127 => HEAD + 8 + MASK,
            _ => HEAD + MASK,
        };
        match first & OPCODE {
            0x1 | 0x2 if limit.is_none() => Err(Fault::Message),
            // The rest of a message that was never begun, and the beginning of one within another.
            0x0 if self.message.is_none() => Err(Fault::Protocol),
            0x1 | 0x2 if self.message.is_some() => Err(Fault::Protocol),
            0x0..=0x2 => Ok((data(length), Head::Data)),
            0x8..=0xa if first & FINAL != 0 && length <= CONTROL_MAX => {
                Ok((HEAD + MASK + length, Head::Control))
            }
            // Unknown codes, and control frames that are none.
            _ => Err(Fault::Protocol),
        }
    }

    /// A frame of a message begins with this head.
    fn begin(&mut self, frame: &[u8], limit: usize) -> Result<(), Fault> {
        let (head, mask) = frame.split_last_chunk::<MASK>().ok_or(Fault::Protocol)?;
        let (&[first, second], extended) = head.split_first_chunk::<HEAD>().ok_or(Fault::Protocol)?;
        let extended_length = extended.iter().fold(0, |length, byte| length << 8 | u64::from(*byte));
        let (length, least) = match extended.len() {
            0 => (u64::from(second & !MASKED), 0),
            2 => (extended_length, 126),
            _ => (extended_length, 0x1_0000),
        };
        // The shortest form, and no more than 63 bits (§5.2).
        if length < least || length >> 63 != 0 {
            return Err(Fault::Protocol);
        }
        let kind = if first & OPCODE == 0x2 { Kind::Binary } else { Kind::Text };
        let message = self.message.get_or_insert_with(|| Box::new(Unfinished::new(kind)));
        message.begin(length, mask_of(mask), first & FINAL != 0, limit)
    }
}

/// What stands behind a head.
#[derive(Clone, Copy)]
enum Head {
    Control,
    Data,
}

/// No mask changes nothing.
fn mask_of(mask: &[u8]) -> [u8; 4] {
    mask.try_into().unwrap_or_default()
}

fn said<const MASK: usize>(frame: &[u8]) -> Result<Said, Fault> {
    let (head, payload) = frame.split_at(HEAD + MASK);
    let mask = mask_of(&head[HEAD..]);
    let payload: Vec<u8> = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    match head[0] & OPCODE {
        0x9 => Ok(Said::Ping(payload)),
        0xa => Ok(Said::Pong(payload)),
        _ => leave_of(&payload).map(Said::Close),
    }
}

/// Code and reason of a close, if it is a code that may be sent (§7.4).
fn leave_of(payload: &[u8]) -> Result<Option<(u16, Box<str>)>, Fault> {
    let [high, low, reason @ ..] = payload else {
        return if payload.is_empty() { Ok(None) } else { Err(Fault::Protocol) };
    };
    let reason = std::str::from_utf8(reason).map_err(|_| Fault::Encoding)?;
    match u16::from_be_bytes([*high, *low]) {
        code @ (1000..=1003 | 1007..=1014 | 3000..=4999) => Ok(Some((code, reason.into()))),
        _ => Err(Fault::Protocol),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let masked = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
        let length = match payload.len() {
            length @ 0..126 => vec![MASKED | length as u8],
            length @ 126..0x1_0000 => [&[MASKED | 126][..], &(length as u16).to_be_bytes()].concat(),
            length => [&[MASKED | 127][..], &(length as u64).to_be_bytes()].concat(),
        };
        [first].into_iter().chain(length).chain(mask).chain(masked).collect()
    }

    /// Everything that is said, the bytes coming `step` at a time.
    fn heard_by(limit: Option<usize>, bytes: &[u8], step: usize) -> Result<Vec<Said>, Fault> {
        let mut incoming = Incoming::default();
        let mut all = Vec::new();
        for mut piece in bytes.chunks(step) {
            while let Some(said) = incoming.take(limit, &mut piece)? {
                all.push(said);
            }
            assert!(piece.is_empty());
        }
        Ok(all)
    }

    fn heard(bytes: &[u8], step: usize) -> Result<Vec<Said>, Fault> {
        heard_by(None, bytes, step)
    }

    fn text(text: &str) -> Said {
        Said::Message(Kind::Text, text.into())
    }

    #[test]
    fn what_a_client_says_is_heard_however_it_comes() {
        let long = [7; CONTROL_MAX];
        let bytes = [
            frame(0x89, b"are you there"),
            frame(0x8a, b""),
            frame(0x89, &long),
            frame(0x88, b"\x03\xe8bye"),
        ]
        .concat();
        let expected = vec![
            Said::Ping(b"are you there".to_vec()),
            Said::Pong(Vec::new()),
            Said::Ping(long.to_vec()),
            Said::Close(Some((1000, "bye".into()))),
        ];
        for step in [1, 2, 3, 7, bytes.len()] {
            assert_eq!(heard(&bytes, step), Ok(expected.clone()), "{step}");
        }
        assert_eq!(heard(&frame(0x88, b""), 1), Ok(vec![Said::Close(None)]));
        // A part of a frame says nothing yet.
        assert_eq!(heard(&bytes[..9], 1), Ok(Vec::new()));
    }

    #[test]
    fn a_message_is_heard_whole_however_it_is_cut_and_whatever_stands_between() {
        let (long, longer) = ("x".repeat(300), "y".repeat(70_000));
        let bytes = [
            frame(0x81, "hé".as_bytes()),
            frame(0x81, b""),
            frame(0x01, &"\u{20ac}".as_bytes()[..1]),
            frame(0x89, b"between"),
            frame(0x00, &"\u{20ac}".as_bytes()[1..]),
            frame(0x00, b""),
            frame(0x80, b"!"),
            frame(0x82, b"\xff\0"),
            frame(0x02, b""),
            frame(0x80, b""),
            frame(0x81, long.as_bytes()),
            frame(0x81, longer.as_bytes()),
        ]
        .concat();
        let expected = vec![
            text("hé"),
            text(""),
            Said::Ping(b"between".to_vec()),
            text("\u{20ac}!"),
            Said::Message(Kind::Binary, b"\xff\0".to_vec()),
            Said::Message(Kind::Binary, Vec::new()),
            text(&long),
            text(&longer),
        ];
        for step in [1, 2, 3, 7, 4096, bytes.len()] {
            assert_eq!(heard_by(Some(70_000), &bytes, step), Ok(expected.clone()), "{step}");
        }
    }

    #[test]
    fn what_can_not_be_a_message_is_answered_with_its_code() {
        for (bytes, code) in [
            (frame(0x81, b"123456789"), 1009),
            ([frame(0x01, b"12345678"), frame(0x80, b"9")].concat(), 1009),
            // At its head: none of its bytes have come.
            (vec![0x81, MASKED | 126, 0xff, 0xff, 0, 0, 0, 0], 1009),
            (vec![0x82, MASKED | 127, 0x7f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 1009),
            (vec![0x82, MASKED | 127, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 1002),
            (vec![0x82, MASKED | 126, 0, 5, 0, 0, 0, 0], 1002),
            (vec![0x82, MASKED | 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0], 1002),
            ([frame(0x01, b"a"), frame(0x81, b"b")].concat(), 1002),
            ([frame(0x01, b"a"), frame(0x02, b"b")].concat(), 1002),
            (frame(0x80, b"goes on"), 1002),
            ([frame(0x81, b"a"), frame(0x80, b"b")].concat(), 1002),
            (frame(0xc1, b"compressed"), 1002),
            (vec![0x81, 1, b'a'], 1002),
            (frame(0x81, b"a\xff"), 1007),
            (frame(0x81, b"\xe2\x82"), 1007),
            // A surrogate, an overlong form, and one beyond the end: known before the message is whole.
            (frame(0x01, b"\xed\xa0\x80"), 1007),
            (frame(0x01, b"\xc0\xaf"), 1007),
            (frame(0x01, b"\xf4\x90"), 1007),
            ([frame(0x01, b"\xe2"), frame(0x80, b"a")].concat(), 1007),
        ] {
            for step in [1, bytes.len()] {
                assert_eq!(heard_by(Some(8), &bytes, step).map_err(Fault::code), Err(code), "{bytes:?}");
            }
        }
    }

    #[test]
    fn what_can_not_be_is_answered_with_its_code() {
        for (bytes, code) in [
            (frame(0x81, b"hello"), 1008),
            (frame(0x01, b"hel"), 1008),
            (frame(0x82, b"\0"), 1008),
            // Its length follows, and is of no interest.
            (vec![0x81, MASKED | 127], 1008),
            (frame(0x80, b"goes on"), 1002),
            (vec![0x89, 5], 1002),
            (frame(0x09, b"in pieces"), 1002),
            (vec![0x89, MASKED | 126], 1002),
            (frame(0xc9, b"compressed"), 1002),
            (frame(0x83, b""), 1002),
            (frame(0x8b, b""), 1002),
            (frame(0x88, b"\x03"), 1002),
            (frame(0x88, b"\x03\xed"), 1002),
            (frame(0x88, b"\x00\x00"), 1002),
            (frame(0x88, b"\x03\xe8\xff"), 1007),
        ] {
            for step in [1, bytes.len()] {
                assert_eq!(heard(&bytes, step).map_err(Fault::code), Err(code), "{bytes:?}");
            }
        }
    }
}
