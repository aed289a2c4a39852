//! A path as routes are compared with it: without what two servers could read differently (RFC 3986 §6.2.2).

use std::borrow::Cow;

/// A path as it is compared; `None` where it is ambiguous.
pub fn plain_path(path: &str) -> Option<Cow<'_, [u8]>> {
    let odd = |pair: &[u8]| matches!(pair, b"//" | b"/.");
    let bytes = path.as_bytes();
    if !bytes.iter().any(|byte| matches!(byte, b'%' | b'\\')) && !bytes.windows(2).any(odd) {
        return Some(bytes.into());
    }
    resolved(&decoded(bytes)?).into()
}

/// With every escape decoded; what is no escape stays.
fn decoded(path: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&first, tail)) = rest.split_first() {
        let escape = (first == b'%').then(|| escaped(tail)).flatten();
        let byte = escape.unwrap_or(first);
        // A backslash is a slash to some servers.
        if byte == b'\\' || escape.is_some_and(|byte| matches!(byte, b'/' | 0)) {
            return None;
        }
        out.push(byte);
        rest = if escape.is_some() { &tail[2..] } else { tail };
    }
    Some(out)
}

fn escaped(digits: &[u8]) -> Option<u8> {
    let digit = |index: usize| char::from(*digits.get(index)?).to_digit(16);
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}

/// Without empty and dot segments (RFC 3986 §5.2.4).
fn resolved(path: &[u8]) -> Cow<'static, [u8]> {
    let mut segments: Vec<&[u8]> = Vec::new();
    let mut open = false;
    for segment in path.split(|byte| *byte == b'/') {
        // `;` begins parameters of a segment; some servers drop them before they look at dots.
        let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
        open = matches!(name, b"" | b"." | b"..");
        match name {
            b".." => drop(segments.pop()),
            b"." => {}
            _ if segment.is_empty() => {}
            _ => segments.push(segment),
        }
    }
    let mut out = Vec::with_capacity(path.len());
    for segment in &segments {
        out.push(b'/');
        out.extend_from_slice(segment);
    }
    if open || segments.is_empty() {
        out.push(b'/');
    }
    out.into()
}

/// What stands in a path behind one that its plain form begins with: as it was written, or written anew where that has
/// segments that lead elsewhere. `None` where the path is ambiguous or begins with something else.
pub fn behind<'p>(path: &'p str, beginning: &str) -> Option<Cow<'p, str>> {
    let plain = plain_path(path)?;
    let is_as_written = plain.len() == path.len() - 2 * escapes(path.as_bytes());
    if is_as_written && let Some(rest) = written_behind(path, beginning) {
        return Some(rest.into());
    }
    let rest = plain.strip_prefix(beginning.as_bytes())?;
    let mut written = String::with_capacity(rest.len());
    for &byte in rest {
        // What may stand in a segment (RFC 3986 §3.3).
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => written.push(byte.into()),
            _ if b"/-._~!$&'()*+,;=:@".contains(&byte) => written.push(byte.into()),
            _ => written.push_str(&format!("%{byte:02X}")),
        }
    }
    Some(written.into())
}

/// How many bytes are written as three.
fn escapes(path: &[u8]) -> usize {
    let is_escape = |at: &usize| path[*at] == b'%' && escaped(&path[at + 1..]).is_some();
    (0..path.len()).filter(is_escape).count()
}

/// What is left of a path when as much of it is read as says the same as another.
fn written_behind<'p>(path: &'p str, beginning: &str) -> Option<&'p str> {
    let mut at = 0;
    for wanted in beginning.bytes() {
        let byte = *path.as_bytes().get(at)?;
        let escape = (byte == b'%').then(|| escaped(&path.as_bytes()[at + 1..])).flatten();
        if escape.unwrap_or(byte) != wanted {
            return None;
        }
        at += if escape.is_some() { 3 } else { 1 };
    }
    path.get(at..)
}
