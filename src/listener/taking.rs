//! Whether a client takes its answers fast enough: so many bytes a second on the average of the time in which it is
//! waited for.
//!
//! What a client has taken is what its system has acknowledged. What the kernel here still keeps would make a client that
//! reads nothing look fast at first, and one on a slow line dead between two moments in which there is room again.
//! Pure: whoever drives the connection says the time.

use std::time::Duration;

use tokio::time::Instant;

/// What is asked of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LeastRate {
    /// Bytes a second; 0 is any.
    pub(super) least: u64,
    /// How long a client is waited for before that counts.
    pub(super) grace: Duration,
}

/// How a client has done, since something was to be taken.
#[derive(Debug)]
pub(super) struct Taking {
    rate: LeastRate,
    /// How long it was waited for, without the wait of now.
    waited: Duration,
    /// Since when it is.
    since: Option<Instant>,
    /// What the connection had been given before.
    base: u64,
    /// What was taken by the last look.
    seen: u64,
}

/// What a look shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// It has taken something since the last one.
    Moves,
    /// Nothing.
    Stands,
    /// Less than is asked of it.
    TooSlow,
}

impl Taking {
    pub(super) fn new(rate: LeastRate) -> Taking {
        Taking { rate, waited: Duration::ZERO, since: None, base: 0, seen: 0 }
    }

    /// Something new is to be taken, behind so many bytes that the connection was given.
    pub(super) fn begin(&mut self, given: u64) {
        (self.waited, self.since, self.base, self.seen) = (Duration::ZERO, None, given, 0);
    }

    /// The client is waited for from now on.
    pub(super) fn wait(&mut self, now: impl FnOnce() -> Instant) {
        if self.since.is_none() {
            self.since = Some(now());
        }
    }

    /// It isn't any more.
    pub(super) fn go_on(&mut self, now: impl FnOnce() -> Instant) {
        if let Some(since) = self.since.take() {
            self.waited += now().saturating_duration_since(since);
        }
    }

    /// Whether it was waited for so long that a look is due.
    pub(super) fn is_due(&self, now: impl FnOnce() -> Instant) -> bool {
        self.rate.least > 0
            && (self.waited > self.rate.grace || self.since.is_some())
            && self.time(now) > self.rate.grace
    }

    /// Of all that the connection was given, so much is not taken yet.
    pub(super) fn look(&mut self, given: u64, untaken: u64, now: impl FnOnce() -> Instant) -> Look {
        let taken = given.saturating_sub(self.base).saturating_sub(untaken);
        let moves = taken > self.seen;
        self.seen = self.seen.max(taken);
        let Some(earned) = taken.saturating_mul(1000).checked_div(self.rate.least) else {
            return if moves { Look::Moves } else { Look::Stands };
        };
        let allowed = self.rate.grace.saturating_add(Duration::from_millis(earned));
        match (self.time(now) > allowed, moves) {
            (true, _) => Look::TooSlow,
            (false, true) => Look::Moves,
            (false, false) => Look::Stands,
        }
    }

    fn time(&self, now: impl FnOnce() -> Instant) -> Duration {
        let present = self.since.map_or(Duration::ZERO, |since| now().saturating_duration_since(since));
        self.waited + present
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: LeastRate = LeastRate { least: 100, grace: Duration::from_secs(10) };

    #[test]
    fn what_is_asked_for_counts_behind_the_grace_and_for_the_time_of_waiting_only() {
        let start = Instant::now();
        let at = |seconds: u64| move || start + Duration::from_secs(seconds);
        let mut taking = Taking::new(RATE);
        taking.begin(5000);
        taking.wait(at(0));
        assert!(!taking.is_due(at(10)));
        assert_eq!(taking.look(5000, 0, at(10)), Look::Stands);
        assert!(taking.is_due(at(11)));
        // 100 bytes are good for a second.
        assert_eq!(taking.look(5200, 100, at(11)), Look::Moves);
        assert_eq!(taking.look(5200, 100, at(12)), Look::TooSlow);
        // An hour in which the application had nothing isn't the client's.
        taking.go_on(at(11));
        assert_eq!(taking.look(5300, 0, at(4000)), Look::Moves);
        taking.wait(at(4000));
        assert_eq!(taking.look(5300, 0, at(4002)), Look::Stands);
        assert_eq!(taking.look(5300, 0, at(4003)), Look::TooSlow);
        // The next answer is another matter.
        taking.begin(5300);
        assert!(!taking.is_due(at(4003)));
    }

    #[test]
    fn what_the_kernel_keeps_is_not_taken() {
        let start = Instant::now();
        let mut taking = Taking::new(RATE);
        taking.wait(|| start);
        let later = || start + Duration::from_secs(15);
        assert_eq!(taking.look(1_000_000, 1_000_000, later), Look::TooSlow);
        assert_eq!(taking.look(1_000_000, 999_000, later), Look::Moves);
    }

    #[test]
    fn without_a_rate_it_is_enough_to_move() {
        let start = Instant::now();
        let mut taking = Taking::new(LeastRate { least: 0, ..RATE });
        taking.wait(|| start);
        let later = || start + Duration::from_secs(100_000);
        assert!(!taking.is_due(later));
        assert_eq!(taking.look(10, 9, later), Look::Moves);
        assert_eq!(taking.look(10, 9, later), Look::Stands);
    }
}
