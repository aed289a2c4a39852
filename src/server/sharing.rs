//! The two threads of a log that several nodes share: one appends what is published here, one applies what all publish.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use redis::{ClientTlsConfig, TlsCertificates};

use crate::config::{RedisConfig, RedisTls, Secret};
use crate::hub::{Appender, Follower, Hub, HubSettings};
use crate::message::Epoch;
use crate::metrics::Metrics;
use crate::store::{RedisLog, RedisSettings};

use super::StartError;
use super::herald::{Ears, Herald};

/// A hub that follows a shared log.
pub(super) struct Sharing {
    appends: Option<JoinHandle<()>>,
    follows: Option<JoinHandle<()>>,
    is_ending: Arc<AtomicBool>,
    is_degraded: Arc<dyn Fn() -> bool + Send + Sync>,
    herald: Arc<Herald>,
}

/// Between two looks for what the log can make room of.
const TICK: Duration = Duration::from_secs(1);

impl Sharing {
    /// Opens the log, and starts its threads. See [`RedisLog::open`] for the epochs.
    pub(super) fn start(
        config: &RedisConfig,
        epochs: [Epoch; 2],
        settings: HubSettings,
        ears: &Arc<Ears>,
        metrics: &Metrics,
    ) -> Result<(Arc<Hub>, Sharing), StartError> {
        let log = RedisSettings {
            urls: words(&config.urls),
            sentinels: words(&config.sentinels),
            tls: tls(&config.tls),
            prefix: config.prefix.clone(),
            publisher_ids: settings.publisher_ids,
        };
        let (log, talk) = RedisLog::open(&log, epochs)?;
        let (messages, head) = (log.recovered.messages.len(), log.recovered.head.0);
        tracing::info!(prefix = config.prefix, messages, head, "the store in redis is open");
        let herald = Arc::new(Herald::new(talk, ears));
        let (now, at, hearing) = (Instant::now(), SystemTime::now(), ears.clone());
        let listen = Box::new(move |word| hearing.hear(word));
        let (hub, appender, follower) =
            Hub::following(log, settings, config.waiting, listen, metrics.clone(), now, at);
        let is_ending = Arc::new(AtomicBool::new(false));
        let is_degraded = follower.watch();
        let (ends_appending, ends_following) = (is_ending.clone(), is_ending.clone());
        let appends =
            thread::Builder::new().name("store".into()).spawn(move || append(appender, &ends_appending))?;
        let follows = thread::Builder::new()
            .name("store-follow".into())
            .spawn(move || follow(follower, &ends_following))?;
        let (appends, follows) = (Some(appends), Some(follows));
        Ok((hub, Sharing { appends, follows, is_ending, is_degraded, herald }))
    }

    /// Who tells the other nodes.
    pub(super) fn herald(&self) -> Arc<Herald> {
        self.herald.clone()
    }

    /// Says whether the log can't be read now.
    pub(super) fn watch(&self) -> Arc<dyn Fn() -> bool + Send + Sync> {
        self.is_degraded.clone()
    }
}

impl Drop for Sharing {
    /// What waits is done first.
    fn drop(&mut self) {
        self.is_ending.store(true, Ordering::Release);
        for thread in [self.appends.take(), self.follows.take()].into_iter().flatten() {
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!("a thread of the store had panicked");
            }
        }
    }
}

fn words(secrets: &[Secret]) -> Vec<String> {
    secrets.iter().map(|secret| secret.0.clone()).collect()
}

fn tls(config: &RedisTls) -> Option<TlsCertificates> {
    let bytes = |secret: &Secret| secret.0.clone().into_bytes();
    let root_cert = config.authority.as_ref().map(bytes);
    let client_tls = config.own.as_ref().map(|(certificate, key)| ClientTlsConfig {
        client_cert: bytes(certificate),
        client_key: bytes(key),
    });
    (root_cert.is_some() || client_tls.is_some()).then_some(TlsCertificates { client_tls, root_cert })
}

fn append(mut appender: Appender, is_ending: &AtomicBool) {
    let own = thread::current();
    appender.on_wake(Box::new(move || own.unpark()));
    let mut next_tick = Instant::now() + TICK;
    while !is_ending.load(Ordering::Acquire) {
        let has_done = appender.turn(Instant::now());
        let now = Instant::now();
        if now >= next_tick {
            appender.tick(SystemTime::now());
            next_tick = Instant::now() + TICK;
        }
        if !has_done {
            thread::park_timeout(next_tick.saturating_duration_since(now));
        }
    }
    appender.close(Instant::now());
}

/// Positions that clients have may mean other messages from here on, or messages would be left out silently. Only a new
/// start can tell everybody the truth, so the process ends as a crash would, which everything here is made for.
fn follow(mut follower: Follower, is_ending: &AtomicBool) {
    while !is_ending.load(Ordering::Acquire) {
        match follower.turn(Instant::now(), SystemTime::now()) {
            Ok(pause) => thread::park_timeout(pause),
            Err(error) => {
                tracing::error!(%error, "this node can't go on from what it has, and ends to start afresh");
                std::process::exit(1);
            }
        }
    }
}
