//! What the control port may do to held connections: the words of one room in those of the other.

use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;

use super::ledger::Ledger;
use crate::control::{Count, Parting, Revoke, Whom};
use crate::hold::Whose;
use crate::metrics::Metrics;
use crate::shard::{LastMessage, Revoker};

/// Ends connections and tickets.
pub(super) fn revoke(revoker: Revoker, ledger: Option<Arc<Mutex<Ledger>>>, metrics: &Metrics) -> Revoke {
    let (revoker, metrics) = (Rc::new(revoker), metrics.clone());
    Box::new(move |whom, parting| {
        let (revoker, ledger, metrics) = (revoker.clone(), ledger.clone(), metrics.clone());
        Box::pin(async move {
            let (by, whose) = match whom {
                Whom::Tag(tag) => ("tag", Whose::Tag(tag.into())),
                Whom::Channel(name) => ("channel", Whose::Channel(name.as_str().into())),
            };
            let last = parting.map(|Parting { event, data }| LastMessage { event, data });
            // The same moment now and after a restart.
            let at = SystemTime::now();
            let (count, fits) = revoker.revoke(whose.clone(), last, at).await;
            metrics.comet_revocations.with_label_values(&[by]).inc();
            if !fits {
                metrics.comet_revocations_forgotten.inc();
            }
            match ledger {
                Some(ledger) => keep(ledger, whose, at).await.map(|()| count),
                None => Ok(count),
            }
        })
    })
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
pub(super) fn count(revoker: Revoker) -> Count {
    let revoker = Rc::new(revoker);
    Box::new(move |tag| {
        let revoker = revoker.clone();
        Box::pin(async move { revoker.count(&tag).await })
    })
}
