//! Publishers' ids of GRIP: what is sent again within a minute, since its answer was lost, is published once; pure.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use crate::message::ChannelName;

/// How long an id is remembered: publishers repeat what failed at once, and applications that begin anew count from
/// one again. As Pushpin's `id_cache_ttl`.
const AGE: Duration = Duration::from_secs(60);
/// How many; the oldest go first. A thousand messages a second for a minute, in some ten megabytes.
const IDS_MAX: usize = 60_000;

type Id = (ChannelName, Box<str>);

/// The ids of the last minute.
#[derive(Default)]
pub(super) struct RecentIds {
    known: HashSet<Id>,
    order: VecDeque<(Instant, Id)>,
}

impl RecentIds {
    /// Remembers an id; false where it is known.
    pub(super) fn note(&mut self, channel: &ChannelName, id: &str, now: Instant) -> bool {
        while let Some((at, id)) = self.order.front()
            && (now.duration_since(*at) >= AGE || self.order.len() >= IDS_MAX)
        {
            self.known.remove(id);
            self.order.pop_front();
        }
        let id = (channel.clone(), id.into());
        let is_new = self.known.insert(id.clone());
        if is_new {
            self.order.push_back((now, id));
        }
        is_new
    }

    /// What it stood for was not published after all.
    pub(super) fn forget(&mut self, channel: &ChannelName, id: &str) {
        let id = (channel.clone(), id.into());
        if self.known.remove(&id)
            && let Some(at) = self.order.iter().rposition(|(_, own)| *own == id)
        {
            self.order.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_counts_for_a_minute_on_its_channel() {
        let name = |name: &str| ChannelName::parse(name).unwrap();
        let (mut ids, now) = (RecentIds::default(), Instant::now());
        assert!(ids.note(&name("a"), "1", now));
        assert!(!ids.note(&name("a"), "1", now + AGE / 2));
        assert!(ids.note(&name("b"), "1", now));
        ids.forget(&name("b"), "1");
        assert!(ids.note(&name("b"), "1", now));
        assert!(ids.note(&name("a"), "1", now + AGE));
        for id in 0..2 * IDS_MAX {
            ids.note(&name("c"), &id.to_string(), now + AGE);
        }
        assert!(ids.known.len() <= IDS_MAX && ids.order.len() <= IDS_MAX);
    }
}
