//! JSON Web Tokens of HMAC-SHA256, made and read (RFC 7519, RFC 7515, RFC 7518 §3.2).
//!
//! By the HMAC that is here already: crates for such tokens bring another implementation of cryptography.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::header::HeaderValue;
use ring::hmac;
use serde::{Deserialize, Serialize};

/// How long a token is valid.
const LIFE: Duration = Duration::from_secs(3600);
/// How long one is used, so that whoever gets it has nearly all of its life.
const USE: Duration = Duration::from_secs(30);

/// Makes tokens that say who sends something: one for many requests.
pub struct Signer {
    key: hmac::Key,
    issuer: Box<str>,
    current: ArcSwapOption<Signed>,
}

struct Signed {
    token: HeaderValue,
    at: SystemTime,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    exp: u64,
}

/// `{"typ":"JWT","alg":"HS256"}`.
const HEADER: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9";

impl Signer {
    /// With a key of any length, as the protocols that use it allow.
    pub fn new(key: &[u8], issuer: &str) -> Signer {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        Signer { key, issuer: issuer.into(), current: ArcSwapOption::empty() }
    }

    /// A token for now.
    pub fn token(&self, now: SystemTime) -> HeaderValue {
        let current = self.current.load();
        if let Some(signed) = &*current
            && now.duration_since(signed.at).is_ok_and(|age| age < USE)
        {
            return signed.token.clone();
        }
        let token = self.sign(now);
        self.current.store(Some(Arc::new(Signed { token: token.clone(), at: now })));
        token
    }

    fn sign(&self, now: SystemTime) -> HeaderValue {
        let exp = seconds(now + LIFE);
        let claims = serde_json::to_vec(&Claims { iss: &self.issuer, exp }).unwrap_or_default();
        let mut token = format!("{HEADER}.{}", URL_SAFE_NO_PAD.encode(claims));
        let tag = hmac::sign(&self.key, token.as_bytes());
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(tag));
        let mut value = HeaderValue::try_from(token).expect("letters, digits, hyphens and points");
        value.set_sensitive(true);
        value
    }
}

/// A token that proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// No token of this kind.
    #[error("it is no JWT with HS256")]
    Form,
    /// Somebody else has signed it, or nobody.
    #[error("its signature is wrong")]
    Signature,
    /// It is over, or says of no moment that it is.
    #[error("it has expired")]
    Expired,
}

#[derive(Deserialize)]
struct Kind<'a> {
    alg: &'a str,
}

#[derive(Deserialize)]
struct Validity {
    exp: Option<f64>,
}

/// Checks that whoever made a token has the key, and that it is valid now.
///
/// # Errors
/// It isn't, or hasn't.
pub fn verify(token: &[u8], key: &[u8], now: SystemTime) -> Result<(), BadToken> {
    let token = std::str::from_utf8(token).map_err(|_| BadToken::Form)?;
    let (signed, tag) = token.rsplit_once('.').ok_or(BadToken::Form)?;
    let (header, claims) = signed.split_once('.').ok_or(BadToken::Form)?;
    let plain = |text: &str| URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| BadToken::Form);
    let header = plain(header)?;
    let Kind { alg } = serde_json::from_slice(&header).map_err(|_| BadToken::Form)?;
    if alg != "HS256" {
        return Err(BadToken::Form);
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::verify(&key, signed.as_bytes(), &plain(tag)?).map_err(|_| BadToken::Signature)?;
    let Validity { exp } = serde_json::from_slice(&plain(claims)?).map_err(|_| BadToken::Form)?;
    if exp.is_some_and(|exp| exp > seconds(now) as f64) { Ok(()) } else { Err(BadToken::Expired) }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_proves_who_has_the_key_as_long_as_it_lives() {
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let signer = Signer::new(b"changeme", "pushpin");
        let token = signer.token(now);
        assert_eq!(verify(token.as_bytes(), b"changeme", now), Ok(()));
        assert_eq!(verify(token.as_bytes(), b"changeme", now + LIFE), Err(BadToken::Expired));
        assert_eq!(verify(token.as_bytes(), b"other", now), Err(BadToken::Signature));
        let claims = token.to_str().unwrap().split('.').nth(1).unwrap();
        let claims = URL_SAFE_NO_PAD.decode(claims).unwrap();
        assert_eq!(claims, br#"{"iss":"pushpin","exp":1800003600}"#);
        assert_eq!(URL_SAFE_NO_PAD.decode(HEADER).unwrap(), br#"{"typ":"JWT","alg":"HS256"}"#);
        for bad in ["", "a.b", "a.b.c", "e30.e30.e30"] {
            assert_eq!(verify(bad.as_bytes(), b"changeme", now), Err(BadToken::Form), "{bad}");
        }
    }

    #[test]
    fn a_token_is_used_for_many_requests() {
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let signer = Signer::new(b"k", "i");
        let first = signer.token(now);
        assert_eq!(signer.token(now + USE - Duration::from_secs(1)), first);
        assert_ne!(signer.token(now + USE), first);
    }

    /// Made by PyJWT 2: `jwt.encode({"iss": "x", "exp": 1800000000}, "key", algorithm="HS256")`.
    #[test]
    fn a_token_of_somebody_else_is_read() {
        let token = b"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJ4IiwiZXhwIjoxODAwMDAwMDAwfQ.bGlZF9xaSlZhd9gvNu6IUgf0oIn1tndE4LdAYvcHFXU";
        let before = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        assert_eq!(verify(token, b"key", before), Ok(()));
    }
}
