//! What each message of a client does: the names below `/meta/`, words to `/service/`, and what is published.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde_json::value::RawValue;

use super::authority::{Answered, Rulings, Verb};
use super::connect::{ClientClock, Connect, Way};
use super::consult::Counsel;
use super::envelope::{Advice, Ext, Reply, Request};
use super::name::{self, Kind, Pattern};
use super::session::{Session, Terms};
use super::table::{Ended, Key, Table};
use super::{Bayeux, milliseconds, words};
use crate::hold::{Speech, fresh_number};
use crate::hub::Refused;
use crate::message::{Batch, ChannelName, Data, Entry, Message};

/// Who asks.
pub(super) struct Visitor<'a> {
    pub(super) terms: &'a Arc<Terms>,
    pub(super) browser: Option<&'a str>,
    /// The function that the answer calls: scripts are run in order, so nothing may wait behind a connect.
    pub(super) callback: Option<&'a str>,
    /// The WebSocket that it is on.
    pub(super) socket: Option<u64>,
}

/// What is answered to the messages of a request.
pub(super) enum Said {
    /// This, now.
    Answer {
        messages: Vec<Arc<Entry>>,
        replies: Vec<Vec<u8>>,
        /// What its browser is called from now on.
        browser: Option<Box<str>>,
    },
    /// Nothing yet; after the timeout the fallback.
    Hold { hold: u64, timeout: Duration, fallback: Vec<u8> },
    /// What is to be said on a WebSocket is said, or will be.
    OnSocket,
}

/// Refusals in the protocol's own words.
const NO_CHANNEL: &str = "400::channel_missing";
const NO_DATA: &str = "400::data_missing";
pub(super) const UNKNOWN_SESSION: &str = "402::session_unknown";
const NO_SUBSCRIPTION: &str = "403::subscription_missing";
pub(super) const BAD_SUBSCRIPTION: &str = "403::subscription_invalid";
pub(super) const META: &str = "403::subscribe_denied";
pub(super) const TOO_MANY_SUBSCRIPTIONS: &str = "403::too_many_subscriptions";
const UNKNOWN_CHANNEL: &str = "404::channel_unknown";
const BAD_CHANNEL: &str = "405::channel_invalid";
pub(super) const BAD_ID: &str = "405::message_id_invalid";
const TOO_LARGE: &str = "413::message_too_large";
const FAILED: &str = "500::publish_failed";
pub(super) const FULL: &str = "503::too_many_sessions";
const NO_ROOM: &str = "503::too_many_channels";
const CROWDED: &str = "503::too_many_subscribers";
const NO_SPACE: &str = "507::history_full";

/// Below this the client's clock is close enough.
const ACCURATE: f64 = 25.0;

/// Replies to the messages of a request, and where a connect among them stands.
struct Replies<'a> {
    all: Vec<Vec<u8>>,
    connect: Option<(usize, &'a Request<'a>)>,
    /// The client that the last message was of, by its id: while something is published another session may take the
    /// place of one that ends.
    client: Option<&'a str>,
}

impl Bayeux {
    /// Does what the messages say, in their order; a connect among them comes last, since it may wait.
    pub(super) async fn hear(
        &self,
        visitor: &Visitor<'_>,
        messages: &[Request<'_>],
        authority: impl AsyncFnOnce(Vec<u8>) -> Option<Answered>,
    ) -> Said {
        let Counsel { rulings, newcomer } = self.consult(visitor, messages, authority).await;
        if let Some(handshake) = messages.iter().find(|message| message.channel() == "/meta/handshake") {
            // Whatever stands beside it has no session yet, and is passed over.
            let (browser, reply) = self.handshake(visitor, handshake, &rulings, newcomer);
            return Said::Answer { messages: Vec::new(), replies: vec![reply], browser };
        }
        let mut replies = Replies { all: Vec::new(), connect: None, client: None };
        for message in messages {
            self.one(visitor, &rulings, message, &mut replies).await;
        }
        let alone = messages.len() == 1;
        match replies.connect {
            Some((place, request)) => self.connect(visitor, (place, request, alone), replies.all),
            None => self.by_the_way(visitor, replies),
        }
    }

    async fn one<'a>(
        &self,
        visitor: &Visitor<'_>,
        rulings: &Rulings,
        request: &'a Request<'a>,
        replies: &mut Replies<'a>,
    ) {
        match self.settle(visitor, rulings, request, replies) {
            Ok(Done::Reply(reply)) => replies.all.push(reply),
            Ok(Done::Publish(message)) => {
                let batch = Batch { messages: vec![message], expected: Vec::new() };
                let outcome = self.hub.publish(batch, Instant::now()).wait().await;
                replies.all.push(match outcome {
                    Ok(_) => Reply::to(request).json(),
                    Err(refused) => Reply::refusal(request, unpublished(&refused)).json(),
                });
            }
            Err(error) => replies.all.push(refusal(request, &error)),
        }
    }

