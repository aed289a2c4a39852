//! A hold that somebody else than the hub speaks to: its owner is told how to reach it, what its client says and how it
//! ended.

use hyper::{HeaderMap, StatusCode};

use super::cold::Manner;
use super::event_loop::{EventLoop, Outcome};
use super::held::{Reason, Stage};
use super::socket::Farewell;
use crate::hold::{Ear, End, Kind, Length, SPEECHES_AHEAD, Speech, WORDS_AHEAD, Writer, write_head};
use crate::message::Frame;
use crate::transport::websocket;

/// A WebSocket's client and its listener.
pub(super) struct Talk {
    pub(super) ear: Box<Ear>,
    /// What the client has said, and its listener isn't done with.
    words: u32,
    bytes: usize,
    /// Frames that wait for the socket, and how many messages each brings of the hub.
    waiting: Vec<(Vec<u8>, usize)>,
    /// Messages in what is pending.
    pending: usize,
    /// The last ping of a client whose listener answers them itself.
    pub(super) ping: Option<Box<[u8]>>,
    /// Whether its listener leaves once everything is said.
    detaches: bool,
}

impl Talk {
    pub(super) fn new(ear: Box<Ear>) -> Talk {
        Talk { ear, words: 0, bytes: 0, waiting: Vec::new(), pending: 0, ping: None, detaches: false }
    }

    /// Whether its listener has as much as it is given at once.
    pub(super) fn is_behind(&self) -> bool {
        let bytes_max = self.ear.bytes_max().unwrap_or_default();
        self.words as usize >= WORDS_AHEAD || self.words > 0 && self.bytes >= bytes_max
    }

    /// Everything that waits, in one piece; how many messages, and how many of the hub's.
    pub(super) fn take_waiting(&mut self) -> (Vec<u8>, usize, usize) {
        let waiting = std::mem::take(&mut self.waiting);
        let of_hub = waiting.iter().map(|(_, messages)| messages).sum();
        let frames: Vec<&[u8]> = waiting.iter().map(|(frame, _)| &frame[..]).collect();
        (frames.concat(), waiting.len(), of_hub)
    }
}

impl EventLoop {
    /// It is held: from now on it can be answered.
    pub(super) fn tell_owner(&mut self, key: usize) {
        let inbox = self.inbox();
        if let Some(ear) = self.held.get_mut(key).and_then(|held| held.cold.ear()) {
            ear.here(inbox, key as u32);
        }
    }

    /// The client of a WebSocket has said something.
    pub(super) fn tell_words(&mut self, key: usize, (kind, data): (Kind, Vec<u8>)) {
        let inbox = self.inbox();
        let Some(talk) = self.held[key].cold.talk() else { return };
        talk.words += 1;
        talk.bytes += data.len();
        talk.ear.words((kind, data), inbox, key as u32);
        self.measures.words.inc();
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
        if let Speech::Ruled(ruling) = speech {
            return self.ruled(key, hold, ruling);
        }
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
                let (nothing, writer) = (HeaderMap::new(), Writer::Application);
                write_head(status, &nothing, writer, &[], Length::Known(0), client, &mut error);
                if let Manner::Poll(poll) = &mut held.cold.manner {
                    poll.fallback = Frame::raw(error);
                }
                self.end(key, Reason::Replaced);
            }
            Speech::Message(kind, data, messages) => self.say(key, kind, &data, messages),
            Speech::Frames(frames) => self.say_frames(key, frames, 0),
            Speech::Grip(control, after) => self.grip_order(key, *control, after),
            Speech::Resume(resume) => self.resume(key, resume),
            Speech::HoldAgain(hold) => self.hold_again(key, &hold),
            Speech::Whole(answer, reason) => self.answer_whole(key, &answer, reason.as_deref()),
            // By the number of a question, above.
            Speech::Ruled(_) => {}
            Speech::Cut => self.cut(key, Reason::Listener),
            Speech::Close(code, reason) => {
                if let Some(conversation) = held.cold.conversation() {
                    conversation.farewell = Some(Box::new(Farewell { code, reason }));
                }
                self.end(key, Reason::Listener);
            }
            Speech::Heard(words, bytes) => {
                if let Some(talk) = held.cold.talk() {
                    talk.words -= words.min(talk.words as usize) as u32;
                    talk.bytes -= bytes.min(talk.bytes);
                }
                self.hear_again(key);
            }
        }
    }

    /// A message for the client, once its socket takes it.
    fn say(&mut self, key: usize, kind: Kind, data: &[u8], messages: usize) {
        let mut frame = Vec::with_capacity(data.len() + websocket::HEAD_MAX);
        websocket::message(kind, data, &mut frame);
        self.say_frames(key, frame, messages);
    }

    fn say_frames(&mut self, key: usize, frames: Vec<u8>, messages: usize) {
        let Some(talk) = self.held[key].cold.talk() else { return };
        talk.waiting.push((frames, messages));
        if talk.waiting.len() > SPEECHES_AHEAD {
            return self.cut(key, Reason::Slow);
        }
        self.say_waiting(key);
    }

    /// What its owner has spoken, unless a frame is only half written.
    pub(super) fn say_waiting(&mut self, key: usize) {
        let Some(held) = self.held.get_mut(key).filter(|held| !held.blocked()) else { return };
        let Some(talk) = held.cold.talk().filter(|talk| !talk.waiting.is_empty()) else { return };
        let (frames, spoken, messages) = talk.take_waiting();
        talk.pending = spoken;
        held.wrote_at = self.tick;
        self.measures.delivered(held.transport, messages);
        let sent = held.send(&Frame::raw(frames), messages, &mut self.scratch);
        match self.settle(key, sent) {
            Outcome::Done => self.tell_sent(key),
            Outcome::Waiting => {}
            Outcome::Broken(reason) => return self.cut(key, reason),
        }
        if self.held[key].cold.talk().is_some_and(|talk| talk.detaches) {
            self.detach(key);
        }
    }

    /// Its owner wants to hear no more. What it has spoken before is said first.
    pub(super) fn detach(&mut self, key: usize) {
        let Some(conversation) = self.held[key].cold.conversation() else { return };
        if let Some(talk) = conversation.talk.as_mut().filter(|talk| !talk.waiting.is_empty()) {
            talk.detaches = true;
            return;
        }
        // Its ear comes to its end with it. Nobody knows whether its owner has heard the last ping, and one pong too
        // many harms nobody (RFC 6455 §5.5.3).
        conversation.pong = conversation.talk.take().and_then(|talk| talk.ping);
        self.answer_ping(key);
        self.hear_again(key);
    }

    /// What was pending is with the client's system.
    pub(super) fn tell_sent(&mut self, key: usize) {
        if let Some(talk) = self.held[key].cold.talk().filter(|talk| talk.pending > 0) {
            talk.ear.sent(std::mem::take(&mut talk.pending));
        }
    }
}
