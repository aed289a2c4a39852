//! The line of batches and deletions that wait for the store, in the order in which they will be done.

use std::collections::VecDeque;
use std::mem;
use std::sync::OnceLock;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::message::{Batch, ChannelName, Message};

use super::{Outcome, Receipt, Refused};

/// Where the answer to something that waits is sent.
pub(super) type Answer<T> = oneshot::Sender<Result<T, Refused>>;

/// One thing that waits.
pub(super) enum Order {
    Publish(Batch, Answer<Vec<Receipt>>),
    Delete(ChannelName, Answer<bool>),
}

/// What is done in one step: a deletion, or batches that were published before the next.
pub(super) enum Group {
    Publish(Vec<(Batch, Answer<Vec<Receipt>>)>),
    Delete(ChannelName, Answer<bool>),
}

/// Bytes of messages beyond which a group ends: larger ones make a step longer, and gain nothing.
const GROUP_BYTES: usize = 4 << 20;

/// The line. Whoever waits in it holds the messages; there is a bound on their bytes.
pub(super) struct Line {
    waiting: Mutex<Waiting>,
    wake: OnceLock<Box<dyn Fn() + Send + Sync>>,
    bytes_max: usize,
}

#[derive(Default)]
struct Waiting {
    orders: VecDeque<Order>,
    bytes: usize,
    is_closed: bool,
}

impl Line {
    pub(super) fn new(bytes_max: usize) -> Line {
        Line { waiting: Mutex::default(), wake: OnceLock::new(), bytes_max }
    }

    /// What is called, outside of any lock, when something comes into an empty line.
    pub(super) fn set_wake(&self, wake: Box<dyn Fn() + Send + Sync>) {
        // There is one committer, which says it once.
        let _ = self.wake.set(wake);
    }

    /// A batch gets into the line.
    pub(super) fn publish(&self, batch: Batch) -> Outcome<Vec<Receipt>> {
        self.push(|answer| Order::Publish(batch, answer))
    }

    /// A deletion gets into the line.
    pub(super) fn delete(&self, name: ChannelName) -> Outcome<bool> {
        self.push(|answer| Order::Delete(name, answer))
    }

    fn push<T>(&self, order: impl FnOnce(Answer<T>) -> Order) -> Outcome<T> {
        let (answer, outcome) = oneshot::channel();
        let order = order(answer);
        let bytes = order.bytes();
        let was_empty = {
            let mut waiting = self.waiting.lock();
            if waiting.is_closed {
                return Outcome::Settled(Err(Refused::Ending));
            }
            // One that is larger than the bound by itself gets through when nothing else waits.
            if waiting.bytes > 0 && waiting.bytes + bytes > self.bytes_max {
                return Outcome::Settled(Err(Refused::TooMuchWaits));
            }
            waiting.bytes += bytes;
            waiting.orders.push_back(order);
            waiting.orders.len() == 1
        };
        if was_empty && let Some(wake) = self.wake.get() {
            wake();
        }
        Outcome::Waiting(outcome)
    }

    /// What is to be done next, if anything waits.
    pub(super) fn take(&self) -> Option<Group> {
        let mut waiting = self.waiting.lock();
        let mut batches = Vec::new();
        let mut bytes = 0;
        while let Some(order) = waiting.orders.pop_front() {
            bytes += order.bytes();
            match order {
                Order::Publish(batch, answer) => batches.push((batch, answer)),
                Order::Delete(name, answer) if batches.is_empty() => {
                    waiting.bytes -= bytes;
                    return Some(Group::Delete(name, answer));
                }
                delete => {
                    bytes -= delete.bytes();
                    waiting.orders.push_front(delete);
                    break;
                }
            }
            if bytes >= GROUP_BYTES {
                break;
            }
        }
        waiting.bytes -= bytes;
        (!batches.is_empty()).then_some(Group::Publish(batches))
    }

    /// Refuses whatever comes from now on.
    pub(super) fn close(&self) {
        self.waiting.lock().is_closed = true;
    }

    /// Refuses what waits as well.
    pub(super) fn abandon(&self) {
        let mut waiting = self.waiting.lock();
        waiting.is_closed = true;
        waiting.orders.clear();
    }
}

impl Order {
    /// Bytes of memory that it keeps while it waits.
    fn bytes(&self) -> usize {
        match self {
            Order::Publish(batch, _) => batch.messages.iter().map(message_bytes).sum(),
            Order::Delete(name, _) => name.as_str().len(),
        }
    }
}

fn message_bytes(message: &Message) -> usize {
    message.data.bytes().len() + message.channel.as_str().len() + mem::size_of::<Message>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Data;

    #[test]
    fn batches_go_together_up_to_a_deletion_and_up_to_enough_bytes() {
        let line = Line::new(usize::MAX);
        let mut outcomes = vec![line.publish(batch(10)), line.publish(batch(10))];
        let deleted = line.delete(name());
        outcomes.extend([GROUP_BYTES, 10].map(|bytes| line.publish(batch(bytes))));
        let mut groups = Vec::new();
        while let Some(group) = line.take() {
            groups.push(match group {
                Group::Publish(batches) => batches.len(),
                Group::Delete(..) => 0,
            });
        }
        assert_eq!(groups, [2, 0, 1, 1]);
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Waiting(_))));
        assert!(matches!(deleted, Outcome::Waiting(_)));
    }

    #[test]
    fn what_waits_has_a_bound_that_one_large_batch_alone_may_exceed() {
        let line = Line::new(1000);
        let large = line.publish(batch(5000));
        assert!(matches!(large, Outcome::Waiting(_)));
        assert!(matches!(line.publish(batch(1)), Outcome::Settled(Err(Refused::TooMuchWaits))));
        assert!(line.take().is_some());
        assert!(matches!(line.publish(batch(1)), Outcome::Waiting(_)));
    }

    #[test]
    fn who_waits_for_a_thread_that_has_gone_is_told() {
        let line = Line::new(1000);
        let Outcome::Waiting(mut waiting) = line.publish(batch(1)) else { panic!("it waits") };
        line.abandon();
        assert!(waiting.try_recv().is_err());
        assert!(matches!(line.publish(batch(1)), Outcome::Settled(Err(Refused::Ending))));
    }

    fn name() -> ChannelName {
        ChannelName::parse("news").expect("a name")
    }

    fn batch(bytes: usize) -> Batch {
        let data = Data::Text(vec![b'x'; bytes].into());
        let message = Message::new(name(), data);
        Batch { messages: vec![message], expected: Vec::new() }
    }
}
