//! When something was given, and when something was revoked: times of the clock on the wall that never go back within a
//! process, so that a clock that is set back can't put a revocation before what it means.
//!
//! How long something is valid is measured by the real time, since that is what other nodes and later processes have.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What was given to a client is given now.
pub fn moment() -> SystemTime {
    LATEST.next(SystemTime::now())
}

/// What was given until now is revoked; what is given behind that is not.
pub fn moment_of_revocation() -> SystemTime {
    let at = LATEST.next(SystemTime::now());
    LATEST.pass(at + APART);
    at
}

/// Something was given then, here or elsewhere.
pub(super) fn learn(given: SystemTime) {
    LATEST.pass(given);
}

/// A moment is cut to milliseconds where it is written, and a revocation may count for all of its own.
const APART: Duration = Duration::from_millis(2);

static LATEST: Latest = Latest(AtomicU64::new(0));

/// The latest moment so far, in nanoseconds since 1970: they last until 2554.
struct Latest(AtomicU64);

impl Latest {
    fn next(&self, now: SystemTime) -> SystemTime {
        let now = nanoseconds(now);
        let latest = self.0.fetch_max(now, Ordering::Relaxed).max(now);
        UNIX_EPOCH + Duration::from_nanos(latest)
    }

    fn pass(&self, at: SystemTime) {
        self.0.fetch_max(nanoseconds(at), Ordering::Relaxed);
    }
}

fn nanoseconds(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_back_changes_no_order() {
        let at = |seconds: u64| UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds);
        let latest = Latest(AtomicU64::new(0));
        assert_eq!(latest.next(at(10)), at(10));
        assert_eq!(latest.next(at(5)), at(10));
        latest.pass(at(20));
        assert_eq!(latest.next(at(11)), at(20));
        assert_eq!(latest.next(at(30)), at(30));
        assert!(moment() <= moment());
        let revoked = moment_of_revocation();
        assert!(moment() >= revoked + APART);
    }
}
