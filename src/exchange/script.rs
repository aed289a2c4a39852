//! The client for browsers, `perihelion.js`, from memory.

use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hyper::body::Body as _;
use hyper::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, ORIGIN, X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};

use super::answer::answer;
use super::files::{read_only, response, without_body};
use super::marks::Marks;
use super::record::{Record, SiteMetrics};
use super::rules::{Client, Rules};
use super::sending::whole;
use super::{Cors, check};
use crate::access_log::AccessLog;
use crate::body::{Body, ClientBody};
use crate::files::{unmet, validators};

/// What is published to npm, too: it stays small enough to be sent in one piece.
const SCRIPT: &str = include_str!("../../deploy/npm/perihelion.js");
/// Of its bytes.
static TAG: LazyLock<HeaderValue> = LazyLock::new(|| {
    let digest = ring::digest::digest(&ring::digest::SHA256, SCRIPT.as_bytes());
    let tag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(&digest.as_ref()[..12]));
    HeaderValue::try_from(tag).expect("letters, digits and dashes")
});

/// Answers a request with the script, with its counters and its line in the log. Pages of the origins that `cors` names
/// may read it as a module.
pub fn serve_script(
    client: &Client,
    rules: &Rules,
    site: &Arc<SiteMetrics>,
    log: &AccessLog,
    (cors, cache_control): (&Cors, &HeaderValue),
    (parts, body): (&Parts, &ClientBody),
) -> Response<Body> {
    let marks = Marks::new(client, rules, &parts.headers);
    let mut record = Record::begin(client, rules, site, log, parts, &marks);
    client.clock.start(rules.body_timeout);
    // No body is read here, so that none is too large.
    if let Err(refusal) = check::check(parts, body, None).and_then(|_| read_only(&parts.method)) {
        record.refused(&refusal, parts);
        return answer(&refusal, !body.is_end_stream(), &parts.headers);
    }
    let mut headers = head(cache_control);
    cors.mark(parts.headers.get(ORIGIN), &mut headers);
    if let Some(outcome) = unmet(&parts.headers, validators(&headers)) {
        return without_body(outcome, headers, &mut record);
    }
    headers.insert(CONTENT_LENGTH, HeaderValue::from(SCRIPT.len()));
    record.head_came(tokio::time::Instant::now());
    record.answers(StatusCode::OK);
    let sent = if parts.method == Method::HEAD { "" } else { SCRIPT };
    response(StatusCode::OK, headers, whole(Bytes::from_static(sent.as_bytes()), &mut record))
}

fn head(cache_control: &HeaderValue) -> HeaderMap {
    HeaderMap::from_iter([
        (CONTENT_TYPE, HeaderValue::from_static("text/javascript; charset=utf-8")),
        (CACHE_CONTROL, cache_control.clone()),
        (ETAG, TAG.clone()),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ])
}
