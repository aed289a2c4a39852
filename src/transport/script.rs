//! JSON as it may stand inside a script, in a page or in a file of its own.
//!
//! In JSON these characters can only stand inside strings, where an escape means the same: `<` so that no element
//! or comment of the page begins or ends, `>` and `&` for old parsers, and the two line ends that JSON allows in a
//! string and old JavaScript doesn't (ECMA-262 before 2019, §7.3).

use super::ndjson;
use crate::message::Entry;

/// Appends a message as an object.
pub(super) fn message(entry: &Entry, out: &mut Vec<u8>) {
    let mut object = Vec::new();
    ndjson::message_object(entry, &mut object);
    json(&object, out);
}

/// Appends JSON.
pub fn json(json: &[u8], out: &mut Vec<u8>) {
    let mut rest = json;
    while let Some((&byte, behind)) = rest.split_first() {
        let (escape, length): (&[u8], usize) = match byte {
            b'<' => (b"\\u003c", 1),
            b'>' => (b"\\u003e", 1),
            b'&' => (b"\\u0026", 1),
            0xe2 if behind.starts_with(&[0x80, 0xa8]) => (b"\\u2028", 3),
            0xe2 if behind.starts_with(&[0x80, 0xa9]) => (b"\\u2029", 3),
            _ => (std::slice::from_ref(&byte), 1),
        };
        out.extend_from_slice(escape);
        rest = &rest[length..];
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_ends_a_script_or_a_line_of_it() {
        let mut out = Vec::new();
        super::json("\"</script><!--&\u{2028}\u{2029}\u{2027}é\"".as_bytes(), &mut out);
        let expected = "\"\\u003c/script\\u003e\\u003c!--\\u0026\\u2028\\u2029\u{2027}é\"";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
