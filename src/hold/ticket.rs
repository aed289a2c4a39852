//! A ticket: a hold in the hands of its client, signed, so that it can come back without the application; pure.
//!
//! It says everything that the application has said, and is read only where the signature fits site, host, path and
//! query. What it means is an [`Instruction`], and the rest goes as if the application had just given it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::header::{
    CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue,
    REFERRER_POLICY, SEC_WEBSOCKET_PROTOCOL, VARY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{HeaderMap, StatusCode};
use ring::hmac;
use serde::{Deserialize, Serialize};

use super::{Hold, Instruction, comet, only_start};
use crate::message::{ChannelName, Position, TransportId};
use crate::transport;

/// What the application wants of tickets for a hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TicketTerms {
    /// How long one lasts, from the moment in which its client may be gone.
    pub time: Duration,
    /// The transport and its parameters as the application wrote them; empty for `auto`.
    pub transport: Box<str>,
    /// When the last one ends that is given without asking the application; `None` for those of the first.
    pub until: Option<SystemTime>,
}

/// Longest time of a ticket: for so long it has to be known which ones are void.
pub const TICKET_MAX: Duration = Duration::from_secs(24 * 3600);

/// Bytes of a signed ticket: browsers take 4,096 for a cookie with its name (RFC 6265bis §5.6).
const TEXT_MAX: usize = 3800;

/// What a signature belongs to besides the ticket itself.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// Name of the site.
    pub site: &'a str,
    /// What the request calls the host.
    pub authority: &'a str,
    /// The target's path.
    pub path: &'a str,
    /// The target's query; the client's position in it doesn't count.
    pub query: Option<&'a str>,
}

/// A hold that may be resumed. The names are short, since a client carries them with each request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// When it was signed; like all its moments in milliseconds of Unix time.
    #[serde(rename = "i")]
    issued: u64,
    #[serde(rename = "e")]
    expires: u64,
    /// When the last of its successors ends.
    #[serde(rename = "u")]
    until: u64,
    /// Where its hold began, where that is one place for all channels.
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    position: Option<String>,
    #[serde(rename = "c")]
    channels: Vec<String>,
    /// The transport that was used.
    #[serde(rename = "t")]
    transport: String,
    /// The transport as the application said it.
    #[serde(rename = "a", default, skip_serializing_if = "str::is_empty")]
    said: Box<str>,
    /// Seconds.
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    timeout: Option<u64>,
    /// Seconds.
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    keepalive: Option<u64>,
    /// Milliseconds.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    retry: Option<u64>,
    #[serde(rename = "g", default, skip_serializing_if = "Option::is_none")]
    tag: Option<Box<str>>,
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    messages: Option<Box<str>>,
    /// Seconds that each of its successors lasts.
    #[serde(rename = "l")]
    time: u64,
    #[serde(rename = "s")]
    status: u16,
    #[serde(rename = "h", default, skip_serializing_if = "Vec::is_empty")]
    headers: Vec<(String, String)>,
}

/// Why a ticket isn't taken; the application is asked then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadTicket {
    /// Nobody who has one of the keys has signed it for this URL.
    #[error("the ticket was not signed here for this URL")]
    Foreign,
    /// Its time is over.
    #[error("the ticket has expired")]
    Expired,
    /// The application has taken it back.
    #[error("the ticket was revoked")]
    Revoked,
}

/// The hold has more to say than a cookie can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a ticket for it would have more than {TEXT_MAX} bytes")]
pub struct TooLarge;

