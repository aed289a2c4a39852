//! JSON Web Tokens, made and read (RFC 7519, RFC 7515): by HMAC-SHA256 with a secret, or with the halves of a pair of keys.
//!
//! By the cryptography that is here already: crates for such tokens bring another implementation of it. A key says how a
//! token has to be signed, never the token itself (RFC 8725 §3.1).

mod ecdsa;
mod keys;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::header::HeaderValue;
use serde::{Deserialize, Serialize};

pub use keys::{BadKey, SigningKey, VerifyingKey};

/// How long a token is valid.
const LIFE: Duration = Duration::from_secs(3600);
/// How long one is used, so that whoever gets it has nearly all of its life.
const USE: Duration = Duration::from_secs(30);

/// Makes tokens that say who sends something: one for many requests.
pub struct Signer {
    key: SigningKey,
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

#[derive(Serialize)]
struct Header {
    typ: &'static str,
    alg: &'static str,
}

impl Signer {
    /// With this key, as this sender.
    pub fn new(key: SigningKey, issuer: &str) -> Signer {
        Signer { key, issuer: issuer.into(), current: ArcSwapOption::empty() }
    }

    /// A token for now; none where the system has no random numbers that a signature needs.
    pub fn token(&self, now: SystemTime) -> Option<HeaderValue> {
        let current = self.current.load();
        if let Some(signed) = &*current
            && now.duration_since(signed.at).is_ok_and(|age| age < USE)
        {
            return Some(signed.token.clone());
        }
        let token = self.sign(now)?;
        self.current.store(Some(Arc::new(Signed { token: token.clone(), at: now })));
        Some(token)
    }

    fn sign(&self, now: SystemTime) -> Option<HeaderValue> {
        let exp = seconds(now + LIFE);
        let header = encoded(&Header { typ: "JWT", alg: self.key.algorithm() });
        let mut token = format!("{header}.{}", encoded(&Claims { iss: &self.issuer, exp }));
        let signature = self.key.sign(token.as_bytes())?;
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(signature));
        let mut value = HeaderValue::try_from(token).expect("letters, digits, hyphens and points");
        value.set_sensitive(true);
        Some(value)
    }
}

/// A part of a token.
fn encoded(part: &impl Serialize) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(part).unwrap_or_default())
}

