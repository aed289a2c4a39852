//! A tap: the way from the hub to one thread of readers, and the turns that come out of it.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use crate::message::{ChannelName, Entry, Gap, Position, Sequence, Start};

use super::channel::TapId;
use super::{ChannelId, Hearsay, Hub, Refused};

/// The readers of one thread. Dropping it takes them all off their channels.
pub struct Tap {
    hub: Arc<Hub>,
    id: TapId,
}

/// A reader's registration, and how far its backlog goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// One for each name, in the order of the wishes; a name that was wished twice counts once, by its first wish.
    pub channels: Vec<ChannelId>,
    /// Everything up to here is in the backlog.
    pub position: Sequence,
    /// The hub's head of that moment. Turns need not bring what is not after it.
    pub head: Sequence,
    /// The position is that head. Otherwise turns serve the reader only once [`Tap::missed`] has brought it to
    /// both this head and that of the tap's last turn.
    pub complete: bool,
}

/// How far a reader that was behind has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missed {
    /// From where it goes on.
    pub reached: Sequence,
    /// A channel that it has a gap in closes those who are too slow.
    pub too_slow: bool,
}

/// What is new for a tap since its last turn: a consistent cut at `head`. Made once and filled again and again.
#[derive(Debug, Default)]
pub struct Turn {
    /// The last number given when the turn was taken; nothing in it is later.
    pub head: Sequence,
    /// Channels with new messages.
    pub news: Vec<News>,
    /// The new messages, those of each channel together and in order.
    pub entries: Vec<Arc<Entry>>,
    /// Channels that were deleted; their readers are to be ended, and to leave, after they got the news.
    pub ended: Vec<ChannelId>,
    /// New messages below the folders that the tap overhears.
    pub overheard: Hearsay,
}

/// New messages of one channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// The channel.
    pub channel: ChannelId,
    /// Which of the turn's entries are its own.
    pub entries: Range<usize>,
    /// Messages up to here were dropped before this tap could take them, because all channels together kept too
    /// much. A reader whose position is below it has a gap, which [`Tap::missed`] tells.
    pub lost_upto: Option<Sequence>,
}

impl Turn {
    /// The new messages of one channel, in order.
    pub fn entries(&self, news: &News) -> &[Arc<Entry>] {
        &self.entries[news.entries.clone()]
    }

    /// Lets go of the messages, keeping the room.
    pub fn clear(&mut self) {
        self.news.clear();
        self.entries.clear();
        self.ended.clear();
        self.overheard.entries.clear();
    }
}

impl Tap {
    pub(super) fn new(hub: Arc<Hub>, id: TapId) -> Tap {
        Tap { hub, id }
    }

    /// Registers one reader on each channel and appends what it missed, as one step against publishing.
    ///
    /// The backlog is in total order over all channels, the gaps belong before it. It is cut before its entries
    /// cost more than `limit_bytes` ([`Entry::cost_bytes`]), but not before the first, nor before the latest
    /// place at which one of the channels begins: a reader has one position for all of them.
    ///
    /// A later [`take`](Tap::take) may hand out entries up to the returned position again, because another
    /// reader of this tap still needs them: each reader passes over what is not after its own position.
    pub fn join(
        &mut self,
        wishes: &[(ChannelName, Start)],
        limit_bytes: usize,
        now: Instant,
        backlog: &mut Vec<Arc<Entry>>,
        gaps: &mut Vec<Gap>,
    ) -> Result<Joined, Refused> {
        self.hub.state.lock().join(self.id, wishes, limit_bytes, now, backlog, gaps)
    }

    /// The hub's head.
    pub fn head(&self) -> Position {
        self.hub.head()
    }

    /// The id of a channel's last message in GRIP; nothing where that isn't known, or the message is newer than `upto`.
    pub fn last_id(&self, name: &ChannelName, upto: Sequence) -> Option<Box<str>> {
        self.hub.state.lock().last_id(name, upto)
    }

    /// Takes one reader off each of the channels that its [`join`](Tap::join) returned.
    pub fn leave(&mut self, channels: &[ChannelId], now: Instant) {
        self.hub.state.lock().leave(self.id, channels, now);
    }

    /// From now on, turns bring what is published below a folder as well, whatever its channel: a name such as
    /// `/news/`, with a slash at its end. A tap that overhears is no reader: it keeps no channel alive, and what it
    /// missed is gone. Gives the place after which it hears everything. A folder that is overheard twice counts twice.
    pub fn overhear(&mut self, folder: &str) -> Sequence {
        self.hub.state.lock().overhear(self.id, folder)
    }

    /// Takes one [`overhear`](Tap::overhear) back.
    pub fn overhear_no_more(&mut self, folder: &str) {
        self.hub.state.lock().overhear_no_more(self.id, folder);
    }

    /// Everything new since the last turn, under one lock: every message up to the turn's head of channels that
    /// this tap reads and has not taken yet, and none after it. Replaces what was in the turn.
    pub fn take(&mut self, turn: &mut Turn, now: Instant) {
        self.hub.state.lock().take(self.id, turn, now);
    }

    /// What a reader that is behind gets next: entries of its channels after `after`, merged in order, and the
    /// gaps before them where windows have moved on.
    ///
    /// Ends at `upto`, or before the entries cost more than `limit_bytes` as in [`join`](Tap::join). Where a
    /// window begins only after `upto`, it goes on to that beginning, so that no gap is told twice.
    #[allow(clippy::too_many_arguments)] // Two of them are where the result goes.
    pub fn missed(
        &mut self,
        channels: &[ChannelId],
        after: Sequence,
        upto: Sequence,
        limit_bytes: usize,
        now: Instant,
        entries: &mut Vec<Arc<Entry>>,
        gaps: &mut Vec<Gap>,
    ) -> Missed {
        self.hub.state.lock().missed(channels, after..upto, limit_bytes, now, entries, gaps)
    }

    /// The channel with this name.
    pub fn find(&self, name: &ChannelName) -> Option<ChannelId> {
        self.hub.state.lock().directory.find(name)
    }

    /// The name of a channel that this tap has a reader on.
    pub fn name(&self, channel: ChannelId) -> ChannelName {
        self.hub.state.lock().name(channel)
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.hub.state.lock().detach(self.id);
    }
}
