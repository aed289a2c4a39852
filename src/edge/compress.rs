//! Whether an answer is compressed on its way, and by which coding (RFC 9110 §8.4, §12.5.3).
//!
//! Never an event stream, which would wait in the coder; never a file, which has copies beside it; never what is a part of something, is compressed already, or
//! says `no-transform`.

use hyper::body::Body as _;
use hyper::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, VARY,
};
use hyper::{Response, StatusCode};

use super::encoder;
use super::weights::weights;
use crate::body::Body;
use crate::config::{CompressConfig, Encoding};

/// Compression of one route's answers.
pub(super) struct Compression {
    encodings: Box<[Encoding]>,
    min_size: u64,
    types: Box<[String]>,
}

/// What says something of a body's bytes and would be wrong of other ones.
const DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("repr-digest"),
];

impl Compression {
    /// As configured.
    pub(super) fn new(config: &CompressConfig) -> Compression {
        let CompressConfig { encodings, min_size, types } = config;
        Compression {
            encodings: encodings.as_slice().into(),
            min_size: *min_size as u64,
            types: types.as_slice().into(),
        }
    }

    /// The coding that the client of this request likes best; of equals the first that is configured.
    pub(super) fn choose(&self, request: &HeaderMap) -> Option<Encoding> {
        let liked: Vec<(&[u8], u16)> = weights(request, ACCEPT_ENCODING).collect();
        let weight = |names: &[&str]| {
            let is = |name: &[u8]| names.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
            liked.iter().find(|(name, _)| is(name)).map(|(_, weight)| *weight)
        };
        let plain = weight(&["identity"]).unwrap_or_default();
        let wanted = |encoding: &Encoding| {
            let weight = weight(names(*encoding)).or_else(|| weight(&["*"])).unwrap_or_default();
            (weight > 0 && weight >= plain).then_some((weight, *encoding))
        };
        let candidates = self.encodings.iter().filter_map(wanted);
        candidates
            .reduce(|best, next| if next.0 > best.0 { next } else { best })
            .map(|(_, encoding)| encoding)
    }

    /// Compresses an answer that may be, or says to caches that it would have been for another client.
    pub(super) fn apply(&self, chosen: Option<Encoding>, response: &mut Response<Body>) {
        if !self.is_for(response) {
            return;
        }
        add_vary(response.headers_mut());
        let Some(encoding) = chosen else { return };
        let body = std::mem::take(response.body_mut());
        match encoder::compress(encoding, body) {
            Ok(body) => {
                *response.body_mut() = body;
                encoded(response.headers_mut(), encoding);
            }
            Err(body) => *response.body_mut() = body,
        }
    }

    fn is_for(&self, response: &Response<Body>) -> bool {
        let headers = response.headers();
        let status = response.status();
        let whole = !status.is_informational()
            && !matches!(
                status,
                StatusCode::NO_CONTENT | StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED
            );
        let transformed =
            [CONTENT_ENCODING, CONTENT_RANGE].iter().chain(&DIGESTS).any(|name| headers.contains_key(name));
        // What only stands for a file can't be read here.
        let is_file = matches!(response.body(), Body::File(_));
        whole
            && !is_file
            && !transformed
            && !forbids(headers)
            && self.is_large(response)
            && self.is_worth(headers)
    }

    /// A body of unknown size may become large.
    fn is_large(&self, response: &Response<Body>) -> bool {
        response.body().size_hint().exact().is_none_or(|size| size >= self.min_size)
    }

    fn is_worth(&self, headers: &HeaderMap) -> bool {
        let Some(value) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
            return false;
        };
        let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let kind = essence.split('/').next().unwrap_or_default();
        let is = |known: &String| match known.strip_suffix("/*") {
            Some(known) => known == kind,
            None => *known == essence,
        };
        essence != "text/event-stream" && self.types.iter().any(is)
    }
}

/// A coding as clients name it.
fn names(encoding: Encoding) -> &'static [&'static str] {
    match encoding {
        // RFC 9110 §8.4.1.3.
        Encoding::Gzip => &["gzip", "x-gzip"],
        Encoding::Brotli => &["br"],
        Encoding::Zstd => &["zstd"],
    }
}

fn forbids(headers: &HeaderMap) -> bool {
    let says = |value: &HeaderValue| {
        let mut words = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        words.any(|word| word.eq_ignore_ascii_case(b"no-transform"))
    };
    headers.get_all(CACHE_CONTROL).iter().any(says)
}

fn add_vary(headers: &mut HeaderMap) {
    let says = |value: &HeaderValue| {
        let mut names = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        names.any(|name| name == b"*" || name.eq_ignore_ascii_case(b"accept-encoding"))
    };
    if !headers.get_all(VARY).iter().any(says) {
        headers.append(VARY, HeaderValue::from_static("accept-encoding"));
    }
}

