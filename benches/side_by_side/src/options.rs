//! The command line.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};

use crate::peers::{Contestant, WITH_STORE};

/// What `--help` prints.
pub(crate) const HELP: &str = "\
Measures Perihelion beside its Debian peers; writes docs/performance.md, its plots and raw results.

usage: side_by_side [run] [OPTIONS]    measure, then write the page
       side_by_side render [--out DIR] write the page again from earlier results

  --perihelion PATH   its binary (release build); without it Perihelion is skipped
  --only PARTS        of requests,files,queue,memory,fanout,burst,takeover,grip; the others keep their earlier results
  --peers NAMES       of perihelion,nginx,haproxy,perlbal,nchan,bare (a -tls variant goes with its name),
                      perihelion-grip, pushpin, and perihelion-store, which has a store on the disk and is measured where it is named
  --rounds N          interleaved rounds [5]
  --connections N     held connections, up to about 18000 [9000]
  --at-a-time N       connections opened at once [200]
  --seconds N         length of the fan-out [10]
  --rate N            its messages a second [5]
  --burst N           messages in a burst [200]
  --bursts N          bursts in a round [1]
  --requests N        small requests in a round [30000]
  --out DIR           the documentation folder [docs of the repository]
";

/// Connections of a session beside Pushpin, and how many are opened at once: of more it answers some 502.
const GRIP_CONNECTIONS_MAX: usize = 2000;
const GRIP_AT_A_TIME_MAX: usize = 50;

/// A part of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Part {
    Requests,
    Files,
    Queue,
    Memory,
    FanOut,
    Burst,
    TakeOver,
    /// Memory, fan-out, bursts and taking over again, beside Pushpin.
    Grip,
}

impl Part {
    /// All of them with their names.
    const NAMES: [(&'static str, Part); 8] = [
        ("requests", Part::Requests),
        ("files", Part::Files),
        ("queue", Part::Queue),
        ("memory", Part::Memory),
        ("fanout", Part::FanOut),
        ("burst", Part::Burst),
        ("takeover", Part::TakeOver),
        ("grip", Part::Grip),
    ];
}

/// What the program is asked to do.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Task {
    Run,
    Render,
    Help,
}

/// The options of a run.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) task: Task,
    pub(crate) perihelion: Option<PathBuf>,
    pub(crate) rounds: usize,
    pub(crate) connections: usize,
    pub(crate) at_a_time: usize,
    pub(crate) seconds: f64,
    pub(crate) rate: f64,
    pub(crate) burst: usize,
    pub(crate) bursts: usize,
    pub(crate) requests: u64,
    pub(crate) out: Option<PathBuf>,
    only: Vec<Part>,
    peers: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            task: Task::Run,
            perihelion: None,
            rounds: 5,
            connections: 9000,
            at_a_time: 200,
            seconds: 10.0,
            rate: 5.0,
            burst: 200,
            bursts: 1,
            requests: 30_000,
            out: None,
            only: Vec::new(),
            peers: Vec::new(),
        }
    }
}

impl Options {
    /// Reads the arguments behind the program's name.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self> {
        let mut options = Self::default();
        let mut arguments = arguments.into_iter();
        while let Some(flag) = arguments.next() {
            let mut value = || arguments.next().with_context(|| format!("{flag} needs a value"));
            match flag.as_str() {
                "run" => options.task = Task::Run,
                "render" => options.task = Task::Render,
                "-h" | "--help" => options.task = Task::Help,
                "--perihelion" => options.perihelion = Some(PathBuf::from(value()?)),
                "--out" => options.out = Some(PathBuf::from(value()?)),
                "--only" => options.only = value()?.split(',').map(part).collect::<Result<_>>()?,
                "--peers" => options.peers = value()?.split(',').map(peer).collect::<Result<_>>()?,
                "--rounds" => options.rounds = number(&flag, &value()?)?,
                "--connections" => options.connections = number(&flag, &value()?)?,
                "--at-a-time" => options.at_a_time = number(&flag, &value()?)?,
                "--seconds" => options.seconds = number(&flag, &value()?)? as f64,
                "--rate" => options.rate = number(&flag, &value()?)? as f64,
                "--burst" => options.burst = number(&flag, &value()?)?,
                "--bursts" => options.bursts = number(&flag, &value()?)?,
                "--requests" => options.requests = number(&flag, &value()?)? as u64,
                _ => bail!("{flag:?} is not known; --help lists what is"),
            }
        }
        Ok(options)
    }

    /// The same for the sessions beside Pushpin: fewer connections, so that it isn't asked for more than it can do.
    pub(crate) fn beside_pushpin(&self) -> Self {
        Self {
            only: vec![Part::TakeOver, Part::Memory, Part::FanOut, Part::Burst],
            connections: self.connections.min(GRIP_CONNECTIONS_MAX),
            at_a_time: self.at_a_time.min(GRIP_AT_A_TIME_MAX),
            ..self.clone()
        }
    }

    /// The part was asked for.
    pub(crate) fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    /// Any part with held connections was asked for.
    pub(crate) fn wants_held(&self) -> bool {
        self.only.is_empty()
            || self
                .only
                .iter()
                .any(|part| !matches!(part, Part::Requests | Part::Files | Part::Queue | Part::Grip))
    }

    /// The contestant was asked for, by its own name or that of its plain variant.
    pub(crate) fn wants_peer(&self, contestant: Contestant) -> bool {
        let name = contestant.name;
        let plain = name.strip_suffix("-tls").unwrap_or(name);
        if self.peers.is_empty() {
            return name != WITH_STORE;
        }
        self.peers.iter().any(|peer| peer == name || peer == plain)
    }
}

fn part(name: &str) -> Result<Part> {
    let found = Part::NAMES.iter().find(|(known, _)| *known == name);
    found.map(|(_, part)| *part).with_context(|| format!("--only: {name:?} is no part; --help lists them"))
}

fn peer(name: &str) -> Result<String> {
    use crate::peers::{GRIP_PROXIES, HOLDERS, PROXIES, QUEUES};
    let mut known = PROXIES.iter().chain(&HOLDERS).chain(&QUEUES).chain(&GRIP_PROXIES);
    ensure!(
        known.any(|contestant| contestant.name == name),
        "--peers: {name:?} is nobody; --help lists them"
    );
    Ok(name.to_owned())
}

fn number(flag: &str, text: &str) -> Result<usize> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => bail!("{flag}: {text:?} is not a positive number"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::{HOLDERS, PROXIES};

    fn parse(line: &str) -> Result<Options> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn parts_and_peers_narrow_a_run() {
        let options = parse("--only memory,burst --peers nchan,perihelion-tls --rounds 2").unwrap();
        assert!(options.wants(Part::Memory) && !options.wants(Part::FanOut) && options.wants_held());
        let held: Vec<_> =
            HOLDERS.into_iter().filter(|peer| options.wants_peer(*peer)).map(|peer| peer.name).collect();
        assert_eq!(held, ["nchan", "perihelion-tls", "nchan-tls"]);
        assert_eq!(options.rounds, 2);
        assert!(PROXIES.into_iter().all(|peer| parse("").unwrap().wants_peer(peer)));
        assert!(!parse("--only requests,files,queue").unwrap().wants_held());
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (line, word) in [
            ("--only everything", "everything"),
            ("--peers apache", "apache"),
            ("--rounds 0", "--rounds"),
            ("--rounds", "--rounds"),
            ("--fast", "--fast"),
        ] {
            assert!(parse(line).unwrap_err().to_string().contains(word), "{line}");
        }
    }
}
