//! `poll`: one JSON answer at once with whatever is waiting, nothing too; the client decides when it comes again.

use super::{Closing, Delivery, MediaType, Opening, Transport, long_poll};
use crate::message::{Entry, Gap};
use crate::transport::ndjson::message_object;

/// See the file's first line.
pub(super) struct Poll;

impl Transport for Poll {
    fn name(&self) -> &'static str {
        "poll"
    }

    fn delivery(&self) -> Delivery {
        Delivery::AtOnce
    }

    fn media_type(&self) -> MediaType {
        MediaType::Own("application/json")
    }

    fn open(&self, opening: &Opening, out: &mut Vec<u8>) {
        let from = out.len();
        long_poll::open(opening, out);
        if let Some(ticket) = &opening.parameters.ticket {
            out.splice(from..=from, ticket.beginning().into_bytes());
        }
    }

    fn piece(&self, entry: &Entry, out: &mut Vec<u8>) {
        message_object(entry, out);
    }

    fn separator(&self) -> &'static [u8] {
        b","
    }

    fn close(&self, _closing: &Closing, out: &mut Vec<u8>) {
        out.extend_from_slice(b"]}");
    }

    /// Said by `open`, since an answer has one place for it.
    fn gap(&self, _gap: &Gap, _out: &mut Vec<u8>) {}
}
