//! What is measured of a server from outside: processor time, memory; and what is done with the numbers.
//!
//! Processor time is the first field of `/proc/PID/task/*/schedstat`, nanoseconds on a processor: the ticks of
//! `/proc/PID/stat` miss short bursts. Memory is the proportional set size of `/proc/PID/smaps_rollup`. Both are
//! summed over the process and all its descendants. The kernel's own memory of a socket is in neither.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// Processor time spent so far by the process and its descendants.
pub(crate) fn processor_time(pid: u32) -> Result<Duration> {
    let mut nanos = 0;
    for member in family(pid)? {
        let Ok(tasks) = fs::read_dir(format!("/proc/{member}/task")) else { continue };
        for task in tasks.flatten() {
            // A thread may end between the listing and the reading.
            let Ok(text) = fs::read_to_string(task.path().join("schedstat")) else { continue };
            nanos += text.split_whitespace().next().and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    Ok(Duration::from_nanos(nanos))
}

/// Proportional set size of the process and its descendants, in bytes.
pub(crate) fn memory(pid: u32) -> Result<u64> {
    let mut bytes = 0;
    for member in family(pid)? {
        let path = format!("/proc/{member}/smaps_rollup");
        let text = fs::read_to_string(&path).with_context(|| format!("can't read {path}"))?;
        bytes += pss_bytes(&text).with_context(|| format!("{path} has no Pss"))?;
    }
    Ok(bytes)
}

/// The `Pss` line of a `smaps_rollup` file, in bytes.
fn pss_bytes(smaps: &str) -> Option<u64> {
    let line = smaps.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
}

/// The process and all its descendants.
fn family(pid: u32) -> Result<Vec<u32>> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").context("can't read /proc")?.flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        if let Some(parent) = parent_id(&stat) {
            children.entry(parent).or_default().push(id);
        }
    }
    let mut members = vec![pid];
    let mut seen = 0;
    while seen < members.len() {
        members.extend(children.remove(&members[seen]).unwrap_or_default());
        seen += 1;
    }
    Ok(members)
}

/// The parent in a `stat` line; the program's name before it may hold spaces and parentheses.
fn parent_id(stat: &str) -> Option<u32> {
    let after_name = &stat[stat.rfind(')')? + 1..];
    after_name.split_whitespace().nth(1)?.parse().ok()
}

/// The middle value, or the mean of the two middle ones; `None` without values.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        count if count % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

/// The nearest-rank percentile, `share` from 0 to 1; `None` without values.
pub(crate) fn percentile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

/// Counts of latencies in steps of 0.1 ms up to 20 s: a value for each of millions of deliveries is too much to keep.
pub(crate) struct Histogram {
    steps: Vec<u32>,
    count: u64,
}

impl Histogram {
    const STEP: Duration = Duration::from_micros(100);
    const STEPS: usize = 200_000;

    /// An empty one.
    pub(crate) fn new() -> Self {
        Self { steps: vec![0; Self::STEPS], count: 0 }
    }

    /// Counts one latency; those over the range count as the longest.
    pub(crate) fn add(&mut self, nanos: u64) {
        let step = (nanos / Self::STEP.as_nanos() as u64) as usize;
        self.steps[step.min(Self::STEPS - 1)] += 1;
        self.count += 1;
    }

    /// The percentile in milliseconds, rounded up to a step; `None` while empty.
    pub(crate) fn percentile_ms(&self, share: f64) -> Option<f64> {
        let rank = (share * self.count as f64).ceil().max(1.0) as u64;
        let mut passed = 0;
        let step = self.steps.iter().position(|&count| {
            passed += u64::from(count);
            passed >= rank
        })?;
        Some((step + 1) as f64 * Self::STEP.as_secs_f64() * 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_percentiles_of_short_lists() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(percentile(&[], 0.5), None);
        assert_eq!(percentile(&[1.0, 2.0, 3.0, 4.0], 0.5), Some(2.0));
        assert_eq!(percentile(&[1.0, 2.0, 3.0, 4.0], 0.99), Some(4.0));
    }

    #[test]
    fn the_parent_is_found_behind_any_program_name() {
        assert_eq!(parent_id("12 (a) b (c)) S 7 12 12 0"), Some(7));
        assert_eq!(parent_id("12 (nginx) S 1 12"), Some(1));
        assert_eq!(parent_id("nonsense"), None);
    }

    #[test]
    fn pss_is_read_in_kibibytes() {
        assert_eq!(pss_bytes("Rss:  9 kB\nPss:  12 kB\nPss_Dirty: 1 kB\n"), Some(12 * 1024));
        assert_eq!(pss_bytes("Rss: 9 kB\n"), None);
    }

    #[test]
    fn a_histogram_rounds_up_to_its_step() {
        let mut latencies = Histogram::new();
        assert_eq!(latencies.percentile_ms(0.5), None);
        for millis in 1..=100 {
            latencies.add(millis * 1_000_000);
        }
        assert!((latencies.percentile_ms(0.5).unwrap() - 50.1).abs() < 1e-9);
        assert!((latencies.percentile_ms(0.99).unwrap() - 99.1).abs() < 1e-9);
    }
}
