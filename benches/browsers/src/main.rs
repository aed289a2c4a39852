//! Measures what clients in browsers cost: ten thousand Bayeux clients that poll one channel, beside Faye's server and
//! CometD's for Node; and ten thousand WebSockets beside as many event streams.
//!
//! `browsers bayeux PERIHELION [SERVER]`, where SERVER is the only one to be measured, and `browsers sockets PERIHELION` start each server anew for each round, interleaved, and
//! talk to it from this process alone. Every delivery is checked. `CLIENTS`, `MESSAGES` and `ROUNDS` of the environment
//! change how many there are. Needs `ulimit -n` of more than that many clients, and for Bayeux `npm ci` in `peers/`.

mod bayeux;
mod crowd;
mod response;
mod server;
mod sockets;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

/// How much is measured.
pub(crate) struct Size {
    pub(crate) clients: usize,
    pub(crate) messages: usize,
    pub(crate) rounds: usize,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("browsers: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let usage = "usage: browsers bayeux|sockets PERIHELION [SERVER]";
    let (what, perihelion) = arguments.next().zip(arguments.next()).context(usage)?;
    let (perihelion, size) = (PathBuf::from(perihelion), Size::from_environment()?);
    match what.to_str() {
        Some("bayeux") => bayeux::run(&perihelion, &size, arguments.next().as_deref()),
        Some("sockets") => sockets::run(&perihelion, &size),
        _ => bail!("{usage}"),
    }
}

impl Size {
    fn from_environment() -> Result<Size> {
        let number = |name: &str, usual: usize| match std::env::var(name) {
            Ok(text) => text.parse().with_context(|| format!("{name} is {text}")),
            Err(_) => Ok(usual),
        };
        Ok(Size {
            clients: number("CLIENTS", 10_000)?,
            messages: number("MESSAGES", 10)?,
            rounds: number("ROUNDS", 3)?,
        })
    }
}

/// The middle one of some figures, with the lowest and the highest.
pub(crate) fn spread(mut figures: Vec<f64>) -> (f64, f64, f64) {
    figures.sort_by(f64::total_cmp);
    (figures[figures.len() / 2], figures[0], figures[figures.len() - 1])
}
