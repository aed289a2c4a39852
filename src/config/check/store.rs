//! Where channels are kept: what belongs to which store.

use std::path::Path;

use super::Rules;
use crate::config::draft::{KeptDraft, RedisTlsDraft, StoreDraft, SyncWord};
use crate::config::problem::{Fault, Placed};
use crate::config::{DiskConfig, RedisConfig, RedisTls, Secret, StoreConfig, SyncTime, certificate};

impl Rules<'_> {
    pub(super) fn store(&mut self, draft: StoreDraft) -> StoreConfig {
        let Placed { place, value: kept } = match draft {
            StoreDraft::Plain(store) => return store,
            StoreDraft::Kept(kept) => kept,
        };
        let (path, redis) = (self.root.at("store.path"), self.root.at("store.redis"));
        match (path, redis) {
            (None, None) => {
                self.tell(place, Fault::MissingKey("path"), "`path`, or `redis`");
                StoreConfig::Memory
            }
            (Some(_), Some(typed)) => {
                let fault = Fault::Both { key: "store.redis", other: "store.path" };
                self.tell(typed.place, fault, "one of them");
                StoreConfig::Memory
            }
            (Some(_), None) => self.disk(kept),
            (None, Some(_)) => self.redis(kept),
        }
    }

    fn redis(&mut self, kept: KeptDraft) -> StoreConfig {
        for key in ["store.sync", "store.interval"] {
            if let Some(typed) = self.root.at(key) {
                self.tell(
                    typed.place,
                    Fault::Needs { key, other: "store.path" },
                    "`path`, or Redis's own settings",
                );
            }
        }
        if kept.redis.len() > 1
            && let Some(place) = self.root.at("store.sentinels").map(|node| node.place)
        {
            let fault = Fault::Both { key: "store.sentinels", other: "several addresses in store.redis" };
            self.tell(place, fault, "one URL beside them, whose host is the name of the master");
        }
        let has_tls = |urls: &[Secret]| urls.iter().any(|url| url.0.starts_with("rediss://"));
        if let Some(typed) = self.root.at("store.tls")
            && !has_tls(&kept.redis)
            && !has_tls(&kept.sentinels)
        {
            let place = typed.place;
            let fault = Fault::Needs { key: "store.tls", other: "rediss://" };
            self.tell(place, fault, "a URL with `rediss://`, or no `tls`");
        }
        let KeptDraft { redis: urls, sentinels, tls, prefix, waiting, .. } = kept;
        StoreConfig::Redis(RedisConfig { urls, sentinels, tls: self.redis_tls(tls), prefix, waiting })
    }

    fn redis_tls(&mut self, draft: RedisTlsDraft) -> RedisTls {
        let RedisTlsDraft { authority, certificate, key } = draft;
        if let (None, Some(Placed { place, .. })) = (&certificate, &key) {
            let fault = Fault::Needs { key: "store.tls.key", other: "store.tls.certificate" };
            self.tell(*place, fault, "a `certificate`, or no `key`");
        }
        let own = certificate.map(|certificate| {
            let key = key.unwrap_or_else(|| certificate.clone());
            certificate::read(certificate.clone(), key.clone(), self.now)?;
            Ok((certificate::pem(&certificate)?, certificate::pem(&key)?))
        });
        let authority = authority.map(|authority| certificate::authority(&authority, self.now));
        let mut told = |problem| self.problems.push(problem);
        RedisTls {
            authority: authority.and_then(|read| read.map_err(&mut told).ok()),
            own: own.and_then(|read| read.map_err(&mut told).ok()),
        }
    }

    fn disk(&mut self, disk: KeptDraft) -> StoreConfig {
        for key in ["store.sentinels", "store.tls", "store.prefix"] {
            if let Some(typed) = self.root.at(key) {
                let fault = Fault::Needs { key, other: "store.redis" };
                self.tell(typed.place, fault, "`redis`, or none of its keys");
            }
        }
        let sync = match disk.sync {
            SyncWord::Group => SyncTime::Group,
            SyncWord::Interval => SyncTime::Interval(disk.interval),
        };
        if sync == SyncTime::Group
            && let Some(typed) = self.root.at("store.interval")
            && self.was_read("store.sync")
        {
            let fault = Fault::Needs { key: "store.interval", other: "store.sync: interval" };
            self.tell(typed.place, fault, "`sync: interval`, or no `interval`");
        }
        // Where it is missing, that has been told.
        let Some(Placed { place, value: path }) = disk.path else { return StoreConfig::Memory };
        // Its last part is made at the start. Who else uses it, and what is in it, is seen then.
        let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        self.is_folder(place, if path.exists() { &path } else { above });
        StoreConfig::Disk(DiskConfig { path, sync, waiting: disk.waiting })
    }
}
