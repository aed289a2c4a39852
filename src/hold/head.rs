//! The head of an answer on an HTTP/1 connection that is held (RFC 9112 §4, §5).

use hyper::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG,
    HeaderMap, HeaderName, LAST_MODIFIED, TRANSFER_ENCODING,
};
use hyper::{StatusCode, Version};

use super::ClientSide;
use crate::date;
use crate::transport::Field;

/// How the end of the body will be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// After so many bytes.
    Known(usize),
    /// By chunks, or for HTTP/1.0 by the end of the connection.
    Unknown,
    /// After bytes that are counted later: the head is left open before the fields of the framing.
    Later,
    /// Everything behind the head is another protocol (RFC 9110 §7.8).
    Upgraded,
    /// There is none, and no header may claim one (RFC 9110 §8.6: 204, 304).
    Bodiless,
}

/// The last field of a head whose connection closes behind the answer.
const CLOSE: &[u8] = b"connection: close\r\n";
/// The same where it stays, and its client would close it otherwise.
const KEEP_ALIVE: &[u8] = b"connection: keep-alive\r\n";

impl Length {
    /// That of an answer that is all there (RFC 9110 §15.3.5, §15.3.6, §15.4.5).
    pub fn of(status: StatusCode, bytes: usize) -> Length {
        let bodiless = [StatusCode::NO_CONTENT, StatusCode::RESET_CONTENT, StatusCode::NOT_MODIFIED];
        if bodiless.contains(&status) { Length::Bodiless } else { Length::Known(bytes) }
    }
}

/// Whose the bytes behind a head are.
#[derive(Debug, Clone, Copy)]
pub enum Writer<'a> {
    /// The application's, just as it said.
    Application,
    /// A transport's, which has this media type where it isn't the application's. What the application says of its own
    /// bytes isn't true of them: a client that kept them under its `ETag` would be told later that they are still good.
    Transport(Option<&'a str>),
}

/// Fields that say something of certain bytes (RFC 9110 §8.8, §14; RFC 9530).
fn describes_bytes(name: &HeaderName) -> bool {
    matches!(*name, ETAG | LAST_MODIFIED | ACCEPT_RANGES | CONTENT_RANGE)
        || matches!(name.as_str(), "content-md5" | "digest" | "content-digest" | "repr-digest")
}

/// Puts words of somebody's own behind the status of a head that was just written.
pub fn write_reason(reason: &str, head: &mut Vec<u8>) {
    // `HTTP/1.1 200 `.
    const BEFORE: usize = 13;
    let is_plain = |byte: u8| byte.is_ascii_graphic() || byte == b' ' || !byte.is_ascii();
    if let Some(end) = memchr::memchr(b'\r', head).filter(|end| *end >= BEFORE) {
        head.splice(BEFORE..end, reason.bytes().filter(|byte| is_plain(*byte)));
    }
}

