//! What a client says on a held WebSocket, and the proxy's word back: pongs, and the closing handshake.

use std::io;

use super::event_loop::{EventLoop, Outcome};
use super::held::{Reason, Stage};
use crate::message::Frame;
use crate::transport::websocket::{self, Incoming, Said};

/// One client's side of a WebSocket.
#[derive(Default)]
pub(super) struct Conversation {
    incoming: Incoming,
    /// The answer to the last ping that came while the socket was full.
    pong: Option<Vec<u8>>,
    /// The code with which the connection is closed, where it isn't the transport's own.
    pub(super) farewell: Option<u16>,
}

/// Reads of one turn: whoever says so much in it says it to hold up others.
const READS_MAX: usize = 16;

impl EventLoop {
    /// Hears a client out. What it says when its hold ends is passed over, so that its close is no reset.
    pub(super) fn hear_socket(&mut self, key: usize) {
        let mut buffer = std::mem::take(&mut self.read_buffer);
        for reads in 0.. {
            let Some(held) = self.held.get_mut(key) else { break };
            match held.wire.read(&mut buffer, &mut self.scratch) {
                Ok(read) if read > 0 && reads < READS_MAX => self.listen(key, &buffer[..read]),
                Ok(read) if read > 0 => self.cut(key, Reason::Limit),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Ok(_) | Err(_) => self.cut(key, Reason::Client),
            }
        }
        self.read_buffer = buffer;
    }

    /// Takes what has been read.
    pub(super) fn listen(&mut self, key: usize, mut bytes: &[u8]) {
        while let Some(held) = self.held.get_mut(key).filter(|held| held.stage == Stage::Live) {
            let Some(conversation) = held.cold.conversation() else { return };
            match conversation.incoming.take(&mut bytes) {
                Ok(None) => return,
                Ok(Some(Said::Pong)) => {}
                Ok(Some(Said::Ping(payload))) => {
                    conversation.pong = Some(payload);
                    self.answer_ping(key);
                }
                Ok(Some(Said::Close(code))) => {
                    conversation.farewell = Some(code.unwrap_or(websocket::NORMAL));
                    self.end(key, Reason::Client);
                }
                Err(fault) => {
                    conversation.farewell = Some(fault.code());
                    self.end(key, Reason::Protocol);
                }
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
        if self.settle(key, sent) == Outcome::Broken {
            self.cut(key, Reason::WriteError);
        }
    }
}
