//! Facts about the machine, the time and the command, for the page of results.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long the machine is watched before a run.
const WATCH: Duration = Duration::from_secs(1);

/// Name of a fact → fact; `busy` is what others use of the processors.
pub(crate) fn facts(busy: f64) -> BTreeMap<String, String> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let facts = [
        ("cores", cores.to_string()),
        ("processor", field(&read("/proc/cpuinfo"), "model name")),
        ("kernel", format!("Linux {}", read("/proc/sys/kernel/osrelease").trim())),
        ("busy with other work when the run began", format!("{:.0} %", busy * 100.0)),
        ("memory", gibibytes(&field(&read("/proc/meminfo"), "MemTotal"))),
    ];
    facts.into_iter().map(|(name, fact)| (name.to_owned(), fact)).collect()
}

/// The share of all processors that is in use while this program waits, from 0 to 1.
pub(crate) fn busy_share() -> f64 {
    let times = || busy_and_all(&fs::read_to_string("/proc/stat").unwrap_or_default());
    let before = times();
    std::thread::sleep(WATCH);
    let after = times();
    let (busy, all) = (after.0.saturating_sub(before.0), after.1.saturating_sub(before.1));
    busy as f64 / all.max(1) as f64
}

/// Ticks in which the processors worked, and all ticks, from the first line of `/proc/stat`.
fn busy_and_all(stat: &str) -> (u64, u64) {
    let line = stat.lines().next().unwrap_or_default();
    // user nice system idle iowait irq softirq steal; what follows is counted in user already.
    let ticks: Vec<u64> =
        line.split_whitespace().skip(1).take(8).filter_map(|field| field.parse().ok()).collect();
    let waiting: u64 = ticks.iter().skip(3).take(2).sum();
    let all: u64 = ticks.iter().sum();
    (all - waiting, all)
}

/// The value of the first line `name : value`.
fn field(text: &str, name: &str) -> String {
    let values = text.lines().filter_map(|line| line.split_once(':')).filter(|(key, _)| key.trim() == name);
    values.map(|(_, value)| value.trim().to_owned()).next().unwrap_or_default()
}

fn gibibytes(kib: &str) -> String {
    let kib: f64 = kib.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0.0);
    format!("{:.0} GiB", kib / 1024.0 / 1024.0)
}

/// The moment as `2026-11-24 03:10:59`, UTC.
pub(crate) fn now_utc() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    civil(seconds)
}

/// Seconds since 1970 as a date and a time of the proleptic Gregorian calendar.
fn civil(seconds: u64) -> String {
    let (mut days, time) = (seconds / 86_400, seconds % 86_400);
    let mut year = 1970;
    while days >= year_days(year) {
        days -= year_days(year);
        year += 1;
    }
    let february = year_days(year) - 337;
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    format!("{year}-{month:02}-{:02} {hour:02}:{minute:02}:{second:02}", days + 1)
}

fn year_days(year: u64) -> u64 {
    let leap = year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    365 + u64::from(leap)
}

/// The command without the places of this machine in it.
pub(crate) fn command_line(arguments: impl Iterator<Item = String>) -> String {
    let mut words = vec!["side_by_side".to_owned()];
    let mut is_path = false;
    for argument in arguments {
        let is_path_now =
            std::mem::replace(&mut is_path, matches!(argument.as_str(), "--perihelion" | "--out"));
        words.push(if is_path_now { "PATH".to_owned() } else { argument });
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_follow_the_calendar() {
        let cases = [
            (0, "1970-01-01 00:00:00"),
            (951_782_399, "2000-02-28 23:59:59"),
            (951_782_400, "2000-02-29 00:00:00"),
            (1_735_689_599, "2024-12-31 23:59:59"),
            (1_735_689_600, "2025-01-01 00:00:00"),
        ];
        for (seconds, date) in cases {
            assert_eq!(civil(seconds), date);
        }
    }

    #[test]
    fn waiting_is_not_work() {
        assert_eq!(busy_and_all("cpu  5 1 4 80 10 0 0 2 7 7\ncpu0 1 1 1 1\n"), (12, 102));
        assert_eq!(busy_and_all(""), (0, 0));
    }

    #[test]
    fn a_command_names_no_place_of_the_machine() {
        let arguments = ["--perihelion", "/a/b", "--rounds", "3"].map(str::to_owned).into_iter();
        assert_eq!(command_line(arguments), "side_by_side --perihelion PATH --rounds 3");
    }
}
