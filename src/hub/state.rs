//! What the hub's lock guards, and what publishers and operators do with it.

use std::sync::Arc;
use std::time::Instant;

use prometheus::IntCounter;
use slab::Slab;

use crate::message::{Batch, ChannelName, Entry, Epoch, Message, Position, Sequence, Start};
use crate::metrics::Metrics;

use super::channel::{Channel, TapId};
use super::directory::Directory;
use super::draft::Draft;
use super::kept::Kept;
use super::overheard::Overheard;
use super::policy::RuleId;
use super::publisher_ids::PublisherIds;
use super::tombstones::Tombstones;
use super::{ChannelFacts, ChannelId, History, HubSettings, Page, Receipt, Refused, SLOTS_PER_LOCK};

/// Wakes the thread of a tap.
pub(super) type Wake = Arc<dyn Fn() + Send + Sync>;

/// Everything behind the lock.
pub(super) struct State {
    pub(super) settings: HubSettings,
    pub(super) metrics: Metrics,
    pub(super) directory: Directory,
    pub(super) kept: Kept,
    pub(super) taps: Slab<TapState>,
    /// Taps that overhear folders: few, and mostly none.
    pub(super) eavesdroppers: Vec<TapId>,
    epoch: Epoch,
    pub(super) head: Sequence,
    /// Other nodes have the same order, and may have shown what hasn't come here yet.
    pub(super) is_shared: bool,
    pub(super) tombstones: Tombstones,
    pub(super) ids: PublisherIds,
    /// The slot of the directory that the next sweep looks at.
    hand: usize,
    pub(super) replays: Replays,
}

/// Counters of subscriptions that began in the past, by what was still there.
pub(super) struct Replays {
    /// Everything.
    pub(super) hit: IntCounter,
    /// Something, after a gap.
    pub(super) partial: IntCounter,
    /// Nothing.
    pub(super) miss: IntCounter,
}

/// What the hub knows of a tap.
pub(super) struct TapState {
    pub(super) wake: Wake,
    /// Channels with something new, each once; those whose readers have left since are passed over.
    pub(super) dirty: Vec<ChannelId>,
    /// What it hears without being a reader.
    pub(super) overheard: Overheard,
}

/// Vanished channels that are remembered: at names of 30 bytes some 10 MiB.
const TOMBSTONES: usize = 65_536;

/// Ticks in which each channel is looked at once: what is too old is kept half a minute longer at most.
const TICKS_PER_ROUND: usize = 30;

impl State {
    pub(super) fn new(epoch: Epoch, settings: HubSettings, metrics: Metrics) -> State {
        let [hit, partial, miss] =
            ["hit", "partial", "miss"].map(|result| metrics.comet_replays.with_label_values(&[result]));
        let mut kept = Kept::default();
        kept.clear_tallies(settings.policies.rules());
        State {
            settings,
            metrics,
            directory: Directory::default(),
            kept,
            taps: Slab::new(),
            eavesdroppers: Vec::new(),
            epoch,
            head: Sequence(0),
            is_shared: false,
            tombstones: Tombstones::new(TOMBSTONES),
            ids: PublisherIds::default(),
            hand: 0,
            replays: Replays { hit, partial, miss },
        }
    }

    /// Takes new settings. Every channel looks for its rule anew, where rules have changed.
    pub(super) fn reconfigure(&mut self, settings: HubSettings) {
        let has_changed = self.settings.policies != settings.policies;
        self.settings = settings;
        if !has_changed {
            return;
        }
        let policies = &self.settings.policies;
        self.kept.clear_tallies(0);
        let ids: Vec<ChannelId> = self.directory.ids().collect();
        for &id in &ids {
            if let Some(channel) = self.directory.get_mut(id) {
                channel.set_policies(policies, &mut self.kept);
            }
        }
        self.kept.clear_tallies(policies.rules());
        for channel in ids.iter().filter_map(|&id| self.directory.get(id)) {
            if let Some(tally) = self.kept.tally_mut(channel.rule()) {
                tally.channels += 1;
                tally.bytes += channel.bytes();
            }
        }
    }

