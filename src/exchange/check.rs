//! What a request must be before the application sees anything of it (RFC 9110 §7, RFC 9112 §3, §6); pure.
//!
//! Heads that only their raw bytes betray (both lengths, bare line feeds) are refused before HTTP is spoken.

use hyper::body::Body as _;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use hyper::{Method, Uri, Version};

use super::refusal::Refusal;
use crate::body::ClientBody;

/// What a request wants, as far as its steps depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    /// Whether the connection may serve another request.
    pub(super) keep_alive: bool,
    /// Whether it asks for a WebSocket.
    pub(super) websocket: bool,
    /// Whether it wants trailers.
    pub(super) trailers: bool,
    /// Whether it may be sent twice (RFC 9110 §9.2.2) and can be, having no body.
    pub(super) replayable: bool,
    /// Whether the answer may be a hold.
    pub(super) holdable: bool,
    pub(super) framing: Framing,
}

impl Asked {
    pub(super) fn has_body(&self) -> bool {
        !matches!(self.framing, Framing::Absent | Framing::Length(0))
    }
}

/// How long the request's body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none, and nothing is said about it.
    Absent,
    /// So many bytes, which may be none.
    Length(u64),
    /// It has no length.
    Chunked,
}

/// Reads a request's head; the limit is that of its body, in bytes.
pub(super) fn check(parts: &Parts, body: &ClientBody, limit: Option<u64>) -> Result<Asked, Refusal> {
    let length = if body.is_end_stream() { Some(0) } else { body.size_hint().exact() };
    read(parts, length, limit)
}

/// The same of a request whose body is gone.
pub(super) fn without_body(parts: &Parts) -> Result<Asked, Refusal> {
    read(parts, Some(0), None)
}

/// With the length of the body, `None` where it is chunked.
fn read(parts: &Parts, length: Option<u64>, limit: Option<u64>) -> Result<Asked, Refusal> {
    if matches!(parts.method, Method::CONNECT | Method::TRACE) || parts.method.as_str() == "TRACK" {
        return Err(Refusal::Method);
    }
    check_target(&parts.uri, &parts.method)?;
    let fields = Fields::of(&parts.headers);
    check_host(parts, &fields.hosts)?;
    if fields.expects_more && parts.version >= Version::HTTP_11 {
        return Err(Refusal::Expectation);
    }
    let framing = check_framing(&fields, length, limit)?;
    let bodiless = framing == Framing::Absent || framing == Framing::Length(0);
    let version_1_1 = parts.version == Version::HTTP_11;
    Ok(Asked {
        // A stream of HTTP/2 has one request.
        keep_alive: !fields.close && parts.version < Version::HTTP_2 && (version_1_1 || fields.keep_alive),
        // One that was asked for over HTTP/2 has the words of HTTP/1 by now, which nobody else can say there.
        websocket: parts.version > Version::HTTP_10
            && bodiless
            && parts.method == Method::GET
            && fields.ask_websocket(),
        trailers: fields.trailers,
        replayable: bodiless && parts.method.is_idempotent(),
        holdable: parts.method != Method::HEAD,
        framing,
    })
}

/// The fields of a head that its meaning depends on, found in one pass.
#[derive(Default)]
struct Fields<'a> {
    hosts: Lines<'a>,
    codings: Lines<'a>,
    lengths: Lines<'a>,
    upgrades: Lines<'a>,
    /// `Expect` wants what can't be met: all but `100-continue` (RFC 9110 §10.1.1).
    expects_more: bool,
    trailers: bool,
    /// Words of `Connection`.
    close: bool,
    keep_alive: bool,
    upgrade: bool,
}

/// The lines of one field.
#[derive(Default)]
struct Lines<'a> {
    first: Option<&'a HeaderValue>,
    count: usize,
}

