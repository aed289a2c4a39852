//! Where shards and the hub leave word for the thread of the room.
//!
//! What lies here is bounded by what is held: each hold says twice something at most. Nobody waits for a single word of
//! those, so they gather for a moment: a wake for each of them would cost more than all that comes of it.

use std::mem;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::hold::{Hears, Said};

/// How long what is said of holds may gather. News are taken at once, and all that lies there with them; so this is how
/// much later at most a client is answered whose connect came at the very moment of a message.
const GATHER: Duration = Duration::from_millis(2);

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
        self.letters.lock().news = true;
        self.bell.notify_one();
    }

    pub(super) fn ring_stop(&self) {
        self.letters.lock().stop = true;
        self.bell.notify_one();
    }

    /// Waits for a letter, until a moment at the latest, and takes what is there.
    pub(super) fn wait(&self, until: Instant) -> Letters {
        let mut letters = self.letters.lock();
        // Whether it was a letter or the time is seen in what is there.
        let _ = self.bell.wait_while_until(&mut letters, |letters| letters.are_none(), until);
        if !letters.are_urgent() {
            let until = until.min(Instant::now() + GATHER);
            let _ = self.bell.wait_while_until(&mut letters, |letters| !letters.are_urgent(), until);
        }
        mem::take(&mut letters)
    }
}

impl Letters {
    fn are_none(&self) -> bool {
        self.said.is_empty() && !self.are_urgent()
    }

    fn are_urgent(&self) -> bool {
        self.news || self.stop
    }
}

impl Hears for Desk {
    fn hear(&self, hold: u64, said: Said) {
        let mut letters = self.letters.lock();
        letters.said.push((hold, said));
        // The ones behind it are taken with it.
        if letters.said.len() == 1 {
            drop(letters);
            self.bell.notify_one();
        }
    }
}
