//! Judges the head of a request that came over HTTP/2, and writes it as the rest of the process knows heads: a path, one
//! host, and no word of the connection (RFC 9113 §8).
//!
//! The library has refused what isn't HTTP/2: capital letters, fields of a connection, pseudo-fields that are missing,
//! unknown, late or there twice, illegal characters. What is left is what HTTP/1 is asked for as well.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use h2::ext::Protocol;
use hyper::header::{CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, UPGRADE};
use hyper::http::request::Parts;
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Uri};

use crate::listener::authority::is_authority;
use crate::listener::request_head::{FIELD_NAME_BYTES_MAX, Fields, Framing, Head, TOO_MANY_FIELDS};
use crate::listener::request_line::{Version, check_target, refuse_method};
use crate::listener::request_reader::{HeadLimits, Refusal};

const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");
const SEC_WEBSOCKET_KEY: HeaderName = HeaderName::from_static("sec-websocket-key");

/// Reads a head; `is_whole` says that no body follows it.
pub(super) fn read(mut parts: Parts, is_whole: bool, limits: &HeadLimits) -> Result<Head, Refusal> {
    let socket = wants_socket(&parts)?;
    if socket {
        parts.method = Method::GET;
    }
    let target = target(&mut parts, limits)?;
    let authority = std::mem::take(&mut parts.uri).into_parts().authority;
    if parts.headers.len() > limits.headers {
        return Err(TOO_MANY_FIELDS);
    }
    let mut fields = Fields::of(Version::Http11);
    for (name, value) in &parts.headers {
        if name.as_str().len() > FIELD_NAME_BYTES_MAX {
            return Err(Refusal { status: 431, reason: "header name too long" });
        }
        // The library takes it for a letter of names, which it is in no version of HTTP (RFC 9110 §5.6.2).
        if memchr::memchr(b'"', name.as_str().as_bytes()).is_some() {
            return Err(Refusal::bad("malformed header name"));
        }
        fields.note(name, value.as_bytes().trim_ascii())?;
    }
    let authority = authority.as_ref().map(|authority| authority.as_str());
    let host = host(authority, parts.headers.get(HOST))?;
    let expects_continue = fields.expects_continue() && !is_whole;
    let framing = match (is_whole || socket, fields.length()) {
        (true, _) => Framing::Length(0),
        (false, Some(length)) => Framing::Length(length),
        (false, None) => Framing::Chunked,
    };
    parts.headers = rewritten(std::mem::take(&mut parts.headers), host)?;
    if socket {
        ask_for_socket(&mut parts.headers);
    }
    parts.uri = target;
    Ok(Head { parts, framing, keep_alive: false, expects_continue })
}

/// Whether it opens a WebSocket (RFC 8441 §4).
fn wants_socket(parts: &Parts) -> Result<bool, Refusal> {
    match (&parts.method, parts.extensions.get::<Protocol>()) {
        (_, Some(protocol)) if protocol.as_str().eq_ignore_ascii_case("websocket") => Ok(true),
        (_, Some(_)) => Err(Refusal { status: 501, reason: "protocol not supported" }),
        (method, None) => refuse_method(method.as_str().as_bytes()).map(|()| false),
    }
}

/// What is asked for, without scheme and host.
fn target(parts: &mut Parts, limits: &HeadLimits) -> Result<Uri, Refusal> {
    let scheme = parts.uri.scheme_str();
    if scheme.is_some_and(|scheme| !matches!(scheme, "http" | "https")) {
        return Err(Refusal::bad("the scheme is not http or https"));
    }
    let path = parts.uri.path_and_query().map_or("", PathAndQuery::as_str);
    if path.len() > limits.target_bytes {
        return Err(Refusal { status: 414, reason: "request target too long" });
    }
    // One that begins otherwise is none here, though it would be one in HTTP/1.
    if !path.starts_with('/') && path != "*" {
        return Err(Refusal::bad("the target is not a path"));
    }
    check_target(parts.method.as_str().as_bytes(), path.as_bytes())?;
    path.parse().map_err(|_| Refusal::bad("the target is not a path"))
}

