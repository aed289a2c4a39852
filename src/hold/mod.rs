//! The instruction to hold, in neutral words: the seam between the half that proxies and the half that holds.
//!
//! The application says in a dialect ([`DIALECTS`]) what is to be held; [`read_instruction`] turns that into an
//! [`Instruction`], and [`Instruction::hold`] joins it with what the request says into a [`Hold`]. The
//! listener adds the socket and makes it a [`Departure`]. Nothing here does I/O or knows the hub.

mod comet;
mod counting;
mod departure;
#[cfg(test)]
pub(crate) mod fuzz;
pub mod grip;
mod head;
mod moment;
mod revocations;
mod route_channels;
mod talk;
mod ticket;
mod tickets;
mod tunnel;
mod upgrade;

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use hyper::http::Extensions;
use hyper::{HeaderMap, StatusCode, Version};

use crate::message::{ChannelName, Position, Start, TransportId};
use crate::transport::call::Call;
use crate::transport::{self, Parameters, percent_decoded};

pub use crate::transport::BadCallback;
pub use counting::Counting;
pub use departure::{Crowd, Departure, Home, Keeper, Passport, Permit, Refuse, Return, TakeOver};
pub use head::{Length, Writer, closing, end_head, write_head, write_reason};
pub use moment::{moment, moment_of_revocation};
pub use revocations::Whose;
pub use route_channels::RouteChannels;
pub use talk::{
    Ear, End, Hears, Kind, Line, Receipt, SPEECHES_AHEAD, Said, Speaks, Speech, WORDS_AHEAD, Words,
    fresh_number,
};
pub use ticket::{BadTicket, Scope, TICKET_MAX, Ticket, TicketTerms, TooLarge, travels};
pub use tickets::{TicketSettings, Tickets};
pub use tunnel::{Duplex, Tunnel};
pub use upgrade::BadUpgrade;

/// A way in which applications write instructions.
pub struct Dialect {
    /// Headers with this prefix (lower case) belong to the dialect and are stripped in both directions.
    pub prefix: &'static str,
    read: fn(&HeaderMap) -> Result<Option<Order>, BadInstruction>,
}

/// Every dialect. The first that recognises an instruction is obeyed.
pub static DIALECTS: &[Dialect] = &[comet::COMET, grip::GRIP];

/// Whether a header is an instruction, or could be taken for one, in any dialect.
pub fn is_instruction(name: &str) -> bool {
    DIALECTS.iter().any(|dialect| name.starts_with(dialect.prefix))
}

/// What the application said, in one of the dialects.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant)] // One at a time, taken apart where it was read.
pub enum Order {
    /// In our own.
    Hold(Instruction),
    /// In GRIP, which says more than what is held.
    Grip(Box<grip::Terms>),
}

/// What the application wants to be held, as it said it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// At least one channel, each once; none where its owner speaks itself.
    pub channels: Vec<(ChannelName, Option<Since>)>,
    /// The transport it named; `None` is `auto`.
    pub transport: Option<TransportId>,
    /// What it said behind the transport's name.
    pub parameters: Parameters,
    /// How long a poll is held, or a stream lives.
    pub timeout: Option<Duration>,
    /// Silence before a keep-alive.
    pub keepalive: Option<Duration>,
    /// When the client shall come back.
    pub retry: Option<Duration>,
    /// The name by which the application counts and ends such holds.
    pub tag: Option<Box<str>>,
    /// Where on the same site messages of a WebSocket's client go, path and query; without it none are taken.
    pub messages: Option<Box<str>>,
    /// What it wants of tickets, if anything.
    pub ticket: Option<Box<TicketTerms>>,
}

/// Where the application wants a channel to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// With what is published from now on.
    Now,
    /// With what the channel still has.
    Earliest,
    /// After this position.
    Position(Position),
}

/// An instruction that can't be understood. The application is wrong, and its operator reads this.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the application sent {header}: {value:?}, but {reason}")]
pub struct BadInstruction {
    /// Name of the header.
    pub header: &'static str,
    /// What it said, cut to 200 characters.
    pub value: String,
    /// What was expected instead.
    pub reason: String,
}

/// Reads the instruction out of the head of an answer; `None` for an ordinary answer.
pub fn read_instruction(headers: &HeaderMap) -> Result<Option<Order>, BadInstruction> {
    for dialect in DIALECTS {
        if let Some(order) = (dialect.read)(headers)? {
            return Ok(Some(order));
        }
    }
    Ok(None)
}

/// The same where applications don't speak GRIP.
pub fn read_own_instruction(headers: &HeaderMap) -> Result<Option<Order>, BadInstruction> {
    (comet::COMET.read)(headers)
}

/// The fields of one dialect in a head, taken out once: a search for each that a dialect has costs more, since most of them
/// are lacking.
struct Fields<'a>(Vec<(&'a str, &'a HeaderValue)>);

