//! Who has which connections of which server: the table behind the lock of a pool; decides, and does no I/O.
//!
//! A request is matched with a connection that is up, never with a server: while one is opened, it waits in line,
//! and whatever connection becomes free first serves whoever is first. A connection that is being opened therefore
//! belongs to nobody. Nobody waits while an idle connection could serve them.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::link::Link;
use super::queue::{Class, Full, Queue, Ticket};
use super::row::Row;
use super::server::Server;
use crate::config::EjectConfig;

/// No thread's number, where somebody is called whose thread isn't known.
const NO_THREAD: usize = usize::MAX;

/// The table.
pub(super) struct Seats<W> {
    pub(super) rows: Vec<Row>,
    pub(super) bounds: Bounds,
    /// Connections that may be up at any moment, at all servers.
    opening: usize,
    /// Where the search among equals begins.
    pub(super) turn: usize,
    pub(super) queue: Queue<W>,
}

/// What one server is given.
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    /// Connections.
    pub(super) connections: usize,
    /// Idle connections, and how long.
    pub(super) keep: usize,
    pub(super) idle: Duration,
    /// Requests that a connection serves.
    pub(super) uses: Option<NonZeroU32>,
    /// Idle connections that are had ready, at all servers together.
    pub(super) ahead: usize,
    /// When a server is ejected.
    pub(super) eject: Option<EjectConfig>,
}

/// What somebody finds who needs a connection.
pub(super) enum Found {
    /// An idle connection, which is busy now.
    Idle {
        server: usize,
        link: Link,
        /// Another server, where a connection is to be opened for those who come later.
        besides: Option<usize>,
    },
    /// A place in line.
    Line {
        ticket: Ticket,
        /// Where a connection is to be opened.
        place: Option<usize>,
        /// Whether one is on its way for whoever this is.
        is_coming: bool,
    },
    Full,
}

/// What somebody in line is called for.
pub(super) enum Offer {
    /// An idle connection of this server.
    Link(usize, Link),
    /// A place for a connection at this server.
    Place(usize),
}

/// What became of a connection that is free.
pub(super) enum Rested<W> {
    Kept,
    Next(W, Link),
    TooMany(Link),
}

/// What follows when a connection couldn't be opened.
pub(super) enum Failed<W> {
    /// Another server is to be tried.
    Next(usize),
    /// Somebody in line gets this instead.
    Serve(W, usize, Link),
    /// Nothing is left to try: these have waited in vain.
    Refuse(Vec<W>),
    /// Nobody needs it, or a connection will be free elsewhere.
    Nothing,
}

impl<W> Seats<W> {
    pub(super) fn new(servers: Vec<Arc<Server>>, bounds: Bounds, queue: Queue<W>) -> Seats<W> {
        Seats { rows: servers.into_iter().map(Row::new).collect(), bounds, opening: 0, turn: 0, queue }
    }

    /// The idle connection of the server that is next, and a server where one is to be had ready instead. `None`
    /// where a connection would have to be opened or waited for.
    pub(super) fn take(&mut self, worker: usize, now: Instant) -> Option<(usize, Link, Option<usize>)> {
        let index = self.choose(now, &[])?;
        let (server, link) = self.pick(index, worker)?;
        Some((server, link, self.ahead(now)))
    }

    /// A server at which a connection is to be opened for those who come later: the one with the fewest to spare.
    pub(super) fn ahead(&mut self, now: Instant) -> Option<usize> {
        if self.bounds.ahead == 0 {
            return None;
        }
        let spare: usize = self.rows.iter().map(|row| row.idle.len() + row.opening).sum();
        let spare = spare.saturating_sub(self.queue.len());
        let has_room = |index: &usize| {
            let row = &self.rows[*index];
            row.opening == 0 && self.is_usable(*index, now, &[]) && row.has_room(&self.bounds)
        };
        let next = self.in_turn().filter(has_room).min_by_key(|index| self.rows[*index].idle.len())?;
        (spare < self.bounds.ahead).then(|| self.reserve(next))
    }

