//! Who has which connections of which server: the table behind the lock of a pool; decides, and does no I/O.

use std::time::{Duration, Instant};

use super::link::Link;
use super::queue::Queue;

/// How long a server that couldn't be reached is passed over while another can be.
const SHUNNED: Duration = Duration::from_secs(1);

/// The table.
pub(super) struct Seats<W> {
    rows: Vec<Row>,
    /// Connections that one server is given.
    limit: usize,
    /// Where the search among equals begins.
    turn: usize,
    pub(super) queue: Queue<W>,
}

/// One server's connections: `open` are all, `busy` those in use or being opened.
struct Row {
    open: usize,
    busy: usize,
    idle: Vec<Link>,
    failed: Option<Instant>,
}

impl<W> Seats<W> {
    pub(super) fn new(servers: usize, limit: usize, queue: usize) -> Seats<W> {
        let row = || Row { open: 0, busy: 0, idle: Vec::new(), failed: None };
        let rows = std::iter::repeat_with(row).take(servers).collect();
        Seats { rows, limit, turn: 0, queue: Queue::new(queue) }
    }

    /// The server that the next request goes to, and its idle connection if there is one: least busy first,
    /// in turn among equals. `None` when every server has all that it may have, or is among the `refused`.
    pub(super) fn take(
        &mut self,
        worker: usize,
        now: Instant,
        refused: &[usize],
    ) -> Option<(usize, Option<Link>)> {
        let count = self.rows.len();
        let others =
            self.rows.iter().enumerate().any(|(index, row)| self.is_usable(index, row, now, refused));
        let index = (0..count)
            .map(|step| (self.turn + step) % count)
            .filter(|index| !refused.contains(index) && self.rows[*index].has_place(self.limit))
            .filter(|index| !others || !self.rows[*index].is_shunned(now))
            .min_by_key(|index| self.rows[*index].busy)?;
        self.turn = (index + 1) % count;
        let row = &mut self.rows[index];
        row.busy += 1;
        let link = row.pick(worker);
        row.open += usize::from(link.is_none());
        Some((index, link))
    }

    fn is_usable(&self, index: usize, row: &Row, now: Instant, refused: &[usize]) -> bool {
        !refused.contains(&index) && !row.is_shunned(now)
    }

    /// Whether a server that wasn't refused is only full.
    pub(super) fn is_worth_waiting(&self, now: Instant, refused: &[usize]) -> bool {
        self.rows.iter().enumerate().any(|(index, row)| self.is_usable(index, row, now, refused))
    }

    /// Another idle connection for a place whose first one was stale.
    pub(super) fn exchange(&mut self, server: usize, worker: usize) -> Option<Link> {
        let row = &mut self.rows[server];
        let link = row.pick(worker);
        row.open -= usize::from(link.is_some());
        link
    }

    /// A place is free. Gives it to whoever waits longest, unless the server can't be reached and another can.
    pub(super) fn vacate(&mut self, server: usize, now: Instant) -> Option<W> {
        let elsewhere = self.rows.iter().any(|row| !row.is_shunned(now));
        let shunned = self.rows[server].is_shunned(now) && elsewhere;
        let waiter = if shunned { None } else { self.queue.call() };
        if waiter.is_none() {
            let row = &mut self.rows[server];
            (row.busy, row.open) = (row.busy - 1, row.open - 1);
        }
        waiter
    }

    /// A place with its connection is free: it goes to whoever waits, else among the idle, else it comes back.
    pub(super) fn rest(&mut self, server: usize, link: Link, keep: usize) -> Rested<W> {
        if let Some(waiter) = self.queue.call() {
            return Rested::Next(waiter, link);
        }
        let row = &mut self.rows[server];
        if row.idle.len() >= keep {
            return Rested::TooMany(link);
        }
        row.idle.push(link);
        row.busy -= 1;
        Rested::Kept
    }

    /// The server couldn't be reached.
    pub(super) fn failed(&mut self, server: usize, now: Instant) {
        self.rows[server].failed = Some(now);
    }

    /// The server was reached.
    pub(super) fn reached(&mut self, server: usize) {
        self.rows[server].failed = None;
    }

    /// Takes out every idle connection for which `stale` holds; says of which server they were.
    pub(super) fn clear(&mut self, stale: impl Fn(&Link) -> bool) -> Vec<(usize, Link)> {
        let mut cleared = Vec::new();
        for (server, row) in self.rows.iter_mut().enumerate() {
            let idle = std::mem::take(&mut row.idle);
            for link in idle {
                if stale(&link) {
                    row.open -= 1;
                    cleared.push((server, link));
                } else {
                    row.idle.push(link);
                }
            }
        }
        cleared
    }

    /// Busy and idle connections of a server.
    pub(super) fn count(&self, server: usize) -> (usize, usize) {
        (self.rows[server].busy, self.rows[server].idle.len())
    }
}

/// What became of a connection that was handed back.
pub(super) enum Rested<W> {
    Kept,
    Next(W, Link),
    TooMany(Link),
}

impl Row {
    fn has_place(&self, limit: usize) -> bool {
        !self.idle.is_empty() || self.open < limit
    }

    fn is_shunned(&self, now: Instant) -> bool {
        self.failed.is_some_and(|failed| now.duration_since(failed) < SHUNNED)
    }

    /// The idle connection that was used last, by this thread if it has one.
    fn pick(&mut self, worker: usize) -> Option<Link> {
        match self.idle.iter().rposition(|link| link.worker() == worker) {
            Some(index) => Some(self.idle.remove(index)),
            None => self.idle.pop(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers<W>(seats: &mut Seats<W>, now: Instant, takes: usize) -> Vec<Option<usize>> {
        (0..takes).map(|_| seats.take(0, now, &[]).map(|(server, _)| server)).collect()
    }

    #[test]
    fn the_least_busy_server_is_next_and_equals_take_turns() {
        let (mut seats, now) = (Seats::<()>::new(3, 2, 0), Instant::now());
        assert_eq!(servers(&mut seats, now, 4), [Some(0), Some(1), Some(2), Some(0)]);
        assert!(seats.vacate(2, now).is_none());
        assert_eq!(servers(&mut seats, now, 4), [Some(2), Some(1), Some(2), None]);
        assert_eq!(seats.count(0), (2, 0));
    }

    #[test]
    fn a_server_that_can_not_be_reached_comes_last_for_a_second() {
        let (mut seats, now) = (Seats::<u8>::new(2, 2, 5), Instant::now());
        seats.failed(0, now);
        assert_eq!(servers(&mut seats, now, 3), [Some(1), Some(1), None]);
        assert!(seats.is_worth_waiting(now, &[0]));
        assert!(!seats.is_worth_waiting(now, &[0, 1]));
        seats.failed(1, now);
        assert_eq!(servers(&mut seats, now, 1), [Some(0)]);
        assert_eq!(servers(&mut seats, now + SHUNNED, 1), [Some(0)]);
    }

    #[test]
    fn a_free_place_goes_to_whoever_waits_longest_unless_its_server_is_gone() {
        let (mut seats, now) = (Seats::new(2, 1, 5), Instant::now());
        servers(&mut seats, now, 2);
        for waiter in ["a", "b"] {
            seats.queue.join(waiter).unwrap();
        }
        assert_eq!(seats.vacate(0, now), Some("a"));
        assert_eq!(seats.count(0), (1, 0));
        seats.failed(0, now);
        assert_eq!(seats.vacate(0, now), None);
        assert_eq!(seats.count(0), (0, 0));
        assert_eq!(seats.vacate(1, now), Some("b"));
    }
}
