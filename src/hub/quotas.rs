//! Quotas of channels by their names: what is refused so that nobody else's channels have to make room.
//!
//! Where nothing has a quota nothing is counted. With a log that several nodes share, each node refuses by what it has
//! itself; what another has accepted is applied whatever it takes.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use crate::message::{Batch, ChannelName, Message};

use super::channel::Channel;
use super::draft::Draft;
use super::policy::RuleId;
use super::state::State;
use super::{ChannelId, Refused, SLOTS_PER_LOCK};

/// What messages that are on their way will take of a rule.
#[derive(Default)]
pub(super) struct Demand {
    bytes: usize,
    fresh: HashSet<ChannelName>,
}

/// Demands by rule.
pub(super) type Demands = HashMap<RuleId, Demand>;

impl State {
    /// Refuses a batch for which there is no room, behind what a draft has already been promised.
    pub(super) fn check_quotas(
        &mut self,
        batch: &Batch,
        draft: &mut Draft,
        now: Instant,
    ) -> Result<(), Refused> {
        if !self.settings.policies.refuse() {
            return Ok(());
        }
        self.check_sizes(batch)?;
        let demands = self.demands(batch, draft, now);
        if let Some((rule, refused)) = self.excess(&demands, draft) {
            // Perhaps something is there that has become too old.
            self.sweep(SLOTS_PER_LOCK, now);
            if let Refused::RuleChannels { .. } = refused {
                self.make_room(Some(rule), now);
            }
        }
        if let Some((_, refused)) = self.excess(&demands, draft) {
            return Err(self.counted(refused));
        }
        for (rule, Demand { bytes, fresh }) in demands {
            let planned = draft.demands.entry(rule).or_default();
            planned.bytes += bytes;
            planned.fresh.extend(fresh);
        }
        Ok(())
    }

    /// Counts a refusal.
    pub(super) fn counted(&self, refused: Refused) -> Refused {
        let quota = match refused {
            Refused::TooLarge { .. } => "message",
            Refused::RuleFull { .. } => "history_bytes",
            Refused::TooManySubscribers { .. } => "subscribers",
            _ => "channels",
        };
        self.metrics.comet_quota_refusals.with_label_values(&[quota]).inc();
        refused
    }

    fn check_sizes(&self, batch: &Batch) -> Result<(), Refused> {
        for (item, message) in batch.messages.iter().enumerate() {
            let limit = self.settings.policies.policy(self.rule_of(&message.channel)).message;
            if let Some(limit) = limit.filter(|limit| message.data.bytes().len() > *limit) {
                return Err(self.counted(Refused::TooLarge { item, limit }));
            }
        }
        Ok(())
    }

    /// What a batch takes. A message that is known already takes nothing: it is answered as before.
    fn demands(&self, batch: &Batch, draft: &Draft, now: Instant) -> Demands {
        let mut demands = Demands::new();
        let mut seen: HashSet<&ChannelName> = HashSet::new();
        for message in &batch.messages {
            let channel = self.living(&message.channel);
            let rule = channel.map_or_else(|| self.rule_of(&message.channel), Channel::rule);
            if rule == RuleId::NONE || self.known_id(message, draft).is_some() {
                continue;
            }
            let demand = demands.entry(rule).or_default();
            let is_first = seen.insert(&message.channel);
            // A channel that is full gives up its own oldest message.
            let freed = channel.filter(|_| is_first).map_or(0, |channel| channel.freed(&self.settings, now));
            demand.bytes += Message::cost_bytes(message).saturating_sub(freed);
            if channel.is_none() {
                demand.fresh.insert(message.channel.clone());
            }
        }
        demands
    }

    /// The first quota that some demands pass.
    fn excess(&self, demands: &Demands, draft: &Draft) -> Option<(RuleId, Refused)> {
        demands.iter().find_map(|(&id, demand)| {
            let rule = self.settings.policies.rule(id)?;
            let (tally, planned) = (self.kept.tally(id), draft.demands.get(&id));
            if let Some(limit) = rule.channels.filter(|_| !demand.fresh.is_empty()) {
                let is_new = |channel: &&ChannelName| self.living(channel).is_none();
                let planned = planned.into_iter().flat_map(|planned| &planned.fresh);
                let fresh: HashSet<&ChannelName> = planned.chain(&demand.fresh).filter(is_new).collect();
                if tally.channels + fresh.len() > limit {
                    return Some((id, Refused::RuleChannels { rule: rule.name(), limit }));
                }
            }
            let bytes = tally.bytes + planned.map_or(0, |planned| planned.bytes) + demand.bytes;
            let limit = rule.bytes.filter(|limit| bytes > *limit)?;
            Some((id, Refused::RuleFull { rule: rule.name(), limit }))
        })
    }

