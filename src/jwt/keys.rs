//! Keys of tokens: a secret, or half of a pair; each has one algorithm and is good for no other (RFC 8725 §3.1).
//!
//! Pairs are read from PEM (RFC 7468): a private key as PKCS #8, PKCS #1 or SEC 1, a public one as SubjectPublicKeyInfo.
//! P-256 is for tokens of ES256, RSA for those of RS256 (RFC 7518 §3.4, §3.3).

use std::fmt;
use std::sync::Arc;

use ring::digest::{SHA256, digest};
use ring::hmac;
use rustls::SignatureScheme;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::{Error, PemObject};
use rustls::pki_types::{PrivateKeyDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer};
use webpki::RawPublicKeyEntity;

use super::ecdsa;

/// What signs tokens.
#[derive(Clone)]
pub struct SigningKey {
    half: PrivateHalf,
    mark: Mark,
}

#[derive(Clone)]
enum PrivateHalf {
    Secret(Box<hmac::Key>),
    Of(&'static Pair, Arc<dyn rustls::sign::SigningKey>),
}

/// What tokens are checked with.
#[derive(Clone)]
pub struct VerifyingKey {
    half: PublicHalf,
    mark: Mark,
}

#[derive(Clone)]
enum PublicHalf {
    Secret(Box<hmac::Key>),
    Of(&'static Pair, SubjectPublicKeyInfoDer<'static>),
}

/// Why nothing can be signed or checked with what a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// None of the kind that is wanted.
    #[error("holds no {0} key in PEM form")]
    Missing(&'static str),
    /// One that only a passphrase opens.
    #[error("holds a key under a passphrase, which nobody could type")]
    Encrypted,
    /// It is cut, or no PEM.
    #[error("is damaged: it is no PEM, or was cut")]
    Damaged,
    /// One of another algorithm.
    #[error("holds a key that is neither ECDSA (P-256) nor RSA (2048 bits or more)")]
    Unsupported,
}

/// An algorithm of pairs.
struct Pair {
    /// As the head of a token calls it.
    name: &'static str,
    /// As TLS calls it.
    scheme: SignatureScheme,
    verifies: &'static dyn SignatureVerificationAlgorithm,
    /// Whether its signatures stand in tokens as two numbers, and in DER elsewhere.
    is_ecdsa: bool,
}

static PAIRS: [Pair; 2] = [
    Pair {
        name: "ES256",
        scheme: SignatureScheme::ECDSA_NISTP256_SHA256,
        verifies: webpki::ring::ECDSA_P256_SHA256,
        is_ecdsa: true,
    },
    Pair {
        name: "RS256",
        scheme: SignatureScheme::RSA_PKCS1_SHA256,
        verifies: webpki::ring::RSA_PKCS1_2048_8192_SHA256,
        is_ecdsa: false,
    },
];

/// The algorithm of secrets.
const OF_SECRETS: &str = "HS256";
/// Bytes of a public RSA key of 2048 bits with the smallest exponent; tokens of a shorter one would never be believed.
const RSA_PUBLIC_MIN: usize = 292;

impl SigningKey {
    /// A secret of any length, as the protocols that use it allow.
    pub fn secret(secret: &[u8]) -> SigningKey {
        let half = PrivateHalf::Secret(Box::new(hmac::Key::new(hmac::HMAC_SHA256, secret)));
        SigningKey { half, mark: Mark::of(secret) }
    }

    /// The private key in a PEM file.
    ///
    /// # Errors
    /// There is none, or none that is known here.
    pub fn from_pem(pem: &[u8]) -> Result<SigningKey, BadKey> {
        let encrypted = memchr::memmem::find(pem, b"-----BEGIN ENCRYPTED PRIVATE KEY-----").is_some();
        let der = PrivateKeyDer::from_pem_slice(pem).map_err(|error| match bad("private", &error) {
            BadKey::Missing(_) if encrypted => BadKey::Encrypted,
            bad => bad,
        })?;
        let key = any_supported_type(&der).map_err(|_| BadKey::Unsupported)?;
        let fits = |pair: &&Pair| key.choose_scheme(&[pair.scheme]).is_some();
        let pair = PAIRS.iter().find(fits).ok_or(BadKey::Unsupported)?;
        Ok(SigningKey { half: PrivateHalf::Of(pair, key), mark: Mark::of(der.secret_der()) })
    }

