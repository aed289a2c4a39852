//! Tells who has joined and left: published to a channel, or posted to the application; and lets the time pass for both.
//!
//! Each way of each rule has a task of its own, which tells one batch after another and tries again until it is told. What
//! comes meanwhile waits in the presence's own queues, which are bounded.

use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::post::{Address, Letter};
use crate::config::{Config, PresenceConfig};
use crate::hub::{Change, Hub, Presence, PresenceRule, Way};
use crate::message::{Batch, Data, Message};
use crate::metrics::Metrics;

/// Presence with everything that is told of it.
pub(super) struct Watch {
    pub(super) presence: Arc<Presence>,
    rules: Vec<PresenceConfig>,
    /// The first is for whoever lets the time pass, the others for those who tell.
    bells: Arc<[Notify]>,
    /// Names this process.
    instance: String,
    metrics: Metrics,
}

/// Messages of one publish.
const PUBLISHED_AT_ONCE: usize = 1000;
/// Between two attempts to tell the same, at first and at last.
const WAIT_MIN: Duration = Duration::from_millis(250);
const WAIT_MAX: Duration = Duration::from_secs(30);

impl Watch {
    /// `None` where nothing is watched.
    pub(super) fn new(config: &Config, instance: String, metrics: &Metrics) -> Option<Watch> {
        let rules = config.presence.clone();
        if rules.is_empty() {
            return None;
        }
        let bells: Arc<[Notify]> = (0..=2 * rules.len()).map(|_| Notify::new()).collect();
        let all = bells.clone();
        let wake = Box::new(move || all.iter().for_each(Notify::notify_one));
        let presence = Presence::new(rules.iter().map(rule).collect(), metrics.clone(), wake);
        Some(Watch { presence, rules, bells, instance, metrics: metrics.clone() })
    }

    /// Tells, until it is dropped.
    pub(super) async fn run(self: Arc<Self>, hub: Arc<Hub>) {
        let mut tasks = JoinSet::new();
        for (index, rule) in self.rules.iter().enumerate() {
            if rule.publish.is_some() {
                tasks.spawn_local(self.clone().publish(index, hub.clone()));
            }
            if let Some(url) = &rule.post {
                tasks.spawn_local(self.clone().post(
                    index,
                    Address::new(url.clone(), rule.roots.clone()),
                    rule.batch,
                ));
            }
        }
        let bell = &self.bells[0];
        loop {
            let next = self.presence.advance(Instant::now());
            let due = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = bell.notified() => {}
                () = due => {}
            }
        }
    }

    async fn publish(self: Arc<Self>, index: usize, hub: Arc<Hub>) {
        let rule = rule(&self.rules[index]);
        loop {
            let changes = self.presence.take(index, Way::Publish, PUBLISHED_AT_ONCE);
            if changes.list.is_empty() {
                self.bells[1 + 2 * index].notified().await;
                continue;
            }
            let messages: Vec<Message> =
                changes.list.iter().filter_map(|change| self.message(&rule, change)).collect();
            let batch = Batch { messages, expected: Vec::new() };
            let mut wait = WAIT_MIN;
            while let Err(refused) = hub.publish(batch.clone(), Instant::now()).wait().await {
                tracing::debug!(%refused, "joins and leaves could not be published yet");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(WAIT_MAX);
            }
        }
    }

    fn message(&self, rule: &PresenceRule, change: &Change) -> Option<Message> {
        let Ok(channel) = rule.target(&change.channel)? else {
            self.metrics.presence_lost.with_label_values(&[Way::Publish.word()]).inc();
            return None;
        };
        let data = Data::Json(Letter::change(change, Some(&self.instance)).into());
        let (event, content_type) = (Some("comet.presence".into()), Some("application/json".into()));
        Some(Message { event, content_type, ..Message::new(channel, data) })
    }

    async fn post(self: Arc<Self>, index: usize, address: Address, batch: usize) {
        // The first has no news but that this process has begun, so that whoever was on one before it is there no more.
        let mut letter = Letter::new(&self.instance, 1, &Default::default());
        for number in 2.. {
            self.deliver(&address, letter).await;
            letter = loop {
                let changes = self.presence.take(index, Way::Post, batch);
                if !changes.list.is_empty() {
                    break Letter::new(&self.instance, number, &changes);
                }
                self.bells[2 + 2 * index].notified().await;
            };
        }
    }

    /// Posts until it is taken.
    async fn deliver(&self, address: &Address, letter: Letter) {
        let mut wait = WAIT_MIN;
        loop {
            let outcome = address.post(&letter).await;
            let word = if outcome.is_ok() { "ok" } else { "failed" };
            self.metrics.presence_posts.with_label_values(&[word]).inc();
            let Err(error) = outcome else { return };
            if wait == WAIT_MIN {
                tracing::warn!(to = %address, %error, "joins and leaves can't be posted, and are tried again");
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(WAIT_MAX);
        }
    }
}

fn rule(config: &PresenceConfig) -> PresenceRule {
    PresenceRule {
        channels: config.channels.clone(),
        grace: config.grace,
        publish: config.publish.clone(),
        post: config.post.is_some(),
        members: config.members,
        all_members: config.all_members,
        queue: config.queue,
    }
}
