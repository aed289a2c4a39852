//! What is kept of a WebSocket whose application is told of it by requests: the head of these, and what it hasn't taken;
//! pure.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::Uri;
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HeaderMap,
    HeaderName, HeaderValue, SEC_WEBSOCKET_EXTENSIONS, TE, TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::request::Parts;

use super::kept::Lines;
use super::rules::Client;
use super::websocket_events::events_request;
use crate::clock::Clock;
use crate::hold::grip::{Event, EventKind, Script, Tongue};
use crate::hold::{End, Kind, Passport, Receipt, RouteChannels, Speech, Words};

/// One client's WebSocket, as far as its application is concerned.
pub struct EventSession {
    /// Fields of the client's request that go with each of its own.
    fields: Lines,
    target: Box<str>,
    /// What the application has set.
    meta: Vec<(HeaderName, HeaderValue)>,
    tongue: Tongue,
    /// How often it wants to be asked in a silence.
    interval: Option<Duration>,
    /// What it hasn't taken, with what lets the client go on.
    untaken: VecDeque<(Event, Option<Receipt>)>,
    /// Content among that which it has been shown before.
    shown: usize,
    /// Whether something has come since it was asked.
    has_news: bool,
    opening: Vec<Speech>,
    stage: Stage,
    passport: Passport,
    secure: bool,
    worker: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// The application hears nothing more than that.
    Detached,
    /// The client is gone, and the application is told so.
    Leaving,
    Done,
}

/// How much was shown to the application.
pub(super) struct Offer {
    events: usize,
    content: usize,
}

/// Fields that belong to the client's connection, or to a body that its request didn't have, and those that only the
/// proxy may send.
const NOT_PASSED: [HeaderName; 11] = [
    ACCEPT,
    ACCEPT_ENCODING,
    CONNECTION,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    EXPECT,
    SEC_WEBSOCKET_EXTENSIONS,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];
const META: &str = "meta-";
const CONNECTION_ID: &str = "connection-id";
const CONTENT_BYTES_REPLAYED: HeaderName = HeaderName::from_static("content-bytes-replayed");
/// What the application may set; more is left out.
const META_MAX: usize = 100;
/// A shorter time than this is taken for it, as in Pushpin.
const INTERVAL_MIN: Duration = Duration::from_secs(20);
/// Between two requests of which the application took nothing.
const REPLAY: Duration = Duration::from_secs(1);

impl EventSession {
    pub(super) fn new(client: &Client, request: &Parts) -> EventSession {
        let passed = request.headers.iter().filter(|(name, _)| passes(name));
        let passed = passed.map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
        let id = connection_id();
        EventSession {
            fields: Lines::new(passed.chain([(CONNECTION_ID.as_bytes(), id.as_bytes())])),
            target: request.uri.to_string().into(),
            meta: Vec::new(),
            tongue: Tongue::default(),
            interval: None,
            untaken: VecDeque::new(),
            shown: 0,
            has_news: false,
            opening: Vec::new(),
            stage: Stage::Open,
            passport: client.passport.clone(),
            secure: client.secure,
            worker: client.worker as u32,
        }
    }

    /// The head of its next request.
    pub fn parts(&self) -> Parts {
        let mut parts = events_request();
        parts.uri = self.target.parse::<Uri>().unwrap_or_default();
        self.fields.append_to(&mut parts.headers);
        parts.headers.extend(self.meta.iter().cloned());
        if self.shown > 0 {
            parts.headers.insert(CONTENT_BYTES_REPLAYED, self.shown.into());
        }
        parts
    }

    /// The client, with a clock for one request.
    pub fn client(&self) -> Client {
        Client::new(self.passport.clone(), self.secure, Clock::default(), self.worker as usize, None)
    }

    pub(super) fn tongue(&self) -> &Tongue {
        &self.tongue
    }

    /// The application has opened it, and said so.
    pub(super) fn opens(&mut self, headers: &HeaderMap, channels: Option<Arc<RouteChannels>>) {
        self.tongue = Tongue::agreed(headers, channels);
    }

    /// What it has said with that, for the moment when the client is held.
    pub(super) fn opening(&mut self, script: Script) {
        self.opening = self.said(script);
    }

    /// The same, once.
    pub fn take_opening(&mut self) -> Vec<Speech> {
        std::mem::take(&mut self.opening)
    }

    pub(super) fn looked_after_every(&mut self, interval: Option<Duration>) {
        self.interval = interval.map(|interval| interval.max(INTERVAL_MIN));
    }

