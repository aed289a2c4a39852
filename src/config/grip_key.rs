//! Keys of GRIP as they are typed: text, base64 as in a `GRIP_URL`, or a file with one in PEM form or in hexadecimal digits,
//! as Pushpin has them.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::certificate::{OPEN_KEY, is_open, unusable};
use super::file;
use super::form::FILE;
use super::problem::{Fault, Problem};
use super::secret::secret;
use super::section::Value;
use super::tree::Content;
use crate::jwt::{BadKey, SigningKey, VerifyingKey};

/// What signs `Grip-Sig`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Signing {
    /// Nothing is signed.
    #[default]
    Off,
    /// This key.
    By(SigningKey),
}

const ENCODED: &str = "base64:";
const IN_FILE: &str = "file:";
const EXPECTED: &str = "text, base64 behind `base64:`, or the path of a file behind `file:`";

/// What is made of what is typed.
struct Kind<K> {
    of_secret: fn(&[u8]) -> K,
    of_pem: fn(&[u8]) -> Result<K, BadKey>,
    /// Whether nobody else may read what is in PEM form.
    is_private: bool,
    /// What may be in a file.
    expected: &'static str,
}

const SIGNING: Kind<SigningKey> = Kind {
    of_secret: SigningKey::secret,
    of_pem: SigningKey::from_pem,
    is_private: true,
    expected: "a private key of ECDSA (P-256) or RSA in PEM form, or a secret in hexadecimal digits",
};

const VERIFYING: Kind<VerifyingKey> = Kind {
    of_secret: VerifyingKey::secret,
    of_pem: VerifyingKey::from_pem,
    is_private: false,
    expected: "a public key of ECDSA (P-256) or RSA in PEM form, or a secret in hexadecimal digits",
};

/// Reads what signs. Empty text stands for nothing, so that it can come from an environment that has none.
pub(super) fn signing(value: Value<'_>) -> Option<Signing> {
    match &value.node.content {
        Content::Text(text) if text.is_empty() => Some(Signing::Off),
        _ => read(value, &SIGNING).map(Signing::By),
    }
}

/// Reads what signatures are checked with.
pub(super) fn verifying(value: Value<'_>) -> Option<VerifyingKey> {
    read(value, &VERIFYING)
}

fn read<K>(value: Value<'_>, kind: &Kind<K>) -> Option<K> {
    let Value { key, node, problems } = value;
    let typed = secret(Value { key, node, problems: &mut *problems }, EXPECTED, is_key)?;
    let Some(path) = typed.0.strip_prefix(IN_FILE) else { return Some((kind.of_secret)(&bytes(&typed.0))) };
    let key = in_file(Path::new(path), kind);
    key.map_err(|fault| problems.push(Problem::new(node.place, fault).expected(kind.expected))).ok()
}

fn is_key(text: &str) -> bool {
    match (text.strip_prefix(ENCODED), text.strip_prefix(IN_FILE)) {
        (Some(encoded), _) => STANDARD.decode(encoded).is_ok_and(|key| !key.is_empty()),
        (_, Some(path)) => FILE.read(path).is_ok(),
        _ => !text.is_empty(),
    }
}

fn bytes(text: &str) -> Vec<u8> {
    let encoded = text.strip_prefix(ENCODED).and_then(|text| STANDARD.decode(text).ok());
    encoded.unwrap_or_else(|| text.as_bytes().to_vec())
}

fn in_file<K>(path: &Path, kind: &Kind<K>) -> Result<K, Fault> {
    let text = file::read(path)?;
    let is_pem = memchr::memmem::find(&text, b"-----BEGIN").is_some();
    let key = match is_pem {
        true => (kind.of_pem)(&text).map_err(|bad| unusable(path, bad.to_string()))?,
        false => {
            let secret = hexadecimal(text.trim_ascii());
            let neither = "holds neither a key in PEM form nor hexadecimal digits";
            (kind.of_secret)(&secret.ok_or_else(|| unusable(path, neither))?)
        }
    };
    match is_open(path) && (kind.is_private || !is_pem) {
        true => Err(unusable(path, OPEN_KEY)),
        false => Ok(key),
    }
}

