//! `bayeux`: messages as a Bayeux client gets them, a list of `{"channel":…,"data":…}`.
//!
//! Without an id, which clients would take for that of a message of their own, and without the publisher's session.

use super::{Closing, Delivery, MediaType, Opening, Transport, ndjson};
use crate::message::{Entry, Gap};

/// See the file's first line.
pub(super) struct Bayeux;

impl Transport for Bayeux {
    fn name(&self) -> &'static str {
        "bayeux"
    }

    fn delivery(&self) -> Delivery {
        Delivery::OneAnswer
    }

    fn media_type(&self) -> MediaType {
        MediaType::Default("application/json;charset=UTF-8")
    }

    fn open(&self, _opening: &Opening, out: &mut Vec<u8>) {
        out.push(b'[');
    }

    fn piece(&self, entry: &Entry, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"channel\":");
        ndjson::string(entry.message.channel.as_str(), out);
        out.extend_from_slice(b",\"data\":");
        ndjson::value(&entry.message.data, out);
        out.push(b'}');
    }

    fn separator(&self) -> &'static [u8] {
        b","
    }

    fn close(&self, _closing: &Closing, out: &mut Vec<u8>) {
        out.push(b']');
    }

    /// The protocol has no word for it.
    fn gap(&self, _gap: &Gap, _out: &mut Vec<u8>) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::ndjson::tests::entry;

    #[test]
    fn a_message_is_its_channel_and_its_data() {
        let mut out = Vec::new();
        Bayeux.piece(&entry(Some("chat"), "{\"a\": 1}"), &mut out);
        assert_eq!(out, b"{\"channel\":\"news\",\"data\":{\"a\": 1}}");
    }
}
