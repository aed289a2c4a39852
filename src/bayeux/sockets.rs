//! WebSockets on which clients speak Bayeux: what is said there, in order, and whose clients are on them.
//!
//! A socket has clients from their first connect on it, until they connect elsewhere. What is said is counted, so that it
//! is known of every message whether it is with the client's system.

use std::collections::{BTreeSet, HashMap};

use super::table::Key;
use crate::hold::{Kind, Line, Speech};

/// Every socket, by the number of its hold.
#[derive(Default)]
pub(super) struct Sockets(HashMap<u64, Socket>);

struct Socket {
    line: Line,
    said: u64,
    heard: u64,
    sessions: BTreeSet<Key>,
}

impl Sockets {
    pub(super) fn open(&mut self, number: u64, line: Line) {
        self.0.insert(number, Socket { line, said: 0, heard: 0, sessions: BTreeSet::new() });
    }

    /// Says something with so many messages; as the so many-th, if the socket is there.
    pub(super) fn say(&mut self, number: u64, body: Vec<u8>, messages: usize) -> Option<u64> {
        let socket = self.0.get_mut(&number)?;
        socket.said += 1;
        socket.line.speak(Speech::Message(Kind::Text, body, messages));
        Some(socket.said)
    }

    /// Ends it.
    pub(super) fn close(&mut self, number: u64, code: u16) {
        if let Some(socket) = self.0.get(&number) {
            socket.line.speak(Speech::Close(code, "".into()));
        }
    }

    /// So many more are with the client's system: up to which one, and the sessions on it.
    pub(super) fn heard(&mut self, number: u64, more: usize) -> (u64, Vec<Key>) {
        let Some(socket) = self.0.get_mut(&number) else { return (0, Vec::new()) };
        socket.heard += more as u64;
        (socket.heard, socket.sessions.iter().copied().collect())
    }

    pub(super) fn enter(&mut self, number: u64, key: Key) {
        if let Some(socket) = self.0.get_mut(&number) {
            socket.sessions.insert(key);
        }
    }

    pub(super) fn leave(&mut self, number: u64, key: Key) {
        if let Some(socket) = self.0.get_mut(&number) {
            socket.sessions.remove(&key);
        }
    }

    /// It is gone; the sessions that were on it.
    pub(super) fn remove(&mut self, number: u64) -> BTreeSet<Key> {
        self.0.remove(&number).map(|socket| socket.sessions).unwrap_or_default()
    }
}