impl<'a> Fields<'a> {
    fn of(headers: &'a HeaderMap) -> Fields<'a> {
        let mut fields = Fields::default();
        for (name, value) in headers {
            match *name {
                HOST => fields.hosts.add(value),
                TRANSFER_ENCODING => fields.codings.add(value),
                CONTENT_LENGTH => fields.lengths.add(value),
                UPGRADE => fields.upgrades.add(value),
                EXPECT => fields.expects_more |= !value.as_bytes().eq_ignore_ascii_case(b"100-continue"),
                TE => fields.trailers |= tokens(value.as_bytes()).any(|token| is(token, b"trailers")),
                CONNECTION => tokens(value.as_bytes()).for_each(|word| fields.note_connection(word)),
                _ => {}
            }
        }
        fields
    }

    fn note_connection(&mut self, word: &[u8]) {
        self.close |= is(word, b"close");
        self.keep_alive |= is(word, b"keep-alive");
        self.upgrade |= is(word, b"upgrade");
    }

    fn ask_websocket(&self) -> bool {
        self.upgrade && self.upgrades.first.is_some_and(|protocol| is(protocol.as_bytes(), b"websocket"))
    }
}

impl<'a> Lines<'a> {
    fn add(&mut self, value: &'a HeaderValue) {
        self.first.get_or_insert(value);
        self.count += 1;
    }
}

fn is(text: &[u8], word: &[u8]) -> bool {
    text.eq_ignore_ascii_case(word)
}

fn check_target(uri: &Uri, method: &Method) -> Result<(), Refusal> {
    let path = uri.path();
    if uri.scheme_str().is_some_and(|scheme| scheme != "http" && scheme != "https") {
        return Err(Refusal::BadRequest("the target's scheme is not http or https"));
    }
    let options = *method == Method::OPTIONS && path == "*";
    if !(path.starts_with('/') && (uri.scheme().is_some() || uri.authority().is_none()) || options) {
        return Err(Refusal::BadRequest("the target is not a path"));
    }
    Ok(())
}

/// Exactly one valid Host, which agrees with an absolute target (RFC 9112 §3.2).
fn check_host(parts: &Parts, hosts: &Lines<'_>) -> Result<(), Refusal> {
    if hosts.count > 1 {
        return Err(Refusal::BadRequest("there is more than one Host"));
    }
    let Some(host) = hosts.first else {
        let optional = parts.version < Version::HTTP_11;
        return if optional { Ok(()) } else { Err(Refusal::BadRequest("there is no Host")) };
    };
    if !is_host(host.as_bytes()) {
        return Err(Refusal::BadRequest("the Host is not valid"));
    }
    let agrees = |authority: &Authority| authority.as_str().as_bytes().eq_ignore_ascii_case(host.as_bytes());
    if !parts.uri.authority().is_none_or(agrees) {
        return Err(Refusal::BadRequest("the Host is not that of the target"));
    }
    Ok(())
}

/// A name or address with an optional port; no user, no path, no list.
fn is_host(host: &[u8]) -> bool {
    let (name, port) = match host {
        [b'[', rest @ ..] => match memchr::memchr(b']', rest) {
            Some(end) => (&rest[..end], &rest[end + 1..]),
            None => return false,
        },
        _ => host.split_at(memchr::memchr(b':', host).unwrap_or(host.len())),
    };
    let literal = host.first() == Some(&b'[');
    let in_name = |byte: &u8| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'%' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')')
            || matches!(byte, b'*' | b'+' | b';' | b'=')
            || literal && *byte == b':'
    };
    !name.is_empty() && name.iter().all(in_name) && is_port(port)
}

fn is_port(port: &[u8]) -> bool {
    match port {
        [] => true,
        [b':', digits @ ..] => {
            let number =
                std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
            number.is_some_and(|text| text.is_empty() || text.parse::<u16>().is_ok())
        }
        _ => false,
    }
}

fn check_framing(fields: &Fields<'_>, length: Option<u64>, limit: Option<u64>) -> Result<Framing, Refusal> {
    if let Some(coding) = fields.codings.first {
        if !is(coding.as_bytes(), b"chunked") || fields.codings.count > 1 {
            return Err(Refusal::BadRequest("the only transfer coding is chunked"));
        }
        return Ok(Framing::Chunked);
    }
    if fields.lengths.count > 1 {
        return Err(Refusal::BadRequest("there is more than one Content-Length"));
    }
    match length {
        Some(length) if limit.is_some_and(|limit| length > limit) => Err(Refusal::BodyTooLarge),
        Some(0) if fields.lengths.count == 0 => Ok(Framing::Absent),
        Some(length) => Ok(Framing::Length(length)),
        None => Ok(Framing::Chunked),
    }
}