    /// For somebody who has to wait: an idle connection after all, of whatever server, or a place in line, by his
    /// class or by the ticket that he has. `who` joins it.
    pub(super) fn find(
        &mut self,
        (worker, now): (usize, Instant),
        line: Result<Class, Ticket>,
        who: W,
    ) -> Found {
        let next = self.choose(now, &[]);
        if let Some((server, link)) = self.choose_idle(now).and_then(|index| self.pick(index, worker)) {
            // Whose turn it was should have a connection, too.
            let lacks = |index: &usize| self.rows[*index].idle.is_empty() && self.rows[*index].opening == 0;
            let besides = next.filter(|index| *index != server).filter(lacks);
            return Found::Idle { server, link, besides: besides.map(|index| self.reserve(index)) };
        }
        let lacks = self.queue.len() >= self.opening;
        let place = next.filter(|_| lacks).map(|index| self.reserve(index));
        let is_coming = !lacks || place.is_some();
        let joined = match line {
            Err(ticket) => Ok(self.queue.rejoin(ticket, who)),
            // Whoever has a connection on its way takes no place of the line's.
            Ok(class) => self.queue.join(class, who, if is_coming { usize::MAX } else { self.opening }),
        };
        match joined {
            Ok(ticket) => Found::Line { ticket, place, is_coming },
            Err(Full) => Found::Full,
        }
    }

    fn pick(&mut self, index: usize, worker: usize) -> Option<(usize, Link)> {
        let mut link = self.rows[index].pick(worker)?;
        self.bounds.take_up(&mut link);
        self.rows[index].busy += 1;
        self.turn = (index + 1) % self.rows.len();
        Some((index, link))
    }

    fn reserve(&mut self, index: usize) -> usize {
        self.rows[index].opening += 1;
        self.opening += 1;
        self.turn = (index + 1) % self.rows.len();
        index
    }

    fn release(&mut self, index: usize, slow: bool) {
        if slow {
            self.rows[index].slow -= 1;
        } else {
            self.rows[index].opening -= 1;
            self.opening -= 1;
        }
    }

    /// Another idle connection for a place whose first one was stale.
    pub(super) fn exchange(&mut self, server: usize, worker: usize) -> Option<Link> {
        let mut link = self.rows[server].pick(worker)?;
        self.bounds.take_up(&mut link);
        Some(link)
    }

    /// Prepares a connection that somebody opened for himself in his place.
    pub(super) fn take_up(&self, link: &mut Link) {
        self.bounds.take_up(link);
    }

    /// Moves a busy place to another server, and takes an idle connection there if there is one.
    pub(super) fn move_seat(
        &mut self,
        server: usize,
        worker: usize,
        now: Instant,
    ) -> Option<(usize, Option<Link>)> {
        let other = self.choose_other(server, now)?;
        self.rows[server].busy -= 1;
        match self.pick(other, worker) {
            Some((other, link)) => Some((other, Some(link))),
            None => {
                self.rows[other].busy += 1;
                Some((other, None))
            }
        }
    }

    /// Leaves the line; false for those who were called before.
    pub(super) fn leave(&mut self, ticket: Ticket) -> bool {
        self.queue.leave(ticket).is_some()
    }

    /// A connection is closed, and its place free.
    pub(super) fn vacate(&mut self, server: usize) {
        self.rows[server].busy -= 1;
    }

    /// A connection won't be opened after all.
    pub(super) fn abandon(&mut self, server: usize, slow: bool) {
        self.release(server, slow);
    }

    /// A connection takes long to open: it is no longer counted on, and no other is opened there meanwhile.
    pub(super) fn slow(&mut self, server: usize) {
        self.release(server, false);
        self.rows[server].slow += 1;
    }

    /// Somebody in line for whom no connection is on its way although there could be one.
    pub(super) fn offer(&mut self, now: Instant) -> Option<(W, Offer)> {
        if self.queue.len() <= self.opening {
            return None;
        }
        let index = self.choose_idle(now).or_else(|| self.choose(now, &[]))?;
        let waiter = self.queue.call()?;
        let offer = match self.pick(index, NO_THREAD) {
            Some((server, link)) => Offer::Link(server, link),
            None => Offer::Place(self.reserve(index)),
        };
        Some((waiter, offer))
    }

    /// A connection in use is free: it goes to whoever is first in line, else among the idle, else it comes back.
    pub(super) fn rest(&mut self, server: usize, mut link: Link, now: Instant) -> Rested<W> {
        if !self.rows[server].is_enabled() || link.is_last() || !link.rest(self.bounds.idle, now) {
            return Rested::TooMany(link);
        }
        if let Some(waiter) = self.queue.call() {
            self.bounds.take_up(&mut link);
            return Rested::Next(waiter, link);
        }
        let row = &mut self.rows[server];
        if row.idle.len() >= self.bounds.keep {
            return Rested::TooMany(link);
        }
        row.idle.push(link);
        row.busy -= 1;
        Rested::Kept
    }

