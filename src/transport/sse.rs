//! `sse`: server-sent events, as browsers read them with `EventSource` (WHATWG HTML §9.2).
//!
//! `data` is cut at every line end that the standard knows (CR LF, LF, CR), so that each line gets a field of
//! its own and nothing in a payload can end an event or begin another.

use super::{Closing, Delivery, MediaType, Opening, Transport};
use crate::message::{Entry, Gap, Position};
use crate::transport::ndjson;

/// See the file's first line.
pub(super) struct Sse;

impl Transport for Sse {
    fn name(&self) -> &'static str {
        "sse"
    }

    fn delivery(&self) -> Delivery {
        Delivery::Stream
    }

    fn media_type(&self) -> MediaType {
        MediaType::Own("text/event-stream")
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["padding"]
    }

    fn open(&self, opening: &Opening, out: &mut Vec<u8>) {
        if opening.parameters.padding > 0 {
            out.push(b':');
            spaces(opening.parameters.padding, out);
            out.push(b'\n');
        }
        out.extend_from_slice(opening.body);
        if !opening.body.is_empty() {
            end_event(out);
        }
        retry(opening.retry, out);
        if let Some(begin) = &opening.parameters.begin {
            id(begin.position, out);
            let begin = begin.object(None, opening.retry);
            out.extend_from_slice(format!("event: comet.open\ndata: {begin}\n\n").as_bytes());
        }
        if let Some(ticket) = &opening.parameters.ticket {
            id(ticket.position, out);
            out.extend_from_slice(b"event: comet.ticket\ndata: ");
            ticket.object(None, out);
            out.extend_from_slice(b"\n\n");
        }
    }

    fn piece(&self, entry: &Entry, out: &mut Vec<u8>) {
        id(Some(entry.position), out);
        if let Some(event) = &entry.message.event {
            out.extend_from_slice(b"event: ");
            out.extend_from_slice(event.as_bytes());
            out.push(b'\n');
        }
        data(&ndjson::text(&entry.message.data), out);
        out.push(b'\n');
    }

    fn close(&self, closing: &Closing, out: &mut Vec<u8>) {
        retry(closing.retry, out);
    }

    fn keep_alive(&self) -> &'static [u8] {
        b":\n\n"
    }

    fn gap(&self, gap: &Gap, out: &mut Vec<u8>) {
        out.extend_from_slice(b"event: comet.gap\ndata: ");
        ndjson::gap_object(gap, None, out);
        out.extend_from_slice(b"\n\n");
    }
}

/// For what shows nothing before so much has come.
pub(super) fn spaces(count: usize, out: &mut Vec<u8>) {
    out.resize(out.len() + count, b' ');
    out.push(b'\n');
}

/// Ends whatever the application's body left open: a line, an event.
pub(super) fn end_event(out: &mut Vec<u8>) {
    let ends = |end: &[u8]| out.ends_with(end);
    if ends(b"\n\n") || ends(b"\r\r") || ends(b"\r\n\r\n") {
        return;
    }
    let line_open = !ends(b"\n") && !ends(b"\r");
    out.extend_from_slice(if line_open { b"\n\n" } else { b"\n" });
}

fn retry(retry: Option<std::time::Duration>, out: &mut Vec<u8>) {
    if let Some(retry) = retry {
        out.extend_from_slice(format!("retry: {}\n\n", retry.as_millis()).as_bytes());
    }
}

/// An id at once, so that a browser which is cut off before the first message knows where it was.
fn id(position: Option<Position>, out: &mut Vec<u8>) {
    if let Some(position) = position {
        out.extend_from_slice(b"id: ");
        position.write(out);
        out.push(b'\n');
    }
}

/// One `data:` field for each line.
pub(super) fn data(text: &str, out: &mut Vec<u8>) {
    let mut rest = text.as_bytes();
    loop {
        let end = memchr::memchr2(b'\r', b'\n', rest);
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(&rest[..end.unwrap_or(rest.len())]);
        out.push(b'\n');
        let Some(end) = end else { return };
        let width = if rest[end..].starts_with(b"\r\n") { 2 } else { 1 };
        rest = &rest[end + width..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::ndjson::tests::{entry, gap};

    fn piece(event: Option<&str>, data: &str) -> String {
        let mut out = Vec::new();
        Sse.piece(&entry(event, data), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_message_is_id_event_data_and_an_empty_line() {
        assert_eq!(piece(Some("chat"), "hello"), "id: e-7\nevent: chat\ndata: hello\n\n");
        assert_eq!(piece(None, ""), "id: e-7\ndata: \n\n");
    }

    #[test]
    fn every_line_end_of_the_standard_begins_a_new_field() {
        let lines = "id: e-7\ndata: a\ndata: b\n\n";
        for text in ["a\nb", "a\rb", "a\r\nb"] {
            assert_eq!(piece(None, text), lines, "{text:?}");
        }
        assert_eq!(piece(None, "a\n\nevent: x\n"), "id: e-7\ndata: a\ndata: \ndata: event: x\ndata: \n\n");
    }

    #[test]
    fn the_applications_body_can_not_run_into_the_first_event() {
        let position = entry(None, "").position;
        for (body, expected) in [
            ("", "retry: 3000\n\n"),
            (": hi\n\n", ": hi\n\nretry: 3000\n\n"),
            ("data: x\n", "data: x\n\nretry: 3000\n\n"),
            ("ok", "ok\n\nretry: 3000\n\n"),
            ("a\r\n\r\n", "a\r\n\r\nretry: 3000\n\n"),
        ] {
            let mut out = Vec::new();
            let retry = Some(std::time::Duration::from_secs(3));
            let opening = Opening {
                body: body.as_bytes(),
                media_type: None,
                retry,
                position,
                gap: false,
                parameters: &crate::transport::NONE,
            };
            Sse.open(&opening, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn a_client_that_wants_to_know_is_told_where_its_stream_begins() {
        let position = entry(None, "").position;
        for (at, id, said) in [(Some(position), "id: e-7\n", "\"e-7\""), (None, "", "null")] {
            let mut parameters = crate::transport::Parameters::default();
            parameters.say_beginning(at);
            let (body, media_type, retry, gap) = (&b""[..], None, None, false);
            let opening = Opening { body, media_type, retry, position, gap, parameters: &parameters };
            let mut out = Vec::new();
            Sse.open(&opening, &mut out);
            let data = format!("{{\"position\":{said},\"retry\":null}}");
            assert_eq!(String::from_utf8(out).unwrap(), format!("{id}event: comet.open\ndata: {data}\n\n"));
            let mut out = Vec::new();
            let retry = Some(std::time::Duration::from_secs(3));
            ndjson::Ndjson.open(&Opening { retry, ..opening }, &mut out);
            let line = format!("{{\"event\":\"comet.open\",\"position\":{said},\"retry\":3000}}\n");
            assert_eq!(String::from_utf8(out).unwrap(), line);
        }
    }

    #[test]
    fn a_gap_is_an_event_of_its_own() {
        let mut out = Vec::new();
        Sse.gap(&gap(), &mut out);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "event: comet.gap\ndata: {\"channel\":\"news\",\"missing\":3,\"after\":\"e-1\",\"before\":\"e-5\"}\n\n"
        );
    }
}
