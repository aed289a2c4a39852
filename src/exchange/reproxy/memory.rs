//! What is remembered of answers that may be asked for again: where they lie, and the headers that were named.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderValue, SET_COOKIE, VARY};
use hyper::http::request;
use hyper::{StatusCode, Uri};
use lru::LruCache;
use parking_lot::Mutex;
use prometheus::IntGauge;

use super::instruction::Cached;
use super::said::Said;

/// An answer that needs no application.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) urls: Arc<[Uri]>,
    pub(super) headers: HeaderMap,
    pub(super) expected_size: Option<u64>,
    until: Instant,
}

/// The answers of one pool, the least used of which make room. Locked for one look-up at a time.
pub(super) struct Memory {
    kept: Mutex<LruCache<Key, Kept>>,
    entries: IntGauge,
}

/// Host and target.
type Key = (Box<[u8]>, Box<str>);

impl Memory {
    pub(super) fn new(entries_max: NonZeroUsize, entries: IntGauge) -> Memory {
        Memory { kept: Mutex::new(LruCache::new(entries_max)), entries }
    }

    /// What is known of this request's answer.
    pub(super) fn recall(&self, parts: &request::Parts, now: Instant) -> Option<Kept> {
        let key = key(parts);
        let mut kept = self.kept.lock();
        let found = kept.get(&key)?;
        if found.until > now {
            return Some(found.clone());
        }
        kept.pop(&key);
        self.entries.set(kept.len().try_into().unwrap_or(i64::MAX));
        None
    }

    /// Remembers where an answer lies, unless it was made for this client alone. The time begins now.
    pub(super) fn keep(
        &self,
        parts: &request::Parts,
        said: &Said,
        (urls, expected_size): (&[Uri], Option<u64>),
        cached: &Cached,
        now: Instant,
    ) {
        let is_for_all = !said.headers.contains_key(VARY) && !parts.headers.contains_key(AUTHORIZATION);
        let Some(until) = now.checked_add(cached.time).filter(|_| !cached.time.is_zero()) else { return };
        if said.status != StatusCode::OK || !is_for_all {
            return;
        }
        let mut headers = HeaderMap::with_capacity(cached.headers.len());
        for name in cached.headers.iter().filter(|name| **name != SET_COOKIE) {
            for value in said.headers.get_all(name) {
                headers.append(name, value.clone());
            }
        }
        let mut kept = self.kept.lock();
        kept.put(key(parts), Kept { urls: urls.into(), headers, expected_size, until });
        self.entries.set(kept.len().try_into().unwrap_or(i64::MAX));
    }

    /// Forgets an answer that is no longer where it was.
    pub(super) fn forget(&self, parts: &request::Parts) {
        let mut kept = self.kept.lock();
        kept.pop(&key(parts));
        self.entries.set(kept.len().try_into().unwrap_or(i64::MAX));
    }
}

fn key(parts: &request::Parts) -> Key {
    let host = match parts.uri.authority() {
        Some(authority) => authority.as_str().as_bytes(),
        None => parts.headers.get(HOST).map(HeaderValue::as_bytes).unwrap_or_default(),
    };
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    (host.to_ascii_lowercase().into(), target.into())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn request(target: &str) -> request::Parts {
        hyper::Request::get(target).header("host", "A.example").body(()).unwrap().into_parts().0
    }

    fn said(fields: &[(&str, &str)]) -> Said {
        let mut response = hyper::Response::builder();
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        Said::of(response.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn what_is_for_everybody_is_remembered_for_its_time() {
        let gauge = IntGauge::new("a", "b").unwrap();
        let memory = Memory::new(NonZeroUsize::new(2).unwrap(), gauge.clone());
        let (now, time) = (Instant::now(), Duration::from_secs(5));
        let cached = Cached { time, headers: vec!["etag".parse().unwrap(), SET_COOKIE] };
        let keep =
            |target: &str, said: &Said| memory.keep(&request(target), said, (&[], Some(3)), &cached, now);
        keep("/a?b", &said(&[("etag", "\"1\""), ("x-other", "1"), ("set-cookie", "a=1")]));
        let kept = memory.recall(&request("/a?b"), now).unwrap();
        assert_eq!((kept.headers.len(), kept.expected_size), (1, Some(3)));
        assert!(memory.recall(&request("/a?c"), now).is_none());
        keep("/vary", &said(&[("vary", "accept")]));
        assert!(memory.recall(&request("/vary"), now).is_none());
        for target in ["/b", "/c"] {
            keep(target, &said(&[]));
        }
        assert!(memory.recall(&request("/a?b"), now).is_none(), "the least used made room");
        assert_eq!(gauge.get(), 2);
        assert!(memory.recall(&request("/c"), now + time).is_none());
        memory.forget(&request("/b"));
        assert_eq!(gauge.get(), 0);
    }
}