/// `:authority`, which a `Host` may stand for, or repeat (RFC 9113 §8.3.1).
fn host(authority: Option<&str>, host: Option<&HeaderValue>) -> Result<HeaderValue, Refusal> {
    let said = match (authority, host) {
        (None, None) => return Err(Refusal::bad("no :authority")),
        (Some(authority), Some(host))
            if !host.as_bytes().trim_ascii().eq_ignore_ascii_case(authority.as_bytes()) =>
        {
            return Err(Refusal::bad("Host differs from :authority"));
        }
        (Some(authority), _) => authority.as_bytes(),
        (None, Some(host)) => host.as_bytes().trim_ascii(),
    };
    match HeaderValue::from_bytes(said) {
        Ok(host) if is_authority(said) => Ok(host),
        _ => Err(Refusal::bad("bad :authority")),
    }
}

/// The fields with the host in front, where it is looked for first, and without the blanks around values, which HTTP/1
/// doesn't count either (RFC 9110 §5.5).
fn rewritten(fields: HeaderMap, host: HeaderValue) -> Result<HeaderMap, Refusal> {
    let mut headers = HeaderMap::with_capacity(fields.len() + 4);
    headers.insert(HOST, host);
    let mut last = None;
    for (name, value) in fields {
        let Some(name) = name.or_else(|| last.clone()) else { continue };
        if name != HOST {
            headers.append(&name, trimmed(value)?);
        }
        last = Some(name);
    }
    Ok(headers)
}

fn trimmed(value: HeaderValue) -> Result<HeaderValue, Refusal> {
    let bytes = value.as_bytes();
    let rest = bytes.trim_ascii();
    if rest.len() == bytes.len() {
        return Ok(value);
    }
    HeaderValue::from_bytes(rest).map_err(|_| Refusal::bad("illegal character in a header value"))
}

/// The words of HTTP/1, which nobody else can have said here. The key is ours, since nobody checks the answer to it.
fn ask_for_socket(headers: &mut HeaderMap) {
    let key = STANDARD.encode(fastrand::u128(..).to_le_bytes());
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, WEBSOCKET);
    headers.insert(SEC_WEBSOCKET_KEY, HeaderValue::try_from(key).expect("Base64 is visible ASCII"));
}

#[cfg(test)]
mod tests {
    use hyper::{Request, Version as HttpVersion};

    use super::*;

    const LIMITS: HeadLimits = HeadLimits { header_bytes: 65536, headers: 5, target_bytes: 100 };

