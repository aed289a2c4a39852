//! Which records of a store are still needed, and what has to be remembered of the others.
//!
//! A message is needed while its channel keeps it. Of one that is gone, two things are: that it is gone, which the
//! channel's account says, and its publisher's id while that is remembered. Pure but for the state that is asked.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use crate::message::{ChannelName, Message, Sequence};
use crate::store::{Past, Record, Sifted};

use super::state::State;

/// What has come out of the records so far.
pub(super) struct Sieve {
    pub(super) needed: Sifted,
    /// Channels of which something is left out.
    pub(super) channels: HashSet<ChannelName>,
    /// Nothing that a deletion could be about stands before these records.
    is_oldest: bool,
}

impl Sieve {
    pub(super) fn new(is_oldest: bool) -> Sieve {
        Sieve { needed: Sifted::default(), channels: HashSet::new(), is_oldest }
    }
}

impl State {
    /// Sifts some records.
    pub(super) fn sift(&self, records: impl Iterator<Item = Record>, sieve: &mut Sieve) {
        for record in records {
            match record {
                Record::Message { sequence, ref message, .. } => {
                    if self.keeps(&message.channel, sequence) {
                        sieve.needed.stay.push(record);
                    } else {
                        self.leave_out(sequence, message, sieve);
                    }
                }
                Record::Deleted { ref channel, .. } => {
                    sieve.channels.insert(channel.clone());
                    if !sieve.is_oldest {
                        sieve.needed.stay.push(record);
                    }
                }
                Record::Past { channel, .. } => drop(sieve.channels.insert(channel)),
                Record::Id { sequence, ref channel, ref id } => {
                    if self.ids.find(channel, id) == Some(sequence) {
                        sieve.needed.carry.push(record);
                    }
                }
                // Said again below wherever it matters.
                Record::Forgotten(_) => {}
            }
        }
    }

    fn leave_out(&self, sequence: Sequence, message: &Message, sieve: &mut Sieve) {
        let channel = &message.channel;
        sieve.channels.insert(channel.clone());
        if let Some(id) = &message.id
            && self.ids.find(channel, id) == Some(sequence)
        {
            let (channel, id) = (channel.clone(), id.clone());
            sieve.needed.carry.push(Record::Id { sequence, channel, id });
        }
    }

    fn keeps(&self, channel: &ChannelName, sequence: Sequence) -> bool {
        let channel = self.directory.find(channel).and_then(|id| self.directory.get(id));
        channel.is_some_and(|channel| channel.has_in_window(sequence))
    }

    /// Adds the accounts of channels; of those that aren't known, that they may have been.
    pub(super) fn vouch(&self, channels: impl Iterator<Item = ChannelName>, needed: &mut Sifted) {
        for channel in channels {
            if let Some(past) = self.past_of(&channel) {
                needed.carry.push(Record::Past { channel, past });
            }
        }
        let forgotten = Record::Forgotten(self.tombstones.forgotten());
        if needed.carry.last() != Some(&forgotten) {
            needed.carry.push(forgotten);
        }
    }

    fn past_of(&self, channel: &ChannelName) -> Option<Past> {
        match self.directory.find(channel).and_then(|id| self.directory.get(id)) {
            Some(channel) => Some(*channel.past()),
            None => self.tombstones.past(channel).copied(),
        }
    }

    /// How many messages of some places are kept, of a bounded number of those after `after`; and the last place
    /// that was looked at, unless that were all.
    pub(super) fn kept_between(
        &self,
        after: Sequence,
        upto: Sequence,
        limit: usize,
    ) -> (usize, Option<Sequence>) {
        let mut kept = 0;
        for (looked_at, place) in
            self.kept.after(after).take_while(|place| place.sequence <= upto).enumerate()
        {
            let channel = self.directory.get(place.channel);
            kept += usize::from(channel.is_some_and(|channel| channel.has_in_window(place.sequence)));
            if looked_at + 1 == limit {
                return (kept, Some(place.sequence));
            }
        }
        (kept, None)
    }
}

impl super::Hub {
    /// How many messages of some places are kept. The lock is given up now and then.
    pub(super) fn kept_between(&self, places: RangeInclusive<Sequence>) -> usize {
        let (mut after, upto) = (Sequence(places.start().0.saturating_sub(1)), *places.end());
        let mut kept = 0;
        loop {
            let (more, reached) = self.state.lock().kept_between(after, upto, super::SLOTS_PER_LOCK);
            kept += more;
            match reached {
                Some(reached) => after = reached,
                None => return kept,
            }
        }
    }
}
