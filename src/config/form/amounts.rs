//! Forms of times, counts, sizes and rates.

use std::num::{NonZeroU32, NonZeroUsize};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::{Form, Unfit, or_off};
use crate::config::{Rate, units};

/// A wait that ends.
pub(in crate::config) static DURATION: Form<Duration> =
    Form { expected: "a duration above zero such as 250ms, 5s, 10m, 1h or 2d", read: some_time };

/// A delay that may be none.
pub(in crate::config) static DELAY: Form<Duration> =
    Form { expected: units::DURATION, read: units::duration };

/// A duration, or `None` for `off`.
pub(in crate::config) static DURATION_OR_OFF: Form<Option<Duration>> = Form {
    expected: "a duration above zero such as 250ms, 5s, 10m, 1h or 2d, or `off` for no limit",
    read: |text| or_off(text, some_time, units::duration),
};

/// How long a thread may stand still, or `None` for `off`. Threads with nothing to do turn once a second.
pub(in crate::config) static PATIENCE: Form<Option<Duration>> = Form {
    expected: "a duration from 5s, or `off`",
    read: |text| match (DURATION_OR_OFF.read)(text)? {
        Some(time) if time < Duration::from_secs(5) => Err(Unfit::Unlike),
        time => Ok(time),
    },
};

/// How often something is done, or `None` for `off`.
pub(in crate::config) static INTERVAL: Form<Option<Duration>> = Form {
    expected: "a duration above zero such as 250ms, 5s, 10m, 1h or 2d, or `off` for never",
    read: DURATION_OR_OFF.read,
};

/// At least one.
pub(in crate::config) static COUNT: Form<usize> = Form { expected: "a whole number from 1", read: some };

/// A bound on a number, or `None` for `off`.
pub(in crate::config) static COUNT_OR_OFF: Form<Option<usize>> = Form {
    expected: "a whole number from 1, or `off` for no limit",
    read: |text| or_off(text, some, units::count),
};

/// The same where the type has no room for zero.
pub(in crate::config) static NONZERO_OR_OFF: Form<Option<NonZeroUsize>> = Form {
    expected: COUNT_OR_OFF.expected,
    read: |text| (COUNT_OR_OFF.read)(text).map(|count| count.and_then(NonZeroUsize::new)),
};

/// How many times something may happen, or `None` for `off`.
pub(in crate::config) static TURNS: Form<Option<NonZeroU32>> = Form {
    expected: COUNT_OR_OFF.expected,
    read: |text| {
        let count = (COUNT_OR_OFF.read)(text)?;
        Ok(count.and_then(|count| u32::try_from(count).ok()).and_then(NonZeroU32::new))
    },
};

/// How many times at least.
pub(in crate::config) static TIMES: Form<NonZeroU32> = Form {
    expected: COUNT.expected,
    read: |text| {
        let count = usize_in(units::count(text)?, 1..=u32::MAX.into())?;
        NonZeroU32::new(count as u32).ok_or(Unfit::Unlike)
    },
};

/// A share of a hundred.
pub(in crate::config) static PERCENT: Form<u32> = Form {
    expected: "a share from 0% to 100%",
    read: |text| {
        let number = text.strip_suffix('%').unwrap_or(text);
        let share = usize_in(units::count(number)?, 0..=100)?;
        if number == text { Err(Unfit::Meant(format!("{text}%"))) } else { Ok(share as u32) }
    },
};

/// A number that may be none.
pub(in crate::config) static FLOOR: Form<u32> = Form {
    expected: "a whole number",
    read: |text| Ok(usize_in(units::count(text)?, 0..=u32::MAX.into())? as u32),
};

/// How many are kept, 0 for `off`.
pub(in crate::config) static COUNT_OR_NONE: Form<usize> = Form {
    expected: "a whole number from 1, or `off` for none",
    read: |text| or_off(text, some, units::count).map(Option::unwrap_or_default),
};

/// So many in a time, or `None` for `off`.
pub(in crate::config) static RATE_OR_OFF: Form<Option<Rate>> = Form {
    expected: "a number in a time such as 50/s, 600/m or 1000/h, or `off` for no limit",
    read: |text| or_off(text, rate, units::count),
};

/// How many may come at once.
pub(in crate::config) static BURST: Form<NonZeroU32> = Form { expected: COUNT.expected, read: nonzero };