impl Ticket {
    /// Of a hold, with the fields of the application's head that [`travels`] lets through. It is renewed for at most
    /// `renewal` after the application's own answer.
    pub fn new(
        hold: &Hold,
        terms: &TicketTerms,
        headers: &HeaderMap,
        renewal: Option<Duration>,
        now: SystemTime,
    ) -> Ticket {
        // A poll's client may go with its answer, which may take as long as it is held.
        let held = hold.timeout.filter(|_| transport::transport(hold.transport).delivery().is_answer());
        let time = (terms.time + held.unwrap_or_default()).min(TICKET_MAX);
        let now_ms = millis(now);
        let renewed = || renewal.map_or(u64::MAX, |renewal| now_ms.saturating_add(ms(renewal.max(time))));
        let until = terms.until.map_or_else(renewed, millis);
        let field = |(name, value): (&HeaderName, &HeaderValue)| {
            Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
        };
        let kept = headers.iter().filter(|(name, _)| travels(name));
        Ticket {
            // By the clock that revocations have.
            issued: millis(hold.at),
            expires: now_ms.saturating_add(ms(time)).min(until),
            until,
            position: only_start(&hold.wishes).map(|position| position.to_string()),
            channels: hold.wishes.iter().map(|(name, _)| name.as_str().to_owned()).collect(),
            transport: transport::transport(hold.transport).name().to_owned(),
            said: terms.transport.clone(),
            timeout: hold.timeout.map(|time| time.as_secs()),
            keepalive: hold.keepalive.map(|time| time.as_secs()),
            retry: hold.retry.map(ms),
            tag: hold.tag.clone(),
            messages: hold.messages.clone(),
            time: terms.time.as_secs(),
            status: hold.answer.status.as_u16(),
            headers: kept.filter_map(field).collect(),
        }
    }

    /// How long it lasts from now on.
    pub fn lasts(&self, now: SystemTime) -> Duration {
        Duration::from_millis(self.expires.saturating_sub(millis(now)))
    }

    /// When its hold was decided.
    pub fn issued(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.issued)
    }

    /// Where its hold began, where that is one place for all channels.
    pub fn position(&self) -> Option<Position> {
        self.position.as_deref()?.parse().ok()
    }

    /// Whether its client gets answers, each of which says its own position.
    pub fn is_of_poll(&self) -> bool {
        self.transport().is_none_or(|id| transport::transport(id).delivery().is_answer())
    }

    /// The channels of its hold.
    pub fn channels(&self) -> impl Iterator<Item = &str> {
        self.channels.iter().map(String::as_str)
    }

    /// What the application has called such holds.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Status and fields of the answer.
    pub fn head(&self) -> (StatusCode, HeaderMap) {
        let field = |(name, value): &(String, String)| {
            Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?))
        };
        let mut headers = HeaderMap::new();
        for (name, value) in self.headers.iter().filter_map(field) {
            headers.append(name, value);
        }
        (StatusCode::from_u16(self.status).unwrap_or_default(), headers)
    }

    /// Whether its client may be held like this. One that polls may wait this time or not: answers have the same form.
    pub fn is_for(&self, transport: TransportId) -> bool {
        let is_poll = |id| id == transport::LONG_POLL || id == transport::POLL;
        self.transport().is_some_and(|before| before == transport || is_poll(before) && is_poll(transport))
    }

    /// The transport that the client was given.
    fn transport(&self) -> Option<TransportId> {
        transport::by_name(&self.transport)
    }

    /// The instruction that the application had given. `None` where it is one of another version of this program.
    pub fn instruction(&self) -> Option<Instruction> {
        let channel = |name: &String| ChannelName::parse(name).ok().map(|name| (name, None));
        let (transport, parameters) = comet::parse_transport(&self.said).ok()?;
        let until = Some(UNIX_EPOCH + Duration::from_millis(self.until));
        let time = Duration::from_secs(self.time);
        Some(Instruction {
            channels: self.channels.iter().map(channel).collect::<Option<_>>()?,
            transport,
            parameters,
            timeout: self.timeout.map(Duration::from_secs),
            keepalive: self.keepalive.map(Duration::from_secs),
            retry: self.retry.map(Duration::from_millis),
            tag: self.tag.clone(),
            messages: self.messages.clone(),
            ticket: Some(Box::new(TicketTerms { time, transport: self.said.clone(), until })),
        })
    }

    /// Signed, as a client gets it.
    ///
    /// # Errors
    /// A cookie can't carry it.
    pub(super) fn seal(&self, key: &hmac::Key, scope: &Scope) -> Result<String, TooLarge> {
        // What it consists of has no map whose keys could be anything but text.
        let payload = serde_json::to_vec(self).map_err(|_| TooLarge)?;
        let mut text = URL_SAFE_NO_PAD.encode(payload);
        let tag = hmac::sign(key, &scope.signed(&text));
        text.push('.');
        URL_SAFE_NO_PAD.encode_string(tag, &mut text);
        if text.len() <= TEXT_MAX { Ok(text) } else { Err(TooLarge) }
    }

    /// Reads what a client has brought.
    ///
    /// # Errors
    /// None of the keys has signed it for this scope, or its time is over.
    pub(super) fn open(
        text: &str,
        keys: &[hmac::Key],
        scope: &Scope,
        now: SystemTime,
    ) -> Result<Ticket, BadTicket> {
        let (payload, tag) =
            text.split_once('.').filter(|_| text.len() <= TEXT_MAX).ok_or(BadTicket::Foreign)?;
        let tag = URL_SAFE_NO_PAD.decode(tag).map_err(|_| BadTicket::Foreign)?;
        let signed = scope.signed(payload);
        if !keys.iter().any(|key| hmac::verify(key, &signed, &tag).is_ok()) {
            return Err(BadTicket::Foreign);
        }
        let bytes = URL_SAFE_NO_PAD.decode(payload).map_err(|_| BadTicket::Foreign)?;
        let ticket: Ticket = serde_json::from_slice(&bytes).map_err(|_| BadTicket::Foreign)?;
        if ticket.expires > millis(now) { Ok(ticket) } else { Err(BadTicket::Expired) }
    }
}

