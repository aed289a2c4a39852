//! The thread of the room: takes what the hub brings, has connects answered, ends what is over.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::MutexGuard;

use super::Bayeux;
use super::desk::Letters;
use super::envelope::Advice;
use super::meta;
use super::table::{Ended, Key, Table};
use crate::hold::Said;
use crate::hub::Turn;

/// The running thread. Dropping it ends it.
pub struct Courier {
    bayeux: Arc<Bayeux>,
    thread: Option<JoinHandle<()>>,
}

/// Between two looks for sessions that have expired.
const SWEEP: Duration = Duration::from_millis(500);
/// Connects that are answered before requests may have the lock.
const AT_ONCE: usize = 256;

impl Courier {
    /// Starts the thread.
    pub fn start(bayeux: &Arc<Bayeux>) -> io::Result<Courier> {
        let own = bayeux.clone();
        let thread = std::thread::Builder::new().name("bayeux".into()).spawn(move || own.run())?;
        Ok(Courier { bayeux: bayeux.clone(), thread: Some(thread) })
    }
}

impl Drop for Courier {
    fn drop(&mut self) {
        self.bayeux.desk.ring_stop();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of Bayeux had panicked");
        }
    }
}

impl Bayeux {
    fn run(&self) {
        let (mut turn, mut sweep) = (Turn::default(), Instant::now() + SWEEP);
        loop {
            let letters = self.desk.wait(sweep);
            if letters.stop {
                return;
            }
            let now = Instant::now();
            self.deliver(letters, &mut turn, now);
            if now >= sweep {
                sweep = now + SWEEP;
                let mut table = self.table.lock();
                table.overdue(now).into_iter().for_each(|key| meta::end_connect(&mut table, key, None, now));
                let expired = table.expired(now);
                expired.into_iter().for_each(|key| end(&mut table, key, Ended::Expired, now));
            }
        }
    }

    fn deliver(&self, letters: Letters, turn: &mut Turn, now: Instant) {
        let mut table = self.table.lock();
        let mut touched: Vec<Key> =
            letters.said.into_iter().filter_map(|(hold, said)| note(&mut table, hold, said, now)).collect();
        if letters.news {
            let news = table.take_news(turn, now);
            turn.clear();
            news.lost.into_iter().for_each(|key| end(&mut table, key, Ended::Full, now));
            touched.extend(news.touched);
        }
        for keys in touched.chunks(AT_ONCE) {
            keys.iter().for_each(|key| table.deliver(*key, now));
            MutexGuard::bump(&mut table);
        }
    }
}

fn note(table: &mut Table, hold: u64, said: Said, now: Instant) -> Option<Key> {
    match said {
        Said::Here(line) => table.reached(hold, line),
        Said::Over(end) => table.over(hold, end, now),
        // Of WebSockets, which are heard elsewhere (`socket.rs`).
        Said::Words(_) | Said::Sent(_) | Said::Wanted | Said::Missing(_) => None,
    }
}

/// Ends a session without its client, which hears of it at its next word.
fn end(table: &mut Table, key: Key, why: Ended, now: Instant) {
    meta::end_connect(table, key, Some(Advice::HANDSHAKE), now);
    table.remove(key, why, now);
}
