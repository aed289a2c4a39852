//! The metrics of a shard, by transport, so that counting needs no look-up.

use std::time::Duration;

use prometheus::{Histogram, IntCounter, IntGauge};

use super::held::Reason;
use crate::message::TransportId;
use crate::metrics::Metrics;
use crate::transport::TRANSPORTS;

/// Handles of one shard.
pub(super) struct Measures {
    transports: Vec<OfTransport>,
    pub(super) slow: IntGauge,
    pub(super) keepalives: IntCounter,
    pub(super) words: IntCounter,
    pub(super) words_waited: IntCounter,
    pub(super) fanout: Histogram,
}

struct OfTransport {
    open: IntGauge,
    opened: IntCounter,
    closed: Vec<IntCounter>,
    duration: Histogram,
    deliveries: IntCounter,
    bytes: IntCounter,
    gaps: IntCounter,
}

impl Measures {
    pub(super) fn new(metrics: &Metrics) -> Measures {
        Measures {
            transports: TRANSPORTS
                .iter()
                .map(|transport| OfTransport::new(metrics, transport.name()))
                .collect(),
            slow: metrics.comet_slow_streams.clone(),
            keepalives: metrics.comet_keepalives.clone(),
            words: metrics.comet_words.clone(),
            words_waited: metrics.comet_words_waited.clone(),
            fanout: metrics.comet_fanout.clone(),
        }
    }

    pub(super) fn opened(&self, transport: TransportId) {
        let of = &self.transports[transport.index()];
        of.open.inc();
        of.opened.inc();
    }

    pub(super) fn closed(&self, transport: TransportId, reason: Reason, held: Duration, bytes: u64) {
        let of = &self.transports[transport.index()];
        of.open.dec();
        of.closed[reason as usize].inc();
        of.duration.observe(held.as_secs_f64());
        of.bytes.inc_by(bytes);
    }

    pub(super) fn delivered(&self, transport: TransportId, events: usize) {
        self.transports[transport.index()].deliveries.inc_by(events as u64);
    }

    pub(super) fn gaps(&self, transport: TransportId, gaps: usize) {
        self.transports[transport.index()].gaps.inc_by(gaps as u64);
    }
}

impl OfTransport {
    fn new(metrics: &Metrics, name: &str) -> OfTransport {
        let closed =
            |(_, word): &(Reason, &str)| metrics.comet_streams_closed.with_label_values(&[name, word]);
        OfTransport {
            open: metrics.comet_streams.with_label_values(&[name]),
            opened: metrics.comet_streams_opened.with_label_values(&[name]),
            closed: Reason::ALL.iter().map(closed).collect(),
            duration: metrics.comet_stream_duration.with_label_values(&[name]),
            deliveries: metrics.comet_deliveries.with_label_values(&[name]),
            bytes: metrics.comet_delivery_bytes.with_label_values(&[name]),
            gaps: metrics.comet_gaps.with_label_values(&[name]),
        }
    }
}
