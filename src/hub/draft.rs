//! What publishers have said and nobody has been shown yet: checked and numbered, so that a store can keep it.
//!
//! A draft lies beside the hub's state and changes nothing in it; where the store refuses it, nothing has happened.
//! Only one draft is on its way at a time, and deletions wait for it, so what was true when it was planned is true
//! when it is applied.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use crate::message::{Batch, ChannelName, Expected, Message, Sequence};
use crate::store::Numbered;

use super::channel::Channel;
use super::quotas::Demands;
use super::state::{State, Wake};
use super::{ChannelId, Receipt, Refused};

/// Messages behind the head.
pub(super) struct Draft {
    pub(super) messages: Vec<Numbered>,
    head: Sequence,
    ids: HashMap<(ChannelName, Box<str>), Sequence>,
    /// Last messages of channels, and channels that don't exist yet, as of [`Draft::index`].
    last: HashMap<ChannelName, Sequence>,
    fresh: HashSet<ChannelName>,
    indexed: usize,
    /// What it takes of rules.
    pub(super) demands: Demands,
}

impl Draft {
    /// Nothing, behind this place.
    pub(super) fn after(head: Sequence) -> Draft {
        Draft {
            messages: Vec::new(),
            head,
            ids: HashMap::new(),
            last: HashMap::new(),
            fresh: HashSet::new(),
            indexed: 0,
            demands: Demands::new(),
        }
    }

    fn push(&mut self, message: Message) -> Sequence {
        self.head = self.head.next();
        if let Some(id) = &message.id {
            self.ids.insert((message.channel.clone(), id.clone()), self.head);
        }
        self.messages.push(Numbered { sequence: self.head, message });
        self.head
    }

    /// Makes what was planned known to the batches that are planned behind it.
    pub(super) fn index(&mut self) {
        for Numbered { sequence, message } in &self.messages[self.indexed..] {
            self.last.insert(message.channel.clone(), *sequence);
            self.fresh.insert(message.channel.clone());
        }
        self.indexed = self.messages.len();
    }

    fn find_id(&self, message: &Message) -> Option<Sequence> {
        if self.ids.is_empty() {
            return None;
        }
        self.ids.get(&(message.channel.clone(), message.id.clone()?)).copied()
    }
}

impl State {
    /// Adds a whole batch to a draft, or nothing of it.
    pub(super) fn plan(
        &mut self,
        batch: Batch,
        draft: &mut Draft,
        now: Instant,
    ) -> Result<Vec<Receipt>, Refused> {
        self.check_expected(&batch, draft)?;
        self.check_room(&batch, draft, now)?;
        self.check_quotas(&batch, draft, now)?;
        Ok(batch.messages.into_iter().map(|message| self.plan_one(message, draft)).collect())
    }

    fn plan_one(&self, message: Message, draft: &mut Draft) -> Receipt {
        let channel = self.directory.find(&message.channel).and_then(|id| self.directory.get(id));
        let subscribers = channel.map_or(0, Channel::subscribers);
        match self.known_id(&message, draft) {
            Some(first) => Receipt { position: self.position(first), subscribers, duplicate: true },
            None => Receipt { position: self.position(draft.push(message)), subscribers, duplicate: false },
        }
    }

    pub(super) fn known_id(&self, message: &Message, draft: &Draft) -> Option<Sequence> {
        let id = message.id.as_deref()?;
        self.ids.find(&message.channel, id).or_else(|| draft.find_id(message))
    }

    /// What publishers believe to be the last message of a channel, before anything of their batch. A message that is
    /// known already is answered as before, whatever came behind it.
    fn check_expected(&self, batch: &Batch, draft: &Draft) -> Result<(), Refused> {
        for &Expected { item, last: expected } in &batch.expected {
            let Some(message) = batch.messages.get(item) else { continue };
            let planned = draft.last.get(&message.channel).copied();
            let last = planned.or_else(|| self.last_of(&message.channel)).map(|place| self.position(place));
            if last != expected && self.known_id(message, draft).is_none() {
                return Err(Refused::Unexpected { item, last });
            }
        }
        Ok(())
    }

    /// The place of a channel's last message, kept or not, as long as it is known.
    fn last_of(&self, name: &ChannelName) -> Option<Sequence> {
        match self.directory.find(name).and_then(|id| self.directory.get(id)) {
            Some(channel) => channel.last_known(),
            None => self.tombstones.past(name).map(|past| past.dropped),
        }
    }

    /// Whether a batch finds room behind others that a log will number, of which the draft knows what they take of rules.
    pub(super) fn has_room(&mut self, batch: &Batch, draft: &mut Draft, now: Instant) -> Result<(), Refused> {
        self.check_room(batch, draft, now)?;
        self.check_quotas(batch, draft, now)
    }

    /// New channels have to find room, if need be that of others which nobody would miss.
    fn check_room(&mut self, batch: &Batch, draft: &Draft, now: Instant) -> Result<(), Refused> {
        let limit = self.settings.channels;
        if self.channels_with(batch, draft) > limit {
            self.make_room(None, now);
            if self.channels_with(batch, draft) > limit {
                return Err(self.counted(Refused::TooManyChannels { limit }));
            }
        }
        Ok(())
    }

    /// Channels that there would be. Those that are there already cost nothing: they may be more than the limit.
    fn channels_with(&self, batch: &Batch, draft: &Draft) -> usize {
        let is_fresh = |name: &&ChannelName| self.directory.find(name).is_none();
        let fresh: HashSet<&ChannelName> =
            batch.messages.iter().map(|message| &message.channel).filter(is_fresh).collect();
        if fresh.is_empty() {
            return 0;
        }
        let planned = draft.fresh.iter().filter(is_fresh).filter(|name| !fresh.contains(name)).count();
        self.directory.len() + fresh.len() + planned
    }

    /// Keeps and hands out a draft; the wakes are to be called without the lock.
    pub(super) fn apply(&mut self, draft: Draft, now: Instant) -> Vec<Wake> {
        self.hand_out_all(draft.messages.into_iter().map(|numbered| (now, numbered)), now)
    }

    /// The same with messages that were published when they say.
    pub(super) fn hand_out_all(
        &mut self,
        messages: impl ExactSizeIterator<Item = (Instant, Numbered)>,
        now: Instant,
    ) -> Vec<Wake> {
        let before = self.head().sequence;
        let mut wakes = Vec::new();
        let mut channels: Vec<ChannelId> = Vec::with_capacity(messages.len());
        for (published, Numbered { sequence, message }) in messages {
            let channel = self.open_anyway(&message.channel);
            channels.push(channel);
            if self.directory.get(channel).is_some_and(|channel| channel.subscribers() == 0) {
                self.metrics.comet_publish_no_subscriber.inc();
            }
            let entry = self.append(channel, sequence, message, published);
            self.metrics.comet_messages.inc();
            self.metrics.comet_publish_bytes.inc_by(entry.message.data.bytes().len() as u64);
            if let Some(id) = &entry.message.id {
                self.remember_id(&entry.message.channel, id, sequence);
            }
            self.hand_out(channel, sequence, &mut wakes);
            self.let_overhear(&entry, &mut wakes);
        }
        channels.into_iter().for_each(|channel| self.settle(channel, now));
        self.evict(before);
        self.count_kept();
        wakes
    }
}
