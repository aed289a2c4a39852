//! The process as the system sees it: memory, time, descriptors.

use std::cell::Cell;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::metrics::Metrics;
use crate::pulse::panics;

/// Reads `/proc/self` into the `process_*` metrics.
pub(super) struct Process {
    metrics: Metrics,
    /// Seconds of processor time that are counted.
    counted: Cell<u64>,
    /// Panics that are.
    panics: Cell<u64>,
}

/// Ticks in a second as `/proc` shows them: the same for every Linux that has a stable interface.
const USER_HZ: u64 = 100;

impl Process {
    /// Sets what doesn't change.
    pub(super) fn new(metrics: &Metrics) -> Process {
        let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        metrics.process_start_time.set(gauge(started));
        metrics.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        metrics.process_max_fds.set(gauge(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)));
        Process { metrics: metrics.clone(), counted: Cell::new(0), panics: Cell::new(0) }
    }

    /// Brings the rest up to date. What can't be read stays.
    pub(super) fn measure(&self) {
        let panics = panics();
        self.metrics.panics.inc_by(panics - self.panics.replace(panics));
        if let Ok(status) = std::fs::read_to_string("/proc/self/status")
            && let Some(bytes) = resident(&status)
        {
            self.metrics.process_resident_memory.set(gauge(bytes));
        }
        if let Ok(stat) = std::fs::read_to_string("/proc/self/stat")
            && let Some(ticks) = processor_ticks(&stat)
        {
            let seconds = ticks / USER_HZ;
            self.metrics.process_cpu_seconds.inc_by(seconds.saturating_sub(self.counted.replace(seconds)));
        }
        if let Some(descriptors) = descriptors() {
            self.metrics.process_open_fds.set(gauge(descriptors));
        }
    }
}

/// How many descriptors are open: since Linux 6.2 that is the size of the folder. Before they have to be counted, which
/// takes some microseconds for each.
fn descriptors() -> Option<u64> {
    const FOLDER: &str = "/proc/self/fd";
    match std::fs::metadata(FOLDER).ok()?.len() {
        // One of them is that of the folder itself.
        0 => Some(std::fs::read_dir(FOLDER).ok()?.count().saturating_sub(1) as u64),
        size => Some(size),
    }
}

fn gauge(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// User and system time: fields 14 and 15, counted behind the name, which may hold blanks (proc_pid_stat(5)).
fn processor_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}

/// Descriptors that the process needs besides those of clients: listeners, servers, logs, libraries.
const DESCRIPTORS_OF_OUR_OWN: u64 = 256;

/// Raises the limit on open files as far as allowed.
pub fn raise_descriptor_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(%error, "the limit on open files can't be raised");
    }
}

/// Says where the process may not open as many files as it is to hold connections: a warning if somebody has asked for so
/// many.
pub fn tell_of_descriptor_limit(held_connections: Option<usize>, is_typed: bool) {
    let Some(limit) = getrlimit(Resource::Nofile).current else { return };
    let wanted = held_connections.map_or(u64::MAX, |held| held as u64);
    if wanted.saturating_add(DESCRIPTORS_OF_OUR_OWN) <= limit {
        return;
    }
    if is_typed {
        tracing::warn!(
            "limits.held_connections is more than the {limit} files that this process may open: raise \
             LimitNOFILE= (systemd) or `ulimit -Hn`, or lower the key"
        );
    } else {
        tracing::info!(
            "this process may open {limit} files, a few less than that are the clients that it can have"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_counted() {
        let before = descriptors().unwrap();
        let files: Vec<_> = (0..100).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
        // Other tests open and close some, too.
        assert!(before + 50 < descriptors().unwrap(), "{} beside {before}", files.len());
    }

    #[test]
    fn the_figures_of_proc_are_found() {
        assert_eq!(resident("Name:\tx\nVmRSS:\t    1234 kB\nThreads:\t1\n"), Some(1234 * 1024));
        let stat = "12 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 70 0 0 20 0 1 0 100";
        assert_eq!(processor_ticks(stat), Some(220));
        assert_eq!(processor_ticks("12 (a"), None);
    }
}
