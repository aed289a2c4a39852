//! Items of GRIP whose forerunner isn't there yet: they wait for it for a while, so that what publishers send side by side
//! comes to clients in its order; pure.
//!
//! An item waits where its `prev-id` isn't the id of its channel's last message, as far as that is known and anybody is
//! on the channel. Whatever happens it is published in the end: clients that lack what was before it find that out by
//! themselves. As in Pushpin.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::message::{ChannelName, Message};

/// How long an item waits: Pushpin's `message_wait`.
const PATIENCE: Duration = Duration::from_secs(5);
/// Items that wait on one channel; a further one is published at once.
const CHANNEL_MAX: usize = 100;
/// The same over all channels.
const ITEMS_MAX: usize = 10_000;

/// Whose forerunner it is: channel and id.
type Awaited = (ChannelName, Box<str>);

/// What waits.
#[derive(Default)]
pub(super) struct Sequencer {
    waiting: HashMap<Awaited, Message>,
    /// Since when, the longest first; what was published since is passed over.
    order: VecDeque<(Instant, Awaited)>,
    channels: HashMap<ChannelName, usize>,
}

impl Sequencer {
    /// How many items wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Takes out of a list what has to wait, and puts behind each item those that have waited for it. `last_id` gives what
    /// was published last on a channel, where that is known.
    pub(super) fn sort(
        &mut self,
        messages: Vec<Message>,
        last_id: impl Fn(&ChannelName) -> Option<Box<str>>,
        now: Instant,
    ) -> Vec<Message> {
        let mut sorted = Vec::with_capacity(messages.len());
        let mut known: HashMap<ChannelName, Option<Box<str>>> = HashMap::new();
        for message in messages {
            let last = known.entry(message.channel.clone()).or_insert_with_key(&last_id);
            match awaited(&message, last.as_deref()) {
                Some(awaited) if self.has_room(&message.channel) => self.keep(awaited, message, now),
                _ => {
                    *last = own_id(&message);
                    sorted.push(message);
                    *last = self.add_followers(&mut sorted).or(last.take());
                }
            }
        }
        sorted
    }

    /// What has waited long enough, or has its forerunner by now, each with what waits for it.
    pub(super) fn due(
        &mut self,
        last_id: impl Fn(&ChannelName) -> Option<Box<str>>,
        now: Instant,
    ) -> Vec<Message> {
        let mut due = Vec::new();
        for (since, awaited) in std::mem::take(&mut self.order) {
            let is_over = now.saturating_duration_since(since) >= PATIENCE;
            let is_next = || last_id(&awaited.0).is_none_or(|last| last == awaited.1);
            if !self.waiting.contains_key(&awaited) {
                continue;
            }
            match is_over || is_next() {
                true => {
                    due.extend(self.take(&awaited));
                    self.add_followers(&mut due);
                }
                false => self.order.push_back((since, awaited)),
            }
        }
        due
    }

    /// Everything, the longest first.
    pub(super) fn take_all(&mut self) -> Vec<Message> {
        let order = std::mem::take(&mut self.order);
        order.iter().filter_map(|(_, awaited)| self.take(awaited)).collect()
    }

    fn has_room(&self, channel: &ChannelName) -> bool {
        self.waiting.len() < ITEMS_MAX && self.channels.get(channel).is_none_or(|count| *count < CHANNEL_MAX)
    }

    /// A second one that follows the same is the same, or is wrong.
    fn keep(&mut self, awaited: Awaited, message: Message, now: Instant) {
        if self.waiting.contains_key(&awaited) {
            return tracing::debug!(channel = %awaited.0, "two items of GRIP follow the same: one is left out");
        }
        *self.channels.entry(awaited.0.clone()).or_default() += 1;
        self.order.push_back((now, awaited.clone()));
        self.waiting.insert(awaited, message);
    }

    fn take(&mut self, awaited: &Awaited) -> Option<Message> {
        let message = self.waiting.remove(awaited)?;
        if let Some(count) = self.channels.get_mut(&awaited.0) {
            *count -= 1;
            if *count == 0 {
                self.channels.remove(&awaited.0);
            }
        }
        Some(message)
    }

    /// Puts behind the last of a list whatever follows it; gives the id of the last of those.
    fn add_followers(&mut self, messages: &mut Vec<Message>) -> Option<Box<str>> {
        let mut last = None;
        while let Some(message) = messages.last()
            && let Some(id) = own_id(message)
            && let Some(follower) = self.take(&(message.channel.clone(), id))
        {
            last = own_id(&follower);
            messages.push(follower);
        }
        last
    }
}

