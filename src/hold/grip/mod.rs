//! GRIP, the protocol of Pushpin and Fastly Fanout: what the application says in `Grip-*` headers or in a body of
//! `application/grip-instruct`, and what a client that is held by it is given of a message.
//!
//! [`Terms`] are what was said. A [`Session`] goes with the held connection and decides for each message: whether it
//! passes the subscription's filters, follows the one before it, and what bytes it is there. Nothing here does I/O.
//!
//! <https://pushpin.org/docs/protocols/grip/>

mod asking;
mod body;
mod control;
mod events;
mod filter;
mod headers;
mod keepalive;
mod link;
mod native;
mod params;
mod reply;
mod script;
mod session;
mod ways;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, TRANSFER_ENCODING,
};
use hyper::http::Extensions;

use super::{Answer, BadInstruction, ClientSide, Dialect, Hold, Order, RouteChannels, Source};
use crate::message::{ChannelName, Frame, Position, Start};
use crate::transport::call::Call;
use crate::transport::{GRIP_RESPONSE, GRIP_SOCKET, GRIP_STREAM, Parameters};

pub use asking::{Asks, Pending, Question, Ruled, Ruling};
pub use body::Instruct;
pub use control::Control;
pub use events::{EVENTS, Event, EventKind, is_events, read_events};
pub use filter::{Filter, Filters};
pub use keepalive::{KeepAlive, Pace};
pub use native::Native;
pub use reply::{answer, scripted};
pub use script::{Script, Tongue};
pub use session::{Deed, Meta, Session, Subscription, plain};
pub use ways::{LastIds, Missing, Onward, Resume, Way, Ways};

pub(super) const GRIP: Dialect = Dialect { prefix: "grip-", read };

/// What the proxy understands, as applications are told in `Grip-Feature`.
pub const FEATURES: &str = "status, session, link:next, link:gone, filter:skip-self, filter:skip-users, \
    filter:require-sub, filter:build-id, filter:var-subst";

/// What stands behind them where there are URLs that may be asked.
pub const FEATURES_ASKING: &str = ", filter:http-check, filter:http-modify";

/// How long a response is held where the application doesn't say.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(55);
/// What a shorter time than this is taken for.
const RESPONSE_TIMEOUT_MIN: Duration = Duration::from_secs(5);

/// How the client is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Until there is something to answer.
    Response,
    /// While its answer goes on.
    Stream,
}

/// What the application said.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Terms {
    /// How the client is held, if at all.
    pub mode: Option<Mode>,
    /// On what.
    pub channels: Vec<Channel>,
    /// How long a response is held.
    pub timeout: Option<Duration>,
    /// The signs of life of a stream.
    pub keepalive: Option<KeepAlive>,
    /// What filters look at.
    pub meta: Meta,
    /// The status that the client gets.
    pub status: Option<Status>,
    /// The only headers that it gets, where some are named.
    pub expose: Vec<HeaderName>,
    /// Where more of a stream comes from.
    pub next: Option<Next>,
    /// Where the application hears that the client has gone.
    pub gone: Option<Link>,
    /// The rest stands in the body.
    pub is_body: bool,
    /// What its route says of its channels.
    route: Option<Arc<RouteChannels>>,
}

/// A channel, as the application names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// Its name.
    pub name: ChannelName,
    /// The last message that is known to the client.
    pub prev_id: Option<Box<str>>,
    /// What passes.
    pub filters: Filters,
}

impl Channel {
    /// One on which everything is for everybody, and nothing is counted.
    fn plain(name: ChannelName) -> Channel {
        Channel { name, prev_id: None, filters: Filters::default() }
    }
}

impl From<Channel> for Subscription {
    fn from(Channel { name, prev_id, filters }: Channel) -> Subscription {
        Subscription { name, prev_id, filters }
    }
}

/// A status, and what stands behind it where that isn't the usual word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The code.
    pub code: StatusCode,
    /// The words.
    pub reason: Option<Box<str>>,
}

/// As it was said: a URI, or what leads to one from that of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link(pub Box<str>);

/// `rel=next`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Next {
    /// Where it leads.
    pub link: Link,
    /// How long its channels may be silent before the application is asked.
    pub timeout: Duration,
}

