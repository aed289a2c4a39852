//! The first line of a request: method, target and version, each refused with a status of its own.
//!
//! Decides nothing about paths: `/a/../b` and `%2f` pass, since only a route can say what they mean.

use std::ops::Range;

use super::authority::is_authority;
use super::request_reader::{HeadLimits, Refusal};

/// Longest method; registered ones have at most seventeen bytes (`UPDATEREDIRECTREF`).
const METHOD_BYTES_MAX: usize = 32;
/// ` HTTP/1.1`, what stands behind the target.
const VERSION_BYTES: usize = 9;

const BAD_LINE: Refusal = Refusal::bad("malformed request line");
const TARGET_TOO_LONG: Refusal = Refusal { status: 414, reason: "request target too long" };

/// What the rest of the head is judged by.
#[derive(Debug, Clone)]
pub(super) struct RequestLine {
    pub(super) version: Version,
    /// Where in the line the method ends, which begins it.
    pub(super) method_end: usize,
    /// Where in the line the target stands.
    pub(super) target: Range<usize>,
    /// Where in the line the authority of an absolute target stands.
    pub(super) authority: Option<Range<usize>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Http10,
    Http11,
}

impl RequestLine {
    /// Whether it asks about the whole server with an absolute target, which is `*` for whoever comes last (RFC 9112
    /// §3.2.4). `line` is the one that was read, whatever follows it.
    pub(super) fn is_about_the_server(&self, line: &[u8]) -> bool {
        self.authority.as_ref().is_some_and(|authority| authority.end == self.target.end)
            && line.get(..self.method_end) == Some(b"OPTIONS")
    }

    /// Reads a line without its end.
    pub(super) fn parse(line: &[u8], limits: &HeadLimits) -> Result<Self, Refusal> {
        let method_end = method_end(line)?.ok_or(BAD_LINE)?;
        let (method, rest) = (&line[..method_end], &line[method_end + 1..]);
        if rest.len() > limits.target_bytes.saturating_add(VERSION_BYTES) {
            return Err(TARGET_TOO_LONG);
        }
        let target_len = memchr::memrchr(b' ', rest).ok_or(BAD_LINE)?;
        let (target, version) = (&rest[..target_len], &rest[target_len + 1..]);
        if target.len() > limits.target_bytes {
            return Err(TARGET_TOO_LONG);
        }
        refuse_method(method)?;
        let version = Version::parse(version)?;
        let authority = check_target(method, target)?;
        let shift = method_end + 1;
        Ok(RequestLine {
            version,
            method_end,
            target: shift..shift + target_len,
            authority: authority.map(|range| range.start + shift..range.end + shift),
        })
    }

    /// Refuses the beginning of a line whose end hasn't come if no end could mend it.
    ///
    /// Looks at a bounded number of bytes, so that it may be asked after each one.
    pub(super) fn check_beginning(line: &[u8], limits: &HeadLimits) -> Result<(), Refusal> {
        match method_end(line)? {
            // One more for the carriage return that may have come.
            Some(end) if line.len() - end - 1 > limits.target_bytes.saturating_add(VERSION_BYTES + 1) => {
                Err(TARGET_TOO_LONG)
            }
            _ => Ok(()),
        }
    }

    /// What is refused when the head's limit is reached inside this line.
    pub(super) fn too_long() -> Refusal {
        TARGET_TOO_LONG
    }
}

impl Version {
    fn parse(text: &[u8]) -> Result<Self, Refusal> {
        match text {
            b"HTTP/1.1" => Ok(Version::Http11),
            b"HTTP/1.0" => Ok(Version::Http10),
            [b'H', b'T', b'T', b'P', b'/', b'0' | b'2'..=b'9', b'.', b'0'..=b'9'] => {
                Err(Refusal { status: 505, reason: "HTTP version not supported" })
            }
            _ => Err(Refusal::bad("bad HTTP version")),
        }
    }
}

