//! `htmlfile`: the forever frame inside Internet Explorer's ActiveX document of that name, which neither clicks nor
//! shows that it loads.
//!
//! The bytes are those of `iframe`, but the parent is a document that the page has written: it is reached by a
//! function alone (`comet` where nobody names another), and this browser caches what isn't told thrice not to be.

use super::{Closing, Delivery, Field, MediaType, Opening, Transport, iframe, ndjson};
use crate::message::{Entry, Gap};

/// See the file's first line.
pub(super) struct Htmlfile;

/// What is called where nobody names a function.
const CALLBACK: &str = "comet";

impl Transport for Htmlfile {
    fn name(&self) -> &'static str {
        "htmlfile"
    }

    fn delivery(&self) -> Delivery {
        Delivery::Stream
    }

    fn media_type(&self) -> MediaType {
        MediaType::Own("text/html; charset=utf-8")
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["callback", "domain", "padding"]
    }

    fn fields(&self, opening: &Opening, fields: &mut Vec<Field>) {
        iframe::page_fields(opening, fields);
        fields.push(("pragma", "no-cache".into()));
        fields.push(("expires", "-1".into()));
    }

    fn open(&self, opening: &Opening, out: &mut Vec<u8>) {
        let callback = opening.parameters.callback.as_deref().unwrap_or(CALLBACK);
        iframe::page(opening, &format!("parent.{callback}(m)"), out);
    }

    fn piece(&self, entry: &Entry, out: &mut Vec<u8>) {
        iframe::call(|json| ndjson::message_object(entry, json), out);
    }

    fn close(&self, closing: &Closing, out: &mut Vec<u8>) {
        iframe::end(closing, out);
    }

    fn bytes_max(&self) -> Option<u64> {
        Some(iframe::PAGE_BYTES_MAX)
    }

    fn keep_alive(&self) -> &'static [u8] {
        iframe::KEEP_ALIVE
    }

    fn gap(&self, gap: &Gap, out: &mut Vec<u8>) {
        iframe::call(|json| ndjson::gap_object(gap, Some("comet.gap"), json), out);
    }
}
