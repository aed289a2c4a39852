//! How deep a text of JSON is nested, without going into it: what it is passed on to may count on the bound.

/// Values in values: what parsers take without a thought, serde_json and those of browsers included.
pub const NESTING_MAX: usize = 100;

/// The deepest nesting of a text, whether it is JSON or not. Costs its length, and nothing of the stack.
pub fn nesting(text: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0usize, 0, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::nesting;

    #[test]
    fn only_what_is_no_string_nests() {
        let table = [
            ("1", 0),
            ("[]", 1),
            ("[{\"a\":[1]},[]]", 3),
            ("\"[[[[\"", 0),
            ("[\"\\\"[[\", {}]", 2),
            ("[\"\\\\\", [[]]]", 3),
            ("]]]][", 1),
        ];
        for (text, depth) in table {
            assert_eq!(nesting(text.as_bytes()), depth, "{text}");
        }
    }
}
