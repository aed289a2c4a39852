//! Answers that pages of every origin may read, with the cookies of their visitors, as Pushpin's routes have it (WHATWG
//! Fetch §3.2); pure. What the application says of it itself stays.

use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, CACHE_CONTROL, CONTENT_LANGUAGE,
    CONTENT_LENGTH, CONTENT_TYPE, EXPIRES, HeaderMap, HeaderName, HeaderValue, LAST_MODIFIED, ORIGIN, PRAGMA,
    SET_COOKIE, VARY,
};

/// What a page may ask by, where its preflight names nothing.
const METHODS: &str = "OPTIONS, HEAD, GET, POST, PUT, DELETE";
/// Seconds for which a browser remembers that it may.
const REMEMBERED: &str = "3600";

/// Marks an answer to this request.
pub(super) fn open_up(request: &HeaderMap, answer: &mut HeaderMap) {
    let exposed = exposed(answer);
    let mut add = |name: HeaderName, value: HeaderValue| {
        answer.entry(name).or_insert(value);
    };
    let asked = request.get(ACCESS_CONTROL_REQUEST_METHOD).cloned();
    add(ACCESS_CONTROL_ALLOW_METHODS, asked.unwrap_or(HeaderValue::from_static(METHODS)));
    let wanted = request.get_all(ACCESS_CONTROL_REQUEST_HEADERS).iter().map(HeaderValue::as_bytes);
    let wanted = wanted.collect::<Vec<_>>().join(&b", "[..]);
    let listed =
        [(ACCESS_CONTROL_ALLOW_HEADERS, wanted), (ACCESS_CONTROL_EXPOSE_HEADERS, exposed.into_bytes())];
    for (name, list) in listed.into_iter().filter(|(_, list)| !list.is_empty()) {
        // Made of names and values of heads.
        HeaderValue::try_from(list).into_iter().for_each(|value| add(name.clone(), value));
    }
    add(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    add(ACCESS_CONTROL_ALLOW_ORIGIN, request.get(ORIGIN).cloned().unwrap_or(HeaderValue::from_static("*")));
    add(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(REMEMBERED));
    // What is kept for one origin isn't for another.
    answer.append(VARY, HeaderValue::from_static("origin"));
}

/// What pages see only where it is named.
fn exposed(answer: &HeaderMap) -> String {
    let seen = |name: &HeaderName| {
        [
            CACHE_CONTROL,
            CONTENT_LANGUAGE,
            CONTENT_LENGTH,
            CONTENT_TYPE,
            EXPIRES,
            LAST_MODIFIED,
            PRAGMA,
            SET_COOKIE,
        ]
        .contains(name)
    };
    let names = answer.keys().filter(|name| !seen(name) && !name.as_str().starts_with("access-control-"));
    names.map(HeaderName::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(request: &[(&'static str, &str)], answer: &[(&'static str, &str)]) -> Vec<String> {
        let map = |fields: &[(&'static str, &str)]| {
            let field = |(name, value): &(&'static str, &str)| {
                (HeaderName::from_static(name), value.parse::<HeaderValue>().unwrap())
            };
            fields.iter().map(field).collect::<HeaderMap>()
        };
        let mut answer = map(answer);
        open_up(&map(request), &mut answer);
        let mut lines: Vec<_> =
            answer.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        lines.sort();
        lines
    }

    #[test]
    fn every_origin_reads_everything_with_cookies() {
        assert_eq!(
            opened(
                &[("origin", "https://b.example"), ("access-control-request-method", "PATCH")],
                &[("content-type", "a/b"), ("x-a", "1"), ("etag", "e"), ("set-cookie", "c")]
            )[..6],
            [
                "access-control-allow-credentials: true",
                "access-control-allow-methods: PATCH",
                "access-control-allow-origin: https://b.example",
                "access-control-expose-headers: x-a, etag",
                "access-control-max-age: 3600",
                "content-type: a/b",
            ]
        );
        assert_eq!(
            opened(
                &[("access-control-request-headers", "x-b")],
                &[("access-control-allow-origin", "https://c.example")]
            ),
            [
                "access-control-allow-credentials: true",
                "access-control-allow-headers: x-b",
                "access-control-allow-methods: OPTIONS, HEAD, GET, POST, PUT, DELETE",
                "access-control-allow-origin: https://c.example",
                "access-control-max-age: 3600",
                "vary: origin",
            ]
        );
    }
}
