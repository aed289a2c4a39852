//! The waiting line of a pool: bounded, first come first served, left at any moment; pure.

use std::collections::VecDeque;

/// A place in line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

/// The line was full.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

/// Those who wait, in the order in which they came.
#[derive(Debug)]
pub(super) struct Queue<T> {
    waiting: VecDeque<(Ticket, T)>,
    next: u64,
    limit: usize,
}

impl<T> Queue<T> {
    /// For at most `limit` who wait.
    pub(super) fn new(limit: usize) -> Queue<T> {
        Queue { waiting: VecDeque::new(), next: 0, limit }
    }

    /// Joins the line at its end.
    pub(super) fn join(&mut self, who: T) -> Result<Ticket, Full> {
        if self.waiting.len() >= self.limit {
            return Err(Full);
        }
        let ticket = Ticket(self.next);
        self.next += 1;
        self.waiting.push_back((ticket, who));
        Ok(ticket)
    }

    /// Takes whoever has waited longest.
    pub(super) fn call(&mut self) -> Option<T> {
        self.waiting.pop_front().map(|(_, who)| who)
    }

    /// Leaves the line; `None` for those who were called before.
    pub(super) fn leave(&mut self, ticket: Ticket) -> Option<T> {
        let index = self.waiting.binary_search_by_key(&ticket, |(ticket, _)| *ticket).ok()?;
        self.waiting.remove(index).map(|(_, who)| who)
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_come_first_served_up_to_the_limit() {
        let mut queue = Queue::new(2);
        queue.join("a").unwrap();
        queue.join("b").unwrap();
        assert_eq!(queue.join("c"), Err(Full));
        assert_eq!(queue.call(), Some("a"));
        queue.join("c").unwrap();
        assert_eq!([queue.call(), queue.call(), queue.call()], [Some("b"), Some("c"), None]);
    }

    #[test]
    fn whoever_leaves_is_out_at_once_and_nobody_else() {
        let mut queue = Queue::new(3);
        let tickets = ["a", "b", "c"].map(|who| queue.join(who).unwrap());
        assert_eq!(queue.leave(tickets[1]), Some("b"));
        assert_eq!((queue.leave(tickets[1]), queue.len()), (None, 2));
        assert_eq!(queue.call(), Some("a"));
        assert_eq!(queue.leave(tickets[0]), None);
        assert_eq!(queue.leave(tickets[2]), Some("c"));
        assert_eq!(queue.call(), None);
    }

    #[test]
    fn a_line_of_no_length_takes_nobody() {
        assert_eq!(Queue::new(0).join("a"), Err(Full));
    }
}
