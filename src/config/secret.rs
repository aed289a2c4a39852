//! Values that nobody is shown, neither in problems nor in logs.

use super::problem::{Fault, Problem};
use super::section::Value;
use super::tree::Content;

/// A string that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A text that no problem shows.
pub(super) fn secret(
    value: Value<'_>,
    expected: &'static str,
    fits: impl FnOnce(&str) -> bool,
) -> Option<Secret> {
    let Value { key, node, problems } = value;
    let Content::Text(text) = &node.content else {
        Value { key, node, problems }.refuse(expected);
        return None;
    };
    if !fits(text) {
        problems.push(Problem::new(node.place, Fault::BadSecret(key.to_owned())).expected(expected));
        return None;
    }
    Some(Secret(text.clone()))
}
