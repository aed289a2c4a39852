//! Judges a whole request head: its fields, what they say of the host, and how its body is framed.
//!
//! Stricter than RFC 9112 allows wherever two readers of one head could disagree: a request is framed in one way
//! only, written in one way only, and names one host. What is harmless to framing passes unchanged; removing and
//! rewriting fields is the work of the room that forwards.

use std::mem::MaybeUninit;

use super::authority::is_authority;
use super::head_gate::{HeadLimits, Refusal};
use super::request_line::{RequestLine, Version};

/// Most fields that can be asked for by [`HeadLimits::headers`]: their places are on the stack, 8 KiB of them.
pub(super) const FIELDS_MAX: usize = 256;
/// Bytes of a field's name; the longest registered one has fewer than 50, and above 64 KiB hyper fails.
const FIELD_NAME_BYTES_MAX: usize = 1024;
/// The lengths above mark bodies without a length inside hyper.
const LENGTH_MAX: u64 = u64::MAX - 2;

pub(super) const TOO_MANY_FIELDS: Refusal = Refusal { status: 431, reason: "too many header fields" };
const EXPECTATION_FAILED: Refusal = Refusal { status: 417, reason: "only 100-continue can be expected" };
const BAD_LENGTH: Refusal = Refusal::bad("bad Content-Length");
const BAD_CODING: Refusal = Refusal::bad("bad Transfer-Encoding");

/// How the body behind a head is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes follow; none without a body.
    Length(u64),
    Chunked,
}

/// Checks a head from the first byte of its request line to the line feed that ends it.
pub(super) fn check(head: &[u8], line: &RequestLine, limits: &HeadLimits) -> Result<Framing, Refusal> {
    let mut places = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let places = &mut places[..limits.headers.min(FIELDS_MAX)];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(head, places) {
        Ok(httparse::Status::Complete(len)) if len == head.len() => {}
        Ok(_) => return Err(Refusal::bad("malformed request head")),
        Err(error) => return Err(malformed(error, head)),
    }
    let mut fields =
        Fields { version: line.version, host: None, length: None, chunked: false, seen: Seen::default() };
    for field in request.headers.iter() {
        fields.note(field.name.as_bytes(), field.value)?;
    }
    fields.check_host(line.authority.clone().map(|range| &head[range]))?;
    fields.framing()
}

fn malformed(error: httparse::Error, head: &[u8]) -> Refusal {
    match error {
        httparse::Error::TooManyHeaders => TOO_MANY_FIELDS,
        httparse::Error::HeaderName if is_folded(head) => Refusal::bad("folded header line"),
        httparse::Error::HeaderName => Refusal::bad("malformed header name"),
        httparse::Error::HeaderValue => Refusal::bad("illegal character in a header value"),
        _ => Refusal::bad("malformed request head"),
    }
}

fn is_folded(head: &[u8]) -> bool {
    memchr::memmem::find(head, b"\n ").is_some() || memchr::memmem::find(head, b"\n\t").is_some()
}

/// What the fields of one head have said so far.
struct Fields<'head> {
    version: Version,
    host: Option<&'head [u8]>,
    length: Option<u64>,
    chunked: bool,
    seen: Seen,
}

/// Fields that may come once and say nothing else here.
#[derive(Default)]
struct Seen {
    authorization: bool,
    expect: bool,
}

impl<'head> Fields<'head> {
    fn note(&mut self, name: &[u8], value: &'head [u8]) -> Result<(), Refusal> {
        // By length first: most fields of most requests are none of these.
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.note_host(value),
            6 if name.eq_ignore_ascii_case(b"expect") => self.note_expect(value),
            10 if name.eq_ignore_ascii_case(b"connection") => check_connection(value),
            13 if name.eq_ignore_ascii_case(b"authorization") => self.note_authorization(),
            14 if name.eq_ignore_ascii_case(b"content-length") => self.note_length(value),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.note_coding(value),
            len if len > FIELD_NAME_BYTES_MAX => Err(Refusal { status: 431, reason: "header name too long" }),
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
        let length = digits.parse().ok().filter(|length| *length <= LENGTH_MAX).ok_or(BAD_LENGTH)?;
        self.length = Some(length);
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

    fn framing(&self) -> Result<Framing, Refusal> {
        match (self.length, self.chunked) {
            (Some(_), true) => Err(Refusal::bad("both Content-Length and Transfer-Encoding")),
            (None, true) => Ok(Framing::Chunked),
            (length, false) => Ok(Framing::Length(length.unwrap_or(0))),
        }
    }
}

/// A `Connection` that names what frames or addresses the message would make a proxy strip it.
fn check_connection(value: &[u8]) -> Result<(), Refusal> {
    let protected: [&[u8]; 3] = [b"host", b"content-length", b"transfer-encoding"];
    let names_protected = value
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .any(|option| protected.iter().any(|name| option.eq_ignore_ascii_case(name)));
    if names_protected { Err(Refusal::bad("Connection names a field it may not")) } else { Ok(()) }
}

/// True for a well-formed list of registered codings, `chunked` at most as the last; anything else is malformed.
fn names_other_coding(value: &[u8]) -> bool {
    let registered: [&[u8]; 5] = [b"gzip", b"x-gzip", b"deflate", b"compress", b"x-compress"];
    let mut codings = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).rev().peekable();
    codings.next_if(|last| last.eq_ignore_ascii_case(b"chunked"));
    codings.peek().is_some()
        && codings.all(|coding| registered.iter().any(|name| coding.eq_ignore_ascii_case(name)))
}
