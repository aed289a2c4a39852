//! Reads the head of an answer and decides how long its body is (RFC 9112 §4, §6.3); pure.

use std::ops::Range;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::ext::ReasonPhrase;
use hyper::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use hyper::http::response::Parts;
use hyper::{Response, StatusCode};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// Header fields that an answer may have.
const FIELDS_MAX: usize = 100;
/// Room for those that most answers have.
const FIELDS_USUAL: usize = 12;
/// Bytes of an answer's head.
const HEAD_MAX: usize = 64 * 1024;

/// A head that has arrived whole.
pub(super) struct ResponseHead {
    pub(super) parts: Parts,
    pub(super) body: BodyLength,
    /// Whether the connection may serve another request when the body has ended.
    pub(super) keep_alive: bool,
    /// How long the server lets it idle, where it says so.
    pub(super) patience: Option<Duration>,
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
    let mut lines = Lines::of(&head);
    let status = StatusLine::read(&head[lines.next_line().ok_or("the head is empty")?])?;
    let mut framing = Framing::of(&status);
    let mut headers = HeaderMap::with_capacity(FIELDS_USUAL);
    while let Some(line) = lines.next_line().filter(|line| !line.is_empty()) {
        if headers.len() == FIELDS_MAX {
            return Err("the head has too many fields");
        }
        let (name, value) = field(&head, line)?;
        framing.note(&name, &value)?;
        headers.append(name, value);
    }
    let (body, keep_alive) = framing.decide(&status, is_answer_to_head)?;
    let mut parts = Response::new(()).into_parts().0;
    if status.reason != status.code.canonical_reason().unwrap_or_default().as_bytes() {
        let reason = ReasonPhrase::try_from(status.reason).map_err(|_| "the reason is bad")?;
        parts.extensions.insert(reason);
    }
    (parts.status, parts.headers) = (status.code, headers);
    Ok(ResponseHead { parts, body, keep_alive, patience: framing.patience })
}

/// The lines of a head, without their ends: a recipient may take a bare line feed for one (RFC 9112 §2.2).
struct Lines<'a> {
    head: &'a [u8],
    ends: memchr::Memchr<'a>,
    at: usize,
}

impl<'a> Lines<'a> {
    fn of(head: &'a [u8]) -> Lines<'a> {
        Lines { head, ends: memchr::memchr_iter(b'\n', head), at: 0 }
    }

    fn next_line(&mut self) -> Option<Range<usize>> {
        let (start, end) = (self.at, self.ends.next()?);
        self.at = end + 1;
        Some(start..if self.head[start..end].ends_with(b"\r") { end - 1 } else { end })
    }
}

/// The first line (RFC 9112 §4).
struct StatusLine<'a> {
    version_1_1: bool,
    code: StatusCode,
    reason: &'a [u8],
}

impl<'a> StatusLine<'a> {
    fn read(line: &'a [u8]) -> Result<StatusLine<'a>, &'static str> {
        const BAD: &str = "the head is not HTTP/1";
        let (start, rest) = line.split_at_checked(b"HTTP/1.1 ".len()).ok_or(BAD)?;
        let (code, reason) = rest.split_at_checked(3).ok_or(BAD)?;
        let version_1_1 = match start {
            b"HTTP/1.1 " => true,
            b"HTTP/1.0 " => false,
            _ => return Err(BAD),
        };
        let code = StatusCode::from_bytes(code).map_err(|_| "the status is none")?;
        // The blank is missing behind many a status without a reason.
        let reason = if reason.is_empty() { reason } else { reason.strip_prefix(b" ").ok_or(BAD)? };
        Ok(StatusLine { version_1_1, code, reason })
    }
}

fn field(head: &Bytes, line: Range<usize>) -> Result<(HeaderName, HeaderValue), &'static str> {
    let text = &head[line.clone()];
    let colon = memchr::memchr(b':', text).ok_or("a field has no colon")?;
    let name = HeaderName::from_bytes(&text[..colon]).map_err(|_| "the name of a field is bad")?;
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let value = &text[colon + 1..];
    let before = value.iter().take_while(|byte| blank(byte)).count();
    let behind = value[before..].iter().rev().take_while(|byte| blank(byte)).count();
    let value = head.slice(line.start + colon + 1 + before..line.end - behind);
    let value = HeaderValue::from_maybe_shared(value).map_err(|_| "the value of a field is bad")?;
    Ok((name, value))
}

