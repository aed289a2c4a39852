//! Sessions on journeys that nobody would think of: whatever is lost on the way, every message arrives once, in order.

use std::time::Instant;

use proptest::prelude::*;

use super::connect::{Connect, Way};
use super::session::tests::{entry, held, numbers, session};
use crate::hold::End;
use crate::message::Sequence;

#[derive(Debug, Clone, Copy)]
enum Step {
    Publish,
    Connect,
    Answer,
    Over(bool),
    Piggyback,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        Just(Step::Publish),
        Just(Step::Connect),
        Just(Step::Answer),
        any::<bool>().prop_map(Step::Over),
        Just(Step::Piggyback),
    ];
    proptest::collection::vec(step, 0..60)
}

#[derive(Debug, Clone, Copy)]
enum Walk {
    Publish,
    Connect,
    Push,
    Heard,
    Leave,
    Poll,
}

fn walks() -> impl Strategy<Value = Vec<Walk>> {
    const ALL: &[Walk] = &[Walk::Publish, Walk::Connect, Walk::Push, Walk::Heard, Walk::Leave, Walk::Poll];
    proptest::collection::vec(proptest::sample::select(ALL), 0..60)
}

proptest! {
    /// Whatever is lost on the way: every message arrives, in order; with acknowledgements what comes again is
    /// known by its batch, without them nothing that arrived comes again.
    #[test]
    fn nothing_is_lost_and_nothing_that_arrived_comes_again(steps in steps(), ack in any::<bool>()) {
        let mut session = session(ack, 1000);
        let now = Instant::now();
        let (mut published, mut holds, mut known) = (0, 0, 0);
        let mut arrived: Vec<u64> = Vec::new();
        let mut on_its_way: Option<(u64, Option<u64>, Vec<u64>)> = None;
        for step in steps.into_iter().chain([Step::Over(true), Step::Connect, Step::Answer, Step::Over(true)]) {
            match step {
                Step::Publish => {
                    published += 1;
                    session.offer(&entry(published), Sequence(0)).unwrap();
                }
                Step::Connect if on_its_way.is_none() => {
                    let connected = session.connect(Some(known));
                    if connected.at_once {
                        arrived.extend(numbers(&session.take()));
                        known = connected.batch.unwrap_or(0);
                    } else {
                        holds += 1;
                        session.hold(Connect { batch: connected.batch, ..held(holds) });
                    }
                }
                Step::Answer if session.waits() => {
                    if let Some((connect, messages)) = session.answer() {
                        prop_assert!(on_its_way.is_none());
                        on_its_way = Some((holds, connect.batch, numbers(&messages)));
                    }
                }
                Step::Over(well) => {
                    if let Some((hold, batch, messages)) = on_its_way.take() {
                        session.over(hold, if well { End::Answered } else { End::Lost }, now);
                        if well {
                            arrived.extend(messages);
                            known = batch.unwrap_or(0);
                        }
                    }
                }
                Step::Piggyback if session.takes_by_the_way() => arrived.extend(numbers(&session.take())),
                Step::Answer | Step::Connect | Step::Piggyback => {}
            }
        }
        if let Some((_, _, messages)) = on_its_way {
            arrived.extend(messages);
        }
        arrived.extend(numbers(&session.take()));
        prop_assert_eq!(arrived, (1..=published).collect::<Vec<_>>());
    }

    /// A client whose sockets are lost, and that goes over to long-polling and back, gets every message in order.
    #[test]
    fn a_client_that_goes_from_socket_to_socket_loses_nothing(walks in walks()) {
        let (mut session, now) = (session(false, 1000), Instant::now());
        let (mut published, mut socket, mut said) = (0, 1, 0);
        let mut arrived: Vec<u64> = Vec::new();
        let mut on_its_way: Option<(u64, Vec<u64>)> = None;
        for walk in walks.into_iter().chain([Walk::Poll]) {
            match walk {
                Walk::Publish => {
                    published += 1;
                    session.offer(&entry(published), Sequence(0)).unwrap();
                }
                Walk::Connect => {
                    session.moves_to(Some(socket));
                    if session.connect(None).at_once {
                        said += 1;
                        let messages = numbers(&session.give());
                        if !messages.is_empty() {
                            session.said_as(said);
                            on_its_way = Some((said, messages));
                        }
                    } else {
                        session.hold(Connect { way: Way::Socket(socket), ..held(0) });
                    }
                }
                Walk::Push if session.waits() && session.pushes_to() == Some(socket) => {
                    said += 1;
                    prop_assert!(on_its_way.is_none());
                    on_its_way = Some((said, numbers(&session.give())));
                    session.said_as(said);
                }
                Walk::Heard => {
                    if let Some((number, messages)) = on_its_way.take() {
                        session.heard(number, now);
                        arrived.extend(messages);
                    }
                }
                Walk::Leave => {
                    if session.pushes_to().is_some() {
                        session.is_left(now);
                    }
                    on_its_way = None;
                    socket += 1;
                }
                Walk::Poll => {
                    on_its_way = None;
                    session.moves_to(None);
                    if session.connect(None).at_once {
                        arrived.extend(numbers(&session.take()));
                        session.rest(now);
                    } else {
                        session.hold(held(said));
                    }
                }
                Walk::Push => {}
            }
        }
        prop_assert_eq!(arrived, (1..=published).collect::<Vec<_>>());
    }
}
