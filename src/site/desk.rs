//! Where shards leave word of what held clients say.

use std::mem;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::hold::{Hears, Said};

/// Where shards leave word.
#[derive(Default)]
pub(super) struct Desk {
    letters: Mutex<Vec<(u64, Said)>>,
    bell: Notify,
}

impl Hears for Desk {
    fn hear(&self, hold: u64, said: Said) {
        self.letters.lock().push((hold, said));
        self.bell.notify_one();
    }
}

impl Desk {
    /// What was left until now.
    pub(super) fn take(&self) -> Vec<(u64, Said)> {
        mem::take(&mut *self.letters.lock())
    }

    /// Waits for what was left. Cancel-safe.
    pub(super) async fn letters(&self) -> Vec<(u64, Said)> {
        loop {
            let letters = self.take();
            if !letters.is_empty() {
                return letters;
            }
            self.bell.notified().await;
        }
    }
}
