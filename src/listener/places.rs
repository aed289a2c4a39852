//! How many client connections the process has, against `limits.connections`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The places of all threads.
#[derive(Debug, Default)]
pub struct Places {
    taken: AtomicUsize,
    /// `usize::MAX` for no limit.
    limit: AtomicUsize,
}

/// A connection's place, given back on drop.
#[derive(Debug)]
pub struct Place(Arc<Places>);

impl Places {
    /// With a limit; `None` for none.
    pub fn new(limit: Option<usize>) -> Arc<Places> {
        let places = Places::default();
        places.set_limit(limit);
        Arc::new(places)
    }

    /// Takes another limit; connections over it stay.
    pub fn set_limit(&self, limit: Option<usize>) {
        self.limit.store(limit.unwrap_or(usize::MAX), Ordering::Relaxed);
    }

    /// A place for a new connection, if there is one beside those and the `held` ones.
    pub fn take(self: &Arc<Places>, held: usize) -> Option<Place> {
        let place = self.keep();
        let before = self.open() - 1;
        (before.saturating_add(held) < self.limit.load(Ordering::Relaxed)).then_some(place)
    }

    /// A place for a connection that was counted elsewhere until now.
    pub fn keep(self: &Arc<Places>) -> Place {
        self.taken.fetch_add(1, Ordering::Relaxed);
        Place(self.clone())
    }

    /// Connections that have a place.
    pub fn open(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_connections_count_and_those_that_come_back_are_never_refused() {
        let places = Places::new(Some(2));
        let first = places.take(0).unwrap();
        assert!(places.take(1).is_none());
        let back = places.keep();
        assert!(places.take(0).is_none());
        drop((first, back));
        assert!(places.take(1).is_some());
        places.set_limit(None);
        assert!(places.take(1000).is_some());
        assert_eq!(places.open(), 0);
    }
}
