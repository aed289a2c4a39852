//! Held connections: what taking them over, keeping them and delivering to them costs.
//!
//! A round is one session with a server that was just started: a few subscribers come and go to warm it up, thousands
//! are opened, then messages are published one at a time and in bursts. Each step gives one measure.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::events::Ledger;
use crate::measure::{memory, percentile, processor_time};
use crate::options::{Options, Part};
use crate::peers::{Arena, Contestant, Started};
use crate::publish::Publisher;
use crate::results::Round;
use crate::subscribers::{Subscribers, Target};

/// How long a server gets to come to rest before it is measured.
const REST: Duration = Duration::from_millis(1000);
/// Before memory is read: by then every server has closed what it keeps for the next requests to the application.
const UNTIL_QUIET: Duration = Duration::from_secs(6);
/// Deliveries that don't come for so long are lost.
const SILENCE_MAX: Duration = Duration::from_secs(10);
const WARM_UP_SUBSCRIBERS: usize = 8;
const WARM_UP_MESSAGES: usize = 4;
const WARM_UP_BURST: usize = 20;

/// One round with one server; gives a round of each measure that was asked for.
pub(crate) fn session(
    arena: &Arena,
    contestant: Contestant,
    options: &Options,
    mut report: impl FnMut(&'static str, Round) -> Result<()>,
) -> Result<()> {
    let application = arena.start_application()?;
    let server = arena.start(contestant, application.address)?;
    let target = Target {
        address: server.address,
        path: contestant.server.path(),
        tls: contestant.tls.then(|| arena.tls.clone()),
    };
    warm_up(&server, &target)?;
    let ledger = Ledger::new();
    let subscribers = Subscribers::new(target, ledger.clone())?;
    let publisher = Publisher::connect(server.publish.0, server.publish.1)?;
    let mut session = Session { server: &server, ledger, subscribers, publisher, options };
    let (taking_over, memory) = session.fill()?;
    if options.wants(Part::TakeOver) {
        report("takeover", taking_over)?;
    }
    if options.wants(Part::Memory) {
        report("memory", memory)?;
    }
    if options.wants(Part::FanOut) {
        report("fanout", session.fan_out()?)?;
    }
    if options.wants(Part::Burst) {
        report("burst", session.bursts()?)?;
    }
    Ok(())
}

/// Lets a few subscribers come, hear something and leave, so that what a server sets up once is not counted for them.
fn warm_up(server: &Started, target: &Target) -> Result<()> {
    let ledger = Ledger::new();
    let mut subscribers = Subscribers::new(target.clone(), ledger.clone())?;
    subscribers.open(WARM_UP_SUBSCRIBERS, WARM_UP_SUBSCRIBERS).context("while warming up")?;
    let mut publisher = Publisher::connect(server.publish.0, server.publish.1)?;
    for _ in 0..WARM_UP_MESSAGES {
        publisher.one(&ledger.next())?;
        subscribers.settle(REST / 10)?;
    }
    drop((subscribers, publisher));
    std::thread::sleep(REST);
    Ok(())
}

struct Session<'a> {
    server: &'a Started,
    ledger: Ledger,
    subscribers: Subscribers,
    publisher: Publisher,
    options: &'a Options,
}

/// Counters of a session at one moment.
#[derive(Clone, Copy)]
struct Counts {
    spent: Duration,
    delivered: u64,
    repeated: u64,
    out_of_order: u64,
    mangled: u64,
    gaps: u64,
    ended: usize,
}

