//! Whether a server may be used, by what is seen of it in passing and by questions put to it; pure.
//!
//! Faults one after another eject a server for a time that doubles with each further ejection; one answer makes up
//! for all of them. Who owns the table sees to it that the last server is not ejected.

use std::time::{Duration, Instant};

use crate::config::{EjectConfig, HealthConfig};

/// How long a server that couldn't be reached is passed over while another can be.
const SHUNNED: Duration = Duration::from_secs(1);

/// What is known of a server.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// One after another, with no answer between them.
    faults: u32,
    /// The same of ejections.
    ejections: u32,
    ejected_until: Option<Instant>,
    shunned_until: Option<Instant>,
    /// Whether too many questions were answered badly.
    down: bool,
    /// Answers in a row that speak against `down`.
    contrary: u32,
}

impl Health {
    /// Whether it may be used, but for a moment in which it can't be reached.
    pub(super) fn is_up(&self, now: Instant) -> bool {
        !self.down && self.ejected_until.is_none_or(|until| until <= now)
    }

    /// Whether it was out of reach a moment ago.
    pub(super) fn is_shunned(&self, now: Instant) -> bool {
        self.shunned_until.is_some_and(|until| until > now)
    }

    /// How long it stays ejected.
    pub(super) fn ejected_for(&self, now: Instant) -> Option<Duration> {
        self.ejected_until.map(|until| until.saturating_duration_since(now)).filter(|left| !left.is_zero())
    }

    /// It couldn't be reached, or it could.
    pub(super) fn reached(&mut self, reached: bool, now: Instant) {
        self.shunned_until = (!reached).then(|| now + SHUNNED);
    }

    /// It has failed; true if it is ejected for that. Whoever is the last is not.
    pub(super) fn fault(&mut self, rules: Option<&EjectConfig>, is_last: bool, now: Instant) -> bool {
        let Some(rules) = rules else { return false };
        self.faults = self.faults.saturating_add(1);
        if self.faults < rules.faults.get() || is_last || !self.is_up(now) {
            return false;
        }
        let time = rules.time.saturating_mul(1 << self.ejections.min(20)).min(rules.time_max);
        self.ejected_until = Some(now + time);
        self.ejections = self.ejections.saturating_add(1);
        true
    }

    /// It has answered a request.
    pub(super) fn answered(&mut self) {
        (self.faults, self.ejections) = (0, 0);
    }

    /// It has answered a question, well or badly.
    pub(super) fn checked(&mut self, well: bool, rules: &HealthConfig) {
        let (enough, speaks_against) = if self.down { (rules.rise, well) } else { (rules.fall, !well) };
        self.contrary = if speaks_against { self.contrary + 1 } else { 0 };
        if self.contrary >= enough.get() {
            (self.down, self.contrary) = (!self.down, 0);
        }
    }

    /// Nobody asks any more.
    pub(super) fn unchecked(&mut self) {
        (self.down, self.contrary) = (false, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn rules() -> EjectConfig {
        EjectConfig { faults: NonZeroU32::new(3).unwrap(), time: S, time_max: 5 * S }
    }

    fn fail(health: &mut Health, times: usize, now: Instant) -> bool {
        (0..times).map(|_| health.fault(Some(&rules()), false, now)).last().unwrap()
    }

    #[test]
    fn faults_one_after_another_eject_for_a_time_that_doubles() {
        let (mut health, mut now) = (Health::default(), Instant::now());
        assert!(!fail(&mut health, 2, now));
        health.answered();
        assert!(!fail(&mut health, 2, now));
        assert!(fail(&mut health, 1, now));
        for seconds in [1, 2, 4, 5, 5] {
            assert!(!health.is_up(now));
            assert_eq!(health.ejected_for(now), Some(S * seconds));
            // What comes in meanwhile doesn't make it longer.
            assert!(!fail(&mut health, 1, now));
            now += S * seconds;
            assert!(health.is_up(now));
            assert!(fail(&mut health, 1, now), "one more is enough");
        }
        now += 5 * S;
        health.answered();
        assert!(fail(&mut health, 3, now));
        assert_eq!(health.ejected_for(now), Some(S));
    }

    #[test]
    fn the_last_one_is_not_ejected_and_nobody_without_rules() {
        let (mut health, now) = (Health::default(), Instant::now());
        for _ in 0..10 {
            assert!(!health.fault(Some(&rules()), true, now));
            assert!(!health.fault(None, false, now));
        }
        assert!(health.is_up(now));
        assert!(fail(&mut health, 1, now), "another is there again");
    }

    #[test]
    fn questions_turn_it_down_and_up_after_so_many_in_a_row() {
        let mut health = Health::default();
        let count = |count| NonZeroU32::new(count).unwrap();
        let rules = HealthConfig { rise: count(2), fall: count(3), ..HealthConfig::at("/up".to_owned()) };
        let now = Instant::now();
        let mut states = Vec::new();
        for answer in "--+---+-++-".chars() {
            health.checked(answer == '+', &rules);
            states.push(if health.is_up(now) { 'u' } else { 'd' });
        }
        assert_eq!(states.iter().collect::<String>(), "uuuuuddddu".to_owned() + "u");
        (0..3).for_each(|_| health.checked(false, &rules));
        assert!(!health.is_up(now));
        health.unchecked();
        assert!(health.is_up(now));
    }

    #[test]
    fn whoever_was_out_of_reach_is_passed_over_for_a_second() {
        let (mut health, now) = (Health::default(), Instant::now());
        health.reached(false, now);
        assert!(health.is_shunned(now) && health.is_up(now) && !health.is_shunned(now + S));
        health.reached(true, now);
        assert!(!health.is_shunned(now));
    }
}