    /// Whether a channel finds a place among those of its rule.
    pub(super) fn check_rule_channels(&self, name: &ChannelName) -> Result<(), Refused> {
        if !self.settings.policies.refuse() {
            return Ok(());
        }
        let id = self.settings.policies.rule_of(name);
        let Some(rule) = self.settings.policies.rule(id) else { return Ok(()) };
        match rule.channels.filter(|limit| self.kept.tally(id).channels >= *limit) {
            Some(limit) => Err(Refused::RuleChannels { rule: rule.name(), limit }),
            None => Ok(()),
        }
    }

    /// Whether channels have room for one more reader each.
    pub(super) fn check_subscribers(&self, channels: &[ChannelId]) -> Result<(), Refused> {
        if !self.settings.policies.refuse() {
            return Ok(());
        }
        let full = channels.iter().filter_map(|&id| self.directory.get(id)).find_map(|channel| {
            let limit = self.settings.policies.policy(channel.rule()).subscribers?;
            let channel = Some(channel).filter(|channel| channel.subscribers() >= limit)?;
            Some(Refused::TooManySubscribers { channel: channel.name.clone(), limit })
        });
        full.map_or(Ok(()), Err)
    }

    /// Whether a reader of these channels would be taken now.
    pub(super) fn has_place<'n>(
        &mut self,
        names: impl Iterator<Item = &'n ChannelName> + Clone,
        now: Instant,
    ) -> Result<(), Refused> {
        let known: Vec<ChannelId> = names.clone().filter_map(|name| self.directory.find(name)).collect();
        let outcome = self.check_subscribers(&known).and_then(|()| {
            names.into_iter().try_for_each(|name| match self.directory.find(name) {
                Some(_) => Ok(()),
                None => self.find_rule_place(name, now),
            })
        });
        outcome.map_err(|refused| self.counted(refused))
    }

    /// A place among the channels of a rule, if need be that of one which nobody would miss.
    fn find_rule_place(&mut self, name: &ChannelName, now: Instant) -> Result<(), Refused> {
        self.check_rule_channels(name).or_else(|_| {
            self.make_room(Some(self.settings.policies.rule_of(name)), now);
            self.check_rule_channels(name)
        })
    }

    fn living(&self, name: &ChannelName) -> Option<&Channel> {
        self.directory.find(name).and_then(|id| self.directory.get(id))
    }

    fn rule_of(&self, name: &ChannelName) -> RuleId {
        self.living(name).map_or_else(|| self.settings.policies.rule_of(name), Channel::rule)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{Hub, HubSettings, Outcome, Pattern, Policies, Policy, Receipt, Rule};
    use super::*;
    use crate::message::{Data, Epoch, Start};
    use crate::metrics::Metrics;

    #[test]
    fn a_rule_refuses_what_is_too_much_and_takes_nothing_from_others() {
        let (hub, metrics) = hub(|rule| {
            rule.channels = Some(2);
            rule.bytes = Some(3 * message("a.1", 10).cost_bytes());
            rule.policy.message = Some(10);
        });
        assert!(publish(&hub, &[("b", 99), ("a.1", 10)]).is_ok());
        assert_eq!(publish(&hub, &[("b", 1), ("a.1", 11)]), Err(Refused::TooLarge { item: 1, limit: 10 }));
        let rule = || "a.*".into();
        assert_eq!(
            publish(&hub, &[("a.2", 1), ("a.3", 1)]),
            Err(Refused::RuleChannels { rule: rule(), limit: 2 })
        );
        assert!(publish(&hub, &[("a.2", 10)]).is_ok());
        let full = Err(Refused::RuleFull { rule: rule(), limit: 3 * message("a.1", 10).cost_bytes() });
        assert_eq!(publish(&hub, &[("a.1", 10), ("a.2", 10)]), full);
        assert!(publish(&hub, &[("a.1", 10)]).is_ok());
        // The channel gives up its own oldest message, so that nothing more is kept.
        assert!(publish(&hub, &[("a.1", 10)]).is_ok());
        assert_eq!(publish(&hub, &[("a.2", 10)]), full);
        let counted = |quota| metrics.comet_quota_refusals.with_label_values(&[quota]).get();
        assert_eq!(["message", "channels", "history_bytes"].map(counted), [1, 1, 2]);
        let facts = hub.channel(&name("b"), Instant::now()).expect("nobody has touched it");
        assert_eq!(facts.messages, 1);
    }

    #[test]
    fn a_channel_has_no_more_readers_than_it_may() {
        let (hub, metrics) = hub(|rule| rule.policy.subscribers = Some(1));
        let mut tap = hub.attach(Box::new(|| {}));
        let now = Instant::now();
        let mut join = |channel: &str| {
            let wish = [(name(channel), Start::Earliest)];
            tap.join(&wish, usize::MAX, now, &mut Vec::new(), &mut Vec::new()).map(|joined| joined.channels)
        };
        let names = [name("b"), name("a.1")];
        assert_eq!(hub.has_place(names.iter(), now), Ok(()));
        let first = join("a.1").expect("a place");
        let full = Refused::TooManySubscribers { channel: name("a.1"), limit: 1 };
        assert_eq!((join("a.1"), hub.has_place(names.iter(), now)), (Err(full.clone()), Err(full)));
        assert!(join("b").is_ok() && join("b").is_ok() && join("a.2").is_ok());
        assert_eq!(metrics.comet_quota_refusals.with_label_values(&["subscribers"]).get(), 2);
        tap.leave(&first, now);
        assert_eq!(hub.has_place(names.iter(), now), Ok(()));
    }

    #[test]
    fn a_repeated_message_is_answered_as_before_though_there_is_no_room_for_another() {
        let with_id = || Message { id: Some("7".into()), ..message("a.1", 10) };
        let (hub, _) = hub(|rule| rule.bytes = Some(with_id().cost_bytes()));
        let publish = |message| {
            settled(hub.publish(Batch { messages: vec![message], expected: Vec::new() }, Instant::now()))
        };
        let first = publish(with_id()).expect("room");
        let again = publish(with_id()).expect("a repetition");
        assert_eq!((again[0].position, again[0].duplicate), (first[0].position, true));
        assert!(matches!(publish(message("a.1", 10)), Err(Refused::RuleFull { .. })));
    }

    #[test]
    fn a_full_rule_gives_up_what_nobody_would_miss_of_its_own_and_nothing_of_others() {
        let (lag_only, patterns) = (Policy::keeping(0, None), vec![Pattern::new("a.*")]);
        let rule = Rule { patterns, policy: lag_only.clone(), channels: Some(1), bytes: None };
        let policies = Policies::new(lag_only, vec![rule]);
        let settings = HubSettings { policies, window_messages: 10, ..settings(|_| {}) };
        let hub = Hub::new(Epoch(1), settings, Metrics::new().expect("metrics register"));
        let (mut tap, now, start) = (hub.attach(Box::new(|| {})), Instant::now(), Start::After(hub.head()));
        assert!(publish(&hub, &[("b", 1), ("a.1", 1)]).is_ok());
        assert!(publish(&hub, &[("a.2", 1)]).is_ok(), "nobody reads a.1, and it has no history");
        assert_eq!(hub.has_place([name("a.3")].iter(), now), Ok(()), "the same of a.2");
        let mut join = |channel: &str| {
            let (mut missed, mut gaps) = (Vec::new(), Vec::new());
            let joined = tap.join(&[(name(channel), start)], usize::MAX, now, &mut missed, &mut gaps);
            joined.map(|_| (missed.len(), gaps.len()))
        };
        assert_eq!(join("a.3"), Ok((0, 0)));
        assert!(matches!(publish(&hub, &[("a.4", 1)]), Err(Refused::RuleChannels { .. })));
        assert!(matches!(join("a.5"), Err(Refused::RuleChannels { .. })));
        assert_eq!(join("b"), Ok((1, 0)), "who lags on another channel misses nothing");
    }

    #[test]
    fn a_reload_gives_channels_the_rules_that_fit_them_then() {
        let (hub, _) = hub(|_| {});
        assert!(publish(&hub, &[("a.1", 1), ("b", 1)]).is_ok());
        hub.reconfigure(settings(|rule| rule.channels = Some(1)));
        assert!(publish(&hub, &[("a.1", 1)]).is_ok());
        assert!(matches!(publish(&hub, &[("a.2", 1)]), Err(Refused::RuleChannels { .. })));
    }

    fn hub(change: impl FnOnce(&mut Rule)) -> (Arc<Hub>, Metrics) {
        let metrics = Metrics::new().expect("metrics register");
        (Hub::new(Epoch(1), settings(change), metrics.clone()), metrics)
    }

    fn settings(change: impl FnOnce(&mut Rule)) -> HubSettings {
        let mut rule = Rule {
            patterns: vec![Pattern::new("a.*")],
            policy: Policy::keeping(2, None),
            channels: None,
            bytes: None,
        };
        change(&mut rule);
        HubSettings {
            policies: Policies::new(Policy::keeping(2, None), vec![rule]),
            history_bytes: usize::MAX,
            channels: 100,
            window_messages: 0,
            publisher_ids: 100,
        }
    }

    fn publish(hub: &Hub, messages: &[(&str, usize)]) -> Result<Vec<Receipt>, Refused> {
        let messages = messages.iter().map(|(channel, bytes)| message(channel, *bytes)).collect();
        settled(hub.publish(Batch { messages, expected: Vec::new() }, Instant::now()))
    }

    fn settled<T>(outcome: Outcome<T>) -> Result<T, Refused> {
        let Outcome::Settled(result) = outcome else { panic!("there is no store to wait for") };
        result
    }

    fn message(channel: &str, bytes: usize) -> Message {
        let (channel, data) = (name(channel), Data::Text(vec![b'x'; bytes].into()));
        Message::new(channel, data)
    }

    fn name(channel: &str) -> ChannelName {
        ChannelName::parse(channel).expect("a name")
    }
}
