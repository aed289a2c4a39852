//! Revocations at all nodes: said through the log that the nodes share, and done by each when it hears of them.
//!
//! The node that was asked hears of its own in the same way, so that whatever was published before, at any node, is
//! delivered first at all of them. What was revoked is remembered beside the log for as long as a ticket of before could
//! be valid, for nodes that start later.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::oneshot;

use crate::hold::{TICKET_MAX, Tickets, Whose};
use crate::message::Data;
use crate::metrics::Metrics;
use crate::shard::{Counting, LastMessage, Revoker};
use crate::store::{LogError, Memory, RedisLog, Talk, Word, Words};

use super::revocations::count;

/// Tells all nodes.
pub(super) struct Herald {
    log: Mutex<RedisLog>,
    ears: Arc<Ears>,
}

/// Does what is heard.
pub(super) struct Ears {
    tickets: Arc<Tickets>,
    /// Those who hold connections; nobody does before they are there.
    revoker: OnceLock<Revoker>,
    /// Who waits here for a revocation to be heard, by a number that is said with it.
    waiting: Mutex<HashMap<u64, oneshot::Sender<Counting>>>,
    metrics: Metrics,
}

/// What is said with a revocation.
#[derive(Serialize, Deserialize)]
struct Said<'a> {
    by: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    json: Option<&'a RawValue>,
}

/// How long who was asked waits to hear of it: what is said is safe by then, and done here at the latest.
const HEARING: Duration = Duration::from_secs(3);
/// A word's time is cut to milliseconds; what was given within the last one is void, too.
const WITHIN: Duration = Duration::from_micros(999);

impl Herald {
    /// Makes void again what is remembered.
    pub(super) fn new(talk: Talk, ears: &Arc<Ears>) -> Herald {
        let Words { said, forgotten } = talk.words;
        if let Some(upto) = forgotten {
            ears.tickets.revoke_all(upto);
        }
        for (at, name) in said {
            if let Some(whose) = read_name(&name) {
                ears.tickets.revoke(whose, at);
            }
        }
        Herald { log: Mutex::new(talk.tells), ears: ears.clone() }
    }

    /// Tells all nodes; how many connections ended at this one. An error says what became of it.
    pub(super) async fn revoke(
        self: Arc<Self>,
        whose: Whose,
        last: Option<LastMessage>,
        at: SystemTime,
    ) -> Result<usize, String> {
        let (by, hears) = self.ears.expect();
        let word = Word { at: at + WITHIN, name: name_of(&whose), more: more_of(by, last.as_ref()) };
        let told = self.tell(word).await;
        if told.is_ok()
            && let Ok(Ok(counting)) = tokio::time::timeout(HEARING, hears).await
        {
            return Ok(counting.sum().await);
        }
        // This node doesn't follow the log now. It is done here at least.
        let count = self.ears.end(whose, last, at).sum().await;
        told.map(|()| count).map_err(|error| {
            tracing::error!(%error, "a revocation could not be told to other nodes");
            format!("it is revoked at this node until it ends, but other nodes may not know of it: {error}")
        })
    }

    async fn tell(self: &Arc<Self>, word: Word) -> Result<(), LogError> {
        let herald = self.clone();
        let memory = Memory { count: self.ears.tickets.revocations_max(), age: TICKET_MAX };
        let told = tokio::task::spawn_blocking(move || herald.log.lock().tell(&word, memory)).await;
        told.unwrap_or_else(|panic| Err(LogError::Failed(panic.to_string()))).map(drop)
    }
}

impl Ears {
    pub(super) fn new(tickets: Arc<Tickets>, metrics: Metrics) -> Arc<Ears> {
        Arc::new(Ears { tickets, revoker: OnceLock::new(), waiting: Mutex::default(), metrics })
    }

    /// From now on there may be connections.
    pub(super) fn reach(&self, revoker: Revoker) {
        // There is one set of shards, which says it once.
        let _ = self.revoker.set(revoker);
    }