/// The items of a list.
pub(super) fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Option<u64> = Some(1000);

    /// A head as it stands on the wire, read by the same parser that HTTP uses.
    fn parts(head: &str) -> Parts {
        let mut fields = [httparse::EMPTY_HEADER; 16];
        let mut parsed = httparse::Request::new(&mut fields);
        parsed.parse(head.as_bytes()).unwrap();
        let version = if parsed.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
        let mut request = hyper::Request::builder()
            .method(parsed.method.unwrap())
            .uri(parsed.path.unwrap())
            .version(version);
        for field in parsed.headers {
            request = request.header(field.name, field.value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn refused(head: &str, length: Option<u64>) -> Option<(u16, String)> {
        let refusal = read(&parts(head), length, LIMIT).err()?;
        Some((refusal.status().as_u16(), refusal.to_string()))
    }

    #[test]
    fn ordinary_requests_pass() {
        let pass = [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.0\r\n\r\n",
            "GET http://A.example:80/x HTTP/1.1\r\nHost: a.example:80\r\n\r\n",
            "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a_b-c.example:\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\n\r\n",
            "GET / HTTP/1.0\r\nExpect: the-moon\r\n\r\n",
        ];
        for head in pass {
            assert_eq!(refused(head, Some(0)), None, "{head}");
        }
    }

    #[test]
    fn what_could_be_misread_is_refused() {
        let bad = [
            ("GET / HTTP/1.1\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a/b?x\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: \r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n", 400),
            ("GET http://evil/x HTTP/1.1\r\nHost: good\r\n\r\n", 400),
            ("GET foo://good/x HTTP/1.1\r\nHost: good\r\n\r\n", 400),
            ("GET good:80 HTTP/1.1\r\nHost: good:80\r\n\r\n", 400),
            ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 405),
            ("TRACE / HTTP/1.1\r\nHost: a\r\nCookie: secret\r\n\r\n", 405),
            ("GET / HTTP/1.1\r\nHost: a\r\nExpect: 200-maybe\r\n\r\n", 417),
            ("GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue, x\r\n\r\n", 417),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 400),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
                400,
            ),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n", 400),
        ];
        for (head, status) in bad {
            assert_eq!(refused(head, Some(0)).map(|(status, _)| status), Some(status), "{head}");
        }
    }

    #[test]
    fn a_declared_body_over_the_limit_is_refused_at_once() {
        let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n";
        assert_eq!(refused(post, Some(1001)).map(|(status, _)| status), Some(413));
        assert_eq!(refused(post, Some(1000)), None);
    }

    #[test]
    fn what_the_client_wants_is_understood() {
        let asked = |head: &str, length| read(&parts(head), length, LIMIT).unwrap();
        let get = asked("GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n", Some(0));
        assert!(get.keep_alive && get.trailers && get.replayable && get.holdable && !get.websocket);
        assert_eq!(get.framing, Framing::Absent);
        let close = asked("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n", Some(0));
        assert!(!close.keep_alive);
        assert!(!asked("GET / HTTP/1.0\r\n\r\n", Some(0)).keep_alive);
        assert!(asked("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", Some(0)).keep_alive);
        let post = asked("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", Some(0));
        assert!(!post.replayable && post.framing == Framing::Length(0));
        let put = asked("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n", None);
        assert!(!put.replayable && put.framing == Framing::Chunked);
        assert!(!asked("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", Some(0)).holdable);
        let upgrade = |rest: &str| asked(&format!("GET / HTTP/1.1\r\nHost: a\r\n{rest}\r\n\r\n"), Some(0));
        assert!(upgrade("Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket").websocket);
        assert!(!upgrade("Upgrade: websocket").websocket);
        assert!(!upgrade("Connection: upgrade\r\nUpgrade: h2c").websocket);
    }
}
