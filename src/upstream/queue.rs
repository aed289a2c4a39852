//! The waiting line of a pool: bounded, urgent ones first, in order within a class, left at any moment; pure.
//!
//! A class that is passed over again and again has its turn after a fixed number of others (relief), so that the
//! less urgent are slow and not starved.

use std::collections::VecDeque;
use std::num::NonZeroU32;

/// How urgent somebody in line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Before all others.
    High,
    /// What nothing is said about.
    Normal,
    /// When nobody else waits.
    Low,
}

impl Class {
    pub(super) const ALL: [Class; 3] = [Class::High, Class::Normal, Class::Low];

    /// Its label in metrics.
    pub(super) fn name(self) -> &'static str {
        ["high", "normal", "low"][self as usize]
    }
}

/// A place in line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    class: Class,
    number: u64,
}

/// The line was full.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

/// Those who wait.
#[derive(Debug)]
pub(super) struct Queue<T> {
    lanes: [Lane<T>; 3],
    next: u64,
    /// How many may wait.
    pub(super) limit: usize,
    /// How many may be served before somebody of a lower class who waits; `None` for any number.
    pub(super) relief: Option<NonZeroU32>,
}

/// Those of one class, in the order in which they came.
#[derive(Debug)]
struct Lane<T> {
    waiting: VecDeque<(u64, T)>,
    /// How many of higher classes were served since its last turn, while somebody waited here.
    passed: u32,
}

impl<T> Queue<T> {
    pub(super) fn new(limit: usize, relief: Option<NonZeroU32>) -> Queue<T> {
        let lane = || Lane { waiting: VecDeque::new(), passed: 0 };
        Queue { lanes: [lane(), lane(), lane()], next: 0, limit, relief }
    }

    /// Joins the line behind those of its class. `coming` connections are on their way, and whoever waits for them
    /// takes no place of the line's.
    pub(super) fn join(&mut self, class: Class, who: T, coming: usize) -> Result<Ticket, Full> {
        if self.len() >= self.limit.saturating_add(coming) {
            return Err(Full);
        }
        let ticket = Ticket { class, number: self.next };
        self.next += 1;
        self.lane(class).waiting.push_back((ticket.number, who));
        Ok(ticket)
    }

    /// Takes the place again that somebody had who was called in vain.
    pub(super) fn rejoin(&mut self, ticket: Ticket, who: T) -> Ticket {
        let waiting = &mut self.lane(ticket.class).waiting;
        let place = waiting.partition_point(|(number, _)| *number < ticket.number);
        waiting.insert(place, (ticket.number, who));
        ticket
    }

    /// Takes whoever is next.
    pub(super) fn call(&mut self) -> Option<T> {
        let first = self.lanes.iter().position(|lane| !lane.waiting.is_empty())?;
        let lower = &self.lanes[first + 1..];
        let starved = lower.iter().position(|lane| lane.is_starved(self.relief));
        let chosen = starved.map_or(first, |lower| first + 1 + lower);
        let who = self.lanes[chosen].waiting.pop_front();
        self.lanes[chosen].passed = 0;
        for lane in &mut self.lanes[chosen + 1..] {
            lane.passed = if lane.waiting.is_empty() { 0 } else { lane.passed.saturating_add(1) };
        }
        who.map(|(_, who)| who)
    }

    /// Leaves the line; `None` for those who were called before.
    pub(super) fn leave(&mut self, ticket: Ticket) -> Option<T> {
        let waiting = &mut self.lane(ticket.class).waiting;
        let index = waiting.binary_search_by_key(&ticket.number, |(number, _)| *number).ok()?;
        waiting.remove(index).map(|(_, who)| who)
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.lanes.iter().map(|lane| lane.waiting.len()).sum()
    }

    /// How many of a class wait.
    pub(super) fn len_of(&self, class: Class) -> usize {
        self.lanes[class as usize].waiting.len()
    }

    fn lane(&mut self, class: Class) -> &mut Lane<T> {
        &mut self.lanes[class as usize]
    }
}

