//! `websocket`: frames of RFC 6455, a message each, as the objects of `ndjson`; bytes that are no text go as they are.
//!
//! Only what the server writes is made here; what a client may say back is read in `incoming.rs`. Extensions are
//! declined, so a frame is the same for everybody, and a message is always one frame.

mod incoming;
mod message;

use super::{Closing, Delivery, Field, MediaType, Opening, Transport, ndjson};
use crate::message::{Data, Entry, Gap};

pub use incoming::{Fault, FromServer, Incoming, Said};
pub use message::Kind;

/// See the file's first line.
pub(super) struct Websocket;

/// Codes of the first byte of a frame that is whole (§5.2).
const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
/// Bytes of the longest head of a frame that has no mask.
pub const HEAD_MAX: usize = 10;
/// Bytes of the longest reason of a close.
const REASON_MAX: usize = 123;
/// The hold is over (§7.4.1).
pub const NORMAL: u16 = 1000;
/// The proxy leaves, or hands the client to the next one.
const GOING_AWAY: u16 = 1001;

impl Transport for Websocket {
    fn name(&self) -> &'static str {
        "websocket"
    }

    fn delivery(&self) -> Delivery {
        Delivery::Socket
    }

    fn media_type(&self) -> MediaType {
        MediaType::Nothing
    }

    fn fields(&self, opening: &Opening, fields: &mut Vec<Field>) {
        fields.push(("upgrade", "websocket".into()));
        if let Some(accept) = &opening.parameters.accept {
            fields.push(("sec-websocket-accept", accept.to_string().into()));
        }
    }

    fn open(&self, opening: &Opening, out: &mut Vec<u8>) {
        if !opening.body.is_empty() {
            let text = std::str::from_utf8(opening.body).is_ok();
            frame(if text { TEXT } else { BINARY }, opening.body, out);
        }
        if let Some(retry) = opening.retry {
            let order = format!("{{\"event\":\"comet.retry\",\"retry\":{}}}", retry.as_millis());
            frame(TEXT, order.as_bytes(), out);
        }
        if let Some(ticket) = &opening.parameters.ticket {
            let mut object = Vec::new();
            ticket.object(Some("comet.ticket"), &mut object);
            frame(TEXT, &object, out);
        }
    }

    fn piece(&self, entry: &Entry, out: &mut Vec<u8>) {
        if let Data::Binary(bytes) = &entry.message.data {
            return frame(BINARY, bytes, out);
        }
        let mut object = Vec::new();
        ndjson::message_object(entry, &mut object);
        frame(TEXT, &object, out);
    }

    fn close(&self, closing: &Closing, out: &mut Vec<u8>) {
        match closing.retry {
            Some(retry) => close(GOING_AWAY, &format!("retry={}", retry.as_millis()), out),
            None => close(NORMAL, "", out),
        }
    }

    /// A ping (§5.5.2), which clients answer by themselves.
    fn keep_alive(&self) -> &'static [u8] {
        &[0x89, 0]
    }

    fn gap(&self, gap: &Gap, out: &mut Vec<u8>) {
        let mut object = Vec::new();
        ndjson::gap_object(gap, Some("comet.gap"), &mut object);
        frame(TEXT, &object, out);
    }
}

/// A frame that ends the connection, with a reason that is cut to what fits (§5.5.1).
pub fn close(code: u16, reason: &str, out: &mut Vec<u8>) {
    let fits = (0..=reason.len().min(REASON_MAX)).rfind(|end| reason.is_char_boundary(*end));
    let reason = &reason[..fits.unwrap_or_default()];
    frame(CLOSE, &[&code.to_be_bytes(), reason.as_bytes()].concat(), out);
}

/// A message, a ping or a pong in one frame.
pub fn message(kind: Kind, payload: &[u8], out: &mut Vec<u8>) {
    let code = match kind {
        Kind::Text => TEXT,
        Kind::Binary => BINARY,
        Kind::Ping => PING,
        Kind::Pong => PONG,
    };
    frame(code, payload, out);
}

/// The same of a client, whose frames have a mask (§5.3).
pub fn masked(kind: Kind, payload: &[u8], mask: [u8; 4], out: &mut Vec<u8>) {
    let from = out.len();
    message(kind, payload, out);
    put_mask(payload.len(), from, mask, out);
}

/// A client's close.
pub fn masked_close(payload: &[u8], mask: [u8; 4], out: &mut Vec<u8>) {
    let from = out.len();
    frame(CLOSE, payload, out);
    put_mask(payload.len(), from, mask, out);
}

/// Puts a mask before the payload of a frame that was just written from there on.
fn put_mask(payload: usize, from: usize, mask: [u8; 4], out: &mut Vec<u8>) {
    out[from + 1] |= 0x80;
    let at = out.len() - payload;
    out[at..].iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    out.splice(at..at, mask);
}

/// The answer to a ping, with what came in it (§5.5.3).
pub fn pong(payload: &[u8], out: &mut Vec<u8>) {
    frame(PONG, payload, out);
}

/// One frame without a mask (§5.2): servers don't have one.
fn frame(code: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(code);
    match payload.len() {
        length @ 0..=125 => out.push(length as u8),
        length @ 126..=0xffff => {
            out.push(126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::transport::ndjson::tests::entry;

    #[test]
    fn a_frame_says_its_length_in_the_shortest_way() {
        for (length, head) in [
            (0, &[TEXT, 0][..]),
            (125, &[TEXT, 125]),
            (126, &[TEXT, 126, 0, 126]),
            (0xffff, &[TEXT, 126, 0xff, 0xff]),
            (0x1_0000, &[TEXT, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut out = Vec::new();
            frame(TEXT, &vec![b'x'; length], &mut out);
            assert!(out.starts_with(head) && out.len() == head.len() + length, "{length}");
        }
    }

    #[test]
    fn a_message_is_an_object_in_a_frame() {
        let mut out = Vec::new();
        Websocket.piece(&entry(None, "hi"), &mut out);
        assert_eq!(out, b"\x81\x29{\"id\":\"e-7\",\"channel\":\"news\",\"data\":\"hi\"}");
    }

    #[test]
    fn the_end_has_a_code_and_a_time_to_come_back_where_there_is_one() {
        let end = |retry| {
            let mut out = Vec::new();
            Websocket.close(&Closing { retry }, &mut out);
            out
        };
        assert_eq!(end(None), [CLOSE, 2, 0x03, 0xe8]);
        assert_eq!(end(Some(Duration::from_millis(1234))), b"\x88\x0c\x03\xe9retry=1234");
    }
}
