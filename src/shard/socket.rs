//! What a client says on a held WebSocket, and the proxy's word back: pongs, and the closing handshake.
//!
//! Where somebody listens (`hold/talk.rs`) its messages go there, as long as that one keeps up and the client takes what
//! it is told; meanwhile its socket isn't read, and what was read already waits in `Cold::read_ahead`. Where the listener
//! has detached itself, as one of GRIP may, what the client says is passed over.

use std::io;

use super::event_loop::{EventLoop, Outcome};
use super::held::{Held, Reason, Stage};
use super::talk::Talk;
use crate::hold::{Ear, End, Speaks, Speech};
use crate::message::Frame;
use crate::transport::websocket::{self, Incoming, Kind, Said};
use crate::transport::{GRIP_SOCKET, OWN_PING};

/// One client's side of a WebSocket.
#[derive(Default)]
pub(super) struct Conversation {
    incoming: Incoming,
    /// The answer to the last ping that came while the socket was full.
    pub(super) pong: Option<Box<[u8]>>,
    /// How the connection is closed, where it isn't the transport's own way.
    pub(super) farewell: Option<Box<Farewell>>,
    /// With whoever listens.
    pub(super) talk: Option<Box<Talk>>,
}

// One of the allocator's sizes, for every WebSocket that is held.
const _: () = assert!(size_of::<Conversation>() <= 64);

/// The code and the reason of a close.
pub(super) struct Farewell {
    pub(super) code: u16,
    pub(super) reason: Box<str>,
}

impl Farewell {
    fn coded(code: u16) -> Option<Box<Farewell>> {
        Some(Box::new(Farewell { code, reason: "".into() }))
    }
}

/// Reads of one turn. Who says more in it says it to hold up others where nobody listens, and waits for the next turn
/// where somebody does.
const READS_MAX: usize = 16;
/// Bytes of a message that is passed over.
const PASSED_OVER_MAX: usize = 64 * 1024;

impl Conversation {
    pub(super) fn new(ear: Option<Box<Ear>>) -> Conversation {
        Conversation { talk: ear.map(|ear| Box::new(Talk::new(ear))), ..Conversation::default() }
    }

    fn bytes_max(&self) -> Option<usize> {
        self.talk.as_ref()?.ear.bytes_max()
    }
}

impl Held {
    /// Whether its client isn't heard now, since whoever listens to it is behind, or it doesn't take what it was told.
    fn is_unheard(&mut self) -> bool {
        let (live, blocked) = (self.stage == Stage::Live, self.blocked());
        let talk = self.cold.conversation().and_then(|conversation| conversation.talk.as_deref());
        live && talk.is_some_and(|talk| blocked || talk.is_behind())
    }
}

impl EventLoop {
    /// Hears a client out. What it says when its hold ends is passed over, so that its close is no reset.
    pub(super) fn hear_socket(&mut self, key: usize) {
        let mut buffer = std::mem::take(&mut self.read_buffer);
        if buffer.is_empty() {
            // It ends by what it has just said, and goes on being heard where that was read.
            return;
        }
        for reads in 0.. {
            let Some(held) = self.held.get_mut(key) else { break };
            if held.is_unheard() {
                break;
            }
            match held.wire.read(&mut buffer, &mut self.scratch) {
                Ok(read) if read > 0 && reads < READS_MAX => self.listen(key, &buffer[..read]),
                Ok(read) if read > 0 => {
                    self.hear_later(key, &buffer[..read]);
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => self.cut(key, Reason::of_lost(&error, Reason::Client)),
                Ok(_) => self.cut(key, Reason::Client),
            }
        }
        self.read_buffer = buffer;
    }

    /// It has had its turn.
    fn hear_later(&mut self, key: usize, bytes: &[u8]) {
        let inbox = self.inbox();
        match self.held[key].cold.ear().map(|ear| ear.hold()) {
            Some(hold) => {
                self.listen(key, bytes);
                inbox.speak(key as u32, hold, Speech::Heard(0, 0));
            }
            None => self.cut(key, Reason::Limit),
        }
    }

    /// Goes on where it stopped to hear a client. Its socket announces only what comes from now on.
    pub(super) fn hear_again(&mut self, key: usize) {
        let Some(held) = self.held.get_mut(key).filter(|held| held.stage == Stage::Live) else { return };
        if !held.is_unheard() {
            let said = std::mem::take(&mut held.cold.read_ahead);
            self.listen(key, &said);
            self.hear_socket(key);
        }
    }

    /// A socket that isn't read tells of its end only by an error.
    pub(super) fn is_lost_unheard(&mut self, key: usize, broken: bool) -> bool {
        broken && self.held.get_mut(key).is_some_and(Held::is_unheard)
    }

    /// Takes what has been read.
    pub(super) fn listen(&mut self, key: usize, mut bytes: &[u8]) {
        while let Some(held) = self.held.get_mut(key).filter(|held| held.stage == Stage::Live) {
            if held.is_unheard() {
                self.measures.words_waited.inc();
                return held.cold.read_ahead.extend_from_slice(bytes);
            }
            let passed_over = (held.transport == GRIP_SOCKET).then_some(PASSED_OVER_MAX);
            let Some(conversation) = held.cold.conversation() else { return };
            let bytes_max = conversation.bytes_max().or(passed_over);
            match conversation.incoming.take(bytes_max, &mut bytes) {
                Ok(None) => return,
                Ok(Some(said)) => self.has_said(key, said),
                Err(fault) => {
                    conversation.farewell = Farewell::coded(fault.code());
                    self.end(key, Reason::Protocol);
                }
            }
        }
    }

    fn has_said(&mut self, key: usize, said: Said) {
        let Some(conversation) = self.held[key].cold.conversation() else { return };
        let hears_signs = conversation.talk.as_ref().is_some_and(|talk| talk.ear.hears_signs());
        match said {
            Said::Ping(payload) if hears_signs => {
                if let Some(talk) = &mut conversation.talk {
                    talk.ping = Some(payload.as_slice().into());
                }
                self.tell_words(key, (Kind::Ping, payload));
            }
            Said::Pong(payload) if hears_signs && payload != OWN_PING => {
                self.tell_words(key, (Kind::Pong, payload));
            }
            Said::Pong(_) => {}
            Said::Ping(payload) => {
                conversation.pong = Some(payload.into());
                self.answer_ping(key);
            }
            Said::Message(kind, data) => self.tell_words(key, (kind, data)),
            Said::Close(said) => {
                let code = said.as_ref().map_or(websocket::NORMAL, |(code, _)| *code);
                conversation.farewell = Farewell::coded(code);
                if let Some(talk) = &mut conversation.talk {
                    talk.ear.end(End::Left(said));
                }
                self.end(key, Reason::Client);
            }
        }
    }

    /// Answers the last ping, unless a frame is only half written.
    pub(super) fn answer_ping(&mut self, key: usize) {
        let Some(held) = self.held.get_mut(key).filter(|held| !held.blocked()) else { return };
        let Some(conversation) = held.cold.conversation() else { return };
        let Some(payload) = conversation.pong.take() else { return };
        let mut pong = Vec::new();
        websocket::pong(&payload, &mut pong);
        let sent = held.send(&Frame::raw(pong), 0, &mut self.scratch);
        if let Outcome::Broken(reason) = self.settle(key, sent) {
            self.cut(key, reason);
        }
    }
}
