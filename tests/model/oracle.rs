//! The truth: every message ever published, and what may be missing of it by now.

use std::collections::HashMap;
use std::ops::Bound;
use std::time::{Duration, Instant};

use perihelion::hub::WINDOW_AGE;

use crate::program::{CHANNELS, Shape};

/// All messages of all channels; the one with sequence `n` stands at `n - 1`.
pub(crate) struct Oracle {
    shape: Shape,
    log: Vec<Message>,
    /// How often each channel was deleted.
    pub(crate) lives: [usize; CHANNELS],
    ids: HashMap<(usize, u8), u64>,
}

struct Message {
    channel: usize,
    life: usize,
    published: Instant,
}

impl Oracle {
    pub(crate) fn new(shape: Shape) -> Oracle {
        Oracle { shape, log: Vec::new(), lives: [0; CHANNELS], ids: HashMap::new() }
    }

    pub(crate) fn head(&self) -> u64 {
        self.log.len() as u64
    }

    /// The sequence that a message should get, and whether it is a repeated one.
    pub(crate) fn publish(&mut self, channel: usize, id: Option<u8>, now: Instant) -> (u64, bool) {
        if let Some(&first) = id.and_then(|id| self.ids.get(&(channel, id))) {
            return (first, true);
        }
        self.log.push(Message { channel, life: self.lives[channel], published: now });
        id.map(|id| self.ids.insert((channel, id), self.head()));
        (self.head(), false)
    }

    pub(crate) fn delete(&mut self, channel: usize) {
        self.lives[channel] += 1;
        self.ids.retain(|(of, _), _| *of != channel);
    }

    pub(crate) fn channel_of(&self, sequence: u64) -> usize {
        self.log[sequence as usize - 1].channel
    }

    /// Sequences of a channel's messages after one place and up to another, up to one of its lives.
    pub(crate) fn between(&self, channel: usize, life: usize, after: u64, upto: u64) -> Vec<u64> {
        let places = (Bound::Excluded(after), Bound::Included(upto.min(self.head())));
        let within = |sequence: &u64| std::ops::RangeBounds::contains(&places, sequence);
        (1..=self.head())
            .filter(within)
            .filter(|&sequence| {
                let message = &self.log[sequence as usize - 1];
                message.channel == channel && message.life <= life
            })
            .collect()
    }

    /// Whether the settings allow that a message is no longer kept.
    pub(crate) fn may_be_gone(&self, sequence: u64, now: Instant) -> bool {
        let message = &self.log[sequence as usize - 1];
        if self.shape.evict_over.is_some() || message.life < self.lives[message.channel] {
            return true;
        }
        let nth = self.between(message.channel, message.life, sequence - 1, self.head()).len();
        let in_window = nth <= self.shape.window && now - message.published <= WINDOW_AGE;
        // Where channels are scarce, one without readers and history makes room with all that it keeps.
        let may_make_room = self.shape.channels < CHANNELS;
        (!in_window || may_make_room) && !self.is_history(sequence, now)
    }

    /// The messages of a channel that are its history.
    pub(crate) fn history(&self, channel: usize, now: Instant) -> Vec<u64> {
        let life = self.lives[channel];
        let mut all = self.between(channel, life, 0, self.head());
        all.retain(|&sequence| {
            self.log[sequence as usize - 1].life == life && self.is_history(sequence, now)
        });
        all
    }

    fn is_history(&self, sequence: u64, now: Instant) -> bool {
        let message = &self.log[sequence as usize - 1];
        let nth = self.between(message.channel, message.life, sequence - 1, self.head()).len();
        let age = now - message.published;
        let young = self.shape.history_seconds.is_none_or(|seconds| age <= Duration::from_secs(seconds));
        nth <= self.shape.history && young
    }
}