    /// The last position given.
    pub(super) fn head(&self) -> Position {
        self.position(self.head)
    }

    /// The last position that anybody can have been shown.
    pub(super) fn shown(&self) -> Position {
        let last = if self.is_shared { Sequence(u64::MAX) } else { self.head };
        self.position(last)
    }

    /// A place in this store's order as a position.
    pub(super) fn position(&self, sequence: Sequence) -> Position {
        Position { epoch: self.epoch, sequence }
    }

    /// Publishes a batch without a store; the wakes are to be called without the lock.
    pub(super) fn publish(
        &mut self,
        batch: Batch,
        now: Instant,
    ) -> Result<(Vec<Receipt>, Vec<Wake>), Refused> {
        let mut draft = Draft::after(self.head);
        let receipts = self.plan(batch, &mut draft, now)?;
        Ok((receipts, self.apply(draft, now)))
    }

    /// Keeps a message at its place, which is the head from now on.
    pub(super) fn append(
        &mut self,
        id: ChannelId,
        sequence: Sequence,
        message: Message,
        published: Instant,
    ) -> Arc<Entry> {
        self.head = sequence;
        let position = self.head();
        let channel = self.directory.get_mut(id).expect("a channel that was just opened is there");
        let entry = Arc::new(Entry::new(position, channel.next_ordinal(), published, message));
        channel.push(Arc::clone(&entry), &mut self.kept);
        self.kept.add(&entry, id, channel.rule());
        entry
    }

    /// Remembers a publisher's id, for which the oldest may have to go.
    pub(super) fn remember_id(&mut self, channel: &ChannelName, id: &str, sequence: Sequence) {
        let forgotten = self.ids.remember(channel, id, sequence, self.settings.publisher_ids);
        self.metrics.comet_publisher_ids_forgotten.inc_by(forgotten as u64);
    }

    /// Marks a message as new for each tap that reads its channel.
    pub(super) fn hand_out(&mut self, id: ChannelId, sequence: Sequence, wakes: &mut Vec<Wake>) {
        let Some(channel) = self.directory.get_mut(id) else { return };
        for reading in &mut channel.taps {
            reading.untaken.get_or_insert(sequence);
            if !reading.dirty {
                reading.dirty = true;
                self.taps[reading.tap].mark(id, wakes);
            }
        }
    }

