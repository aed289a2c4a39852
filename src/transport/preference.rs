//! What a request prefers of its answer (`Prefer`, RFC 7240), as far as a transport can give it; pure.
//!
//! `wait=0` is a standard preference (§4.3): whoever doesn't want to wait is answered at once. `comet-open` is our own:
//! a stream says at its beginning where it begins.

/// Answered at once, with nothing where there is nothing.
pub const AT_ONCE: &str = "wait=0";
/// A stream begins with `comet.open`.
pub const OPEN: &str = "comet-open";

/// Whether one of the fields names a preference; parameters behind it mean nothing.
pub fn prefers<'a>(mut fields: impl Iterator<Item = &'a [u8]>, preference: &str) -> bool {
    fields.any(|field| {
        field.split(|byte| *byte == b',').any(|item| {
            let said = item.split(|byte| *byte == b';').next().unwrap_or_default();
            let bare = |byte: &&u8| !matches!(byte, b' ' | b'\t' | b'"');
            said.iter().filter(bare).map(u8::to_ascii_lowercase).eq(preference.bytes())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preference_stands_among_others_and_may_be_quoted() {
        let says = |fields: &[&'static str], what| prefers(fields.iter().map(|field| field.as_bytes()), what);
        for field in ["wait=0", "respond-async, Wait = 0", "wait=\"0\"; foo=bar", "comet-open,wait=0"] {
            assert!(says(&[field], AT_ONCE), "{field}");
        }
        for field in ["", "wait", "wait=10", "wait=00", "return=minimal; wait=0", "awaits=0"] {
            assert!(!says(&[field], AT_ONCE), "{field}");
        }
        assert!(says(&["wait=5", "comet-open"], OPEN));
        assert!(!says(&[], OPEN));
    }
}
