//! Transports: how events are written for one kind of client. Bytes in, bytes out, no I/O.
//!
//! A transport is a file here, or half of one, and one line in [`TRANSPORTS`]. It knows messages, and nothing of sockets,
//! chunks, the hub or time. Streams begin with `open`, go on with a `piece` for each message, and end with
//! `close`; a poll is one answer made of the same three, its pieces put together by `separator`. A piece is made
//! once and shared by everybody who gets it, so what differs from client to client ([`Parameters`]) may only
//! stand in the head, in `open`, and in `around` an answer.

mod bayeux;
pub mod call;
mod client_pull;
#[cfg(test)]
mod conformance;
mod dom_event_stream;
#[cfg(test)]
pub(crate) mod fuzz;
mod gif;
mod grip;
mod htmlfile;
mod iframe;
mod jsonp;
mod multipart;
mod ndjson;
mod parameters;
mod polls;
mod preference;
mod script;
mod sse;
mod stream;
pub mod websocket;

use std::borrow::Cow;
use std::time::Duration;

use crate::message::{Entry, Gap, Position, TransportId};

pub use grip::OWN_PING;
pub use ndjson::message_object;
pub use parameters::{Asked, BadCallback, Parameters, callback, function_name, percent_decoded};
pub(crate) use parameters::{NONE, without_position};
pub use preference::{AT_ONCE, OPEN, prefers};
pub use script::json as script_json;

/// One way of framing events.
pub trait Transport: Sync {
    /// Its name in `X-Comet-Transport`, in metrics and logs.
    fn name(&self) -> &'static str;

    /// Whether a client gets one answer or a stream.
    fn delivery(&self) -> Delivery;

    /// The media type of what the client gets.
    fn media_type(&self) -> MediaType;

    /// Names of the parameters that the application may put behind its name.
    fn parameters(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether the head is that of the transport, rather than the application's own.
    fn has_own_head(&self) -> bool {
        true
    }

    /// Fields of the head that it needs besides those that every transport has.
    fn fields(&self, _opening: &Opening, _fields: &mut Vec<Field>) {}

    /// What stands before the first message. For a poll it knows the position that the answer ends with.
    fn open(&self, opening: &Opening, out: &mut Vec<u8>);

    /// One message.
    fn piece(&self, entry: &Entry, out: &mut Vec<u8>);

    /// What stands between two messages.
    fn separator(&self) -> &'static [u8] {
        b""
    }

    /// What stands after the last message.
    fn close(&self, closing: &Closing, out: &mut Vec<u8>);

    /// What stands before and after the answer for one client; only [`Delivery::OneAnswer`] has it.
    fn around(&self, _parameters: &Parameters) -> Option<Around> {
        None
    }

    /// Bytes after which a stream ends and its client begins another: where a page keeps all that it was sent.
    fn bytes_max(&self) -> Option<u64> {
        None
    }

    /// A sign of life that the client passes over; empty where the transport has none.
    fn keep_alive(&self) -> &'static [u8] {
        b""
    }

    /// Says that messages are missing; writes nothing where the transport has no way to say it.
    fn gap(&self, gap: &Gap, out: &mut Vec<u8>);
}

/// How often a client is answered, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Head at once, then everything as it comes.
    Stream,
    /// A WebSocket: its head, then frames as they come, and ears for what the client says.
    Socket,
    /// One whole answer when there is something to say.
    OneAnswer,
    /// One whole answer at once, whether there is something to say or not.
    AtOnce,
}

/// The media type of what a transport writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaType {
    /// The client needs to see it, so it replaces the application's.
    Own(&'static str),
    /// Stands where the application names none.
    Default(&'static str),
    /// Whatever the application names, or nothing: there may be no body to have one.
    Nothing,
}

impl Delivery {
    /// Whether a client gets one answer, and no more than that.
    pub fn is_answer(self) -> bool {
        matches!(self, Delivery::OneAnswer | Delivery::AtOnce)
    }
}

/// A field of a head: its name in lower case, and its value.
pub type Field = (&'static str, Cow<'static, str>);

/// What a transport may say at the beginning.
#[derive(Debug, Clone, Copy)]
pub struct Opening<'a> {
    /// The application's body, which a stream begins with; empty for a poll that is held.
    pub body: &'a [u8],
    /// The media type that the application gave it.
    pub media_type: Option<&'a str>,
    /// When the client shall come back after a loss.
    pub retry: Option<Duration>,
    /// For a poll: where the client stands after this answer. For a stream: where it begins.
    pub position: Position,
    /// For a poll: whether messages are missing before this answer.
    pub gap: bool,
    /// What this client's frames are made with; nothing for a poll that is held, whose bytes are shared.
    pub parameters: &'a Parameters,
}