impl Scope<'_> {
    /// What is signed: a zero byte stands in none of the parts.
    pub(super) fn signed(&self, payload: &str) -> Vec<u8> {
        let host = self.authority.to_ascii_lowercase();
        let query = self.query.map(transport::without_position).unwrap_or_default();
        ["perihelion ticket 1", self.site, &host, self.path, &query, payload].join("\0").into_bytes()
    }
}

/// Whether a field of the application's head belongs to a ticket: what a client needs to read the answer. Marks for
/// caches and cookies belong to the one answer that had them.
pub fn travels(name: &HeaderName) -> bool {
    let prefixes = ["access-control-", "cross-origin-"];
    match *name {
        CONTENT_TYPE
        | CONTENT_LANGUAGE
        | CACHE_CONTROL
        | VARY
        | CONTENT_SECURITY_POLICY
        | REFERRER_POLICY
        | X_CONTENT_TYPE_OPTIONS
        | SEC_WEBSOCKET_PROTOCOL => true,
        _ => prefixes.iter().any(|prefix| name.as_str().starts_with(prefix)),
    }
}

fn millis(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, ms)
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::{Answer, Asked, ClientSide, Order, read_instruction};
    use super::*;
    use crate::message::{Epoch, Sequence};

    const SCOPE: Scope<'_> =
        Scope { site: "shop", authority: "shop.example", path: "/events", query: Some("room=1") };

    fn key(seed: u8) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &[seed; 32])
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
    }

    /// A ticket for what an application answers with these fields.
    fn ticket(fields: &[(&'static str, &str)], renewal: Option<Duration>) -> Ticket {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        let Some(Order::Hold(mut instruction)) = read_instruction(&headers).unwrap() else { panic!() };
        let terms = instruction.ticket.take().unwrap();
        let position = Position { epoch: Epoch(14), sequence: Sequence(5) };
        let none = HeaderMap::new();
        let asked = Asked {
            headers: &none,
            upgrade: false,
            query: None,
            forwarded_at: position,
            now: position,
            at: at(0),
        };
        let answer = Answer { status: StatusCode::OK, headers: HeaderMap::new(), body: Bytes::new() };
        let client = ClientSide { version: hyper::Version::HTTP_11, keep_alive: true };
        let hold = instruction.hold(asked, answer, client).unwrap();
        Ticket::new(&hold, &terms, &headers, renewal, at(0))
    }

    const STREAM: [(&str, &str); 9] = [
        ("x-comet-subscribe", "news, user-42;since=now"),
        ("x-comet-transport", "sse; padding=8"),
        ("x-comet-keepalive", "20"),
        ("x-comet-retry", "3000"),
        ("x-comet-ticket", "10m"),
        ("x-comet-tag", "session:42"),
        ("access-control-allow-origin", "https://www.example.com"),
        ("set-cookie", "secret=1"),
        ("etag", "\"1\""),
    ];

    #[test]
    fn a_ticket_says_again_what_the_application_has_said() {
        let ticket = ticket(&STREAM, None);
        let text = ticket.seal(&key(1), &SCOPE).unwrap();
        let read = Ticket::open(&text, &[key(2), key(1)], &SCOPE, at(599)).unwrap();
        assert_eq!(read, ticket);
        let instruction = read.instruction().unwrap();
        let names: Vec<_> =
            instruction.channels.iter().map(|(name, since)| (name.as_str(), *since)).collect();
        assert_eq!(names, [("news", None), ("user-42", None)]);
        assert_eq!(instruction.transport, Some(transport::SSE));
        assert_eq!(instruction.parameters, comet::parse_transport("sse; padding=8").unwrap().1);
        assert_eq!(instruction.keepalive, Some(Duration::from_secs(20)));
        assert_eq!(instruction.retry, Some(Duration::from_secs(3)));
        assert_eq!((instruction.tag.as_deref(), instruction.timeout), (Some("session:42"), None));
        assert_eq!(read.position(), Some(Position { epoch: Epoch(14), sequence: Sequence(5) }));
        let (status, headers) = read.head();
        assert_eq!((status, headers.len()), (StatusCode::OK, 1));
        assert_eq!(headers["access-control-allow-origin"], "https://www.example.com");
    }

    #[test]
    fn it_is_valid_for_its_url_until_it_expires_and_unchanged() {
        let text = ticket(&STREAM, None).seal(&key(1), &SCOPE).unwrap();
        let open = |text: &str, scope: &Scope| Ticket::open(text, &[key(1)], scope, at(0));
        let same = Scope { authority: "Shop.Example", query: Some("lastEventId=e-7&room=1"), ..SCOPE };
        assert!(open(&text, &same).is_ok());
        for other in [
            Scope { site: "other", ..SCOPE },
            Scope { authority: "a.example", ..SCOPE },
            Scope { path: "/events/", ..SCOPE },
            Scope { query: Some("room=2"), ..SCOPE },
            Scope { query: None, ..SCOPE },
        ] {
            assert_eq!(open(&text, &other), Err(BadTicket::Foreign), "{other:?}");
        }
        for (place, _) in text.match_indices(|_: char| true).step_by(7) {
            let changed = if &text[place..=place] == "A" { "B" } else { "A" };
            let forged = format!("{}{changed}{}", &text[..place], &text[place + 1..]);
            assert_eq!(open(&forged, &SCOPE), Err(BadTicket::Foreign), "{place}");
        }
        for nonsense in ["", ".", "a.b", "....", &"a".repeat(5000), "käse.käse"] {
            assert_eq!(open(nonsense, &SCOPE), Err(BadTicket::Foreign), "{nonsense}");
        }
        assert_eq!(Ticket::open(&text, &[key(2)], &SCOPE, at(0)), Err(BadTicket::Foreign));
        assert_eq!(Ticket::open(&text, &[key(1)], &SCOPE, at(600)), Err(BadTicket::Expired));
    }

    #[test]
    fn a_renewed_one_ends_when_the_application_is_to_be_asked_again() {
        let hour = Duration::from_secs(3600);
        let first = ticket(&STREAM, Some(hour));
        let mut terms = first.instruction().unwrap().ticket.unwrap();
        assert_eq!((terms.time, terms.until), (Duration::from_secs(600), Some(at(3600))));
        terms.until = Some(at(100));
        assert_eq!(first.lasts(at(0)), Duration::from_secs(600));
        let poll = [("x-comet-subscribe", "a"), ("x-comet-timeout", "55"), ("x-comet-ticket", "60")];
        assert_eq!(ticket(&poll, Some(hour)).lasts(at(0)), Duration::from_secs(115));
    }

    #[test]
    fn what_no_cookie_can_carry_is_not_signed() {
        let channels =
            (0..10).map(|number| format!("{number}{}", "x".repeat(400))).collect::<Vec<_>>().join(",");
        let ticket = ticket(&[("x-comet-subscribe", &channels), ("x-comet-ticket", "1h")], None);
        assert_eq!(ticket.seal(&key(1), &SCOPE), Err(TooLarge));
    }
}
