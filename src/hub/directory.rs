//! Where each channel is: by id, by name, and in the order of names.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;

use slab::Slab;

use crate::message::ChannelName;

use super::ChannelId;
use super::channel::Channel;

/// All channels. A deleted one has an id but no name until its readers have left.
#[derive(Default)]
pub(super) struct Directory {
    channels: Slab<Channel>,
    ids: HashMap<ChannelName, ChannelId>,
    names: BTreeSet<ChannelName>,
}

impl Directory {
    /// Channels, deleted ones that still have readers included.
    pub(super) fn len(&self) -> usize {
        self.channels.len()
    }

    /// Ids are below this.
    pub(super) fn slots(&self) -> usize {
        self.channels.capacity()
    }

    /// The id of a name.
    pub(super) fn find(&self, name: &ChannelName) -> Option<ChannelId> {
        self.ids.get(name).copied()
    }

    /// Ids of the names after a name, in order.
    pub(super) fn ids_after(&self, after: Option<&ChannelName>) -> impl Iterator<Item = ChannelId> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.names.range::<ChannelName, _>((from, Bound::Unbounded)).filter_map(|name| self.find(name))
    }

    /// Puts a channel under its name, which must be free.
    pub(super) fn insert(&mut self, channel: Channel) -> ChannelId {
        let name = channel.name.clone();
        let id = ChannelId(u32::try_from(self.channels.insert(channel)).expect("fewer than 2^32 channels"));
        self.names.insert(name.clone());
        self.ids.insert(name, id);
        id
    }

    /// Frees a name; the channel stays.
    pub(super) fn free_name(&mut self, name: &ChannelName) {
        self.ids.remove(name);
        self.names.remove(name);
    }

    /// Takes a channel out; its name, unless freed before, is free then.
    pub(super) fn remove(&mut self, id: ChannelId) -> Channel {
        let channel = self.channels.remove(id.0 as usize);
        if !channel.ended {
            self.free_name(&channel.name);
        }
        channel
    }

    /// The channel with an id, if there still is one.
    pub(super) fn get(&self, id: ChannelId) -> Option<&Channel> {
        self.channels.get(id.0 as usize)
    }

    /// The channel with an id, if there still is one.
    pub(super) fn get_mut(&mut self, id: ChannelId) -> Option<&mut Channel> {
        self.channels.get_mut(id.0 as usize)
    }

    /// Every channel's id.
    pub(super) fn ids(&self) -> impl Iterator<Item = ChannelId> {
        self.channels.iter().map(|(index, _)| ChannelId(index as u32))
    }
}
