//! `iframe`: the forever frame, a page that never ends and calls a function for each message.
//!
//! A browser runs a script as soon as its element is closed, so each message is an element of its own. It reaches
//! the page around the frame by that page's function, or by `postMessage` to one origin: that of the frame itself
//! unless the application names another, so that a foreign page which opens the frame hears nothing.
//! Frames of a sub-domain that share their page's `document.domain` need the field `Origin-Agent-Cluster`.

use std::time::Duration;

use super::{Closing, Delivery, Field, MediaType, Opening, Transport, ndjson, script};
use crate::message::{Entry, Gap};

/// See the file's first line.
pub(super) struct Iframe;

/// Engines that hold a page back until so much of it is there: Internet Explorer 256 bytes, Safari 1 KiB.
const BEGINNING_BYTES_MIN: usize = 1024;

/// A page keeps every element; so much of it is no burden yet.
pub(super) const PAGE_BYTES_MAX: u64 = 1 << 20;

/// The page speaks to pages of its own origin.
const OWN_ORIGIN: &str = "location.protocol+\"//\"+location.host";

impl Transport for Iframe {
    fn name(&self) -> &'static str {
        "iframe"
    }

    fn delivery(&self) -> Delivery {
        Delivery::Stream
    }

    fn media_type(&self) -> MediaType {
        MediaType::Own("text/html; charset=utf-8")
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["callback", "domain", "origin", "padding"]
    }

    fn fields(&self, opening: &Opening, fields: &mut Vec<Field>) {
        page_fields(opening, fields);
    }

    fn open(&self, opening: &Opening, out: &mut Vec<u8>) {
        let parameters = opening.parameters;
        let tell = match (&parameters.callback, &parameters.origin) {
            (Some(callback), _) => format!("parent.{callback}(m)"),
            (None, Some(origin)) => format!("parent.postMessage(m,\"{origin}\")"),
            (None, None) => format!("parent.postMessage(m,{OWN_ORIGIN})"),
        };
        page(opening, &tell, out);
    }

    fn piece(&self, entry: &Entry, out: &mut Vec<u8>) {
        call(|json| ndjson::message_object(entry, json), out);
    }

    fn close(&self, closing: &Closing, out: &mut Vec<u8>) {
        end(closing, out);
    }

    fn bytes_max(&self) -> Option<u64> {
        Some(PAGE_BYTES_MAX)
    }

    fn keep_alive(&self) -> &'static [u8] {
        KEEP_ALIVE
    }

    fn gap(&self, gap: &Gap, out: &mut Vec<u8>) {
        call(|json| ndjson::gap_object(gap, Some("comet.gap"), json), out);
    }
}

pub(super) const KEEP_ALIVE: &[u8] = b"<!---->\r\n";

/// Old browsers guess the type of what they are sent; new ones part a sub-domain's pages unless they are told.
pub(super) fn page_fields(opening: &Opening, fields: &mut Vec<Field>) {
    fields.push(("x-content-type-options", "nosniff".into()));
    if opening.parameters.domain.is_some() {
        fields.push(("origin-agent-cluster", "?0".into()));
    }
}

/// The page's beginning: `p(m)` tells a message, the application's body is the page's, and padding.
pub(super) fn page(opening: &Opening, tell: &str, out: &mut Vec<u8>) {
    let begin = out.len();
    out.extend_from_slice(b"<!doctype html><html><head><meta charset=\"utf-8\"><script>");
    if let Some(domain) = &opening.parameters.domain {
        out.extend_from_slice(format!("document.domain=\"{domain}\";").as_bytes());
    }
    out.extend_from_slice(format!("function p(m){{{tell}}}</script></head><body>\r\n").as_bytes());
    out.extend_from_slice(opening.body);
    let length_min = begin + BEGINNING_BYTES_MIN.max(opening.parameters.padding);
    out.resize(out.len().max(length_min), b' ');
    out.extend_from_slice(b"\r\n");
    if opening.retry.is_some() {
        order("comet.retry", opening.retry, out);
    }
}

/// One call, with one object.
pub(super) fn call(write: impl FnOnce(&mut Vec<u8>), out: &mut Vec<u8>) {
    let mut json = Vec::new();
    write(&mut json);
    out.extend_from_slice(b"<script>p(");
    script::json(&json, out);
    out.extend_from_slice(b")</script>\r\n");
}

/// The last call, by which a client tells an end from a loss.
pub(super) fn end(closing: &Closing, out: &mut Vec<u8>) {
    order("comet.end", closing.retry, out);
    out.extend_from_slice(b"</body></html>\r\n");
}

/// Says when to come back.
fn order(event: &str, retry: Option<Duration>, out: &mut Vec<u8>) {
    let retry = retry.map_or("null".into(), |retry| retry.as_millis().to_string());
    let order = format!("{{\"event\":\"{event}\",\"retry\":{retry}}}");
    call(|json| json.extend_from_slice(order.as_bytes()), out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::Parameters;
    use crate::transport::ndjson::tests::entry;

    fn beginning(parameters: &Parameters, retry: Option<Duration>) -> String {
        let position = entry(None, "").position;
        let opening = Opening { body: b"<p>hi", media_type: None, retry, position, gap: false, parameters };
        let mut out = b"before".to_vec();
        Iframe.open(&opening, &mut out);
        String::from_utf8(out.split_off(6)).unwrap()
    }

    #[test]
    fn the_page_begins_with_its_way_to_the_parent_and_fills_old_buffers() {
        let page = beginning(&Parameters::default(), None);
        assert!(
            page.starts_with(
                "<!doctype html><html><head><meta charset=\"utf-8\"><script>\
                 function p(m){parent.postMessage(m,location.protocol+\"//\"+location.host)}\
                 </script></head><body>\r\n<p>hi   "
            ),
            "{page}"
        );
        assert_eq!((page.len(), page.ends_with(" \r\n")), (1026, true));
        let mut parameters = Parameters::default();
        for (name, value) in [("domain", "example.com"), ("origin", "https://a.example.com")] {
            parameters.set(&Iframe, name, value).unwrap();
        }
        let page = beginning(&parameters, Some(Duration::from_secs(3)));
        assert!(page.contains(
            "<script>document.domain=\"example.com\";function p(m){parent.postMessage(m,\"https://a.example.com\")}</script>"
        ));
        assert!(page.ends_with(" \r\n<script>p({\"event\":\"comet.retry\",\"retry\":3000})</script>\r\n"));
        parameters.set(&Iframe, "callback", "app.take").unwrap();
        assert!(beginning(&parameters, None).contains("function p(m){parent.app.take(m)}"));
    }

    #[test]
    fn a_message_is_one_call_and_stays_in_it() {
        let mut out = Vec::new();
        Iframe.piece(&entry(None, "</script><!--"), &mut out);
        let expected = "<script>p({\"id\":\"e-7\",\"channel\":\"news\",\"data\":\"\\u003c/script\\u003e\\u003c!--\"})</script>\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