    /// A connection is up: it is busy if somebody is in line.
    pub(super) fn up(&mut self, server: usize, slow: bool, mut link: Link, now: Instant) -> Rested<W> {
        self.release(server, slow);
        let row = &mut self.rows[server];
        row.health.reached(true, now);
        if !row.is_enabled() {
            return Rested::TooMany(link);
        }
        if let Some(waiter) = self.queue.call() {
            row.busy += 1;
            self.bounds.take_up(&mut link);
            return Rested::Next(waiter, link);
        }
        // One that nobody has used yet may be had ready where none is kept.
        if !link.rest(self.bounds.idle, now) || row.idle.len() >= self.bounds.keep.max(self.bounds.ahead) {
            return Rested::TooMany(link);
        }
        row.idle.push(link);
        Rested::Kept
    }

    /// A server couldn't be reached, nor could those that were `refused` before, in the same attempt.
    pub(super) fn failed(
        &mut self,
        (server, slow): (usize, bool),
        refused: &[usize],
        now: Instant,
    ) -> Failed<W> {
        self.release(server, slow);
        self.unreachable(server, now);
        if self.queue.len() <= self.opening {
            return Failed::Nothing;
        }
        match self.choose(now, refused) {
            Some(index) if self.rows[index].idle.is_empty() => Failed::Next(self.reserve(index)),
            Some(index) => match (self.queue.call(), self.pick(index, NO_THREAD)) {
                (Some(waiter), Some((server, link))) => Failed::Serve(waiter, server, link),
                _ => Failed::Nothing,
            },
            // Where a server that wasn't refused is only full, waiting is of use.
            None if (0..self.rows.len()).any(|index| self.is_usable(index, now, refused)) => Failed::Nothing,
            // And so it is where an operator has taken all of them out.
            None if !self.rows.iter().any(Row::is_enabled) => Failed::Nothing,
            None => Failed::Refuse(self.in_vain()),
        }
    }

    /// Those who wait for nothing: the first, and everybody where no connection is left that could become free.
    fn in_vain(&mut self) -> Vec<W> {
        let is_hopeless = self.rows.iter().all(|row| row.load() == 0 && row.slow == 0);
        let count = if is_hopeless { usize::MAX } else { 1 };
        std::iter::from_fn(|| self.queue.call()).take(count).collect()
    }

    /// The server couldn't be reached.
    pub(super) fn unreachable(&mut self, server: usize, now: Instant) {
        self.rows[server].health.reached(false, now);
        self.fault(server, now);
    }

    /// The server could be reached after all.
    pub(super) fn reachable(&mut self, server: usize, now: Instant) {
        self.rows[server].health.reached(true, now);
    }

    /// The server has failed.
    pub(super) fn fault(&mut self, server: usize, now: Instant) {
        let is_last = !self.rows.iter().enumerate().any(|(index, row)| index != server && row.is_up(now));
        let row = &mut self.rows[server];
        row.server.note_trouble(true);
        if row.health.fault(self.bounds.eject.as_ref(), is_last, now) {
            row.server.metrics.ejected();
        }
    }

    /// The server has answered after it had failed.
    pub(super) fn recovered(&mut self, server: usize) {
        let row = &mut self.rows[server];
        row.server.note_trouble(false);
        row.health.answered();
    }

    /// Takes out every idle connection for which `stale` holds.
    pub(super) fn clear(&mut self, mut stale: impl FnMut(&mut Link) -> bool) -> Vec<Link> {
        let mut cleared = Vec::new();
        for row in &mut self.rows {
            let idle = std::mem::take(&mut row.idle);
            for mut link in idle {
                if stale(&mut link) {
                    cleared.push(link);
                } else {
                    row.idle.push(link);
                }
            }
        }
        cleared
    }

    pub(super) fn server(&self, index: usize) -> &Arc<Server> {
        &self.rows[index].server
    }

    /// Each server with its busy and idle connections.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&Arc<Server>, usize, usize)> {
        self.rows.iter().map(|row| (&row.server, row.load() + row.slow, row.idle.len()))
    }

    /// Brings the gauges of the servers up to date.
    pub(super) fn measure(&self, now: Instant) {
        for row in &self.rows {
            row.server.metrics.connections(row.load() + row.slow, row.idle.len());
            row.server.metrics.is_up(row.is_up(now));
        }
    }

    /// How many of a class are in line.
    pub(super) fn waiting(&self, class: Class) -> usize {
        self.queue.len_of(class)
    }
}