    /// An empty value takes it away.
    pub(super) fn set_meta(&mut self, name: &str, value: &HeaderValue) {
        let Ok(name) = HeaderName::try_from(format!("{META}{name}")) else { return };
        self.meta.retain(|(own, _)| *own != name);
        if !value.is_empty() && self.meta.len() < META_MAX {
            self.meta.push((name, value.clone()));
        }
    }

    /// The client has said something.
    pub fn hears(&mut self, words: Words) {
        if self.stage == Stage::Done || self.stage == Stage::Detached {
            return;
        }
        let Words { kind, data, receipt } = words;
        let kind = match kind {
            Kind::Text => EventKind::Text,
            Kind::Binary => EventKind::Binary,
            Kind::Ping => EventKind::Ping,
            Kind::Pong => EventKind::Pong,
        };
        self.untaken.push_back((Event { kind, content: data.into() }, Some(receipt)));
        self.has_news = true;
    }

    /// The client is held no more.
    pub fn ends(&mut self, end: &End) {
        let event = match (self.stage, end) {
            (Stage::Done | Stage::Leaving, _) => return,
            (Stage::Detached, _) | (_, End::Spoken) => Event::close(None),
            (Stage::Open, End::Left(said)) => {
                Event::close(said.as_ref().map(|(code, reason)| (*code, &**reason)))
            }
            (Stage::Open, End::Lost | End::Answered) => Event::bare(EventKind::Disconnect),
        };
        self.untaken.push_back((event, None));
        (self.stage, self.has_news) = (Stage::Leaving, true);
    }

    /// Whether the application is to be told something now.
    pub fn has_news(&self) -> bool {
        self.has_news && self.stage != Stage::Done
    }

    /// Whether it is never told anything any more.
    pub fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    /// After which silence it is to be asked.
    pub fn looks_after(&self) -> Option<Duration> {
        match self.stage {
            Stage::Done => None,
            _ if !self.untaken.is_empty() => Some(REPLAY),
            _ => self.interval,
        }
    }

    /// What is to be told, as the body of a request.
    pub(super) fn offer(&mut self) -> (Bytes, Offer) {
        let mut body = Vec::new();
        self.untaken.iter().for_each(|(event, _)| event.write(&mut body));
        self.has_news = false;
        let content = self.untaken.iter().map(|(event, _)| event.content.len()).sum();
        (body.into(), Offer { events: self.untaken.len(), content })
    }

    /// The application has taken all of it, or so many bytes of content.
    pub(super) fn takes(&mut self, offer: Offer, bytes: Option<usize>) -> Result<(), &'static str> {
        let mut left = bytes.unwrap_or(offer.content);
        if left > offer.content {
            return Err("the server takes more of WebSocket events than there was");
        }
        self.shown = offer.content - left;
        self.has_news |= left > 0 && self.shown > 0;
        for _ in 0..offer.events {
            let Some((event, _)) = self.untaken.front_mut() else { break };
            if event.content.len() > left {
                let _ = event.content.split_to(left);
                break;
            }
            left -= event.content.len();
            self.untaken.pop_front();
        }
        // It has been told, whatever it does with that.
        if self.stage == Stage::Leaving {
            self.fails();
        }
        Ok(())
    }

    /// What the application has said.
    pub(super) fn said(&mut self, script: Script) -> Vec<Speech> {
        match self.stage {
            Stage::Open if script.ends => self.fails(),
            Stage::Open if script.detaches => self.stage = Stage::Detached,
            // Nobody is there to hear it.
            Stage::Leaving => return Vec::new(),
            _ => {}
        }
        script.speeches
    }

    /// Nothing more is told.
    pub fn fails(&mut self) {
        self.stage = Stage::Done;
        self.untaken.clear();
    }
}

/// Whether a field of the client goes with its events.
fn passes(name: &HeaderName) -> bool {
    let text = name.as_str();
    !(NOT_PASSED.contains(name)
        || text.starts_with(META)
        || text == CONNECTION_ID
        || text.starts_with("content-bytes-")
        || text == "last-event-id")
}

