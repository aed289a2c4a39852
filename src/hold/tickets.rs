//! The keys of tickets: the first signs, all read, and a reload changes them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use ring::hmac;

use super::Hold;
use super::moment;
use super::revocations::{Revocations, Whose};
use super::ticket::{BadTicket, Scope, Ticket, TooLarge};

/// Signs and reads the tickets of a process; shared by all its threads.
pub struct Tickets {
    terms: ArcSwap<Terms>,
    /// Whether a client may have one. Until then nobody looks for one.
    are_out: AtomicBool,
    revocations: Revocations,
}

/// What a configuration says of tickets.
#[derive(Clone)]
pub struct TicketSettings {
    /// Keys from the configuration, which other processes have, too; the first signs.
    pub keys: Vec<Box<[u8]>>,
    /// How long after the application's answer a ticket is renewed; `None` for ever.
    pub renewal: Option<Duration>,
    /// Revocations that are remembered.
    pub revocations: usize,
}

struct Terms {
    keys: Vec<hmac::Key>,
    renewal: Option<Duration>,
    revocations: usize,
}

impl Tickets {
    /// With a key of this process's own, which signs where the configuration has none.
    pub fn new(own: &[u8], settings: &TicketSettings) -> Tickets {
        let are_out = AtomicBool::new(!settings.keys.is_empty());
        let own = hmac::Key::new(hmac::HMAC_SHA256, own);
        let terms = ArcSwap::from_pointee(Terms::new(settings, own));
        Tickets { terms, are_out, revocations: Revocations::default() }
    }

    /// Takes other keys. Those that are left out end their tickets; the process's own stays, and reads.
    pub fn reconfigure(&self, settings: &TicketSettings) {
        let terms = self.terms.load();
        let Some(own) = terms.keys.last().cloned() else { return };
        self.terms.store(Terms::new(settings, own).into());
        if !settings.keys.is_empty() {
            self.are_out.store(true, Ordering::Relaxed);
        }
    }

    /// Whether a client may bring one.
    pub fn are_out(&self) -> bool {
        self.are_out.load(Ordering::Relaxed)
    }

    /// How long after the application's answer tickets are renewed; `None` for ever.
    pub fn renewal(&self) -> Option<Duration> {
        self.terms.load().renewal
    }

    /// Signs a ticket for this scope.
    ///
    /// # Errors
    /// A cookie can't carry it.
    pub fn seal(&self, ticket: &Ticket, scope: &Scope) -> Result<String, TooLarge> {
        let terms = self.terms.load();
        let text = ticket.seal(&terms.keys[0], scope)?;
        self.are_out.store(true, Ordering::Relaxed);
        Ok(text)
    }

    /// Reads a ticket that was brought within this scope.
    ///
    /// # Errors
    /// It isn't valid here and now.
    pub fn open(&self, text: &str, scope: &Scope, now: SystemTime) -> Result<Ticket, BadTicket> {
        let ticket = Ticket::open(text, &self.terms.load().keys, scope, now)?;
        // Another process may have given it whose clock was ahead.
        moment::learn(ticket.issued());
        let is_void = self.revocations.cover(ticket.issued(), ticket.tag(), ticket.channels());
        if is_void { Err(BadTicket::Revoked) } else { Ok(ticket) }
    }

    /// Makes void what has been given until now. False where so much is revoked that more than that became void.
    pub fn revoke(&self, whose: Whose, now: SystemTime) -> bool {
        self.revocations.add(whose, self.terms.load().revocations, now)
    }

    /// How many revocations are remembered.
    pub fn revocations_max(&self) -> usize {
        self.terms.load().revocations
    }

    /// Makes void all that was given until then, whoever has it.
    pub fn revoke_all(&self, upto: SystemTime) {
        self.revocations.raise_floor(upto);
    }

    /// Whether a hold has been revoked since it was decided.
    pub fn have_revoked(&self, hold: &Hold) -> bool {
        let channels = hold.wishes.iter().map(|(name, _)| name.as_str());
        self.revocations.cover(hold.at, hold.tag.as_deref(), channels)
    }
}

impl Terms {
    /// There is always a key: the process's own is the last.
    fn new(settings: &TicketSettings, own: hmac::Key) -> Terms {
        let given = settings.keys.iter().map(|key| hmac::Key::new(hmac::HMAC_SHA256, key));
        let TicketSettings { renewal, revocations, .. } = *settings;
        Terms { keys: given.chain([own]).collect(), renewal, revocations }
    }
}
