//! How many connections may be taken over in a time, and when those who may not should come back; lock-free.
//!
//! Everybody who is refused is given a moment of his own behind those before him, so that a crowd comes back at the very
//! rate that is allowed. What isn't used is saved for a second.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::config::Rate;

/// What is saved up: whoever is quiet for longer has no more of it.
const BURST: Duration = Duration::from_secs(1);
/// Nobody is sent away for longer, however many there are.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// The places that time gives, counted in nanoseconds since it began.
pub(super) struct Admission {
    began: Instant,
    /// When the next place would be there if none was saved.
    due: AtomicU64,
    /// The moment that the last one who was refused was given.
    promised: AtomicU64,
}

impl Admission {
    pub(super) fn new() -> Admission {
        Admission { began: Instant::now(), due: AtomicU64::new(0), promised: AtomicU64::new(0) }
    }

    /// Takes a place.
    ///
    /// # Errors
    /// There is none now; how long to wait for one.
    pub(super) fn take(&self, rate: Rate, now: Instant) -> Result<(), Duration> {
        let now = nanoseconds(now.duration_since(self.began));
        let interval = nanoseconds(rate.per / rate.count.get());
        let latest = now.saturating_add(nanoseconds(BURST));
        let next = |due: u64| {
            Some(due.max(now).saturating_add(interval)).filter(|next| *next <= latest.max(now + interval))
        };
        if self.due.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok() {
            return Ok(());
        }
        let end = now.saturating_add(nanoseconds(WAIT_MAX));
        let promise = |promised: u64| Some(promised.max(now).saturating_add(interval).min(end));
        let before = self.promised.fetch_update(Ordering::Relaxed, Ordering::Relaxed, promise);
        let own = promise(before.unwrap_or_default()).unwrap_or(end);
        Err(Duration::from_nanos(own.saturating_sub(now)))
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn rate(count: u32, seconds: u64) -> Rate {
        Rate { count: NonZeroU32::new(count).unwrap(), per: Duration::from_secs(seconds) }
    }

    #[test]
    fn a_second_s_worth_comes_at_once_and_the_rest_when_it_is_due() {
        let admission = Admission::new();
        let at = |millis| admission.began + Duration::from_millis(millis);
        let taken = |millis| (0..100).filter(|_| admission.take(rate(10, 1), at(millis)).is_ok()).count();
        assert_eq!((taken(0), taken(99), taken(100), taken(350)), (10, 0, 1, 2));
        assert_eq!(taken(60_000), 10);
    }

    #[test]
    fn those_who_are_refused_come_back_one_after_another_within_a_minute() {
        let admission = Admission::new();
        let refused = |_| admission.take(rate(2, 1), admission.began).err();
        let waits: Vec<_> = (0..200).filter_map(refused).map(|wait| wait.as_millis()).collect();
        assert_eq!(waits[..3], [500, 1000, 1500]);
        assert_eq!((waits.len(), waits.last()), (198, Some(&60_000)));
    }

    #[test]
    fn a_rate_below_one_a_second_lets_one_in() {
        let admission = Admission::new();
        assert_eq!(admission.take(rate(1, 60), admission.began), Ok(()));
        assert!(admission.take(rate(1, 60), admission.began).is_err());
    }
}
