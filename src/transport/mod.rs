//! Transports: how events are written for one kind of client. Bytes in, bytes out, no I/O.
//!
//! A transport is one file here and one line in [`TRANSPORTS`]. It knows messages, and nothing of sockets,
//! chunks, the hub or time. Streams begin with `open`, go on with a `piece` for each message, and end with
//! `close`; a poll is one answer made of the same three, its pieces put together by `separator`.

mod long_poll;
mod ndjson;
mod sse;
mod stream;

use std::time::Duration;

use crate::message::{Entry, Gap, Position, TransportId};

pub use ndjson::message_object;

/// One way of framing events.
pub trait Transport: Sync {
    /// Its name in `X-Comet-Transport`, in metrics and logs.
    fn name(&self) -> &'static str;

    /// Whether a client gets one answer or a stream.
    fn delivery(&self) -> Delivery;

    /// The media type that the client needs to see; `None` leaves the application's.
    fn media_type(&self) -> Option<&'static str>;

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

    /// A sign of life that the client passes over; empty where the transport has none.
    fn keep_alive(&self) -> &'static [u8] {
        b""
    }

    /// Says that messages are missing; writes nothing where the transport has no way to say it.
    fn gap(&self, gap: &Gap, out: &mut Vec<u8>);
}

/// How often a client is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Head at once, then everything as it comes.
    Stream,
    /// One whole answer when there is something to say.
    OneAnswer,
}

/// What a transport may say at the beginning.
#[derive(Debug, Clone, Copy)]
pub struct Opening<'a> {
    /// The application's body, which a stream begins with; empty for a poll.
    pub body: &'a [u8],
    /// When the client shall come back after a loss.
    pub retry: Option<Duration>,
    /// For a poll: where the client stands after this answer. For a stream: where it begins.
    pub position: Position,
    /// For a poll: whether messages are missing before this answer.
    pub gap: bool,
}

/// What a transport may say at the end.
#[derive(Debug, Clone, Copy)]
pub struct Closing {
    /// When the client shall come back, where it is told.
    pub retry: Option<Duration>,
}

/// Every transport, by [`TransportId`]. The order says nothing else.
pub static TRANSPORTS: &[&dyn Transport] =
    &[&sse::Sse, &long_poll::LongPoll, &stream::Stream, &ndjson::Ndjson];

const _: () = assert!(TRANSPORTS.len() <= TransportId::COUNT, "each entry has a frame for each transport");

/// `sse` in [`TRANSPORTS`].
pub const SSE: TransportId = TransportId::new(0);
/// `long-poll` in [`TRANSPORTS`].
pub const LONG_POLL: TransportId = TransportId::new(1);

/// The transport with this number.
pub fn transport(id: TransportId) -> &'static dyn Transport {
    TRANSPORTS[id.index()]
}

/// The transport with this name.
pub fn by_name(name: &str) -> Option<TransportId> {
    TRANSPORTS.iter().position(|transport| transport.name() == name).map(TransportId::new)
}

/// What `auto` means for a request: `sse` where it accepts an event stream, else `long-poll`.
pub fn automatic<'a>(accept: impl Iterator<Item = &'a [u8]>) -> TransportId {
    let mut ranges = accept.flat_map(|value| value.split(|byte| *byte == b','));
    let event_stream = |range: &[u8]| {
        let media = range.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        media.eq_ignore_ascii_case(b"text/event-stream")
    };
    if ranges.any(event_stream) { SSE } else { LONG_POLL }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_constants_name_what_the_table_holds() {
        assert_eq!(by_name("sse"), Some(SSE));
        assert_eq!(by_name("long-poll"), Some(LONG_POLL));
        assert_eq!(by_name("telepathy"), None);
    }

    #[test]
    fn auto_is_sse_only_for_those_who_accept_an_event_stream() {
        let choose = |accept: &'static str| automatic([accept.as_bytes()].into_iter());
        assert_eq!(choose("text/event-stream"), SSE);
        assert_eq!(choose("text/html, Text/Event-Stream;q=0.9"), SSE);
        assert_eq!(choose("*/*"), LONG_POLL);
        assert_eq!(automatic(std::iter::empty()), LONG_POLL);
    }
}