    /// As the head of a token calls its algorithm.
    pub(super) fn algorithm(&self) -> &'static str {
        match &self.half {
            PrivateHalf::Secret(_) => OF_SECRETS,
            PrivateHalf::Of(pair, _) => pair.name,
        }
    }

    /// Nothing where the system has no random numbers.
    pub(super) fn sign(&self, text: &[u8]) -> Option<Vec<u8>> {
        match &self.half {
            PrivateHalf::Secret(key) => Some(hmac::sign(key, text).as_ref().to_vec()),
            PrivateHalf::Of(pair, key) => {
                let signature = key.choose_scheme(&[pair.scheme])?.sign(text).ok()?;
                if pair.is_ecdsa { ecdsa::numbers(&signature).map(Vec::from) } else { Some(signature) }
            }
        }
    }
}

impl VerifyingKey {
    /// A secret of any length.
    pub fn secret(secret: &[u8]) -> VerifyingKey {
        let half = PublicHalf::Secret(Box::new(hmac::Key::new(hmac::HMAC_SHA256, secret)));
        VerifyingKey { half, mark: Mark::of(secret) }
    }

    /// The public key in a PEM file.
    ///
    /// # Errors
    /// There is none, or none that is known here.
    pub fn from_pem(pem: &[u8]) -> Result<VerifyingKey, BadKey> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|error| bad("public", &error))?;
        let key = RawPublicKeyEntity::try_from(&der).map_err(|_| BadKey::Damaged)?;
        // A key says which algorithm it is for before it looks at a signature.
        let fits = |pair: &&Pair| match key.verify_signature(pair.verifies, b"", b"") {
            Err(webpki::Error::InvalidSignatureForPublicKey) => pair.is_ecdsa || der.len() >= RSA_PUBLIC_MIN,
            _ => false,
        };
        let pair = PAIRS.iter().find(fits).ok_or(BadKey::Unsupported)?;
        let mark = Mark::of(&der);
        Ok(VerifyingKey { half: PublicHalf::Of(pair, der), mark })
    }

    /// As the head of a token calls its algorithm.
    pub(super) fn algorithm(&self) -> &'static str {
        match &self.half {
            PublicHalf::Secret(_) => OF_SECRETS,
            PublicHalf::Of(pair, _) => pair.name,
        }
    }

    /// Whether the other half, or whoever has the secret, has signed this.
    pub(super) fn verifies(&self, text: &[u8], signature: &[u8]) -> bool {
        match &self.half {
            PublicHalf::Secret(key) => hmac::verify(key, text, signature).is_ok(),
            PublicHalf::Of(pair, der) => {
                let in_der = if pair.is_ecdsa { ecdsa::der(signature) } else { Some(signature.to_vec()) };
                let key = RawPublicKeyEntity::try_from(der).ok();
                key.zip(in_der).is_some_and(|(key, signature)| {
                    key.verify_signature(pair.verifies, text, &signature).is_ok()
                })
            }
        }
    }
}

fn bad(wanted: &'static str, error: &Error) -> BadKey {
    match error {
        Error::NoItemsFound => BadKey::Missing(wanted),
        _ => BadKey::Damaged,
    }
}

/// What tells keys apart without being one.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Mark([u8; 32]);

impl Mark {
    fn of(material: &[u8]) -> Mark {
        let mut mark = [0; 32];
        mark.copy_from_slice(digest(&SHA256, material).as_ref());
        Mark(mark)
    }
}

impl PartialEq for SigningKey {
    fn eq(&self, other: &SigningKey) -> bool {
        (self.algorithm(), self.mark) == (other.algorithm(), other.mark)
    }
}

impl Eq for SigningKey {}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.algorithm())
    }
}

impl PartialEq for VerifyingKey {
    fn eq(&self, other: &VerifyingKey) -> bool {
        (self.algorithm(), self.mark) == (other.algorithm(), other.mark)
    }
}

impl Eq for VerifyingKey {}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({})", self.algorithm())
    }
}
