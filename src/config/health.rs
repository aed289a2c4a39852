//! `health` and `eject` of a pool: which of its servers are left out for a while.

use std::num::NonZeroU32;
use std::time::Duration;

use super::form;
use super::pool::PoolConfig;
use super::section::{Key, Section, Value};

/// A question to each server, and what its answers mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthConfig {
    /// Path and query; 2xx and 3xx are good answers.
    pub path: String,
    /// What it says as `Host`; `None` is the server's address.
    pub host: Option<String>,
    /// From one question to the next.
    pub interval: Duration,
    /// How much longer that is by chance, at the most.
    pub jitter: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Good answers in a row by which a server comes back.
    pub rise: NonZeroU32,
    /// Bad ones by which it goes.
    pub fall: NonZeroU32,
}

/// When a server is left out because of what it does to requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EjectConfig {
    /// Faults one after another.
    pub faults: NonZeroU32,
    /// How long the first time; each further time twice as long.
    pub time: Duration,
    /// How long at the most.
    pub time_max: Duration,
}

impl HealthConfig {
    /// Of which nothing but the path was typed.
    pub fn at(path: String) -> Self {
        HealthConfig {
            path,
            host: None,
            interval: Duration::from_secs(5),
            // So that many proxies don't ask at the same moment.
            jitter: Duration::from_millis(500),
            // A worker that is busy for a moment is well.
            timeout: Duration::from_secs(2),
            rise: count(2),
            fall: count(3),
        }
    }
}

impl Default for EjectConfig {
    fn default() -> Self {
        EjectConfig {
            // More than one bad request does, fewer than people notice.
            faults: count(5),
            // About a restart.
            time: Duration::from_secs(5),
            // Somebody who has mended it doesn't want to wait longer.
            time_max: Duration::from_secs(60),
        }
    }
}

/// A count that is none only if this program is wrong.
const fn count(number: u32) -> NonZeroU32 {
    match NonZeroU32::new(number) {
        Some(number) => number,
        None => NonZeroU32::MIN,
    }
}

pub(super) static HEALTH: Section<HealthConfig> = Section {
    short: Some(form::QUESTION.expected),
    required: &[("path", form::QUESTION.expected)],
    keys: &[
        Key::new("path", |health, value| value.put(&mut health.path, &form::QUESTION)),
        Key::new("host", |health, value| health.host = value.read(&form::HOST_FIELD)),
        Key::new("interval", |health, value| value.put(&mut health.interval, &form::DURATION)),
        Key::new("jitter", |health, value| value.put(&mut health.jitter, &form::DELAY)),
        Key::new("timeout", |health, value| value.put(&mut health.timeout, &form::DURATION)),
        Key::new("rise", |health, value| value.put(&mut health.rise, &form::TIMES)),
        Key::new("fall", |health, value| value.put(&mut health.fall, &form::TIMES)),
    ],
};

pub(super) static EJECT: Section<EjectConfig> = Section {
    short: Some("`off`"),
    required: &[],
    keys: &[
        Key::new("faults", |eject, value| value.put(&mut eject.faults, &form::TIMES)),
        Key::new("time", |eject, value| value.put(&mut eject.time, &form::DURATION)),
        Key::new("time_max", |eject, value| value.put(&mut eject.time_max, &form::DURATION)),
    ],
};

/// `off`, or when.
pub(super) fn eject(pool: &mut PoolConfig, value: Value<'_>) {
    if value.is_text() {
        if value.read(&form::ONLY_OFF).is_some() {
            pool.eject = None;
        }
    } else if let Some(eject) = &mut pool.eject {
        EJECT.fill(eject, value);
    }
}