impl<T> Lane<T> {
    fn is_starved(&self, relief: Option<NonZeroU32>) -> bool {
        !self.waiting.is_empty() && relief.is_some_and(|relief| self.passed >= relief.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(limit: usize) -> Queue<&'static str> {
        Queue::new(limit, None)
    }

    fn join(queue: &mut Queue<&'static str>, who: &'static str) -> Ticket {
        queue.join(Class::Normal, who, 0).unwrap()
    }

    #[test]
    fn first_come_first_served_up_to_the_limit() {
        let mut queue = queue(2);
        join(&mut queue, "a");
        join(&mut queue, "b");
        assert_eq!(queue.join(Class::High, "c", 0), Err(Full));
        assert_eq!(queue.call(), Some("a"));
        join(&mut queue, "c");
        assert_eq!([queue.call(), queue.call(), queue.call()], [Some("b"), Some("c"), None]);
    }

    #[test]
    fn whoever_waits_for_a_connection_on_its_way_takes_no_place() {
        let mut queue = queue(1);
        queue.join(Class::Normal, "its own is on its way", 1).unwrap();
        queue.join(Class::Normal, "b", 1).unwrap();
        assert_eq!(queue.join(Class::Normal, "c", 1), Err(Full));
    }

    #[test]
    fn whoever_leaves_is_out_at_once_and_nobody_else() {
        let mut queue = queue(4);
        let tickets = ["a", "b", "c"].map(|who| join(&mut queue, who));
        let low = queue.join(Class::Low, "low", 0).unwrap();
        assert_eq!(queue.leave(tickets[1]), Some("b"));
        assert_eq!((queue.leave(tickets[1]), queue.len()), (None, 3));
        assert_eq!(queue.call(), Some("a"));
        assert_eq!(queue.leave(tickets[0]), None);
        assert_eq!(queue.leave(low), Some("low"));
        assert_eq!(queue.leave(tickets[2]), Some("c"));
        assert_eq!(queue.call(), None);
    }

    #[test]
    fn whoever_was_called_in_vain_is_next_again() {
        let mut queue = queue(3);
        let first = join(&mut queue, "a");
        let second = join(&mut queue, "b");
        join(&mut queue, "c");
        assert_eq!([queue.call(), queue.call()], [Some("a"), Some("b")]);
        queue.rejoin(second, "b");
        queue.rejoin(first, "a");
        assert_eq!([queue.call(), queue.call(), queue.call()], [Some("a"), Some("b"), Some("c")]);
    }

    #[test]
    fn a_line_of_no_length_takes_nobody() {
        assert_eq!(queue(0).join(Class::Normal, "a", 0), Err(Full));
    }

    /// Serves all, with as many of each class in line as the figures say.
    fn order(relief: u32, counts: [usize; 3]) -> String {
        let mut queue = Queue::new(100, NonZeroU32::new(relief));
        for (class, count) in Class::ALL.into_iter().zip(counts) {
            (0..count).for_each(|_| _ = queue.join(class, &class.name()[..1], 0).unwrap());
        }
        std::iter::from_fn(|| queue.call()).collect()
    }

    #[test]
    fn the_urgent_are_first_and_the_others_have_their_turn() {
        assert_eq!(order(0, [3, 2, 2]), "hhhnnll");
        assert_eq!(order(2, [5, 2, 2]), "hhnlhhnlh");
        assert_eq!(order(1, [3, 0, 3]), "hlhlhl");
        assert_eq!(order(3, [0, 4, 2]), "nnnlnl");
    }

    #[test]
    fn nobody_is_relieved_for_what_happened_before_they_came() {
        let mut queue = Queue::new(100, NonZeroU32::new(2));
        let serve = |queue: &mut Queue<_>, joins: &[(Class, &'static str)]| {
            joins.iter().for_each(|(class, who)| _ = queue.join(*class, *who, 0).unwrap());
            queue.call().unwrap()
        };
        for _ in 0..5 {
            assert_eq!(serve(&mut queue, &[(Class::High, "h")]), "h");
        }
        assert_eq!(serve(&mut queue, &[(Class::Low, "l"), (Class::High, "h"), (Class::High, "h")]), "h");
    }
}
