//! What a request's conditions come to, in the order of RFC 9110 §13.2.2; pure.

use std::time::{Duration, SystemTime};

use hyper::header::{
    HeaderMap, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE,
};

use super::ranges::{self, Ranged};

/// By what two states of the same thing can be told apart.
#[derive(Debug, Clone, Copy, Default)]
pub struct Validators<'a> {
    /// An entity tag with its quotes, perhaps a weak one.
    pub etag: Option<&'a [u8]>,
    /// When it was last modified, in whole seconds.
    pub modified: Option<SystemTime>,
}

/// Why a GET or HEAD is answered without what it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The client has it (304).
    NotModified,
    /// It isn't what the client wants to read (412).
    Failed,
}

/// The condition that a GET or HEAD fails; `None` where it is to be answered.
pub fn unmet(headers: &HeaderMap, validators: Validators<'_>) -> Option<Outcome> {
    let date = |name| one(headers, name).and_then(date);
    let at_most = |date: SystemTime| validators.modified.is_some_and(|modified| modified <= date);
    if headers.contains_key(IF_MATCH) {
        if !lists(headers, IF_MATCH, validators.etag, is_same_strongly) {
            return Some(Outcome::Failed);
        }
    } else if let Some(since) = date(IF_UNMODIFIED_SINCE)
        && validators.modified.is_some()
        && !at_most(since)
    {
        return Some(Outcome::Failed);
    }
    let unmodified = match headers.contains_key(IF_NONE_MATCH) {
        true => lists(headers, IF_NONE_MATCH, validators.etag, is_same_weakly),
        false => date(IF_MODIFIED_SINCE).is_some_and(at_most),
    };
    unmodified.then_some(Outcome::NotModified)
}

/// The part that a GET asks for, of a thing that is so long. `If-Range` may take the wish back (§13.1.5).
pub fn range(headers: &HeaderMap, validators: Validators<'_>, length: u64, now: SystemTime) -> Ranged {
    if may_be_partial(headers, validators, now) { any_range(headers, length) } else { Ranged::Whole }
}

/// The same, whatever `If-Range` says.
pub fn any_range(headers: &HeaderMap, length: u64) -> Ranged {
    one(headers, RANGE).map_or(Ranged::Whole, |range| ranges::read(range, length))
}

fn may_be_partial(headers: &HeaderMap, validators: Validators<'_>, now: SystemTime) -> bool {
    let Some(condition) = headers.get(IF_RANGE) else { return true };
    let condition = condition.as_bytes();
    if condition.first() == Some(&b'"') || condition.starts_with(b"W/") {
        return validators.etag.is_some_and(|etag| is_same_strongly(condition, etag));
    }
    // A date tells states apart only if the thing can't have changed twice in its second (§8.8.2.2).
    let settled = |modified: &SystemTime| *modified + Duration::from_secs(1) <= now;
    date(condition).is_some_and(|date| validators.modified.filter(settled) == Some(date))
}

fn one(headers: &HeaderMap, name: HeaderName) -> Option<&[u8]> {
    headers.get(name).map(|value| value.as_bytes())
}

fn date(value: &[u8]) -> Option<SystemTime> {
    httpdate::parse_http_date(std::str::from_utf8(value).ok()?).ok()
}

/// Whether one of the tags in a list is the thing's, or the list is `*`.
fn lists(
    headers: &HeaderMap,
    name: HeaderName,
    etag: Option<&[u8]>,
    is_same: fn(&[u8], &[u8]) -> bool,
) -> bool {
    headers.get_all(name).iter().any(|value| {
        let value = value.as_bytes().trim_ascii();
        value == b"*" || etag.is_some_and(|etag| Tags(value).any(|tag| is_same(tag, etag)))
    })
}

fn is_same_strongly(one: &[u8], other: &[u8]) -> bool {
    one == other && one.first() == Some(&b'"')
}

fn is_same_weakly(one: &[u8], other: &[u8]) -> bool {
    let opaque = |tag: &[u8]| -> Vec<u8> { tag.strip_prefix(b"W/").unwrap_or(tag).to_vec() };
    opaque(one) == opaque(other)
}

/// The entity tags of a list, in which a comma may also stand inside of a tag (§8.8.3); what isn't one ends it.
struct Tags<'a>(&'a [u8]);

