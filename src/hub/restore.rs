//! The hub's state as a store has kept it.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

use crate::message::ChannelName;
use crate::metrics::Metrics;
use crate::store::{Past, Recovered};

use super::HubSettings;
use super::channel::Channel;
use super::state::State;

impl State {
    /// Channels with what they keep and what is known of the rest. What has become too old meanwhile goes.
    pub(super) fn restore(
        recovered: Recovered,
        settings: HubSettings,
        metrics: Metrics,
        now: Instant,
        at: SystemTime,
    ) -> State {
        let Recovered { epoch, head, forgotten, channels, messages, ids } = recovered;
        let mut state = State::new(epoch, settings, metrics);
        state.tombstones.forget_upto(forgotten);
        let mut pasts: HashMap<ChannelName, Past> = channels.into_iter().collect();
        for (published, numbered) in messages {
            let name = &numbered.message.channel;
            let channel = state.directory.find(name).unwrap_or_else(|| {
                let past = pasts.remove(name).unwrap_or(Past::unknown_upto(forgotten));
                state.insert(Channel::new(name.clone(), past, &state.settings.policies))
            });
            // A clock that was set back makes a message new, never older than it is.
            let age = at.duration_since(published).unwrap_or(Duration::ZERO);
            let published = now.checked_sub(age).unwrap_or(now);
            state.append(channel, numbered.sequence, numbered.message, published);
        }
        pasts.into_iter().for_each(|(name, past)| state.tombstones.bury(name, past));
        for (channel, id, sequence) in ids {
            state.remember_id(&channel, &id, sequence);
        }
        state.head = head;
        let channels: Vec<_> = state.directory.ids().collect();
        channels.into_iter().for_each(|channel| state.settle(channel, now));
        state.evict(head);
        if state.directory.len() > state.settings.channels {
            state.make_room(None, now);
        }
        state.count_kept();
        state
    }
}
