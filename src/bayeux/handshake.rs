//! A handshake: what has to be right about it, and the session that comes of it.

use std::borrow::Cow;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::authority::{Rulings, Verb};
use super::envelope::{Ack, Advice, Reply, ReplyExt, Request};
use super::meta::{self, BAD_ID, FULL, Visitor};
use super::session::Session;
use super::{Bayeux, words};

/// Refusals in the protocol's own words.
const NO_VERSION: &str = "400::version_missing";
const NO_COMMON_TYPE: &str = "301::connection_types_not_supported";

/// The ways to connect, as they are offered.
pub(super) const CONNECTION_TYPES: &[&str] = &["websocket", "long-polling", "callback-polling"];
/// Ways that are the same under another name.
const SYNONYMS: &[&str] = &["cross-origin-long-polling"];
/// When a client that was turned away shall try again.
const TURNED_AWAY: u64 = 10_000;

/// A session that has begun.
struct Welcome {
    id: Box<str>,
    browser: Box<str>,
    ack: bool,
}

/// What its client's browser is called from now on, where it had no name, and the reply.
pub(super) type Greeting = (Option<Box<str>>, Vec<u8>);

impl Bayeux {
    /// Answers a handshake. Its session gets the name that it was asked about by.
    pub(super) fn handshake(
        &self,
        visitor: &Visitor<'_>,
        request: &Request<'_>,
        rulings: &Rulings,
        asked_as: Option<Box<str>>,
    ) -> Greeting {
        match self.welcome(visitor, request, rulings, asked_as) {
            Ok(welcome) => {
                let ext = request.ext();
                let timesync = meta::clock(&ext);
                let clocks = timesync.as_ref().map(|clock| words::clocks(clock, 0));
                let ack = welcome.ack.then_some(Ack::On(true));
                let reply = Reply {
                    client_id: Some(&welcome.id),
                    version: Some("1.0"),
                    minimum_version: Some("1.0"),
                    connection_types: Some(CONNECTION_TYPES),
                    advice: Some(meta::retry(visitor.terms)),
                    ext: (ack.is_some() || clocks.is_some()).then_some(ReplyExt { ack, timesync: clocks }),
                    ..Reply::to(request)
                };
                let reply = reply.json();
                (visitor.browser.is_none().then_some(welcome.browser), reply)
            }
            Err(error) => {
                let reply = Reply {
                    version: Some("1.0"),
                    connection_types: Some(CONNECTION_TYPES),
                    advice: Some(advice(&error)),
                    ..Reply::refusal(request, &error)
                };
                (None, reply.json())
            }
        }
    }

    fn welcome(
        &self,
        visitor: &Visitor<'_>,
        request: &Request<'_>,
        rulings: &Rulings,
        asked_as: Option<Box<str>>,
    ) -> Result<Welcome, Cow<'static, str>> {
        fit(request)?;
        let id = asked_as.or_else(|| self.fresh_id()).ok_or(FULL)?;
        rulings.allow(&id, Verb::Handshake, "")?;
        let browser = visitor.browser.map(Into::into).or_else(|| self.fresh_id()).ok_or(FULL)?;
        let ack = request.ext().ack.is_some_and(|ack| ack.get() == "true" || ack.get().starts_with('{'));
        let mut table = self.table.lock();
        if table.len() >= self.sessions_max.load(Ordering::Relaxed) {
            return Err(FULL.into());
        }
        let (terms, known_as) = (visitor.terms.clone(), Some(browser.clone()));
        table.add(Session::new(id.clone(), terms, known_as, ack, Instant::now()));
        Ok(Welcome { id, browser, ack })
    }
}

/// Whether a session can come of a handshake at all.
pub(super) fn fit(request: &Request<'_>) -> Result<(), &'static str> {
    if request.version.is_none() {
        return Err(NO_VERSION);
    }
    if !request.id.is_none_or(meta::is_id) {
        return Err(BAD_ID);
    }
    let offered = request.connection_types.as_deref().unwrap_or_default();
    let is_common = |name: &str| CONNECTION_TYPES.contains(&name) || SYNONYMS.contains(&name);
    if offered.iter().any(|name| is_common(name)) { Ok(()) } else { Err(NO_COMMON_TYPE) }
}

/// What is full or can't be asked may be better later; nothing else changes by itself.
fn advice(error: &str) -> Advice {
    match error.starts_with("503:") {
        true => Advice { interval: TURNED_AWAY, ..Advice::HANDSHAKE },
        false => Advice::NONE,
    }
}
