//! Reads the head of an answer and decides how long its body is (RFC 9112 §4, §6.3); pure.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use hyper::ext::ReasonPhrase;
use hyper::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use hyper::http::response::Parts;
use hyper::{Response, StatusCode};

/// Header fields that an answer may have.
const FIELDS_MAX: usize = 100;
/// Bytes of an answer's head.
const HEAD_MAX: usize = 64 * 1024;

/// A head that has arrived whole.
pub(super) struct ResponseHead {
    pub(super) parts: Parts,
    pub(super) body: BodyLength,
    /// Whether the connection may serve another request when the body has ended.
    pub(super) keep_alive: bool,
}

/// How the end of a body is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyLength {
    Exactly(u64),
    Chunked,
    UntilClose,
    /// What follows is another protocol.
    Switched,
}

/// Takes the next head out of what has arrived; `None` if it isn't whole. `searched` bytes are known to have no end
/// of a head, and are more when this returns.
pub(super) fn take(
    arrived: &mut BytesMut,
    searched: &mut usize,
    is_answer_to_head: bool,
) -> Result<Option<ResponseHead>, &'static str> {
    let Some(length) = end(arrived, *searched) else {
        // The end may have arrived in part.
        *searched = arrived.len().saturating_sub(3);
        return if arrived.len() > HEAD_MAX { Err("the head is too large") } else { Ok(None) };
    };
    *searched = 0;
    read(arrived.split_to(length).freeze(), is_answer_to_head).map(Some)
}

/// Where the empty line ends, by which a head does.
fn end(arrived: &[u8], searched: usize) -> Option<usize> {
    memchr::memchr_iter(b'\n', &arrived[searched..]).find_map(|at| match &arrived[searched + at + 1..] {
        [b'\r', b'\n', ..] => Some(searched + at + 3),
        [b'\n', ..] => Some(searched + at + 2),
        _ => None,
    })
}

fn read(head: Bytes, is_answer_to_head: bool) -> Result<ResponseHead, &'static str> {
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut parsed, &head, &mut fields) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err("the head has no end"),
        Err(httparse::Error::TooManyHeaders) => return Err("the head has too many fields"),
        Err(_) => return Err("the head is not HTTP/1"),
    }
    let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or("the status is none")?;
    let mut headers = HeaderMap::with_capacity(parsed.headers.len());
    for field in &*parsed.headers {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| "the name of a field is bad")?;
        let value = HeaderValue::from_maybe_shared(head.slice_ref(field.value));
        headers.append(name, value.map_err(|_| "the value of a field is bad")?);
    }
    let version_1_1 = parsed.version == Some(1);
    let mut parts = Response::new(()).into_parts().0;
    if let Some(reason) = parsed.reason.filter(|reason| Some(*reason) != status.canonical_reason())
        && let Ok(reason) = ReasonPhrase::try_from(reason.as_bytes())
    {
        parts.extensions.insert(reason);
    }
    (parts.status, parts.headers) = (status, headers);
    let (body, stays_open) = framing(&parts, version_1_1, is_answer_to_head)?;
    let keep_alive = stays_open && body != BodyLength::UntilClose;
    Ok(ResponseHead { parts, body, keep_alive })
}