impl<'a> Fields<'a> {
    fn of(dialect: &Dialect, headers: &'a HeaderMap) -> Fields<'a> {
        let fields = headers.iter().map(|(name, value)| (name.as_str(), value));
        Fields(fields.filter(|(name, _)| name.starts_with(dialect.prefix)).collect())
    }

    /// The values of one, by its name in any case.
    fn values(&self, name: &'static str) -> impl Iterator<Item = &'a HeaderValue> {
        let own = self.0.iter().filter(move |(own, _)| own.eq_ignore_ascii_case(name));
        own.map(|(_, value)| *value)
    }
}

/// What a request says about how it may be held.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Whether it asks for a WebSocket.
    pub upgrade: bool,
    /// The query of its target.
    pub query: Option<&'a str>,
    /// The hub's head when it was forwarded.
    pub forwarded_at: Position,
    /// The hub's head now.
    pub now: Position,
    /// When it was decided that it may be held.
    pub at: SystemTime,
}

/// A request that can't be held in the way that the application wants; its client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It names a function that can't be called.
    #[error(transparent)]
    Callback(#[from] BadCallback),
    /// It can't become a WebSocket.
    #[error(transparent)]
    Upgrade(#[from] BadUpgrade),
}

/// The application's own answer, fit for the client: no instruction, no hop-by-hop header, no length.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    /// Headers in their order.
    pub headers: HeaderMap,
    /// The whole body, read to its end.
    pub body: Bytes,
}

/// The client's side of a connection, as far as it decides how bytes are laid on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientSide {
    /// HTTP/1.0, HTTP/1.1 or HTTP/2.
    pub version: Version,
    /// Whether the connection may serve another request afterwards.
    pub keep_alive: bool,
}

/// Where a hold comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The application has just answered so, and a poll without messages gets its body.
    Application,
    /// A ticket, so that there is no body of the application.
    Ticket,
}

/// A connection to hold: everything but the socket.
#[derive(Debug)]
pub struct Hold {
    /// Channels, and where each begins.
    pub wishes: Vec<(ChannelName, Start)>,
    /// How events are framed.
    pub transport: TransportId,
    /// What this client's frames are made with.
    pub parameters: Parameters,
    /// How long a poll is held, or a stream lives.
    pub timeout: Option<Duration>,
    /// Silence before a keep-alive.
    pub keepalive: Option<Duration>,
    /// When the client shall come back.
    pub retry: Option<Duration>,
    /// The beginning of a stream, the fallback of a poll.
    pub answer: Answer,
    /// When that was decided: what is revoked later ends it.
    pub at: SystemTime,
    /// Who has said so.
    pub source: Source,
    /// The name by which the application counts and ends it.
    pub tag: Option<Box<str>>,
    /// Where messages of a WebSocket's client go. Whoever routes requests gives the hold an ear for them.
    pub messages: Option<Box<str>>,
    /// The client's side.
    pub client: ClientSide,
    /// Who asked for what, for the access log's second line; `None` where that is off.
    pub subject: Option<Box<crate::access_log::Subject>>,
    /// Who is told what becomes of it, where somebody has something to say to it.
    pub ear: Option<Box<Ear>>,
    /// What goes with it where it is held by GRIP.
    pub grip: Option<Box<grip::Company>>,
}

/// Whether a request that has these extensions is one for a script, which calls a function with the answer.
pub fn is_for_script(asked: &Extensions) -> bool {
    asked.get::<Call>().is_some()
}

impl Instruction {
    /// Makes it one that can be obeyed for a script; gives the query with which it is, if the request is one for that.
    /// Such a client comes back without a ticket, since the proxy alone can't tell what it is called by then.
    pub fn fit_script(&mut self, asked: &Extensions, query: Option<&str>) -> Option<String> {
        let Call { function, .. } = asked.get::<Call>()?;
        (self.transport, self.ticket) = (Some(transport::JSONP), None);
        Some(format!("callback={function}&{}", query.unwrap_or_default()))
    }

    /// A WebSocket without channels, for whoever listens to it.
    pub fn socket() -> Instruction {
        Instruction {
            channels: Vec::new(),
            transport: Some(transport::WEBSOCKET),
            parameters: Parameters::default(),
            timeout: None,
            keepalive: None,
            retry: None,
            tag: None,
            messages: None,
            ticket: None,
        }
    }

    /// What the application names, or what `auto` means for the request. A poll of a client that doesn't want to wait
    /// is answered at once, whoever has called it a poll.
    fn transport(&self, asked: &Asked) -> TransportId {
        let prefers = || preferences(asked.headers);
        match self.transport {
            Some(transport::LONG_POLL) if transport::prefers(prefers(), transport::AT_ONCE) => {
                transport::POLL
            }
            Some(named) => named,
            None => {
                let accept = asked.headers.get_all(hyper::header::ACCEPT).iter();
                transport::automatic(
                    asked.upgrade,
                    accept.map(|value| value.as_bytes()),
                    prefers(),
                    asked.query,
                )
            }
        }
    }