fn hexadecimal(digits: &[u8]) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16).map(|digit| digit as u8);
    let byte = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    digits.chunks(2).map(byte).collect::<Option<Vec<u8>>>().filter(|bytes| !bytes.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::certificate::fixture::Folder;
    use super::*;
    use crate::config::{Config, GripConfig};

    fn read(grip: &str) -> Result<GripConfig, String> {
        let text = format!("listen: 127.0.0.1:0\nupstream: http://127.0.0.1:8000\ngrip: {{ {grip} }}\n");
        let config = Config::parse("p.yaml", &text, &|_| None).map_err(|problems| problems.to_string())?;
        Ok(config.grip.unwrap())
    }

    #[test]
    fn a_key_is_text_or_base64_or_in_a_file() {
        let folder = Folder::new();
        let pair = rcgen::KeyPair::generate().unwrap();
        folder.write("hex", " 00fF\n");
        folder.write("private", &format!("by hand\n{}", pair.serialize_pem()));
        folder.write("public", &pair.public_key_pem());
        folder.allow("public", 0o644);
        let secret = |secret: &[u8]| Signing::By(SigningKey::secret(secret));
        let pem = Signing::By(SigningKey::from_pem(folder.text("private").as_bytes()).unwrap());
        let of = |name: &str| format!("'file:{}'", folder.file(name));
        for (typed, expected) in [
            ("''".to_owned(), Signing::Off),
            ("text".to_owned(), secret(b"text")),
            ("'base64:AP8='".to_owned(), secret(&[0, 0xff])),
            (of("hex"), secret(&[0, 0xff])),
            (of("private"), pem),
        ] {
            assert_eq!(read(&format!("key: {typed}")).unwrap().key, expected, "{typed}");
        }
        let key = |typed: &str| read(&format!("publish_key: {typed}")).unwrap().publish_key;
        assert_eq!(key("text"), Some(VerifyingKey::secret(b"text")));
        let public = VerifyingKey::from_pem(folder.text("public").as_bytes()).unwrap();
        assert_eq!(key(&of("public")), Some(public));
    }

    #[test]
    fn a_file_without_a_key_is_said_where_it_is_named() {
        let folder = Folder::new();
        let pair = rcgen::KeyPair::generate().unwrap();
        for (name, text) in [("private", pair.serialize_pem()), ("public", pair.public_key_pem())] {
            folder.write(name, &text);
        }
        for (name, text) in [("empty", "\n"), ("odd", "abc"), ("words", "not hexadecimal"), ("open", "00ff")]
        {
            folder.write(name, text);
        }
        folder.allow("open", 0o644);
        let neither = "holds neither a key in PEM form nor hexadecimal digits";
        let table = [
            ("key", "empty", neither, "private"),
            ("key", "odd", neither, "private"),
            ("publish_key", "words", neither, "public"),
            ("key", "public", "holds no private key in PEM form", "private"),
            ("publish_key", "private", "holds no public key in PEM form", "public"),
            ("publish_key", "open", OPEN_KEY, "public"),
        ];
        for (key, name, reason, half) in table {
            let file = folder.file(name);
            let told = read(&format!("{key}: 'file:{file}'")).unwrap_err();
            let column = "grip: { ".len() + key.len() + 3;
            let expected = format!(
                "p.yaml:3:{column}: `{file}` {reason} (expected a {half} key of ECDSA (P-256) or RSA in PEM form, \
                 or a secret in hexadecimal digits)"
            );
            assert!(told.contains(&expected), "{told}\n{expected}");
        }
        assert!(
            read("key: 'file:/nowhere'").unwrap_err().contains("p.yaml:3:14: `/nowhere` can't be read: ")
        );
    }
}
