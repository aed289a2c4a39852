//! Whose head a handed-on answer has: the application's, filled up from where the rest of it lies; pure.

use hyper::StatusCode;
use hyper::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    HeaderMap, LAST_MODIFIED, VARY,
};
use hyper::http::response::Parts;

use super::super::forwarding::to_client;

/// What the application has said of the answer, but for its length.
#[derive(Debug)]
pub(in crate::exchange) struct Said {
    pub(in crate::exchange) status: StatusCode,
    pub(in crate::exchange) headers: HeaderMap,
}

impl Said {
    /// An answer without content gets one, and its parts are made here.
    pub(super) fn of(head: Parts) -> Said {
        let Parts { status, mut headers, .. } = head;
        to_client(&mut headers, false);
        for name in [CONTENT_LENGTH, CONTENT_RANGE, ACCEPT_RANGES] {
            headers.remove(name);
        }
        let status = match status {
            StatusCode::NO_CONTENT | StatusCode::PARTIAL_CONTENT => StatusCode::OK,
            status => status,
        };
        Said { status, headers }
    }

    /// Whether it says by itself what tells one state from another.
    pub(super) fn has_validator(&self) -> bool {
        self.headers.contains_key(ETAG) || self.headers.contains_key(LAST_MODIFIED)
    }

    /// Adds what the target says and the application doesn't. How the bytes are coded only the target knows, and
    /// validators are all of one of them.
    pub(in crate::exchange) fn fill(&mut self, target: &HeaderMap) {
        let keeps_validators = self.has_validator();
        for (name, value) in target {
            let wanted = match *name {
                CONTENT_ENCODING | CONTENT_RANGE | ACCEPT_RANGES => true,
                CONTENT_TYPE | CACHE_CONTROL => !self.headers.contains_key(name),
                ETAG | LAST_MODIFIED => !keeps_validators,
                VARY => {
                    self.headers.append(VARY, value.clone());
                    false
                }
                _ => false,
            };
            if wanted {
                self.headers.insert(name, value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::Response;

    use super::*;

    fn said(status: u16, fields: &[(&str, &str)]) -> Said {
        let mut response = Response::builder().status(status);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        Said::of(response.body(()).unwrap().into_parts().0)
    }

    fn text(headers: &HeaderMap) -> Vec<String> {
        let mut all: Vec<String> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        all.sort();
        all
    }

    #[test]
    fn the_application_speaks_first_and_the_target_of_its_bytes() {
        let mut said = said(
            204,
            &[
                ("set-cookie", "a=1"),
                ("content-type", "image/png"),
                ("content-length", "0"),
                ("etag", "\"app\""),
                ("x-reproxy-url", "http://secret/"),
                ("x-reproxy-expected-size", "7"),
                ("content-range", "bytes 0-0/1"),
            ],
        );
        let target = [
            ("content-type", "text/plain"),
            ("last-modified", "yesterday"),
            ("content-encoding", "br"),
            ("set-cookie", "evil=1"),
            ("x-reproxy-file", "/etc/passwd"),
            ("location", "http://evil/"),
            ("cache-control", "no-store"),
        ];
        let target = target
            .map(|(name, value)| (hyper::header::HeaderName::from_static(name), value.parse().unwrap()));
        said.fill(&HeaderMap::from_iter(target));
        assert_eq!(said.status, StatusCode::OK);
        let expected = [
            "cache-control: no-store",
            "content-encoding: br",
            "content-type: image/png",
            "etag: \"app\"",
            "set-cookie: a=1",
        ];
        assert_eq!(text(&said.headers), expected);
    }

    #[test]
    fn an_error_of_the_application_stays_one() {
        assert_eq!(said(404, &[]).status, StatusCode::NOT_FOUND);
        assert_eq!(said(206, &[]).status, StatusCode::OK);
    }
}
