//! `client-pull`: a whole page of what is new, and an order to load the next one (Netscape's `Refresh`, 1995).
//!
//! Needs no script. The order is a header and, for pages that are saved or served by something that drops it, an
//! element too; it carries the position, so that the next page goes on exactly behind this one.

use std::time::Duration;

use super::{Closing, Delivery, Field, MediaType, Opening, Transport, ndjson};
use crate::message::{Entry, Gap};

/// See the file's first line.
pub(super) struct ClientPull;

/// Long enough to read a line, short enough to feel alive.
const RETRY: Duration = Duration::from_secs(5);

impl Transport for ClientPull {
    fn name(&self) -> &'static str {
        "client-pull"
    }

    fn delivery(&self) -> Delivery {
        Delivery::AtOnce
    }

    fn media_type(&self) -> MediaType {
        MediaType::Own("text/html; charset=utf-8")
    }

    fn fields(&self, opening: &Opening, fields: &mut Vec<Field>) {
        fields.push(("refresh", order(opening).into()));
    }

    fn open(&self, opening: &Opening, out: &mut Vec<u8>) {
        out.extend_from_slice(
            b"<!doctype html>\n<meta charset=\"utf-8\">\n<meta http-equiv=\"refresh\" content=\"",
        );
        html(&order(opening), out);
        out.extend_from_slice(b"\">\n");
        out.extend_from_slice(opening.body);
        if opening.gap {
            out.extend_from_slice(b"\n<p class=\"gap\">&hellip;</p>");
        }
        out.push(b'\n');
    }

    fn piece(&self, entry: &Entry, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("<p id=\"{}\" title=\"", entry.position).as_bytes());
        html(entry.message.channel.as_str(), out);
        if let Some(event) = &entry.message.event {
            out.extend_from_slice(b"\" class=\"");
            html(event, out);
        }
        out.extend_from_slice(b"\">");
        for (index, line) in ndjson::text(&entry.message.data).lines().enumerate() {
            out.extend_from_slice(if index > 0 { b"<br>" } else { b"" });
            html(line, out);
        }
        out.extend_from_slice(b"</p>\n");
    }

    fn close(&self, _closing: &Closing, _out: &mut Vec<u8>) {}

    /// Said by `open`, above everything that is left.
    fn gap(&self, _gap: &Gap, _out: &mut Vec<u8>) {}
}

/// `5; url=?a=1&lastEventId=POSITION`: the same path again, whatever it is.
fn order(opening: &Opening) -> String {
    let seconds = opening.retry.unwrap_or(RETRY).as_millis().div_ceil(1000);
    let query = opening.parameters.query.as_deref().unwrap_or_default();
    let and = if query.is_empty() { "" } else { "&" };
    format!("{seconds}; url=?{query}{and}lastEventId={}", opening.position)
}

/// Text in an element or between quotes.
fn html(text: &str, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        match byte {
            b'&' => out.extend_from_slice(b"&amp;"),
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            b'"' => out.extend_from_slice(b"&quot;"),
            b'\'' => out.extend_from_slice(b"&#39;"),
            byte => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::ndjson::tests::entry;
    use crate::transport::{self, Asked, Parameters};

    fn opening(query: &str) -> Parameters {
        let asked = Asked { query: Some(query), cross_site: false, accept: None };
        Parameters::default().complete(&ClientPull, asked).unwrap()
    }

    #[test]
    fn the_order_names_the_same_page_behind_its_position() {
        let parameters = opening("lastEventId=e-1&room=a%22");
        let position = entry(None, "").position;
        let body: &[u8] = b"<h1>Chat</h1>";
        let mut opening = Opening {
            body,
            media_type: None,
            retry: Some(Duration::from_millis(1500)),
            position,
            gap: true,
            parameters: &parameters,
        };
        let fields = transport::fields(transport::by_name("client-pull").unwrap(), &opening);
        assert_eq!(fields.last().unwrap(), &("refresh", "2; url=?room=a%22&lastEventId=e-7".into()));
        let mut out = Vec::new();
        ClientPull.open(&opening, &mut out);
        let expected = "<!doctype html>\n<meta charset=\"utf-8\">\n<meta http-equiv=\"refresh\" \
            content=\"2; url=?room=a%22&amp;lastEventId=e-7\">\n<h1>Chat</h1>\n<p class=\"gap\">&hellip;</p>\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        opening.parameters = &transport::NONE;
        assert_eq!(order(&Opening { retry: None, ..opening }), "5; url=?lastEventId=e-7");
    }

    #[test]
    fn a_message_stays_in_its_paragraph() {
        let mut out = Vec::new();
        ClientPull.piece(&entry(Some("a\"b"), "<script>&'\nb"), &mut out);
        let expected = "<p id=\"e-7\" title=\"news\" class=\"a&quot;b\">&lt;script&gt;&amp;&#39;<br>b</p>\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