impl<'a> Iterator for Tags<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let between = |byte: &u8| matches!(byte, b',' | b' ' | b'\t');
        let begin = self.0.iter().position(|byte| !between(byte))?;
        let rest = &self.0[begin..];
        let open = if rest.starts_with(b"W/") { 2 } else { 0 };
        if rest.get(open) != Some(&b'"') {
            return None;
        }
        let close = memchr::memchr(b'"', &rest[open + 1..])?;
        let (tag, rest) = rest.split_at(open + close + 2);
        self.0 = rest;
        Some(tag)
    }
}

#[cfg(test)]
mod tests {
    use super::super::ranges::Part;
    use super::*;

    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
    const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

    type Fields = &'static [(&'static str, &'static str)];

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        let field =
            |(name, value): &(&str, &str)| (HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        fields.iter().map(field).collect()
    }

    fn thing() -> Validators<'static> {
        Validators { etag: Some(b"\"a,b\""), modified: date(SAME.as_bytes()) }
    }

    #[test]
    fn conditions_are_asked_in_the_order_of_the_specification() {
        use Outcome::{Failed, NotModified};
        let table: [(Fields, Option<Outcome>); 19] = [
            (&[], None),
            (&[("if-none-match", "\"x\", W/\"a,b\"")], Some(NotModified)),
            (&[("if-none-match", "*")], Some(NotModified)),
            (&[("if-none-match", "\"x\"")], None),
            (&[("if-none-match", "a,b")], None),
            (&[("if-none-match", "\"x\""), ("if-modified-since", LATER)], None),
            (&[("if-modified-since", SAME)], Some(NotModified)),
            (&[("if-modified-since", LATER)], Some(NotModified)),
            (&[("if-modified-since", BEFORE)], None),
            (&[("if-modified-since", "yesterday")], None),
            (&[("if-match", "\"a,b\"")], None),
            (&[("if-match", "W/\"a,b\"")], Some(Failed)),
            (&[("if-match", "\"x\"")], Some(Failed)),
            (&[("if-match", "*")], None),
            (&[("if-unmodified-since", SAME)], None),
            (&[("if-unmodified-since", BEFORE)], Some(Failed)),
            (&[("if-match", "\"a,b\""), ("if-unmodified-since", BEFORE)], None),
            (&[("if-match", "\"x\""), ("if-none-match", "\"a,b\"")], Some(Failed)),
            (&[("if-match", "\"a,b\""), ("if-none-match", "\"a,b\"")], Some(NotModified)),
        ];
        for (fields, expected) in table {
            assert_eq!(unmet(&headers(fields), thing()), expected, "{fields:?}");
        }
        assert_eq!(unmet(&headers(&[("if-none-match", "\"x\"")]), Validators::default()), None);
        assert_eq!(unmet(&headers(&[("if-unmodified-since", SAME)]), Validators::default()), None);
        assert_eq!(unmet(&headers(&[("if-match", "\"x\"")]), Validators::default()), Some(Failed));
    }

    #[test]
    fn a_part_is_sent_only_of_what_the_client_has_begun_with() {
        let settled = thing().modified.unwrap() + Duration::from_secs(1);
        let part = Ranged::Part(Part { start: 0, length: 2 });
        let table = [
            ("\"a,b\"", part),
            ("W/\"a,b\"", Ranged::Whole),
            ("\"x\"", Ranged::Whole),
            (SAME, part),
            (LATER, Ranged::Whole),
            ("junk", Ranged::Whole),
        ];
        for (condition, expected) in table {
            let headers = headers(&[("range", "bytes=0-1"), ("if-range", condition)]);
            assert_eq!(range(&headers, thing(), 10, settled), expected, "{condition}");
        }
        let fresh = headers(&[("range", "bytes=0-1"), ("if-range", SAME)]);
        assert_eq!(range(&fresh, thing(), 10, thing().modified.unwrap()), Ranged::Whole);
        let weak = Validators { etag: Some(b"W/\"a\""), modified: None };
        let same = headers(&[("range", "bytes=0-1"), ("if-range", "W/\"a\"")]);
        assert_eq!(range(&same, weak, 10, settled), Ranged::Whole);
        assert_eq!(range(&headers(&[("range", "bytes=0-1")]), thing(), 10, settled), part);
    }
}
