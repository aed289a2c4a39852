//! Measures Perihelion beside nginx, haproxy, perlbal, nchan and a bare write loop, in interleaved rounds.
//!
//! `requests` asks proxies for small and large answers, and servers of files for files; `queue` has many clients wait for
//! few workers; `held` opens thousands of subscribers and publishes to them.
//! Results go to `docs/performance/results.json`, from which `docs/performance.md` and its plots are written.

mod bare;
mod events;
mod held;
mod load;
mod machine;
mod measure;
mod options;
mod peers;
mod plot;
mod process;
mod publish;
mod queue;
mod render;
mod requests;
mod response;
mod results;
mod subscribers;
mod tls;
mod workers;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};

use options::{HELP, Options, Part, Task};
use peers::{Arena, Contestant, FILE_SERVERS, GRIP_PROXIES, HOLDERS, PROXIES, QUEUES};
use results::{Results, Round, Run};

/// Share of the processors that others may use before a run warns.
const BUSY_MAX: f64 = 0.1;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.split_first() {
        // How the runner starts the floor to compare with, as a process of its own.
        Some((word, addresses)) if word == "bare" => serve_bare(addresses),
        Some((word, addresses)) if word == "workers" => serve_workers(addresses),
        _ => Options::parse(arguments).and_then(|options| match options.task {
            Task::Help => {
                print!("{HELP}");
                Ok(())
            }
            Task::Render => render::write(&Results::load(&results_file(&docs(&options)?))?, &docs(&options)?),
            Task::Run => run(&options),
        }),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("side_by_side: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve_bare(addresses: &[String]) -> Result<()> {
    let [listen, publish] = addresses else { anyhow::bail!("usage: side_by_side bare LISTEN PUBLISH") };
    bare::serve(listen.parse()?, publish.parse()?)
}

fn serve_workers(addresses: &[String]) -> Result<()> {
    let [listen] = addresses else { anyhow::bail!("usage: side_by_side workers LISTEN") };
    workers::serve(listen.parse()?)
}

fn run(options: &Options) -> Result<()> {
    let limit = process::raise_file_limit()?;
    let docs = docs(options)?;
    let arena = Arena::create(options.perihelion.clone())?;
    let mut notebook = Notebook::open(&docs)?;
    let busy = machine::busy_share();
    if busy > BUSY_MAX {
        println!(
            "the machine is {:.0} % busy with other work: latencies and even processor times will suffer",
            busy * 100.0
        );
    }
    notebook.results.machine = machine::facts(busy);
    if options.wants(Part::Requests) {
        let proxies = present(&arena, options, &PROXIES, &mut notebook);
        requests::run(&arena, &requests::PROXIED, &proxies, options, |kind, proxy, round| {
            notebook.note(kind.measure, proxy, requests::CONNECTIONS, round)
        })?;
    }
    if options.wants(Part::Files) {
        let servers = present(&arena, options, &FILE_SERVERS, &mut notebook);
        requests::run(&arena, &requests::FILES, &servers, options, |kind, server, round| {
            notebook.note(kind.measure, server, requests::CONNECTIONS, round)
        })?;
    }
    if options.wants(Part::Queue) {
        let queues = present(&arena, options, &QUEUES, &mut notebook);
        queue::run(&arena, &queues, options, |proxy, round| {
            notebook.note("queue", proxy, queue::CLIENTS, round)
        })?;
    }
    if options.wants_held() {
        peers::check_file_limit(limit, options.connections)?;
        let holders = present(&arena, options, &HOLDERS, &mut notebook);
        hold(&arena, &holders, options, "", &mut notebook)?;
    }
    if options.wants(Part::Grip) {
        let proxies = present(&arena, options, &GRIP_PROXIES, &mut notebook);
        hold(&arena, &proxies, &options.beside_pushpin(), "grip-", &mut notebook)?;
    }
    render::write(&notebook.results, &docs)
}

/// Sessions with held connections, in rounds that take turns; measures are noted under their names behind `prefix`.
fn hold(
    arena: &Arena,
    holders: &[Contestant],
    options: &Options,
    prefix: &str,
    notebook: &mut Notebook,
) -> Result<()> {
    for _ in 0..options.rounds {
        for &holder in holders {
            held::session(arena, holder, options, |measure, round| {
                notebook.note(&format!("{prefix}{measure}"), holder, options.connections, round)
            })
            .with_context(|| format!("a session with {}", holder.name))?;
        }
    }
    Ok(())
}

/// The contestants that were asked for and can be measured here; the others are named.
fn present(arena: &Arena, options: &Options, all: &[Contestant], notebook: &mut Notebook) -> Vec<Contestant> {
    let mut present = Vec::new();
    for &contestant in all.iter().filter(|contestant| options.wants_peer(**contestant)) {
        match arena.missing(contestant) {
            Some(reason) => println!("skipping {}: {reason}", contestant.name),
            None => {
                let version = peers::version(arena, contestant.server);
                notebook
                    .results
                    .versions
                    .insert(contestant.name.trim_end_matches("-tls").to_owned(), version);
                present.push(contestant);
            }
        }
    }
    present
}

/// Where rounds are noted, printed and saved as they come, so that a run that breaks off keeps what it has.
struct Notebook {
    results: Results,
    file: PathBuf,
    run: Run,
}

impl Notebook {
    fn open(docs: &Path) -> Result<Self> {
        let file = results_file(docs);
        let folder = docs.join("performance");
        std::fs::create_dir_all(&folder).with_context(|| format!("can't make {}", folder.display()))?;
        let run = Run { began: machine::now_utc(), command: machine::command_line(std::env::args().skip(1)) };
        Ok(Self { results: Results::load(&file)?, file, run })
    }

    fn note(
        &mut self,
        measure: &str,
        contestant: Contestant,
        connections: usize,
        round: Round,
    ) -> Result<()> {
        println!("{measure:15} {:15} {}", contestant.name, round.summary());
        self.results.add(measure, contestant.name, &self.run, connections, round);
        self.results.save(&self.file)
    }
}

fn results_file(docs: &Path) -> PathBuf {
    docs.join("performance/results.json")
}

/// The documentation folder: as given, or that of the repository around the current folder or this package.
fn docs(options: &Options) -> Result<PathBuf> {
    if let Some(out) = &options.out {
        ensure!(out.is_dir(), "{} is not a folder", out.display());
        return Ok(out.clone());
    }
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let starts = [std::env::current_dir().ok(), package];
    let root =
        starts.iter().flatten().flat_map(|start| start.ancestors()).find(|folder| is_repository(folder));
    Ok(root.context("not inside the repository: give the documentation folder with --out")?.join("docs"))
}

fn is_repository(folder: &Path) -> bool {
    folder.join("benches/side_by_side/Cargo.toml").is_file()
}
