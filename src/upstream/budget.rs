//! How many requests a pool may send again: a share of those of the last ten seconds, and a floor; pure.
//!
//! Without it, a fault that every request meets would double the load of those servers that are left.

/// Seconds that are looked back at.
const SECONDS: usize = 10;

/// What was sent, and sent again.
#[derive(Debug)]
pub(super) struct Budget {
    /// Percent of the requests.
    pub(super) share: u32,
    /// How many in any case.
    pub(super) floor: u32,
    /// What had been counted at the beginning of each second; the oldest is the one at `turn`.
    seconds: [Counted; SECONDS],
    turn: usize,
    retries: u64,
}

#[derive(Debug, Default, Clone, Copy)]
struct Counted {
    requests: u64,
    retries: u64,
}

impl Budget {
    pub(super) fn new(share: u32, floor: u32) -> Budget {
        Budget { share, floor, seconds: Default::default(), turn: 0, retries: 0 }
    }

    /// A second has passed; so many requests were counted in all.
    pub(super) fn tick(&mut self, requests: u64) {
        self.seconds[self.turn] = Counted { requests, retries: self.retries };
        self.turn = (self.turn + 1) % SECONDS;
    }

    /// Whether one more may be sent again, which it is then.
    pub(super) fn take(&mut self, requests: u64) -> bool {
        let before = self.seconds[self.turn];
        let share = requests.saturating_sub(before.requests).saturating_mul(self.share.into()) / 100;
        let allowed = share.saturating_add(self.floor.into());
        let may = self.retries - before.retries < allowed;
        self.retries += u64::from(may);
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(budget: &mut Budget, requests: u64) -> usize {
        (0..100).filter(|_| budget.take(requests)).count()
    }

    #[test]
    fn a_share_and_a_floor_come_back_after_ten_seconds() {
        let mut budget = Budget::new(20, 3);
        assert_eq!(taken(&mut budget, 0), 3);
        assert_eq!(taken(&mut budget, 50), 10);
        for _ in 0..9 {
            budget.tick(50);
        }
        assert_eq!(taken(&mut budget, 50), 0);
        budget.tick(50);
        assert_eq!(taken(&mut budget, 50), 3);
        assert_eq!(taken(&mut budget, 60), 2);
    }

    #[test]
    fn a_count_that_began_anew_gives_the_floor() {
        let mut budget = Budget::new(20, 1);
        (0..10).for_each(|_| budget.tick(1000));
        assert_eq!(taken(&mut budget, 5), 1);
    }
}
