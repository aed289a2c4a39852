//! Raw results as JSON, kept between runs: a partial run replaces only what it measured.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// Everything that is known, from this run and earlier ones.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Results {
    /// The machine of the last run: name of a fact → fact.
    pub(crate) machine: BTreeMap<String, String>,
    /// Contestant → version, as its program says it.
    pub(crate) versions: BTreeMap<String, String>,
    /// Measure → contestant → entry.
    pub(crate) measures: BTreeMap<String, BTreeMap<String, Entry>>,
}

/// What one contestant came to in one measure.
#[derive(Default, Clone, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// When the run began, UTC: entries of one run may be compared with each other.
    pub(crate) run: String,
    /// How the run was started.
    pub(crate) command: String,
    /// Connections open at once.
    pub(crate) connections: usize,
    /// One map of named numbers for each round.
    pub(crate) rounds: Vec<BTreeMap<String, f64>>,
    /// Single values over all rounds, where percentiles need them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) samples: Vec<f64>,
}

impl Results {
    /// Reads earlier results; none are no error.
    pub(crate) fn load(file: &Path) -> Result<Self> {
        match fs::read_to_string(file) {
            Ok(text) => serde_json::from_str(&text)
                .with_context(|| format!("{} is not a file of results", file.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("can't read {}", file.display())),
        }
    }

    /// Writes them.
    pub(crate) fn save(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(file, text).with_context(|| format!("can't write {}", file.display()))
    }

    /// Adds a round; the first one of a run replaces what an earlier run left.
    pub(crate) fn add(
        &mut self,
        measure: &str,
        contestant: &str,
        run: &Run,
        connections: usize,
        round: Round,
    ) {
        let entry =
            self.measures.entry(measure.to_owned()).or_default().entry(contestant.to_owned()).or_default();
        if entry.run != run.began {
            *entry = Entry { run: run.began.clone(), command: run.command.clone(), ..Entry::default() };
        }
        entry.connections = connections;
        entry.rounds.push(round.numbers);
        entry.samples.extend(round.samples);
    }
}

impl Entry {
    /// The values that a number had in the rounds.
    pub(crate) fn values(&self, number: &str) -> Vec<f64> {
        self.rounds.iter().filter_map(|round| round.get(number).copied()).collect()
    }

    /// The median of a number over the rounds.
    pub(crate) fn median(&self, number: &str) -> Option<f64> {
        crate::measure::median(&self.values(number))
    }

    /// The sum of a number over the rounds.
    pub(crate) fn sum(&self, number: &str) -> f64 {
        self.values(number).iter().sum()
    }
}

/// What identifies a run.
pub(crate) struct Run {
    /// When it began, UTC.
    pub(crate) began: String,
    /// How it was started.
    pub(crate) command: String,
}

/// The outcome of one round of one measure.
#[derive(Default)]
pub(crate) struct Round {
    numbers: BTreeMap<String, f64>,
    samples: Vec<f64>,
}

impl Round {
    /// Notes a number; one that does not exist (a percentile of nothing) is left out.
    pub(crate) fn number(mut self, name: &str, value: impl Into<Option<f64>>) -> Self {
        if let Some(value) = value.into() {
            // A thousandth is finer than anything measured here.
            self.numbers.insert(name.to_owned(), (value * 1e3).round() / 1e3);
        }
        self
    }

    /// Notes single values.
    pub(crate) fn samples(mut self, values: &[f64]) -> Self {
        self.samples.extend(values.iter().map(|value| (value * 1e2).round() / 1e2));
        self
    }

    /// All numbers in one line, for whoever watches.
    pub(crate) fn summary(&self) -> String {
        let parts: Vec<String> = self.numbers.iter().map(|(name, value)| format!("{name} {value}")).collect();
        parts.join("  ")
    }
}
