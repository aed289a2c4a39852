//! Who is on which channel, with grace: connections and `now` in, joins and leaves out; pure.
//!
//! A member is a tag on a channel, however many connections it has there. It joins with the first of them. When the last
//! is gone it is still there for the grace of its rule, so that a page that is loaded anew, a poll's next turn and a lost
//! connection are no news; then it leaves. Invariant: a place is in use as long as somebody may give it back, so that
//! it is never another member's meanwhile.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use slab::Slab;

use super::rule::PresenceRule;
use crate::message::ChannelName;

/// All members of all channels, and what is to be told about them.
pub(super) struct Roster {
    rules: Vec<Watched>,
    rooms: HashMap<ChannelName, Room>,
    members: Slab<Seated>,
    tags: HashMap<Arc<str>, BTreeMap<ChannelName, usize>>,
    /// Members without a connection, by the end of their grace.
    due: BTreeSet<(Instant, usize)>,
}

/// A rule, and what waits to be told under it.
struct Watched {
    rule: PresenceRule,
    members: usize,
    /// By [`Way`].
    waiting: [Option<Waiting>; 2],
}

#[derive(Default)]
struct Waiting {
    changes: VecDeque<Change>,
    lost: u64,
}

/// A channel that has members.
struct Room {
    rule: usize,
    members: BTreeMap<Arc<str>, usize>,
}

/// A member on one channel.
struct Seated {
    channel: ChannelName,
    tag: Arc<str>,
    connections: usize,
    since: SystemTime,
    due: Option<Instant>,
}

/// What came of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entered {
    /// Its member has just joined.
    First(usize),
    /// Its member was there.
    Again(usize),
    /// There are too many members.
    Full,
    /// No rule watches the channel.
    Unwatched,
}

/// How news is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// As messages of a channel.
    Publish,
    /// Posted to the application.
    Post,
}

impl Way {
    /// Label of `perihelion_presence_lost_total`.
    pub fn word(self) -> &'static str {
        match self {
            Way::Publish => "publish",
            Way::Post => "post",
        }
    }
}

/// What has become of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It wasn't there before.
    Join,
    /// Its grace is over.
    Leave,
}

impl ChangeKind {
    /// As it is told.
    pub fn word(self) -> &'static str {
        match self {
            ChangeKind::Join => "join",
            ChangeKind::Leave => "leave",
        }
    }
}

/// A piece of news.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What has happened.
    pub kind: ChangeKind,
    /// Where.
    pub channel: ChannelName,
    /// The member's tag.
    pub member: Arc<str>,
    /// Members of the channel afterwards.
    pub members: usize,
    /// When.
    pub at: SystemTime,
}

/// Some news in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The news.
    pub list: Vec<Change>,
    /// What was dropped before these because too many waited.
    pub lost: u64,
}

/// A member as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its tag.
    pub tag: Arc<str>,
    /// Its connections on the channel; none while its grace lasts.
    pub connections: usize,
    /// When it joined.
    pub since: SystemTime,
}

/// Some members of a channel in the order of their tags.
#[derive(Debug, PartialEq, Eq)]
pub struct MemberPage {
    /// Members of the channel in all.
    pub count: usize,
    /// At most as many as were asked for.
    pub members: Vec<Member>,
    /// After which tag the next page begins, if there is one.
    pub next: Option<Arc<str>>,
}

impl Roster {
    pub(super) fn new(rules: Vec<PresenceRule>) -> Roster {
        let watched = |rule: PresenceRule| {
            let waiting = [rule.publish.is_some(), rule.post].map(|told| told.then(Waiting::default));
            Watched { rule, members: 0, waiting }
        };
        Roster {
            rules: rules.into_iter().map(watched).collect(),
            rooms: HashMap::new(),
            members: Slab::new(),
            tags: HashMap::new(),
            due: BTreeSet::new(),
        }
    }

    /// A connection has come. The place is to be given back by [`Roster::leave`].
    pub(super) fn enter(&mut self, channel: &ChannelName, tag: &str, at: SystemTime) -> Entered {
        let known = self.rooms.get(channel).and_then(|room| room.members.get(tag));
        if let Some(&place) = known {
            let seated = &mut self.members[place];
            seated.connections += 1;
            if let Some(due) = seated.due.take() {
                self.due.remove(&(due, place));
            }
            return Entered::Again(place);
        }
        let Some(rule) = self.rule_of(channel) else { return Entered::Unwatched };
        let Watched { rule: PresenceRule { members, all_members, .. }, members: taken, .. } =
            &self.rules[rule];
        let here = self.rooms.get(channel).map_or(0, |room| room.members.len());
        if here >= *members || taken >= all_members {
            return Entered::Full;
        }
        Entered::First(self.join(rule, channel, tag, at))
    }

