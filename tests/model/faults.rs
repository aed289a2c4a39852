//! A script of 500 messages on a disk whose n-th operation fails, for every n; then the process or the power ends.
//!
//! What was acknowledged is there again, at its place, once and in order; what was refused is nowhere, or whole where
//! the disk failed to the end.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use perihelion::hub::{Committer, Hub, HubSettings, Outcome, Policy, Receipt, Refused};
use perihelion::message::{Batch, ChannelName, Data, Epoch, Message, Position, Sequence, Start};
use perihelion::metrics::Metrics;
use perihelion::store::{Disk, DiskSettings, OpenError};

use crate::disk::{End, Fault, SimulatedDisk};

const MESSAGES: u64 = 500;
const BATCH: u64 = 4;
/// Small, so that segments end, are looked at and leave.
const SEGMENT_BYTES: u64 = 2_000;
const HISTORY: usize = 30;
const CHANNELS: u64 = 3;
const EPOCH: Epoch = Epoch(0xe);

#[test]
fn whatever_fails_once_what_was_acknowledged_is_kept_and_what_was_refused_is_not() {
    for at in 1..=changes_of_the_script() {
        // Each operation with one of the ways in which a write tears, and one of the ways to end.
        let torn = [0, 100, 255][at as usize % 3];
        let end = [End::Process, End::Power { part: 90 }, End::Power { part: 200 }][at as usize / 3 % 3];
        // The cut that follows a failure may fail, too.
        let count = 1 + at / 9 % 3;
        let case = format!("operation {at} and {count} in all fail, torn {torn}, {end:?}");
        let mut run = Run::new(true);
        run.disk.break_at(Some(Fault { at, count, torn }));
        run.script();
        run.check(&case, Refusals::Nowhere);
        run.end(end, EPOCH);
        run.check(&case, Refusals::Nowhere);
    }
}

#[test]
fn a_disk_that_fails_to_the_end_takes_nothing_back_and_halves_nothing() {
    for at in 1..=changes_of_the_script() {
        let torn = [0, 200, 255][at as usize % 3];
        let case = format!("from operation {at} everything fails, torn {torn}");
        let mut run = Run::new(true);
        run.disk.break_at(Some(Fault { at, count: u64::MAX - at, torn }));
        run.script();
        run.check_history(&case, Refusals::Nowhere);
        run.end(End::Power { part: torn }, EPOCH);
        run.check(&case, Refusals::Whole);
    }
}

#[test]
fn without_a_sync_for_each_group_the_end_of_the_process_takes_nothing_and_that_of_the_power_is_told() {
    let mut run = Run::new(false);
    run.script();
    run.end(End::Process, Epoch(1));
    run.check("the process ends", Refusals::Nowhere);
    assert_eq!(run.hub.head().epoch, EPOCH);
    run.end(End::Power { part: 50 }, Epoch(2));
    assert_eq!(run.hub.head().epoch, Epoch(2), "positions of before say nothing any more");
}

#[test]
fn damage_in_the_middle_ends_the_start_and_a_torn_end_is_cut() {
    let mut run = Run::new(true);
    run.script();
    let logs: Vec<(String, usize)> =
        run.disk.lengths().into_iter().filter(|(name, _)| name.ends_with(".log")).collect();
    let (first, length) = logs[0].clone();
    run.disk.damage(&first, length / 2);
    let opened = Disk::open(Box::new(run.disk.clone()), settings(true), EPOCH, None);
    assert!(matches!(opened, Err(OpenError::Damaged { ref file, .. }) if *file == first));
    run.disk.damage(&first, length / 2);

    // Where the first of them begins a segment, accounts are appended behind it.
    (0..2).for_each(|number| drop(run.publish(&[MESSAGES + number]).expect("nothing fails")));
    let mut logs = run.disk.lengths().into_iter().filter(|(name, _)| name.ends_with(".log"));
    let (last, length) = logs.next_back().expect("there is a log");
    run.disk.damage(&last, length - 1);
    let (_, recovered) = Disk::open(Box::new(run.disk.clone()), settings(true), EPOCH, None).expect("cut");
    assert_eq!(recovered.head.0, MESSAGES + 1, "the last group is gone, and nothing else");
}

