//! What a client says on a WebSocket, read from whatever pieces it comes in (RFC 6455 §5); pure.
//!
//! A held socket listens for signs of life and for the end. What is more than that has no receiver, so a message
//! is refused at its head and none of its bytes are kept: the memory of a client that talks is bounded by a
//! control frame.

/// Reads one client's frames.
#[derive(Debug, Default)]
pub struct Incoming {
    /// Head and payload of the control frame that is being read: 2 bytes, 4 of the mask, up to 125 of payload.
    frame: Vec<u8>,
}

/// Something whole that a client has said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// It wants to know whether we are there.
    Ping(Vec<u8>),
    /// It is there.
    Pong,
    /// It leaves, with a code where it gave one.
    Close(Option<u16>),
}

/// Why a client is closed, as the code that it is told (§7.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It broke the protocol.
    #[error("the frame is not one of a client")]
    Protocol,
    /// The reason of its close is not UTF-8.
    #[error("the reason is not UTF-8")]
    Encoding,
    /// It sent a message, and nobody takes any here.
    #[error("no messages are taken here")]
    Message,
}

impl Fault {
    /// The code.
    pub fn code(self) -> u16 {
        match self {
            Fault::Protocol => 1002,
            Fault::Encoding => 1007,
            Fault::Message => 1008,
        }
    }
}

const HEAD: usize = 2;
const MASK: usize = 4;
/// Longest payload of a control frame (§5.5).
const CONTROL_MAX: usize = 125;
const FINAL: u8 = 0x80;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;

impl Incoming {
    /// Takes bytes until something whole was said; `None` when they are used up before.
    ///
    /// # Errors
    /// What ends the connection; nothing may be read afterwards.
    pub fn take(&mut self, bytes: &mut &[u8]) -> Result<Option<Said>, Fault> {
        loop {
            let wanted = match self.frame[..] {
                [] | [_] => HEAD,
                [first, second, ..] => HEAD + MASK + control_length(first, second)?,
            };
            if self.frame.len() == wanted {
                let frame = std::mem::take(&mut self.frame);
                return said(&frame).map(Some);
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
}

/// The payload's length of a control frame by its head; everything else is refused.
fn control_length(first: u8, second: u8) -> Result<usize, Fault> {
    let length = usize::from(second & !MASKED);
    if first & RESERVED != 0 || second & MASKED == 0 {
        return Err(Fault::Protocol);
    }
    match first & OPCODE {
        0x1 | 0x2 => Err(Fault::Message),
        0x8..=0xa if first & FINAL != 0 && length <= CONTROL_MAX => Ok(length),
        // The rest of a message that was never begun, unknown codes, and control frames that are none.
        _ => Err(Fault::Protocol),
    }
}

fn said(frame: &[u8]) -> Result<Said, Fault> {
    let (head, payload) = frame.split_at(HEAD + MASK);
    let mask = head[HEAD..].iter().cycle();
    let payload: Vec<u8> = payload.iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect();
    match head[0] & OPCODE {
        0x9 => Ok(Said::Ping(payload)),
        0xa => Ok(Said::Pong),
        _ => code_of(&payload).map(Said::Close),
    }
}

/// The code of a close, if it is one that may be sent (§7.4).
fn code_of(payload: &[u8]) -> Result<Option<u16>, Fault> {
    let [high, low, reason @ ..] = payload else {
        return if payload.is_empty() { Ok(None) } else { Err(Fault::Protocol) };
    };
    if std::str::from_utf8(reason).is_err() {
        return Err(Fault::Encoding);
    }
    match u16::from_be_bytes([*high, *low]) {
        code @ (1000..=1003 | 1007..=1014 | 3000..=4999) => Ok(Some(code)),
        _ => Err(Fault::Protocol),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let masked = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
        [first, MASKED | payload.len() as u8].into_iter().chain(mask).chain(masked).collect()
    }

    /// Everything that is said, the bytes coming `step` at a time.
    fn heard(bytes: &[u8], step: usize) -> Result<Vec<Said>, Fault> {
        let mut incoming = Incoming::default();
        let mut all = Vec::new();
        for mut piece in bytes.chunks(step) {
            while let Some(said) = incoming.take(&mut piece)? {
                all.push(said);
            }
            assert!(piece.is_empty());
        }
        Ok(all)
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
            Said::Pong,
            Said::Ping(long.to_vec()),
            Said::Close(Some(1000)),
        ];
        for step in [1, 2, 3, 7, bytes.len()] {
            assert_eq!(heard(&bytes, step), Ok(expected.clone()), "{step}");
        }
        assert_eq!(heard(&frame(0x88, b""), 1), Ok(vec![Said::Close(None)]));
        // A part of a frame says nothing yet.
        assert_eq!(heard(&bytes[..9], 1), Ok(Vec::new()));
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
