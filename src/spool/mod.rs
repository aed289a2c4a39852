//! Bodies that wait for somebody slower: in memory as far as all of them together may, then in nameless files.
//!
//! A [`Spool`] is a queue of bytes: what is pushed first is taken first, whether it stayed in memory or went through
//! a file. [`Held`] is a body that is kept whole and can be read more than once. Both draw on one [`Spools`], which
//! bounds the memory and the disk of the process, and reading or writing a file never happens on the thread that
//! drives connections.
//!
//! Files have no name from their beginning, so that nothing stays behind, however the process ends. A disk that is
//! full or broken is as good as none: what waits then stays in memory, and its sender is slowed down.
//!
//! Here is nothing about HTTP: whether a body may wait, and what becomes of one that can't, belongs to the exchange.

mod block;
mod budget;
mod disk;
mod held;
mod leash;
mod queue;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use prometheus::IntCounter;

use crate::config::BuffersConfig;
use crate::metrics::Metrics;

pub use disk::TURNS;
pub use held::{Held, Reader};
pub use leash::Leash;
pub use queue::{Room, Spool};

use block::Carried;
use budget::{Budget, Use};
use disk::Disk;

/// Which way a body goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// To the application.
    Request,
    /// To the client.
    Response,
}

/// What all bodies of the process share: memory, disk, and their counters.
pub struct Spools {
    budget: Arc<Budget>,
    disk: Arc<Disk>,
    /// By [`Kind`].
    spills: [IntCounter; 2],
    full: [IntCounter; 2],
}

/// The words of both kinds in metrics.
const KINDS: [&str; 2] = ["request", "response"];
/// A piece smaller than this isn't worth counting while it is handed on: a connection's own buffer is larger.
const CARRIED_MIN: usize = 16 * 1024;

impl Spools {
    /// For the process.
    pub fn new(config: &BuffersConfig, metrics: &Metrics) -> Arc<Spools> {
        let spools = Spools {
            budget: Budget::new(config.memory, metrics),
            disk: Disk::new(config, metrics),
            spills: KINDS.map(|kind| metrics.buffer_spills.with_label_values(&[kind])),
            full: KINDS.map(|kind| metrics.buffer_full.with_label_values(&[kind])),
        };
        Arc::new(spools)
    }

    /// Bounds that hold from now on; what waits already stays where it is.
    pub fn reconfigure(&self, config: &BuffersConfig) {
        self.budget.set_limit(config.memory);
        self.disk.reconfigure(config);
    }

    /// Whether so much waits in memory that each body is to have little there, and to be handed on in small pieces.
    pub fn is_tight(&self) -> bool {
        self.budget.is_tight()
    }

    /// Counts a piece on its way to a socket for as long as it lives. It is there already, so that it counts even
    /// where the bound is reached: others get less.
    pub fn carry(&self, kind: Kind, piece: Bytes) -> Bytes {
        if piece.len() < CARRIED_MIN {
            return piece;
        }
        let charge = self.budget.charge(kind, Use::Staying, piece.len());
        Bytes::from_owner(Carried::new(piece, charge))
    }
}

#[cfg(test)]
impl Spools {
    /// Bytes of memory that are counted.
    fn budget_in_use(&self) -> usize {
        self.budget.in_use()
    }
}
