//! What an answer that is a file, or a part of one, says of it; pure.

use std::time::{SystemTime, UNIX_EPOCH};

use hyper::StatusCode;
use hyper::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    HeaderMap, HeaderValue, LAST_MODIFIED, VARY,
};

use super::conditions::Validators;
use super::folder::Opened;
use super::ranges::{Part, Ranged};

/// What a file says of itself, whatever is sent of it.
pub fn file_headers(opened: &Opened, cache_control: Option<&HeaderValue>, now: SystemTime) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(9);
    headers.insert(CONTENT_TYPE, opened.media_type.clone());
    // A file from the future would never be seen to change (RFC 9110 §8.8.2.1).
    headers.insert(LAST_MODIFIED, date(opened.modified.min(now)));
    headers.insert(ETAG, etag(opened));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Some(coding) = opened.coding {
        headers.insert(CONTENT_ENCODING, coding.value());
    }
    if opened.varies {
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    }
    if let Some(cache_control) = cache_control {
        headers.insert(CACHE_CONTROL, cache_control.clone());
    }
    headers
}

/// What tells this state of a thing from another, by what its head says.
pub fn validators(headers: &HeaderMap) -> Validators<'_> {
    let modified = headers.get(LAST_MODIFIED).and_then(|value| value.to_str().ok());
    Validators {
        etag: headers.get(ETAG).map(HeaderValue::as_bytes),
        modified: modified.and_then(|value| httpdate::parse_http_date(value).ok()),
    }
}

impl Ranged {
    /// Says in a head what is sent of a thing that is so long; gives the status and the part.
    pub fn describe(self, length: u64, headers: &mut HeaderMap) -> (StatusCode, Part) {
        let (status, part, range) = match self {
            Ranged::Whole => (StatusCode::OK, Part { start: 0, length }, None),
            Ranged::Part(part) => {
                let last = part.start + part.length - 1;
                let range = format!("bytes {}-{last}/{length}", part.start);
                (StatusCode::PARTIAL_CONTENT, part, Some(range))
            }
            Ranged::Unsatisfiable => {
                let nothing = Part { start: 0, length: 0 };
                (StatusCode::RANGE_NOT_SATISFIABLE, nothing, Some(format!("bytes */{length}")))
            }
        };
        headers.insert(CONTENT_LENGTH, HeaderValue::from(part.length));
        if let Some(range) = range {
            headers.insert(CONTENT_RANGE, HeaderValue::try_from(range).expect("digits and words"));
        }
        (status, part)
    }
}

/// A strong tag: a file that is written anew has another time to the nanosecond, or another length.
fn etag(opened: &Opened) -> HeaderValue {
    let time = opened.modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    let coding = opened.coding.map_or("", |coding| coding.suffix());
    let tag = format!("\"{:x}{:08x}-{:x}{coding}\"", time.as_secs(), time.subsec_nanos(), opened.length);
    HeaderValue::try_from(tag).expect("digits, letters and dots")
}

fn date(time: SystemTime) -> HeaderValue {
    HeaderValue::try_from(httpdate::fmt_http_date(time)).expect("a date is visible ASCII")
}
