//! Measures how many publishes a second are answered once they are on the disk, beside `redis-server` with `appendfsync
//! always`, with the same clients in interleaved rounds.
//!
//! `durable PERIHELION [FOLDER]` starts both with files below FOLDER (default: the current folder, since the folder for
//! temporary files is often no disk). Publishers keep their connections; each sends its next messages when the last
//! ones are answered. Processor time is that of the server's process.
//!
//! `durable resume PERIHELION [FOLDER]` measures what ten thousand clients cost that come back with their tickets, each with
//! twenty missed messages; it needs `ulimit -n` of more than twenty thousand.

mod client;
mod resume;
mod server;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};

use client::Speech;
use resume::Channels;
use server::Server;

/// Publishers at once.
const PUBLISHERS: usize = 64;
/// Bytes of a message.
const BYTES: usize = 200;
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_secs(2);

/// One line of the result.
struct Contest {
    name: &'static str,
    server: fn(&Path, &Path) -> Result<Server>,
    speech: Speech,
    /// Messages that a publisher sends at once: a batch, or commands in a row.
    at_once: usize,
}

const CONTESTS: [Contest; 7] = [
    Contest {
        name: "perihelion, disk, 1 at once",
        server: Server::perihelion_on_disk,
        speech: Speech::Http,
        at_once: 1,
    },
    Contest { name: "redis-server, 1 at once", server: Server::redis, speech: Speech::Redis, at_once: 1 },
    Contest {
        name: "perihelion, disk, 16 at once",
        server: Server::perihelion_on_disk,
        speech: Speech::Http,
        at_once: 16,
    },
    Contest { name: "redis-server, 16 at once", server: Server::redis, speech: Speech::Redis, at_once: 16 },
    Contest {
        name: "perihelion, disk, 100 at once",
        server: Server::perihelion_on_disk,
        speech: Speech::Http,
        at_once: 100,
    },
    Contest { name: "redis-server, 100 at once", server: Server::redis, speech: Speech::Redis, at_once: 100 },
    Contest {
        name: "perihelion, memory, 100 at once",
        server: Server::perihelion_in_memory,
        speech: Speech::Http,
        at_once: 100,
    },
];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("durable: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1).peekable();
    let resumes = arguments.next_if(|word| word == "resume").is_some();
    let usage = "usage: durable [resume] PERIHELION [FOLDER]";
    let perihelion = PathBuf::from(arguments.next().context(usage)?);
    let folder = arguments.next().map_or_else(|| PathBuf::from("."), PathBuf::from);
    if resumes { come_back(&perihelion, &folder) } else { publish(&perihelion, &folder) }
}

fn come_back(perihelion: &Path, folder: &Path) -> Result<()> {
    println!(
        "{} clients come back, each with {} missed messages of {BYTES} bytes; medians of {ROUNDS} rounds, lowest and highest",
        resume::CLIENTS,
        resume::MISSED
    );
    for (name, channels) in [("one channel", Channels::Shared), ("a channel each", Channels::Own)] {
        let mut rounds = Vec::new();
        for number in 0..ROUNDS {
            let folder = folder.join(format!("resume-{}-{number}", std::process::id()));
            let round = resume::round(perihelion, &folder, channels, BYTES);
            // What is left of a round that failed is said by its error.
            let _ = std::fs::remove_dir_all(&folder);
            rounds.push(round.with_context(|| name.to_owned())?);
        }
        rounds.sort_by(|a, b| a.cpu_micros.total_cmp(&b.cpu_micros));
        let (low, median, high) = (&rounds[0], &rounds[ROUNDS / 2], &rounds[ROUNDS - 1]);
        println!(
            "{name:16} {:6.1} us of processor time a client ({:.1} to {:.1}), all back after {:.2} s",
            median.cpu_micros,
            low.cpu_micros,
            high.cpu_micros,
            median.took.as_secs_f64()
        );
    }
    Ok(())
}

fn publish(perihelion: &Path, folder: &Path) -> Result<()> {
    let mut rounds: Vec<Vec<Round>> = CONTESTS.iter().map(|_| Vec::new()).collect();
    for number in 0..ROUNDS {
        for (contest, rounds) in CONTESTS.iter().zip(&mut rounds) {
            let folder = folder.join(format!("durable-{}-{number}", std::process::id()));
            let round = contest.round(perihelion, &folder);
            // What is left of a round that failed is said by its error.
            let _ = std::fs::remove_dir_all(&folder);
            rounds.push(round.with_context(|| contest.name.to_owned())?);
        }
    }
    println!(
        "{PUBLISHERS} publishers, messages of {BYTES} bytes, {ROUNDS} rounds of {ROUND:?}; medians, lowest and highest"
    );
    for (contest, mut rounds) in CONTESTS.iter().zip(rounds) {
        rounds.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
        let (low, median, high) = (&rounds[0], &rounds[ROUNDS / 2], &rounds[ROUNDS - 1]);
        println!(
            "{:32} {:9.0} a second ({:.0} to {:.0}), {:5.2} us of processor time each",
            contest.name, median.per_second, low.per_second, high.per_second, median.cpu_micros
        );
    }
    Ok(())
}

struct Round {
    per_second: f64,
    cpu_micros: f64,
}

impl Contest {
    fn round(&self, perihelion: &Path, folder: &Path) -> Result<Round> {
        std::fs::create_dir_all(folder)?;
        let server = (self.server)(perihelion, folder)?;
        let before = server.cpu()?;
        let answered = client::publish(server.address, self.speech, self.at_once, PUBLISHERS, BYTES, ROUND)?;
        let cpu = server.cpu()? - before;
        let per_second = answered as f64 / ROUND.as_secs_f64();
        Ok(Round { per_second, cpu_micros: cpu.as_secs_f64() * 1e6 / answered as f64 })
    }
}
