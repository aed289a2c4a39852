//! What people send to the example application, as a form or as JSON, checked; pure.

use std::collections::BTreeMap;

use serde_json::Value;

use super::talk::{Deed, SLIDES, Wish};

/// Characters of a name; it has to fit beside a message.
const NAME_CHARS_MAX: usize = 24;
/// Characters of a message; at four bytes each, and three typed for one in a form, it fits the body's bound.
const TEXT_CHARS_MAX: usize = 500;
/// Bytes of a body.
pub(super) const BODY_BYTES_MAX: usize = 8 * 1024;
const _: () = assert!((NAME_CHARS_MAX + TEXT_CHARS_MAX) * 4 * 3 < BODY_BYTES_MAX);

/// Why something can't be taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadInput {
    /// Neither a form nor JSON.
    #[error("send application/json or application/x-www-form-urlencoded")]
    UnknownType,
    /// The body is not what its type says.
    #[error("the body is not {0}")]
    Malformed(&'static str),
    /// A field is not there or empty.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A field is too long.
    #[error("{field} is longer than {chars_max} characters")]
    TooLong {
        /// The field.
        field: &'static str,
        /// What it may have.
        chars_max: usize,
    },
    /// A field has line breaks or other control characters.
    #[error("{0} has control characters")]
    Control(&'static str),
    /// There is no such slide.
    #[error("slide has to be a number from 1 to {SLIDES}")]
    NoSuchSlide,
}

/// Fields by name, from a form or from a flat JSON object.
type Fields = BTreeMap<String, String>;

/// Reads `name` and `text`.
pub(super) fn chat(content_type: &str, body: &[u8]) -> Result<Wish, BadInput> {
    let (name, text) = line(content_type, body)?;
    Ok(Wish { name, deed: Deed::Text(text) })
}

/// The same as who and what.
pub(super) fn line(content_type: &str, body: &[u8]) -> Result<(String, String), BadInput> {
    let fields = fields(content_type, body)?;
    Ok((field(&fields, "name", NAME_CHARS_MAX)?, field(&fields, "text", TEXT_CHARS_MAX)?))
}

/// Reads `name` and `slide`.
pub(super) fn slide(content_type: &str, body: &[u8]) -> Result<Wish, BadInput> {
    let fields = fields(content_type, body)?;
    let name = field(&fields, "name", NAME_CHARS_MAX)?;
    let slide = field(&fields, "slide", TEXT_CHARS_MAX)?.parse().map_err(|_| BadInput::NoSuchSlide)?;
    if !(1..=SLIDES).contains(&slide) {
        return Err(BadInput::NoSuchSlide);
    }
    Ok(Wish { name, deed: Deed::Slide(slide) })
}

fn field(fields: &Fields, name: &'static str, chars_max: usize) -> Result<String, BadInput> {
    let value = fields.get(name).map_or("", |value| value.trim());
    match value {
        "" => Err(BadInput::Missing(name)),
        _ if value.chars().count() > chars_max => Err(BadInput::TooLong { field: name, chars_max }),
        _ if value.chars().any(char::is_control) => Err(BadInput::Control(name)),
        _ => Ok(value.to_owned()),
    }
}

fn fields(content_type: &str, body: &[u8]) -> Result<Fields, BadInput> {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/json" => json(body).ok_or(BadInput::Malformed("a JSON object")),
        "application/x-www-form-urlencoded" => form(body).ok_or(BadInput::Malformed("a form in UTF-8")),
        _ => Err(BadInput::UnknownType),
    }
}

fn json(body: &[u8]) -> Option<Fields> {
    let object: BTreeMap<String, Value> = serde_json::from_slice(body).ok()?;
    let plain = object.into_iter().map(|(name, value)| match value {
        Value::String(text) => (name, text),
        other => (name, other.to_string()),
    });
    Some(plain.collect())
}

