//! The head of a request that may have to be made again, in as few bytes as it has: a map takes several times as much, and
//! most of those who are held are silent.

use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request};

/// Fields, as `name:value` lines.
pub(super) struct Lines(Box<[u8]>);

impl Lines {
    pub(super) fn new<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Lines {
        let mut lines = Vec::new();
        for (name, value) in fields {
            [name, b":", value, b"\n"].iter().for_each(|part| lines.extend_from_slice(part));
        }
        Lines(lines.into())
    }

    /// Puts them behind others.
    pub(super) fn append_to(&self, headers: &mut HeaderMap) {
        for line in self.0.split(|byte| *byte == b'\n') {
            let Some(colon) = memchr::memchr(b':', line) else { continue };
            let (name, value) =
                (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(&line[colon + 1..]));
            if let (Ok(name), Ok(value)) = (name, value) {
                headers.append(name, value);
            }
        }
    }
}

/// A client's request.
pub struct KeptRequest {
    method: Method,
    target: Box<str>,
    lines: Lines,
    body: Bytes,
}

impl KeptRequest {
    /// As it came; nothing where it has a body that isn't kept.
    pub fn new(request: &Parts, body: Option<Bytes>) -> Option<KeptRequest> {
        let says_body = |name: &&HeaderName| {
            let name = name.as_str();
            name == "transfer-encoding" || name == "content-length" && request.headers[name] != "0"
        };
        if body.is_none() && request.headers.keys().any(|name| says_body(&name)) {
            return None;
        }
        let fields = request.headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
        let (method, target) = (request.method.clone(), request.uri.to_string().into());
        Some(KeptRequest { method, target, lines: Lines::new(fields), body: body.unwrap_or_default() })
    }

    /// Its body.
    pub fn body(&self) -> Bytes {
        self.body.clone()
    }

    /// Its head; nothing where it is none, which nobody ever kept.
    pub fn parts(&self) -> Option<Parts> {
        let request = Request::builder().method(self.method.clone()).uri(&*self.target).body(()).ok()?;
        let mut parts = request.into_parts().0;
        self.lines.append_to(&mut parts.headers);
        Some(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_kept_as_it_came_unless_it_has_a_body() {
        let request = |fields: &[(&str, &str)]| {
            let builder = Request::builder().method("GET").uri("/a?b=c");
            let builder = fields.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
            builder.body(()).unwrap().into_parts().0
        };
        let came =
            request(&[("host", "example.com"), ("cookie", "a=b"), ("x", "1:2"), ("x", "3"), ("y", "")]);
        let kept = KeptRequest::new(&came, None).unwrap().parts().unwrap();
        assert_eq!((&kept.method, &kept.uri, &kept.headers), (&came.method, &came.uri, &came.headers));
        assert!(KeptRequest::new(&request(&[("content-length", "0")]), None).is_some());
        for body in [("content-length", "5"), ("transfer-encoding", "chunked")] {
            assert!(KeptRequest::new(&request(&[body]), None).is_none(), "{body:?}");
            let kept = KeptRequest::new(&request(&[body]), Some("x".into())).unwrap();
            assert_eq!(kept.body(), "x");
        }
    }
}
