//! The handshake of a WebSocket that is held (RFC 6455 §4.2); pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::HeaderMap;
use hyper::header::{
    CONTENT_TYPE, HeaderName, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION,
};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

/// Why no WebSocket can be made of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadUpgrade {
    /// It isn't asked for, or not in the one version.
    #[error("this is a WebSocket of version 13, and the request asks for none")]
    Unasked,
    /// The key is none.
    #[error("the key of the WebSocket is not 16 bytes in Base64")]
    Key,
}

const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const VERSION: &str = "13";
const KEY_BYTES: usize = 16;

/// What the answer says to the request's key.
pub(super) fn accept(request: &HeaderMap) -> Result<String, BadUpgrade> {
    let only = |name: HeaderName| {
        let mut values = request.get_all(name).iter();
        values.next().filter(|_| values.next().is_none())
    };
    if only(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != VERSION) {
        return Err(BadUpgrade::Unasked);
    }
    let key = only(SEC_WEBSOCKET_KEY).and_then(|key| key.to_str().ok()).ok_or(BadUpgrade::Key)?;
    match STANDARD.decode(key) {
        Ok(bytes) if bytes.len() == KEY_BYTES => {}
        _ => return Err(BadUpgrade::Key),
    }
    let digest = digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{GUID}").as_bytes());
    Ok(STANDARD.encode(digest))
}

/// Leaves of the application's head what may stand in such an answer: no body, no extension.
pub(super) fn trim(answer: &mut HeaderMap) {
    answer.remove(CONTENT_TYPE);
    answer.remove(SEC_WEBSOCKET_EXTENSIONS);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_the_key_is_that_of_the_standard() {
        let accept = |version: &str, key: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(SEC_WEBSOCKET_VERSION, version.parse().unwrap());
            headers.insert(SEC_WEBSOCKET_KEY, key.parse().unwrap());
            accept(&headers)
        };
        assert_eq!(accept("13", "dGhlIHNhbXBsZSBub25jZQ=="), Ok("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".into()));
        assert_eq!(accept("8", "dGhlIHNhbXBsZSBub25jZQ=="), Err(BadUpgrade::Unasked));
        for key in ["", "dGhl", "dGhlIHNhbXBsZSBub25jZQ", "not base64 at all!!!!!!!"] {
            assert_eq!(accept("13", key), Err(BadUpgrade::Key), "{key}");
        }
    }
}