/// What fields say of the body's length, and of whether the server keeps the connection (RFC 9112 §9.3).
struct Framing {
    version_1_1: bool,
    coding: Option<HeaderValue>,
    length: Option<u64>,
    stays_open: bool,
    patience: Option<Duration>,
}

impl Framing {
    fn of(status: &StatusLine<'_>) -> Framing {
        let version_1_1 = status.version_1_1;
        Framing { version_1_1, coding: None, length: None, stays_open: version_1_1, patience: None }
    }

    fn note(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<(), &'static str> {
        match *name {
            TRANSFER_ENCODING => self.coding = Some(value.clone()),
            CONTENT_LENGTH => self.length = Some(same_length(value, self.length)?),
            CONNECTION => {
                for word in words(value) {
                    self.stays_open &= !word.eq_ignore_ascii_case(b"close");
                    self.stays_open |= !self.version_1_1 && word.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            _ if *name == KEEP_ALIVE && self.patience.is_none() => self.patience = patience(value),
            _ => {}
        }
        Ok(())
    }

    fn decide(
        &self,
        status: &StatusLine<'_>,
        is_answer_to_head: bool,
    ) -> Result<(BodyLength, bool), &'static str> {
        let body = match (status.code, &self.coding) {
            (StatusCode::SWITCHING_PROTOCOLS, _) => BodyLength::Switched,
            (StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED, _) => BodyLength::Exactly(0),
            _ if status.code.is_informational() || is_answer_to_head => BodyLength::Exactly(0),
            (_, Some(_)) if !self.version_1_1 => return Err("HTTP/1.0 has no transfer codings"),
            (_, Some(coding)) => match words(coding).last() {
                Some(last) if last.eq_ignore_ascii_case(b"chunked") => BodyLength::Chunked,
                _ => BodyLength::UntilClose,
            },
            (_, None) => self.length.map_or(BodyLength::UntilClose, BodyLength::Exactly),
        };
        Ok((body, self.stays_open && body != BodyLength::UntilClose))
    }
}

/// How long the server keeps an idle connection, by its `Keep-Alive: timeout=5`; a second less, since the
/// connection must not be used when the server is about to close it.
fn patience(value: &HeaderValue) -> Option<Duration> {
    let value = value.to_str().ok()?;
    let seconds = value.split(',').find_map(|part| part.trim().strip_prefix("timeout="))?;
    let seconds: u64 = seconds.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.saturating_sub(1)))
}

/// The length that a field says, which may be a list of the same (RFC 9110 §8.6).
fn same_length(value: &HeaderValue, before: Option<u64>) -> Result<u64, &'static str> {
    const BAD: &str = "the Content-Length is bad";
    let mut length = before;
    for word in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
        let this = number(word).ok_or(BAD)?;
        if *length.get_or_insert(this) != this {
            return Err(BAD);
        }
    }
    length.ok_or(BAD)
}

fn number(digits: &[u8]) -> Option<u64> {
    let digit = |number: u64, byte: &u8| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    };
    if digits.is_empty() { None } else { digits.iter().try_fold(0, digit) }
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
    fn a_server_that_names_its_timeout_is_left_a_second_earlier() {
        let cases = [
            ("timeout=5", Some(4)),
            ("max=100, timeout=2", Some(1)),
            ("timeout=0", Some(0)),
            ("max=1", None),
        ];
        for (value, expected) in cases {
            let text = format!("HTTP/1.1 204 No Content\r\nKeep-Alive: {value}\r\n\r\n");
            let head = take(&mut BytesMut::from(&*text), &mut 0, false).unwrap().unwrap();
            assert_eq!(head.patience, expected.map(Duration::from_secs), "{value}");
        }
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
            ("HTTP/1.1 200\r\n\r\n", UntilClose, false),
            ("HTTP/1.1 200 \r\ncontent-length:\t5 \t\r\n\r\n", Exactly(5), true),
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
            "HTTP/1.1 200OK\r\n\r\n",
            "HTTP/1.1  200 OK\r\n\r\n",
            "HTTP/1.1 200 O\0K\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 200 OK\r\nblank : x\r\n\r\n",
            "HTTP/1.1 200 OK\r\n: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: \0\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: b\rc\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551616\r\n\r\n",
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
