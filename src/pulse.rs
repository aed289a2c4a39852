//! Signs of life: threads that have to turn for the process to be of use beat, and somebody counts.
//!
//! A thread that panics with a pulse in its hands takes the process along: what is left would serve a part of the
//! clients and leave the others hanging, and a supervisor starts a whole one. A panic that somebody catches, such as
//! that of one connection's task, is counted and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The pulse of a thread, which holds it for as long as it turns.
#[derive(Debug)]
pub struct Pulse(Arc<Beats>);

/// The same as somebody else sees it.
#[derive(Debug, Clone)]
pub struct Watched(Arc<Beats>);

#[derive(Debug, Default)]
struct Beats {
    name: Box<str>,
    count: AtomicU64,
    ended: AtomicBool,
}

/// A pulse, and the view of it, for the thread with this name.
pub fn pulse(name: impl Into<Box<str>>) -> (Pulse, Watched) {
    let beats = Arc::new(Beats { name: name.into(), ..Beats::default() });
    (Pulse(beats.clone()), Watched(beats))
}

impl Pulse {
    /// Once in each turn.
    pub fn beat(&self) {
        self.0.count.fetch_add(1, Ordering::Relaxed);
    }

    /// Ends the process, since the thread can't go on.
    pub fn give_up(&self) -> ! {
        end_process(&self.0.name, "can't go on")
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        if std::thread::panicking() {
            end_process(&self.0.name, "has panicked");
        }
        self.0.ended.store(true, Ordering::Relaxed);
    }
}

impl Watched {
    /// Beats until now; `None` once the thread has ended as it was asked to.
    pub fn beats(&self) -> Option<u64> {
        (!self.0.ended.load(Ordering::Relaxed)).then(|| self.0.count.load(Ordering::Relaxed))
    }

    /// Ends the process because of it.
    pub fn give_up(&self) -> ! {
        end_process(&self.0.name, "has stopped turning")
    }
}

/// By SIGABRT: whatever runs at an orderly end could wait for the very thread that is stuck.
fn end_process(thread: &str, what: &str) -> ! {
    tracing::error!(thread, "a thread {what}, so the process ends");
    std::process::abort()
}

static PANICS: AtomicU64 = AtomicU64::new(0);

/// From now on panics are counted, besides being told as before.
pub fn count_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        before(info);
    }));
}

/// Panics that were counted.
pub fn panics() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::pulse;

    #[test]
    fn a_pulse_beats_until_its_thread_ends() {
        let (pulse, watched) = pulse("worker-0");
        assert_eq!(watched.beats(), Some(0));
        pulse.beat();
        pulse.beat();
        assert_eq!(watched.beats(), Some(2));
        drop(pulse);
        assert_eq!(watched.beats(), None);
    }
}
