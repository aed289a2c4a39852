//! The held half of the process: hub and shards, and what a configuration says to them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use ring::rand::{SecureRandom, SystemRandom};

use crate::access_log::AccessLog;
use crate::bayeux::{Bayeux, Courier};
use crate::config::{ChannelRule, Config, HistoryConfig, SlowReader, StoreConfig};
use crate::control::PublishLimits;
use crate::hold::{Keeper, TicketSettings, Tickets};
use crate::hub::{Hub, HubSettings, Pattern, Policies, Policy, Rule, Slow, WINDOW_MESSAGES};
use crate::message::Epoch;
use crate::metrics::Metrics;
use crate::shard::{Asker, Revoker, ShardSettings, Shards};

use super::StartError;
use super::filters::Filters;
use super::herald::Ears;
use super::keeping::Keeping;
use super::ledger::Ledger;
use super::presence::Watch;
use super::revocations::Beyond;
use super::sharing::Sharing;
use super::watchdog::Ward;

/// Hub and shards.
pub(super) struct Comet {
    hub: Arc<Hub>,
    bayeux: Arc<Bayeux>,
    /// Ends before the shards that it speaks to.
    courier: Courier,
    shards: Shards,
    tickets: Arc<Tickets>,
    beyond: Beyond,
    watch: Option<Arc<Watch>>,
    filters: Arc<Filters>,
    kept: Kept,
}

/// The threads of the store, where there is one.
enum Kept {
    InMemory,
    OnDisk(Keeping),
    InRedis(Sharing),
}

impl Comet {
    /// Starts as many shards as there are threads for ordinary work.
    pub(super) fn start(config: &Config, metrics: &Metrics, log: &AccessLog) -> Result<Comet, StartError> {
        let (settings, fresh) = (hub_settings(config), epoch()?);
        let own: [u8; 32] = random()?;
        let tickets = Arc::new(Tickets::new(&own, &ticket_settings(config)));
        let ears = Ears::new(tickets.clone(), metrics.clone());
        let (hub, kept) = match &config.store {
            StoreConfig::Memory => (Hub::new(fresh, settings, metrics.clone()), Kept::InMemory),
            StoreConfig::Disk(disk) => {
                let (hub, keeping) = Keeping::start(disk, fresh, settings, metrics)?;
                (hub, Kept::OnDisk(keeping))
            }
            StoreConfig::Redis(redis) => {
                let (hub, sharing) = Sharing::start(redis, [fresh, epoch()?], settings, &ears, metrics)?;
                (hub, Kept::InRedis(sharing))
            }
        };
        let beyond = match (&kept, &config.store) {
            (Kept::InRedis(sharing), _) => Beyond::Nodes(sharing.herald()),
            // The store has the folder to itself by now.
            (Kept::OnDisk(_), StoreConfig::Disk(disk)) => {
                let ledger = Ledger::open(&disk.path, &tickets, SystemTime::now())?;
                Beyond::Folder(Arc::new(Mutex::new(ledger)))
            }
            _ => Beyond::Nobody,
        };
        let threads = usize::from(config.threads);
        let watch = Watch::new(config, format!("{:x}", epoch()?.0), metrics).map(Arc::new);
        let known = (tickets.clone(), watch.as_ref().map(|watch| watch.presence.clone()));
        let filters = Filters::new(config, metrics);
        let settings = shard_settings(config, &filters);
        let shards = Shards::start(threads, &hub, settings, known, metrics, log)?;
        ears.reach(shards.revoker());
        let bayeux = Bayeux::new(&hub, config.limits.bayeux_sessions, metrics);
        let courier = Courier::start(&bayeux)?;
        Ok(Comet { hub, bayeux, courier, shards, tickets, beyond, watch, filters, kept })
    }

    pub(super) fn clone_hub(&self) -> Arc<Hub> {
        self.hub.clone()
    }

    pub(super) fn revoker(&self) -> Revoker {
        self.shards.revoker()
    }

    pub(super) fn bayeux(&self) -> Arc<Bayeux> {
        self.bayeux.clone()
    }

    /// Who hears of a revocation.
    pub(super) fn beyond(&self) -> Beyond {
        self.beyond.clone()
    }

    /// Presence, where it is watched.
    pub(super) fn watch(&self) -> Option<Arc<Watch>> {
        self.watch.clone()
    }

    /// Whoever asks for filters.
    pub(super) fn filters(&self) -> Arc<Filters> {
        self.filters.clone()
    }

