//! One held connection: a small struct, and what it does when its socket takes or gives bytes.
//!
//! It owns no queue. What it is in the middle of is a shared frame and an offset; what it missed meanwhile is
//! read from its channels' windows when the socket takes bytes again. Invariant: a connection that is `behind`
//! has a frame pending, so that the socket's next readiness brings it on, or waits for what a filter's URL says, or is
//! caught up before the turn ends.

use std::io::{self, Write as _};

use super::grip::Grip;
use super::socket::{Conversation, Farewell};
use super::talk::Talk;
use crate::access_log::Subject;
use crate::hold::{ClientSide, Ear, Home, Permit};
use crate::hub::ChannelId;
use crate::message::{Frame, Framing, Sequence, TransportId};
use crate::transport::{self, Around};
use crate::wire::{Scratch, Wire};

/// A connection that waits for events.
pub(super) struct Held {
    pub(super) wire: Wire,
    pending: Option<Frame>,
    offset: u32,
    pub(super) transport: TransportId,
    pub(super) framing: Framing,
    pub(super) stage: Stage,
    /// Whether its channels have more for it than what is pending.
    pub(super) behind: bool,
    /// Whether the poll tells when the socket takes bytes again.
    pub(super) armed: bool,
    /// Whether its last words are written, or pending.
    pub(super) said_goodbye: bool,
    /// Everything up to here is written, or pending.
    pub(super) position: Sequence,
    pub(super) memberships: Memberships,
    /// Tick of the last write, for keep-alives.
    pub(super) wrote_at: u32,
    pub(super) events: u32,
    pub(super) bytes: u64,
    pub(super) cold: Box<Cold>,
}

// Memory of a held connection is what this program is for: `docs/performance.md` has the sum.
const _: () = assert!(size_of::<Held>() <= 96);
// The allocator's next sizes are 128 and 160.
const _: () = assert!(size_of::<Cold>() <= 160);

/// What is needed rarely: at the end, at a timer, when the client speaks.
pub(super) struct Cold {
    /// Gives the place back on drop.
    pub(super) permit: Permit,
    pub(super) home: Home,
    pub(super) client: ClientSide,
    pub(super) subject: Option<Box<Subject>>,
    pub(super) manner: Manner,
    pub(super) read_ahead: Vec<u8>,
    /// Tick at which it was taken over.
    pub(super) since: u32,
    /// Tick at which a poll is answered, or a stream has lived long enough; `u32::MAX` for never.
    pub(super) until: u32,
    /// Status of the application's answer, for the log.
    pub(super) status: u16,
    /// How many channels it was taken over for.
    pub(super) channels: u16,
    /// Ticks of silence before a keep-alive; 0 for none.
    pub(super) keepalive: u32,
}

/// What a connection is, as far as it needs to keep something for it. Two variants, so that one fits between the
/// bytes of the other.
pub(super) enum Manner {
    Poll(PollAnswer),
    /// A stream, with what few have.
    Stream(Option<Box<Companion>>),
}

// The allocator's sizes beside these are 128 and 192.
const _: () = assert!(size_of::<With>() <= 128);
const _: () = assert!(size_of::<Companion>() <= 192);

/// What some streams have.
#[derive(Default)]
pub(super) struct Companion {
    /// Ears, where it is a WebSocket.
    pub(super) conversation: Option<Conversation>,
    /// What GRIP needs to know of it.
    pub(super) grip: Option<Grip>,
}

impl Cold {
    /// The answers of a poll.
    pub(super) fn poll(&self) -> Option<&PollAnswer> {
        match &self.manner {
            Manner::Poll(poll) => Some(poll),
            Manner::Stream(_) => None,
        }
    }

    /// Who answers it, where that isn't the hub.
    pub(super) fn ear(&mut self) -> Option<&mut Ear> {
        match &mut self.manner {
            Manner::Poll(poll) => poll.ear.as_deref_mut(),
            Manner::Stream(companion) => {
                let Companion { conversation, grip } = companion.as_deref_mut()?;
                match conversation {
                    Some(conversation) => Some(&mut *conversation.talk.as_deref_mut()?.ear),
                    None => Some(&mut grip.as_mut()?.linked_mut()?.ear),
                }
            }
        }
    }

    /// What a WebSocket's client and its listener have to say to each other.
    pub(super) fn talk(&mut self) -> Option<&mut Talk> {
        self.conversation()?.talk.as_deref_mut()
    }