/// What may be found of messages that were refused.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Refusals {
    Nowhere,
    /// The whole of the first batch that was refused: its end came while it was taken back.
    Whole,
}

/// A hub on a simulated disk, and what its publishers know.
struct Run {
    disk: SimulatedDisk,
    sync_each: bool,
    /// Times that the power went.
    boots: u32,
    hub: Arc<Hub>,
    committer: Option<Committer>,
    began: Instant,
    now: Instant,
    /// Number and place of each message that was acknowledged.
    acknowledged: Vec<(u64, u64)>,
    refused: Vec<u64>,
}

impl Run {
    fn new(sync_each: bool) -> Run {
        let (disk, began) = (SimulatedDisk::default(), Instant::now());
        let (hub, committer) =
            open(&disk, sync_each, EPOCH, 0, at(began, began), began).expect("an empty disk");
        let committer = Some(committer);
        let (acknowledged, refused) = (Vec::new(), Vec::new());
        Run { disk, sync_each, boots: 0, hub, committer, began, now: began, acknowledged, refused }
    }

    fn script(&mut self) {
        for first in (0..MESSAGES).step_by(BATCH as usize) {
            let numbers: Vec<u64> = (first..first + BATCH).collect();
            match self.publish(&numbers) {
                Ok(receipts) => {
                    let places = receipts.iter().map(|receipt| receipt.position.sequence.0);
                    self.acknowledged.extend(numbers.iter().copied().zip(places));
                }
                Err(refused) => {
                    assert!(matches!(refused, Refused::StoreFull(_) | Refused::StoreFailed(_)), "{refused}");
                    self.refused.extend(numbers);
                }
            }
            self.tick();
        }
        // As many as may fail once the last message was refused.
        (0..2).for_each(|_| self.tick());
    }

    fn tick(&mut self) {
        self.committer.as_mut().expect("it runs").tick();
    }

    fn publish(&mut self, numbers: &[u64]) -> Result<Vec<Receipt>, Refused> {
        let messages = numbers.iter().map(|&number| message(number)).collect();
        let outcome = self.hub.publish(Batch { messages, expected: Vec::new() }, self.now);
        let committer = self.committer.as_mut().expect("it runs");
        assert!(committer.turn(self.now, at(self.began, self.now)));
        let Outcome::Waiting(mut outcome) = outcome else { panic!("there is a store to wait for") };
        outcome.try_recv().expect("a turn answers what waited")
    }

    fn end(&mut self, end: End, fresh: Epoch) {
        self.committer = None;
        self.disk.end(end);
        self.boots += u32::from(end != End::Process);
        let at = at(self.began, self.now);
        let (hub, committer) = open(&self.disk, self.sync_each, fresh, self.boots, at, self.now)
            .expect("nothing fails any more");
        (self.hub, self.committer) = (hub, Some(committer));
    }

    fn check(&mut self, case: &str, refusals: Refusals) {
        self.check_history(case, refusals);
        self.check_accounts(case);
        self.check_ids(case);
    }

    fn check_history(&self, case: &str, refusals: Refusals) {
        let mut found: Vec<(u64, u64)> = Vec::new();
        for channel in 0..CHANNELS {
            let history = self.hub.history(&name(channel), Start::Earliest, usize::MAX, self.now);
            let entries = history.map(|history| history.entries).unwrap_or_default();
            found.extend(entries.iter().map(|entry| (number(&entry.message), entry.sequence().0)));
            let expected: Vec<(u64, u64)> = self.of_channel(channel);
            let expected = &expected[expected.len().saturating_sub(HISTORY)..];
            let kept = entries.iter().map(|entry| (number(&entry.message), entry.sequence().0));
            let kept: Vec<(u64, u64)> = kept.filter(|(number, _)| !self.refused.contains(number)).collect();
            // A refused batch that came back has pushed others out of the history.
            let missing = expected.len() - kept.len();
            assert!(missing <= BATCH as usize && (missing == 0 || refusals == Refusals::Whole), "{case}");
            assert_eq!(kept, expected[missing..], "{case}");
        }
        let back: Vec<u64> =
            found.iter().map(|found| found.0).filter(|number| self.refused.contains(number)).collect();
        match refusals {
            Refusals::Nowhere => assert_eq!(back, Vec::<u64>::new(), "{case}"),
            Refusals::Whole => {
                let whole = back.is_empty() || back.len() == BATCH as usize;
                assert!(whole, "{case}: half a batch, {back:?}");
            }
        }
    }

