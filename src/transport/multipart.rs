//! `multipart`: Netscape's server push (1995), each message a part that replaces the one before; a live picture.
//!
//! A browser shows a part when it has seen the head of the next one, so the next head follows each message at once
//! and names the type of the message that it follows: that of a stream of one kind, as a picture is. A type
//! that could run as a page is handed on as text, since the next message may be somebody else's.
//! Between two parts there is no place for anything that isn't one: keep-alives and gaps can't be said.

use memchr::memmem;

use super::{Closing, Delivery, MediaType, Opening, Transport};
use crate::message::{Data, Entry, Gap};

/// See the file's first line.
pub(super) struct Multipart;

/// Chosen once and for all: it can't occur in a part because a part that has it is changed.
macro_rules! boundary {
    () => {
        "perihelion-7b1d0c94e65f4a2f8d3b"
    };
}
const BOUNDARY: &[u8] = boundary!().as_bytes();

const TEXT: &str = "text/plain; charset=utf-8";
/// Longest media type that is repeated; those in use have less than half of that.
const TYPE_BYTES_MAX: usize = 200;

impl Transport for Multipart {
    fn name(&self) -> &'static str {
        "multipart"
    }

    fn delivery(&self) -> Delivery {
        Delivery::Stream
    }

    fn media_type(&self) -> MediaType {
        MediaType::Own(concat!("multipart/x-mixed-replace; boundary=", boundary!()))
    }

    fn open(&self, opening: &Opening, out: &mut Vec<u8>) {
        let media_type = harmless(opening.media_type.unwrap_or(TEXT));
        part_head(media_type, out);
        if !opening.body.is_empty() {
            part(opening.body, media_type, out);
        }
    }

    fn piece(&self, entry: &Entry, out: &mut Vec<u8>) {
        let message = &entry.message;
        let media_type = match (&message.content_type, &message.data) {
            (Some(said), _) => harmless(said),
            (None, Data::Json(_)) => "application/json",
            (None, Data::Text(_)) => TEXT,
            (None, Data::Binary(_)) => "application/octet-stream",
        };
        part(message.data.bytes(), media_type, out);
    }

    fn close(&self, _closing: &Closing, out: &mut Vec<u8>) {
        out.extend_from_slice(concat!("--", boundary!(), "--\r\n").as_bytes());
    }

    fn gap(&self, _gap: &Gap, _out: &mut Vec<u8>) {}
}

/// The end of a part, and the head of the next.
fn part(data: &[u8], media_type: &str, out: &mut Vec<u8>) {
    let mut rest = data;
    while let Some(place) = memmem::find(rest, BOUNDARY) {
        let end = place + BOUNDARY.len();
        out.extend_from_slice(&rest[..end - 1]);
        out.push(b'_');
        rest = &rest[end..];
    }
    out.extend_from_slice(rest);
    out.extend_from_slice(b"\r\n");
    part_head(media_type, out);
}

fn part_head(media_type: &str, out: &mut Vec<u8>) {
    let head = format!(concat!("--", boundary!(), "\r\nContent-Type: {}\r\n\r\n"), media_type);
    out.extend_from_slice(head.as_bytes());
}

/// A type that neither runs nor ends its line.
fn harmless(media_type: &str) -> &str {
    let lower = media_type.to_ascii_lowercase();
    let runs = ["html", "xml", "script", "multipart/"].iter().any(|word| lower.contains(word));
    let printable = media_type.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if runs || !printable || media_type.is_empty() || media_type.len() > TYPE_BYTES_MAX {
        TEXT
    } else {
        media_type
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::NONE;
    use crate::transport::ndjson::tests::entry;

    const HEAD: &str = "--perihelion-7b1d0c94e65f4a2f8d3b\r\nContent-Type: ";

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_head_of_the_next_part_follows_each_message() {
        let (position, gap) = (entry(None, "").position, false);
        let open = |body: &[u8], media_type| {
            let parameters = &NONE;
            let opening = Opening { body, media_type, retry: None, position, gap, parameters };
            written(|out| Multipart.open(&opening, out))
        };
        assert_eq!(open(b"", Some("image/png")), format!("{HEAD}image/png\r\n\r\n"));
        assert_eq!(open(b"x", None), format!("{HEAD}{TEXT}\r\n\r\nx\r\n{HEAD}{TEXT}\r\n\r\n"));
        let piece = |entry: &Entry| written(|out| Multipart.piece(entry, out));
        assert_eq!(piece(&entry(None, "hello")), format!("hello\r\n{HEAD}{TEXT}\r\n\r\n"));
        assert_eq!(piece(&entry(None, "{}")), format!("{{}}\r\n{HEAD}application/json\r\n\r\n"));
        let close = written(|out| Multipart.close(&Closing { retry: None }, out));
        assert_eq!(close, "--perihelion-7b1d0c94e65f4a2f8d3b--\r\n");
    }

    #[test]
    fn the_boundary_can_not_occur_in_a_message() {
        let forged = format!("a\r\n{HEAD}text/html\r\n\r\n{}{}", boundary!(), boundary!());
        let piece = written(|out| Multipart.piece(&entry(None, &forged), out));
        assert_eq!(piece.matches(boundary!()).count(), 1, "{piece}");
        assert_eq!(piece.len(), forged.len() + 2 + HEAD.len() + TEXT.len() + 4);
    }

    #[test]
    fn a_type_neither_runs_nor_ends_its_line() {
        for bad in
            ["text/html", "Image/SVG+xml", "text/JavaScript", "", "a/b\r\nX: y", "ä/b", &"x".repeat(201)]
        {
            assert_eq!(harmless(bad), TEXT, "{bad}");
        }
        assert_eq!(harmless("image/jpeg"), "image/jpeg");
    }
}
