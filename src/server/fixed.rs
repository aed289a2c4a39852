//! What stays as it was at the start, whatever is reloaded: a file that says something else waits for the next start.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::comet::publish_limits;
use crate::config::{Config, ControlConfig, Endpoint, LogLevel, PresenceConfig, StoreConfig, UserConfig};
use crate::control::PublishLimits;
use crate::jwt::VerifyingKey;

/// The values in use of such keys.
pub(super) struct Fixed {
    threads: NonZeroUsize,
    pub(super) control: Option<Endpoint>,
    store: StoreConfig,
    user: Option<UserConfig>,
    watchdog: Option<Duration>,
    presence: Vec<PresenceConfig>,
    publish: PublishLimits,
    publish_key: Option<VerifyingKey>,
    log_level: LogLevel,
}

impl Fixed {
    /// As a start takes them.
    pub(super) fn of(config: &Config) -> Fixed {
        Fixed {
            threads: config.threads,
            control: config.control.as_ref().map(|ControlConfig { address, .. }| address.clone()),
            store: config.store.clone(),
            user: config.user.clone(),
            watchdog: config.watchdog,
            presence: config.presence.clone(),
            publish: publish_limits(config),
            publish_key: config.grip.as_ref().and_then(|grip| grip.publish_key.clone()),
            log_level: config.log.level,
        }
    }

    /// Keys for which this file says something else than what is in use, be it the first reload that does or not.
    pub(super) fn waiting(&self, config: &Config) -> impl Iterator<Item = &'static str> {
        let new = Fixed::of(config);
        let changed = [
            ("threads", self.threads != new.threads),
            ("control.address", self.control != new.control),
            ("store", self.store != new.store),
            ("user or group", self.user != new.user),
            ("watchdog", self.watchdog != new.watchdog),
            ("presence", self.presence != new.presence),
            ("limits.message, limits.batch or limits.publish_body", self.publish != new.publish),
            ("grip.publish_key", self.publish_key != new.publish_key),
            ("log.level", self.log_level != new.log_level),
        ];
        changed.into_iter().filter(|(_, changed)| *changed).map(|(key, _)| key)
    }
}
