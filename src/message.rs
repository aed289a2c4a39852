//! What a message is, where it stands in the order of its store, and its bytes in each transport.
//!
//! A message is made in steps, each from the one before: [`Batch`] (what a publisher said) → [`Entry`]
//! (numbered, immutable, shared) → [`Frame`] (its bytes in one transport, made once). This room knows no
//! transport: an encoder is handed in, and its result is kept under the transport's [`TransportId`].

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::Bytes;

mod forms;
mod frame;
mod loose;
mod nesting;

pub use forms::{Form, Forms, Pairs, Reply, ReplyBody, SocketType, ToResponse, ToSocket, ToStream};
pub use frame::{Frame, FrameBuilder, Framing};
pub use loose::{Whole, base64, mended};
pub use nesting::{NESTING_MAX, nesting};

/// The name of a channel: 1 to 1,024 bytes of UTF-8 without control characters.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelName(Arc<str>);

/// Why a text is no channel name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadChannelName {
    /// No bytes.
    #[error("a channel name can't be empty")]
    Empty,
    /// More bytes than [`ChannelName::BYTES_MAX`].
    #[error("a channel name has at most {} bytes", ChannelName::BYTES_MAX)]
    TooLong,
    /// A character below U+0020, or U+007F to U+009F.
    #[error("a channel name has no control characters")]
    Control,
    /// Bytes that are not UTF-8.
    #[error("a channel name is UTF-8")]
    Encoding,
}

impl ChannelName {
    /// Longest name in bytes: long enough for a path of a URL, short enough for a million of them.
    pub const BYTES_MAX: usize = 1024;

    /// Checks a name.
    pub fn parse(name: &str) -> Result<ChannelName, BadChannelName> {
        if name.is_empty() {
            return Err(BadChannelName::Empty);
        }
        if name.len() > Self::BYTES_MAX {
            return Err(BadChannelName::TooLong);
        }
        if name.chars().any(char::is_control) {
            return Err(BadChannelName::Control);
        }
        Ok(ChannelName(name.into()))
    }

    /// Checks a name that came as bytes.
    pub fn from_bytes(name: &[u8]) -> Result<ChannelName, BadChannelName> {
        ChannelName::parse(std::str::from_utf8(name).map_err(|_| BadChannelName::Encoding)?)
    }

    /// The same behind a prefix.
    ///
    /// # Errors
    /// That is too long.
    pub fn under(&self, prefix: &str) -> Result<ChannelName, BadChannelName> {
        ChannelName::parse(&[prefix, &self.0].concat())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Place of a message in the total order of its store; the first message is 1, 0 stands before all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Sequence(pub u64);

impl Sequence {
    /// The place after this one.
    pub fn next(self) -> Sequence {
        Sequence(self.0 + 1)
    }
}

/// Names one life of a store: numbers of another epoch say nothing about this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch(pub u64);

/// What a client hands back to continue exactly after a message. Opaque outside: `EPOCH-SEQUENCE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The store's life in which the number was given.
    pub epoch: Epoch,
    /// Everything up to this place has been processed.
    pub sequence: Sequence,
}

impl Position {
    /// Appends its text. Each message has one in each transport, so that the detours of formatting would cost more than
    /// the rest of a frame.
    pub fn write(self, out: &mut Vec<u8>) {
        hexadecimal(self.epoch.0, out);
        out.push(b'-');
        out.extend_from_slice(itoa::Buffer::new().format(self.sequence.0).as_bytes());
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{}", self.epoch.0, self.sequence.0)
    }
}

/// Appends a number without noughts before it.
fn hexadecimal(number: u64, out: &mut Vec<u8>) {
    let digits = (u64::BITS - number.leading_zeros()).div_ceil(4).max(1);
    let digit = |place: u32| b"0123456789abcdef"[(number >> (4 * place)) as usize & 15];
    out.extend((0..digits).rev().map(digit));
}

/// The text is no position that this program ever gave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a position")]
pub struct BadPosition;

impl FromStr for Position {
    type Err = BadPosition;

