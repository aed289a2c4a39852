//! How the process leaves: unready, then closed to new clients, then empty.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::Server;
use super::worker::Order;
use crate::config::DrainConfig;
use crate::metrics::Metrics;

/// The state of the process, for `/readyz` and the metrics.
#[derive(Clone)]
pub(super) struct Stage {
    serving: Arc<AtomicBool>,
    metrics: Metrics,
}

impl Stage {
    pub(super) fn new(metrics: Metrics) -> Stage {
        let stage = Stage { serving: Arc::default(), metrics };
        stage.enter("starting");
        stage
    }

    pub(super) fn serving(&self) {
        self.serving.store(true, Ordering::Relaxed);
        self.enter("running");
    }

    fn draining(&self) {
        self.serving.store(false, Ordering::Relaxed);
        self.enter("draining");
    }

    pub(super) fn is_serving(&self) -> bool {
        self.serving.load(Ordering::Relaxed)
    }

    fn enter(&self, state: &str) {
        for name in ["starting", "running", "draining"] {
            self.metrics.state.with_label_values(&[name]).set(i64::from(name == state));
        }
    }
}

/// What one held connection adds to the time in which they end, unless somebody has said how long that is: clients that
/// come back at this pace are noticed by no application, so that few need not make the process wait.
const GENTLE: Duration = Duration::from_millis(20);

/// Over what time so many connections end.
fn time_to_leave(held: usize, drain: &DrainConfig) -> Duration {
    if drain.spread_is_typed {
        return drain.spread;
    }
    drain.spread.min(GENTLE.saturating_mul(u32::try_from(held).unwrap_or(u32::MAX)))
}

/// Between two looks whether everything has ended.
const LOOK: Duration = Duration::from_millis(20);

impl Server {
    /// Ends everything in order, within `drain.timeout` after the listeners are closed.
    pub(super) async fn drain(&self) {
        let drain = self.config.drain.clone();
        self.stage.draining();
        tracing::info!(connections = self.places.open(), held = self.comet.open(), "draining");
        tokio::time::sleep(drain.lameduck).await;
        for worker in &self.workers {
            worker.tell(Order::Drain).await;
        }
        self.comet.drain(time_to_leave(self.comet.open(), &drain));
        if tokio::time::timeout(drain.timeout, self.empty()).await.is_err() {
            let (connections, held) = (self.places.open(), self.comet.open());
            tracing::warn!(connections, held, "drain.timeout is over: cuts what is left");
        }
    }

    /// Waits until no connection is open twice in a row: one on its way back from a shard is in neither count.
    async fn empty(&self) {
        let mut quiet = 0;
        while quiet < 2 {
            tokio::time::sleep(LOOK).await;
            quiet = if self.places.open() + self.comet.open() == 0 { quiet + 1 } else { 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_connections_need_no_spread_that_nobody_asked_for_and_many_have_no_more() {
        let (default, second) = (DrainConfig::default(), Duration::from_secs(1));
        for (held, millis) in [(0, 0), (1, 20), (100, 2_000), (500, 10_000), (usize::MAX, 10_000)] {
            assert_eq!(time_to_leave(held, &default), Duration::from_millis(millis), "{held}");
        }
        let typed = DrainConfig { spread: second, spread_is_typed: true, ..default };
        assert_eq!([0, 1, 1_000].map(|held| time_to_leave(held, &typed)), [second; 3]);
    }
}
