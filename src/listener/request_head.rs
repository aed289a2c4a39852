//! Judges a whole request head: its fields, what they say of the host, and how its body is framed.
//!
//! Stricter than RFC 9112 allows wherever two readers of one head could disagree: a request is framed in one way
//! only, written in one way only, and names one host. What is harmless to framing passes unchanged; removing and
//! rewriting fields is the work of the room that forwards.

use std::ops::Range;

use bytes::Bytes;
use hyper::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue,
    TRANSFER_ENCODING,
};
use hyper::http::request::Parts;
use hyper::{Method, Request, Uri, Version as HttpVersion};

use super::authority::is_authority;
use super::request_line::{RequestLine, Version};
use super::request_reader::Refusal;

/// Most fields that can be asked for by `HeadLimits::headers`: far below what the map takes.
pub(super) const FIELDS_MAX: usize = 256;
/// Room for those that most requests have.
const FIELDS_USUAL: usize = 12;
/// Bytes of a field's name; the longest registered one has fewer than 50.
pub(super) const FIELD_NAME_BYTES_MAX: usize = 1024;

const MALFORMED: Refusal = Refusal::bad("malformed request head");
const BAD_NAME: Refusal = Refusal::bad("malformed header name");
const BAD_VALUE: Refusal = Refusal::bad("illegal character in a header value");

pub(super) const TOO_MANY_FIELDS: Refusal = Refusal { status: 431, reason: "too many header fields" };
const EXPECTATION_FAILED: Refusal = Refusal { status: 417, reason: "only 100-continue can be expected" };
const BAD_LENGTH: Refusal = Refusal::bad("bad Content-Length");
const BAD_CODING: Refusal = Refusal::bad("bad Transfer-Encoding");

/// How the body behind a head is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes follow; none without a body.
    Length(u64),
    /// It has no length.
    Chunked,
}

/// A whole head that was found to be good.
#[derive(Debug)]
pub struct Head {
    /// What it says.
    pub parts: Parts,
    /// How the body behind it is framed.
    pub framing: Framing,
    /// Whether the connection may serve another request (RFC 9112 §9.3).
    pub keep_alive: bool,
    /// Whether the client waits to be told before it sends the body (RFC 9110 §10.1.1).
    pub expects_continue: bool,
}

/// Reads a head from the first byte of its request line to the line feed that ends it, whose lines end with CRLF.
pub(super) fn read(head: &[u8], line: &RequestLine) -> Result<Head, Refusal> {
    let mut parts = Request::new(()).into_parts().0;
    let head = Bytes::copy_from_slice(head);
    let mut headers = HeaderMap::with_capacity(FIELDS_USUAL);
    let mut fields = Fields::of(line.version);
    let mut lines = Lines::of(&head);
    // The request line, which is known.
    lines.next_line();
    while let Some(field) = lines.next_line() {
        let (name, value) = split(&head, field)?;
        fields.note(&name, &head[value.clone()])?;
        let value = HeaderValue::from_maybe_shared(head.slice(value)).map_err(|_| BAD_VALUE)?;
        headers.append(name, value);
    }
    fields.check_host(line.authority.clone().map(|range| &head[range]))?;
    parts.method = Method::from_bytes(&head[..line.method_end]).map_err(|_| MALFORMED)?;
    parts.uri = match line.is_about_the_server(&head) {
        true => Uri::from_static("*"),
        false => Uri::from_maybe_shared(head.slice(line.target.clone())).map_err(|_| MALFORMED)?,
    };
    parts.version = if line.version == Version::Http11 { HttpVersion::HTTP_11 } else { HttpVersion::HTTP_10 };
    let (keep_alive, expects_continue) = (fields.keep_alive(), fields.expects_continue());
    let framing = fields.framing()?;
    parts.headers = headers;
    Ok(Head { parts, framing, keep_alive, expects_continue })
}

/// The lines of a head up to the empty one, without their ends.
struct Lines<'a> {
    ends: memchr::Memchr<'a>,
    at: usize,
}

impl<'a> Lines<'a> {
    fn of(head: &'a [u8]) -> Lines<'a> {
        Lines { ends: memchr::memchr_iter(b'\n', head), at: 0 }
    }

    fn next_line(&mut self) -> Option<Range<usize>> {
        let (start, end) = (self.at, self.ends.next()?);
        self.at = end + 1;
        // The carriage return in front of it was seen.
        let end = end.saturating_sub(1);
        (end > start).then_some(start..end)
    }
}

/// The name of a field, and where its value stands, without the blanks around it.
fn split(head: &[u8], line: Range<usize>) -> Result<(HeaderName, Range<usize>), Refusal> {
    let text = &head[line.clone()];
    if matches!(text.first(), Some(b' ' | b'\t')) {
        return Err(Refusal::bad("folded header line"));
    }
    let colon = memchr::memchr(b':', text).ok_or(BAD_NAME)?;
    if colon > FIELD_NAME_BYTES_MAX {
        return Err(Refusal { status: 431, reason: "header name too long" });
    }
    let name = HeaderName::from_bytes(&text[..colon]).map_err(|_| BAD_NAME)?;
    let blank = |byte: &&u8| matches!(byte, b' ' | b'\t');
    let value = &text[colon + 1..];
    let before = value.iter().take_while(blank).count();
    let behind = value[before..].iter().rev().take_while(blank).count();
    Ok((name, line.start + colon + 1 + before..line.end - behind))
}

/// What the fields of one head have said so far.
pub(super) struct Fields<'head> {
    version: Version,
    host: Option<&'head [u8]>,
    length: Option<u64>,
    chunked: bool,
    seen: Seen,
}