    /// Who comes back from the beginning is told how many messages are gone.
    fn check_accounts(&self, case: &str) {
        let beginning = Position { epoch: EPOCH, sequence: Sequence(0) };
        for channel in 0..CHANNELS {
            let all = self.of_channel(channel).len() as u64;
            let history = self.hub.history(&name(channel), Start::After(beginning), usize::MAX, self.now);
            let Some(history) = history else {
                assert_eq!(all, 0, "{case}");
                continue;
            };
            let kept = history.entries.iter().filter(|entry| !self.refused.contains(&number(&entry.message)));
            let gone = all - kept.count() as u64;
            let told = history.gap.map_or(Some(0), |gap| gap.missing);
            assert!(
                told.is_some_and(|told| (gone..=gone + BATCH).contains(&told)),
                "{case}: {told:?} of {gone}"
            );
        }
    }

    /// Whatever a publisher sends again is recognised.
    fn check_ids(&mut self, case: &str) {
        for (number, place) in self.acknowledged.clone().into_iter().filter(|(number, _)| has_id(*number)) {
            let receipts = self.publish(&[number]).expect("nothing fails any more");
            assert_eq!((receipts[0].position.sequence.0, receipts[0].duplicate), (place, true), "{case}");
        }
    }

    fn of_channel(&self, channel: u64) -> Vec<(u64, u64)> {
        self.acknowledged.iter().copied().filter(|(number, _)| number % CHANNELS == channel).collect()
    }
}

fn changes_of_the_script() -> u64 {
    let mut run = Run::new(true);
    run.script();
    assert_eq!((run.acknowledged.len() as u64, run.refused.len()), (MESSAGES, 0));
    assert!(run.disk.lengths().len() < 15, "segments leave: {:?}", run.disk.lengths());
    run.disk.changes()
}

fn open(
    disk: &SimulatedDisk,
    sync_each: bool,
    fresh: Epoch,
    boots: u32,
    at: SystemTime,
    now: Instant,
) -> Result<(Arc<Hub>, Committer), OpenError> {
    let boot = format!("boot-{boots}");
    let (store, recovered) = Disk::open(Box::new(disk.clone()), settings(sync_each), fresh, Some(&boot))?;
    let settings = HubSettings {
        policies: Policy::keeping(HISTORY, None).into(),
        history_bytes: usize::MAX,
        channels: 10,
        window_messages: 0,
        publisher_ids: 1000,
    };
    let metrics = Metrics::new().expect("metrics register");
    Ok(Hub::with_store(Box::new(store), recovered, settings, usize::MAX, metrics, now, at))
}

fn settings(sync_each: bool) -> DiskSettings {
    DiskSettings { sync_each, segment_bytes: SEGMENT_BYTES }
}

/// The same moment by the other clock.
fn at(began: Instant, now: Instant) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000) + (now - began)
}

fn name(channel: u64) -> ChannelName {
    ChannelName::parse(&format!("channel-{channel}")).expect("a name")
}

fn message(number: u64) -> Message {
    Message {
        id: has_id(number).then(|| format!("id-{number}").into()),
        ..Message::new(name(number % CHANNELS), Data::Text(format!("{number:0100}").into()))
    }
}

fn has_id(number: u64) -> bool {
    number.is_multiple_of(7)
}

fn number(message: &Message) -> u64 {
    let text = std::str::from_utf8(message.data.bytes()).expect("text");
    text.parse().expect("a number")
}