/// As a UUID looks (RFC 9562 §5.4), which applications may count on.
fn connection_id() -> String {
    let number = fastrand::u128(..) & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let digits = format!("{number:032x}");
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hold::Line;

    fn session() -> EventSession {
        let passport = Passport::new("127.0.0.1:1".parse().unwrap(), 0);
        let client = Client::new(passport, false, Clock::default(), 3, None);
        let request =
            hyper::Request::get("/ws?a=1").header("Host", "a").header("X-A", "1").header("X-A", "2");
        let request = request.header("Meta-Foo", "forged").header("Connection", "upgrade").body(()).unwrap();
        EventSession::new(&client, &request.into_parts().0)
    }

    fn words(kind: Kind, data: &str) -> Words {
        Words { kind, data: data.into(), receipt: Receipt::to(Line::nowhere()) }
    }

    fn body(session: &mut EventSession) -> (String, Offer) {
        let (body, offer) = session.offer();
        (String::from_utf8(body.to_vec()).unwrap(), offer)
    }

    #[test]
    fn its_requests_have_the_fields_of_the_client_and_those_of_the_application() {
        let mut session = session();
        session.set_meta("foo", &"1".parse().unwrap());
        session.set_meta("bar", &"2".parse().unwrap());
        session.set_meta("foo", &"3".parse().unwrap());
        session.set_meta("bar", &"".parse().unwrap());
        let parts = session.parts();
        assert_eq!((parts.method.as_str(), parts.uri.to_string().as_str()), ("POST", "/ws?a=1"));
        let all = |name: &str| {
            parts.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(
            (all("host"), all("x-a"), all("meta-foo"), all("meta-bar")),
            (vec!["a"], vec!["1", "2"], vec!["3"], vec![])
        );
        assert!(all("connection").is_empty());
        assert_eq!(session.parts().headers[CONNECTION_ID], parts.headers[CONNECTION_ID]);
        assert!(size_of::<EventSession>() <= 320, "{}", size_of::<EventSession>());
    }

    #[test]
    fn what_is_not_taken_stays_and_is_told_again() {
        let mut session = session();
        session.hears(words(Kind::Ping, ""));
        session.hears(words(Kind::Text, "hello"));
        session.hears(words(Kind::Binary, "bye"));
        let (told, offer) = body(&mut session);
        assert_eq!(told, "PING\r\nTEXT 5\r\nhello\r\nBINARY 3\r\nbye\r\n");
        assert_eq!(session.takes(offer, Some(2)), Ok(()));
        assert!(session.has_news());
        let (told, offer) = body(&mut session);
        assert_eq!(told, "TEXT 3\r\nllo\r\nBINARY 3\r\nbye\r\n");
        assert_eq!(session.parts().headers[CONTENT_BYTES_REPLAYED], "6");
        // What takes nothing isn't asked again at once.
        assert_eq!(session.takes(offer, Some(0)), Ok(()));
        assert_eq!((session.has_news(), session.looks_after()), (false, Some(REPLAY)));
        let (_, offer) = body(&mut session);
        assert_eq!(session.takes(offer, Some(6)), Ok(()));
        assert_eq!((session.has_news(), session.looks_after()), (false, None));
        assert!(!session.parts().headers.contains_key(CONTENT_BYTES_REPLAYED));
        session.hears(words(Kind::Text, "x"));
        let (_, offer) = body(&mut session);
        assert!(session.takes(offer, Some(2)).is_err());
    }

    #[test]
    fn a_silence_is_as_long_as_the_application_wants_but_not_too_short() {
        let mut session = session();
        assert_eq!(session.looks_after(), None);
        session.looked_after_every(Some(Duration::from_secs(5)));
        assert_eq!(session.looks_after(), Some(INTERVAL_MIN));
        session.looked_after_every(Some(Duration::from_secs(60)));
        assert_eq!(session.looks_after(), Some(Duration::from_secs(60)));
        session.looked_after_every(None);
        assert_eq!(session.looks_after(), None);
    }

    #[test]
    fn the_application_is_told_once_how_it_ends() {
        let detached = || Script { detaches: true, ..Script::default() };
        let closed = || Script { ends: true, ..Script::default() };
        for (script, end, told) in [
            (None, End::Left(Some((4000, "x".into()))), "CLOSE 3\r\n\u{f}\u{a0}x\r\n"),
            (None, End::Left(None), "CLOSE\r\n"),
            (None, End::Lost, "DISCONNECT\r\n"),
            (None, End::Spoken, "CLOSE\r\n"),
            (Some(detached()), End::Lost, "CLOSE\r\n"),
            (Some(closed()), End::Spoken, ""),
        ] {
            let mut session = session();
            script.into_iter().for_each(|script| drop(session.said(script)));
            session.ends(&end);
            assert_eq!(session.has_news(), !told.is_empty());
            let (bytes, offer) = session.offer();
            assert_eq!(bytes.iter().map(|byte| char::from(*byte)).collect::<String>(), told);
            session.takes(offer, None).unwrap();
            session.ends(&end);
            assert!(session.is_done() && !session.has_news(), "{told}");
        }
    }
}