    fn from_str(text: &str) -> Result<Position, BadPosition> {
        let (epoch, sequence) = text.split_once('-').ok_or(BadPosition)?;
        let canonical = |part: &str| part == "0" || !part.starts_with(['0', '+']);
        if !canonical(epoch) || !canonical(sequence) || epoch.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(BadPosition);
        }
        Ok(Position {
            epoch: Epoch(u64::from_str_radix(epoch, 16).map_err(|_| BadPosition)?),
            sequence: Sequence(sequence.parse().map_err(|_| BadPosition)?),
        })
    }
}

/// Where a subscription begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With the first message that the channel still has; nothing before it counts as missing.
    Earliest,
    /// After the message at this position, with a gap where that can't be had.
    After(Position),
    /// After a position that can't be read, so that whatever came before can't be proven to have arrived.
    Unknown,
}

/// What a publisher says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where to.
    pub channel: ChannelName,
    /// Type of the event, where the publisher named one; no line ends, no NUL.
    pub event: Option<Box<str>>,
    /// The publisher's own id, which makes the publish idempotent.
    pub id: Option<Box<str>>,
    /// What the message is the newest of, on channels that keep up by the newest of each key.
    pub key: Option<Box<str>>,
    /// Media type of the data as it was sent.
    pub content_type: Option<Box<str>>,
    /// The payload.
    pub data: Data,
    /// What clients held by GRIP get instead, where the publisher spoke it.
    pub forms: Option<Box<Forms>>,
}

impl Message {
    /// Nothing but a payload.
    pub fn new(channel: ChannelName, data: Data) -> Message {
        Message { channel, event: None, id: None, key: None, content_type: None, data, forms: None }
    }

    /// Bytes that keeping it will cost: payload, names and the entry itself, frames left out.
    pub fn cost_bytes(&self) -> usize {
        let text = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| text.len());
        self.data.bytes().len()
            + text(&self.event)
            + text(&self.id)
            // On channels that look for the newest of each, it stands in an index as well.
            + 2 * text(&self.key)
            + text(&self.content_type)
            + self.forms.as_ref().map_or(0, |forms| forms.cost_bytes())
            + size_of::<Entry>()
    }
}

/// A payload, by what can be done with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// Valid JSON, which goes into JSON transports as the value itself.
    Json(Bytes),
    /// UTF-8 text.
    Text(Bytes),
    /// Other bytes; transports of text show what isn't UTF-8 as U+FFFD.
    Binary(Bytes),
}

impl Data {
    /// The payload as it was published.
    pub fn bytes(&self) -> &Bytes {
        match self {
            Data::Json(bytes) | Data::Text(bytes) | Data::Binary(bytes) => bytes,
        }
    }
}

/// Messages that are published together: all of them or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// In the order in which they are to be numbered.
    pub messages: Vec<Message>,
    /// What has to be true of their channels; otherwise nothing is published.
    pub expected: Vec<Expected>,
}

/// What a publisher believes to be the last message of a channel when its batch comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// The message of the batch that says so, from 0.
    pub item: usize,
    /// The last message of its channel; `None` where it has none.
    pub last: Option<Position>,
}

/// A message with its place in the order.
#[derive(Debug)]
pub struct Entry {
    /// Its position, which is also its id for clients.
    pub position: Position,
    /// Its place among the messages of its own channel, from 1, so that missing ones can be counted.
    pub ordinal: u64,
    /// When it was published, for its age.
    pub published: Instant,
    /// What was published.
    pub message: Message,
    frames: [OnceLock<Frame>; TransportId::COUNT],
    /// In which transports somebody has encoded it for themselves, a bit for each.
    read_once: AtomicU32,
}

const _: () = assert!(TransportId::COUNT <= u32::BITS as usize);

impl Entry {
    /// Bytes that most transports have around the data of a message: names, a position, an event.
    const AROUND_DATA: usize = 128;

    /// A numbered message without frames.
    pub fn new(position: Position, ordinal: u64, published: Instant, message: Message) -> Entry {
        let (frames, read_once) = Default::default();
        Entry { position, ordinal, published, message, frames, read_once }
    }

    /// Whether there is something in it for clients that GRIP doesn't hold.
    pub fn has_data(&self) -> bool {
        self.message.forms.as_ref().is_none_or(|forms| forms.has_content())
    }