/// Writes a head, which for a stream of HTTP/2 says nothing of connection and framing. A media type and fields of our own replace the application's, but for directives to caches, which
/// are added to it; framing headers are always our own. An application that says no date is said one for (RFC 9110 §6.6.1):
/// that of its answer, however long the answer is held.
pub fn write_head(
    status: StatusCode,
    headers: &HeaderMap,
    writer: Writer<'_>,
    fields: &[Field],
    length: Length,
    client: ClientSide,
    out: &mut Vec<u8>,
) {
    let version = if client.version == Version::HTTP_10 { "HTTP/1.0" } else { "HTTP/1.1" };
    let reason = status.canonical_reason().unwrap_or("");
    for part in [version, " ", status.as_str(), " ", reason, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    let (media_type, of_transport) = match writer {
        Writer::Application => (None, false),
        Writer::Transport(media_type) => (media_type, true),
    };
    let mut has_date = false;
    for (name, value) in headers {
        has_date |= *name == DATE;
        let ours = matches!(*name, CONNECTION | CONTENT_LENGTH | TRANSFER_ENCODING);
        let replaced = *name != CACHE_CONTROL && fields.iter().any(|(own, _)| name == own);
        let untrue = of_transport && describes_bytes(name);
        if !(ours || replaced || untrue || media_type.is_some() && *name == CONTENT_TYPE) {
            field(name.as_str(), value.as_bytes(), out);
        }
    }
    if let Some(media_type) = media_type {
        field("content-type", media_type.as_bytes(), out);
    }
    for (name, value) in fields {
        field(name, value.as_bytes(), out);
    }
    if !has_date {
        out.extend_from_slice(b"date: ");
        date::write(out);
        out.extend_from_slice(b"\r\n");
    }
    if length != Length::Later {
        end_head(length, client, out);
    }
}

/// Ends a head that was left open.
pub fn end_head(length: Length, client: ClientSide, out: &mut Vec<u8>) {
    framing(length, client, out);
    out.extend_from_slice(b"\r\n");
}

/// An answer that was written here, for a client whose connection was to stay and closes now: it is told (RFC 9112 §9.6),
/// so that it doesn't ask again on a connection that is dead.
pub fn closing(answer: &[u8]) -> Vec<u8> {
    let Some(end) = memchr::memmem::find(answer, b"\r\n\r\n").map(|end| end + 2) else {
        return answer.to_vec();
    };
    let (head, rest) = answer.split_at(end);
    let head = [KEEP_ALIVE, CLOSE].iter().find_map(|last| head.strip_suffix(*last)).unwrap_or(head);
    [head, CLOSE, rest].concat()
}

fn framing(length: Length, client: ClientSide, out: &mut Vec<u8>) {
    match length {
        Length::Known(bytes) => field("content-length", itoa::Buffer::new().format(bytes).as_bytes(), out),
        Length::Unknown if client.version == Version::HTTP_11 => field("transfer-encoding", b"chunked", out),
        Length::Upgraded => return field("connection", b"upgrade", out),
        Length::Unknown | Length::Later | Length::Bodiless => {}
    }
    if client.version == Version::HTTP_2 {
        return;
    }
    let until_close = length == Length::Unknown && client.version == Version::HTTP_10;
    if !client.keep_alive || until_close {
        out.extend_from_slice(CLOSE);
    } else if client.version == Version::HTTP_10 {
        out.extend_from_slice(KEEP_ALIVE);
    }
}

fn field(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use hyper::header::HeaderValue;

    use super::*;

    fn dated() -> HeaderMap {
        HeaderMap::from_iter([(DATE, HeaderValue::from_static("D"))])
    }

    #[test]
    fn an_answer_without_a_date_gets_the_present_one() {
        let client = ClientSide { version: Version::HTTP_11, keep_alive: true };
        let mut out = Vec::new();
        let (headers, writer) = (HeaderMap::new(), Writer::Application);
        write_head(StatusCode::OK, &headers, writer, &[], Length::Later, client, &mut out);
        let text = String::from_utf8(out).unwrap();
        let date = text.strip_prefix("HTTP/1.1 200 OK\r\ndate: ").unwrap().trim_ascii_end();
        let date = httpdate::parse_http_date(date).unwrap();
        assert!(SystemTime::now().duration_since(date).unwrap().as_secs() < 10, "{text}");
    }

    fn head(version: Version, keep_alive: bool, length: Length) -> String {
        let mut headers = dated();
        headers.insert("content-type", "text/html".parse().unwrap());
        headers.append("set-cookie", "a=1".parse().unwrap());
        headers.append("set-cookie", "b=2".parse().unwrap());
        let mut out = Vec::new();
        let client = ClientSide { version, keep_alive };
        let writer = Writer::Transport(Some("text/event-stream"));
        write_head(StatusCode::OK, &headers, writer, &[], length, client, &mut out);
        let text = String::from_utf8(out).unwrap();
        let cookies = "set-cookie: a=1\r\nset-cookie: b=2\r\ncontent-type: text/event-stream\r\n";
        let (before, after) = text.split_once(cookies).unwrap();
        format!("{before}|{after}")
    }

    #[test]
    fn framing_follows_the_version_of_the_client() {
        let (old, new) = (Version::HTTP_10, Version::HTTP_11);
        assert_eq!(
            head(new, true, Length::Unknown),
            "HTTP/1.1 200 OK\r\ndate: D\r\n|transfer-encoding: chunked\r\n\r\n"
        );
        assert_eq!(
            head(old, true, Length::Unknown),
            "HTTP/1.0 200 OK\r\ndate: D\r\n|connection: close\r\n\r\n"
        );
        assert_eq!(
            head(old, true, Length::Known(3)),
            "HTTP/1.0 200 OK\r\ndate: D\r\n|content-length: 3\r\nconnection: keep-alive\r\n\r\n"
        );
        assert_eq!(
            head(new, false, Length::Known(3)),
            "HTTP/1.1 200 OK\r\ndate: D\r\n|content-length: 3\r\nconnection: close\r\n\r\n"
        );
        assert_eq!(head(new, true, Length::Bodiless), "HTTP/1.1 200 OK\r\ndate: D\r\n|\r\n");
    }

    #[test]
    fn an_answer_whose_connection_closes_after_all_says_so_once() {
        let closing = |last: &str| {
            let answer = format!("HTTP/1.1 200 OK\r\nx-app: 1\r\n{last}\r\n\r\n\r\n");
            String::from_utf8(super::closing(answer.as_bytes())).unwrap()
        };
        let expected = "HTTP/1.1 200 OK\r\nx-app: 1\r\nconnection: close\r\n\r\n\r\n\r\n";
        for last in ["", "connection: close\r\n", "connection: keep-alive\r\n"] {
            assert_eq!(closing(last), expected, "{last:?}");
        }
    }

    #[test]
    fn fields_of_our_own_replace_the_applications_but_caches_hear_both() {
        let mut headers = dated();
        headers.insert("pragma", "x".parse().unwrap());
        headers.insert("cache-control", "private".parse().unwrap());
        let fields = [("cache-control", "no-transform".into()), ("pragma", "no-cache".into())];
        let client = ClientSide { version: Version::HTTP_11, keep_alive: true };
        let mut out = Vec::new();
        let writer = Writer::Application;
        write_head(StatusCode::OK, &headers, writer, &fields, Length::Known(0), client, &mut out);
        let expected = "HTTP/1.1 200 OK\r\ndate: D\r\ncache-control: private\r\ncache-control: no-transform\r\n\
            pragma: no-cache\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn what_an_application_says_of_its_own_bytes_is_not_said_of_others() {
        let mut headers = dated();
        for name in ["etag", "last-modified", "accept-ranges", "content-range", "digest", "content-md5"] {
            headers.insert(HeaderName::from_static(name), "x".parse().unwrap());
        }
        headers.insert("vary", "cookie".parse().unwrap());
        let client = ClientSide { version: Version::HTTP_11, keep_alive: true };
        let written = |writer| {
            let mut out = Vec::new();
            write_head(StatusCode::OK, &headers, writer, &[], Length::Known(0), client, &mut out);
            String::from_utf8(out).unwrap()
        };
        let expected = "HTTP/1.1 200 OK\r\ndate: D\r\nvary: cookie\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(written(Writer::Transport(None)), expected);
        assert_eq!(written(Writer::Application).matches(": x\r\n").count(), 6);
    }
}