    /// Does what a word says.
    pub(super) fn hear(&self, word: Word) {
        let said: Option<(Whose, Said<'_>)> =
            read_name(&word.name).zip(serde_json::from_slice(&word.more).ok());
        let Some((whose, Said { by, event, text, json })) = said else {
            tracing::warn!("another node says something that this version doesn't understand");
            return;
        };
        let json = json.map(|json| Data::Json(Bytes::copy_from_slice(json.get().as_bytes())));
        let data = json.or(text.map(|text| Data::Text(text.into())));
        let counting = self.end(whose, data.map(|data| LastMessage { event, data }), word.at);
        if let Some(waiting) = self.waiting.lock().remove(&by) {
            // Whoever asked may have left.
            let _ = waiting.send(counting);
        }
    }

    fn end(&self, whose: Whose, last: Option<LastMessage>, at: SystemTime) -> Counting {
        let by = whose.kind();
        let (counting, fits) = match self.revoker.get() {
            Some(revoker) => revoker.revoke(whose, last, at),
            None => (Counting::default(), self.tickets.revoke(whose, at)),
        };
        count(&self.metrics, by, fits);
        counting
    }

    fn expect(&self) -> (u64, oneshot::Receiver<Counting>) {
        let (hears, heard) = oneshot::channel();
        let by = fastrand::u64(..);
        let mut waiting = self.waiting.lock();
        waiting.retain(|_, waiting| !waiting.is_closed());
        waiting.insert(by, hears);
        (by, heard)
    }
}

/// A letter for the kind, then the name.
fn name_of(whose: &Whose) -> Box<[u8]> {
    let (letter, name) = match whose {
        Whose::Tag(name) => (b't', name),
        Whose::Channel(name) => (b'c', name),
    };
    [&[letter], name.as_bytes()].concat().into()
}

fn read_name(name: &[u8]) -> Option<Whose> {
    let (letter, name) = name.split_first()?;
    let name = std::str::from_utf8(name).ok()?.into();
    match letter {
        b't' => Some(Whose::Tag(name)),
        b'c' => Some(Whose::Channel(name)),
        _ => None,
    }
}

fn more_of(by: u64, last: Option<&LastMessage>) -> Box<[u8]> {
    let event = last.and_then(|last| last.event.clone());
    let (text, json) = match last.map(|last| &last.data) {
        None => (None, None),
        Some(Data::Json(bytes)) => (None, serde_json::from_slice(bytes).ok()),
        Some(Data::Text(bytes) | Data::Binary(bytes)) => {
            (Some(String::from_utf8_lossy(bytes).into_owned()), None)
        }
    };
    serde_json::to_vec(&Said { by, event, text, json }).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hold::TicketSettings;

    #[test]
    fn a_name_reads_what_it_writes() {
        for whose in [Whose::Tag("session:42".into()), Whose::Channel("news".into()), Whose::Tag("".into())] {
            assert_eq!(read_name(&name_of(&whose)), Some(whose));
        }
        for strange in [&b""[..], b"x", b"tag\xff", b"t\xff"] {
            assert!(read_name(strange).is_none_or(|whose| whose == Whose::Tag("ag\u{fffd}".into())));
        }
    }

    #[test]
    fn who_asked_hears_of_its_own_and_nobody_of_what_is_strange() {
        let settings = TicketSettings { keys: Vec::new(), renewal: None, revocations: 10 };
        let tickets = Arc::new(Tickets::new(&[1; 32], &settings));
        let ears = Ears::new(tickets, Metrics::new().expect("metrics register"));
        let (by, mut heard) = ears.expect();
        let word =
            |more: &[u8]| Word { at: SystemTime::now(), name: b"ta".as_slice().into(), more: more.into() };
        ears.hear(word(b"not json"));
        ears.hear(word(&more_of(by.wrapping_add(1), None)));
        assert!(heard.try_recv().is_err());
        ears.hear(word(&more_of(by, Some(&LastMessage { event: None, data: Data::Text("bye".into()) }))));
        assert!(heard.try_recv().is_ok());
        assert_eq!(ears.metrics.comet_revocations.with_label_values(&["tag"]).get(), 2);
        drop(ears.expect());
        ears.expect();
        assert_eq!(ears.waiting.lock().len(), 1, "those who left are forgotten");
    }
}
