//! From the records of a store, in their order, to what they say together. Pure.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Numbered, Past, Record, Recovered};
use crate::message::{ChannelName, Epoch, Sequence};

/// What the records so far say.
#[derive(Default)]
pub(super) struct Replay {
    head: Sequence,
    forgotten: Sequence,
    channels: HashMap<ChannelName, Told>,
    messages: BTreeMap<Sequence, (SystemTime, Numbered)>,
    ids: BTreeMap<Sequence, (ChannelName, Box<str>)>,
}

/// What is told of one channel.
struct Told {
    past: Past,
    /// The account was told as such: everything before it may have been removed from the store since.
    is_vouched: bool,
    /// Places of its messages after `past`, in order.
    kept: Vec<Sequence>,
    /// Places of its publishers' ids.
    ids: Vec<Sequence>,
}

impl Replay {
    /// The head is at least here.
    pub(super) fn reaches(&mut self, head: Sequence) {
        self.head = self.head.max(head);
    }

    /// The next record.
    pub(super) fn add(&mut self, record: Record) {
        match record {
            Record::Message { sequence, at, message } => {
                self.reaches(sequence);
                let told = told(&mut self.channels, &message.channel, self.forgotten);
                if let Some(id) = &message.id {
                    told.ids.push(sequence);
                    self.ids.insert(sequence, (message.channel.clone(), id.clone()));
                }
                if sequence > told.past.dropped {
                    told.kept.push(sequence);
                    let published = UNIX_EPOCH + Duration::from_millis(at);
                    self.messages.insert(sequence, (published, Numbered { sequence, message }));
                }
            }
            Record::Deleted { upto, channel } => {
                self.reaches(upto);
                let told = told(&mut self.channels, &channel, self.forgotten);
                for sequence in told.kept.drain(..) {
                    told.past.drop_one(sequence);
                    self.messages.remove(&sequence);
                }
                told.ids.drain(..).for_each(|sequence| drop(self.ids.remove(&sequence)));
            }
            Record::Past { channel, past } => {
                self.reaches(past.dropped);
                let told = told(&mut self.channels, &channel, self.forgotten);
                told.past = past;
                told.is_vouched = true;
                let gone = told.kept.partition_point(|sequence| *sequence <= past.dropped);
                told.kept.drain(..gone).for_each(|sequence| drop(self.messages.remove(&sequence)));
            }
            Record::Id { sequence, channel, id } => {
                self.reaches(sequence);
                told(&mut self.channels, &channel, self.forgotten).ids.push(sequence);
                self.ids.insert(sequence, (channel, id));
            }
            Record::Forgotten(upto) => {
                self.reaches(upto);
                self.forgotten = self.forgotten.max(upto);
            }
        }
    }

    /// All of it, under an epoch.
    pub(super) fn finish(self, epoch: Epoch) -> Recovered {
        let Replay { head, forgotten, channels, messages, ids } = self;
        let past = |(name, told): (ChannelName, Told)| (name, told.past_given(forgotten));
        Recovered {
            epoch,
            head,
            forgotten,
            channels: channels.into_iter().map(past).collect(),
            messages: messages.into_values().collect(),
            ids: ids.into_iter().map(|(sequence, (channel, id))| (channel, id, sequence)).collect(),
        }
    }
}

impl Told {
    /// Where no account was told, messages up to `forgotten` may have left the store together with their channel,
    /// so that those before it can't be counted.
    fn past_given(&self, forgotten: Sequence) -> Past {
        let mut past = self.past;
        if !self.is_vouched {
            past.vouched = past.vouched.max(forgotten);
        }
        past
    }
}

fn told<'a>(
    channels: &'a mut HashMap<ChannelName, Told>,
    name: &ChannelName,
    forgotten: Sequence,
) -> &'a mut Told {
    if !channels.contains_key(name) {
        let past = Past::unknown_upto(forgotten);
        let told = Told { past, is_vouched: false, kept: Vec::new(), ids: Vec::new() };
        channels.insert(name.clone(), told);
    }
    channels.get_mut(name).expect("it was there or was just put there")
}
