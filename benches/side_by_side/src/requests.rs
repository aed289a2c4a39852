//! Ordinary proxied requests: processor time for each, small and large, all proxies in front of one application.

use anyhow::{Context, Result};

use crate::load::{Load, Wish};
use crate::measure::processor_time;
use crate::options::Options;
use crate::peers::{Arena, Contestant, LARGE_BYTES, SMALL_BYTES, Started};
use crate::results::Round;

/// Connections of the load, all busy all the time.
pub(crate) const CONNECTIONS: usize = 64;
/// Large answers asked for in place of so many small ones.
const SMALL_FOR_ONE_LARGE: u64 = 6;

/// A kind of request.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    /// Name in the results.
    pub(crate) measure: &'static str,
    path: &'static str,
    body_bytes: usize,
    divisor: u64,
}

/// The kinds that are measured.
pub(crate) const KINDS: [Kind; 2] = [
    Kind { measure: "requests-small", path: "/", body_bytes: SMALL_BYTES, divisor: 1 },
    Kind {
        measure: "requests-large",
        path: "/big/100k",
        body_bytes: LARGE_BYTES,
        divisor: SMALL_FOR_ONE_LARGE,
    },
];

/// Runs all rounds; every proxy is up all the time, and those not asked cost nothing.
pub(crate) fn run(
    arena: &Arena,
    proxies: &[Contestant],
    options: &Options,
    mut report: impl FnMut(&Kind, Contestant, Round) -> Result<()>,
) -> Result<()> {
    let application = arena.start_application()?;
    let mut started = Vec::new();
    for &proxy in proxies {
        started.push((proxy, arena.start(proxy, application.address)?));
    }
    for kind in &KINDS {
        for (proxy, server) in &started {
            // The first requests fill caches and connection pools, and count for nobody.
            measure(kind, *proxy, server, options.requests / 2)
                .with_context(|| format!("warming {} up", proxy.name))?;
        }
        for _ in 0..options.rounds {
            for (proxy, server) in &started {
                let round = measure(kind, *proxy, server, options.requests)
                    .with_context(|| format!("{} from {}", kind.measure, proxy.name))?;
                report(kind, *proxy, round)?;
            }
        }
    }
    Ok(())
}

fn measure(kind: &Kind, proxy: Contestant, server: &Started, requests: u64) -> Result<Round> {
    let requests = (requests / kind.divisor / proxy.load_divisor).max(CONNECTIONS as u64);
    let wish = Wish { address: server.address, path: kind.path, body_bytes: kind.body_bytes };
    let mut load = Load::open(wish, CONNECTIONS)?;
    load.run((requests / 10).max(CONNECTIONS as u64))?;
    let before = processor_time(server.pid())?;
    let outcome = load.run(requests)?;
    let spent = processor_time(server.pid())?.saturating_sub(before);
    Ok(Round::default()
        .number("cpu_us", spent.as_secs_f64() * 1e6 / requests as f64)
        .number("per_second", requests as f64 / outcome.elapsed.as_secs_f64())
        .number("requests", requests as f64)
        .number("wrong", outcome.wrong as f64)
        .number("reopened", outcome.reopened as f64))
}