impl Bounds {
    /// Gives a connection a request, which may be its last.
    fn take_up(&self, link: &mut Link) {
        let is_last = self.keep == 0 || self.uses.is_some_and(|uses| link.uses() + 1 >= uses.get());
        link.take_up(is_last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ServerConfig, Target};
    use crate::metrics::Metrics;

    /// So many servers with so many places each; whoever waits is a number.
    fn seats(servers: usize, connections: usize) -> Seats<u32> {
        let metrics = Metrics::new().unwrap();
        let server = |number| {
            let config =
                ServerConfig { name: format!("{number}"), target: Target::Unix("/x".into()), tls: false };
            Arc::new(Server::new("app", &config, &metrics))
        };
        let idle = Duration::from_secs(1);
        let bounds = Bounds { connections, keep: 4, idle, uses: None, ahead: 0, eject: None };
        Seats::new((0..servers).map(server).collect(), bounds, Queue::new(2, None))
    }

    /// Where a connection is to be opened for somebody new, and whether one is on its way for him.
    fn find(seats: &mut Seats<u32>, now: Instant, who: u32) -> Option<(Option<usize>, bool)> {
        assert!(seats.take(0, now).is_none());
        match seats.find((0, now), Ok(Class::Normal), who) {
            Found::Line { place, is_coming, .. } => Some((place, is_coming)),
            Found::Full => None,
            Found::Idle { .. } => panic!("no connection is idle"),
        }
    }

    #[test]
    fn the_least_busy_server_is_next_and_equals_take_turns() {
        let (mut seats, now) = (seats(3, 2), Instant::now());
        let places: Vec<_> = (0..8).map(|who| find(&mut seats, now, who)).collect();
        let opened = |server| Some((Some(server), true));
        let waits = Some((None, false));
        assert_eq!(places[..6], [0, 1, 2, 0, 1, 2].map(opened));
        assert_eq!(places[6..], [waits, waits]);
        assert_eq!(find(&mut seats, now, 8), None);
        seats.abandon(2, false);
        assert!(matches!(seats.offer(now), Some((0, Offer::Place(2)))));
        assert!(seats.offer(now).is_none());
    }

    #[test]
    fn a_server_that_can_not_be_reached_comes_last_for_a_second() {
        let (mut seats, now) = (seats(2, 2), Instant::now());
        assert_eq!(find(&mut seats, now, 0), Some((Some(0), true)));
        assert!(matches!(seats.failed((0, false), &[0], now), Failed::Next(1)));
        assert_eq!(find(&mut seats, now, 1), Some((Some(1), true)));
        // The other one is full, so that waiting for it is better than a wall.
        assert_eq!(find(&mut seats, now, 2), Some((None, false)));
        assert!(seats.offer(now).is_none());
        assert!(matches!(seats.offer(now + Duration::from_secs(1)), Some((0, Offer::Place(0)))));
    }

    #[test]
    fn whoever_waits_for_nothing_is_told_so() {
        let (mut seats, now) = (seats(2, 1), Instant::now());
        find(&mut seats, now, 0);
        find(&mut seats, now, 1);
        find(&mut seats, now, 2);
        // The second connection may still come up for somebody.
        assert!(matches!(seats.failed((0, false), &[0], now), Failed::Nothing));
        match seats.failed((1, false), &[1], now) {
            Failed::Next(0) => {}
            _ => panic!("the first has not been tried for this one"),
        }
        match seats.failed((0, false), &[1, 0], now) {
            Failed::Refuse(all) => assert_eq!(all, [0, 1, 2]),
            _ => panic!("no server is left"),
        }
    }

    #[test]
    fn a_server_that_takes_long_is_no_longer_counted_on() {
        let (mut seats, now) = (seats(2, 9), Instant::now());
        assert_eq!(find(&mut seats, now, 0), Some((Some(0), true)));
        seats.slow(0);
        assert!(matches!(seats.offer(now), Some((0, Offer::Place(1)))));
        assert_eq!(find(&mut seats, now, 1), Some((None, true)));
        assert_eq!(find(&mut seats, now, 2), Some((Some(1), true)));
        seats.abandon(0, true);
        assert_eq!(find(&mut seats, now, 3), Some((Some(0), true)));
    }
}