    /// Says whether the store can't be reached now.
    pub(super) fn watch_store(&self) -> Arc<dyn Fn() -> bool + Send + Sync> {
        match &self.kept {
            Kept::InMemory | Kept::OnDisk(_) => Arc::new(|| false),
            Kept::InRedis(sharing) => sharing.watch(),
        }
    }

    pub(super) fn keeper(&self) -> Arc<dyn Keeper> {
        self.shards.keeper()
    }

    /// Takes another configuration for what comes from now on.
    pub(super) fn reconfigure(&self, config: &Config) {
        self.hub.reconfigure(hub_settings(config));
        self.bayeux.set_sessions_max(config.limits.bayeux_sessions);
        self.filters.reconfigure(config);
        self.shards.reconfigure(shard_settings(config, &self.filters));
        self.tickets.reconfigure(&ticket_settings(config));
    }

    /// Ends what is held, spread over this time.
    pub(super) fn drain(&self, spread: Duration) {
        self.shards.drain(spread);
    }

    /// Connections held now.
    pub(super) fn open(&self) -> usize {
        self.shards.open()
    }

    /// For the watchdog.
    pub(super) fn wards(&self) -> impl Iterator<Item = Ward> {
        self.shards.watched().map(|(watched, wake)| Ward { watched, wake: Some(wake) })
    }

    /// Cuts what is left.
    pub(super) fn stop(self) {
        drop(self.courier);
        self.shards.stop();
        match self.kept {
            Kept::InMemory => {}
            Kept::OnDisk(keeping) => drop(keeping),
            Kept::InRedis(sharing) => drop(sharing),
        }
    }
}

/// A new one for each start with nothing that is kept: positions of an earlier process are recognised by it.
fn epoch() -> std::io::Result<Epoch> {
    let mut bytes: [u8; 8] = random()?;
    // 48 bits: short in each position that is sent, and no two processes will meet.
    bytes[..2].fill(0);
    Ok(Epoch(u64::from_be_bytes(bytes)))
}

fn random<const N: usize>() -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| std::io::Error::other("no random numbers"))?;
    Ok(bytes)
}

fn ticket_settings(config: &Config) -> TicketSettings {
    let keys = config.tickets.keys.iter().map(|key| key.0.as_bytes().into());
    TicketSettings {
        keys: keys.collect(),
        renewal: config.tickets.renewal,
        revocations: config.tickets.revocations,
    }
}

fn hub_settings(config: &Config) -> HubSettings {
    HubSettings {
        policies: policies(config),
        history_bytes: config.limits.history_bytes,
        channels: config.limits.channels,
        window_messages: WINDOW_MESSAGES,
        publisher_ids: config.channels.publisher_ids,
    }
}

/// What holds for channels by their names.
fn policies(config: &Config) -> Policies {
    let channels = &config.channels;
    let all = policy(&channels.history, channels.slow, config.limits.subscribers, None);
    let rule = |rule: &ChannelRule| Rule {
        patterns: rule.patterns.iter().map(|pattern| Pattern::new(pattern)).collect(),
        policy: policy(&rule.history, rule.slow, rule.limits.subscribers, rule.limits.message),
        channels: rule.limits.channels,
        bytes: rule.limits.history_bytes,
    };
    Policies::new(all, channels.rules.iter().map(rule).collect())
}

fn policy(
    history: &HistoryConfig,
    slow: SlowReader,
    subscribers: Option<usize>,
    message: Option<usize>,
) -> Policy {
    let slow = match slow {
        SlowReader::Close => Slow::Close,
        SlowReader::Skip => Slow::Skip,
        SlowReader::Newest => Slow::Newest,
    };
    Policy {
        history_messages: history.messages,
        history_age: history.age,
        history_bytes: history.bytes,
        slow,
        subscribers,
        message,
    }
}

fn shard_settings(config: &Config, filters: &Arc<Filters>) -> ShardSettings {
    ShardSettings {
        held_connections: config.limits.held_connections,
        new_holds: config.limits.new_holds,
        returns: config.channels.returns,
        keepalive: config.channels.keepalive,
        poll_timeout: config.channels.poll_timeout,
        stall: config.timeouts.body,
        turn_bytes: config.limits.turn_bytes,
        read_ahead: config.limits.request_header,
        asker: Some(Asker(filters.clone())),
    }
}

pub(super) fn publish_limits(config: &Config) -> PublishLimits {
    let message = config.limits.message;
    PublishLimits { message, batch: config.limits.batch, body: config.limits.publish_body }
}
