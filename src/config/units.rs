//! Durations, sizes and counts as people write them.
//!
//! A number without a unit, or with one that is nearly right, is refused with what was probably meant: guessing
//! between seconds and milliseconds goes wrong by a factor of a thousand.

use std::time::Duration;

use super::form::Unfit;

/// Bytes.
pub(super) const KIB: usize = 1 << 10;
/// Bytes.
pub(super) const MIB: usize = 1 << 20;

/// What a duration looks like.
pub(super) const DURATION: &str = "a duration such as 250ms, 5s, 10m, 1h or 2d";

/// Longer waits are as good as none, and a clock can still be set that far ahead.
const DURATION_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
/// One TiB: above any memory or body, below what arithmetic on bytes could wrap.
const SIZE_MAX: u64 = 1 << 40;
/// Above any table that fits into memory.
const COUNT_MAX: u64 = 1_000_000_000;

const DURATION_UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

const SIZE_UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// Reads a duration of at most a year.
pub(super) fn duration(text: &str) -> Result<Duration, Unfit> {
    let (number, unit) = split(text).ok_or(Unfit::Unlike)?;
    let Some((_, factor)) = DURATION_UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(meant(number, duration_unit(unit)));
    };
    let milliseconds = number.checked_mul(*factor).ok_or(Unfit::Unlike)?;
    Some(Duration::from_millis(milliseconds)).filter(|time| *time <= DURATION_MAX).ok_or(Unfit::Unlike)
}

/// Reads a size in bytes, at most a TiB.
pub(super) fn size(text: &str) -> Result<u64, Unfit> {
    let (number, unit) = split(text).ok_or(Unfit::Unlike)?;
    let Some((_, factor)) = SIZE_UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(meant(number, size_unit(unit)));
    };
    number.checked_mul(*factor).filter(|bytes| *bytes <= SIZE_MAX).ok_or(Unfit::Unlike)
}

/// Reads a whole number of at most a thousand million.
pub(super) fn count(text: &str) -> Result<u64, Unfit> {
    match split(text) {
        Some((number, "")) if number <= COUNT_MAX => Ok(number),
        Some((number, unit))
            if !unit.is_empty() && unit.chars().all(|c| matches!(c, '0'..='9' | '_' | ',' | '\'')) =>
        {
            let digits: String = unit.chars().filter(char::is_ascii_digit).collect();
            Err(Unfit::Meant(format!("{number}{digits}")))
        }
        _ => Err(Unfit::Unlike),
    }
}

/// A number and what stands behind it.
fn split(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit))
}

fn meant(number: u64, unit: Option<&str>) -> Unfit {
    unit.map_or(Unfit::Unlike, |unit| Unfit::Meant(format!("{number}{unit}")))
}

fn duration_unit(typed: &str) -> Option<&'static str> {
    Some(match typed.trim().to_ascii_lowercase().as_str() {
        "ms" | "msec" | "msecs" | "millis" | "milliseconds" => "ms",
        "" | "s" | "sec" | "secs" | "second" | "seconds" => "s",
        "m" | "min" | "mins" | "minute" | "minutes" => "m",
        "h" | "hr" | "hrs" | "hour" | "hours" => "h",
        "d" | "day" | "days" => "d",
        _ => return None,
    })
}

fn size_unit(typed: &str) -> Option<&'static str> {
    let typed = typed.trim();
    let one_letter = match typed.to_ascii_lowercase().as_str() {
        "" | "byte" | "bytes" => Some("B"),
        "k" | "ki" => Some("KiB"),
        "m" | "mi" => Some("MiB"),
        "g" | "gi" => Some("GiB"),
        "t" | "ti" => Some("TiB"),
        _ => None,
    };
    let other_case =
        || SIZE_UNITS.iter().map(|(name, _)| *name).find(|name| name.eq_ignore_ascii_case(typed));
    one_letter.or_else(other_case)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unlike<T>() -> Result<T, Unfit> {
        Err(Unfit::Unlike)
    }

    fn meant<T>(text: &str) -> Result<T, Unfit> {
        Err(Unfit::Meant(text.into()))
    }

    #[test]
    fn durations_have_one_of_five_units() {
        let table = [
            ("250ms", Ok(250)),
            ("5s", Ok(5_000)),
            ("10m", Ok(600_000)),
            ("1h", Ok(3_600_000)),
            ("2d", Ok(172_800_000)),
            ("0s", Ok(0)),
            ("365d", Ok(365 * 86_400_000)),
            ("366d", unlike()),
            ("18446744073709551615d", unlike()),
            ("99999999999999999999s", unlike()),
            ("5", meant("5s")),
            ("5 s", meant("5s")),
            ("5S", meant("5s")),
            ("5min", meant("5m")),
            ("300msec", meant("300ms")),
            ("1.5s", unlike()),
            ("-5s", unlike()),
            ("s", unlike()),
            ("", unlike()),
            ("5y", unlike()),
            ("1m30s", unlike()),
        ];
        for (text, expected) in table {
            assert_eq!(duration(text), expected.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn sizes_say_whether_they_count_in_1000_or_1024() {
        let table = [
            ("512B", Ok(512)),
            ("64KiB", Ok(65_536)),
            ("10MB", Ok(10_000_000)),
            ("1GiB", Ok(1 << 30)),
            ("1TiB", Ok(1 << 40)),
            ("0B", Ok(0)),
            ("2TiB", unlike()),
            ("18446744073709551615TiB", unlike()),
            ("64", meant("64B")),
            ("64k", meant("64KiB")),
            ("64Ki", meant("64KiB")),
            ("64kb", meant("64KB")),
            ("1gib", meant("1GiB")),
            ("8 MB", meant("8MB")),
            ("1.5MB", unlike()),
            ("-1B", unlike()),
            ("MB", unlike()),
        ];
        for (text, expected) in table {
            assert_eq!(size(text), expected, "{text}");
        }
    }

    #[test]
    fn counts_are_plain_digits() {
        let table = [
            ("0", Ok(0)),
            ("1000000", Ok(1_000_000)),
            ("1000000001", unlike()),
            ("1_000_000", meant("1000000")),
            ("1,000", meant("1000")),
            ("1e6", unlike()),
            ("-1", unlike()),
            ("", unlike()),
        ];
        for (text, expected) in table {
            assert_eq!(count(text), expected, "{text}");
        }
    }
}
