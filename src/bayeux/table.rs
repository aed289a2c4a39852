//! Every session, and which of them want what; what the hub brings is handed to them here.
//!
//! A session that subscribes to one channel is a reader of the hub, so that publishers and operators see it there. For
//! patterns the hub's folders are overheard, and the sessions are found by the message's name.

use std::collections::hash_map::Entry as MapEntry;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use slab::Slab;

use super::connect::{Connect, Way};
use super::mail::Full;
use super::name::{self, Pattern};
use super::session::{Session, Subscription};
use super::sockets::Sockets;
use super::{meta, words};
use crate::hold::{End, Line, Speech};
use crate::hub::{ChannelId, Hub, Refused, Tap, Turn};
use crate::message::{ChannelName, Entry, Start};
use crate::metrics::Metrics;

/// A session's place in the table; used again once it is gone.
pub(super) type Key = usize;

/// What the lock of the room guards.
pub(super) struct Table {
    tap: Tap,
    sessions: Slab<Session>,
    by_id: HashMap<Box<str>, Key>,
    /// By the hub's channel.
    readers: HashMap<ChannelId, BTreeSet<Key>>,
    /// By the pattern as it is written.
    listeners: HashMap<Box<str>, BTreeSet<Key>>,
    /// Sessions by hold, whose ends are still to be told.
    holds: HashMap<u64, Key>,
    /// What sessions that have ended answer to holds of which nobody has heard yet.
    late: HashMap<u64, Speech>,
    pub(super) sockets: Sockets,
    /// Connects that are held, by browser.
    browsers: HashMap<Box<str>, usize>,
    metrics: Metrics,
}

/// Why a session has ended; a label of `perihelion_bayeux_sessions_ended_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Disconnected,
    Expired,
    Full,
}

impl Ended {
    fn word(self) -> &'static str {
        match self {
            Ended::Disconnected => "disconnect",
            Ended::Expired => "expired",
            Ended::Full => "queue_full",
        }
    }
}

