//! What clients of Bayeux may send.

use hyper::Method;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};

use super::{body, envelope};
use crate::fuzz::kind;

/// Bodies in each of their forms, and the messages in them.
pub(crate) fn messages(input: &[u8]) -> u64 {
    let form =
        HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"))]);
    let query = std::str::from_utf8(input).ok();
    let mut seen = Vec::new();
    let carried = [
        body::read(&Method::POST, &HeaderMap::new(), None, input),
        body::read(&Method::POST, &form, None, input),
        body::read(&Method::GET, &HeaderMap::new(), query, b""),
    ];
    for carried in carried {
        let Ok(carried) = carried else {
            seen.push((usize::MAX, 0));
            continue;
        };
        for text in carried.texts {
            let messages = envelope::read(&text);
            for message in messages.iter().flatten() {
                let _ = (message.ext(), message.raw_ext(), message.wanted(), message.channel());
                let subscriptions = message.subscriptions().map_or(0, |names| names.len());
                let said = envelope::Reply::to(message).json();
                // Numbers that are too large for ours are some parser's.
                let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(&said).is_ok();
                assert!(is_json, "an answer that is no JSON");
                seen.push((subscriptions, message.channel().len()));
            }
            seen.push((messages.map_or(usize::MAX, |messages| messages.len()), 1));
        }
    }
    kind(seen)
}
