//! `stream`: message bytes as published and nothing else, one chunk each.
//!
//! There is no place for ids, keep-alives or gaps in it: who needs them takes `ndjson` or `sse`.

use super::{Closing, Delivery, Field, MediaType, Opening, Transport, sse};
use crate::message::{Entry, Gap};

/// See the file's first line.
pub(super) struct Stream;

impl Transport for Stream {
    fn name(&self) -> &'static str {
        "stream"
    }

    fn delivery(&self) -> Delivery {
        Delivery::Stream
    }

    fn media_type(&self) -> MediaType {
        MediaType::Default("text/plain; charset=utf-8")
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["padding"]
    }

    /// Without it browsers hold plain text back until they have seen enough to guess its type.
    fn fields(&self, _opening: &Opening, fields: &mut Vec<Field>) {
        fields.push(("x-content-type-options", "nosniff".into()));
    }

    fn open(&self, opening: &Opening, out: &mut Vec<u8>) {
        if opening.parameters.padding > 0 {
            sse::spaces(opening.parameters.padding, out);
        }
        out.extend_from_slice(opening.body);
    }

    fn piece(&self, entry: &Entry, out: &mut Vec<u8>) {
        out.extend_from_slice(entry.message.data.bytes());
    }

    fn close(&self, _closing: &Closing, _out: &mut Vec<u8>) {}

    fn gap(&self, _gap: &Gap, _out: &mut Vec<u8>) {}
}
