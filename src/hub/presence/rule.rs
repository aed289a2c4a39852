//! Which channels are watched, and what is done with the news about them; pure.

use std::time::Duration;

use crate::message::{BadChannelName, ChannelName};

/// What stands for the channel's name in the name of the channel to publish to.
const PLACEHOLDER: &str = "{channel}";

/// How some channels are watched.
#[derive(Debug, Clone)]
pub struct PresenceRule {
    /// Names of channels, or beginnings of names with a `*` behind them.
    pub channels: Vec<String>,
    /// How long a member without a connection is still there.
    pub grace: Duration,
    /// Name of the channel that news is published to, perhaps with `{channel}` in it.
    pub publish: Option<String>,
    /// Whether news is posted.
    pub post: bool,
    /// Members of one channel.
    pub members: usize,
    /// Members of all its channels together.
    pub all_members: usize,
    /// News that may wait on each way.
    pub queue: usize,
}

impl PresenceRule {
    /// Whether it watches a channel. It never watches those that it publishes to, or its news would be news.
    pub(super) fn watches(&self, name: &str) -> bool {
        self.channels.iter().any(|pattern| fits(pattern, name)) && !self.is_own(name)
    }

    fn is_own(&self, name: &str) -> bool {
        match self.publish.as_deref().map(|publish| (publish, publish.split_once(PLACEHOLDER))) {
            // What is published to the channel itself makes no other channel.
            None | Some((_, Some(("", "")))) => false,
            Some((_, Some((before, after)))) => name.starts_with(before) && name.ends_with(after),
            Some((publish, None)) => name == publish,
        }
    }

    /// Where the news about a channel is published.
    ///
    /// # Errors
    /// With the channel's name in it, it is too long.
    pub fn target(&self, channel: &ChannelName) -> Option<Result<ChannelName, BadChannelName>> {
        let publish = self.publish.as_ref()?;
        Some(ChannelName::parse(&publish.replacen(PLACEHOLDER, channel.as_str(), 1)))
    }
}

fn fits(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |beginning| name.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(channels: &[&str], publish: Option<&str>) -> PresenceRule {
        PresenceRule {
            channels: channels.iter().map(|name| name.to_string()).collect(),
            grace: Duration::from_secs(10),
            publish: publish.map(str::to_owned),
            post: false,
            members: 10,
            all_members: 10,
            queue: 10,
        }
    }

    #[test]
    fn it_watches_what_it_names_and_never_what_it_publishes_to() {
        let table = [
            (
                rule(&["room-*", "lobby"], None),
                &["room-1", "room-", "lobby"][..],
                &["lobby2", "room", "x"][..],
            ),
            (rule(&["*"], Some("{channel}.presence")), &["a", "presence"], &["a.presence", ".presence"]),
            (rule(&["*"], Some("arrivals")), &["a", "arrivals2"], &["arrivals"]),
            (rule(&["*"], Some("who/{channel}")), &["a", "who"], &["who/a"]),
            (rule(&["*"], Some("{channel}")), &["a", "{channel}"], &[]),
        ];
        for (rule, watched, others) in table {
            for name in watched {
                assert!(rule.watches(name), "{rule:?} {name}");
            }
            for name in others {
                assert!(!rule.watches(name), "{rule:?} {name}");
            }
        }
    }

    #[test]
    fn news_goes_where_the_rule_says() {
        let channel = ChannelName::parse("room-1").unwrap();
        let target = |publish| rule(&["*"], publish).target(&channel);
        assert_eq!(target(None), None);
        for (publish, name) in
            [("{channel}.presence", "room-1.presence"), ("all", "all"), ("{channel}", "room-1")]
        {
            assert_eq!(target(Some(publish)), Some(ChannelName::parse(name)));
        }
        let long = ChannelName::parse(&"a".repeat(ChannelName::BYTES_MAX)).unwrap();
        assert_eq!(rule(&["*"], Some("{channel}.x")).target(&long), Some(Err(BadChannelName::TooLong)));
    }
}