    /// Joins the instruction with the request that it answers.
    ///
    /// # Errors
    /// The request can't be held like that.
    pub fn hold(self, asked: Asked, mut answer: Answer, client: ClientSide) -> Result<Hold, Unfit> {
        let transport = self.transport(&asked);
        let mut accept = None;
        if transport == transport::WEBSOCKET {
            let asked = Some(asked.headers).filter(|_| asked.upgrade).ok_or(BadUpgrade::Unasked)?;
            accept = Some(upgrade::accept(asked)?);
            upgrade::trim(&mut answer.headers);
            answer.status = StatusCode::SWITCHING_PROTOCOLS;
        }
        let cross_site = asked.headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site");
        let of_frames = transport::Asked { query: asked.query, cross_site, accept: accept.as_deref() };
        let mut parameters = self.parameters.complete(transport::transport(transport), of_frames)?;
        let default = client_start(asked.headers, asked.query).unwrap_or(Start::After(asked.forwarded_at));
        let start = |since| match since {
            None => default,
            Some(Since::Now) => Start::After(asked.now),
            Some(Since::Earliest) => Start::Earliest,
            Some(Since::Position(position)) => Start::After(position),
        };
        let wishes: Vec<_> = self.channels.into_iter().map(|(name, since)| (name, start(since))).collect();
        if transport::prefers(preferences(asked.headers), transport::OPEN) {
            parameters.say_beginning(only_start(&wishes));
        }
        let Instruction { timeout, keepalive, retry, tag, messages, .. } = self;
        let (at, source, subject, ear, grip) = (asked.at, Source::Application, None, None, None);
        #[rustfmt::skip]
        let hold = Hold {
            wishes, transport, parameters, timeout, keepalive, retry, answer, at, source, tag, messages, client,
            subject, ear, grip,
        };
        Ok(hold)
    }
}

impl Hold {
    /// Whether it becomes a WebSocket.
    pub fn is_socket(&self) -> bool {
        self.transport == transport::WEBSOCKET || self.transport == transport::GRIP_SOCKET
    }
}

fn preferences(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers.get_all("prefer").iter().map(|value| value.as_bytes())
}

/// The place at which all channels begin, where that is one.
fn only_start(wishes: &[(ChannelName, Start)]) -> Option<Position> {
    let mut starts = wishes.iter().map(|(_, start)| start);
    match starts.next()? {
        first @ Start::After(position) if starts.all(|start| start == first) => Some(*position),
        _ => None,
    }
}

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Where the client says that it stands: `Last-Event-ID`, else the query's `lastEventId`.
pub fn client_start(headers: &HeaderMap, query: Option<&str>) -> Option<Start> {
    // What isn't even text is no position either.
    let header = headers.get(LAST_EVENT_ID).map(|value| value.to_str().unwrap_or("?"));
    let query = || query?.split('&').find_map(|pair| pair.strip_prefix("lastEventId="));
    let said = header.or_else(query).filter(|said| !said.is_empty())?;
    // Some libraries encode more of a query than they have to.
    if header.is_none() && said.contains('%') {
        let said = percent_decoded(said).and_then(|said| String::from_utf8(said).ok()).unwrap_or_default();
        return Some(said.parse().map_or(Start::Unknown, Start::After));
    }
    Some(said.parse().map_or(Start::Unknown, Start::After))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Epoch, Sequence};

    fn at(sequence: u64) -> Position {
        Position { epoch: Epoch(14), sequence: Sequence(sequence) }
    }

    fn starts(since: &str, header: Option<&str>, query: Option<&str>) -> Vec<Start> {
        let mut answer = HeaderMap::new();
        answer.insert("x-comet-subscribe", since.parse().unwrap());
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            headers.insert("last-event-id", header.parse().unwrap());
        }
        let asked = Asked {
            headers: &headers,
            upgrade: false,
            query,
            forwarded_at: at(5),
            now: at(8),
            at: SystemTime::now(),
        };
        let answer_parts = Answer { status: StatusCode::OK, headers: HeaderMap::new(), body: Bytes::new() };
        let client = ClientSide { version: Version::HTTP_11, keep_alive: true };
        let Some(Order::Hold(instruction)) = read_instruction(&answer).unwrap() else { panic!() };
        let hold = instruction.hold(asked, answer_parts, client).unwrap();
        hold.wishes.into_iter().map(|(_, start)| start).collect()
    }

    #[test]
    fn a_hold_begins_where_the_application_says_else_the_client_else_when_it_was_forwarded() {
        assert_eq!(starts("a", None, None), [Start::After(at(5))]);
        assert_eq!(starts("a", Some("e-3"), Some("lastEventId=e-2")), [Start::After(at(3))]);
        assert_eq!(starts("a", None, Some("x=1&lastEventId=e-2")), [Start::After(at(2))]);
        assert_eq!(starts("a", None, Some("lastEventId=e%2d2")), [Start::After(at(2))]);
        assert_eq!(starts("a", None, Some("lastEventId=e%2")), [Start::Unknown]);
        assert_eq!(starts("a", Some("junk"), None), [Start::Unknown]);
        assert_eq!(starts("a", Some(""), Some("lastEventId=")), [Start::After(at(5))]);
        let mixed = starts("a;since=now, b;since=earliest, c;since=e-1, d", Some("e-3"), None);
        assert_eq!(mixed, [Start::After(at(8)), Start::Earliest, Start::After(at(1)), Start::After(at(3))]);
    }
}