    /// What can be done under the lock.
    fn settle<'a>(
        &self,
        visitor: &Visitor<'_>,
        rulings: &Rulings,
        request: &'a Request<'a>,
        replies: &mut Replies<'a>,
    ) -> Result<Done, Cow<'static, str>> {
        let channel = request.channel.as_deref().ok_or(NO_CHANNEL)?;
        let kind = name::kind(channel).ok_or(BAD_CHANNEL)?;
        if !request.id.is_none_or(is_id) {
            return Err(BAD_ID.into());
        }
        let (mut table, now) = (self.table.lock(), Instant::now());
        let client = request.client_id.as_deref();
        let key = client.and_then(|id| known(&table, visitor, id)).ok_or(UNKNOWN_SESSION)?;
        replies.client = client;
        match (kind, channel) {
            (Kind::Meta, "/meta/connect") => {
                replies.connect = Some((replies.all.len(), request));
                Ok(Done::Reply(Vec::new()))
            }
            (Kind::Meta, "/meta/subscribe") => {
                subscribe(&mut table, key, request, rulings, now).map(Done::Reply)
            }
            (Kind::Meta, "/meta/unsubscribe") => Ok(Done::Reply(unsubscribe(&mut table, key, request, now)?)),
            (Kind::Meta, "/meta/disconnect") => {
                disconnect(&mut table, key, now);
                Ok(Done::Reply(Reply::to(request).json()))
            }
            (Kind::Meta, _) => Err(UNKNOWN_CHANNEL.into()),
            // Nobody is there to hear it.
            (Kind::Service, _) => Ok(Done::Reply(Reply::to(request).json())),
            (Kind::Broadcast, _) => {
                let limit = table.get_mut(key).map_or(0, |session| session.terms.message);
                let message = publication(channel, request, limit)?;
                rulings.allow(client.unwrap_or_default(), Verb::Publish, channel)?;
                Ok(Done::Publish(message))
            }
        }
    }

    /// A connect: held, unless there is a reason to answer now.
    fn connect(
        &self,
        visitor: &Visitor<'_>,
        (place, request, alone): (usize, &Request<'_>, bool),
        mut replies: Vec<Vec<u8>>,
    ) -> Said {
        let (mut table, now) = (self.table.lock(), Instant::now());
        let id = request.client_id.as_deref().unwrap_or_default();
        // A message beside it may have ended the session.
        let Some(key) = known(&table, visitor, id) else {
            replies[place] = refusal(request, UNKNOWN_SESSION);
            return Said::Answer { messages: Vec::new(), replies, browser: None };
        };
        let (ext, wanted) = (request.ext(), request.wanted());
        let ack = ext.ack.and_then(|ack| ack.get().parse().ok());
        // What another socket hasn't taken waits again.
        table.moves(key, visitor.socket);
        let Some(session) = table.get_mut(key) else { unreachable!("it was found under this lock") };
        let terms = session.terms.clone();
        let connected = session.connect(ack);
        if let Some(replaced) = connected.replaced {
            table.released(key, &replaced);
            // On a socket nobody waits for an answer of its own.
            if let Way::Poll(_, Some(line)) = replaced.way {
                line.speak(Speech::Refuse);
            }
        }
        let timeout = wanted.and_then(|wanted| wanted.timeout);
        let at_once = connected.at_once || !alone || timeout.is_some_and(|timeout| timeout <= 0.0);
        let crowded = !at_once && visitor.socket.is_none() && !table.has_place(key);
        let way = visitor.socket.map_or_else(|| Way::Poll(fresh_number(), None), Way::Socket);
        let connect = Connect {
            way,
            id: request.id.map(ToOwned::to_owned),
            batch: connected.batch,
            callback: visitor.callback.map(Into::into),
            clock: clock(&ext),
            since: now,
        };
        if at_once || crowded {
            let mut advice = (connected.first || wanted.is_some()).then(|| retry(&terms));
            if crowded {
                let interval = milliseconds(terms.route.poll_interval);
                advice = Some(Advice { interval, multiple_clients: true, ..retry(&terms) });
            }
            replies[place] = words::connect_reply(&connect, advice, Some(now));
            let Some(socket) = visitor.socket else {
                let Some(session) = table.get_mut(key) else { unreachable!("it was found under this lock") };
                let messages = session.take();
                session.rest(now);
                return Said::Answer { messages, replies, browser: None };
            };
            // Under the lock, so that nothing newer is said before it.
            let messages = table.get_mut(key).map(Session::give).unwrap_or_default();
            table.say(key, socket, (&messages, &replies), now);
            return Said::OnSocket;
        }
        let Way::Poll(hold, _) = connect.way else {
            table.hold(key, connect);
            return Said::OnSocket;
        };
        let reply = words::connect_reply(&connect, None, None);
        let fallback = words::body(&[], &[reply], visitor.callback);
        table.hold(key, connect);
        Said::Hold { hold, timeout: terms.route.timeout, fallback }
    }

    /// Other replies take along what waits; a client that runs scripts gets it by its connect, which ends now.
    fn by_the_way(&self, visitor: &Visitor<'_>, replies: Replies<'_>) -> Said {
        let mut messages = Vec::new();
        let mut table = self.table.lock();
        if let Some(key) = replies.client.and_then(|id| table.find(id)) {
            if visitor.callback.is_some() {
                end_connect(&mut table, key, None, Instant::now());
            } else if let Some(session) = table.get_mut(key)
                && session.takes_by_the_way()
            {
                messages = session.take();
            }
        }
        Said::Answer { messages, replies: replies.all, browser: None }
    }
}

