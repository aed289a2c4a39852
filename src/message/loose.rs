//! What publishers and applications may write more loosely than JSON and base64 are: libraries do, and Pushpin takes it.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Value;

const LOOSE: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Bytes from base64 that may be cut into lines, as Ruby's and Perl's libraries do (RFC 2045 §6.8), and may lack its
/// padding.
#[must_use]
pub fn base64(text: &str) -> Option<Vec<u8>> {
    match LOOSE.decode(text) {
        Ok(bytes) => Some(bytes),
        Err(_) => LOOSE.decode(text.split_ascii_whitespace().collect::<String>()).ok(),
    }
}

/// A whole number from zero on, which may have a fraction or stand in quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whole(pub u32);

impl Whole {
    /// Of a value; `None` where it is none.
    #[must_use]
    pub fn of(value: &Value) -> Option<Whole> {
        let number = match value {
            Value::Number(number) => number.as_f64()?,
            Value::String(text) => text.trim().parse::<u32>().ok()?.into(),
            _ => return None,
        };
        let number = number.round();
        // In these bounds nothing is lost.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        (0.0..=f64::from(u32::MAX)).contains(&number).then_some(Whole(number as u32))
    }
}

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Whole, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Whole::of(&value).ok_or_else(|| D::Error::custom("a whole number was expected"))
    }
}

/// The same JSON where halves of characters stand alone in it, as JavaScript writes a string that was cut in an emoji: each
/// becomes U+FFFD. `None` where there are none.
#[must_use]
pub fn mended(json: &str) -> Option<String> {
    let (mut out, mut from, mut at, mut changed) = (String::new(), 0, 0, false);
    while let Some(found) = memchr::memchr(b'\\', &json.as_bytes()[at..]) {
        let escape = at + found;
        at = match half(json, escape) {
            None => escape + 2,
            Some(first) if first < 0xDC00 && half(json, escape + 6).is_some_and(|low| low >= 0xDC00) => {
                escape + 12
            }
            Some(_) => {
                out.push_str(&json[from..escape]);
                out.push_str("\\ufffd");
                (from, changed) = (escape + 6, true);
                from
            }
        };
        if at > json.len() {
            break;
        }
    }
    out.push_str(&json[from..]);
    changed.then_some(out)
}

/// The half of a character that is written from here on.
fn half(json: &str, at: usize) -> Option<u16> {
    let digits = json.get(at..at + 6)?.strip_prefix("\\u")?;
    u16::from_str_radix(digits, 16).ok().filter(|unit| (0xD800..0xE000).contains(unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_may_stand_in_lines_and_lack_its_end() {
        for text in ["YWI=", "YWI", "YW\nI=\n", " Y W I\r\n= ", "YWJ="] {
            assert_eq!(base64(text).as_deref(), Some(&b"ab"[..]), "{text:?}");
        }
        for bad in ["?", "a", "YWI=YWI=", "-_-_"] {
            assert_eq!(base64(bad), None, "{bad}");
        }
        assert_eq!(base64("").as_deref(), Some(&b""[..]));
    }

    #[test]
    fn whole_numbers_may_have_a_fraction_or_quotes() {
        for (json, whole) in [
            ("20", Some(20)),
            ("20.0", Some(20)),
            ("1.6", Some(2)),
            ("\"20\"", Some(20)),
            ("4294967295", Some(u32::MAX)),
            ("4294967296", None),
            ("1e300", None),
            ("-1", None),
            ("true", None),
            ("\"x\"", None),
            ("null", None),
        ] {
            assert_eq!(serde_json::from_str::<Whole>(json).ok().map(|whole| whole.0), whole, "{json}");
        }
    }

    #[test]
    fn halves_of_characters_are_mended_and_nothing_else_is_touched() {
        for (json, expected) in [
            (r#""a\ud83d""#, Some(r#""a\ufffd""#)),
            (r#""\uDE00é\ud83d\ud83d\ude00""#, Some(r#""\ufffdé\ufffd\ud83d\ude00""#)),
            (r#""\ud83d\\ude00""#, Some(r#""\ufffd\\ude00""#)),
            (r#""\\ud83d""#, None),
            (r#""\ud83d\ude00 \u00e9""#, None),
            ("\"\\", None),
            ("\"\\é", None),
            ("\"\\ud83", None),
        ] {
            assert_eq!(mended(json).as_deref(), expected, "{json}");
        }
    }
}