    /// Its place in the order.
    pub fn sequence(&self) -> Sequence {
        self.position.sequence
    }

    /// Its bytes in one transport, encoded the first time that they are asked for.
    pub fn frame(&self, transport: TransportId, encode: impl FnOnce(&Entry, &mut Vec<u8>)) -> &Frame {
        self.frames[transport.index()].get_or_init(|| {
            let mut builder = FrameBuilder::with_room(self.room());
            encode(self, builder.payload());
            builder.chunk()
        })
    }

    /// The same for one reader, with whom others may come or not: nothing for the first, who encodes it for itself, so that
    /// what is read once, such as the past of a channel with one reader, isn't kept in two forms.
    pub fn frame_if_shared(
        &self,
        transport: TransportId,
        encode: impl FnOnce(&Entry, &mut Vec<u8>),
    ) -> Option<&Frame> {
        let made = self.frames[transport.index()].get();
        made.or_else(|| {
            let bit = 1 << transport.index();
            let was_read = self.read_once.fetch_or(bit, Ordering::Relaxed) & bit != 0;
            was_read.then(|| self.frame(transport, encode))
        })
    }

    /// Bytes that it takes in most transports.
    pub fn room(&self) -> usize {
        self.message.data.bytes().len() + Self::AROUND_DATA
    }

    /// Bytes that keeping it costs; see [`Message::cost_bytes`].
    pub fn cost_bytes(&self) -> usize {
        self.message.cost_bytes()
    }
}

/// Number of a transport in the table of transports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TransportId(u8);

impl TransportId {
    /// Places for frames in each entry; the table of transports asserts that it fits.
    pub const COUNT: usize = 17;

    /// The transport with this index in the table.
    pub const fn new(index: usize) -> TransportId {
        assert!(index < TransportId::COUNT);
        TransportId(index as u8)
    }

    /// Its index in the table.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Messages that a subscriber can't be given any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Where they were.
    pub channel: ChannelName,
    /// How many, where that is known.
    pub missing: Option<u64>,
    /// The last position that the subscriber has, as it said it; `None` where it can't be read.
    pub after: Option<Position>,
    /// The position from which on everything is there.
    pub before: Position,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_what_it_writes_and_nothing_else() {
        let position = Position { epoch: Epoch(0xab12), sequence: Sequence(77) };
        assert_eq!(position.to_string(), "ab12-77");
        for (epoch, sequence) in [(0, 0), (1, 9), (0xf, 10), (0x10, 1), (u64::MAX, u64::MAX)] {
            let position = Position { epoch: Epoch(epoch), sequence: Sequence(sequence) };
            let mut written = Vec::new();
            position.write(&mut written);
            assert_eq!(written, position.to_string().as_bytes());
        }
        assert_eq!("ab12-77".parse(), Ok(position));
        for bad in
            ["", "-", "ab12", "ab12-", "-77", "AB12-77", "ab12-077", "ab12-+7", "ab12--7", "ab12-7-7", "x-1"]
        {
            assert_eq!(bad.parse::<Position>(), Err(BadPosition), "{bad}");
        }
        assert_eq!("ab12-18446744073709551616".parse::<Position>(), Err(BadPosition));
    }

    #[test]
    fn a_channel_name_has_a_length_and_no_control_characters() {
        assert_eq!(ChannelName::parse(""), Err(BadChannelName::Empty));
        assert_eq!(ChannelName::parse("a\nb"), Err(BadChannelName::Control));
        assert_eq!(ChannelName::parse("a\u{85}"), Err(BadChannelName::Control));
        assert_eq!(ChannelName::from_bytes(b"\xff"), Err(BadChannelName::Encoding));
        assert_eq!(ChannelName::parse(&"x".repeat(1025)), Err(BadChannelName::TooLong));
        assert_eq!(ChannelName::parse(&"x".repeat(1024)).map(|name| name.as_str().len()), Ok(1024));
        assert_eq!(ChannelName::parse("käse/42").map(|name| name.to_string()), Ok("käse/42".into()));
    }
}
