//! What the control port may do to held connections: the words of one room in those of the other.

use std::rc::Rc;

use crate::control::{Count, Parting, Revoke, Whom};
use crate::hold::Whose;
use crate::metrics::Metrics;
use crate::shard::{LastMessage, Revoker};

/// Ends connections and tickets.
pub(super) fn revoke(revoker: Revoker, metrics: &Metrics) -> Revoke {
    let (revoker, metrics) = (Rc::new(revoker), metrics.clone());
    Box::new(move |whom, parting| {
        let (revoker, metrics) = (revoker.clone(), metrics.clone());
        Box::pin(async move {
            let (by, whose) = match whom {
                Whom::Tag(tag) => ("tag", Whose::Tag(tag.into())),
                Whom::Channel(name) => ("channel", Whose::Channel(name.as_str().into())),
            };
            let last = parting.map(|Parting { event, data }| LastMessage { event, data });
            let (count, fits) = revoker.revoke(whose, last).await;
            metrics.comet_revocations.with_label_values(&[by]).inc();
            if !fits {
                metrics.comet_revocations_forgotten.inc();
            }
            count
        })
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