    /// The channels of these names, made where they are missing, if need be in the place of others: all or none.
    pub(super) fn open_all<'a>(
        &mut self,
        names: impl Iterator<Item = &'a ChannelName> + Clone,
        now: Instant,
    ) -> Result<Vec<ChannelId>, Refused> {
        self.try_open_all(names.clone(), now).or_else(|_| self.try_open_all(names, now))
    }

    /// Makes room for another try where there is none.
    fn try_open_all<'a>(
        &mut self,
        names: impl Iterator<Item = &'a ChannelName> + Clone,
        now: Instant,
    ) -> Result<Vec<ChannelId>, Refused> {
        let mut opened = Vec::with_capacity(names.size_hint().0);
        for name in names {
            match self.open(name) {
                Ok(id) => opened.push(id),
                Err(refused) => {
                    opened.into_iter().for_each(|id| self.settle(id, now));
                    let is_of_rule = matches!(refused, Refused::RuleChannels { .. });
                    self.make_room(is_of_rule.then(|| self.settings.policies.rule_of(name)), now);
                    return Err(refused);
                }
            }
        }
        Ok(opened)
    }

    fn open(&mut self, name: &ChannelName) -> Result<ChannelId, Refused> {
        if let Some(id) = self.directory.find(name) {
            return Ok(id);
        }
        if self.directory.len() >= self.settings.channels {
            return Err(Refused::TooManyChannels { limit: self.settings.channels });
        }
        self.check_rule_channels(name)?;
        Ok(self.open_anyway(name))
    }

    /// The channel of a name, made where it is missing, though there may be too many.
    pub(super) fn open_anyway(&mut self, name: &ChannelName) -> ChannelId {
        self.directory.find(name).unwrap_or_else(|| {
            let past = self.tombstones.raise(name);
            self.insert(Channel::new(name.clone(), past, &self.settings.policies))
        })
    }

    pub(super) fn insert(&mut self, channel: Channel) -> ChannelId {
        if let Some(tally) = self.kept.tally_mut(channel.rule()) {
            tally.channels += 1;
        }
        self.directory.insert(channel)
    }

    /// Drops what a channel need not keep, and the channel itself where nobody uses it.
    pub(super) fn settle(&mut self, id: ChannelId, now: Instant) {
        let Some(channel) = self.directory.get_mut(id) else { return };
        channel.trim(&self.settings, now, &mut self.kept);
        self.vanish_if_unused(id);
    }

    pub(super) fn vanish_if_unused(&mut self, id: ChannelId) {
        if self.directory.get(id).is_some_and(Channel::is_unused) {
            let channel = self.directory.remove(id);
            if let Some(tally) = self.kept.tally_mut(channel.rule()) {
                tally.channels -= 1;
            }
            if !channel.ended {
                let past = *channel.past();
                self.tombstones.bury(channel.name, past);
            }
        }
    }

    /// Drops the oldest messages, up to `last`, while all of them together cost too much.
    pub(super) fn evict(&mut self, last: Sequence) {
        while self.kept.bytes() > self.settings.history_bytes
            && let Some(place) = self.kept.pop_oldest(last)
        {
            let Some(channel) = self.directory.get_mut(place.channel) else { continue };
            if channel.oldest() == Some(place.sequence) {
                channel.drop_oldest(&mut self.kept);
                self.metrics.comet_history_evicted.inc();
                self.vanish_if_unused(place.channel);
            }
        }
        let directory = &self.directory;
        self.kept.compact(|place| {
            directory.get(place.channel).is_some_and(|channel| channel.keeps(place.sequence))
        });
    }

    /// Channels that one tick looks at.
    pub(super) fn slots_per_tick(&self) -> usize {
        self.directory.slots().min(self.directory.slots() / TICKS_PER_ROUND + SLOTS_PER_LOCK)
    }

    /// Looks at the next channels for what is too old.
    pub(super) fn sweep(&mut self, slots: usize, now: Instant) {
        for _ in 0..slots.min(self.directory.slots()) {
            let id = self.next_slot();
            self.settle(id, now);
        }
        self.count_kept();
    }

    /// Gives up channels that have neither readers nor history, though someone may be about to come back to
    /// them: their tombstones tell those what is missing. With a rule only those of that. Looks at a bounded number.
    pub(super) fn make_room(&mut self, of: Option<RuleId>, now: Instant) {
        for _ in 0..SLOTS_PER_LOCK.min(self.directory.slots()) {
            let id = self.next_slot();
            let Some(channel) = self.directory.get_mut(id) else { continue };
            if of.is_some_and(|rule| channel.rule() != rule) {
                continue;
            }
            if channel.taps.is_empty() && channel.history(&self.settings, now).len() == 0 {
                channel.drop_all(&mut self.kept);
                self.vanish_if_unused(id);
            }
        }
        self.count_kept();
    }

    fn next_slot(&mut self) -> ChannelId {
        self.hand = (self.hand + 1) % self.directory.slots();
        ChannelId(self.hand as u32)
    }

    /// Deletes a channel: whether it had readers or history, and whom to wake without the lock.
    pub(super) fn delete(&mut self, name: &ChannelName, now: Instant) -> (bool, Vec<Wake>) {
        let existed = self.facts(name, now).is_some();
        let mut wakes = Vec::new();
        self.ids.forget(name);
        if let Some(id) = self.directory.find(name) {
            self.end(id, &mut wakes);
            self.settle(id, now);
            self.count_kept();
        }
        (existed, wakes)
    }

    /// Separates a channel from its name; its taps are told.
    fn end(&mut self, id: ChannelId, wakes: &mut Vec<Wake>) {
        let Some(channel) = self.directory.get_mut(id) else { return };
        channel.ended = true;
        for reading in channel.taps.iter_mut().filter(|reading| !reading.dirty) {
            reading.dirty = true;
            self.taps[reading.tap].mark(id, wakes);
        }
        let (name, past) = (channel.name.clone(), channel.past_without_window());
        self.directory.free_name(&name);
        self.tombstones.bury(name, past);
    }

    /// The id of a channel's last message, as long as it has readers and the message is no newer than this.
    pub(super) fn last_id(&self, name: &ChannelName, upto: Sequence) -> Option<Box<str>> {
        let channel = self.directory.get(self.directory.find(name)?)?;
        let newest =
            channel.newest().filter(|newest| channel.subscribers() > 0 && newest.sequence() <= upto)?;
        newest.message.forms.as_ref()?.id.clone()
    }

    pub(super) fn facts(&self, name: &ChannelName, now: Instant) -> Option<ChannelFacts> {
        self.facts_of(self.directory.get(self.directory.find(name)?)?, now)
    }

    fn facts_of(&self, channel: &Channel, now: Instant) -> Option<ChannelFacts> {
        let mut history = channel.history(&self.settings, now);
        let facts = ChannelFacts {
            name: channel.name.clone(),
            subscribers: channel.subscribers(),
            messages: history.len(),
            first: history.clone().next().map(|entry| entry.position),
            last: history.next_back().map(|entry| entry.position),
        };
        (facts.subscribers > 0 || facts.messages > 0).then_some(facts)
    }

    /// Channels after a name. Those that are about to vanish are passed over, a bounded number for one page.
    pub(super) fn page(&self, after: Option<&ChannelName>, limit: usize, now: Instant) -> Page {
        let mut page = Page { channels: Vec::new(), next: None };
        let mut last = after;
        for (looks, id) in self.directory.ids_after(after).enumerate() {
            if page.channels.len() == limit || looks == limit + SLOTS_PER_LOCK {
                page.next = last.cloned();
                break;
            }
            let Some(channel) = self.directory.get(id) else { continue };
            last = Some(&channel.name);
            page.channels.extend(self.facts_of(channel, now));
        }
        page
    }

    /// What a channel keeps from a start on.
    pub(super) fn history(
        &self,
        name: &ChannelName,
        start: Start,
        limit: usize,
        now: Instant,
    ) -> Option<History> {
        self.facts(name, now)?;
        let channel = self.directory.get(self.directory.find(name)?)?;
        let begin = channel.begin(start, self.shown(), &self.settings, now);
        let mut kept = channel.source(&begin);
        let entries: Vec<_> = kept.by_ref().take(limit).cloned().collect();
        let more = kept.next().is_some();
        let reached = entries.last().map_or(self.position(begin.after), |entry| entry.position);
        let position = if more { reached } else { self.position(self.head.max(begin.after)) };
        Some(History { entries, gap: begin.gap(name, self.head()), more, position })
    }

    pub(super) fn count_kept(&self) {
        self.metrics.comet_channels.set(self.directory.len() as i64);
        self.metrics.comet_history_bytes.set(self.kept.bytes() as i64);
        self.metrics.comet_history_events.set(self.kept.entries() as i64);
        self.metrics.comet_publisher_ids.set(self.ids.len() as i64);
    }
}

impl TapState {
    /// One more channel with something new. The first news wake the tap.
    fn mark(&mut self, channel: ChannelId, wakes: &mut Vec<Wake>) {
        self.wake_once(wakes);
        self.dirty.push(channel);
    }

    /// Wakes the tap unless it has been since its last turn; to be called before it has something.
    pub(super) fn wake_once(&self, wakes: &mut Vec<Wake>) {
        if self.dirty.is_empty() && self.overheard.is_empty() {
            wakes.push(Arc::clone(&self.wake));
        }
    }
}
