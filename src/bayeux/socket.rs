//! Bayeux on a WebSocket: messages come in frames of text, each answered by one, and what comes for a client is told at
//! once while its connect stays open.

use std::sync::Arc;
use std::time::Instant;

use hyper::header::{HeaderMap, SET_COOKIE};

use super::envelope;
use super::meta::{Said, Visitor};
use super::{Answered, Bayeux, Terms, words};
use crate::hold::{Kind, Line};

/// Codes of a close (RFC 6455 §7.4.1): bytes where text is spoken, and a text that is no Bayeux.
const NO_TEXT: u16 = 1003;
const NO_MESSAGES: u16 = 1007;

impl Bayeux {
    /// A WebSocket is held by this number.
    pub fn socket_opens(&self, socket: u64, line: Line) {
        self.table.lock().sockets.open(socket, line);
    }

    /// What the browser of a client is called that opens a WebSocket, where that matters, and the fields of the answer by
    /// which it gets a name if it has none.
    pub fn socket_browser(&self, terms: &Terms, headers: &HeaderMap) -> (Option<Box<str>>, HeaderMap) {
        let mut answer = HeaderMap::new();
        if !terms.route.same_browser {
            return (None, answer);
        }
        if let Some(name) = super::browser(headers) {
            return (Some(name.into()), answer);
        }
        let name = self.fresh_id();
        if let Some(name) = &name {
            answer.insert(SET_COOKIE, super::cookie(name));
        }
        (name, answer)
    }

    /// Its client has said something. What is answered is said there; waits as a [request](Bayeux::ask) does.
    pub async fn socket_says(
        &self,
        (terms, browser): (&Arc<Terms>, Option<&str>),
        socket: u64,
        (kind, data): (Kind, &[u8]),
        authority: impl AsyncFnOnce(Vec<u8>) -> Option<Answered>,
    ) {
        if kind == Kind::Binary {
            return self.table.lock().sockets.close(socket, NO_TEXT);
        }
        let messages = std::str::from_utf8(data).ok().and_then(envelope::read);
        let Some(messages) = messages else {
            return self.table.lock().sockets.close(socket, NO_MESSAGES);
        };
        // Faye's sign of life.
        if messages.is_empty() {
            return;
        }
        let visitor = Visitor { terms, browser, callback: None, socket: Some(socket) };
        if let Said::Answer { messages, replies, .. } = self.hear(&visitor, &messages, authority).await {
            // Messages of a client that hasn't connected on a socket.
            let body = words::body(&messages, &replies, None);
            self.table.lock().sockets.say(socket, body, messages.len());
        }
    }

    /// So much more of what was said there is with its client's system.
    pub fn socket_heard(&self, socket: u64, more: usize) {
        let (mut table, now) = (self.table.lock(), Instant::now());
        let (upto, keys) = table.sockets.heard(socket, more);
        for key in keys {
            if let Some(session) = table.get_mut(key) {
                session.heard(upto, now);
            }
            table.deliver(key, now);
        }
    }

    /// It is gone. Its clients have as long as after any connect to come back.
    pub fn socket_ends(&self, socket: u64) {
        let (mut table, now) = (self.table.lock(), Instant::now());
        for key in table.sockets.remove(socket) {
            if let Some(session) = table.get_mut(key) {
                session.is_left(now);
            }
        }
    }
}
