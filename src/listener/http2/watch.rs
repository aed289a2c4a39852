//! How long an HTTP/2 client may be silent: before it has said who it is, inside a head, without any request, and with
//! some, when it is asked for a sign of life (RFC 9113 §6.7).

use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use h2::{Ping, PingPong, Reason};

use super::LAST_WORD;
use super::meter::Meter;
use crate::clock::Clock;
use crate::listener::line::Patience;

/// The one phase that a connection is in, whose time runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It has not acknowledged what it was told of us.
    Unsettled,
    /// A head has begun.
    Head,
    /// There is no request.
    Idle,
    /// There are some, and so many frames have come.
    Busy(u64),
    /// It is asked for a sign of life, after so many frames.
    Asked(u64),
    /// It hears its last.
    Parting,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Something has changed: the connection has another turn.
    Look,
    /// It takes no further request.
    Goodbye,
    /// It is over, for this reason.
    Shut(Reason),
    /// It is over without a word.
    Cut,
}

/// The clock of a connection.
pub(super) struct Watch {
    meter: Rc<Meter>,
    patience: Patience,
    ping: Duration,
    pings: Option<PingPong>,
    clock: Clock,
    phase: Phase,
    /// Whether it was told to leave.
    leaves: bool,
}

impl Watch {
    pub(super) fn new(
        meter: Rc<Meter>,
        patience: Patience,
        ping: Duration,
        pings: Option<PingPong>,
    ) -> Watch {
        let clock = Clock::default();
        clock.start(patience.head);
        Watch { meter, patience, ping, pings, clock, phase: Phase::Unsettled, leaves: false }
    }

    /// Takes note of the order to leave; true the first time.
    pub(super) fn leaves(&mut self) -> bool {
        !std::mem::replace(&mut self.leaves, true)
    }

    /// Gives the client its last moments; false where they have begun.
    pub(super) fn parts(&mut self) -> bool {
        let begins = self.phase != Phase::Parting;
        if begins {
            self.enter(Phase::Parting);
        }
        begins
    }

    /// Ends a turn of the connection.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, is_idle: bool) -> Poll<Due> {
        if self.phase != Phase::Parting && self.meter.flood().is_some() {
            self.enter(Phase::Parting);
            return Poll::Ready(Due::Shut(Reason::ENHANCE_YOUR_CALM));
        }
        self.follow(is_idle);
        ready!(self.clock.poll(cx));
        if !self.clock.expired() {
            return Poll::Ready(Due::Look);
        }
        Poll::Ready(match self.phase {
            Phase::Unsettled => self.part(Due::Shut(Reason::SETTINGS_TIMEOUT)),
            Phase::Head => self.part(Due::Shut(Reason::ENHANCE_YOUR_CALM)),
            Phase::Idle => self.part(Due::Goodbye),
            Phase::Busy(seen) => {
                self.ask(cx);
                self.enter(Phase::Asked(seen));
                Due::Look
            }
            Phase::Asked(_) | Phase::Parting => Due::Cut,
        })
    }

    fn part(&mut self, due: Due) -> Due {
        self.enter(Phase::Parting);
        due
    }

    fn ask(&mut self, cx: &mut Context<'_>) {
        if let Some(pings) = &mut self.pings {
            // That the answer to the last one came was seen among the frames; here it makes room for the next. An error is
            // seen by the connection, too.
            let _ = pings.poll_pong(cx);
            let _ = pings.send_ping(Ping::opaque());
        }
    }

    fn follow(&mut self, is_idle: bool) {
        let seen = self.meter.seen();
        let phase = match self.phase {
            Phase::Parting if is_idle => return,
            _ if self.meter.is_in_head() => Phase::Head,
            _ if !self.meter.is_settled() => Phase::Unsettled,
            _ if is_idle => Phase::Idle,
            Phase::Asked(before) if before == seen => return,
            _ => Phase::Busy(seen),
        };
        if phase != self.phase {
            self.enter(phase);
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.clock.start(match phase {
            Phase::Unsettled | Phase::Head => self.patience.head,
            Phase::Idle if self.leaves => LAST_WORD,
            Phase::Idle => self.patience.idle,
            Phase::Busy(_) | Phase::Asked(_) => self.ping,
            Phase::Parting => LAST_WORD,
        });
    }
}