/// Where the method ends, if its end has come.
fn method_end(line: &[u8]) -> Result<Option<usize>, Refusal> {
    for (at, &byte) in line.iter().enumerate().take(METHOD_BYTES_MAX + 1) {
        match byte {
            b' ' if at > 0 => return Ok(Some(at)),
            _ if !is_token_byte(byte) => return Err(not_a_method(line)),
            _ if at == METHOD_BYTES_MAX => return Err(Refusal { status: 501, reason: "unknown method" }),
            _ => {}
        }
    }
    Ok(None)
}

fn not_a_method(line: &[u8]) -> Refusal {
    // The content type of a TLS handshake record (RFC 8446 §5.1).
    if line.first() == Some(&0x16) { Refusal::bad("TLS on a port without TLS") } else { BAD_LINE }
}

/// Methods that aren't served, whatever they are asked of.
pub(super) fn refuse_method(method: &[u8]) -> Result<(), Refusal> {
    match method {
        b"CONNECT" => Err(Refusal { status: 405, reason: "CONNECT is not allowed" }),
        // They would reflect cookies to whoever can make a browser send them.
        b"TRACE" | b"TRACK" => Err(Refusal { status: 405, reason: "TRACE is not allowed" }),
        b"PRI" => Err(Refusal::bad("HTTP/2 is not spoken on this connection")),
        _ => Ok(()),
    }
}

/// Checks the form of a target (RFC 9112 §3.2) and says where its authority is, if it has one.
pub(super) fn check_target(method: &[u8], target: &[u8]) -> Result<Option<Range<usize>>, Refusal> {
    match target {
        [b'/', ..] => check_path(target).map(|()| None),
        b"*" if method == b"OPTIONS" => Ok(None),
        b"*" => Err(Refusal::bad("target * is for OPTIONS only")),
        _ => check_absolute(target).map(Some),
    }
}

fn check_absolute(target: &[u8]) -> Result<Range<usize>, Refusal> {
    let start = scheme_len(target).ok_or(Refusal::bad("target is neither a path nor an http URI"))?;
    let rest = &target[start..];
    let len = memchr::memchr2(b'/', b'?', rest).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(len);
    check_path(path)?;
    if !is_authority(authority) {
        return Err(Refusal::bad("bad host in the target"));
    }
    Ok(start..start + len)
}

fn scheme_len(target: &[u8]) -> Option<usize> {
    let schemes: [&[u8]; 2] = [b"http://", b"https://"];
    let starts =
        |scheme: &&[u8]| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    schemes.into_iter().find(starts).map(<[u8]>::len)
}

/// Refuses what the URI type behind us refuses or cuts, since it would say nothing about why.
fn check_path(path: &[u8]) -> Result<(), Refusal> {
    let query_at = memchr::memchr(b'?', path).unwrap_or(path.len());
    let (path, query) = path.split_at(query_at);
    let classes = path.iter().fold(0, |seen, &byte| seen | PATH_CLASS[usize::from(byte)])
        | query.iter().fold(0, |seen, &byte| seen | QUERY_CLASS[usize::from(byte)]);
    match classes {
        0 => Ok(()),
        ABOVE_ASCII if std::str::from_utf8(path).is_ok() && std::str::from_utf8(query).is_ok() => Ok(()),
        _ if classes & FRAGMENT != 0 => Err(Refusal::bad("fragment in the target")),
        _ => Err(Refusal::bad("illegal character in the target")),
    }
}

const ILLEGAL: u8 = 1;
const FRAGMENT: u8 = 2;
const ABOVE_ASCII: u8 = 4;

static PATH_CLASS: [u8; 256] = target_classes(b'`');
static QUERY_CLASS: [u8; 256] = target_classes(b'"');

/// Zero for what may stand in a target; `extra` is illegal besides what always is.
const fn target_classes(extra: u8) -> [u8; 256] {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b'#' => FRAGMENT,
            0..=b' ' | 0x7f | b'<' | b'>' => ILLEGAL,
            other if other == extra => ILLEGAL,
            0x80.. => ABOVE_ASCII,
            _ => 0,
        };
        byte += 1;
    }
    classes
}

/// True for the characters of a token: methods, field names (RFC 9110 §5.6.2).
pub(super) fn is_token_byte(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

static TOKEN: [bool; 256] = {
    let mut legal = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        legal[byte] = matches!(byte as u8,
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+'
            | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~');
        byte += 1;
    }
    legal
};
