//! Which pages of other origins may read what is held, and their preflights (WHATWG Fetch §3.2); pure.
//!
//! Only held answers, refusals and redirects, the proxy's own and the application's, are marked, and only preflights of what can
//! be held are answered here: what else an application does with other origins stays between it and them.

use std::sync::Arc;

use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HOST, HeaderMap, HeaderValue, ORIGIN,
    RETRY_AFTER, VARY,
};
use hyper::http::request::Parts;
use hyper::http::response;
use hyper::{Method, Response, StatusCode};

use crate::body::Body;
use crate::config::CorsConfig;

/// The origins that a site has named.
#[derive(Debug, Clone, Default)]
pub struct Cors {
    origins: Arc<[HeaderValue]>,
    any: bool,
}

/// Seconds for which a browser remembers an answer: Chromium caps it there.
const REMEMBERED: &str = "7200";

impl Cors {
    /// As configured.
    pub fn new(config: &CorsConfig) -> Cors {
        match config {
            CorsConfig::Any => Cors { origins: Arc::default(), any: true },
            CorsConfig::Origins(origins) => {
                let values = origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
                Cors { origins: values.collect(), any: false }
            }
        }
    }

    /// Whether pages of other origins are meant at all.
    pub fn is_on(&self) -> bool {
        self.any || !self.origins.is_empty()
    }

    /// Whether a page of this origin is one that the site has named.
    pub(super) fn names(&self, origin: &HeaderValue) -> bool {
        self.origins.contains(origin)
    }

    /// Whether a request may become a WebSocket: browsers let any page open one, with its visitor's cookies, and say
    /// whose it is. Pages of the same host may, and those that are named (RFC 6455 §10.2).
    pub(super) fn admits_socket(&self, request: &HeaderMap) -> bool {
        let Some(origin) = request.get(ORIGIN) else { return true };
        let host = request.get(HOST).map(HeaderValue::as_bytes).unwrap_or_default();
        let own = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        let is_own = own.is_some_and(|(scheme, page)| {
            let implied: &[u8] = if scheme == "https" { b":443" } else { b":80" };
            let host = host.strip_suffix(implied).unwrap_or(host);
            page.as_bytes().eq_ignore_ascii_case(host)
        });
        is_own || self.names(origin)
    }

    /// Marks a held answer, unless the application has done so itself. Cookies are for named origins only.
    pub(super) fn mark(&self, origin: Option<&HeaderValue>, answer: &mut HeaderMap) {
        if !self.is_on() || answer.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
            return;
        }
        if self.any {
            answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            return;
        }
        answer.append(VARY, HeaderValue::from_static("origin"));
        if let Some(origin) = origin.filter(|origin| self.names(origin)) {
            answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            answer.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }

    /// Marks an answer that the proxy gives by itself. Pages see `Retry-After` only where it is named.
    pub fn mark_own(&self, origin: Option<&HeaderValue>, answer: &mut HeaderMap) {
        self.mark(origin, answer);
        if answer.contains_key(RETRY_AFTER) && answer.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
            answer
                .entry(ACCESS_CONTROL_EXPOSE_HEADERS)
                .or_insert(const { HeaderValue::from_static("retry-after") });
        }
    }

    /// Marks an answer by which the application refuses what it could have held, or says where that is. A page that can't
    /// read it takes it for a network that is away, and comes back for ever; a redirect is followed only where it could be
    /// read itself (Fetch §4.3).
    pub(super) fn mark_unheld(&self, request: &Parts, answer: &mut response::Parts) {
        let status = answer.status;
        if self.is_on() && (status.is_client_error() || status.is_server_error() || leads_on(status)) {
            self.mark_own(request.headers.get(ORIGIN), &mut answer.headers);
        }
    }

    /// The answer to a preflight of a request that may be held; `None` for everything else.
    pub(super) fn preflight(&self, request: &Parts) -> Option<Response<Body>> {
        if !self.is_on() || request.method != Method::OPTIONS {
            return None;
        }
        let origin = request.headers.get(ORIGIN)?;
        let method = request.headers.get(ACCESS_CONTROL_REQUEST_METHOD)?;
        let may_be_held = method == "GET" || method == "POST";
        if !may_be_held || !(self.any || self.names(origin)) {
            return None;
        }
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        self.mark(Some(origin), headers);
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
        if let Some(wanted) = request.headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
        }
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(REMEMBERED));
        Some(response)
    }
}