/// What goes with a held connection.
#[derive(Debug, PartialEq)]
pub struct Company {
    /// What it is given of each message.
    pub session: Session,
    /// The signs of life of a stream.
    pub keepalive: Option<KeepAlive>,
    /// What stands behind its status where that isn't the usual word.
    pub reason: Option<Box<str>>,
    /// What its answer calls where that is a script.
    pub call: Option<Box<Call>>,
    /// Where its application is asked about it.
    pub ways: Ways,
    /// The body of the request whose response is held, where it had one that is kept.
    pub request_body: Option<Bytes>,
    /// The URL that its request was for, where filters may ask from it.
    pub origin: Option<Box<str>>,
}

impl Hold {
    /// Makes the answer a script where the request that has these extensions was one for a script.
    pub fn answers_script(&mut self, asked: &Extensions) {
        if let (Some(company), Some(call)) = (&mut self.grip, asked.get::<Call>()) {
            company.call = Some(Box::new(call.clone()));
        }
    }

    /// Whether it holds a response for which something may be published that its client must not miss, and
    /// that can be asked for again.
    pub fn could_lose(&self) -> bool {
        // What a script has asked for isn't what its page has asked.
        let is_counted =
            |company: &Company| company.session.counted().next().is_some() && company.call.is_none();
        self.transport == GRIP_RESPONSE && self.grip.as_deref().is_some_and(is_counted)
    }

    /// Makes a WebSocket one of GRIP: on those of its route after this position, and on others when its application says so.
    /// Filters ask from this URL.
    pub fn speaks_grip(
        &mut self,
        origin: Option<Box<str>>,
        route: Option<Arc<RouteChannels>>,
        after: Position,
    ) {
        self.transport = GRIP_SOCKET;
        let channels = route.as_deref().map_or(&[][..], RouteChannels::always);
        self.wishes = channels.iter().map(|name| (name.clone(), Start::After(after))).collect();
        let plain = |name: &ChannelName| Channel::plain(name.clone()).into();
        let session = Session::new(channels.iter().map(plain).collect(), Meta::new(), route.clone());
        let (keepalive, reason, call, ways, request_body) = (None, None, None, Ways::default(), None);
        let company = Company { session, keepalive, reason, call, ways, request_body, origin };
        self.grip = Some(Box::new(company));
    }

    /// Lets filters ask from this URL, those that stand behind its links, too.
    pub fn ask_from(&mut self, origin: Option<Box<str>>) {
        let may_ask = |company: &&mut Box<Company>| company.session.may_ask() || company.ways.next.is_some();
        if let Some(company) = self.grip.as_mut().filter(may_ask) {
            company.origin = origin;
        }
    }
}

impl Terms {
    /// How long a response is held.
    pub fn response_timeout(&self) -> Duration {
        self.timeout.unwrap_or(RESPONSE_TIMEOUT).max(RESPONSE_TIMEOUT_MIN)
    }

    /// What goes with the held connection; nothing where bytes that are shared by all will do.
    pub fn company(&self, ways: Ways) -> Option<Box<Company>> {
        let (session, keepalive) = (self.session(), self.keepalive.clone());
        let reason = self.status.as_ref().and_then(|status| status.reason.clone());
        let is_plain = self.mode == Some(Mode::Stream) && session.is_plain();
        let needed = !is_plain || keepalive.is_some() || reason.is_some() || ways != Ways::default();
        let (call, request_body, origin) = (None, None, None);
        needed.then(|| Box::new(Company { session, keepalive, reason, call, ways, request_body, origin }))
    }

    /// The client's side of its channels.
    pub fn session(&self) -> Session {
        let subscriptions = self.channels.iter().cloned().map(Subscription::from);
        Session::new(subscriptions.collect(), self.meta.clone(), self.route.clone())
    }

    /// Puts the route's prefix before the names of its channels, and adds those that the clients of the route are on
    /// whatever it says.
    ///
    /// # Errors
    /// A name becomes too long.
    pub fn put_on(&mut self, route: &Arc<RouteChannels>) -> Result<(), BadInstruction> {
        if let Some(prefix) = route.prefix() {
            for Channel { name, .. } in &mut self.channels {
                *name = name.under(prefix).map_err(|error| bad("Grip-Channel", name.as_str(), error))?;
            }
        }
        for name in route.always().iter().filter(|_| self.mode.is_some()) {
            if self.channels.iter().all(|known| known.name != *name) {
                self.channels.push(Channel::plain(name.clone()));
            }
        }
        self.route = Some(Arc::clone(route));
        Ok(())
    }

