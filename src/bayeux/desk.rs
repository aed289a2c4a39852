//! Where shards and the hub leave word for the thread of the room.
//!
//! What lies here is bounded by what is held: each hold says twice something at most.

use std::mem;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use crate::hold::{Hears, Said};

/// A list with a bell.
#[derive(Default)]
pub(super) struct Desk {
    letters: Mutex<Letters>,
    bell: Condvar,
}

/// What has come since the last look.
#[derive(Default)]
pub(super) struct Letters {
    /// What was said of holds.
    pub(super) said: Vec<(u64, Said)>,
    /// The hub has news.
    pub(super) news: bool,
    /// The process is ending.
    pub(super) stop: bool,
}

impl Desk {
    pub(super) fn ring_news(&self) {
        self.change(|letters| letters.news = true);
    }

    pub(super) fn ring_stop(&self) {
        self.change(|letters| letters.stop = true);
    }

    fn change(&self, change: impl FnOnce(&mut Letters)) {
        change(&mut self.letters.lock());
        self.bell.notify_one();
    }

    /// Waits for a letter, until a moment at the latest, and takes what is there.
    pub(super) fn wait(&self, until: Instant) -> Letters {
        let mut letters = self.letters.lock();
        let none = |letters: &mut Letters| letters.said.is_empty() && !letters.news && !letters.stop;
        // Whether it was a letter or the time is seen in what is there.
        let _ = self.bell.wait_while_until(&mut letters, none, until);
        mem::take(&mut letters)
    }
}

impl Hears for Desk {
    fn hear(&self, hold: u64, said: Said) {
        self.change(|letters| letters.said.push((hold, said)));
    }
}
