//! Which server is next: the least busy one, in turn among equals, and one that is well before one that is not.

use std::time::Instant;

use super::seats::Seats;

impl<W> Seats<W> {
    /// The least busy server that can be used and has an idle connection or room for one, in turn among equals;
    /// where none can be used, one that can't is better than none.
    pub(super) fn choose(&self, now: Instant, refused: &[usize]) -> Option<usize> {
        let usable = |index: usize| self.is_usable(index, now, refused);
        let others = (0..self.rows.len()).any(usable);
        self.in_turn()
            .filter(|index| !refused.contains(index) && (!others || usable(*index)))
            .filter(|index| self.rows[*index].is_enabled() && self.rows[*index].has_place(&self.bounds))
            .min_by_key(|index| self.rows[*index].load())
    }

    pub(super) fn choose_idle(&self, now: Instant) -> Option<usize> {
        let others = (0..self.rows.len()).any(|index| self.is_usable(index, now, &[]));
        self.in_turn()
            .filter(|index| !others || self.is_usable(*index, now, &[]))
            .filter(|index| self.rows[*index].is_enabled() && !self.rows[*index].idle.is_empty())
            .min_by_key(|index| self.rows[*index].load())
    }

    pub(super) fn in_turn(&self) -> impl Iterator<Item = usize> {
        let (count, turn) = (self.rows.len(), self.turn);
        (0..count).map(move |step| (turn + step) % count)
    }

    pub(super) fn is_usable(&self, index: usize, now: Instant, refused: &[usize]) -> bool {
        !refused.contains(&index) && self.rows[index].is_usable(now)
    }

    /// Whether another server can be used and has a place.
    pub(super) fn has_other(&self, server: usize, now: Instant) -> bool {
        self.choose_other(server, now).is_some()
    }

    pub(super) fn choose_other(&self, server: usize, now: Instant) -> Option<usize> {
        self.choose(now, &[server]).filter(|index| self.is_usable(*index, now, &[server]))
    }
}
