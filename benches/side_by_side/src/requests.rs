//! Requests: processor time for each, small and large, proxied to one application or answered with a file.

use anyhow::{Context, Result};

use crate::load::{Load, Wish};
use crate::measure::processor_time;
use crate::options::Options;
use crate::peers::{Arena, Contestant, HUGE_BYTES, LARGE_BYTES, SMALL_BYTES, Started};
use crate::results::Round;

/// Connections of the load, all busy all the time.
pub(crate) const CONNECTIONS: usize = 64;
/// Large answers asked for in place of so many small ones.
const SMALL_FOR_ONE_LARGE: u64 = 6;
/// The same for files of ten megabytes.
const SMALL_FOR_ONE_HUGE: u64 = 300;

/// A kind of request.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    /// Name in the results.
    pub(crate) measure: &'static str,
    path: &'static str,
    body_bytes: usize,
    divisor: u64,
}

/// The kinds that are measured of proxies.
pub(crate) const PROXIED: [Kind; 2] = [
    Kind { measure: "requests-small", path: "/", body_bytes: SMALL_BYTES, divisor: 1 },
    Kind {
        measure: "requests-large",
        path: "/big/100k",
        body_bytes: LARGE_BYTES,
        divisor: SMALL_FOR_ONE_LARGE,
    },
];

/// The kinds that are measured of servers of files.
pub(crate) const FILES: [Kind; 2] = [
    Kind {
        measure: "files-large",
        path: "/files/big/100k",
        body_bytes: LARGE_BYTES,
        divisor: SMALL_FOR_ONE_LARGE,
    },
    Kind {
        measure: "files-huge",
        path: "/files/big/10m",
        body_bytes: HUGE_BYTES,
        divisor: SMALL_FOR_ONE_HUGE,
    },
];

/// Runs all rounds; every server is up all the time, and those not asked cost nothing.
pub(crate) fn run(
    arena: &Arena,
    kinds: &[Kind],
    servers: &[Contestant],
    options: &Options,
    mut report: impl FnMut(&Kind, Contestant, Round) -> Result<()>,
) -> Result<()> {
    let application = arena.start_application()?;
    let mut started = Vec::new();
    for &server in servers {
        started.push((server, arena.start(server, application.address)?));
    }
    for kind in kinds {
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