/// The redirects that a browser follows (Fetch §2.2.3). 304 isn't one: what it says of origins would hold for an ordinary
/// answer that the browser has kept.
fn leads_on(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    fn cors(origins: &[&str]) -> Cors {
        Cors::new(&CorsConfig::Origins(origins.iter().map(|origin| (*origin).to_owned()).collect()))
    }

    fn marked(cors: &Cors, origin: Option<&str>) -> Vec<String> {
        let mut answer = HeaderMap::new();
        cors.mark(origin.map(|origin| origin.parse().unwrap()).as_ref(), &mut answer);
        answer.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
    }

    #[test]
    fn only_named_origins_read_with_cookies() {
        let named = cors(&["https://www.example.com"]);
        assert_eq!(
            marked(&named, Some("https://www.example.com")),
            [
                "vary: origin",
                "access-control-allow-origin: https://www.example.com",
                "access-control-allow-credentials: true"
            ]
        );
        for other in [None, Some("https://evil.example"), Some("null"), Some("https://www.example.com.evil")]
        {
            assert_eq!(marked(&named, other), ["vary: origin"], "{other:?}");
        }
        assert_eq!(marked(&Cors::new(&CorsConfig::Any), None), ["access-control-allow-origin: *"]);
        assert!(marked(&Cors::default(), Some("https://www.example.com")).is_empty());
        let mut own = HeaderMap::new();
        own.insert(ACCESS_CONTROL_ALLOW_ORIGIN, "https://b.example".parse().unwrap());
        named.mark(Some(&"https://www.example.com".parse().unwrap()), &mut own);
        assert_eq!(own.len(), 1);
    }

    #[test]
    fn a_socket_is_opened_by_pages_of_the_same_host_and_named_ones() {
        let named = cors(&["https://www.example.com"]);
        let admitted = |host: &str, origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().unwrap());
            origin.map(|origin| headers.insert(ORIGIN, origin.parse().unwrap()));
            named.admits_socket(&headers)
        };
        assert!(admitted("a.example", None));
        assert!(admitted("A.example:443", Some("https://a.example")));
        assert!(admitted("a.example:8080", Some("http://a.example:8080")));
        assert!(admitted("a.example", Some("https://www.example.com")));
        for foreign in ["https://evil.example", "https://a.example.evil", "null", "https://a.example:8080"] {
            assert!(!admitted("a.example", Some(foreign)), "{foreign}");
        }
    }

    #[test]
    fn a_preflight_is_answered_for_what_may_be_held() {
        let named = cors(&["https://www.example.com"]);
        let ask = |method: &str, origin: &str, wanted: &str| {
            let request = Request::builder()
                .method(method)
                .header(ORIGIN, origin)
                .header(ACCESS_CONTROL_REQUEST_METHOD, wanted)
                .header(ACCESS_CONTROL_REQUEST_HEADERS, "last-event-id");
            named.preflight(&request.body(()).unwrap().into_parts().0)
        };
        let answer = ask("OPTIONS", "https://www.example.com", "GET").unwrap();
        assert_eq!(answer.status(), 204);
        assert_eq!(answer.headers()[ACCESS_CONTROL_ALLOW_HEADERS], "last-event-id");
        assert_eq!(answer.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], "https://www.example.com");
        for (method, origin, wanted) in [
            ("GET", "https://www.example.com", "GET"),
            ("OPTIONS", "https://evil.example", "GET"),
            ("OPTIONS", "https://www.example.com", "DELETE"),
        ] {
            assert!(ask(method, origin, wanted).is_none(), "{method} {origin} {wanted}");
        }
    }
}