fn own_id(message: &Message) -> Option<Box<str>> {
    message.forms.as_ref()?.id.clone()
}

/// What an item has to wait for.
fn awaited(message: &Message, last: Option<&str>) -> Option<Awaited> {
    let forms = message.forms.as_ref().filter(|forms| !forms.no_seq)?;
    let prev_id = forms.prev_id.as_ref().filter(|prev_id| last.is_some_and(|last| *last != ***prev_id))?;
    Some((message.channel.clone(), prev_id.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Data, Forms};

    fn item(channel: &str, id: &str, prev_id: &str) -> Message {
        let some = |text: &str| (!text.is_empty()).then(|| text.into());
        let forms = Forms { id: some(id), prev_id: some(prev_id), ..Forms::default() };
        Message {
            forms: Some(Box::new(forms)),
            ..Message::new(ChannelName::parse(channel).unwrap(), Data::Text("".into()))
        }
    }

    fn ids(messages: &[Message]) -> String {
        messages.iter().filter_map(own_id).collect::<Vec<_>>().join(" ")
    }

    fn items(list: &[(&str, &str)]) -> Vec<Message> {
        list.iter().map(|(id, prev_id)| item("a", id, prev_id)).collect()
    }

    #[test]
    fn an_item_waits_for_the_one_before_it_where_that_is_known() {
        let last = |id: &'static str| move |_: &ChannelName| (!id.is_empty()).then(|| id.into());
        let (mut sequencer, now) = (Sequencer::default(), Instant::now());
        let mut sort = |list: &[(&str, &str)], known| ids(&sequencer.sort(items(list), last(known), now));
        assert_eq!(sort(&[("2", "1"), ("3", "2")], "1"), "2 3");
        // Nobody is on the channel, or its last message has no id, or this one says of none.
        assert_eq!(sort(&[("9", "8")], ""), "9");
        assert_eq!(sort(&[("5", "")], "3"), "5");
        assert_eq!(sort(&[("4", "3"), ("3", "2")], "1"), "");
        assert_eq!(sort(&[("2", "1"), ("5", "4")], "1"), "2 3 4 5");
        assert_eq!(sequencer.len(), 0);
        // In one list, in any order.
        assert_eq!(
            ids(&sequencer.sort(items(&[("4", "3"), ("2", "1"), ("3", "2")]), last("1"), now)),
            "2 3 4"
        );
        assert!(sequencer.waiting.is_empty() && sequencer.channels.is_empty());
        let mut bypassing = item("a", "9", "8");
        bypassing.forms.as_mut().unwrap().no_seq = true;
        assert_eq!(ids(&sequencer.sort(vec![bypassing], last("1"), now)), "9");
    }

    #[test]
    fn it_does_not_wait_for_ever() {
        let last = |id: &'static str| move |_: &ChannelName| Some(id.into());
        let (mut sequencer, now) = (Sequencer::default(), Instant::now());
        let mut all = items(&[("3", "2"), ("4", "3"), ("9", "8"), ("9", "8")]);
        all.push(item("b", "6", "5"));
        assert_eq!(ids(&sequencer.sort(all, last("1"), now)), "");
        assert_eq!(sequencer.len(), 4);
        assert_eq!(ids(&sequencer.due(last("1"), now + PATIENCE / 2)), "");
        // It came by another node.
        assert_eq!(ids(&sequencer.due(last("2"), now + PATIENCE / 2)), "3 4");
        assert_eq!(ids(&sequencer.due(last("1"), now + PATIENCE)), "9 6");
        assert!(sequencer.waiting.is_empty() && sequencer.order.is_empty() && sequencer.channels.is_empty());
        assert_eq!(ids(&sequencer.sort(items(&[("3", "2")]), last("1"), now)), "");
        assert_eq!(ids(&sequencer.take_all()), "3");
    }

    #[test]
    fn no_more_wait_than_may() {
        let last = |_: &ChannelName| Some("x".into());
        let (mut sequencer, now) = (Sequencer::default(), Instant::now());
        for number in 0..CHANNEL_MAX + 5 {
            let list = vec![item("a", &format!("{number}!"), &number.to_string())];
            let published = sequencer.sort(list, last, now);
            assert_eq!(published.len(), usize::from(number >= CHANNEL_MAX));
        }
        for number in 0..ITEMS_MAX {
            sequencer.sort(vec![item(&number.to_string(), "2", "1")], last, now);
        }
        assert_eq!(sequencer.len(), ITEMS_MAX);
    }
}