/// What fields say that have nothing to do with host and framing.
#[derive(Default)]
struct Seen {
    authorization: bool,
    expect: bool,
    /// Words of `Connection`.
    close: bool,
    keep_alive: bool,
}

impl<'head> Fields<'head> {
    pub(super) fn of(version: Version) -> Self {
        Fields { version, host: None, length: None, chunked: false, seen: Seen::default() }
    }

    /// Takes note of one field, whose value stands without blanks around it.
    pub(super) fn note(&mut self, name: &HeaderName, value: &'head [u8]) -> Result<(), Refusal> {
        match *name {
            HOST => self.note_host(value),
            EXPECT => self.note_expect(value),
            CONNECTION => self.note_connection(value),
            AUTHORIZATION => self.note_authorization(),
            CONTENT_LENGTH => self.note_length(value),
            TRANSFER_ENCODING => self.note_coding(value),
            _ => Ok(()),
        }
    }

    fn note_host(&mut self, value: &'head [u8]) -> Result<(), Refusal> {
        if !is_authority(value) {
            return Err(Refusal::bad("bad Host"));
        }
        match self.host.replace(value) {
            Some(_) => Err(Refusal::bad("more than one Host")),
            None => Ok(()),
        }
    }

    fn note_expect(&mut self, value: &[u8]) -> Result<(), Refusal> {
        let again = std::mem::replace(&mut self.seen.expect, true);
        if again || !value.eq_ignore_ascii_case(b"100-continue") { Err(EXPECTATION_FAILED) } else { Ok(()) }
    }

    fn note_authorization(&mut self) -> Result<(), Refusal> {
        let again = std::mem::replace(&mut self.seen.authorization, true);
        if again { Err(Refusal::bad("more than one Authorization")) } else { Ok(()) }
    }

    /// One `Content-Length` with the shortest digits of its number (RFC 9112 §6.3 allows a repeated equal one).
    fn note_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.length.is_some() {
            return Err(Refusal::bad("more than one Content-Length"));
        }
        let canonical =
            value.iter().all(u8::is_ascii_digit) && (value.len() == 1 || value.first() != Some(&b'0'));
        let digits = std::str::from_utf8(value).ok().filter(|_| canonical).ok_or(BAD_LENGTH)?;
        self.length = Some(digits.parse().map_err(|_| BAD_LENGTH)?);
        Ok(())
    }

    /// One `Transfer-Encoding` that says `chunked` and nothing else.
    fn note_coding(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.version == Version::Http10 {
            return Err(Refusal::bad("Transfer-Encoding in HTTP/1.0"));
        }
        if self.chunked {
            return Err(Refusal::bad("more than one Transfer-Encoding"));
        }
        if value.eq_ignore_ascii_case(b"chunked") {
            self.chunked = true;
            return Ok(());
        }
        Err(if names_other_coding(value) {
            Refusal { status: 501, reason: "transfer coding not supported" }
        } else {
            BAD_CODING
        })
    }

    /// `authority` is that of an absolute target, which the Host must repeat (RFC 9112 §3.2.2).
    fn check_host(&self, authority: Option<&[u8]>) -> Result<(), Refusal> {
        match (self.host, authority) {
            (Some(host), Some(authority)) if !host.eq_ignore_ascii_case(authority) => {
                Err(Refusal::bad("Host differs from the target"))
            }
            (None, _) if self.version == Version::Http11 => Err(Refusal::bad("no Host")),
            _ => Ok(()),
        }
    }

    /// That of `Content-Length`.
    pub(super) fn length(&self) -> Option<u64> {
        self.length
    }

    fn framing(&self) -> Result<Framing, Refusal> {
        match (self.length, self.chunked) {
            (Some(_), true) => Err(Refusal::bad("both Content-Length and Transfer-Encoding")),
            (None, true) => Ok(Framing::Chunked),
            (length, false) => Ok(Framing::Length(length.unwrap_or(0))),
        }
    }

    fn keep_alive(&self) -> bool {
        !self.seen.close && (self.version == Version::Http11 || self.seen.keep_alive)
    }

    /// A client of HTTP/1.0 can't wait for an interim answer, whatever it says.
    pub(super) fn expects_continue(&self) -> bool {
        self.seen.expect && self.version == Version::Http11
    }

    /// A `Connection` that names what frames or addresses the message would make a proxy strip it.
    fn note_connection(&mut self, value: &[u8]) -> Result<(), Refusal> {
        let protected: [&[u8]; 3] = [b"host", b"content-length", b"transfer-encoding"];
        for word in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if protected.iter().any(|name| word.eq_ignore_ascii_case(name)) {
                return Err(Refusal::bad("Connection names a field it may not"));
            }
            self.seen.close |= word.eq_ignore_ascii_case(b"close");
            self.seen.keep_alive |= word.eq_ignore_ascii_case(b"keep-alive");
        }
        Ok(())
    }
}

/// True for a well-formed list of registered codings, `chunked` at most as the last; anything else is malformed.
fn names_other_coding(value: &[u8]) -> bool {
    let registered: [&[u8]; 5] = [b"gzip", b"x-gzip", b"deflate", b"compress", b"x-compress"];
    let mut codings = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).rev().peekable();
    codings.next_if(|last| last.eq_ignore_ascii_case(b"chunked"));
    codings.peek().is_some()
        && codings.all(|coding| registered.iter().any(|name| coding.eq_ignore_ascii_case(name)))
}