    fn join(&mut self, rule: usize, channel: &ChannelName, tag: &str, at: SystemTime) -> usize {
        let tag = self.tags.get_key_value(tag).map_or_else(|| tag.into(), |(known, _)| known.clone());
        let (channel, since) = (channel.clone(), at);
        let seated = Seated { channel: channel.clone(), tag: tag.clone(), connections: 1, since, due: None };
        let place = self.members.insert(seated);
        let room = self.rooms.entry(channel.clone());
        let room = room.or_insert_with(|| Room { rule, members: BTreeMap::new() });
        room.members.insert(tag.clone(), place);
        let members = room.members.len();
        self.tags.entry(tag.clone()).or_default().insert(channel.clone(), place);
        self.rules[rule].members += 1;
        self.rules[rule].tell(&Change { kind: ChangeKind::Join, channel, member: tag, members, at });
        place
    }

    /// A connection is gone. True where its member is the next whose grace ends.
    pub(super) fn leave(&mut self, place: usize, now: Instant) -> bool {
        let seated = &mut self.members[place];
        seated.connections -= 1;
        if seated.connections > 0 {
            return false;
        }
        let rule = self.rooms[&seated.channel].rule;
        let due = now + self.rules[rule].rule.grace;
        seated.due = Some(due);
        self.due.insert((due, place));
        self.due.first() == Some(&(due, place))
    }

    /// When the next grace ends.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Members whose grace is over leave; gives their number.
    pub(super) fn advance(&mut self, now: Instant, at: SystemTime) -> usize {
        let mut gone = 0;
        while let Some(&(due, place)) = self.due.first().filter(|(due, _)| *due <= now) {
            self.due.remove(&(due, place));
            self.remove(place, at);
            gone += 1;
        }
        gone
    }

    fn remove(&mut self, place: usize, at: SystemTime) {
        let Seated { channel, tag, .. } = self.members.remove(place);
        if let Some(channels) = self.tags.get_mut(&tag) {
            channels.remove(&channel);
            if channels.is_empty() {
                self.tags.remove(&tag);
            }
        }
        let Some(room) = self.rooms.get_mut(&channel) else { return };
        room.members.remove(&tag);
        let (rule, members) = (room.rule, room.members.len());
        if members == 0 {
            self.rooms.remove(&channel);
        }
        self.rules[rule].members -= 1;
        self.rules[rule].tell(&Change { kind: ChangeKind::Leave, channel, member: tag, members, at });
    }

    pub(super) fn take(&mut self, rule: usize, way: Way, most: usize) -> Changes {
        let waiting = self.rules.get_mut(rule).and_then(|watched| watched.waiting[way as usize].as_mut());
        let Some(waiting) = waiting else { return Changes::default() };
        let count = waiting.changes.len().min(most);
        Changes { list: waiting.changes.drain(..count).collect(), lost: std::mem::take(&mut waiting.lost) }
    }

    pub(super) fn members(
        &self,
        channel: &ChannelName,
        after: Option<&str>,
        limit: usize,
    ) -> Option<MemberPage> {
        self.rule_of(channel)?;
        let Some(room) = self.rooms.get(channel) else {
            return Some(MemberPage { count: 0, members: Vec::new(), next: None });
        };
        let behind = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = room.members.range::<str, _>((behind, Bound::Unbounded)).map(|(_, place)| *place);
        let members: Vec<Member> = rest.by_ref().take(limit).map(|place| self.member(place)).collect();
        let next = rest.next().and(members.last()).map(|last| last.tag.clone());
        Some(MemberPage { count: room.members.len(), members, next })
    }

    pub(super) fn channels_of(&self, tag: &str) -> Vec<(ChannelName, Member)> {
        let channels = self.tags.get(tag).into_iter().flatten();
        channels.map(|(channel, place)| (channel.clone(), self.member(*place))).collect()
    }

    /// Whether nobody is anywhere, and nothing is kept for anybody.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let tables = self.members.is_empty() && self.rooms.is_empty() && self.tags.is_empty();
        tables && self.due.is_empty() && self.rules.iter().all(|watched| watched.members == 0)
    }

    fn member(&self, place: usize) -> Member {
        let Seated { tag, connections, since, .. } = &self.members[place];
        Member { tag: tag.clone(), connections: *connections, since: *since }
    }

    fn rule_of(&self, channel: &ChannelName) -> Option<usize> {
        let known = self.rooms.get(channel).map(|room| room.rule);
        known.or_else(|| self.rules.iter().position(|watched| watched.rule.watches(channel.as_str())))
    }
}

impl Watched {
    /// Puts a piece of news in line on each way. The oldest makes room, since the newest is what is so.
    fn tell(&mut self, change: &Change) {
        for waiting in self.waiting.iter_mut().flatten() {
            if waiting.changes.len() >= self.rule.queue {
                waiting.changes.pop_front();
                waiting.lost += 1;
            }
            waiting.changes.push_back(change.clone());
        }
    }
}
