//! `channels`: what they keep, and how holds behave where the application doesn't say.

use std::time::Duration;

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
}

/// What a channel keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryConfig {
    /// Messages kept; 0 is `off` in the file.
    pub messages: usize,
    /// How long a message is kept; `None` is `off`.
    pub age: Option<Duration>,
}

/// The policy for a reader that needs what has left the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlowReader {
    /// Close it; it comes back with its position.
    Close,
    /// Tell it what it missed and go on.
    Gap,
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
        }
    }
}

pub(super) static CHANNELS: Section<ChannelsConfig> = Section {
    short: None,
    required: &[],
    keys: &[
        Key::section("history", ".", &HISTORY, |channels, value| match value.is_text() {
            true => value.put(&mut channels.history.messages, &form::COUNT_OR_NONE),
            false => HISTORY.fill(&mut channels.history, value),
        }),
        Key::new("slow", |channels, value| value.put(&mut channels.slow, &form::SLOW)),
        Key::new("keepalive", |channels, value| value.put(&mut channels.keepalive, &form::INTERVAL)),
        Key::new("poll_timeout", |channels, value| value.put(&mut channels.poll_timeout, &form::DURATION)),
        Key::new("returns", |channels, value| value.put(&mut channels.returns, &form::RATE_OR_OFF)),
        Key::new("publisher_ids", |channels, value| value.put(&mut channels.publisher_ids, &form::COUNT)),
    ],
};

static HISTORY: Section<HistoryConfig> = Section {
    short: Some(form::COUNT_OR_NONE.expected),
    required: &[],
    keys: &[
        Key::new("messages", |history, value| value.put(&mut history.messages, &form::COUNT_OR_NONE)),
        Key::new("age", |history, value| value.put(&mut history.age, &form::DURATION_OR_OFF)),
    ],
};
