//! Random programs of publishers and readers against the hub, checked message by message against a `Vec`.
//!
//! Each reader is followed channel by channel: up to which place everything was delivered or told to be missing.
//! A failing program is shrunk and printed with the seed of the run; `MODEL_SEED=…` repeats it, `MODEL_CASES=…` runs
//! another number of programs.

mod disk;
mod faults;
mod newest;
mod oracle;
mod program;
mod threads;
mod world;

use std::hash::{BuildHasher, RandomState};

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

use program::{Case, cases};
use world::World;

const CASES: u32 = 10_000;

#[test]
fn every_reader_gets_everything_once_in_order_or_is_told_what_is_missing() {
    run(&cases(), |Case { shape, steps }| {
        let mut world = World::new(shape);
        steps.into_iter().for_each(|step| world.step(step));
        world.finish();
    });
}

/// Runs random programs.
fn run<P: Strategy>(programs: &P, run_one: impl Fn(P::Value)) {
    let seed: u64 = match std::env::var("MODEL_SEED") {
        Ok(text) => text.parse().expect("MODEL_SEED is a number"),
        Err(_) => RandomState::new().hash_one("model"),
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let cases_wanted = std::env::var("MODEL_CASES");
    let cases_wanted = cases_wanted.map_or(CASES, |text| text.parse().expect("MODEL_CASES is a number"));
    let config = Config { cases: cases_wanted, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let result = runner.run(programs, |program| {
        run_one(program);
        Ok(())
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(reason, case)) => panic!("MODEL_SEED={seed}: {reason}\n{case:?}"),
        Err(aborted) => panic!("MODEL_SEED={seed}: {aborted}"),
    }
}