/// What a transport may say at the end.
#[derive(Debug, Clone, Copy)]
pub struct Closing {
    /// When the client shall come back, where it is told.
    pub retry: Option<Duration>,
}

impl Around {
    /// The answer of one client.
    pub fn wrap(&self, shared: &[u8]) -> Vec<u8> {
        let rest = shared.get(self.replaced..).unwrap_or_default();
        [self.before.as_bytes(), rest, self.after.as_bytes()].concat()
    }
}

/// What an answer is wrapped in for one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Around {
    /// Before it.
    pub before: Box<str>,
    /// Bytes at its beginning in whose place that stands.
    pub replaced: usize,
    /// After it.
    pub after: &'static str,
}

/// Every transport, by [`TransportId`]. The order says nothing else.
pub static TRANSPORTS: &[&dyn Transport] = &[
    &sse::Sse,
    &polls::Polls::Long,
    &jsonp::Jsonp,
    &websocket::Websocket,
    &stream::Stream,
    &ndjson::Ndjson,
    &multipart::Multipart,
    &iframe::Iframe,
    &htmlfile::Htmlfile,
    &dom_event_stream::DomEventStream,
    &gif::Gif,
    &client_pull::ClientPull,
    &polls::Polls::Short,
    &bayeux::Bayeux,
    &grip::GripStream,
    &grip::GripResponse,
    &grip::GripSocket,
];

const _: () = assert!(TRANSPORTS.len() <= TransportId::COUNT, "each entry has a frame for each transport");

/// `sse` in [`TRANSPORTS`].
pub const SSE: TransportId = TransportId::new(0);
/// `long-poll` in [`TRANSPORTS`].
pub const LONG_POLL: TransportId = TransportId::new(1);
/// `jsonp` in [`TRANSPORTS`].
pub const JSONP: TransportId = TransportId::new(2);
/// `websocket` in [`TRANSPORTS`].
pub const WEBSOCKET: TransportId = TransportId::new(3);
/// `ndjson` in [`TRANSPORTS`].
pub const NDJSON: TransportId = TransportId::new(5);
/// `poll` in [`TRANSPORTS`].
pub const POLL: TransportId = TransportId::new(12);

/// `bayeux` in [`TRANSPORTS`].
pub const BAYEUX: TransportId = TransportId::new(13);

/// `grip-stream` in [`TRANSPORTS`].
pub const GRIP_STREAM: TransportId = TransportId::new(14);
/// `grip-response` in [`TRANSPORTS`].
pub const GRIP_RESPONSE: TransportId = TransportId::new(15);
/// `grip-websocket` in [`TRANSPORTS`].
pub const GRIP_SOCKET: TransportId = TransportId::new(16);

/// Whether what a client gets depends on what it was held with by GRIP: those transports stand last.
pub fn is_grip(id: TransportId) -> bool {
    id.index() >= GRIP_STREAM.index()
}

/// Names of those that an application may name: the others, which stand last, mean nothing without their protocol.
pub fn names() -> impl Iterator<Item = &'static str> {
    TRANSPORTS.iter().map(|transport| transport.name()).take(BAYEUX.index())
}

/// The transport that an application means by this name.
pub fn named(name: &str) -> Option<TransportId> {
    by_name(name).filter(|id| id.index() < BAYEUX.index())
}

/// The transport with this number.
pub fn transport(id: TransportId) -> &'static dyn Transport {
    TRANSPORTS[id.index()]
}

/// The transport with this name.
pub fn by_name(name: &str) -> Option<TransportId> {
    TRANSPORTS.iter().position(|transport| transport.name() == name).map(TransportId::new)
}

