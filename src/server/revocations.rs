//! What the control port may do to held connections: the words of one room in those of the other.

use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;

use super::herald::Herald;
use super::ledger::Ledger;
use crate::control::{Count, Parting, Revoke, Whom};
use crate::hold::{Whose, moment_of_revocation};
use crate::metrics::Metrics;
use crate::shard::{LastMessage, Revoker};

/// Who hears of a revocation beside this process and its next one.
#[derive(Clone)]
pub(super) enum Beyond {
    /// Nobody.
    Nobody,
    /// The next process with the same folder.
    Folder(Arc<Mutex<Ledger>>),
    /// All nodes with the same log.
    Nodes(Arc<Herald>),
}

/// Ends connections and tickets.
pub(super) fn revoke(revoker: Revoker, beyond: Beyond, metrics: &Metrics) -> Revoke {
    let (revoker, metrics) = (Rc::new(revoker), metrics.clone());
    Box::new(move |whom, parting| {
        let (revoker, beyond, metrics) = (revoker.clone(), beyond.clone(), metrics.clone());
        Box::pin(async move {
            let whose = match whom {
                Whom::Tag(tag) => Whose::Tag(tag.into()),
                Whom::Channel(name) => Whose::Channel(name.as_str().into()),
            };
            let last = parting.map(|Parting { event, data }| LastMessage { event, data });
            // The same moment now and after a restart.
            let at = moment_of_revocation();
            let ledger = match beyond {
                Beyond::Nobody => None,
                Beyond::Folder(ledger) => Some(ledger),
                Beyond::Nodes(herald) => return herald.revoke(whose, last, at).await,
            };
            let (counting, fits) = revoker.revoke(whose.clone(), last, at);
            count(&metrics, whose.kind(), fits);
            let connections = counting.sum().await;
            match ledger {
                Some(ledger) => keep(ledger, whose, at).await.map(|()| connections),
                None => Ok(connections),
            }
        })
    })
}

/// Counts a revocation that was done here.
pub(super) fn count(metrics: &Metrics, kind: &str, fits: bool) {
    metrics.comet_revocations.with_label_values(&[kind]).inc();
    if !fits {
        metrics.comet_revocations_forgotten.inc();
    }
}

/// Writes a revocation down, on a thread that may wait for a disk.
async fn keep(ledger: Arc<Mutex<Ledger>>, whose: Whose, at: SystemTime) -> Result<(), String> {
    let written = tokio::task::spawn_blocking(move || ledger.lock().add(&whose, at)).await;
    let written = written.unwrap_or_else(|panic| Err(std::io::Error::other(panic)));
    written.map_err(|error| {
        tracing::error!(%error, "a revocation could not be kept");
        format!("it is revoked, but could not be kept for after a restart: {error}")
    })
}

/// Counts connections by tag.
pub(super) fn count_tagged(revoker: Revoker) -> Count {
    let revoker = Rc::new(revoker);
    Box::new(move |tag| {
        let revoker = revoker.clone();
        Box::pin(async move { revoker.count(&tag).sum().await })
    })
}
