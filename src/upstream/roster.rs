//! The servers of a pool while it runs: what an operator does with them, what a new configuration makes of them, and
//! what is to be asked of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::health::Health;
use super::link::Link;
use super::pool::Pool;
use super::row::{Row, Standing};
use super::seats::Seats;
use super::server::Server;
use crate::config::ServerConfig;

/// A server as operators see it.
#[derive(Debug, Clone)]
pub struct ServerState {
    /// As configured.
    pub name: Arc<str>,
    /// What an operator wants of it.
    pub standing: Standing,
    /// Whether it may be used, as far as is known.
    pub up: bool,
    /// How long it stays ejected.
    pub ejected_for: Option<Duration>,
    /// Connections in use or being opened.
    pub busy: usize,
    /// Connections that wait for use.
    pub idle: usize,
}

/// What is due to be done about a server.
pub(super) struct Due {
    pub(super) row: usize,
    pub(super) server: Arc<Server>,
    pub(super) check: bool,
    pub(super) lookup: bool,
}

impl Pool {
    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its servers as operators see them.
    pub fn servers(&self) -> Vec<ServerState> {
        self.seats().states(Instant::now())
    }

    /// Makes an operator's will known to a server; false where there is none like it. Its idle connections are
    /// closed at once where it takes no more requests.
    pub fn set_standing(self: &Arc<Self>, server: &ServerConfig, standing: Standing) -> bool {
        let idle = self.seats().set_standing(server, standing);
        let is_known = idle.is_some();
        drop(idle);
        self.serve_line();
        is_known
    }

    /// Adds a server until the next reload; false where it is there.
    pub fn add(self: &Arc<Self>, server: &ServerConfig) -> bool {
        let added = self.seats().add(server, || self.server(server));
        self.serve_line();
        added
    }
}

impl<W> Seats<W> {
    /// Every server that is there or has something left to do.
    pub(super) fn states(&self, now: Instant) -> Vec<ServerState> {
        let rows = self.rows.iter().filter(|row| !row.is_vacant());
        let state = |row: &Row| ServerState {
            name: row.server.name.clone(),
            standing: row.standing,
            up: row.is_up(now),
            ejected_for: row.health.ejected_for(now),
            busy: row.load() + row.slow,
            idle: row.idle.len(),
        };
        rows.map(state).collect()
    }

    /// What an operator wants of a server from now on; its idle connections, where it takes nothing any more. `None`
    /// where there is no such server.
    pub(super) fn set_standing(&mut self, config: &ServerConfig, standing: Standing) -> Option<Vec<Link>> {
        let is_it = |row: &&mut Row| row.server.is(config) && row.standing != Standing::Removed;
        let row = self.rows.iter_mut().find(is_it)?;
        row.standing = standing;
        if standing != Standing::Draining {
            // Nothing holds from before: an operator knows better.
            row.health = Health::default();
            row.check_due = None;
        }
        Some(if row.is_enabled() { Vec::new() } else { std::mem::take(&mut row.idle) })
    }

    /// Adds a server, or takes one back that was removed; false where it is there.
    pub(super) fn add(&mut self, config: &ServerConfig, new: impl FnOnce() -> Server) -> bool {
        if let Some(row) = self.rows.iter_mut().find(|row| row.server.is(config)) {
            let was_removed = row.standing == Standing::Removed;
            if was_removed {
                row.standing = Standing::Enabled;
            }
            return was_removed;
        }
        let row = Row::new(Arc::new(new()));
        match self.rows.iter_mut().find(|row| row.is_vacant()) {
            Some(vacant) => {
                vacant.server.metrics.connections(0, 0);
                *vacant = row;
            }
            None => self.rows.push(row),
        }
        true
    }

    /// Removes all others.
    pub(super) fn retain(&mut self, configs: &[ServerConfig]) -> Vec<Link> {
        let gone = |row: &&mut Row| !configs.iter().any(|config| row.server.is(config));
        let mut idle = Vec::new();
        for row in self.rows.iter_mut().filter(gone) {
            row.standing = Standing::Removed;
            idle.append(&mut row.idle);
        }
        idle
    }

    /// What is to be done now, by how often it is to be done; never where that is `None`.
    pub(super) fn due(
        &mut self,
        now: Instant,
        (check, lookup): (Option<Duration>, Option<Duration>),
    ) -> Vec<Due> {
        let mut due = Vec::new();
        for (index, row) in self.rows.iter_mut().enumerate() {
            let is_asked = matches!(row.standing, Standing::Enabled | Standing::Draining);
            let is_named = row.standing != Standing::Removed && row.server.has_name();
            let check = falls_due(&mut row.check_due, check.filter(|_| is_asked), now);
            let lookup = falls_due(&mut row.lookup_due, lookup.filter(|_| is_named), now);
            if check || lookup {
                due.push(Due { row: index, server: row.server.clone(), check, lookup });
            }
        }
        due
    }

    /// When something is due next.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let present = self.rows.iter().filter(|row| row.standing != Standing::Removed);
        present.flat_map(|row| [row.check_due, row.lookup_due]).flatten().min()
    }

    /// The row, if it is still that of this server.
    pub(super) fn row_of(&mut self, index: usize, server: &Arc<Server>) -> Option<&mut Row> {
        self.rows.get_mut(index).filter(|row| Arc::ptr_eq(&row.server, server))
    }

    /// Servers that have become usable or unusable since this was asked last.
    pub(super) fn turns(&mut self, now: Instant) -> Vec<(Arc<Server>, bool)> {
        let mut turns = Vec::new();
        for row in self.rows.iter_mut().filter(|row| row.is_enabled()) {
            let up = row.health.is_up(now);
            if std::mem::replace(&mut row.told_up, up) != up {
                turns.push((row.server.clone(), up));
            }
        }
        turns
    }
}

/// Whether a time has come, which is set anew then. What is done for the first time is due at once, and what is never
/// done has no time.
fn falls_due(due: &mut Option<Instant>, every: Option<Duration>, now: Instant) -> bool {
    let is_due = every.is_some() && due.is_none_or(|due| due <= now);
    match every {
        Some(every) if is_due => *due = Some(now + every),
        Some(_) => {}
        None => *due = None,
    }
    is_due
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_is_due_once_in_its_time_and_what_is_never_done_has_none() {
        let (mut due, now, second) = (None, Instant::now(), Duration::from_secs(1));
        assert!(falls_due(&mut due, Some(second), now));
        assert!(!falls_due(&mut due, Some(second), now));
        assert_eq!(due, Some(now + second));
        assert!(falls_due(&mut due, Some(second), now + second));
        assert!(!falls_due(&mut due, None, now + 9 * second));
        assert_eq!(due, None);
    }
}
