//! The gallery: one channel of chat, in every transport that there is, each at an address of its own.
//!
//! The application answers them all alike; only the header that names the transport differs, and what the client
//! gets besides messages. Pages of any origin may listen, since this is a demo and its chat is public: the gallery
//! itself opens half of its windows by another name of the same host, as there are six connections to a host.

use hyper::HeaderMap;
use hyper::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE, REFERER};
use hyper::http::response::Builder;
use hyper::{Response, StatusCode};

/// The channel of the chat: lines of text, since not everything here can read JSON.
pub(super) const LINES: &str = "gallery";
/// The channel of the live picture.
pub(super) const PICTURE: &str = "picture";

/// How one transport is answered.
struct Window {
    /// Its name, and its path below `/gallery/`.
    name: &'static str,
    channel: &'static str,
    media_type: &'static str,
    body: &'static str,
}

const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
/// What a frame has besides messages: its looks, with the newest line on top.
const PULLED: &str = "<title>Client pull</title><style>:root{color-scheme:dark}body{display:flex;flex-direction:\
column-reverse;justify-content:flex-end;margin:.6rem .75rem;font:13px/1.55 ui-monospace,Menlo,Consolas,\
\"DejaVu Sans Mono\",monospace;background:#0b0e20;color:#f1efe8}p{margin:0;overflow-wrap:anywhere}</style>";

const fn lines(name: &'static str, media_type: &'static str, body: &'static str) -> Window {
    Window { name, channel: LINES, media_type, body }
}

static WINDOWS: &[Window] = &[
    lines("client-pull", HTML, PULLED),
    Window { name: "multipart", channel: PICTURE, media_type: "image/bmp", body: "" },
    lines("gif", TEXT, "the chat in a GIF"),
    lines("iframe", HTML, ""),
    // XMLHttpRequest has no head before there is a byte of the body.
    lines("stream", TEXT, "\n"),
    lines("htmlfile", HTML, ""),
    lines("long-poll", "application/json", ""),
    lines("jsonp", "text/javascript; charset=utf-8", ""),
    lines("poll", "application/json", ""),
    lines("dom-event-stream", TEXT, ""),
    lines("sse", "text/event-stream", ""),
    lines("websocket", TEXT, ""),
    lines("ndjson", "application/x-ndjson", ""),
];

/// The answer at `/gallery/NAME`: head and body.
pub(super) fn window(
    name: &str,
    headers: &HeaderMap,
    query: Option<&str>,
) -> Option<(Builder, &'static str)> {
    let Window { name, channel, media_type, body } = WINDOWS.iter().find(|window| window.name == name)?;
    // The page that pulls shows everything each time; others go on where they are.
    let returns = headers.contains_key("last-event-id")
        || query.is_some_and(|query| query.contains("lastEventId=") && *name != "client-pull");
    let begin = if returns { "" } else { ";since=earliest" };
    let parameters = match (*name, origin_of_page(headers)) {
        ("iframe", Some(origin)) => format!("; origin={origin}"),
        _ => String::new(),
    };
    let head = Response::builder()
        .status(StatusCode::OK)
        .header(CONTENT_TYPE, *media_type)
        .header(CACHE_CONTROL, "no-store")
        .header(ACCESS_CONTROL_ALLOW_ORIGIN, "*")
        .header("X-Comet-Subscribe", format!("{channel}{begin}"))
        .header("X-Comet-Transport", format!("{name}{parameters}"))
        .header("X-Comet-Timeout", timeout(name))
        .header("X-Comet-Keepalive", "15")
        .header("X-Comet-Retry", "2000");
    Some((head, body))
}

/// Seconds: a poll's patience, and for others more than anybody looks at a gallery.
fn timeout(name: &str) -> &'static str {
    if name == "long-poll" || name == "jsonp" { "25" } else { "3600" }
}

/// The origin of the page around a frame, if it is one on this machine.
fn origin_of_page(headers: &HeaderMap) -> Option<&str> {
    let referer = headers.get(REFERER)?.to_str().ok()?;
    let (scheme, rest) = referer.split_once("://")?;
    let authority = rest.split('/').next()?;
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let here = host == "127.0.0.1" || host == "localhost" || host.ends_with(".localhost");
    here.then(|| &referer[..scheme.len() + "://".len() + authority.len()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::tests::transport_names;

    fn asked(name: &str, fields: &[(&'static str, &str)], query: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.insert(*name, value.parse().unwrap());
        }
        let (head, body) = window(name, &headers, query).unwrap();
        head.body(body).unwrap().into_parts().0.headers
    }

    #[test]
    fn every_transport_has_a_window() {
        for name in transport_names() {
            assert_eq!(asked(name, &[], None)["x-comet-transport"], name);
        }
        assert!(window("telepathy", &HeaderMap::new(), None).is_none());
    }

    #[test]
    fn whoever_comes_back_goes_on_where_it_was() {
        let begins = |name, fields: &[_], query| asked(name, fields, query)["x-comet-subscribe"].clone();
        assert_eq!(begins("sse", &[], None), "gallery;since=earliest");
        assert_eq!(begins("sse", &[("last-event-id", "a-1")], None), "gallery");
        assert_eq!(begins("poll", &[], Some("lastEventId=a-1")), "gallery");
        assert_eq!(begins("client-pull", &[], Some("lastEventId=a-1")), "gallery;since=earliest");
    }

    #[test]
    fn a_frame_speaks_to_pages_of_this_machine_only() {
        let speaks = |referer| asked("iframe", &[("referer", referer)], None)["x-comet-transport"].clone();
        assert_eq!(speaks("http://127.0.0.1:8080/"), "iframe; origin=http://127.0.0.1:8080");
        assert_eq!(speaks("http://localhost:80/x"), "iframe; origin=http://localhost:80");
        assert_eq!(speaks("http://evil.example/127.0.0.1"), "iframe");
        assert_eq!(speaks("http://localhost.evil.example/"), "iframe");
    }
}
