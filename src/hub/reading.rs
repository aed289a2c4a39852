//! What taps do with the hub's state: readers come, catch up and leave; what is new is taken.

use std::mem;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use crate::message::{ChannelName, Entry, Gap, Sequence, Start};

use super::channel::{Channel, TapId};
use super::cursor::{Begin, Extent, merge};
use super::overheard::Overheard;
use super::policy::Slow;
use super::state::{State, TapState, Wake};
use super::tap::{Joined, Missed, News, Turn};
use super::{ChannelId, Refused};

impl State {
    pub(super) fn attach(&mut self, wake: Wake) -> TapId {
        self.taps.insert(TapState { wake, dirty: Vec::new(), overheard: Overheard::default() })
    }

    /// Takes all readers of a tap off their channels.
    pub(super) fn detach(&mut self, tap: TapId) {
        self.taps.remove(tap);
        self.eavesdroppers.retain(|eavesdropper| *eavesdropper != tap);
        let ids: Vec<ChannelId> = self.directory.ids().collect();
        for id in ids {
            let Some(channel) = self.directory.get_mut(id) else { continue };
            if let Some(reading) = channel.remove_tap(tap) {
                self.metrics.comet_subscriptions.sub(i64::from(reading.readers));
                self.vanish_if_unused(id);
            }
        }
        self.count_kept();
    }

    pub(super) fn join(
        &mut self,
        tap: TapId,
        wishes: &[(ChannelName, Start)],
        limit_bytes: usize,
        now: Instant,
        backlog: &mut Vec<Arc<Entry>>,
        gaps: &mut Vec<Gap>,
    ) -> Result<Joined, Refused> {
        let opened = self.open_all(wishes.iter().map(|(name, _)| name), now);
        let opened = opened.map_err(|refused| self.counted(refused))?;
        if let Err(refused) = self.check_subscribers(&opened) {
            opened.into_iter().for_each(|id| self.settle(id, now));
            return Err(self.counted(refused));
        }
        self.trim(&opened, now);
        let head = self.head();
        let mut channels = Vec::with_capacity(opened.len());
        let mut sources = Vec::with_capacity(opened.len());
        let mut extent = Extent { at_least: Sequence(0), upto: head.sequence, limit_bytes };
        for (&id, (_, start)) in opened.iter().zip(wishes) {
            if channels.contains(&id) {
                continue;
            }
            let channel = self.directory.get(id).expect("a channel that was opened for this reader is there");
            let begin = channel.begin(*start, self.shown(), &self.settings, now);
            let missed = channel.source(&begin);
            self.count_replay(&begin, missed.clone().next().is_none());
            gaps.extend(begin.gap(&channel.name, head));
            extent.at_least = extent.at_least.max(begin.after);
            sources.push(missed);
            channels.push(id);
        }
        // Who comes from another node may have more than this one: it gets what comes after that.
        extent.upto = extent.upto.max(extent.at_least);
        let before = backlog.len();
        let position = merge(&mut sources, extent, backlog);
        self.metrics.comet_replay_events.inc_by((backlog.len() - before) as u64);
        self.register(tap, &channels);
        Ok(Joined { channels, position, head: head.sequence, complete: position >= head.sequence })
    }

    /// Drops what is too old, so that nothing is read beyond its time however long ago a sweep came by.
    fn trim(&mut self, channels: &[ChannelId], now: Instant) {
        for &id in channels {
            if let Some(channel) = self.directory.get_mut(id) {
                channel.trim(&self.settings, now, &mut self.kept);
            }
        }
    }

    fn register(&mut self, tap: TapId, channels: &[ChannelId]) {
        for &id in channels {
            self.directory
                .get_mut(id)
                .expect("a channel that was opened for this reader is there")
                .add_reader(tap);
        }
        self.metrics.comet_subscriptions.add(channels.len() as i64);
        self.metrics.comet_channels.set(self.directory.len() as i64);
    }

    fn count_replay(&self, begin: &Begin, is_empty: bool) {
        let result = match (begin.hole.is_some(), is_empty) {
            (false, true) => return,
            (false, false) => &self.replays.hit,
            (true, true) => &self.replays.miss,
            (true, false) => &self.replays.partial,
        };
        result.inc();
    }

    pub(super) fn leave(&mut self, tap: TapId, channels: &[ChannelId], now: Instant) {
        for &id in channels {
            let Some(channel) = self.directory.get_mut(id) else { continue };
            channel.remove_reader(tap);
            self.metrics.comet_subscriptions.dec();
            if channel.taps.is_empty() {
                self.settle(id, now);
            }
        }
        self.count_kept();
    }

    pub(super) fn take(&mut self, tap: TapId, turn: &mut Turn, now: Instant) {
        turn.clear();
        turn.head = self.head().sequence;
        let mut dirty = mem::take(&mut self.taps[tap].dirty);
        for id in dirty.drain(..) {
            self.take_channel(tap, id, turn);
            self.settle(id, now);
        }
        self.taps[tap].dirty = dirty;
        self.taps[tap].overheard.take(&mut turn.overheard);
    }

    fn take_channel(&mut self, tap: TapId, id: ChannelId, turn: &mut Turn) {
        let Some(channel) = self.directory.get_mut(id) else { return };
        let Some(reading) = channel.reading(tap) else { return };
        if !mem::take(&mut reading.dirty) {
            return;
        }
        if let Some(first) = reading.untaken.take() {
            turn.news.push(news(id, channel, first, &mut turn.entries));
        }
        if channel.ended {
            turn.ended.push(id);
        }
    }

    pub(super) fn missed(
        &mut self,
        channels: &[ChannelId],
        places: Range<Sequence>,
        limit_bytes: usize,
        now: Instant,
        entries: &mut Vec<Arc<Entry>>,
        gaps: &mut Vec<Gap>,
    ) -> Missed {
        self.trim(channels, now);
        let after = self.position(places.start);
        let mut extent = Extent { at_least: places.start, upto: places.end, limit_bytes };
        let mut sources = Vec::with_capacity(channels.len());
        let mut too_slow = false;
        for channel in channels.iter().filter_map(|&id| self.directory.get(id)) {
            let begin = channel.resume(after);
            gaps.extend(begin.gap(&channel.name, self.head()));
            too_slow |=
                begin.hole.is_some() && self.settings.policies.policy(channel.rule()).slow == Slow::Close;
            extent.at_least = extent.at_least.max(begin.after);
            sources.push(channel.source(&begin));
        }
        extent.upto = extent.upto.max(extent.at_least);
        Missed { reached: merge(&mut sources, extent, entries), too_slow }
    }

    pub(super) fn name(&self, id: ChannelId) -> ChannelName {
        self.directory.get(id).expect("a tap asks for the names of channels that it reads").name.clone()
    }
}

/// The messages of a channel from the first that a tap has not taken.
fn news(id: ChannelId, channel: &Channel, first: Sequence, entries: &mut Vec<Arc<Entry>>) -> News {
    let start = entries.len();
    entries.extend(channel.after(Sequence(first.0 - 1)).cloned());
    let dropped = channel.past().dropped;
    News { channel: id, entries: start..entries.len(), lost_upto: (dropped >= first).then_some(dropped) }
}
