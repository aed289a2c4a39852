//! The store's thread: takes the committer's turns as messages come, syncs and makes room now and then, closes last.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use crate::config::{DiskConfig, SyncTime};
use crate::hub::{Committer, Hub, HubSettings};
use crate::message::Epoch;
use crate::metrics::Metrics;
use crate::store::{Disk, DiskSettings, Folder, OpenError};

use super::StartError;

/// A hub whose store is written by a thread.
pub(super) struct Keeping {
    thread: Option<JoinHandle<()>>,
    is_ending: Arc<AtomicBool>,
}

/// Between two looks for what the store can make room of.
const TICK: Duration = Duration::from_secs(1);
/// Bytes of a file of the log. Making room reads and writes one while publishers wait: some tens of milliseconds.
const SEGMENT_BYTES: u64 = 8 << 20;

impl Keeping {
    /// Opens a store in a folder, and starts its thread. A store that is new begins with this epoch.
    pub(super) fn start(
        config: &DiskConfig,
        fresh: Epoch,
        settings: HubSettings,
        metrics: &Metrics,
    ) -> Result<(Arc<Hub>, Keeping), StartError> {
        let (disk, recovered) = open(config, fresh)?;
        let (now, at) = (Instant::now(), SystemTime::now());
        tracing::info!(
            path = %config.path.display(),
            messages = recovered.messages.len(),
            head = recovered.head.0,
            "the store is open"
        );
        let store = Box::new(disk);
        let metrics = metrics.clone();
        let (hub, committer) = Hub::with_store(store, recovered, settings, config.waiting, metrics, now, at);
        let is_ending = Arc::new(AtomicBool::new(false));
        let ending = is_ending.clone();
        let interval = match config.sync {
            SyncTime::Group => None,
            SyncTime::Interval(interval) => Some(interval),
        };
        let run = move || run(committer, interval, &ending);
        let thread = thread::Builder::new().name("store".into()).spawn(run)?;
        Ok((hub, Keeping { thread: Some(thread), is_ending }))
    }
}

impl Drop for Keeping {
    /// What waits is done first.
    fn drop(&mut self) {
        self.is_ending.store(true, Ordering::Release);
        let Some(thread) = self.thread.take() else { return };
        thread.thread().unpark();
        if thread.join().is_err() {
            tracing::error!("the store's thread had panicked");
        }
    }
}

fn open(config: &DiskConfig, fresh: Epoch) -> Result<(Disk, crate::store::Recovered), OpenError> {
    let folder = Folder::open(&config.path)?;
    let settings = DiskSettings { sync_each: config.sync == SyncTime::Group, segment_bytes: SEGMENT_BYTES };
    // Where it can't be read, every start counts as one of another machine, which is on the safe side.
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
    Disk::open(Box::new(folder), settings, fresh, boot.as_deref().map(str::trim))
}

fn run(mut committer: Committer, interval: Option<Duration>, is_ending: &AtomicBool) {
    let own = thread::current();
    committer.on_wake(Box::new(move || own.unpark()));
    let mut next_tick = Instant::now() + TICK;
    let mut next_sync = interval.map(|interval| Instant::now() + interval);
    while !is_ending.load(Ordering::Acquire) {
        let has_done = committer.turn(Instant::now(), SystemTime::now());
        let now = Instant::now();
        if let Some((due, interval)) = next_sync.as_mut().zip(interval)
            && now >= *due
        {
            committer.sync();
            *due = now + interval;
        }
        if now >= next_tick {
            committer.tick();
            next_tick = now + TICK;
        }
        if !has_done {
            let next = next_sync.map_or(next_tick, |due| due.min(next_tick));
            thread::park_timeout(next.saturating_duration_since(now));
        }
    }
    if let Err(error) = committer.close(Instant::now(), SystemTime::now()) {
        tracing::error!(%error, "the store could not be closed");
    }
}
