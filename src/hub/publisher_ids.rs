//! Publishers' own ids, by which a message that is published again is recognised.
//!
//! Remembered whether the channel lives or not, up to a bound over all channels; the oldest are forgotten first.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::message::{ChannelName, Sequence};

/// The places of messages by channel and publisher's id.
#[derive(Default)]
pub(super) struct PublisherIds {
    places: HashMap<ChannelName, HashMap<Arc<str>, Sequence>>,
    /// In the order of their arrival; those of deleted channels stay until it is their turn.
    order: VecDeque<(ChannelName, Arc<str>, Sequence)>,
}

impl PublisherIds {
    /// Where the message with this id stands.
    pub(super) fn find(&self, channel: &ChannelName, id: &str) -> Option<Sequence> {
        self.places.get(channel)?.get(id).copied()
    }

    /// Remembers an id, and forgets the oldest beyond `limit`; how many of those were still known.
    pub(super) fn remember(
        &mut self,
        channel: &ChannelName,
        id: &str,
        sequence: Sequence,
        limit: usize,
    ) -> usize {
        let id: Arc<str> = id.into();
        self.places.entry(channel.clone()).or_default().insert(Arc::clone(&id), sequence);
        self.order.push_back((channel.clone(), id, sequence));
        let mut forgotten = 0;
        while self.order.len() > limit {
            forgotten += usize::from(self.forget_oldest());
        }
        forgotten
    }

    /// Forgets the ids of a channel.
    pub(super) fn forget(&mut self, channel: &ChannelName) {
        self.places.remove(channel);
    }

    /// Ids that take room, those of deleted channels included.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether it was still known.
    fn forget_oldest(&mut self) -> bool {
        let Some((channel, id, sequence)) = self.order.pop_front() else { return false };
        let Some(ids) = self.places.get_mut(&channel) else { return false };
        let is_known = ids.get(&id) == Some(&sequence);
        if is_known {
            ids.remove(&id);
        }
        if ids.is_empty() {
            self.places.remove(&channel);
        }
        is_known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_known_until_it_is_the_oldest_of_too_many_or_its_channel_is_deleted() {
        let [a, b] = ["a", "b"].map(|name| ChannelName::parse(name).expect("a name"));
        let mut ids = PublisherIds::default();
        ids.remember(&a, "1", Sequence(1), 3);
        ids.remember(&b, "1", Sequence(2), 3);
        assert_eq!(
            [ids.find(&a, "1"), ids.find(&b, "1"), ids.find(&b, "2")],
            [Some(Sequence(1)), Some(Sequence(2)), None]
        );
        ids.forget(&a);
        let forgotten = [ids.remember(&a, "1", Sequence(3), 3), ids.remember(&b, "2", Sequence(4), 3)];
        assert_eq!(forgotten, [0, 0], "the oldest was that of the deleted channel");
        assert_eq!(
            ids.find(&a, "1"),
            Some(Sequence(3)),
            "the forgotten one's turn is not that of the new one"
        );
        assert_eq!(ids.remember(&b, "3", Sequence(5), 3), 1);
        assert_eq!([ids.find(&b, "1"), ids.find(&a, "1")], [None, Some(Sequence(3))]);
    }
}
