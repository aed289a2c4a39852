//! Items of GRIP that waited for the one before them are published: when that is, or when they have waited long enough.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::{Control, settled};
use crate::message::{Batch, Message};

/// Between two looks at what waits.
const TURN: Duration = Duration::from_millis(250);

impl Control {
    /// A list of items as it may be published now.
    pub(super) fn in_order(&self, messages: Vec<Message>) -> Vec<Message> {
        let mut sequencer = self.sequencer.borrow_mut();
        let sorted = sequencer.sort(messages, |name| self.hub.last_id(name), Instant::now());
        self.metrics.comet_out_of_order.set(sequencer.len() as i64);
        if sequencer.len() > 0 {
            self.out_of_order.notify_one();
        }
        sorted
    }

    /// Publishes what needn't wait any longer.
    pub(super) async fn publish_due(&self) {
        let due = {
            let mut sequencer = self.sequencer.borrow_mut();
            if sequencer.len() == 0 {
                return;
            }
            sequencer.due(|name| self.hub.last_id(name), Instant::now())
        };
        self.publish_late(due).await;
    }

    /// Publishes all that waits.
    pub(super) async fn publish_waiting(&self) {
        let all = self.sequencer.borrow_mut().take_all();
        self.publish_late(all).await;
    }

    async fn publish_late(&self, messages: Vec<Message>) {
        self.metrics.comet_out_of_order.set(self.sequencer.borrow().len() as i64);
        if messages.is_empty() {
            return;
        }
        // Its publisher has its answer. Whoever lacks it finds that out by the next.
        let batch = Batch { messages, expected: Vec::new() };
        if let Err(failure) = settled(self.hub.publish(batch, Instant::now())).await {
            tracing::warn!(reason = failure.word(), "items of GRIP that came out of order are lost");
        }
    }

    /// Looks after what waits, for as long as the port is served.
    pub(super) async fn keep_order(self: Rc<Self>) {
        loop {
            self.out_of_order.notified().await;
            while self.sequencer.borrow().len() > 0 {
                tokio::time::sleep(TURN).await;
                self.publish_due().await;
            }
        }
    }
}
