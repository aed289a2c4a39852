//! `store`: a word, or a mapping for a folder or for Redis servers.

use std::path::PathBuf;
use std::time::Duration;

use super::draft::{KeptDraft, RedisTlsDraft, StoreDraft, SyncWord};
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
    /// `redis://` or `rediss://`; they may have a password. With sentinels one, whose host is a name.
    pub urls: Vec<Secret>,
    /// Those who know where the server of this name is.
    pub sentinels: Vec<Secret>,
    /// For those with TLS.
    pub tls: RedisTls,
    /// What the names of its keys begin with.
    pub prefix: String,
    /// Bytes of messages that may wait for it.
    pub waiting: usize,
}

/// How a Redis server with TLS is recognised, and recognises us.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RedisTls {
    /// Who signs its certificate, in PEM form; without it, one of those whom browsers trust.
    pub authority: Option<Secret>,
    /// Our own certificate and its key, in PEM form.
    pub own: Option<(Secret, Secret)>,
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
            redis: Vec::new(),
            sentinels: Vec::new(),
            tls: RedisTlsDraft::default(),
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
        Key::new("redis", |store, value| value.each_of_some(|item| store.redis.extend(redis_url(item)))),
        Key::new("sentinels", |store, value| {
            value.each_of_some(|item| store.sentinels.extend(redis_url(item)));
        }),
        Key::section("tls", ".", &TLS, |store, value| TLS.fill(&mut store.tls, value)),
        Key::new("prefix", |store, value| value.put(&mut store.prefix, &form::PREFIX)),
        Key::new("sync", |store, value| value.put(&mut store.sync, &form::SYNC)),
        Key::new("interval", |store, value| value.put(&mut store.interval, &form::DURATION)),
        Key::new("waiting", |store, value| value.put(&mut store.waiting, &form::SIZE)),
    ],
};

static TLS: Section<RedisTlsDraft> = Section {
    short: None,
    required: &[],
    keys: &[
        Key::new("authority", |tls, value| tls.authority = value.placed(&form::FILE)),
        Key::new("certificate", |tls, value| tls.certificate = value.placed(&form::FILE)),
        Key::new("key", |tls, value| tls.key = value.placed(&form::FILE)),
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
