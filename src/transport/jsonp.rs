//! `jsonp`: the answer of a poll as a script that calls a function, for `<script src>` across origins.
//!
//! The comment before the name keeps old plugins from taking the script for something of theirs, and the two
//! fields keep browsers from guessing another type or opening it as a page.

use super::{Around, Closing, Delivery, Field, MediaType, Opening, Parameters, Transport, polls, script};
use crate::message::{Entry, Gap};

/// See the file's first line.
pub(super) struct Jsonp;

/// What is called where the request names nothing: the name that Bayeux has for it.
const CALLBACK: &str = "jsonpcallback";

impl Transport for Jsonp {
    fn name(&self) -> &'static str {
        "jsonp"
    }

    fn delivery(&self) -> Delivery {
        Delivery::OneAnswer
    }

    fn media_type(&self) -> MediaType {
        MediaType::Own("text/javascript; charset=utf-8")
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["callback"]
    }

    fn fields(&self, _opening: &Opening, fields: &mut Vec<Field>) {
        fields.push(("x-content-type-options", "nosniff".into()));
        fields.push(("content-disposition", "attachment; filename=f.txt".into()));
    }

    fn open(&self, opening: &Opening, out: &mut Vec<u8>) {
        polls::open(opening, out);
    }

    fn piece(&self, entry: &Entry, out: &mut Vec<u8>) {
        script::message(entry, out);
    }

    fn separator(&self) -> &'static [u8] {
        b","
    }

    fn close(&self, _closing: &Closing, out: &mut Vec<u8>) {
        out.extend_from_slice(b"]}");
    }

    fn around(&self, parameters: &Parameters) -> Option<Around> {
        let callback = parameters.callback.as_deref().unwrap_or(CALLBACK);
        let ticket = parameters.ticket.as_ref().map(|ticket| ticket.beginning());
        let replaced = usize::from(ticket.is_some());
        let before = format!("/**/{callback}({}", ticket.unwrap_or_default()).into();
        Some(Around { before, replaced, after: ");" })
    }

    /// Said by `open`, since an answer has one place for it.
    fn gap(&self, _gap: &Gap, _out: &mut Vec<u8>) {}
}