/// Threads; more than a thousand are a slip.
pub(in crate::config) static THREADS: Form<NonZeroUsize> = Form {
    expected: "a whole number from 1 to 1024",
    read: |text| {
        let threads = usize_in(units::count(text)?, 1..=1024)?;
        NonZeroUsize::new(threads).ok_or(Unfit::Unlike)
    },
};

/// Bytes of something that is kept in memory.
pub(in crate::config) static SIZE: Form<usize> = Form {
    expected: "a size from 1B such as 512B, 64KiB, 10MB or 1GiB",
    read: |text| usize_in(units::size(text)?, 1..=usize::MAX as u64),
};

/// Bytes of memory that many share: each of them needs some, or they would wait for one another.
pub(in crate::config) static SHARED_SIZE: Form<usize> = Form {
    expected: "a size from 1MiB such as 64MiB, 100MB or 1GiB",
    read: |text| usize_in(units::size(text)?, 1 << 20..=usize::MAX as u64),
};

/// Bytes of something that is passed on, or `None` for `off`.
pub(in crate::config) static SIZE_OR_OFF: Form<Option<u64>> = Form {
    expected: "a size from 1B such as 512B, 64KiB, 10MB or 1GiB, or `off` for no limit",
    read: |text| or_off(text, |text| SIZE.read(text).map(|bytes| bytes as u64), units::size),
};

/// Bytes of something that is kept in memory, or `None` for `off`.
pub(in crate::config) static MEMORY_OR_OFF: Form<Option<usize>> =
    Form { expected: SIZE_OR_OFF.expected, read: |text| or_off(text, |text| SIZE.read(text), units::size) };

/// Bytes of something that is kept, 0 for `off`.
pub(in crate::config) static SIZE_OR_NONE: Form<u64> = Form {
    expected: "a size from 1B such as 512B, 64KiB, 10MB or 1GiB, or `off` for none",
    read: |text| SIZE_OR_OFF.read(text).map(Option::unwrap_or_default),
};

/// Bytes from which on something is done, or `None` for `off`.
pub(in crate::config) static SIZE_OR_NEVER: Form<Option<u64>> = Form {
    expected: "a size from 1B such as 512B, 64KiB, 10MB or 1GiB, or `off` for never",
    read: SIZE_OR_OFF.read,
};

/// Bytes of a request's head: hyper's buffer can't be smaller than 8 KiB.
pub(in crate::config) static HEAD_SIZE: Form<usize> = Form {
    expected: "a size from 8KiB to 16MiB",
    read: |text| usize_in(units::size(text)?, 8 << 10..=16 << 20),
};

/// Streams of a connection; more than thousands are a slip.
pub(in crate::config) static STREAMS: Form<usize> = Form {
    expected: "a whole number from 1 to 10000",
    read: |text| usize_in(units::count(text)?, 1..=10_000),
};

/// Bytes of a window (RFC 9113 §6.9.2): no smaller than clients may begin with, and four of them fit a connection's.
pub(in crate::config) static WINDOW: Form<usize> = Form {
    expected: "a size from 64KiB to 256MiB",
    read: |text| usize_in(units::size(text)?, 64 << 10..=256 << 20),
};

/// Bytes of a request target: the `http` crate's URIs end there.
pub(in crate::config) static TARGET_SIZE: Form<usize> =
    Form { expected: "a size from 1B to 65534B", read: |text| usize_in(units::size(text)?, 1..=65534) };

fn some_time(text: &str) -> Result<Duration, Unfit> {
    units::duration(text).and_then(|time| if time.is_zero() { Err(Unfit::Unlike) } else { Ok(time) })
}

fn rate(text: &str) -> Result<Rate, Unfit> {
    let (count, unit) = text.split_once('/').ok_or(Unfit::Unlike)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(Unfit::Unlike),
    };
    Ok(Rate { count: nonzero(count)?, per: Duration::from_secs(seconds) })
}

fn nonzero(text: &str) -> Result<NonZeroU32, Unfit> {
    let count = u32::try_from(units::count(text)?).ok();
    count.and_then(NonZeroU32::new).ok_or(Unfit::Unlike)
}

fn some(text: &str) -> Result<usize, Unfit> {
    usize_in(units::count(text)?, 1..=usize::MAX as u64)
}

fn usize_in(number: u64, range: RangeInclusive<u64>) -> Result<usize, Unfit> {
    let inside = Some(number).filter(|number| range.contains(number));
    inside.and_then(|number| usize::try_from(number).ok()).ok_or(Unfit::Unlike)
}
