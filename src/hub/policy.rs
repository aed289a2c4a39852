//! What holds for a channel by its name: how much it keeps, what becomes of readers who can't keep up, and its quotas.

use std::time::Duration;

use crate::message::ChannelName;

/// What holds for a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Messages of history; 0 keeps none.
    pub history_messages: usize,
    /// How long a message is history; `None` is for ever.
    pub history_age: Option<Duration>,
    /// Bytes of all messages that the channel keeps, whatever for; the newest is kept in any case.
    pub history_bytes: Option<usize>,
    /// What becomes of a reader that was too slow.
    pub slow: Slow,
    /// Readers that it may have.
    pub subscribers: Option<usize>,
    /// Bytes of the data of one message.
    pub message: Option<usize>,
}

impl Policy {
    /// So many messages for so long, and nothing else.
    pub fn keeping(history_messages: usize, history_age: Option<Duration>) -> Policy {
        let (history_bytes, subscribers, message) = (None, None, None);
        Policy { history_messages, history_age, history_bytes, slow: Slow::Close, subscribers, message }
    }
}

/// What becomes of a reader that needs what its channel doesn't keep any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slow {
    /// It is closed, and comes back with its position.
    Close,
    /// It is told of the gap and goes on.
    Skip,
    /// Who is behind gets the newest message of each key, and every message without one. That isn't a gap; what is
    /// missing besides is told.
    Newest,
}

/// What holds for channels whose names fit, and for all of them together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// One of them has to fit.
    pub patterns: Vec<Pattern>,
    /// For each of the channels.
    pub policy: Policy,
    /// Channels that live at once.
    pub channels: Option<usize>,
    /// Bytes of messages that they keep together.
    pub bytes: Option<usize>,
}

impl Rule {
    /// How people are told of it: by its first pattern.
    pub(super) fn name(&self) -> Box<str> {
        self.patterns.first().map_or("", Pattern::as_str).into()
    }

    fn fits(&self, name: &ChannelName) -> bool {
        self.patterns.iter().any(|pattern| pattern.fits(name.as_str()))
    }

    /// Whether anything could be refused because of it.
    fn refuses(&self) -> bool {
        self.channels.is_some() || self.bytes.is_some() || self.policy.refuses()
    }
}

impl Policy {
    fn refuses(&self) -> bool {
        self.subscribers.is_some() || self.message.is_some()
    }
}

/// Names of channels: a text in which each `*` stands for any characters, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Box<str>);

impl Pattern {
    /// From its text.
    pub fn new(text: &str) -> Pattern {
        Pattern(text.into())
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn fits(&self, name: &str) -> bool {
        let mut pieces = self.0.split('*');
        let first = pieces.next().unwrap_or_default();
        let Some(mut rest) = name.strip_prefix(first) else { return false };
        let Some(last) = pieces.next_back() else { return rest.is_empty() };
        for piece in pieces {
            let Some(at) = rest.find(piece) else { return false };
            rest = &rest[at + piece.len()..];
        }
        rest.ends_with(last)
    }
}

/// A rule by its number; 0 is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct RuleId(u32);

impl RuleId {
    /// Of a channel without a rule.
    pub(super) const NONE: RuleId = RuleId(0);

    /// Its place among the rules.
    pub(super) fn index(self) -> Option<usize> {
        (self.0 as usize).checked_sub(1)
    }
}

/// What holds for channels: one policy for all, or that of the first rule whose pattern fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policies {
    all: Policy,
    rules: Vec<Rule>,
    refuse: bool,
}

impl Policies {
    /// One for all, but for those that a rule fits; the first one that does counts.
    pub fn new(all: Policy, rules: Vec<Rule>) -> Policies {
        let refuse = all.refuses() || rules.iter().any(Rule::refuses);
        Policies { all, rules, refuse }
    }

    /// Whether anything could be refused because of them.
    pub(super) fn refuse(&self) -> bool {
        self.refuse
    }

    pub(super) fn rule_of(&self, name: &ChannelName) -> RuleId {
        let index = self.rules.iter().position(|rule| rule.fits(name));
        index.map_or(RuleId::NONE, |index| RuleId(index as u32 + 1))
    }

    pub(super) fn rule(&self, id: RuleId) -> Option<&Rule> {
        self.rules.get(id.index()?)
    }

    pub(super) fn policy(&self, id: RuleId) -> &Policy {
        self.rule(id).map_or(&self.all, |rule| &rule.policy)
    }

    /// How many rules there are.
    pub(super) fn rules(&self) -> usize {
        self.rules.len()
    }
}

impl From<Policy> for Policies {
    /// The same for all.
    fn from(all: Policy) -> Policies {
        Policies::new(all, Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        let cases = [
            ("news", "news", true),
            ("news", "newsroom", false),
            ("*", "käse", true),
            ("prices.*", "prices.", true),
            ("prices.*", "prices.a/b", true),
            ("prices.*", "price.a", false),
            ("*.private", "a.private", true),
            ("*.private", "a.private.b", false),
            ("user-*-mail", "user-7-mail", true),
            ("user-*-mail", "user-mail", false),
            ("a*a", "a", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "acb", false),
            ("**", "x", true),
            ("a*b*b", "ab", false),
        ];
        for (pattern, name, fits) in cases {
            assert_eq!(Pattern::new(pattern).fits(name), fits, "{pattern} and {name}");
        }
    }

    #[test]
    fn the_first_rule_that_fits_counts() {
        let rule = |patterns: &[&str], messages| Rule {
            patterns: patterns.iter().map(|pattern| Pattern::new(pattern)).collect(),
            policy: Policy::keeping(messages, None),
            channels: None,
            bytes: None,
        };
        let rules = vec![rule(&["a.b", "x*"], 1), rule(&["a.*"], 2)];
        let policies = Policies::new(Policy::keeping(3, None), rules);
        for (name, messages) in [("a.b", 1), ("a.c", 2), ("xy", 1), ("b", 3)] {
            let id = policies.rule_of(&ChannelName::parse(name).expect("a name"));
            assert_eq!(policies.policy(id).history_messages, messages, "{name}");
        }
    }
}