    /// What a WebSocket's client has said.
    pub(super) fn conversation(&mut self) -> Option<&mut Conversation> {
        match &mut self.manner {
            Manner::Stream(Some(companion)) => companion.conversation.as_mut(),
            Manner::Stream(None) | Manner::Poll(_) => None,
        }
    }

    /// What GRIP needs to know of it.
    pub(super) fn grip(&mut self) -> Option<&mut Grip> {
        match &mut self.manner {
            Manner::Stream(companion) => companion.as_deref_mut()?.grip.as_mut(),
            Manner::Poll(poll) => match poll.with.as_deref_mut()? {
                With::Grip(grip) => Some(grip),
                With::Around(_) => None,
            },
        }
    }

    /// The same, to look at.
    pub(super) fn grip_here(&self) -> Option<&Grip> {
        match &self.manner {
            Manner::Stream(_) => self.grip_of_stream(),
            Manner::Poll(poll) => match poll.with.as_deref()? {
                With::Grip(grip) => Some(grip),
                With::Around(_) => None,
            },
        }
    }

    /// The same of a stream.
    pub(super) fn grip_of_stream(&self) -> Option<&Grip> {
        match &self.manner {
            Manner::Stream(companion) => companion.as_ref()?.grip.as_ref(),
            Manner::Poll(_) => None,
        }
    }

    /// Whether its application is being asked for what it may lack.
    pub(super) fn is_asking(&self) -> bool {
        match &self.manner {
            Manner::Stream(_) => self.grip_of_stream().is_some_and(|grip| grip.is_asking),
            Manner::Poll(poll) => matches!(poll.with.as_deref(), Some(With::Grip(grip)) if grip.is_asking),
        }
    }

    /// The same of a WebSocket, with what is said on it.
    pub(super) fn grip_socket(&mut self) -> Option<(&mut Grip, &mut Conversation)> {
        match &mut self.manner {
            Manner::Stream(Some(companion)) => {
                Some((companion.grip.as_mut()?, companion.conversation.as_mut()?))
            }
            Manner::Stream(None) | Manner::Poll(_) => None,
        }
    }

    /// Whether it has that.
    pub(super) fn has_grip(&self) -> bool {
        match &self.manner {
            Manner::Stream(companion) => companion.as_ref().is_some_and(|companion| companion.grip.is_some()),
            Manner::Poll(poll) => matches!(poll.with.as_deref(), Some(With::Grip(_))),
        }
    }

    /// The same of a poll, with the answer that it gets if nothing happens.
    pub(super) fn grip_poll(&mut self) -> Option<(&mut Grip, &Frame)> {
        match &mut self.manner {
            Manner::Poll(PollAnswer { with: Some(with), fallback, .. }) => match &mut **with {
                With::Grip(grip) => Some((grip, fallback)),
                With::Around(_) => None,
            },
            Manner::Poll(_) | Manner::Stream(_) => None,
        }
    }

    /// How a WebSocket is closed for what was said on it.
    pub(super) fn farewell(&self) -> Option<&Farewell> {
        match &self.manner {
            Manner::Stream(Some(companion)) => companion.conversation.as_ref()?.farewell.as_deref(),
            Manner::Stream(None) | Manner::Poll(_) => None,
        }
    }
}

/// The two answers that a poll may get.
pub(super) struct PollAnswer {
    /// The application's own, whole.
    pub(super) fallback: Frame,
    /// Status line and headers of an answer with messages, up to the length.
    pub(super) head: Box<[u8]>,
    /// What makes such an answer another one for this client.
    pub(super) with: Option<Box<With>>,
    /// Who answers it, where that isn't the hub.
    pub(super) ear: Option<Box<Ear>>,
}

/// Bytes of the field with the longest length, and of the empty line.
const LENGTH_FIELD_MAX: usize = 40;

/// What makes the answer of a poll its own.
pub(super) enum With {
    /// It is wrapped.
    Around(Around),
    /// It is one of GRIP.
    Grip(Grip),
}

impl PollAnswer {
    /// The head of an answer whose body has so many bytes.
    pub(super) fn head_for(&self, length: usize) -> Vec<u8> {
        let mut head = Vec::with_capacity(self.head.len() + LENGTH_FIELD_MAX);
        head.extend_from_slice(&self.head);
        write!(head, "content-length: {length}\r\n\r\n").expect("memory takes everything");
        head
    }

    /// Head and body, where the body is one that others share.
    pub(super) fn whole(&self, shared: &Frame) -> Frame {
        let body = self.body(shared);
        let head = self.head_for(body.payload().len());
        Frame::raw([&head, body.payload()].concat())
    }

