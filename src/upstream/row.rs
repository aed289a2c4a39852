//! One server's connections in the table of a pool, and whether it may be given more.

use std::sync::Arc;
use std::time::Instant;

use super::health::Health;
use super::link::Link;
use super::seats::Bounds;
use super::server::Server;

/// What an operator wants of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It takes requests.
    Enabled,
    /// It finishes what it has, takes nothing new, and is still asked for its health.
    Draining,
    /// The same, and it is asked nothing.
    Disabled,
    /// It is gone when it has finished what it has.
    Removed,
}

/// One server's connections.
pub(super) struct Row {
    pub(super) server: Arc<Server>,
    pub(super) standing: Standing,
    pub(super) health: Health,
    pub(super) busy: usize,
    /// Connections that are being opened and may be up at any moment, and those that take long.
    pub(super) opening: usize,
    pub(super) slow: usize,
    pub(super) idle: Vec<Link>,
    /// When it is asked next, and when its name is looked up next.
    pub(super) check_due: Option<Instant>,
    pub(super) lookup_due: Option<Instant>,
    /// Whether it was up when somebody was told last.
    pub(super) told_up: bool,
}

impl Row {
    pub(super) fn new(server: Arc<Server>) -> Row {
        Row {
            server,
            standing: Standing::Enabled,
            health: Health::default(),
            busy: 0,
            opening: 0,
            slow: 0,
            idle: Vec::new(),
            check_due: None,
            lookup_due: None,
            told_up: true,
        }
    }

    /// Whether it takes requests, well or not.
    pub(super) fn is_enabled(&self) -> bool {
        self.standing == Standing::Enabled
    }

    pub(super) fn is_up(&self, now: Instant) -> bool {
        self.is_enabled() && self.health.is_up(now)
    }

    /// Whether it is as good as any other.
    pub(super) fn is_usable(&self, now: Instant) -> bool {
        self.is_up(now) && self.slow == 0 && !self.health.is_shunned(now)
    }

    /// Whether nothing is left of it.
    pub(super) fn is_vacant(&self) -> bool {
        self.standing == Standing::Removed && self.load() + self.slow + self.idle.len() == 0
    }

    pub(super) fn has_place(&self, bounds: &Bounds) -> bool {
        !self.idle.is_empty() || self.has_room(bounds)
    }

    /// Whether another connection may be opened.
    pub(super) fn has_room(&self, bounds: &Bounds) -> bool {
        self.slow == 0 && self.load() + self.idle.len() < bounds.connections
    }

    pub(super) fn load(&self) -> usize {
        self.busy + self.opening
    }

    /// The idle connection that was used last, by this thread if it has one.
    pub(super) fn pick(&mut self, worker: usize) -> Option<Link> {
        match self.idle.iter().rposition(|link| link.worker() == worker) {
            Some(index) => Some(self.idle.remove(index)),
            None => self.idle.pop(),
        }
    }
}
