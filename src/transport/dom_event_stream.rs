//! `dom-event-stream`: server-sent events as Opera 9 had them before the standard (WHATWG until February 2008).
//!
//! Every event has a name, field names are `Event` and `data`, and there are neither ids nor reconnection times:
//! a client that comes back begins where the application says. What begins with a semicolon is a comment.

use super::{Closing, Delivery, MediaType, Opening, Transport, ndjson, sse};
use crate::message::{Entry, Gap};

/// See the file's first line.
pub(super) struct DomEventStream;

impl Transport for DomEventStream {
    fn name(&self) -> &'static str {
        "dom-event-stream"
    }

    fn delivery(&self) -> Delivery {
        Delivery::Stream
    }

    fn media_type(&self) -> MediaType {
        MediaType::Own("application/x-dom-event-stream")
    }

    fn open(&self, opening: &Opening, out: &mut Vec<u8>) {
        out.extend_from_slice(opening.body);
        if !opening.body.is_empty() {
            sse::end_event(out);
        }
    }

    fn piece(&self, entry: &Entry, out: &mut Vec<u8>) {
        out.extend_from_slice(b"Event: ");
        out.extend_from_slice(entry.message.event.as_deref().unwrap_or("message").as_bytes());
        out.push(b'\n');
        sse::data(&ndjson::text(&entry.message.data), out);
        out.push(b'\n');
    }

    fn close(&self, _closing: &Closing, _out: &mut Vec<u8>) {}

    fn keep_alive(&self) -> &'static [u8] {
        b";\n"
    }

    fn gap(&self, gap: &Gap, out: &mut Vec<u8>) {
        out.extend_from_slice(b"Event: comet.gap\ndata: ");
        ndjson::gap_object(gap, None, out);
        out.extend_from_slice(b"\n\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::ndjson::tests::entry;

    #[test]
    fn an_event_has_a_name_and_its_lines() {
        let piece = |event, data| {
            let mut out = Vec::new();
            DomEventStream.piece(&entry(event, data), &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(piece(Some("chat"), "x"), "Event: chat\ndata: x\n\n");
        assert_eq!(piece(None, "a\r\nEvent: b"), "Event: message\ndata: a\ndata: Event: b\n\n");
    }
}
