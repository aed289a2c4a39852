//! What the application has revoked, for as long as a ticket of before could be valid; bounded.
//!
//! When the table is full, the oldest revocation makes room, and from then on every ticket that is as old as that is void:
//! too many clients ask the application rather than one too few.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use parking_lot::Mutex;

use super::ticket::TICKET_MAX;

/// Whose connections and tickets a revocation means.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Whose {
    /// Those with this tag.
    Tag(Box<str>),
    /// Those on this channel.
    Channel(Box<str>),
}

/// Revocations, shared by all who look at what a client may have.
#[derive(Default)]
pub(super) struct Revocations {
    table: Mutex<Table>,
    /// Whether there has been one, so that nobody takes the lock before.
    any: AtomicBool,
}

#[derive(Default)]
struct Table {
    tags: HashMap<Box<str>, SystemTime>,
    channels: HashMap<Box<str>, SystemTime>,
    /// Each with its time; one that was made again since stands here more than once.
    order: VecDeque<(SystemTime, Whose)>,
    /// Everything up to here is void.
    floor: Option<SystemTime>,
}

impl Revocations {
    /// Makes void what was given until now. False where another one had to make room among `limit`.
    pub(super) fn add(&self, whose: Whose, limit: usize, now: SystemTime) -> bool {
        let mut table = self.table.lock();
        self.any.store(true, Ordering::Release);
        table.forget_what_is_over(now);
        let fits = table.order.len() < limit;
        if !fits {
            table.floor = table.forget_oldest().max(table.floor);
        }
        table.of(&whose).insert(whose.name().into(), now);
        table.order.push_back((now, whose));
        fits
    }

    /// Makes everything void that was given until then.
    pub(super) fn raise_floor(&self, upto: SystemTime) {
        let mut table = self.table.lock();
        self.any.store(true, Ordering::Release);
        table.floor = table.floor.max(Some(upto));
    }

    /// Whether what was given then, with this tag on these channels, is void by now.
    pub(super) fn cover<'a>(
        &self,
        given: SystemTime,
        tag: Option<&str>,
        mut channels: impl Iterator<Item = &'a str>,
    ) -> bool {
        if !self.any.load(Ordering::Acquire) {
            return false;
        }
        let table = self.table.lock();
        let is_void = |at: Option<&SystemTime>| at.is_some_and(|at| given <= *at);
        is_void(table.floor.as_ref())
            || tag.is_some_and(|tag| is_void(table.tags.get(tag)))
            || channels.any(|channel| is_void(table.channels.get(channel)))
    }
}

impl Whose {
    /// Which of the two, in one word.
    pub fn kind(&self) -> &'static str {
        match self {
            Whose::Tag(_) => "tag",
            Whose::Channel(_) => "channel",
        }
    }

    fn name(&self) -> &str {
        match self {
            Whose::Tag(name) | Whose::Channel(name) => name,
        }
    }
}

impl Table {
    fn of(&mut self, whose: &Whose) -> &mut HashMap<Box<str>, SystemTime> {
        match whose {
            Whose::Tag(_) => &mut self.tags,
            Whose::Channel(_) => &mut self.channels,
        }
    }

    fn forget_what_is_over(&mut self, now: SystemTime) {
        while self.order.front().is_some_and(|(at, _)| *at + TICKET_MAX < now) {
            // What it covers is over by now, unless the clock goes back: then it is void all the same.
            self.floor = self.forget_oldest().max(self.floor);
        }
    }

    /// Takes the oldest one out, unless it was made again, and says when it was.
    fn forget_oldest(&mut self) -> Option<SystemTime> {
        let (at, whose) = self.order.pop_front()?;
        let of = self.of(&whose);
        if of.get(whose.name()) == Some(&at) {
            of.remove(whose.name());
        }
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
    }

    fn tag(name: &str) -> Whose {
        Whose::Tag(name.into())
    }

    #[test]
    fn what_was_given_before_is_void_and_what_comes_later_is_not() {
        let revocations = Revocations::default();
        let covers = |given, tag, channels: &[&str]| revocations.cover(given, tag, channels.iter().copied());
        assert!(!covers(at(0), Some("a"), &["news"]));
        assert!(revocations.add(tag("a"), 10, at(5)));
        assert!(revocations.add(Whose::Channel("news".into()), 10, at(6)));
        assert!(covers(at(5), Some("a"), &[]) && !covers(at(6), Some("a"), &[]));
        assert!(covers(at(6), None, &["other", "news"]) && !covers(at(7), None, &["news"]));
        assert!(!covers(at(0), Some("news"), &["a"]));
        assert!(!covers(at(0), None, &["other"]));
    }

    #[test]
    fn a_full_table_makes_more_void_and_never_less() {
        let revocations = Revocations::default();
        let covers = |given, name: &str| revocations.cover(given, Some(name), std::iter::empty());
        assert!(revocations.add(tag("a"), 2, at(1)));
        assert!(revocations.add(tag("b"), 2, at(2)));
        assert!(!revocations.add(tag("c"), 2, at(3)));
        assert!(covers(at(1), "a") && covers(at(1), "x") && !covers(at(2), "x"));
        assert!(covers(at(2), "b") && covers(at(3), "c"));
    }

    #[test]
    fn a_floor_makes_void_what_anybody_was_given_until_then() {
        let revocations = Revocations::default();
        let covers = |given| revocations.cover(given, None, std::iter::empty());
        revocations.raise_floor(at(5));
        revocations.raise_floor(at(3));
        assert!(covers(at(5)) && !covers(at(6)));
    }

    #[test]
    fn it_is_forgotten_when_no_ticket_of_before_can_be_valid() {
        let revocations = Revocations::default();
        let day = TICKET_MAX.as_secs();
        assert!(revocations.add(tag("a"), 2, at(0)));
        assert!(revocations.add(tag("a"), 2, at(10)));
        assert!(revocations.add(tag("b"), 2, at(day + 5)));
        assert!(revocations.cover(at(10), Some("a"), std::iter::empty()));
        assert!(revocations.add(tag("c"), 2, at(2 * day)));
        // Nothing of then can be valid, and nothing is if the clock goes back.
        assert!(revocations.cover(at(10), Some("a"), std::iter::empty()));
        assert!(!revocations.cover(at(11), Some("a"), std::iter::empty()));
        assert!(revocations.cover(at(11), Some("b"), std::iter::empty()));
    }
}