    /// Its channels, from the moment on at which its request was forwarded.
    fn wishes(&self, forwarded_at: Position) -> Vec<(ChannelName, Start)> {
        let begin = |channel: &Channel| (channel.name.clone(), Start::After(forwarded_at));
        self.channels.iter().map(begin).collect()
    }

    /// Channels whose messages are counted, with the last id of each.
    pub fn last_ids(&self) -> LastIds {
        let last_id = |channel: &Channel| Some((channel.name.clone(), channel.prev_id.clone()?));
        self.channels.iter().filter_map(last_id).collect()
    }

    /// Whether a client that is held so as a stream could lose something, and there is nobody to be asked for it.
    pub fn lacks_link(&self, ways: &Ways) -> bool {
        let is_counted = self.channels.iter().any(|channel| channel.prev_id.is_some());
        self.mode == Some(Mode::Stream) && is_counted && ways.next.is_none()
    }

    /// How a stream goes on whose application was asked for what it lacks.
    pub fn resume(&self, body: Frame, ways: Ways, forwarded_at: Position) -> Resume {
        let goes_on = self.mode == Some(Mode::Stream) && !self.lacks_link(&ways);
        let onward = || {
            let (session, keepalive) = (self.session(), self.keepalive.clone());
            let (reason, call, request_body, origin) = (None, None, None, None);
            let company = Company { session, keepalive, reason, call, ways, request_body, origin };
            Onward { wishes: self.wishes(forwarded_at), company }
        };
        Resume { body, onward: goes_on.then(onward) }
    }

    /// The connection to hold, from the moment on at which its request was forwarded.
    pub fn hold(
        &self,
        mode: Mode,
        (answer, ways): (Answer, Ways),
        client: ClientSide,
        forwarded_at: Position,
        at: SystemTime,
    ) -> Hold {
        Hold {
            wishes: self.wishes(forwarded_at),
            transport: if mode == Mode::Stream { GRIP_STREAM } else { GRIP_RESPONSE },
            parameters: Parameters::default(),
            timeout: (mode == Mode::Response).then(|| self.response_timeout()),
            keepalive: self.keepalive.as_ref().map(|keepalive| keepalive.timeout),
            retry: None,
            answer,
            at,
            source: Source::Application,
            tag: None,
            messages: None,
            client,
            subject: None,
            ear: None,
            grip: self.company(ways),
        }
    }

    /// Takes away what the client doesn't get, and gives it the status that was meant for it.
    pub fn dress(&self, status: &mut StatusCode, headers: &mut HeaderMap) {
        if let Some(meant) = &self.status {
            *status = meant.code;
        }
        if !self.expose.is_empty() {
            // Framing isn't the application's to hide, and is written anew; a body whose coding is hidden can't be read.
            let is_hidden = |name: &&HeaderName| {
                !self.expose.contains(name)
                    && !matches!(**name, CONTENT_LENGTH | TRANSFER_ENCODING | CONNECTION | CONTENT_ENCODING)
            };
            let hidden: Vec<HeaderName> = headers.keys().filter(is_hidden).cloned().collect();
            hidden.into_iter().for_each(|name| drop(headers.remove(name)));
        }
    }
}

/// Channels of one client; more are left out, as Pushpin does.
pub const CHANNELS_MAX: usize = 20;

fn read(headers: &HeaderMap) -> Result<Option<Order>, BadInstruction> {
    // Nearly every answer: a look at its few names costs less than a search.
    let is_ours = |(name, value): (&HeaderName, &hyper::header::HeaderValue)| {
        name.as_str().starts_with("grip-") || *name == CONTENT_TYPE && body::is_instruct(value.as_bytes())
    };
    if !headers.iter().any(is_ours) {
        return Ok(None);
    }
    headers::read(headers).map(|terms| Some(Order::Grip(Box::new(terms))))
}

fn bad(header: &'static str, value: &str, reason: impl ToString) -> BadInstruction {
    BadInstruction { header, value: value.chars().take(200).collect(), reason: reason.to_string() }
}
