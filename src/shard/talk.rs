//! A hold that somebody else than the hub answers: its owner is told how to reach it and how it ended.

use hyper::{HeaderMap, StatusCode};

use super::event_loop::EventLoop;
use super::held::{Manner, Reason, Stage};
use crate::hold::{End, Length, Speech, write_head};
use crate::message::Frame;

impl EventLoop {
    /// It is held: from now on it can be answered.
    pub(super) fn tell_owner(&mut self, key: usize) {
        let inbox = self.inbox();
        if let Some(ear) = self.held.get_mut(key).and_then(|held| held.cold.ear()) {
            ear.here(inbox, key as u32);
        }
    }

    /// Everything is written. What was cut before needs no word: an ear that is dropped says so itself.
    pub(super) fn tell_end(&mut self, key: usize, reason: Reason) {
        let end = if reason == Reason::Answered { End::Answered } else { End::Spoken };
        if let Some(ear) = self.held[key].cold.ear() {
            ear.end(end);
        }
    }

    /// An owner says something, unless the hold that it means is over or about to end.
    pub(super) fn speak(&mut self, key: usize, hold: u64, speech: Speech) {
        let Some(held) = self.held.get_mut(key).filter(|held| held.stage == Stage::Live) else { return };
        if held.cold.ear().is_none_or(|ear| ear.hold() != hold) {
            return;
        }
        match speech {
            Speech::Answer(body, messages) => {
                self.measures.delivered(held.transport, messages);
                self.answer(key, &Frame::raw(body), messages);
            }
            Speech::Refuse => {
                let mut error = Vec::new();
                let (status, client) = (StatusCode::INTERNAL_SERVER_ERROR, held.cold.client);
                write_head(status, &HeaderMap::new(), None, &[], Length::Known(0), client, &mut error);
                if let Manner::Poll(poll) = &mut held.cold.manner {
                    poll.fallback = Frame::raw(error);
                }
                self.end(key, Reason::Replaced);
            }
        }
    }
}
