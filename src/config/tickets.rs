//! `tickets`: with what clients come back without the application.

use std::time::Duration;

use super::form;
use super::secret::{Secret, secret};
use super::section::{Key, Section, Value};

/// Tickets, with which clients come back without the application.
#[derive(Debug, Clone)]
pub struct TicketsConfig {
    /// The first signs, all read; without any, a random one signs as long as the process lives.
    pub keys: Vec<Secret>,
    /// How long after the application's answer tickets are renewed; `None` is `off`.
    pub renewal: Option<Duration>,
    /// Revocations that are remembered for as long as a ticket of before could be valid.
    pub revocations: usize,
}

impl Default for TicketsConfig {
    fn default() -> Self {
        TicketsConfig {
            keys: Vec::new(),
            // A working day: whoever stays longer is looked at by the application again.
            renewal: Some(Duration::from_secs(12 * 3600)),
            // Everybody who logs out of a busy site in a day, some megabytes.
            revocations: 100_000,
        }
    }
}

pub(super) static TICKETS: Section<TicketsConfig> = Section {
    short: None,
    required: &[],
    keys: &[
        Key::new("keys", |tickets, value| value.each_of_some(|item| tickets.keys.extend(ticket_key(item)))),
        Key::new("renewal", |tickets, value| value.put(&mut tickets.renewal, &form::DURATION_OR_OFF)),
        Key::new("revocations", |tickets, value| value.put(&mut tickets.revocations, &form::COUNT)),
    ],
};

/// Whoever guesses it lets anybody in, so that it is as long as what it makes (RFC 2104 §3).
fn ticket_key(value: Value<'_>) -> Option<Secret> {
    secret(value, "32 bytes or more, for example from `openssl rand -hex 32`", |text| text.len() >= 32)
}