    fn parts(method: &str, uri: &str, fields: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri(uri).version(HttpVersion::HTTP_2);
        for (name, value) in fields {
            request = request.header(HeaderName::from_lowercase(name.as_bytes()).unwrap(), *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn head(
        method: &str,
        uri: &str,
        fields: &[(&str, &str)],
        is_whole: bool,
    ) -> Result<Head, (u16, &'static str)> {
        read(parts(method, uri, fields), is_whole, &LIMITS)
            .map_err(|refusal| (refusal.status, refusal.reason))
    }

    #[test]
    fn a_head_becomes_one_with_a_path_and_a_host() {
        for (uri, fields) in [
            ("https://a.example/x?y", &[("cookie", "a=1"), ("x", " b \t"), ("cookie", "b=2")][..]),
            (
                "https://a.example/x?y",
                &[("host", "A.example"), ("cookie", "a=1"), ("cookie", "b=2"), ("x", "b")],
            ),
            ("/x?y", &[("x", "b"), ("host", "a.example"), ("cookie", "a=1"), ("cookie", "b=2")]),
        ] {
            let head = head("GET", uri, fields, true).unwrap();
            assert_eq!((head.parts.uri.to_string(), head.framing), ("/x?y".into(), Framing::Length(0)));
            let fields =
                head.parts.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
            let mut fields: Vec<String> = fields.collect();
            assert_eq!(fields[0], "host: a.example");
            fields.sort();
            assert_eq!(fields, ["cookie: a=1", "cookie: b=2", "host: a.example", "x: b"]);
        }
        let stars = head("OPTIONS", "*", &[("host", "a")], true).unwrap();
        assert_eq!(stars.parts.uri, "*");
    }

    #[test]
    fn a_body_has_its_length_or_none() {
        let framing =
            |fields: &[(&str, &str)], is_whole| head("POST", "https://a/", fields, is_whole).unwrap().framing;
        assert_eq!(framing(&[], true), Framing::Length(0));
        assert_eq!(framing(&[], false), Framing::Chunked);
        assert_eq!(framing(&[("content-length", "5")], false), Framing::Length(5));
        let expects = |is_whole| head("POST", "https://a/", &[("expect", "100-continue")], is_whole).unwrap();
        assert!(expects(false).expects_continue && !expects(true).expects_continue);
    }

    #[test]
    fn what_two_readers_could_take_for_different_things_is_refused() {
        let long = format!("https://a/{}", "x".repeat(100));
        for (method, uri, fields, status) in [
            ("GET", "/", &[][..], 400),
            ("GET", "https://a/", &[("host", "b")], 400),
            ("GET", "https://a/", &[("host", "a"), ("host", "a")], 400),
            ("GET", "https://u@a/", &[], 400),
            ("GET", "https://a:99999/", &[], 400),
            ("GET", "/", &[("host", "a,b")], 400),
            ("GET", "ftp://a/", &[], 400),
            ("GET", "*", &[("host", "a")], 400),
            ("GET", &long, &[], 414),
            ("GET", "https://a/", &[("a", ""), ("b", ""), ("c", ""), ("d", ""), ("e", ""), ("f", "")], 431),
            ("POST", "https://a/", &[("content-length", "5"), ("content-length", "5")], 400),
            ("POST", "https://a/", &[("content-length", "+5")], 400),
            ("POST", "https://a/", &[("expect", "200-maybe")], 417),
            ("GET", "https://a/", &[("\"x\"", "b")], 400),
            ("GET", "https://a/", &[("authorization", "a"), ("authorization", "b")], 400),
            ("TRACE", "https://a/", &[], 405),
            ("TRACK", "https://a/", &[], 405),
            ("CONNECT", "a:443", &[], 405),
        ] {
            let refused =
                head(method, uri, fields, false).map(|head| head.parts.uri).map_err(|refused| refused.0);
            assert_eq!(refused, Err(status), "{method} {uri} {fields:?}");
        }
    }

    #[test]
    fn a_websocket_is_asked_for_as_in_http_1_with_a_key_of_its_own() {
        let connect = |protocol: &'static str| {
            let mut parts = parts("CONNECT", "https://a/chat", &[("sec-websocket-version", "13")]);
            parts.extensions.insert(Protocol::from_static(protocol));
            read(parts, false, &LIMITS)
        };
        let keys = [0, 1].map(|_| {
            let head = connect("websocket").unwrap();
            let Parts { method, uri, headers, .. } = head.parts;
            assert_eq!(
                (method, uri.to_string(), head.framing),
                (Method::GET, "/chat".into(), Framing::Length(0))
            );
            assert_eq!(
                (&headers["connection"], &headers["upgrade"]),
                (&"upgrade".parse().unwrap(), &WEBSOCKET)
            );
            headers["sec-websocket-key"].clone()
        });
        assert_ne!(keys[0], keys[1]);
        assert_eq!(STANDARD.decode(&keys[0]).unwrap().len(), 16);
        assert_eq!(connect("connect-udp").unwrap_err().status, 501);
    }
}
