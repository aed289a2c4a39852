//! Ends the process when a thread that serves clients has stopped turning, and tells systemd that it lives.
//!
//! Looks are counted, not time: a process that was stopped as a whole, or a machine that was asleep, finds its threads
//! where it left them, and they beat before the next look.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::supervisor::Supervisor;
use crate::pulse::Watched;

/// Looks at which a thread has to be found without a beat.
const LOOKS: u32 = 4;

/// The watching thread. Dropping it ends it.
pub(super) struct Watchdog {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// A thread that is watched, and what wakes it when it sleeps.
pub(super) struct Ward {
    pub(super) watched: Watched,
    pub(super) wake: Option<Box<dyn Fn() + Send>>,
}

impl Watchdog {
    /// Watches these threads; each may be silent for as long as `patience`, `None` for ever.
    pub(super) fn start(
        wards: Vec<Ward>,
        patience: Option<Duration>,
        supervisor: Supervisor,
    ) -> io::Result<Watchdog> {
        let looks = patience.map(|patience| patience / LOOKS).into_iter().chain(supervisor.interval());
        let Some(look) = looks.min() else {
            return Ok(Watchdog { ended: Arc::default(), thread: None });
        };
        let limit = patience.map(|patience| patience.as_nanos().div_ceil(look.as_nanos().max(1)));
        let ended = Arc::new(AtomicBool::new(false));
        let stop = ended.clone();
        let watch = move || {
            let mut seen: Vec<Seen> = wards.into_iter().map(Seen::new).collect();
            while !stop.load(Ordering::Acquire) {
                let stuck = seen.iter_mut().find_map(|seen| {
                    let silent = u128::from(seen.look());
                    limit.is_some_and(|limit| silent >= limit).then(|| seen.ward.watched.clone())
                });
                if let Some(stuck) = stuck {
                    stuck.give_up();
                }
                supervisor.lives();
                std::thread::park_timeout(look);
            }
        };
        let thread = std::thread::Builder::new().name("watchdog".into()).spawn(watch)?;
        Ok(Watchdog { ended, thread: Some(thread) })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It panics by no means but our own.
            let _ = thread.join();
        }
    }
}

struct Seen {
    ward: Ward,
    beats: u64,
    /// Looks in a row without a beat.
    silent: u32,
}

impl Seen {
    fn new(ward: Ward) -> Seen {
        Seen { ward, beats: 0, silent: 0 }
    }

    /// How many looks it has been silent for.
    fn look(&mut self) -> u32 {
        match self.ward.watched.beats() {
            Some(beats) if beats == self.beats => self.silent += 1,
            Some(beats) => (self.beats, self.silent) = (beats, 0),
            None => self.silent = 0,
        }
        if let Some(wake) = &self.ward.wake {
            wake();
        }
        self.silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pulse::pulse;

    #[test]
    fn silence_is_counted_in_looks_and_ends_with_a_beat_or_the_thread() {
        let (pulse, watched) = pulse("x");
        let mut seen = Seen::new(Ward { watched, wake: None });
        assert_eq!([seen.look(), seen.look()], [1, 2]);
        pulse.beat();
        assert_eq!([seen.look(), seen.look()], [0, 1]);
        drop(pulse);
        assert_eq!([seen.look(), seen.look()], [0, 0]);
    }
}
