//! Many clients in front of few workers: how much of the workers' time is used, and how long the last of those who wait.

use anyhow::{Context, Result};

use crate::load::{Load, Wish};
use crate::measure::percentile;
use crate::options::Options;
use crate::peers::{Arena, Contestant, Server};
use crate::results::Round;
use crate::workers::{BODY_BYTES, WORK, WORKERS};

/// Clients that wait at once.
pub(crate) const CLIENTS: usize = 500;
/// How long a round lasts if no worker ever waits.
const SECONDS: f64 = 8.0;

/// Runs all rounds. *direct* is as many clients as workers, without a proxy: what the workers can do at most.
pub(crate) fn run(
    arena: &Arena,
    proxies: &[Contestant],
    options: &Options,
    mut report: impl FnMut(Contestant, Round) -> Result<()>,
) -> Result<()> {
    for _ in 0..options.rounds {
        for &proxy in proxies {
            let round = measure(arena, proxy).with_context(|| format!("the queue of {}", proxy.name))?;
            report(proxy, round)?;
        }
    }
    Ok(())
}

/// Each round has workers of its own, whose connections nobody else keeps.
fn measure(arena: &Arena, proxy: Contestant) -> Result<Round> {
    let workers = arena.start_workers()?;
    let server = match proxy.server {
        Server::Workers => None,
        _ => Some(arena.start(proxy, workers.address)?),
    };
    let (address, clients) = match &server {
        Some(server) => (server.address, CLIENTS),
        None => (workers.address, WORKERS),
    };
    let mut load = Load::open(Wish { address, path: "/", body_bytes: BODY_BYTES }, clients)?;
    let capacity = WORKERS as f64 / WORK.as_secs_f64();
    let requests = (capacity * SECONDS) as u64;
    let outcome = load.run(requests)?;
    let waits: Vec<f64> = outcome.waits.iter().map(|wait| wait.as_secs_f64() * 1e3).collect();
    Ok(Round::default()
        .number("per_second", requests as f64 / outcome.elapsed.as_secs_f64())
        .number("p50_ms", percentile(&waits, 0.5))
        .number("p99_ms", percentile(&waits, 0.99))
        .number("wrong", outcome.wrong as f64))
}
