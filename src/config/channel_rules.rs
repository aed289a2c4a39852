//! `channels.rules`: what holds for channels by their names, where it isn't what `channels` says for all.

use std::time::Duration;

use super::channels::{ChannelsConfig, HistoryConfig, SlowReader};
use super::form::{self, Form, Unfit};
use super::problem::{Fault, Placed, Problem};
use super::section::{Key, Section, Value};

/// What holds for the channels whose names fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelRule {
    /// Patterns, of which one has to fit: text in which `*` stands for any characters.
    pub patterns: Vec<String>,
    /// What each of the channels keeps.
    pub history: HistoryConfig,
    /// What happens to readers that can't keep up.
    pub slow: SlowReader,
    /// What may be used of them.
    pub limits: ChannelLimits,
}

/// Bounds on the channels of a rule. `None` is `off`, or what `limits` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChannelLimits {
    /// Channels that live at once.
    pub channels: Option<usize>,
    /// Bytes of messages that they keep together.
    pub history_bytes: Option<usize>,
    /// Held connections on each of them.
    pub subscribers: Option<usize>,
    /// Bytes of one published message.
    pub message: Option<usize>,
}

/// A rule as it was typed: what wasn't is as for all channels.
#[derive(Default)]
pub(super) struct RuleDraft {
    patterns: Vec<Placed<String>>,
    history: HistoryDraft,
    slow: Option<SlowReader>,
    limits: LimitsDraft,
}

#[derive(Default)]
struct HistoryDraft {
    messages: Option<usize>,
    age: Option<Option<Duration>>,
    bytes: Option<Option<usize>>,
}

#[derive(Default)]
struct LimitsDraft {
    channels: Option<usize>,
    history_bytes: Option<usize>,
    subscribers: Option<Option<usize>>,
    message: Option<usize>,
}

pub(super) static RULE: Section<RuleDraft> = Section {
    short: None,
    required: &[("match", PATTERN.expected)],
    keys: &[
        Key::new("match", |rule, value| {
            value.each_of_some(|item| rule.patterns.extend(item.placed(&PATTERN)));
        }),
        Key::section("history", ".", &HISTORY, |rule, value| match value.is_text() {
            true => rule.history.messages = value.read(&form::COUNT_OR_NONE),
            false => HISTORY.fill(&mut rule.history, value),
        }),
        Key::new("slow", |rule, value| rule.slow = value.read(&form::SLOW)),
        Key::section("limits", ".", &LIMITS, |rule, value| LIMITS.fill(&mut rule.limits, value)),
    ],
};

static HISTORY: Section<HistoryDraft> = Section {
    short: Some(form::COUNT_OR_NONE.expected),
    required: &[],
    keys: &[
        Key::new("messages", |history, value| history.messages = value.read(&form::COUNT_OR_NONE)),
        Key::new("age", |history, value| history.age = value.read(&form::DURATION_OR_OFF)),
        Key::new("bytes", |history, value| history.bytes = value.read(&form::MEMORY_OR_OFF)),
    ],
};

static LIMITS: Section<LimitsDraft> = Section {
    short: None,
    required: &[],
    keys: &[
        Key::new("channels", |limits, value| value.put(&mut limits.channels, &form::COUNT_OR_OFF)),
        Key::new("history_bytes", |limits, value| value.put(&mut limits.history_bytes, &form::MEMORY_OR_OFF)),
        Key::new("subscribers", |limits, value| limits.subscribers = value.read(&form::COUNT_OR_OFF)),
        Key::new("message", |limits, value| limits.message = value.read(&form::SIZE)),
    ],
};

/// A pattern for names of channels.
static PATTERN: Form<String> = Form {
    expected: "the name of a channel, in which each `*` stands for any characters, as in prices.*",
    read: |text| {
        let fits = (1..=1024).contains(&text.len()) && !text.chars().any(char::is_control);
        if fits { Ok(text.to_owned()) } else { Err(Unfit::Unlike) }
    },
};

/// Rules in the order of the file, each with at least one key.
pub(super) fn rules(value: Value<'_>) -> Vec<RuleDraft> {
    let mut rules: Vec<RuleDraft> = Vec::new();
    value.each_of_some(|item| {
        let mut rule = RuleDraft::default();
        let Value { key, node, problems } = item;
        RULE.fill(&mut rule, Value { key, node, problems: &mut *problems });
        for pattern in &rule.patterns {
            let mut before = rules.iter().flat_map(|rule| &rule.patterns);
            if let Some(first) = before.find(|known| known.value == pattern.value) {
                let value = pattern.value.clone();
                let fault = Fault::Repeated { what: "pattern", value, first: first.place.line };
                problems.push(
                    Problem::new(pattern.place, fault)
                        .expected("each pattern once: the first rule that fits counts"),
                );
            }
        }
        rules.push(rule);
    });
    rules
}

impl RuleDraft {
    /// With what holds for all channels where nothing else was typed; `subscribers` are those of `limits`.
    pub(super) fn finish(self, all: &ChannelsConfig, subscribers: Option<usize>) -> ChannelRule {
        let RuleDraft { patterns, history, slow, limits } = self;
        let LimitsDraft { channels, history_bytes, subscribers: own, message } = limits;
        let subscribers = own.unwrap_or(subscribers);
        ChannelRule {
            patterns: patterns.into_iter().map(|pattern| pattern.value).collect(),
            history: HistoryConfig {
                messages: history.messages.unwrap_or(all.history.messages),
                age: history.age.unwrap_or(all.history.age),
                bytes: history.bytes.unwrap_or(all.history.bytes),
            },
            slow: slow.unwrap_or(all.slow),
            limits: ChannelLimits { channels, history_bytes, subscribers, message },
        }
    }
}
