//! `grip`: how both sides of GRIP know each other.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::form::{Form, Unfit};
use super::secret::{Secret, secret};
use super::section::{Key, Section, Value};

/// How applications that speak GRIP know the proxy, and it them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GripConfig {
    /// Signs `Grip-Sig`; empty where nothing is signed.
    pub key: Secret,
    /// Who it says that it is.
    pub issuer: String,
    /// With what publishers sign; `None` where they need no token of this kind.
    pub publish_key: Option<Secret>,
}

impl Default for GripConfig {
    fn default() -> Self {
        GripConfig {
            key: Secret(String::new()),
            // What applications were told when they were put behind Pushpin.
            issuer: "pushpin".into(),
            publish_key: None,
        }
    }
}

impl GripConfig {
    /// The bytes of a key: text, or base64 behind `base64:`, as in a `GRIP_URL`.
    pub fn bytes(key: &Secret) -> Vec<u8> {
        let encoded = key.0.strip_prefix(ENCODED).and_then(|text| STANDARD.decode(text).ok());
        encoded.unwrap_or_else(|| key.0.as_bytes().to_vec())
    }
}

const ENCODED: &str = "base64:";
const EXPECTED: &str = "text, or base64 behind `base64:`";

pub(super) static GRIP: Section<GripConfig> = Section {
    short: None,
    required: &[],
    keys: &[
        Key::new("key", |grip, value| {
            if let Some(key) = key(value, true) {
                grip.key = key;
            }
        }),
        Key::new("issuer", |grip, value| value.put(&mut grip.issuer, &ISSUER)),
        Key::new("publish_key", |grip, value| grip.publish_key = key(value, false)),
    ],
};

static ISSUER: Form<String> = Form {
    expected: "a name of 1 to 200 characters",
    read: |text| {
        let fits = (1..=200).contains(&text.len()) && !text.chars().any(char::is_control);
        if fits { Ok(text.to_owned()) } else { Err(Unfit::Unlike) }
    },
};

/// An empty one stands for none where that is allowed, so that it can come from an environment that has none.
fn key(value: Value<'_>, may_be_empty: bool) -> Option<Secret> {
    secret(value, EXPECTED, |text| match text.strip_prefix(ENCODED) {
        Some(encoded) => STANDARD.decode(encoded).is_ok_and(|key| !key.is_empty()),
        None => may_be_empty || !text.is_empty(),
    })
}