    /// The body of an answer as this client gets it: shared by all, but where it is wrapped.
    pub(super) fn body(&self, shared: &Frame) -> Frame {
        let Some(With::Around(around)) = self.with.as_deref() else { return shared.clone() };
        Frame::raw(around.wrap(shared.payload()))
    }
}

/// How far the life of a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Gets events.
    Live,
    /// What is pending is its last.
    Ending(Reason),
    /// The hold is over, and the connection stays for its client's next request, which comes soon if it comes.
    Between,
    /// Everything is written and our side is closed; waits for the client to close its own, so that no reset
    /// takes the last bytes away (RFC 9112 §9.6).
    Lingering,
}

/// Why a held connection ends; a label of `perihelion_comet_streams_closed_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    Client,
    Answered,
    Timeout,
    Slow,
    ChannelClosed,
    Drain,
    WriteError,
    Limit,
    Protocol,
    Revoked,
    Replaced,
    Listener,
}

impl Reason {
    pub(super) const ALL: [(Reason, &str); 12] = [
        (Reason::Client, "client"),
        (Reason::Answered, "answered"),
        (Reason::Timeout, "timeout"),
        (Reason::Slow, "slow"),
        (Reason::ChannelClosed, "channel_closed"),
        (Reason::Drain, "drain"),
        (Reason::WriteError, "write_error"),
        (Reason::Limit, "limit"),
        (Reason::Protocol, "protocol"),
        (Reason::Revoked, "revoked"),
        (Reason::Replaced, "replaced"),
        (Reason::Listener, "listener"),
    ];

    /// Why a socket broke: its client took nothing for too long, by the count of the system, or something else.
    pub(super) fn of_lost(error: &io::Error, otherwise: Reason) -> Reason {
        if error.kind() == io::ErrorKind::TimedOut { Reason::Slow } else { otherwise }
    }

    pub(super) fn word(self) -> &'static str {
        Reason::ALL[self as usize].1
    }
}

/// The channels of a connection, and its place in each one's list of members.
pub(super) enum Memberships {
    One { channel: ChannelId, place: u32 },
    Many(Box<Several>),
}

/// Rare enough to be a box away.
#[derive(Default)]
pub(super) struct Several {
    channels: Box<[ChannelId]>,
    places: Box<[u32]>,
}

impl Memberships {
    pub(super) fn channels(&self) -> &[ChannelId] {
        match self {
            Memberships::One { channel, .. } => std::slice::from_ref(channel),
            Memberships::Many(several) => &several.channels,
        }
    }

    /// Of these channels, in these places.
    pub(super) fn new(channels: &[ChannelId], places: &[u32]) -> Memberships {
        match (channels, places) {
            (&[channel], &[place]) => Memberships::One { channel, place },
            _ => Memberships::Many(Box::new(Several { channels: channels.into(), places: places.into() })),
        }
    }

    /// With one more, in this place.
    pub(super) fn and(&self, channel: ChannelId, place: u32) -> Memberships {
        let (channels, places): (Vec<_>, Vec<_>) = self.pairs().chain([(channel, place)]).unzip();
        Memberships::new(&channels, &places)
    }

    /// Without one, and the place that it had there.
    pub(super) fn without(&self, left: ChannelId) -> Option<(Memberships, u32)> {
        let place = self.pairs().find(|(channel, _)| *channel == left)?.1;
        let (channels, places): (Vec<_>, Vec<_>) =
            self.pairs().filter(|(channel, _)| *channel != left).unzip();
        Some((Memberships::new(&channels, &places), place))
    }

    /// None: it has left them.
    pub(super) fn none() -> Memberships {
        Memberships::Many(Box::default())
    }

    /// Every channel with the place in it.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (ChannelId, u32)> {
        let places = match self {
            Memberships::One { place, .. } => std::slice::from_ref(place),
            Memberships::Many(several) => &several.places,
        };
        self.channels().iter().copied().zip(places.iter().copied())
    }

    /// Takes note that another place in a channel is its own now.
    pub(super) fn move_to(&mut self, channel: ChannelId, place: u32) {
        if let Some(own) = self.place(channel) {
            *own = place;
        }
    }

    /// The place in a channel that it is a member of.
    fn place(&mut self, wanted: ChannelId) -> Option<&mut u32> {
        match self {
            Memberships::One { channel, place } => (*channel == wanted).then_some(place),
            Memberships::Many(several) => {
                let index = several.channels.iter().position(|channel| *channel == wanted)?;
                several.places.get_mut(index)
            }
        }
    }
}

