//! The body of an answer that is held, as it was before the application compressed it for the client: what comes behind
//! it isn't compressed, and a client that was told of a coding would take it for broken bytes.

use bytes::Bytes;
use hyper::header::{CONTENT_ENCODING, HeaderMap};

use super::refusal::Refusal;
use crate::edge::{Undecoded, decode};
use crate::hold::BadInstruction;

/// Takes the coding out of head and body. `limit` bounds the bytes that come of it; `what` is said to be wrong where it
/// can't be taken out.
pub(super) fn decoded(
    headers: &mut HeaderMap,
    body: Bytes,
    limit: usize,
    what: &'static str,
) -> Result<Bytes, Refusal> {
    let Some(coding) = headers.get(CONTENT_ENCODING).cloned() else { return Ok(body) };
    decode(headers, body, limit).map_err(|error| match error {
        Undecoded::TooLarge => Refusal::HoldBody,
        Undecoded::Unknown | Undecoded::Broken => {
            let value = String::from_utf8_lossy(coding.as_bytes()).chars().take(200).collect();
            Refusal::BadInstruction(BadInstruction { header: what, value, reason: error.to_string() })
        }
    })
}
