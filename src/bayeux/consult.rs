//! Asks an application about the clients of a route with `authorize`, before anything of a request is done.
//!
//! Only what would be done otherwise is asked about, so that a stranger's messages cost the application nothing but
//! their handshake.

use std::borrow::Cow;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::authority::{Answered, Deed, Inquiry, Ruling, Rulings, Verb};
use super::envelope::Request;
use super::meta::{Visitor, is_id, known};
use super::name::{self, Kind};
use super::table::{Key, Table};
use super::{Bayeux, handshake};

/// What was said about the messages of a request.
pub(super) struct Counsel {
    pub(super) rulings: Rulings,
    /// The name by which a session was asked about that doesn't exist yet.
    pub(super) newcomer: Option<Box<str>>,
}

impl Counsel {
    const FREE: Counsel = Counsel { rulings: Rulings::Free, newcomer: None };
}

impl Bayeux {
    /// What there is to say to the messages, by an authority that takes questions and answers them all at once.
    pub(super) async fn consult(
        &self,
        visitor: &Visitor<'_>,
        messages: &[Request<'_>],
        authority: impl AsyncFnOnce(Vec<u8>) -> Option<Answered>,
    ) -> Counsel {
        let Some(terms) = &visitor.terms.route.authorize else { return Counsel::FREE };
        let (inquiry, newcomer) = self.inquiry(visitor, messages);
        let Some(questions) = inquiry.json() else {
            return Counsel { rulings: inquiry.close(None).1, newcomer };
        };
        let answered = authority(questions).await;
        let asked = inquiry.len();
        let (fresh, rulings) = inquiry.close(answered.as_ref());
        self.count("failed", asked - fresh.len());
        let granted = fresh.iter().filter(|(_, _, ruling)| *ruling == Ruling::Granted).count();
        self.count("granted", granted);
        self.count("denied", fresh.len() - granted);
        if let Some(max_age) = answered.and_then(|answered| answered.max_age) {
            let (mut table, now) = (self.table.lock(), Instant::now());
            for (client, deed, ruling) in fresh {
                let Some(until) = now.checked_add(max_age) else { continue };
                let key = table.find(&client).filter(|_| deed.verb != Verb::Handshake);
                let Some(session) = key.and_then(|key| table.get_mut(key)) else { continue };
                if !session.remembered.keep(deed, ruling, (now, until), terms.remember) {
                    self.count("not_kept", 1);
                }
            }
        }
        Counsel { rulings, newcomer }
    }

    fn count(&self, ruling: &str, deeds: usize) {
        self.metrics.bayeux_rulings.with_label_values(&[ruling]).inc_by(deeds as u64);
    }

    /// What the messages need to know.
    fn inquiry<'a>(
        &self,
        visitor: &Visitor<'_>,
        messages: &[Request<'a>],
    ) -> (Inquiry<'a>, Option<Box<str>>) {
        let mut inquiry = Inquiry::default();
        let (mut table, now) = (self.table.lock(), Instant::now());
        if let Some(handshake) = messages.iter().find(|message| message.channel() == "/meta/handshake") {
            let is_full = table.len() >= self.sessions_max.load(Ordering::Relaxed);
            let fits = !is_full && handshake::fit(handshake).is_ok();
            let newcomer = fits.then(|| self.fresh_id()).flatten();
            if let Some(id) = &newcomer {
                inquiry.ask(id, Deed::new(Verb::Handshake, ""), handshake.raw_ext());
            }
            return (inquiry, newcomer);
        }
        for message in messages {
            let client = message.client_id.as_deref().unwrap_or_default();
            let Some(key) = known(&table, visitor, client) else { continue };
            for deed in deeds(&mut table, key, message) {
                let remembered = table.get_mut(key).and_then(|session| session.remembered.ruling(&deed, now));
                match remembered {
                    Some(ruling) => {
                        self.count("remembered", 1);
                        inquiry.knows(client, deed, ruling);
                    }
                    None => inquiry.ask(client, deed, message.raw_ext()),
                }
            }
        }
        (inquiry, None)
    }
}

/// What a message would do that somebody has to allow; nothing where it will be refused anyway.
fn deeds(table: &mut Table, key: Key, message: &Request<'_>) -> Vec<Deed> {
    let channel = message.channel();
    let Some(session) = table.get_mut(key).filter(|_| message.id.is_none_or(is_id)) else {
        return Vec::new();
    };
    match (name::kind(channel), channel) {
        (Some(Kind::Broadcast), _) => {
            let fits = message.data.is_some_and(|data| data.get().len() <= session.terms.message);
            if fits { vec![Deed::new(Verb::Publish, channel)] } else { Vec::new() }
        }
        (Some(Kind::Meta), "/meta/subscribe") => {
            let names = message.subscriptions().unwrap_or_default();
            let is_meant = |name: &&Cow<'_, str>| {
                let kind = name::pattern(name).map(|(kind, _)| kind);
                kind == Some(Kind::Broadcast) && !session.subscriptions.contains_key(&***name)
            };
            let fresh: Vec<Deed> =
                names.iter().filter(is_meant).map(|name| Deed::new(Verb::Subscribe, name)).collect();
            let fits = session.subscriptions.len() + fresh.len() <= session.terms.route.subscriptions;
            if fits { fresh } else { Vec::new() }
        }
        _ => Vec::new(),
    }
}
