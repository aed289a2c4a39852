//! `channels`: what they keep, and how holds behave where the application doesn't say.

use std::time::Duration;

use super::channel_rules::{ChannelRule, RULE, RuleDraft, rules};
use super::form;
use super::limits::Rate;
use super::section::{Key, Section};

/// Channels and holds.
#[derive(Debug, Clone)]
pub struct ChannelsConfig {
    /// What each channel keeps for those who come back.
    pub history: HistoryConfig,
    /// What happens to a reader that has fallen out of its channel's window.
    pub slow: SlowReader,
    /// Silence before a keep-alive where the application names none; `None` is `off`.
    pub keepalive: Option<Duration>,
    /// How long a poll is held where the application names no timeout.
    pub poll_timeout: Duration,
    /// How many clients of streams may come back in a time when all are cut off; `None` is `off`.
    pub returns: Option<Rate>,
    /// Publishers' ids that are remembered over all channels.
    pub publisher_ids: usize,
    /// What holds for channels by their names; the first that fits counts.
    pub rules: Vec<ChannelRule>,
}

/// As it was typed: rules get what they don't say from the rest once that is known.
#[derive(Default)]
pub(super) struct ChannelsDraft {
    all: ChannelsConfig,
    rules: Vec<RuleDraft>,
}

impl ChannelsDraft {
    /// With the rules; `subscribers` are those that `limits` allows.
    pub(super) fn finish(self, subscribers: Option<usize>) -> ChannelsConfig {
        let ChannelsDraft { all, rules } = self;
        let rules = rules.into_iter().map(|rule| rule.finish(&all, subscribers)).collect();
        ChannelsConfig { rules, ..all }
    }
}

/// What a channel keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryConfig {
    /// Messages kept; 0 is `off` in the file.
    pub messages: usize,
    /// How long a message is kept; `None` is `off`.
    pub age: Option<Duration>,
    /// Bytes that one channel keeps, whatever for; `None` is `off`.
    pub bytes: Option<usize>,
}

/// The policy for a reader that needs what has left the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlowReader {
    /// Close it; it comes back with its position.
    Close,
    /// Tell it what it missed and go on.
    Skip,
    /// Give it the newest message of each key.
    Newest,
}

impl Default for ChannelsConfig {
    fn default() -> Self {
        ChannelsConfig {
            history: HistoryConfig::default(),
            // It comes back with its position and reads what is left from history: nothing is lost silently.
            slow: SlowReader::Close,
            // Under the 30 s after which the more impatient middleboxes forget a silent connection.
            keepalive: Some(Duration::from_secs(20)),
            // Under the 60 s that load balancers and nginx wait for an answer.
            poll_timeout: Duration::from_secs(55),
            // Browsers come back after some seconds, which is right until there are thousands.
            returns: None,
            // The retries of a busy minute, some tens of megabytes.
            publisher_ids: 100_000,
            rules: Vec::new(),
        }
    }
}

impl Default for HistoryConfig {
    fn default() -> Self {
        HistoryConfig {
            // What a chat or a ticker says while a phone changes its network.
            messages: 100,
            // Longer than any reconnection; an older page is better loaded anew.
            age: Some(Duration::from_secs(300)),
            // All channels together have a bound.
            bytes: None,
        }
    }
}

pub(super) static CHANNELS: Section<ChannelsDraft> = Section {
    short: None,
    required: &[],
    keys: &[
        Key::section("history", ".", &HISTORY, |channels, value| match value.is_text() {
            true => value.put(&mut channels.all.history.messages, &form::COUNT_OR_NONE),
            false => HISTORY.fill(&mut channels.all.history, value),
        }),
        Key::new("slow", |channels, value| value.put(&mut channels.all.slow, &form::SLOW)),
        Key::new("keepalive", |channels, value| value.put(&mut channels.all.keepalive, &form::INTERVAL)),
        Key::new("poll_timeout", |channels, value| {
            value.put(&mut channels.all.poll_timeout, &form::DURATION)
        }),
        Key::new("returns", |channels, value| value.put(&mut channels.all.returns, &form::RATE_OR_OFF)),
        Key::new("publisher_ids", |channels, value| value.put(&mut channels.all.publisher_ids, &form::COUNT)),
        Key::section("rules", "[].", &RULE, |channels, value| channels.rules = rules(value)),
    ],
};

static HISTORY: Section<HistoryConfig> = Section {
    short: Some(form::COUNT_OR_NONE.expected),
    required: &[],
    keys: &[
        Key::new("messages", |history, value| value.put(&mut history.messages, &form::COUNT_OR_NONE)),
        Key::new("age", |history, value| value.put(&mut history.age, &form::DURATION_OR_OFF)),
        Key::new("bytes", |history, value| value.put(&mut history.bytes, &form::MEMORY_OR_OFF)),
    ],
};