enum Done {
    Reply(Vec<u8>),
    Publish(Message),
}

/// The session of a client, if it has it on terms of the same authority: nobody gets around that by another route. Where
/// its route wants the same browser, whoever knows the id alone is a stranger.
pub(super) fn known(table: &Table, visitor: &Visitor<'_>, id: &str) -> Option<Key> {
    let key = table.find(id)?;
    let is_same = |session: &Session| {
        let route = &session.terms.route;
        let is_browser = !route.same_browser || session.browser.as_deref() == visitor.browser;
        route.authorize == visitor.terms.route.authorize && is_browser
    };
    table.get(key).filter(|session| is_same(session)).map(|_| key)
}

/// What a client with a session is advised.
pub(super) fn retry(terms: &Terms) -> Advice {
    let (interval, timeout) = (milliseconds(terms.route.interval), milliseconds(terms.route.timeout));
    Advice { reconnect: "retry", interval, timeout: Some(timeout), multiple_clients: false }
}

/// Why a channel can't be subscribed to.
pub(super) fn unsubscribable(refused: &Refused) -> &'static str {
    match refused {
        Refused::TooManySubscribers { .. } => CROWDED,
        _ => NO_ROOM,
    }
}

/// Why a message was not published.
fn unpublished(refused: &Refused) -> &'static str {
    match refused {
        Refused::TooManyChannels { .. } | Refused::RuleChannels { .. } => NO_ROOM,
        Refused::TooLarge { .. } => TOO_LARGE,
        Refused::RuleFull { .. } => NO_SPACE,
        _ => FAILED,
    }
}

/// Where the session is unknown, a connect is told to begin anew; an unknown message is no reason to.
pub(super) fn refusal(request: &Request<'_>, error: &str) -> Vec<u8> {
    let is_connect = request.channel() == "/meta/connect";
    let advice = (error == UNKNOWN_SESSION && is_connect).then_some(Advice::HANDSHAKE);
    let subscription = request.subscription.filter(|_| request.channel().starts_with("/meta/"));
    Reply { advice, subscription, ..Reply::refusal(request, error) }.json()
}

fn subscribe(
    table: &mut Table,
    key: Key,
    request: &Request<'_>,
    rulings: &Rulings,
    now: Instant,
) -> Result<Vec<u8>, Cow<'static, str>> {
    let names =
        request.subscription.ok_or(NO_SUBSCRIPTION).and(request.subscriptions().ok_or(BAD_SUBSCRIPTION))?;
    let patterns =
        names.iter().map(|text| name::pattern(text)).collect::<Option<Vec<_>>>().ok_or(BAD_SUBSCRIPTION)?;
    if patterns.iter().any(|(kind, _)| *kind == Kind::Meta) {
        return Err(META.into());
    }
    let Some(session) = table.get_mut(key) else { return Err(UNKNOWN_SESSION.into()) };
    // Services have no subscribers, and nothing is kept for who says that he is one.
    let wanted = names.iter().zip(&patterns).filter(|(_, (kind, _))| *kind == Kind::Broadcast);
    let fresh = wanted.clone().filter(|(text, _)| !session.subscriptions.contains_key(&***text));
    if session.subscriptions.len() + fresh.clone().count() > session.terms.route.subscriptions {
        return Err(TOO_MANY_SUBSCRIPTIONS.into());
    }
    for (text, _) in fresh {
        rulings.allow(&session.id, Verb::Subscribe, text)?;
    }
    for (text, (_, pattern)) in wanted {
        table.subscribe(key, *pattern, text, now).map_err(|refused| unsubscribable(&refused))?;
    }
    Ok(Reply { subscription: request.subscription, ..Reply::to(request) }.json())
}