/// How far a write came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Everything is with the kernel.
    Done,
    /// The socket is full; the rest is pending.
    Blocked,
}

/// What a client said while it was held.
#[derive(Debug)]
pub(super) enum Heard {
    /// Nothing that matters now; kept for later.
    Kept,
    /// More than the bound.
    TooMuch,
    /// It left.
    Left,
    /// Its socket broke.
    Lost(io::Error),
}

impl Held {
    pub(super) fn new(
        wire: Wire,
        transport: TransportId,
        framing: Framing,
        memberships: Memberships,
        position: Sequence,
        cold: Box<Cold>,
    ) -> Held {
        let (pending, offset, stage) = (None, 0, Stage::Live);
        let (behind, armed, said_goodbye) = (false, false, false);
        let (wrote_at, events, bytes) = (cold.since, 0, 0);
        #[rustfmt::skip]
        let held = Held {
            wire, pending, offset, transport, framing, stage, behind, armed, said_goodbye, position,
            memberships, wrote_at, events, bytes, cold,
        };
        held
    }

    /// Whether the socket is full.
    pub(super) fn blocked(&self) -> bool {
        self.pending.is_some()
    }

    /// Whether its client has been sent as much as it can bear in one stream.
    pub(super) fn is_worn_out(&self) -> bool {
        transport::transport(self.transport).bytes_max().is_some_and(|most| self.bytes >= most)
    }

    /// Tick since which signs of life are waited for.
    pub(super) fn silent_since(&self) -> u32 {
        match &self.cold.manner {
            Manner::Stream(Some(companion)) => match &companion.grip {
                Some(grip) if grip.beats() => grip.beat_at,
                _ => self.wrote_at,
            },
            _ => self.wrote_at,
        }
    }

    /// Gives up what is pending, since the connection is cut.
    pub(super) fn forget_pending(&mut self) {
        self.pending = None;
    }

    /// Writes a frame that carries so many events. Nothing is pending before.
    pub(super) fn send(
        &mut self,
        frame: &Frame,
        events: usize,
        scratch: &mut Scratch,
    ) -> io::Result<Progress> {
        debug_assert!(!self.blocked());
        let bytes = frame.bytes(self.framing);
        self.events = self.events.saturating_add(events as u32);
        let written = taken(self.wire.write(bytes, scratch))?;
        self.bytes += written as u64;
        if written == bytes.len() {
            return Ok(Progress::Done);
        }
        self.pending = Some(frame.clone());
        self.offset = written as u32;
        Ok(Progress::Blocked)
    }

    /// Writes a head of its own and a body that others share.
    pub(super) fn send_answer(
        &mut self,
        head: Vec<u8>,
        body: &Frame,
        scratch: &mut Scratch,
    ) -> io::Result<Progress> {
        debug_assert!(!self.blocked());
        let body = body.payload();
        let written = taken(self.wire.write2(&head, body, scratch))?;
        self.bytes += written as u64;
        if written == head.len() + body.len() {
            return Ok(Progress::Done);
        }
        self.offset = written as u32;
        self.pending = Some(Frame::raw([&head, body].concat()));
        Ok(Progress::Blocked)
    }

    /// Goes on with what is pending.
    pub(super) fn flush(&mut self, scratch: &mut Scratch) -> io::Result<Progress> {
        let Some(frame) = &self.pending else { return Ok(Progress::Done) };
        let rest = &frame.bytes(self.framing)[self.offset as usize..];
        let written = taken(self.wire.write(rest, scratch))?;
        self.bytes += written as u64;
        if written < rest.len() {
            self.offset += written as u32;
            return Ok(Progress::Blocked);
        }
        self.pending = None;
        Ok(Progress::Done)
    }

    /// Whether its hold is over.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Between | Stage::Lingering)
    }

    /// Reads until the socket has no more; what the client says is kept up to `limit` bytes.
    pub(super) fn hear(&mut self, limit: usize, buffer: &mut [u8], scratch: &mut Scratch) -> Heard {
        loop {
            match self.wire.read(buffer, scratch) {
                Ok(0) => return Heard::Left,
                Ok(_) if self.stage == Stage::Lingering => {}
                Ok(read) if self.cold.read_ahead.len() + read > limit => return Heard::TooMuch,
                Ok(read) => self.cold.read_ahead.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Heard::Kept,
                Err(error) => return Heard::Lost(error),
            }
        }
    }
}

/// Bytes that the socket took: none where it is full.
fn taken(written: io::Result<usize>) -> io::Result<usize> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        written => written,
    }
}