/// WHATWG URL §5.1, with the one strictness that what isn't UTF-8 is refused.
fn form(body: &[u8]) -> Option<Fields> {
    let pairs = body.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let at = memchr::memchr(b'=', pair).unwrap_or(pair.len());
            Some((decode(&pair[..at])?, decode(pair.get(at + 1..).unwrap_or_default())?))
        })
        .collect()
}

/// A percent sign without two hexadecimal digits stands for itself, as browsers read it.
fn decode(encoded: &[u8]) -> Option<String> {
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut rest = encoded;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match (byte, tail) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                decoded.push(digit(*high) << 4 | digit(*low));
                rest = after;
            }
            (b'+', _) => decoded.push(b' '),
            _ => decoded.push(*byte),
        }
    }
    String::from_utf8(decoded).ok()
}

fn digit(hexadecimal: u8) -> u8 {
    match hexadecimal {
        b'0'..=b'9' => hexadecimal - b'0',
        _ => (hexadecimal | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: &str = "application/x-www-form-urlencoded";
    const JSON: &str = "application/json; charset=utf-8";

    #[test]
    fn a_message_is_read_from_a_form_and_from_json() {
        let table = [
            (FORM, "name=Anna&text=hello", "hello"),
            (FORM, "text=a+b%20c%26d&name=Anna", "a b c&d"),
            (FORM, "name=Anna&text=100%&&", "100%"),
            (FORM, "name=Anna&text=100%&x%3", "100%"),
            (FORM, "name=Anna&text=gr%c3%bC%C3%9Fe", "grüße"),
            (JSON, r#"{"name":"Anna","text":" <b> ","more":[1]}"#, "<b>"),
            (JSON, r#"{"name":"Anna","text":12}"#, "12"),
        ];
        for (content_type, body, text) in table {
            let wish = Wish { name: "Anna".to_owned(), deed: Deed::Text(text.to_owned()) };
            assert_eq!(chat(content_type, body.as_bytes()), Ok(wish), "{body}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_message_is_said() {
        let long_name = format!("name={}&text=x", "n".repeat(25));
        let long_text = format!("name=Anna&text={}", "ü".repeat(501));
        let table: [(&str, &[u8], BadInput); 10] = [
            ("text/plain", b"hello", BadInput::UnknownType),
            ("", b"hello", BadInput::UnknownType),
            (JSON, b"[1]", BadInput::Malformed("a JSON object")),
            (JSON, b"", BadInput::Malformed("a JSON object")),
            (FORM, b"name=Anna&text=%ff", BadInput::Malformed("a form in UTF-8")),
            (FORM, b"text=hello", BadInput::Missing("name")),
            (FORM, b"name=Anna&text=+%20", BadInput::Missing("text")),
            (FORM, b"name=Anna&text=a%0Ab", BadInput::Control("text")),
            (FORM, long_name.as_bytes(), BadInput::TooLong { field: "name", chars_max: 24 }),
            (FORM, long_text.as_bytes(), BadInput::TooLong { field: "text", chars_max: 500 }),
        ];
        for (content_type, body, problem) in table {
            assert_eq!(chat(content_type, body), Err(problem), "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn a_slide_is_one_that_exists() {
        let turn = |slide| Ok(Wish { name: "Anna".to_owned(), deed: Deed::Slide(slide) });
        let table = [
            (FORM, "name=Anna&slide=1", turn(1)),
            (JSON, r#"{"name":"Anna","slide":9}"#, turn(9)),
            (JSON, r#"{"name":"Anna","slide":"2"}"#, turn(2)),
            (FORM, "name=Anna&slide=0", Err(BadInput::NoSuchSlide)),
            (FORM, "name=Anna&slide=10", Err(BadInput::NoSuchSlide)),
            (FORM, "name=Anna&slide=-1", Err(BadInput::NoSuchSlide)),
            (JSON, r#"{"name":"Anna","slide":1.5}"#, Err(BadInput::NoSuchSlide)),
            (FORM, "name=Anna", Err(BadInput::Missing("slide"))),
        ];
        for (content_type, body, wanted) in table {
            assert_eq!(slide(content_type, body.as_bytes()), wanted, "{body}");
        }
    }
}
