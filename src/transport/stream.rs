//! `stream`: message bytes as published and nothing else, one chunk each.
//!
//! There is no place for ids, keep-alives or gaps in it: who needs them takes `ndjson` or `sse`.

use super::{Closing, Delivery, Opening, Transport};
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

    fn media_type(&self) -> Option<&'static str> {
        None
    }

    fn open(&self, opening: &Opening, out: &mut Vec<u8>) {
        out.extend_from_slice(opening.body);
    }

    fn piece(&self, entry: &Entry, out: &mut Vec<u8>) {
        out.extend_from_slice(entry.message.data.bytes());
    }

    fn close(&self, _closing: &Closing, _out: &mut Vec<u8>) {}

    fn gap(&self, _gap: &Gap, _out: &mut Vec<u8>) {}
}
