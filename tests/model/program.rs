//! What a random program consists of.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::disk::End;

/// Channels that a program uses.
pub(crate) const CHANNELS: usize = 4;
/// Taps that a program uses.
pub(crate) const TAPS: usize = 3;

/// A hub and what is done to it.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) shape: Shape,
    pub(crate) steps: Vec<Step>,
}

/// Settings of the hub.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) history: usize,
    pub(crate) history_seconds: Option<u64>,
    pub(crate) window: usize,
    /// Messages that the bytes kept suffice for; `None` is plenty.
    pub(crate) evict_over: Option<usize>,
    /// Channels that may live.
    pub(crate) channels: usize,
    /// There is a disk.
    pub(crate) store: bool,
}

/// One thing that happens. Numbers without bounds are taken modulo what there is.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Channel and publisher's id of each message.
    Publish(Vec<(usize, Option<u8>)>),
    Join {
        tap: usize,
        wishes: Vec<(usize, Wish)>,
        limit: usize,
    },
    Take {
        tap: usize,
    },
    Leave {
        reader: usize,
    },
    /// Its socket is full: turns pass it by.
    Stall {
        reader: usize,
    },
    /// It can be written again: one call of `missed`.
    CatchUp {
        reader: usize,
        limit: usize,
        to_turn: bool,
    },
    Delete {
        channel: usize,
    },
    Advance {
        seconds: u64,
    },
    Tick,
    Inspect,
    /// A shard ends with all its readers and a new one comes.
    Replace {
        tap: usize,
    },
    /// A batch is published, everything that the disk is asked for fails from the `fault`th operation on, and the
    /// process ends, or with it the machine. Without a disk nothing happens.
    Crash {
        batch: Vec<(usize, Option<u8>)>,
        fault: u64,
        torn: u8,
        end: End,
    },
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Wish {
    Now,
    Earliest,
    Unknown,
    /// Any position of the past.
    Past(u64),
    /// A position that this store has not reached.
    Future,
    OtherEpoch,
}

pub(crate) fn cases() -> impl Strategy<Value = Case> {
    (shape(), vec(step(), 1..60)).prop_map(|(shape, steps)| Case { shape, steps })
}

fn shape() -> impl Strategy<Value = Shape> {
    (
        0usize..6,
        prop_oneof![Just(None), (1u64..100).prop_map(Some)],
        0usize..6,
        prop_oneof![4 => Just(None), 1 => (0usize..6).prop_map(Some)],
        prop_oneof![4 => Just(100usize), 1 => 1usize..4],
        any::<bool>(),
    )
        .prop_map(|(history, history_seconds, window, evict_over, channels, store)| Shape {
            history,
            history_seconds,
            window,
            evict_over,
            channels,
            store,
        })
}

fn step() -> impl Strategy<Value = Step> {
    let tap = 0..TAPS;
    let limit = 0usize..5;
    let id = prop_oneof![3 => Just(None), 1 => (0u8..3).prop_map(Some)];
    let batch = vec((0..CHANNELS, id), 1..6);
    let end = prop_oneof![Just(End::Process), any::<u8>().prop_map(|part| End::Power { part })];
    prop_oneof![
        8 => batch.clone().prop_map(Step::Publish),
        6 => (tap.clone(), vec((0..CHANNELS, wish()), 1..4), limit.clone())
            .prop_map(|(tap, wishes, limit)| Step::Join { tap, wishes, limit }),
        6 => tap.clone().prop_map(|tap| Step::Take { tap }),
        2 => any::<usize>().prop_map(|reader| Step::Leave { reader }),
        2 => any::<usize>().prop_map(|reader| Step::Stall { reader }),
        4 => (any::<usize>(), limit, any::<bool>())
            .prop_map(|(reader, limit, to_turn)| Step::CatchUp { reader, limit, to_turn }),
        1 => (0..CHANNELS).prop_map(|channel| Step::Delete { channel }),
        2 => (1u64..70).prop_map(|seconds| Step::Advance { seconds }),
        2 => Just(Step::Tick),
        1 => Just(Step::Inspect),
        1 => tap.prop_map(|tap| Step::Replace { tap }),
        2 => (batch, 1u64..6, any::<u8>(), end)
            .prop_map(|(batch, fault, torn, end)| Step::Crash { batch, fault, torn, end }),
    ]
}

fn wish() -> impl Strategy<Value = Wish> {
    prop_oneof![
        2 => Just(Wish::Now),
        2 => Just(Wish::Earliest),
        1 => Just(Wish::Unknown),
        6 => any::<u64>().prop_map(Wish::Past),
        1 => Just(Wish::Future),
        1 => Just(Wish::OtherEpoch),
    ]
}
