//! Writes the page and its plots from the results.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::measure::percentile;
use crate::peers::{FILE_SERVERS, GRIP_PROXIES, HOLDERS, PROXIES, QUEUES};
use crate::plot::{self, Bar, significant};
use crate::results::{Entry, Results};

/// How one measure is shown.
struct Figure {
    measure: &'static str,
    title: &'static str,
    unit: &'static str,
    /// Name of the number that the bars show and ratios compare.
    number: &'static str,
    /// Whom to compare with: the least of these.
    against: &'static [&'static str],
    columns: &'static [Column],
    further_plot: Option<FurtherPlot>,
}

/// A second plot of a measure: end of its file's name, title, unit, value.
type FurtherPlot = (&'static str, &'static str, &'static str, fn(&Entry) -> Option<f64>);

/// A further column: its head and its cell.
type Column = (&'static str, fn(&Entry) -> String);

const FIGURES: [Figure; 13] = [
    Figure {
        measure: "requests-small",
        title: "Small proxied answer",
        unit: "µs of processor time per request",
        number: "cpu_us",
        against: &["nginx", "haproxy"],
        columns: REQUESTS,
        further_plot: None,
    },
    Figure {
        measure: "requests-large",
        title: "Proxied answer of 100 KB",
        unit: "µs of processor time per request",
        number: "cpu_us",
        against: &["nginx", "haproxy"],
        columns: REQUESTS,
        further_plot: None,
    },
    Figure {
        measure: "files-large",
        title: "File of 100 KB",
        unit: "µs of processor time per request",
        number: "cpu_us",
        against: &["nginx"],
        columns: REQUESTS,
        further_plot: None,
    },
    Figure {
        measure: "files-huge",
        title: "File of 10 MB",
        unit: "µs of processor time per request",
        number: "cpu_us",
        against: &["nginx"],
        columns: REQUESTS,
        further_plot: None,
    },
    Figure {
        measure: "queue",
        title: "Five hundred clients, four workers",
        unit: "requests/s",
        number: "per_second",
        against: &["direct"],
        columns: &[
            ("p50, ms", |entry| cell(entry.median("p50_ms"))),
            ("p99, ms", |entry| cell(entry.median("p99_ms"))),
            ("wrong answers", |entry| count(entry.sum("wrong"))),
        ],
        further_plot: None,
    },
    Figure {
        measure: "memory",
        title: "Memory of a held connection",
        unit: "KiB per connection",
        number: "kib",
        against: &["nchan"],
        columns: &[("idle process, MiB", |entry| cell(entry.median("idle_mib")))],
        further_plot: None,
    },
    Figure {
        measure: "takeover",
        title: "Taking a connection over",
        unit: "µs of processor time per connection",
        number: "cpu_us",
        against: &["nchan"],
        columns: &[("connections/s", |entry| cell(entry.median("per_second")))],
        further_plot: None,
    },
    Figure {
        measure: "fanout",
        title: "Delivery, five messages a second",
        unit: "µs of processor time per delivery",
        number: "cpu_us",
        against: &["bare"],
        columns: &[
            ("last p50, ms", |entry| cell(percentile(&entry.samples, 0.5))),
            ("last p99, ms", |entry| cell(percentile(&entry.samples, 0.99))),
            ("each p50, ms", |entry| cell(entry.median("all_p50_ms"))),
            ("each p99, ms", |entry| cell(entry.median("all_p99_ms"))),
            CHECKS[0],
            CHECKS[1],
            CHECKS[2],
        ],
        further_plot: Some((
            "latency",
            "Latency to the last subscriber, five messages a second",
            "ms, 99th percentile over messages",
            |entry| percentile(&entry.samples, 0.99),
        )),
    },
    Figure {
        measure: "burst",
        title: "Delivery, a burst of 200 messages",
        unit: "µs of processor time per delivery",
        number: "cpu_us",
        against: &["bare"],
        columns: &[
            ("complete, ms", |entry| cell(entry.median("complete_ms"))),
            CHECKS[0],
            CHECKS[1],
            CHECKS[2],
        ],
        further_plot: None,
    },
    Figure {
        measure: "grip-memory",
        title: "Memory of a connection held for GRIP",
        unit: "KiB per connection",
        number: "kib",
        against: &["pushpin"],
        columns: &[("idle processes, MiB", |entry| cell(entry.median("idle_mib")))],
        further_plot: None,
    },
    Figure {
        measure: "grip-takeover",
        title: "Taking a connection over by GRIP",
        unit: "µs of processor time per connection",
        number: "cpu_us",
        against: &["pushpin"],
        columns: &[("connections/s", |entry| cell(entry.median("per_second")))],
        further_plot: None,
    },
    Figure {
        measure: "grip-fanout",
        title: "Delivery of items of GRIP, five a second",
        unit: "µs of processor time per delivery",
        number: "cpu_us",
        against: &["pushpin"],
        columns: &[
            ("last p50, ms", |entry| cell(percentile(&entry.samples, 0.5))),
            ("last p99, ms", |entry| cell(percentile(&entry.samples, 0.99))),
            CHECKS[0],
            CHECKS[1],
            CHECKS[2],
        ],
        further_plot: None,
    },
    Figure {
        measure: "grip-burst",
        title: "Delivery of items of GRIP, a burst of 200",
        unit: "µs of processor time per delivery",
        number: "cpu_us",
        against: &["pushpin"],
        columns: &[
            ("complete, ms", |entry| cell(entry.median("complete_ms"))),
            CHECKS[0],
            CHECKS[1],
            CHECKS[2],
        ],
        further_plot: None,
    },
];

const REQUESTS: &[Column] = &[
    ("requests/s", |entry| cell(entry.median("per_second"))),
    ("wrong answers", |entry| count(entry.sum("wrong"))),
];

/// What must be nought, over all rounds.
const CHECKS: [Column; 3] = [
    ("lost", |entry| count(entry.sum("lost"))),
    ("repeated, out of order, mangled", |entry| {
        count(entry.sum("repeated") + entry.sum("out_of_order") + entry.sum("mangled"))
    }),
    ("ended early", |entry| count(entry.sum("ended"))),
];

/// Writes `performance.md` and `performance/*.svg` under the documentation folder.
pub(crate) fn write(results: &Results, docs: &Path) -> Result<()> {
    let mut page = include_str!("page.md")
        .replace("{{machine}}", &facts(&results.machine))
        .replace("{{versions}}", &versions(&results.versions));
    for figure in &FIGURES {
        let entries = figure.entries(results);
        page = page.replace(&format!("{{{{{}}}}}", figure.measure), &figure.section(&entries));
        for (name, _, svg) in figure.plots(&entries) {
            let plot = docs.join("performance").join(name);
            fs::write(&plot, svg).with_context(|| format!("can't write {}", plot.display()))?;
        }
    }
    let file = docs.join("performance.md");
    fs::write(&file, page).with_context(|| format!("can't write {}", file.display()))?;
    println!("wrote {}", file.display());
    Ok(())
}

impl Figure {
    /// The contestants with a result, in their order.
    fn entries<'a>(&self, results: &'a Results) -> Vec<(&'static str, &'a Entry)> {
        let Some(known) = results.measures.get(self.measure) else { return Vec::new() };
        let contestants = match self.measure {
            "queue" => &QUEUES[..],
            "requests-small" | "requests-large" => &PROXIES,
            "files-large" | "files-huge" => &FILE_SERVERS,
            measure if measure.starts_with("grip-") => &GRIP_PROXIES,
            _ => &HOLDERS,
        };
        contestants.iter().filter_map(|peer| Some((peer.name, known.get(peer.name)?))).collect()
    }

    fn section(&self, entries: &[(&str, &Entry)]) -> String {
        if entries.is_empty() {
            return "Not measured yet.".to_owned();
        }
        let mut heads = vec!["", self.unit, "×"];
        heads.extend(self.columns.iter().map(|(head, _)| *head));
        let mut lines = vec![row(&heads), format!("|---|{}", "---:|".repeat(heads.len() - 1))];
        lines.extend(entries.iter().map(|(name, entry)| self.line(name, entry, entries)));
        let plots = self
            .plots(entries)
            .into_iter()
            .map(|(name, title, _)| format!("![{title}](performance/{name})\n"));
        format!("{}\n{}\n\n{}", plots.collect::<String>(), lines.join("\n"), runs(entries))
    }

    fn line(&self, name: &str, entry: &Entry, entries: &[(&str, &Entry)]) -> String {
        let values = entry.values(self.number);
        let (least, most) = range(&values);
        let value = match entry.median(self.number) {
            Some(median) if values.len() > 1 => {
                format!("**{}** ({}–{})", significant(median), significant(least), significant(most))
            }
            median => format!("**{}**", cell(median)),
        };
        let mut cells = vec![name.to_owned(), value, self.ratio(entry, entries)];
        cells.extend(self.columns.iter().map(|(_, cell)| cell(entry)));
        row(&cells.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Only numbers of one run are compared: another day's machine is another machine.
    fn ratio(&self, entry: &Entry, entries: &[(&str, &Entry)]) -> String {
        let same_run =
            entries.iter().filter(|(name, other)| self.against.contains(name) && other.run == entry.run);
        let base = same_run.filter_map(|(_, other)| other.median(self.number)).reduce(f64::min);
        match (entry.median(self.number), base) {
            (Some(value), Some(base)) if base > 0.0 => format!("{:.2}", value / base),
            _ => "–".to_owned(),
        }
    }

    /// File name, title and drawing of each plot; none without entries.
    fn plots(&self, entries: &[(&str, &Entry)]) -> Vec<(String, &'static str, String)> {
        if entries.is_empty() {
            return Vec::new();
        }
        let medians = bars(entries, |entry| {
            let (least, most) = range(&entry.values(self.number));
            Some((entry.median(self.number)?, least, most))
        });
        let first =
            (format!("{}.svg", self.measure), self.title, plot::bars(self.title, self.unit, &medians));
        let further = self.further_plot.map(|(end, title, unit, value)| {
            let bars = bars(entries, |entry| value(entry).map(|value| (value, value, value)));
            (format!("{}-{end}.svg", self.measure), title, plot::bars(title, unit, &bars))
        });
        std::iter::once(first).chain(further).collect()
    }
}

/// A bar for each entry that has a value; least and most come with it.
fn bars(entries: &[(&str, &Entry)], value: impl Fn(&Entry) -> Option<(f64, f64, f64)>) -> Vec<Bar> {
    let bar = |(name, entry): &(&str, &Entry)| {
        let (value, least, most) = value(entry)?;
        let ours = name.starts_with("perihelion");
        Some(Bar { label: (*name).to_owned(), value, range: (least, most), ours })
    };
    entries.iter().filter_map(bar).collect()
}

/// Which runs the entries come from.
fn runs(entries: &[(&str, &Entry)]) -> String {
    let mut runs: BTreeMap<&str, (Vec<&str>, &Entry)> = BTreeMap::new();
    for (name, entry) in entries {
        runs.entry(&entry.run).or_insert_with(|| (Vec::new(), entry)).0.push(name);
    }
    let one = runs.len() == 1;
    let lines = runs.into_iter().map(|(run, (names, entry))| {
        let who = if one { String::new() } else { format!(" ({})", names.join(", ")) };
        let (rounds, connections) = (entry.rounds.len(), entry.connections);
        format!("Run of {run} UTC{who}: rounds {rounds}, connections {connections}, `{}`.", entry.command)
    });
    lines.collect::<Vec<_>>().join("\n\n")
}

fn facts(machine: &BTreeMap<String, String>) -> String {
    let parts: Vec<String> = machine.iter().map(|(name, fact)| format!("{name} {fact}")).collect();
    format!("**Machine:** {}.", parts.join(", "))
}

fn versions(versions: &BTreeMap<String, String>) -> String {
    let parts: Vec<String> = versions.iter().map(|(name, version)| format!("{name}: {version}")).collect();
    format!("**Versions:** {}.", parts.join("; "))
}

fn row(cells: &[&str]) -> String {
    format!("| {} |", cells.join(" | "))
}

fn range(values: &[f64]) -> (f64, f64) {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    (least, values.iter().copied().fold(0.0, f64::max))
}

fn cell(value: Option<f64>) -> String {
    value.map_or("–".to_owned(), significant)
}

fn count(value: f64) -> String {
    format!("{value:.0}")
}
