//! A spool, looked at from outside: order, bounds, a disk that fails, bodies that are read again.

use std::future::poll_fn;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

use super::*;

const KIB: usize = 1024;

fn config(memory: usize, disk: u64) -> BuffersConfig {
    BuffersConfig { memory, disk, folder: std::env::temp_dir(), ..BuffersConfig::default() }
}

fn spools(memory: usize, disk: u64) -> (Arc<Spools>, Metrics) {
    let metrics = Metrics::new().unwrap();
    (Spools::new(&config(memory, disk), &metrics), metrics)
}

fn spool(spools: &Arc<Spools>, memory_max: usize) -> Spool {
    Spool::new(spools.clone(), Kind::Response, memory_max)
}

async fn room(spool: &mut Spool) -> Room {
    poll_fn(|cx| spool.poll_room(cx)).await
}

async fn take(spool: &mut Spool) -> Option<Bytes> {
    poll_fn(|cx| spool.poll_next(cx)).await.map(|piece| piece.expect("the disk works"))
}

async fn take_all(spool: &mut Spool) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(piece) = take(spool).await {
        all.extend_from_slice(&piece);
    }
    all
}

/// Bytes that tell their place.
fn numbered(from: usize, length: usize) -> Vec<u8> {
    (from..from + length).map(|place| (place / 7) as u8 ^ (place >> 8) as u8).collect()
}

/// Pushes while there is room, up to so much; gives how much went.
async fn fill(spool: &mut Spool, up_to: usize) -> usize {
    let mut pushed = 0;
    while pushed < up_to && room(spool).await == Room::Some {
        spool.push(&numbered(pushed, (40 * KIB).min(up_to - pushed)));
        pushed = (pushed + 40 * KIB).min(up_to);
    }
    pushed
}

fn run(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
}

#[test]
fn what_has_no_room_in_memory_goes_through_a_file_and_comes_out_in_order() {
    run(async {
        let (spools, metrics) = spools(1024 * KIB, 64 << 20);
        let mut spool = spool(&spools, 64 * KIB);
        let pushed = fill(&mut spool, 5000 * KIB).await;
        assert_eq!((pushed, spool.bytes()), (5000 * KIB, 5000 * KIB as u64));
        assert!(metrics.buffer_disk_bytes.get() > 4000 * KIB as i64);
        assert!(metrics.buffer_bytes.with_label_values(&["response"]).get() < 700 * KIB as i64);
        assert!(take_all(&mut spool).await == numbered(0, pushed));
        assert_eq!(metrics.buffer_spills.with_label_values(&["response"]).get(), 1);
        drop(spool);
        assert_eq!((metrics.buffer_disk_bytes.get(), spools.budget_in_use()), (0, 0));
    });
}

#[test]
fn a_disk_that_is_full_slows_the_sender_down_and_loses_nothing() {
    run(async {
        let (spools, metrics) = spools(1024 * KIB, 300 * KIB as u64);
        let mut spool = spool(&spools, 64 * KIB);
        let pushed = fill(&mut spool, 5000 * KIB).await;
        assert!((300 * KIB..900 * KIB).contains(&pushed), "{pushed}");
        assert_eq!(metrics.buffer_full.with_label_values(&["response"]).get(), 1);
        assert!(take_all(&mut spool).await == numbered(0, pushed));
        assert_eq!(room(&mut spool).await, Room::Some);
    });
}

#[test]
fn a_folder_that_is_gone_is_as_a_full_disk() {
    run(async {
        let metrics = Metrics::new().unwrap();
        let folder = PathBuf::from("/nowhere/at/all");
        let spools = Spools::new(&BuffersConfig { folder, ..config(1024 * KIB, 1 << 30) }, &metrics);
        let mut spool = spool(&spools, 64 * KIB);
        let pushed = fill(&mut spool, 5000 * KIB).await;
        assert!(pushed < 900 * KIB, "{pushed}");
        assert_eq!(metrics.buffer_disk_errors.get(), 1);
        assert!(take_all(&mut spool).await == numbered(0, pushed));
    });
}

#[test]
fn memory_is_bounded_over_all_and_whoever_waits_for_some_is_woken() {
    run(async {
        let (spools, _) = spools(1024 * KIB, 0);
        let mut all: Vec<Spool> = (0..12).map(|_| spool(&spools, 100 * KIB)).collect();
        for spool in &mut all {
            fill(spool, 1000 * KIB).await;
        }
        // The bound, and what each had read already when it was reached.
        assert!(spools.budget_in_use() < (1024 + 48) * KIB, "{}", spools.budget_in_use());
        let mut last = all.pop().unwrap();
        assert!(last.is_empty());
        assert_eq!(room(&mut last).await, Room::None);
        let held = tokio::time::timeout(Duration::from_secs(5), async {
            let mut looks = 0;
            poll_fn(|cx| {
                looks += 1;
                if looks == 1 {
                    assert_eq!(last.poll_room(cx), std::task::Poll::Ready(Room::None));
                    all.clear();
                    return std::task::Poll::Pending;
                }
                std::task::Poll::Ready(())
            })
            .await;
        });
        held.await.expect("woken by what became free");
    });
}

#[test]
fn what_is_held_can_be_read_again_and_again() {
    run(async {
        let (spools, _) = spools(1024 * KIB, 64 << 20);
        for length in [0, 1, 50 * KIB, 64 * KIB, 700 * KIB + 3] {
            let mut spool = spool(&spools, 64 * KIB);
            assert_eq!(fill(&mut spool, length).await, length);
            let held = Arc::new(poll_fn(|cx| spool.poll_hold(cx)).await.unwrap());
            assert_eq!((held.length(), spool.bytes()), (length as u64, 0));
            for _ in 0..2 {
                let mut reader = held.read();
                let mut read = Vec::new();
                while let Some(piece) = poll_fn(|cx| reader.poll_next(cx)).await {
                    read.extend_from_slice(&piece.unwrap());
                }
                assert!(read == numbered(0, length), "{length}");
            }
        }
        assert_eq!(spools.budget_in_use(), 0);
    });
}