fn unsubscribe(
    table: &mut Table,
    key: Key,
    request: &Request<'_>,
    now: Instant,
) -> Result<Vec<u8>, &'static str> {
    let names =
        request.subscription.ok_or(NO_SUBSCRIPTION).and(request.subscriptions().ok_or(BAD_SUBSCRIPTION))?;
    let is_pattern = |text: &str| {
        matches!(name::pattern(text), Some((_, Pattern::One | Pattern::Children(_) | Pattern::Below(_))))
    };
    if !names.iter().all(|text| is_pattern(text)) {
        return Err(BAD_SUBSCRIPTION);
    }
    names.iter().for_each(|text| table.unsubscribe(key, text, now));
    Ok(Reply { subscription: request.subscription, ..Reply::to(request) }.json())
}

/// Ends a session; its connect ends with what still waited.
fn disconnect(table: &mut Table, key: Key, now: Instant) {
    end_connect(table, key, Some(Advice::NONE), now);
    table.remove(key, Ended::Disconnected, now);
}

/// Answers the connect of a session with what there is; one of whose hold nobody has heard yet, as soon as somebody does,
/// with nothing: its messages wait for the next one.
pub(super) fn end_connect(table: &mut Table, key: Key, advice: Option<Advice>, now: Instant) {
    let Some(session) = table.get_mut(key) else { return };
    let answered = match session.answer() {
        None => session.take_unheard(now).map(|connect| (connect, Vec::new())),
        answered => answered,
    };
    let Some((connect, messages)) = answered else { return };
    table.released(key, &connect);
    let reply = words::connect_reply(&connect, advice, Some(now));
    match connect.way {
        Way::Poll(hold, line) => {
            let body = words::body(&messages, &[reply], connect.callback.as_deref());
            let answer = Speech::Answer(body, messages.len());
            match line {
                Some(line) => line.speak(answer),
                None => table.answer_later(hold, answer),
            }
        }
        Way::Socket(socket) => table.say(key, socket, (&messages, &[reply]), now),
    }
}

/// What a publish brings to the hub: a string as text, every other value as JSON, as publishers on the control port do.
fn publication(channel: &str, request: &Request<'_>, limit: usize) -> Result<Message, &'static str> {
    let value = request.data.ok_or(NO_DATA)?;
    if value.get().len() > limit {
        return Err(TOO_LARGE);
    }
    let channel = ChannelName::parse(channel).map_err(|_| BAD_CHANNEL)?;
    let (data, content_type) = match value.get().starts_with('"') {
        true => (Data::Text(serde_json::from_str::<String>(value.get()).map_err(|_| NO_DATA)?.into()), None),
        false => {
            (Data::Json(Bytes::copy_from_slice(value.get().as_bytes())), Some("application/json".into()))
        }
    };
    Ok(Message { content_type, ..Message::new(channel, data) })
}

/// Letters and digits, as text or a number.
pub(super) fn is_id(id: &RawValue) -> bool {
    let text = id.get();
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    (1..=ID_MAX).contains(&inner.len())
        && inner.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// Longest id of a message: those of clients are counters.
const ID_MAX: usize = 128;

/// What there is to say to the clock of a client that is not known to be right.
pub(super) fn clock(ext: &Ext<'_>) -> Option<ClientClock> {
    let sync = ext.timesync.as_ref()?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, milliseconds);
    let theirs: f64 = sync.tc.get().parse().ok()?;
    let off = theirs + sync.o.unwrap_or(0.0) + sync.l.unwrap_or(0.0) - since as f64;
    let wanted = sync.l.is_none_or(|lag| lag == 0.0) || off.abs() >= ACCURATE;
    wanted.then(|| ClientClock { tc: sync.tc.to_owned(), ts: since, accuracy: off as i64 })
}
