//! Ending connections because the application says so: those of a tag or a channel, perhaps with a last message.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::event_loop::EventLoop;
use super::held::{Reason, Stage};
use super::runs;
use crate::hold::Whose;
use crate::message::{ChannelName, Data, Entry, Frame, Message, Position};
use crate::transport;

/// The last thing that ended connections hear. It has no place in the order, so that they stand where they stood.
#[derive(Debug, Clone)]
pub struct LastMessage {
    /// Type of the event.
    pub event: Option<Box<str>>,
    /// The payload.
    pub data: Data,
}

/// A revocation, or a question whom it would mean.
pub(super) struct Revocation {
    pub(super) whose: Whose,
    pub(super) deed: Deed,
    /// Gets the number of connections; nobody may be waiting for it any more.
    pub(super) answer: oneshot::Sender<usize>,
}

/// What is done to those who are meant.
pub(super) enum Deed {
    Count,
    End(Option<Arc<LastMessage>>),
}

impl EventLoop {
    /// Does what is asked; what was published before is delivered first.
    pub(super) fn revoke(&mut self, revocation: Revocation) {
        let Revocation { whose, deed, answer } = revocation;
        if let Deed::End(_) = deed {
            self.take_news();
        }
        let live = |key: &u32| self.held.get(*key as usize).is_some_and(|held| held.stage == Stage::Live);
        let keys: Vec<u32> = self.meant(&whose).iter().copied().filter(live).collect();
        let count = keys.len();
        if let Deed::End(last) = deed {
            keys.into_iter().for_each(|key| self.end_with(key as usize, last.clone()));
        }
        // Whoever asked may have left.
        let _ = answer.send(count);
    }

    fn meant(&self, whose: &Whose) -> &[u32] {
        match whose {
            Whose::Tag(tag) => self.tags.members(tag),
            Whose::Channel(name) => {
                let name = ChannelName::parse(name).ok();
                let id = name.and_then(|name| self.tap.find(&name));
                id.and_then(|id| self.members.get(&id)).map_or(&[], Vec::as_slice)
            }
        }
    }

    fn end_with(&mut self, key: usize, last: Option<Arc<LastMessage>>) {
        if let Some(last) = last {
            self.partings.insert(key, last);
        }
        self.end(key, Reason::Revoked);
    }

    /// A connection that was taken over while it was revoked has missed the order to end.
    pub(super) fn end_if_revoked(&mut self, key: usize, is_revoked: bool) {
        if is_revoked {
            self.end(key, Reason::Revoked);
        }
    }

    /// The last message of a connection as its transport writes it; a poll's is its whole answer.
    pub(super) fn parting(&mut self, key: usize) -> Option<Frame> {
        let last = self.partings.remove(&key)?;
        let held = &self.held[key];
        let channel = self.tap.name(*held.memberships.channels().first()?);
        let LastMessage { event, data } = &*last;
        let content_type = matches!(data, Data::Json(_)).then(|| "application/json".into());
        let message = Message { event: event.clone(), content_type, ..Message::new(channel, data.clone()) };
        let position = Position { epoch: self.epoch, sequence: held.position };
        let entry = Arc::new(Entry::new(position, 0, Instant::now(), message));
        Some(match held.cold.poll() {
            Some(poll) => {
                let body = runs::answer(&[entry], &runs::shared(position, false), held.transport);
                poll.whole(&body, held.cold.client)
            }
            None => runs::chunk(|out| transport::transport(held.transport).piece(&entry, out)),
        })
    }
}
