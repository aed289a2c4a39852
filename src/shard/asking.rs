//! Filters that ask: a message waits for what a URL says about it, and its client for the message; everybody else goes on.
//!
//! A connection has one question out at most. Its position stands before the message meanwhile, so that what comes behind it is
//! read from the channels' windows afterwards, as after a full socket, and nothing waits here.

use std::sync::Arc;

use super::event_loop::{EventLoop, Outcome};
use super::grip::{Grip, Outcomes};
use super::held::{Held, Reason, Stage};
use crate::hold::grip::{self, Deed, Pending, Ruled, Ruling};
use crate::hold::{Line, fresh_number};
use crate::message::{Entry, Message, Reply, Sequence, SocketType, ToResponse, ToSocket};
use crate::transport::{self, websocket};

/// Where a client's filters ask.
pub(super) struct Inquiry {
    /// The URL that its request was for.
    origin: Box<str>,
    /// The message that waits, if one does.
    waiting: Option<Waiting>,
}

/// A message that waits.
struct Waiting {
    entry: Arc<Entry>,
    /// Away with what has been ruled.
    pending: Option<Pending>,
    /// The question's number, once it is out.
    number: u64,
    /// What is said while the socket is full.
    ruling: Option<Ruling>,
}

impl Inquiry {
    pub(super) fn from(origin: &str) -> Box<Inquiry> {
        Box::new(Inquiry { origin: origin.into(), waiting: None })
    }
}

impl Grip {
    /// A message waits for what is said about it.
    pub(super) fn wait(&mut self, entry: &Arc<Entry>, pending: Pending) {
        let waiting = Waiting { entry: entry.clone(), pending: Some(pending), number: 0, ruling: None };
        // Nothing is led anywhere by a filter that a client was given without a URL.
        self.inquiry.get_or_insert_with(|| Inquiry::from("")).waiting = Some(waiting);
    }

    /// It comes again, or isn't wanted any more.
    pub(super) fn wait_no_more(&mut self) {
        if let Some(inquiry) = &mut self.inquiry {
            inquiry.waiting = None;
        }
    }

    fn waiting(&self) -> Option<&Waiting> {
        self.inquiry.as_ref()?.waiting.as_ref()
    }
}

impl Held {
    /// Whether a message waits for what is said about it.
    pub(super) fn waits(&self) -> bool {
        self.cold.grip_here().is_some_and(|grip| grip.waiting().is_some())
    }

    /// Where the client stands until then.
    pub(super) fn waits_before(&self) -> Option<Sequence> {
        let waiting = self.cold.grip_here()?.waiting()?;
        Some(Sequence(waiting.entry.sequence().0.saturating_sub(1)))
    }
}

impl EventLoop {
    /// Asks about the message that waits, if one does. The lists that the connection stands in don't change.
    pub(super) fn ask(&mut self, key: usize) {
        let held = &self.held[key];
        if held.stage != Stage::Live || !held.waits() {
            return;
        }
        let (settings, inbox) = (self.settings.load(), self.inbox());
        let held = &mut self.held[key];
        let Some(Grip { session, inquiry: Some(inquiry), .. }) = held.cold.grip() else { return };
        let Inquiry { origin, waiting: Some(waiting) } = &mut **inquiry else { return };
        if waiting.number != 0 {
            return;
        }
        waiting.number = fresh_number();
        let line = Line::new(inbox, key as u32, waiting.number);
        let pending = waiting.pending.as_ref();
        let question = pending.and_then(|pending| session.question(pending, &waiting.entry.message, origin));
        match (question, &settings.asker) {
            (Some(question), Some(asker)) => asker.0.ask(question, origin, line),
            // Told like any other, so that nobody is led into itself by it.
            _ => line.speak(crate::hold::Speech::Ruled(Ruling::Drop)),
        }
        held.behind = true;
    }

    /// What was asked with this number has been ruled.
    pub(super) fn ruled(&mut self, key: usize, number: u64, ruling: Ruling) {
        let Some(held) = self.held.get_mut(key).filter(|held| held.stage == Stage::Live) else { return };
        let waiting = held.cold.grip().and_then(|grip| grip.inquiry.as_mut()?.waiting.as_mut());
        let Some(waiting) = waiting.filter(|waiting| waiting.number == number) else { return };
        waiting.ruling = Some(ruling);
        self.catch_up(key);
    }

    /// Gives a connection whose socket takes bytes the message that has been ruled on, if there is one.
    pub(super) fn go_on_ruled(&mut self, key: usize) {
        let Some(held) = self.held.get_mut(key) else { return };
        if held.stage != Stage::Live || held.blocked() {
            return;
        }
        // What it lacks is asked for, and comes with everything else.
        let Some(grip) = held.cold.grip().filter(|grip| !grip.is_asking) else { return };
        let Some(inquiry) = &mut grip.inquiry else { return };
        let Some(waiting) = inquiry.waiting.take_if(|waiting| waiting.ruling.is_some()) else { return };
        let Waiting { entry, pending: Some(pending), ruling: Some(ruling), .. } = waiting else { return };
        match grip.session.ruled(pending, ruling) {
            Ruled::Ask(pending) => {
                grip.wait(&entry, pending);
                self.ask(key);
            }
            Ruled::Nothing => held.position = held.position.max(entry.sequence()),
            Ruled::Send(content) => {
                held.position = held.position.max(entry.sequence());
                let outcomes = held.ruled_outcomes(&entry.message, &content);
                self.give(key, outcomes);
            }
        }
    }

    fn give(&mut self, key: usize, outcomes: Outcomes) {
        match outcomes {
            Outcomes::Answer(bytes) => match self.grip_answer(key, bytes) {
                Outcome::Done => self.finish(key, Reason::Answered),
                Outcome::Waiting => {}
                Outcome::Broken(reason) => self.cut(key, reason),
            },
            Outcomes::Stream { bytes, events, .. } => {
                if let Outcome::Broken(reason) = self.grip_write(key, &bytes, events) {
                    self.cut(key, reason);
                }
            }
            Outcomes::Fallback | Outcomes::Nothing => {}
        }
    }
}

impl Held {
    /// What a message comes to whose bytes are these.
    fn ruled_outcomes(&mut self, message: &Message, content: &[u8]) -> Outcomes {
        let forms = message.forms.as_ref();
        match self.transport {
            transport::GRIP_RESPONSE => {
                let client = self.cold.client;
                let Some((grip, fallback)) = self.cold.grip_poll() else { return Outcomes::Nothing };
                let deed = match forms.and_then(|forms| forms.response.as_ref()).map(|form| &form.act) {
                    Some(ToResponse::Send(reply)) => Deed::Answer(reply as &Reply, Some(content.to_vec())),
                    _ => Deed::AnswerData(content.into(), message.content_type.as_deref()),
                };
                let answer = grip::answer(&deed, fallback.payload(), client);
                answer.map_or(Outcomes::Nothing, |answer| Outcomes::Answer(grip.answer(answer, client)))
            }
            transport::GRIP_SOCKET => {
                let kind = match forms.and_then(|forms| forms.socket.as_ref()).map(|form| &form.act) {
                    Some(ToSocket::Send(kind, _)) => *kind,
                    _ if matches!(message.data, crate::message::Data::Binary(_)) => SocketType::Binary,
                    _ => SocketType::Text,
                };
                let mut bytes = Vec::new();
                websocket::message(kind.into(), content, &mut bytes);
                Outcomes::frames(bytes)
            }
            _ => Outcomes::frames(content.to_vec()),
        }
    }
}