impl Session<'_> {
    /// Opens all connections; the rounds for taking over and for memory.
    fn fill(&mut self) -> Result<(Round, Round)> {
        let connections = self.options.connections;
        let (idle, before) = (memory(self.server.pid())?, processor_time(self.server.pid())?);
        let start = Instant::now();
        self.subscribers.open(connections, self.options.at_a_time)?;
        let elapsed = start.elapsed();
        self.subscribers.settle(REST)?;
        let spent = processor_time(self.server.pid())?.saturating_sub(before);
        self.subscribers.settle(UNTIL_QUIET)?;
        let held = memory(self.server.pid())?;
        let taking_over = Round::default()
            .number("cpu_us", spent.as_secs_f64() * 1e6 / connections as f64)
            .number("per_second", connections as f64 / elapsed.as_secs_f64());
        let memory = Round::default()
            .number("kib", (held as f64 - idle as f64) / 1024.0 / connections as f64)
            .number("idle_mib", idle as f64 / 1024.0 / 1024.0);
        Ok((taking_over, memory))
    }

    /// Messages at an even pace.
    fn fan_out(&mut self) -> Result<Round> {
        let interval = Duration::from_secs_f64(1.0 / self.options.rate);
        self.deliver(WARM_UP_MESSAGES, |publisher, ledger| {
            paced(publisher, ledger, WARM_UP_MESSAGES, interval)
        })?;
        let count = (self.options.seconds * self.options.rate).ceil() as usize;
        let (first, before) = (self.ledger.len(), self.counts()?);
        self.subscribers.tally.restart_latencies();
        let expected = self.deliver(count, |publisher, ledger| paced(publisher, ledger, count, interval))?;
        let round = self.delivery_round(before, expected)?;
        let tally = &self.subscribers.tally;
        Ok(round
            .number("all_p50_ms", tally.latency_ms(0.5))
            .number("all_p99_ms", tally.latency_ms(0.99))
            .samples(&tally.last_ms(first..first + count)))
    }

    /// Many messages at once, again after the last of them has arrived everywhere.
    fn bursts(&mut self) -> Result<Round> {
        self.deliver(WARM_UP_BURST, |publisher, ledger| burst(publisher, ledger, WARM_UP_BURST))?;
        let size = self.options.burst;
        let before = self.counts()?;
        let (mut expected, mut complete) = (0, Vec::new());
        for _ in 0..self.options.bursts {
            let first = self.ledger.len();
            expected += self.deliver(size, |publisher, ledger| burst(publisher, ledger, size))?;
            complete.extend(percentile(&self.subscribers.tally.last_ms(first..first + size), 1.0));
        }
        let round = self.delivery_round(before, expected)?;
        Ok(round.number("complete_ms", crate::measure::median(&complete)))
    }

    /// Publishes in a thread of its own while this one reads; returns the deliveries that were to be expected.
    fn deliver(
        &mut self,
        count: usize,
        publish: impl FnOnce(&mut Publisher, &Ledger) -> Result<()> + Send,
    ) -> Result<u64> {
        let (publisher, ledger, subscribers) = (&mut self.publisher, &self.ledger, &mut self.subscribers);
        let expected = (count * (subscribers.open - subscribers.ended)) as u64;
        std::thread::scope(|scope| {
            let publishing = scope.spawn(move || publish(publisher, ledger));
            let received = receive(subscribers, expected, || publishing.is_finished());
            let published = publishing.join().map_err(|_| anyhow::anyhow!("the publishing thread broke"))?;
            published.and(received)
        })?;
        // What the server does after the last delivery is part of its cost.
        self.subscribers.settle(REST / 4)?;
        Ok(expected)
    }

    fn delivery_round(&self, before: Counts, expected: u64) -> Result<Round> {
        let after = self.counts()?;
        let delivered = after.delivered - before.delivered;
        let spent = after.spent.saturating_sub(before.spent);
        Ok(Round::default()
            .number("cpu_us", (delivered > 0).then(|| spent.as_secs_f64() * 1e6 / delivered as f64))
            .number("delivered", delivered as f64)
            .number("lost", expected.saturating_sub(delivered) as f64)
            .number("repeated", (after.repeated - before.repeated) as f64)
            .number("out_of_order", (after.out_of_order - before.out_of_order) as f64)
            .number("mangled", (after.mangled - before.mangled) as f64)
            .number("gaps", (after.gaps - before.gaps) as f64)
            .number("ended", (after.ended - before.ended) as f64))
    }

    fn counts(&self) -> Result<Counts> {
        let tally = &self.subscribers.tally;
        Ok(Counts {
            spent: processor_time(self.server.pid())?,
            delivered: tally.delivered,
            repeated: tally.repeated,
            out_of_order: tally.out_of_order,
            mangled: tally.mangled,
            gaps: tally.gaps,
            ended: self.subscribers.ended,
        })
    }
}

/// Reads until all is published and everything expected has come, or nothing comes any more.
fn receive(subscribers: &mut Subscribers, expected: u64, published: impl Fn() -> bool) -> Result<()> {
    let wanted = subscribers.tally.delivered + expected;
    let (mut last_count, mut last_progress) = (subscribers.tally.delivered, Instant::now());
    while !(published() && subscribers.tally.delivered >= wanted) && last_progress.elapsed() < SILENCE_MAX {
        subscribers.turn(Duration::from_millis(20))?;
        if subscribers.tally.delivered > last_count {
            (last_count, last_progress) = (subscribers.tally.delivered, Instant::now());
        }
    }
    Ok(())
}

fn paced(publisher: &mut Publisher, ledger: &Ledger, count: usize, interval: Duration) -> Result<()> {
    let start = Instant::now();
    for number in 0..count {
        let due = start + interval * number as u32;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        publisher.one(&ledger.next())?;
    }
    Ok(())
}

fn burst(publisher: &mut Publisher, ledger: &Ledger, size: usize) -> Result<()> {
    let messages: Vec<_> = (0..size).map(|_| ledger.next()).collect();
    publisher.burst(&messages)
}
