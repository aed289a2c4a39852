//! Runs what pools have to do besides requests: questions to servers, and names that are looked up.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::site::Snapshots;

/// How long a pool that a reload has brought may wait for its first checkup.
const LOOK: Duration = Duration::from_secs(1);

/// Runs everything when it is due. Dropping it stops whatever is under way.
pub(super) async fn run_checkups(snapshots: Snapshots) {
    let mut running = JoinSet::new();
    loop {
        let now = Instant::now();
        let snapshot = snapshots.load_full();
        for checkup in snapshot.pools().flat_map(|pool| pool.checkups(now)) {
            running.spawn_local(checkup.run());
        }
        let next = snapshot.pools().filter_map(|pool| pool.next_checkup()).min();
        drop(snapshot);
        while running.try_join_next().is_some() {}
        let wait = next.map_or(LOOK, |next| next.saturating_duration_since(Instant::now()).min(LOOK));
        tokio::time::sleep(wait).await;
    }
}
