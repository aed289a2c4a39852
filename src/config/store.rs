//! How `store` is decoded: a word, or a mapping for a folder or a Redis server.

use std::path::PathBuf;
use std::time::Duration;

use super::draft::{KeptDraft, StoreDraft, SyncWord};
use super::problem::{Fault, Placed, Problem};
use super::section::{Key, Section, Value};
use super::tree::Content;
use super::units::MIB;
use super::{Secret, form};

/// Where channels are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreConfig {
    /// In memory alone: a start begins with nothing.
    Memory,
    /// In a folder.
    Disk(DiskConfig),
    /// In Redis or Valkey, for several nodes.
    Redis(RedisConfig),
}

/// A store that several nodes share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisConfig {
    /// `redis://` or `rediss://`; it may have a password.
    pub url: Secret,
    /// What the names of its keys begin with.
    pub prefix: String,
    /// Bytes of messages that may wait for it.
    pub waiting: usize,
}

/// A store in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskConfig {
    /// The folder; the one above it exists.
    pub path: PathBuf,
    /// When what is published is made safe.
    pub sync: SyncTime,
    /// Bytes of messages that may wait for the disk.
    pub waiting: usize,
}

/// When what is published is made safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncTime {
    /// Before it is answered, with all that wait.
    Group,
    /// This often. A loss of power may take back what was answered since; the end of the process may not.
    Interval(Duration),
}

impl Default for KeptDraft {
    fn default() -> Self {
        KeptDraft {
            path: None,
            redis: None,
            // Whoever looks into Redis sees whose keys they are.
            prefix: "perihelion".to_owned(),
            // Who asks for a disk wants what was acknowledged to be there.
            sync: SyncWord::Group,
            // What Redis calls `everysec`, and what people who choose it expect to lose at most.
            interval: Duration::from_secs(1),
            // Some seconds of a slow disk at the usual size of a message.
            waiting: 64 * MIB,
        }
    }
}

/// The keys of `store`.
pub(super) static STORE: Section<KeptDraft> = Section {
    short: Some(form::STORE.expected),
    required: &[],
    keys: &[
        Key::new("path", |store, value| store.path = value.placed(&form::FOLDER)),
        Key::new("redis", |store, value| store.redis = redis_url(value)),
        Key::new("prefix", |store, value| value.put(&mut store.prefix, &form::PREFIX)),
        Key::new("sync", |store, value| value.put(&mut store.sync, &form::SYNC)),
        Key::new("interval", |store, value| value.put(&mut store.interval, &form::DURATION)),
        Key::new("waiting", |store, value| value.put(&mut store.waiting, &form::SIZE)),
    ],
};

/// A store that needs no settings, or one with keys.
pub(super) fn store(value: Value<'_>) -> StoreDraft {
    if value.is_text() {
        return StoreDraft::Plain(value.read(&form::STORE).unwrap_or(StoreConfig::Memory));
    }
    let (place, is_map) = (value.node.place, value.is_map());
    let mut kept = KeptDraft::default();
    STORE.fill(&mut kept, value);
    match is_map {
        true => StoreDraft::Kept(Placed { place, value: kept }),
        // That has been told.
        false => StoreDraft::Plain(StoreConfig::Memory),
    }
}

/// The address of a Redis server; a problem never shows it, since it may hold a password.
fn redis_url(value: Value<'_>) -> Option<Secret> {
    let expected = "a URL such as redis://127.0.0.1:6379 or rediss://:PASSWORD@redis.example/0";
    let Value { key, node, problems } = value;
    let Content::Text(text) = &node.content else {
        Value { key, node, problems }.refuse(expected);
        return None;
    };
    let is_known = ["redis://", "rediss://"].iter().any(|scheme| text.starts_with(scheme));
    if !is_known || redis::IntoConnectionInfo::into_connection_info(text.as_str()).is_err() {
        problems.push(Problem::new(node.place, Fault::BadRedis(key.to_owned())).expected(expected));
        return None;
    }
    Some(Secret(text.clone()))
}