fn encoded(headers: &mut HeaderMap, encoding: Encoding) {
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static(names(encoding)[0]));
    headers.remove(CONTENT_LENGTH);
    headers.remove(ACCEPT_RANGES);
    // Other bytes with the same meaning (RFC 9110 §8.8.1).
    let weak = headers.get(ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/"));
    if let Some(weak) = weak.and_then(|tag| HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat()).ok()) {
        headers.insert(ETAG, weak);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compression() -> Compression {
        Compression::new(&CompressConfig::default())
    }

    #[test]
    fn the_client_chooses_by_weight_and_the_configuration_among_equals() {
        use Encoding::{Brotli, Gzip, Zstd};
        let table = [
            ("gzip, deflate, br, zstd", Some(Zstd)),
            ("gzip, deflate, br", Some(Brotli)),
            ("gzip;q=1.0, br;q=0.5", Some(Gzip)),
            ("x-gzip", Some(Gzip)),
            ("GZIP ; Q=0.1", Some(Gzip)),
            ("*", Some(Zstd)),
            ("*, zstd;q=0", Some(Brotli)),
            ("gzip;q=0", None),
            ("gzip;q=0.5, identity", None),
            ("gzip;q=0.5, identity;q=0.5", Some(Gzip)),
            ("identity", None),
            ("deflate", None),
            ("", None),
        ];
        for (accept, encoding) in table {
            let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(accept))]);
            assert_eq!(compression().choose(&headers), encoding, "{accept}");
        }
        assert_eq!(compression().choose(&HeaderMap::new()), None);
    }

    type Fields = &'static [(&'static str, &'static str)];

    fn response(status: u16, fields: &[(&str, &str)], size: usize) -> Response<Body> {
        let mut response = Response::builder().status(status);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        response.body(Body::from(vec![b'a'; size])).unwrap()
    }

    fn applied(status: u16, fields: &[(&str, &str)], size: usize) -> HeaderMap {
        let mut response = response(status, fields, size);
        compression().apply(Some(Encoding::Gzip), &mut response);
        response.headers().clone()
    }

    #[test]
    fn an_answer_that_is_compressed_says_so_in_every_field_that_speaks_of_it() {
        let fields = [
            ("content-type", "text/html; charset=utf-8"),
            ("etag", "\"a\""),
            ("content-length", "2000"),
            ("accept-ranges", "bytes"),
            ("vary", "Cookie"),
        ];
        let headers = applied(200, &fields, 2000);
        assert_eq!(
            (&headers[CONTENT_ENCODING], &headers[ETAG]),
            (&"gzip".parse().unwrap(), &"W/\"a\"".parse().unwrap())
        );
        assert!(!headers.contains_key(CONTENT_LENGTH) && !headers.contains_key(ACCEPT_RANGES));
        assert_eq!(headers.get_all(VARY).iter().collect::<Vec<_>>(), ["Cookie", "accept-encoding"]);
        let mut plain = response(200, &fields, 2000);
        compression().apply(None, &mut plain);
        assert_eq!(plain.headers().get_all(VARY).iter().count(), 2, "caches have to know");
        assert_eq!(
            (&plain.headers()[ETAG], plain.headers().contains_key(CONTENT_ENCODING)),
            (&"\"a\"".parse().unwrap(), false)
        );
    }

    #[test]
    fn what_must_stay_as_it_is_stays() {
        const TEXT: (&str, &str) = ("content-type", "text/plain");
        let table: [(u16, Fields, usize); 13] = [
            (200, &[("content-type", "text/event-stream")], 2000),
            (200, &[("content-type", "Text/Event-Stream; charset=utf-8")], 2000),
            (200, &[("content-type", "image/png")], 2000),
            (200, &[], 2000),
            (200, &[TEXT], 1023),
            (200, &[TEXT, ("content-encoding", "br")], 2000),
            (200, &[TEXT, ("cache-control", "public, No-Transform")], 2000),
            (200, &[TEXT, ("content-range", "bytes 0-1/2")], 2000),
            (200, &[TEXT, ("repr-digest", "sha-256=:x:")], 2000),
            (206, &[TEXT], 2000),
            (204, &[TEXT], 2000),
            (304, &[TEXT], 2000),
            (200, &[TEXT, ("content-md5", "x")], 2000),
        ];
        for (status, fields, size) in table {
            let headers = applied(status, fields, size);
            assert_eq!(headers, *response(status, fields, size).headers(), "{status} {fields:?}");
        }
        for (status, media_type) in [(200, "application/json"), (404, "TEXT/HTML"), (200, "image/svg+xml")] {
            assert!(
                applied(status, &[("content-type", media_type)], 2000).contains_key(CONTENT_ENCODING),
                "{media_type}"
            );
        }
    }
}
