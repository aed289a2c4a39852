//! The order to leave, as the connections of one thread hear it: looked at in every turn, given once.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Where the order is given. A clone is the same.
#[derive(Clone, Default)]
pub struct Leaving(Rc<Order>);

#[derive(Default)]
struct Order {
    given: Cell<bool>,
    token: CancellationToken,
}

impl Leaving {
    /// Gives the order, and wakes whoever waits for it.
    pub fn begin(&self) {
        self.0.given.set(true);
        self.0.token.cancel();
    }

    /// A token that is cancelled by the order, or before it by whoever has it.
    pub fn child_token(&self) -> CancellationToken {
        self.0.token.child_token()
    }

    /// Waits for the order. Cancel-safe.
    pub(super) async fn begun(&self) {
        self.0.token.cancelled().await;
    }

    /// What one task waits by.
    pub(super) fn ear(&self) -> Ear {
        Ear { leaving: self.clone(), wait: None }
    }
}

/// One task's wait for the order. The task must stay the same, since only its first poll leaves a waker.
pub(super) struct Ear {
    leaving: Leaving,
    /// From the first poll on, which many connections have no need of.
    wait: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

impl Ear {
    /// Ready once the order is given. All polls but the first cost a look at a flag.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.wait.is_some() && !self.leaving.0.given.get() {
            return Poll::Pending;
        }
        let wait = || Box::pin(self.leaving.0.token.clone().cancelled_owned());
        self.wait.get_or_insert_with(wait).as_mut().poll(cx)
    }

    /// Whether the order is given.
    pub(super) fn is_given(&self) -> bool {
        self.leaving.0.given.get()
    }
}