/// The fields that the head of a transport's answer needs besides its media type. Nothing on the way may keep it
/// for later, or change it: what recodes a stream (RFC 9111 §5.2.2.6) waits for its end.
pub fn fields(id: TransportId, opening: &Opening) -> Vec<Field> {
    let transport = transport(id);
    let mut fields = Vec::new();
    if !transport.has_own_head() {
        return fields;
    }
    // A WebSocket is nothing that could be kept.
    if transport.delivery() != Delivery::Socket {
        fields.push(("cache-control", "no-cache, no-transform".into()));
    }
    if transport.delivery() == Delivery::Stream {
        fields.push(("x-accel-buffering", "no".into()));
    }
    transport.fields(opening, &mut fields);
    fields
}

/// What `auto` means for a request: `websocket` where it asks for one, `sse` where it accepts an event stream, `ndjson`
/// where it accepts that, `jsonp` where it names a function to call, `poll` where it wants no wait, else `long-poll`.
pub fn automatic<'a>(
    upgrade: bool,
    accept: impl Iterator<Item = &'a [u8]>,
    prefer: impl Iterator<Item = &'a [u8]>,
    query: Option<&str>,
) -> TransportId {
    if upgrade {
        WEBSOCKET
    } else if let Some(stream) = accepted_stream(accept) {
        stream
    } else if parameters::names_callback(query) {
        JSONP
    } else if prefers(prefer, AT_ONCE) {
        POLL
    } else {
        LONG_POLL
    }
}

/// The stream whose media type a request names; a range such as `*/*` names none.
fn accepted_stream<'a>(accept: impl Iterator<Item = &'a [u8]>) -> Option<TransportId> {
    let mut stream = None;
    for range in accept.flat_map(|value| value.split(|byte| *byte == b',')) {
        let named = range.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        if named.eq_ignore_ascii_case(b"text/event-stream") {
            return Some(SSE);
        }
        if named.eq_ignore_ascii_case(b"application/x-ndjson") {
            stream = Some(NDJSON);
        }
    }
    stream
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_constants_name_what_the_table_holds() {
        assert_eq!(named("poll"), Some(POLL));
        assert!(
            ["bayeux", "grip-stream", "grip-response", "grip-websocket"]
                .iter()
                .all(|name| named(name).is_none())
        );
        assert_eq!(by_name("sse"), Some(SSE));
        assert_eq!(by_name("long-poll"), Some(LONG_POLL));
        assert_eq!(by_name("jsonp"), Some(JSONP));
        assert_eq!(by_name("websocket"), Some(WEBSOCKET));
        assert_eq!(by_name("ndjson"), Some(NDJSON));
        assert_eq!(by_name("poll"), Some(POLL));
        assert_eq!(by_name("bayeux"), Some(BAYEUX));
        assert_eq!(by_name("grip-stream"), Some(GRIP_STREAM));
        assert_eq!(by_name("grip-response"), Some(GRIP_RESPONSE));
        assert_eq!(by_name("grip-websocket"), Some(GRIP_SOCKET));
        assert_eq!(by_name("telepathy"), None);
    }

    #[test]
    fn auto_follows_what_the_request_accepts_names_and_prefers() {
        let choose = |accept: &'static str, prefer: &'static str, query| {
            automatic(false, [accept.as_bytes()].into_iter(), [prefer.as_bytes()].into_iter(), query)
        };
        assert_eq!(choose("text/event-stream", "wait=0", Some("callback=f")), SSE);
        assert_eq!(choose("text/html, Text/Event-Stream;q=0.9", "", None), SSE);
        assert_eq!(choose("application/x-ndjson, text/event-stream", "", None), SSE);
        assert_eq!(choose("Application/X-NDJSON; q=1, */*", "wait=0", Some("callback=f")), NDJSON);
        assert_eq!(choose("application/*", "", None), LONG_POLL);
        assert_eq!(choose("*/*", "", None), LONG_POLL);
        assert_eq!(choose("*/*", "wait=0", Some("a=1&callback=f")), JSONP);
        assert_eq!(choose("*/*", "", Some("jsonp=f")), JSONP);
        assert_eq!(choose("*/*", "", Some("callbacks=f")), LONG_POLL);
        assert_eq!(choose("application/json", "comet-open, wait=0", None), POLL);
        let none = || std::iter::empty();
        assert_eq!(automatic(false, none(), none(), None), LONG_POLL);
        assert_eq!(automatic(true, none(), none(), Some("callback=f")), WEBSOCKET);
    }
}