/// Lets it do what it would do while nobody takes anything.
async fn sleep(spool: &mut Spool) {
    poll_fn(|cx| {
        spool.work(cx);
        std::task::Poll::Ready(())
    })
    .await;
}

/// A moment in which memory is short.
fn press(spools: &Arc<Spools>, bytes: usize) -> Bytes {
    spools.carry(Kind::Response, Bytes::from(vec![0; bytes]))
}

#[test]
fn what_nobody_takes_moves_to_files_when_memory_is_short_and_is_all_there() {
    run(async {
        let (spools, metrics) = spools(2048 * KIB, 64 << 20);
        let mut sleepers: Vec<Spool> = (0..9).map(|_| spool(&spools, 100 * KIB)).collect();
        for sleeper in &mut sleepers {
            assert_eq!(fill(sleeper, 80 * KIB).await, 80 * KIB);
            sleep(sleeper).await;
        }
        assert_eq!(metrics.buffer_disk_bytes.get(), 0);
        let pressed = press(&spools, 1500 * KIB);
        tokio::time::timeout(Duration::from_secs(10), async {
            for sleeper in &mut sleepers {
                while sleeper.is_in_memory() {
                    sleep(sleeper).await;
                    tokio::task::yield_now().await;
                }
            }
        })
        .await
        .expect("they go");
        assert_eq!(spools.budget_in_use(), 1500 * KIB);
        drop(pressed);
        for sleeper in &mut sleepers {
            assert!(take_all(sleeper).await == numbered(0, 80 * KIB));
        }
    });
}

#[test]
fn whoever_sleeps_is_woken_when_memory_becomes_short() {
    run(async {
        let (spools, _) = spools(1024 * KIB, 64 << 20);
        let mut sleeper = spool(&spools, 100 * KIB);
        fill(&mut sleeper, 80 * KIB).await;
        let mut pressed = None;
        let moved = poll_fn(|cx| {
            sleeper.work(cx);
            if pressed.is_none() {
                pressed = Some(press(&spools, 900 * KIB));
                return std::task::Poll::Pending;
            }
            if sleeper.is_in_memory() { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
        });
        tokio::time::timeout(Duration::from_secs(10), moved).await.expect("it is told");
    });
}

#[test]
fn a_crowd_of_sleepers_keeps_nobody_from_the_disk() {
    run(async {
        let (spools, _) = spools(1024 * KIB, 64 << 20);
        // More than there is, in hands from which it can't be taken.
        let pressed = press(&spools, 2048 * KIB);
        let mut last = spool(&spools, 64 * KIB);
        let filled = tokio::time::timeout(Duration::from_secs(10), fill(&mut last, 5000 * KIB)).await;
        assert_eq!(filled, Ok(5000 * KIB));
        drop(pressed);
        assert!(take_all(&mut last).await == numbered(0, 5000 * KIB));
    });
}

#[test]
fn a_piece_on_a_leash_wakes_whoever_waits_for_its_end() {
    run(async {
        let leash = Arc::new(Leash::default());
        let mut piece = Some(leash.hand(Bytes::from_static(b"piece")));
        let home = poll_fn(|cx| {
            let home = leash.poll_home(cx);
            piece = None;
            home
        });
        tokio::time::timeout(Duration::from_secs(5), home).await.expect("woken by its end");
    });
}

/// What a sender and a client do, and what becomes of memory meanwhile.
#[derive(Debug, Clone)]
enum Turn {
    Push(usize),
    Take(usize),
    Sleep,
    Press,
    Release,
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let turn = prop_oneof![
        3 => (1..200 * KIB).prop_map(Turn::Push),
        3 => (1..30usize).prop_map(Turn::Take),
        2 => Just(Turn::Sleep),
        1 => Just(Turn::Press),
        1 => Just(Turn::Release),
    ];
    proptest::collection::vec(turn, 1..60)
}

async fn check(turns: Vec<Turn>, memory_max: usize, disk: u64) -> TestCaseResult {
    let (spools, _) = spools(400 * KIB, disk);
    let mut spool = spool(&spools, memory_max);
    let (mut pushed, mut taken) = (0, Vec::new());
    let mut pressed = None;
    for turn in turns {
        match turn {
            Turn::Sleep => {
                sleep(&mut spool).await;
                tokio::task::yield_now().await;
            }
            Turn::Press => pressed = Some(press(&spools, 390 * KIB)),
            Turn::Release => pressed = None,
            Turn::Push(length) => {
                if room(&mut spool).await == Room::Some {
                    spool.push(&numbered(pushed, length));
                    pushed += length;
                }
            }
            Turn::Take(pieces) => {
                for _ in 0..pieces {
                    taken.extend_from_slice(&take(&mut spool).await.unwrap_or_default());
                }
            }
        }
        prop_assert_eq!(spool.bytes() as usize, pushed - taken.len());
    }
    drop(pressed);
    taken.extend(take_all(&mut spool).await);
    prop_assert!(taken == numbered(0, pushed));
    drop(spool);
    prop_assert_eq!(spools.budget_in_use(), 0);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_pushed_and_taken_comes_out_as_it_went_in(
        turns in turns(),
        memory_max in 1..300 * KIB,
        disk in prop_oneof![Just(0), 1..1_000_000u64, Just(1 << 30)],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(turns, memory_max, disk))?;
    }
}