/// A token that proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// No token of this kind.
    #[error("it is no JWT with {0}")]
    Form(&'static str),
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
pub fn verify(token: &[u8], key: &VerifyingKey, now: SystemTime) -> Result<(), BadToken> {
    let unlike = BadToken::Form(key.algorithm());
    let token = std::str::from_utf8(token).map_err(|_| unlike)?;
    let (signed, signature) = token.rsplit_once('.').ok_or(unlike)?;
    let (header, claims) = signed.split_once('.').ok_or(unlike)?;
    let plain = |text: &str| URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| unlike);
    let header = plain(header)?;
    let Kind { alg } = serde_json::from_slice(&header).map_err(|_| unlike)?;
    if alg != key.algorithm() {
        return Err(unlike);
    }
    if !key.verifies(signed.as_bytes(), &plain(signature)?) {
        return Err(BadToken::Signature);
    }
    let Validity { exp } = serde_json::from_slice(&plain(claims)?).map_err(|_| unlike)?;
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
        let signer = Signer::new(SigningKey::secret(b"changeme"), "pushpin");
        let (key, other) = (VerifyingKey::secret(b"changeme"), VerifyingKey::secret(b"other"));
        let token = signer.token(now).unwrap();
        assert_eq!(verify(token.as_bytes(), &key, now), Ok(()));
        assert_eq!(verify(token.as_bytes(), &key, now + LIFE), Err(BadToken::Expired));
        assert_eq!(verify(token.as_bytes(), &other, now), Err(BadToken::Signature));
        assert_eq!(part(&token, 0), br#"{"typ":"JWT","alg":"HS256"}"#);
        assert_eq!(part(&token, 1), br#"{"iss":"pushpin","exp":1800003600}"#);
        for bad in ["", "a.b", "a.b.c", "e30.e30.e30"] {
            assert_eq!(verify(bad.as_bytes(), &key, now), Err(BadToken::Form("HS256")), "{bad}");
        }
    }

    fn part(token: &HeaderValue, number: usize) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(token.to_str().unwrap().split('.').nth(number).unwrap()).unwrap()
    }

    #[test]
    fn a_pair_signs_and_checks_by_its_own_algorithm_and_no_other() {
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let pair = rcgen::KeyPair::generate().unwrap();
        let public = pair.public_key_pem();
        let signing = SigningKey::from_pem(pair.serialize_pem().as_bytes()).unwrap();
        let key = VerifyingKey::from_pem(public.as_bytes()).unwrap();
        let token = Signer::new(signing, "me").token(now).unwrap();
        assert_eq!(part(&token, 0), br#"{"typ":"JWT","alg":"ES256"}"#);
        assert_eq!(part(&token, 2).len(), 64);
        assert_eq!(verify(token.as_bytes(), &key, now), Ok(()));
        let other = rcgen::KeyPair::generate().unwrap().public_key_pem();
        let other = VerifyingKey::from_pem(other.as_bytes()).unwrap();
        assert_eq!(verify(token.as_bytes(), &other, now), Err(BadToken::Signature));
        // What everybody may know must not become a secret because a token says so (RFC 8725 §2.1).
        let forged = Signer::new(SigningKey::secret(public.as_bytes()), "me").token(now).unwrap();
        assert_eq!(verify(forged.as_bytes(), &key, now), Err(BadToken::Form("ES256")));
        let secret = VerifyingKey::secret(public.as_bytes());
        assert_eq!(verify(token.as_bytes(), &secret, now), Err(BadToken::Form("HS256")));
        let unsigned = token.to_str().unwrap().rsplit_once('.').unwrap().0.to_owned() + ".";
        assert_eq!(verify(unsigned.as_bytes(), &key, now), Err(BadToken::Signature));
    }

    #[test]
    fn keys_of_other_kinds_are_none() {
        let pair = rcgen::KeyPair::generate().unwrap();
        let (private, public) = (pair.serialize_pem(), pair.public_key_pem());
        let of_384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        let of_25519 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let table = [
            (of_384.serialize_pem(), BadKey::Unsupported),
            (of_25519.serialize_pem(), BadKey::Unsupported),
            (public.clone(), BadKey::Missing("private")),
            (encrypted.to_owned(), BadKey::Encrypted),
            (private.replace("END", "AND"), BadKey::Damaged),
            (String::new(), BadKey::Missing("private")),
        ];
        for (pem, expected) in table {
            assert_eq!(SigningKey::from_pem(pem.as_bytes()), Err(expected), "{pem}");
        }
        let table = [
            (of_384.public_key_pem(), BadKey::Unsupported),
            (of_25519.public_key_pem(), BadKey::Unsupported),
            (private, BadKey::Missing("public")),
            (public.replace("MFkw", "MFkx"), BadKey::Damaged),
        ];
        for (pem, expected) in table {
            assert_eq!(VerifyingKey::from_pem(pem.as_bytes()), Err(expected), "{pem}");
        }
    }

    #[test]
    fn a_token_is_used_for_many_requests() {
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let signer = Signer::new(SigningKey::secret(b"k"), "i");
        let first = signer.token(now);
        assert!(first.is_some());
        assert_eq!(signer.token(now + USE - Duration::from_secs(1)), first);
        assert_ne!(signer.token(now + USE), first);
    }

    /// Made by PyJWT 2: `jwt.encode({"iss": "x", "exp": 1800000000}, "key", algorithm="HS256")`.
    #[test]
    fn a_token_of_somebody_else_is_read() {
        let token = b"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJ4IiwiZXhwIjoxODAwMDAwMDAwfQ.bGlZF9xaSlZhd9gvNu6IUgf0oIn1tndE4LdAYvcHFXU";
        let before = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        assert_eq!(verify(token, &VerifyingKey::secret(b"key"), before), Ok(()));
    }
}
