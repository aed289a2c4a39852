//! Whether the client of an HTTP/2 connection takes its answers fast enough: all of them together, since those who wait
//! may do so for another one's sake.
//!
//! Taken is what both have got: the library, as far as the windows of streams go, and the client's system. The one
//! alone would count what waits in the library, the other alone what is no answer.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use tokio::time::Instant;

use super::meter::Meter;
use crate::listener::taking::{LeastRate, Look, Taking};

/// The answers of a connection.
pub(super) struct Takers {
    meter: Rc<Meter>,
    taking: RefCell<Taking>,
    /// Answers under way, and those of them whose client is waited for.
    answers: Cell<usize>,
    waiting: Cell<usize>,
    /// Bytes of all answers that the library has got.
    given: Cell<u64>,
    /// The same, and what the socket had got, when there was no answer last.
    before: Cell<(u64, u64)>,
}

/// One answer under way.
pub(super) struct Taker {
    all: Rc<Takers>,
    waits: bool,
}

impl Takers {
    pub(super) fn new(rate: LeastRate, meter: Rc<Meter>) -> Rc<Takers> {
        Rc::new(Takers {
            meter,
            taking: RefCell::new(Taking::new(rate)),
            answers: Cell::new(0),
            waiting: Cell::new(0),
            given: Cell::new(0),
            before: Cell::new((0, 0)),
        })
    }

    /// Once in each turn of the connection: whether it has to end.
    pub(super) fn are_too_slow(&self) -> bool {
        let mut taking = self.taking.borrow_mut();
        if self.waiting.get() == 0 || !taking.is_due(Instant::now) {
            return false;
        }
        // Asked for now, and known when the connection has had its turn.
        let Some(untaken) = self.meter.untaken() else { return false };
        let (given, wrote) = self.before.get();
        let acknowledged = self.meter.wrote().saturating_sub(wrote).saturating_sub(untaken);
        let taken = self.given.get().saturating_sub(given).min(acknowledged);
        taking.look(taken, 0, Instant::now) == Look::TooSlow
    }
}

impl Taker {
    pub(super) fn new(all: &Rc<Takers>) -> Taker {
        if all.answers.replace(all.answers.get() + 1) == 0 {
            all.taking.borrow_mut().begin(0);
            all.before.set((all.given.get(), all.meter.wrote()));
        }
        Taker { all: all.clone(), waits: false }
    }

    /// The library has got so many bytes more.
    pub(super) fn give(&self, bytes: usize) {
        self.all.given.set(self.all.given.get().wrapping_add(bytes as u64));
    }

    /// Whether its client is waited for, from now on.
    pub(super) fn waits(&mut self, waits: bool) {
        if self.waits == waits {
            return;
        }
        self.waits = waits;
        let (waiting, mut taking) = (&self.all.waiting, self.all.taking.borrow_mut());
        match waits {
            true => {
                waiting.set(waiting.get() + 1);
                taking.wait(Instant::now);
            }
            false => {
                waiting.set(waiting.get() - 1);
                if waiting.get() == 0 {
                    taking.go_on(Instant::now);
                }
            }
        }
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        self.waits(false);
        self.all.answers.set(self.all.answers.get() - 1);
    }
}
