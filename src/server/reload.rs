//! A new configuration while everything runs: all of it or nothing, and no connection is touched.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::certificates::note_expiry;
use super::worker::Order;
use super::{Server, StartError};
use crate::config::{Config, ControlConfig};
use crate::control::Entrance;
use crate::listener::Terms;
use crate::metrics::Metrics;
use crate::site::Snapshot;

impl Server {
    /// Reads the file again. What there is to say about it, or every problem; both are in the log and the metrics.
    pub(super) async fn reload(&mut self) -> Result<String, String> {
        let outcome = self.try_reload().await;
        let result = match &outcome {
            Ok(said) => {
                tracing::info!("configuration reloaded: {said}");
                note_taken(&self.metrics);
                "ok"
            }
            Err(problems) => {
                tracing::error!("configuration not reloaded, the old one stays:\n{problems}");
                self.metrics.config_last_reload_successful.set(0);
                "rejected"
            }
        };
        self.metrics.config_reloads.with_label_values(&[result]).inc();
        outcome
    }

    async fn try_reload(&mut self) -> Result<String, String> {
        let file = self.source.as_ref().ok_or("this process was started without a configuration file")?;
        let config = Config::load(file).map_err(|problems| problems.to_string())?;
        let change = self.doors.plan(&config.listen).map_err(|error| error.to_string())?;
        let entrance = self.entrance_of(config.control.as_ref()).map_err(|error| error.to_string())?;
        let mut said = change.describe();
        let before = self.snapshots.load_full();
        let snapshot = Snapshot::new(&config, Some(&before), &self.metrics);
        said.extend(snapshot.changed_pools(&before));
        let waiting = self.fixed.waiting(&config);
        said.extend(waiting.map(|key| format!("{key} changes with a restart only")));

        self.snapshots.store(Arc::new(snapshot));
        self.places.set_limit(config.limits.connections);
        self.quota.reconfigure(&config);
        self.comet.reconfigure(&config);
        self.log.set_format(config.log.access);
        let terms = Arc::new(Terms::new(&config.limits, &config.timeouts));
        for worker in &self.workers {
            worker.tell(Order::Terms(terms.clone())).await;
        }
        self.doors.apply(change, &self.workers).await;
        self.config = config;
        self.open_control(entrance);
        note_expiry(&self.config, &self.metrics);
        Ok(if said.is_empty() {
            "routes, certificates and limits are in use".into()
        } else {
            said.join("; ")
        })
    }
}

impl Server {
    /// What opens a control port that is configured so.
    pub(super) fn entrance_of(&self, control: Option<&ControlConfig>) -> Result<Entrance, StartError> {
        control.map_or_else(|| Ok(Entrance::default()), |control| self.doors.entrance(control))
    }

    /// Takes what the configuration says, unless that is of another address: the one in use may need what it has.
    pub(super) fn open_control(&self, entrance: Entrance) {
        let configured = self.config.control.as_ref().map(|control| &control.address);
        if self.fixed.control.as_ref() == configured {
            self.entrance.store(Arc::new(entrance));
        }
    }
}

/// Notes that a configuration is in use from now on, which is so at the start, too.
pub(super) fn note_taken(metrics: &Metrics) {
    metrics.config_last_reload_successful.set(1);
    metrics.config_last_reload_success_timestamp.set(unix_now());
}

fn unix_now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
