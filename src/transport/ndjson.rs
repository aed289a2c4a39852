//! `ndjson`: one JSON object a line; also the objects that the other JSON transports are made of.

use std::borrow::Cow;

use super::{Closing, Delivery, MediaType, Opening, Transport, sse};
use crate::message::{Data, Entry, Gap, Position};

/// See the file's first line.
pub(super) struct Ndjson;

impl Transport for Ndjson {
    fn name(&self) -> &'static str {
        "ndjson"
    }

    fn delivery(&self) -> Delivery {
        Delivery::Stream
    }

    fn media_type(&self) -> MediaType {
        MediaType::Own("application/x-ndjson")
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["padding"]
    }

    fn open(&self, opening: &Opening, out: &mut Vec<u8>) {
        if opening.parameters.padding > 0 {
            sse::spaces(opening.parameters.padding, out);
        }
        out.extend_from_slice(opening.body);
        if !opening.body.is_empty() && !opening.body.ends_with(b"\n") {
            out.push(b'\n');
        }
        if let Some(begin) = &opening.parameters.begin {
            out.extend_from_slice(begin.object(Some("comet.open"), opening.retry).as_bytes());
            out.push(b'\n');
        }
        if let Some(ticket) = &opening.parameters.ticket {
            ticket.object(Some("comet.ticket"), out);
            out.push(b'\n');
        }
    }

    fn piece(&self, entry: &Entry, out: &mut Vec<u8>) {
        message_object(entry, out);
        out.push(b'\n');
    }

    fn close(&self, _closing: &Closing, _out: &mut Vec<u8>) {}

    fn keep_alive(&self) -> &'static [u8] {
        b"\n"
    }

    fn gap(&self, gap: &Gap, out: &mut Vec<u8>) {
        gap_object(gap, Some("comet.gap"), out);
        out.push(b'\n');
    }
}

/// `{"id":…,"channel":…,"event":…,"data":…}`; `event` only where the publisher named one.
pub fn message_object(entry: &Entry, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"id\":\"");
    entry.position.write(out);
    out.extend_from_slice(b"\",\"channel\":");
    string(entry.message.channel.as_str(), out);
    if let Some(event) = &entry.message.event {
        out.extend_from_slice(b",\"event\":");
        string(event, out);
    }
    out.extend_from_slice(b",\"data\":");
    value(&entry.message.data, out);
    out.push(b'}');
}

/// The payload: JSON as the value itself, everything else as a string.
pub(super) fn value(data: &Data, out: &mut Vec<u8>) {
    match data {
        Data::Json(value) => json_on_one_line(value, out),
        data => string(&text(data), out),
    }
}

/// `{"channel":…,"missing":…,"after":…,"before":…}`, with its type where the stream has no other place for it.
pub(crate) fn gap_object(gap: &Gap, event: Option<&str>, out: &mut Vec<u8>) {
    out.push(b'{');
    if let Some(event) = event {
        out.extend_from_slice(b"\"event\":");
        string(event, out);
        out.push(b',');
    }
    out.extend_from_slice(b"\"channel\":");
    string(gap.channel.as_str(), out);
    let position =
        |position: Option<Position>| position.map_or("null".into(), |position| format!("\"{position}\""));
    let missing = gap.missing.map_or("null".into(), |missing| missing.to_string());
    let (after, before) = (position(gap.after), position(Some(gap.before)));
    out.extend_from_slice(
        format!(",\"missing\":{missing},\"after\":{after},\"before\":{before}}}").as_bytes(),
    );
}

/// The payload as text; what isn't UTF-8 becomes U+FFFD.
pub(crate) fn text(data: &Data) -> Cow<'_, str> {
    // Nearly all of it is, and to find that out is a glance.
    match std::str::from_utf8(data.bytes()) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(data.bytes()),
    }
}

/// A JSON string (RFC 8259 §7). Writing into memory can't fail.
pub(super) fn string(text: &str, out: &mut Vec<u8>) {
    let written = serde_json::to_writer(out, text);
    debug_assert!(written.is_ok());
}

/// A JSON value as published, its line ends (which can only stand between tokens, RFC 8259 §2) left out.
fn json_on_one_line(value: &[u8], out: &mut Vec<u8>) {
    out.extend(value.trim_ascii().iter().filter(|byte| !matches!(byte, b'\r' | b'\n')));
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Instant;

    use super::*;
    use crate::message::{ChannelName, Epoch, Message, Sequence};

    /// A message of the channel `news` at position `e-7`; JSON where the text begins like an object.
    pub(crate) fn entry(event: Option<&str>, data: &str) -> Entry {
        let bytes = bytes::Bytes::copy_from_slice(data.as_bytes());
        let data = if data.starts_with('{') { Data::Json(bytes) } else { Data::Text(bytes) };
        let channel = ChannelName::parse("news").unwrap();
        let message = Message { event: event.map(Into::into), ..Message::new(channel, data) };
        Entry::new(Position { epoch: Epoch(14), sequence: Sequence(7) }, 1, Instant::now(), message)
    }

    pub(crate) fn gap() -> Gap {
        let at = |sequence| Position { epoch: Epoch(14), sequence: Sequence(sequence) };
        let channel = ChannelName::parse("news").unwrap();
        Gap { channel, missing: Some(3), after: Some(at(1)), before: at(5) }
    }

    fn line(event: Option<&str>, data: &str) -> String {
        let mut out = Vec::new();
        Ndjson.piece(&entry(event, data), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn data_is_a_string_or_the_json_value_itself() {
        assert_eq!(
            line(None, "a\n\"b\""),
            "{\"id\":\"e-7\",\"channel\":\"news\",\"data\":\"a\\n\\\"b\\\"\"}\n"
        );
        let json = line(Some("chat"), "{\"a\":\n [1,\r\n2]}\n");
        assert_eq!(
            json,
            "{\"id\":\"e-7\",\"channel\":\"news\",\"event\":\"chat\",\"data\":{\"a\": [1,2]}}\n"
        );
    }

    #[test]
    fn a_gap_carries_its_type() {
        let mut out = Vec::new();
        Ndjson.gap(&Gap { missing: None, after: None, ..gap() }, &mut out);
        let text = String::from_utf8(out).unwrap();
        let expected = "{\"event\":\"comet.gap\",\"channel\":\"news\",\"missing\":null,\"after\":null,\"before\":\"e-5\"}\n";
        assert_eq!(text, expected);
    }
}
