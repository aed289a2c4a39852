//! Which held connections have which tag. Only those that have one are in here, and cost something.

use std::collections::HashMap;
use std::sync::Arc;

/// The tagged connections of one shard, by their keys.
#[derive(Default)]
pub(super) struct Tags {
    members: HashMap<Arc<str>, Vec<u32>>,
    seats: HashMap<u32, Seat>,
}

/// A connection's place in the list of its tag.
struct Seat {
    tag: Arc<str>,
    place: usize,
}

impl Tags {
    /// A connection has come.
    pub(super) fn add(&mut self, key: u32, tag: &str) {
        let tag = self.members.get_key_value(tag).map_or_else(|| tag.into(), |(known, _)| known.clone());
        let members = self.members.entry(tag.clone()).or_default();
        self.seats.insert(key, Seat { tag, place: members.len() });
        members.push(key);
    }

    /// A connection goes, if it is here.
    pub(super) fn remove(&mut self, key: u32) {
        if self.seats.is_empty() {
            return;
        }
        let Some(Seat { tag, place }) = self.seats.remove(&key) else { return };
        let Some(members) = self.members.get_mut(&tag) else { return };
        members.swap_remove(place);
        match members.get(place) {
            Some(moved) => {
                if let Some(seat) = self.seats.get_mut(moved) {
                    seat.place = place;
                }
            }
            None if members.is_empty() => drop(self.members.remove(&tag)),
            None => {}
        }
    }

    /// The connections with a tag.
    pub(super) fn members(&self, tag: &str) -> &[u32] {
        self.members.get(tag).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_come_and_go_and_leave_nothing_behind() {
        let mut tags = Tags::default();
        for (key, tag) in [(1, "a"), (2, "a"), (3, "b"), (4, "a")] {
            tags.add(key, tag);
        }
        assert_eq!(tags.members("a"), [1, 2, 4]);
        tags.remove(1);
        assert_eq!(tags.members("a"), [4, 2]);
        tags.remove(4);
        tags.remove(9);
        assert_eq!((tags.members("a"), tags.members("b")), (&[2][..], &[3][..]));
        tags.remove(2);
        tags.remove(3);
        assert!(tags.members.is_empty() && tags.seats.is_empty());
        assert!(tags.members("a").is_empty());
    }
}
