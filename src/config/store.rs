//! How `store` is decoded: a word, or a mapping for a folder or a Redis server.

use super::draft::{KeptDraft, StoreDraft};
use super::problem::{Fault, Placed, Problem};
use super::section::{Key, Section, Value};
use super::tree::Content;
use super::{Secret, StoreConfig, form};

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