impl Table {
    pub(super) fn new(tap: Tap, metrics: Metrics) -> Table {
        Table {
            tap,
            sessions: Slab::new(),
            by_id: HashMap::new(),
            readers: HashMap::new(),
            listeners: HashMap::new(),
            holds: HashMap::new(),
            late: HashMap::new(),
            sockets: Sockets::default(),
            browsers: HashMap::new(),
            metrics,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn add(&mut self, session: Session) {
        let id = session.id.clone();
        self.by_id.insert(id, self.sessions.insert(session));
        self.metrics.bayeux_sessions.inc();
    }

    pub(super) fn find(&self, id: &str) -> Option<Key> {
        self.by_id.get(id).copied()
    }

    pub(super) fn get(&self, key: Key) -> Option<&Session> {
        self.sessions.get(key)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Session> {
        self.sessions.get_mut(key)
    }

    /// Ends a session. Whoever has its connect open answers it.
    pub(super) fn remove(&mut self, key: Key, why: Ended, now: Instant) -> Option<Connect> {
        let mut session = self.sessions.try_remove(key)?;
        self.by_id.remove(&session.id);
        for (name, subscription) in session.subscriptions.drain() {
            self.leave(key, &name, subscription, now);
        }
        let connect = session.take_connect();
        if let Some(connect) = &connect {
            release(&mut self.browsers, connect, session.browser.as_deref());
        }
        if let Some(socket) = session.moves_to(None) {
            self.sockets.leave(socket, key);
        }
        self.metrics.bayeux_sessions.dec();
        self.metrics.bayeux_sessions_ended.with_label_values(&[why.word()]).inc();
        connect
    }

    /// Adds a subscription, which begins now. One that is there already stays.
    pub(super) fn subscribe(
        &mut self,
        key: Key,
        pattern: Pattern<'_>,
        name: &str,
        now: Instant,
    ) -> Result<(), Refused> {
        let is_known = |session: &Session| session.subscriptions.contains_key(name);
        if self.sessions.get(key).is_none_or(is_known) {
            return Ok(());
        }
        let subscription = match pattern {
            Pattern::One => self.read(key, name, now)?,
            Pattern::Children(folder) | Pattern::Below(folder) => {
                self.listeners.entry(name.into()).or_default().insert(key);
                Subscription { channel: None, since: self.tap.overhear(folder) }
            }
        };
        self.sessions[key].subscriptions.insert(name.into(), subscription);
        Ok(())
    }

    fn read(&mut self, key: Key, name: &str, now: Instant) -> Result<Subscription, Refused> {
        let channel = ChannelName::parse(name).expect("a Bayeux name is checked, and has visible ASCII only");
        // What is published between here and there is before its beginning.
        let now_on = Start::After(self.tap.head());
        let joined = self.tap.join(&[(channel, now_on)], 0, now, &mut Vec::new(), &mut Vec::new())?;
        let id = joined.channels[0];
        self.readers.entry(id).or_default().insert(key);
        Ok(Subscription { channel: Some(id), since: joined.head })
    }

    /// Takes a subscription back; one that isn't there is none afterwards, too.
    pub(super) fn unsubscribe(&mut self, key: Key, name: &str, now: Instant) {
        let removed = self.sessions.get_mut(key).and_then(|session| session.subscriptions.remove_entry(name));
        if let Some((name, subscription)) = removed {
            self.leave(key, &name, subscription, now);
        }
    }

    fn leave(&mut self, key: Key, name: &str, subscription: Subscription, now: Instant) {
        match subscription.channel {
            Some(channel) => {
                self.tap.leave(&[channel], now);
                forget(self.readers.entry(channel), key);
            }
            None => {
                self.tap.overhear_no_more(name.trim_end_matches('*'));
                forget(self.listeners.entry(name.into()), key);
            }
        }
    }

    /// Whether one connect more may be held for a browser.
    pub(super) fn has_place(&self, key: Key) -> bool {
        let session = &self.sessions[key];
        let (Some(browser), Some(limit)) = (&session.browser, session.terms.route.per_browser) else {
            return true;
        };
        self.browsers.get(browser).is_none_or(|held| *held < limit)
    }

    /// Opens a session's connect.
    pub(super) fn hold(&mut self, key: Key, connect: Connect) {
        let session = &mut self.sessions[key];
        if let Way::Poll(hold, _) = connect.way {
            self.holds.insert(hold, key);
            if let Some(browser) = &session.browser {
                match self.browsers.get_mut(browser) {
                    Some(held) => *held += 1,
                    None => drop(self.browsers.insert(browser.clone(), 1)),
                }
            }
        }
        session.hold(connect);
    }

    /// A session's client connects on this socket, or on none.
    pub(super) fn moves(&mut self, key: Key, socket: Option<u64>) {
        let Some(before) = self.sessions.get_mut(key).map(|session| session.moves_to(socket)) else { return };
        if let Some(before) = before {
            self.sockets.leave(before, key);
        }
        if let Some(socket) = socket {
            self.sockets.enter(socket, key);
        }
    }

    /// A session's connect isn't open any more.
    pub(super) fn released(&mut self, key: Key, connect: &Connect) {
        let browser = self.sessions.get(key).and_then(|session| session.browser.as_deref());
        release(&mut self.browsers, connect, browser);
    }

    /// A hold can be answered. One that nobody waits for any more is refused.
    pub(super) fn reached(&mut self, hold: u64, line: Line) -> Option<Key> {
        let key = self.holds.get(&hold).copied();
        let session = key.and_then(|key| self.sessions.get_mut(key));
        match session.filter(|session| session.waits_for(hold)) {
            Some(session) => {
                session.reached(line);
                key
            }
            None => {
                line.speak(self.late.remove(&hold).unwrap_or(Speech::Refuse));
                None
            }
        }
    }

    /// Answers a hold of which nobody has heard yet that it is there, as soon as somebody does.
    pub(super) fn answer_later(&mut self, hold: u64, answer: Speech) {
        self.late.insert(hold, answer);
    }

    /// A hold is over.
    pub(super) fn over(&mut self, hold: u64, end: End, now: Instant) -> Option<Key> {
        self.late.remove(&hold);
        let key = self.holds.remove(&hold)?;
        let session = self.sessions.get_mut(key)?;
        if let Some(connect) = session.over(hold, end, now) {
            self.released(key, &connect);
        }
        Some(key)
    }

    /// Hands out what is new. Sessions that have something, in no order, and those that have lost something.
    pub(super) fn take_news(&mut self, turn: &mut Turn, now: Instant) -> News {
        self.tap.take(turn, now);
        let mut news = News::default();
        for (entry, channel) in in_order(turn) {
            if let Some(readers) = channel.and_then(|channel| self.readers.get(&channel)) {
                offer(&mut self.sessions, readers, entry, entry.message.channel.as_str(), &mut news);
            }
            let name = entry.message.channel.as_str();
            if self.listeners.is_empty() || !name::is_public(name) {
                continue;
            }
            for pattern in name::patterns_for(name) {
                if let Some(listeners) = self.listeners.get(&*pattern) {
                    offer(&mut self.sessions, listeners, entry, &pattern, &mut news);
                }
            }
        }
        self.note_losses(turn, &mut news);
        for channel in std::mem::take(&mut turn.ended) {
            self.join_anew(channel, now);
        }
        news
    }

    /// Sessions that needed what the hub has dropped before it could be taken.
    fn note_losses(&self, turn: &Turn, news: &mut News) {
        for of_channel in &turn.news {
            if of_channel.lost_upto.is_some() {
                news.lost.extend(self.readers.get(&of_channel.channel).into_iter().flatten());
            }
        }
        if turn.overheard.lost {
            news.lost.extend(self.listeners.values().flatten());
        }
    }

    /// A channel was deleted: those who read it read the next one of its name.
    fn join_anew(&mut self, channel: ChannelId, now: Instant) {
        for key in self.readers.remove(&channel).unwrap_or_default() {
            self.tap.leave(&[channel], now);
            let session = &mut self.sessions[key];
            let named = session.subscriptions.iter().find(|(_, own)| own.channel == Some(channel));
            let Some(name) = named.map(|(name, _)| name.clone()) else { continue };
            session.subscriptions.remove(&name);
            if let Err(refused) = self.subscribe(key, Pattern::One, &name, now) {
                tracing::warn!(%refused, "a Bayeux client could not stay on a channel that was deleted");
            }
        }
    }

    /// Says to a session's client what waits for it, if it can be told now.
    pub(super) fn deliver(&mut self, key: Key, now: Instant) {
        let Some(session) = self.sessions.get_mut(key).filter(|session| session.waits()) else { return };
        let Some(socket) = session.pushes_to() else {
            // Where nobody has heard of its hold yet, this is asked again when somebody does.
            if session.is_heard_of() {
                meta::end_connect(self, key, None, now);
            }
            return;
        };
        let messages = session.give();
        self.say(key, socket, (&messages, &[]), now);
    }

    /// Says messages that a session has given, and replies to its client, on the socket that it is on.
    pub(super) fn say(
        &mut self,
        key: Key,
        socket: u64,
        (messages, replies): (&[Arc<Entry>], &[Vec<u8>]),
        now: Instant,
    ) {
        let said = self.sockets.say(socket, words::body(messages, replies, None), messages.len());
        let Some(session) = self.sessions.get_mut(key) else { return };
        match said {
            Some(number) if !messages.is_empty() => session.said_as(number),
            Some(_) => session.rest(now),
            None => session.is_left(now),
        }
    }

    /// Sessions whose connect on a socket has lasted long enough.
    pub(super) fn overdue(&self, now: Instant) -> Vec<Key> {
        self.sessions.iter().filter(|(_, session)| session.is_overdue(now)).map(|(key, _)| key).collect()
    }

    /// Sessions whose clients have stayed away.
    pub(super) fn expired(&self, now: Instant) -> Vec<Key> {
        self.sessions.iter().filter(|(_, session)| session.is_expired(now)).map(|(key, _)| key).collect()
    }
}

/// Only those that take one of a browser's connections are counted.
fn release(browsers: &mut HashMap<Box<str>, usize>, connect: &Connect, browser: Option<&str>) {
    let Some(browser) = browser.filter(|_| matches!(connect.way, Way::Poll(..))) else { return };
    if let Some(held) = browsers.get_mut(browser) {
        *held -= 1;
        if *held == 0 {
            browsers.remove(browser);
        }
    }
}

/// Whom a turn concerns.
#[derive(Default)]
pub(super) struct News {
    /// Sessions that have something new; some stand there more than once.
    pub(super) touched: Vec<Key>,
    /// Sessions to which messages are lost.
    pub(super) lost: Vec<Key>,
}

/// The messages of a turn in their order, each once, with the channel that it was read on.
fn in_order(turn: &Turn) -> Vec<(&Arc<Entry>, Option<ChannelId>)> {
    let read =
        turn.news.iter().flat_map(|news| turn.entries(news).iter().map(|entry| (entry, Some(news.channel))));
    let overheard = turn.overheard.entries.iter().map(|entry| (entry, None));
    let mut all: Vec<_> = read.chain(overheard).collect();
    // Stable, so that of two the one with its channel stays.
    all.sort_by_key(|(entry, _)| entry.sequence());
    all.dedup_by_key(|(entry, _)| entry.sequence());
    all
}

fn offer(sessions: &mut Slab<Session>, keys: &BTreeSet<Key>, entry: &Arc<Entry>, by: &str, news: &mut News) {
    for &key in keys {
        let Some(session) = sessions.get_mut(key) else { continue };
        let Some(since) = session.subscriptions.get(by).map(|subscription| subscription.since) else {
            continue;
        };
        match session.offer(entry, since) {
            Ok(true) => news.touched.push(key),
            Ok(false) => {}
            Err(Full) => news.lost.push(key),
        }
    }
}

fn forget<K>(keys: MapEntry<'_, K, BTreeSet<Key>>, key: Key) {
    if let MapEntry::Occupied(mut keys) = keys {
        keys.get_mut().remove(&key);
        if keys.get().is_empty() {
            keys.remove();
        }
    }
}

/// A table that reads this hub; `wake` is called when there is something to take.
pub(super) fn table(hub: &Arc<Hub>, metrics: &Metrics, wake: Box<dyn Fn() + Send + Sync>) -> Table {
    Table::new(hub.attach(wake), metrics.clone())
}