/// The length of the body, and whether the server keeps the connection (RFC 9112 §9.3).
fn framing(
    parts: &Parts,
    version_1_1: bool,
    is_answer_to_head: bool,
) -> Result<(BodyLength, bool), &'static str> {
    let (mut coding, mut length, mut stays_open) = (None, None, version_1_1);
    for (name, value) in &parts.headers {
        match *name {
            TRANSFER_ENCODING => coding = Some(value),
            CONTENT_LENGTH => length = Some(same_length(value, length)?),
            CONNECTION => {
                for word in words(value) {
                    stays_open &= !word.eq_ignore_ascii_case(b"close");
                    stays_open |= !version_1_1 && word.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            _ => {}
        }
    }
    let body = match (parts.status, coding) {
        (StatusCode::SWITCHING_PROTOCOLS, _) => BodyLength::Switched,
        (StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED, _) => BodyLength::Exactly(0),
        _ if parts.status.is_informational() || is_answer_to_head => BodyLength::Exactly(0),
        (_, Some(_)) if !version_1_1 => return Err("HTTP/1.0 has no transfer codings"),
        (_, Some(coding)) => match words(coding).last() {
            Some(last) if last.eq_ignore_ascii_case(b"chunked") => BodyLength::Chunked,
            _ => BodyLength::UntilClose,
        },
        (_, None) => length.map_or(BodyLength::UntilClose, BodyLength::Exactly),
    };
    Ok((body, stays_open))
}

/// The length that a field says, which may be a list of the same (RFC 9110 §8.6).
fn same_length(value: &HeaderValue, before: Option<u64>) -> Result<u64, &'static str> {
    const BAD: &str = "the Content-Length is bad";
    let mut length = before;
    for word in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
        let digits = std::str::from_utf8(word).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
        let this = digits.and_then(|text| text.parse().ok()).ok_or(BAD)?;
        if *length.get_or_insert(this) != this {
            return Err(BAD);
        }
    }
    length.ok_or(BAD)
}

fn words(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str, to_head: bool) -> Result<Option<(u16, BodyLength, bool)>, &'static str> {
        let head = take(&mut BytesMut::from(text), &mut 0, to_head)?;
        Ok(head.map(|head| (head.parts.status.as_u16(), head.body, head.keep_alive)))
    }

    #[test]
    fn the_end_of_a_body_is_found_by_the_rules_in_their_order() {
        use BodyLength::{Chunked, Exactly, Switched, UntilClose};
        let cases = [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Exactly(5), true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\nContent-Length: 5\r\n\r\n", Exactly(5), true),
            ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\nConnection: x, Close\r\n\r\n", Exactly(5), false),
            ("HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\n", Exactly(5), false),
            ("HTTP/1.0 200 OK\r\ncontent-length: 5\r\nconnection: Keep-Alive\r\n\r\n", Exactly(5), true),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n", Chunked, true),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", UntilClose, false),
            ("HTTP/1.1 200 OK\r\n\r\n", UntilClose, false),
            ("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", Exactly(0), true),
            ("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", Exactly(0), true),
            ("HTTP/1.1 100 Continue\r\n\r\n", Exactly(0), true),
            ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", Switched, true),
            ("HTTP/1.1 200 OK\n\n", UntilClose, false),
        ];
        for (text, body, keep_alive) in cases {
            let (_, found, kept) = head(text, false).unwrap().unwrap();
            assert_eq!((found, kept), (body, keep_alive), "{text}");
        }
        let to_head = head("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true);
        assert_eq!(to_head, Ok(Some((200, Exactly(0), true))));
    }

    #[test]
    fn an_answer_whose_end_is_in_doubt_is_none() {
        let bad = [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/2 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\n folded: x\r\n\r\n",
            "HTTP/1.1 99 Low\r\n\r\n",
            "gibberish\r\n\r\n",
        ];
        for text in bad {
            assert!(head(text, false).is_err(), "{text}");
        }
        let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(HEAD_MAX));
        assert!(head(&endless, false).is_err());
    }

    #[test]
    fn a_head_is_found_however_it_arrives_and_keeps_its_own_reason() {
        let text = b"HTTP/1.1 200 Fine\r\nA: b\r\nContent-Length: 2\r\n\r\nhi";
        let (mut arrived, mut searched, mut found) = (BytesMut::new(), 0, None);
        for byte in text {
            arrived.extend_from_slice(&[*byte]);
            if found.is_none() {
                found = take(&mut arrived, &mut searched, false).unwrap();
            }
        }
        let head = found.unwrap();
        assert_eq!(&arrived[..], b"hi");
        assert_eq!(head.parts.headers["a"], "b");
        assert_eq!(head.parts.extensions.get::<ReasonPhrase>().unwrap().as_bytes(), b"Fine");
    }
}
