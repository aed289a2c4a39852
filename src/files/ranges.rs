//! The part of a file that `Range` asks for (RFC 9110 §14.1, §14.2); pure.
//!
//! One part is served. Several are not: the file is sent whole, as the specification allows, since a client that
//! wants many parts can ask for each, and a server that answers them together can be made to send a file many times.

/// Bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The first.
    pub start: u64,
    /// How many, at least one.
    pub length: u64,
}

/// What a `Range` comes to for a file of a certain length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ranged {
    /// All of it.
    Whole,
    /// This part.
    Part(Part),
    /// Nothing of what was asked for exists.
    Unsatisfiable,
}

/// Ranges that are looked at; whoever asks for more gets the file.
const RANGES_MAX: usize = 100;

/// Reads the value of `Range`; what can't be read is as if it weren't there.
pub(super) fn read(value: &[u8], length: u64) -> Ranged {
    let Some(ranges) = specified(value) else { return Ranged::Whole };
    let mut parts = ranges.iter().filter_map(|range| range.within(length));
    match (parts.next(), parts.next()) {
        (Some(part), None) => Ranged::Part(part),
        (Some(_), Some(_)) => Ranged::Whole,
        // The end of nothing can be asked for, but not named in an answer.
        (None, _) if length == 0 => Ranged::Whole,
        (None, _) => Ranged::Unsatisfiable,
    }
}

#[derive(Debug, Clone, Copy)]
enum Range {
    /// From a byte to another, or to the end.
    From(u64, u64),
    /// So many at the end.
    Last(u64),
}

impl Range {
    fn within(self, length: u64) -> Option<Part> {
        let (start, end) = match self {
            Range::From(start, last) => (start, last.saturating_add(1).min(length)),
            Range::Last(count) => (length.saturating_sub(count), length),
        };
        (start < end).then(|| Part { start, length: end - start })
    }
}

fn specified(value: &[u8]) -> Option<Vec<Range>> {
    let (unit, set) = value.split_at(value.iter().position(|byte| *byte == b'=')?);
    if !unit.trim_ascii().eq_ignore_ascii_case(b"bytes") {
        return None;
    }
    let items = set[1..].split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|item| !item.is_empty());
    let ranges: Vec<Range> = items.take(RANGES_MAX + 1).map(range).collect::<Option<_>>()?;
    (1..=RANGES_MAX).contains(&ranges.len()).then_some(ranges)
}

fn range(item: &[u8]) -> Option<Range> {
    let (first, last) = item.split_at(item.iter().position(|byte| *byte == b'-')?);
    match (first, &last[1..]) {
        ([], count) => number(count).map(Range::Last),
        (first, []) => Some(Range::From(number(first)?, u64::MAX)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Range::From(first, last))
        }
    }
}

/// A number too large to count with is larger than any file.
fn number(digits: &[u8]) -> Option<u64> {
    let numeric = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    numeric.then(|| std::str::from_utf8(digits).ok()?.parse().ok()).map(|number| number.unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(start: u64, length: u64) -> Ranged {
        Ranged::Part(Part { start, length })
    }

    #[test]
    fn one_part_is_served_and_what_means_nothing_is_the_whole() {
        let table = [
            ("bytes=0-0", part(0, 1)),
            ("bytes=2-5", part(2, 4)),
            ("bytes=7-", part(7, 3)),
            ("bytes=7-99", part(7, 3)),
            ("bytes=-3", part(7, 3)),
            ("bytes=-99", part(0, 10)),
            ("Bytes = 1-1", part(1, 1)),
            ("bytes=0-99999999999999999999999", part(0, 10)),
            ("bytes=1-2, 50-60", part(1, 2)),
            ("bytes=,1-2,", part(1, 2)),
            ("bytes=10-", Ranged::Unsatisfiable),
            ("bytes=99999999999999999999999-", Ranged::Unsatisfiable),
            ("bytes=-0", Ranged::Unsatisfiable),
            ("bytes=10-11, 20-", Ranged::Unsatisfiable),
            ("bytes=0-1, 3-4", Ranged::Whole),
            ("bytes=5-2", Ranged::Whole),
            ("bytes=", Ranged::Whole),
            ("bytes=-", Ranged::Whole),
            ("bytes=a-b", Ranged::Whole),
            ("bytes=1-2-3", Ranged::Whole),
            ("bytes=+1-2", Ranged::Whole),
            ("lines=1-2", Ranged::Whole),
            ("bytes", Ranged::Whole),
            ("", Ranged::Whole),
        ];
        for (value, expected) in table {
            assert_eq!(read(value.as_bytes(), 10), expected, "{value}");
        }
        assert_eq!(read(b"bytes=-3", 0), Ranged::Whole);
        assert_eq!(read(format!("bytes={}", "50-,".repeat(101)).as_bytes(), 10), Ranged::Whole);
    }
}
