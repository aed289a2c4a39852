//! Which held connections are members of which watched channels. Costs nothing where nothing is watched.

use std::collections::HashMap;
use std::sync::Arc;

use crate::hold::Hold;
use crate::hub::{Presence, Seat};

/// The seats of one shard's connections, by their keys.
pub(super) struct Attendance {
    presence: Option<Arc<Presence>>,
    seats: HashMap<u32, Box<[Seat]>>,
}

impl Attendance {
    pub(super) fn new(presence: Option<Arc<Presence>>) -> Attendance {
        Attendance { presence, seats: HashMap::new() }
    }

    /// A connection has come.
    pub(super) fn came(&mut self, key: u32, hold: &Hold) {
        let (Some(presence), Some(tag)) = (&self.presence, &hold.tag) else { return };
        let seats: Box<[Seat]> =
            hold.wishes.iter().filter_map(|(channel, _)| presence.enter(channel, tag)).collect();
        if !seats.is_empty() {
            self.seats.insert(key, seats);
        }
    }

    /// A connection goes, if it is here.
    pub(super) fn left(&mut self, key: u32) {
        if !self.seats.is_empty() {
            self.seats.remove(&key);
        }
    }
}
