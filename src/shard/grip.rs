//! A connection that is held by GRIP: what each message is to it, in bytes that may be its own.

use std::sync::Arc;

use super::asking::Inquiry;
use super::deliver::Afterwards;
use super::event_loop::{EventLoop, Outcome, ticks};
use super::finish::LAST_WORDS;
use super::held::{Held, Reason, Stage};
use super::recover::Linked;
use super::runs;
use crate::hold::ClientSide;
use crate::hold::grip::{self, Company, Deed, KeepAlive, Pace, Session};
use crate::message::{Entry, Frame, Sequence, ToSocket, ToStream};
use crate::transport;
use crate::transport::call::Call;

/// What the protocol needs to know of a connection.
pub(super) struct Grip {
    pub(super) session: Session,
    /// The signs of life of a stream, in a box of their own, so that others don't carry their size.
    pub(super) keepalive: Option<Box<KeepAlive>>,
    /// Tick of the last sign of life.
    pub(super) beat_at: u32,
    /// Whether its application is being asked for what it may lack. Until that has come, it is given nothing.
    pub(super) is_asking: bool,
    /// What it is besides.
    pub(super) own: Own,
    /// Where its filters ask, if one of them may.
    pub(super) inquiry: Option<Box<Inquiry>>,
}

/// What few of them are: no more than one of these.
pub(super) enum Own {
    Nothing,
    /// A WebSocket whose client gets a frame at this tick.
    Delayed(Box<(u32, Box<[u8]>)>),
    /// A response that is a script, and calls this.
    Call(Box<Call>),
    /// A stream with links.
    Linked(Box<Linked>),
}

/// What messages come to for one connection.
pub(super) enum Outcomes {
    /// Bytes of its stream or frames, from so many messages, and what comes then.
    Stream { bytes: Vec<u8>, events: usize, then: Then },
    /// Its answer.
    Answer(Vec<u8>),
    /// Something is missing: its request is asked again, or it gets the answer that the application has given, after
    /// which its client asks again.
    Fallback,
    /// Nothing.
    Nothing,
}

/// What comes behind a stream's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    GoesOn,
    Ends,
    /// Something is missing.
    Asks,
}

impl Outcomes {
    /// The bytes of one message.
    pub(super) fn frames(bytes: Vec<u8>) -> Outcomes {
        Outcomes::Stream { bytes, events: 1, then: Then::GoesOn }
    }
}

impl Grip {
    pub(super) fn new(company: &Company, now: u32) -> Grip {
        let (session, keepalive) = (company.session.clone(), company.keepalive.clone().map(Box::new));
        let own = company.call.clone().map_or(Own::Nothing, Own::Call);
        let inquiry = company.origin.as_deref().map(Inquiry::from);
        Grip { session, keepalive, beat_at: now, is_asking: false, own, inquiry }
    }

    /// An answer as its client gets it.
    pub(super) fn answer(&self, bytes: Vec<u8>, client: ClientSide) -> Vec<u8> {
        match &self.own {
            Own::Call(call) => grip::scripted(&bytes, call, client),
            _ => bytes,
        }
    }

    /// Tick at which something that was put off is due.
    pub(super) fn delayed_until(&self) -> u32 {
        match &self.own {
            Own::Delayed(delayed) => delayed.0,
            _ => u32::MAX,
        }
    }

    /// The links of a stream.
    pub(super) fn linked(&self) -> Option<&Linked> {
        match &self.own {
            Own::Linked(linked) => Some(linked),
            _ => None,
        }
    }

    /// The same, to be changed.
    pub(super) fn linked_mut(&mut self) -> Option<&mut Linked> {
        match &mut self.own {
            Own::Linked(linked) => Some(linked),
            _ => None,
        }
    }

    /// Takes note of what was published while the application answered.
    fn begin(&mut self, entries: &[Arc<Entry>]) {
        self.session.begin(entries.iter().map(|entry| &entry.message));
    }

    /// The bytes of a sign of life.
    pub(super) fn sign(&self) -> Option<&[u8]> {
        self.keepalive.as_ref().map(|keepalive| &keepalive.data[..])
    }

    /// Whether signs of life come at their time, whatever else is sent.
    pub(super) fn beats(&self) -> bool {
        self.keepalive.as_ref().is_some_and(|keepalive| keepalive.pace == Pace::Interval)
    }
}

impl Held {
    /// Whether each message has to be looked at for this connection: it is no stream of bytes that are shared by all, or
    /// one of these messages ends it.
    pub(super) fn grips(&self, entries: &[Arc<Entry>]) -> bool {
        if !transport::is_grip(self.transport) {
            return false;
        }
        match self.transport {
            transport::GRIP_STREAM => {
                self.cold.has_grip() || entries.iter().any(|entry| is_particular_stream(entry))
            }
            transport::GRIP_SOCKET => {
                let first = entries.first().map_or(Sequence(0), |first| first.sequence());
                let is_own = |grip: &Grip| !grip.session.is_plain_from(first);
                self.cold.grip_of_stream().is_none_or(is_own)
                    || entries.iter().any(|entry| is_particular_socket(entry))
            }
            _ => true,
        }
    }

    /// What messages after the connection's position come to, in their order. It is at the last of them then.
    fn outcomes(&mut self, entries: &[Arc<Entry>]) -> Outcomes {
        if let Some(last) = entries.last() {
            self.position = self.position.max(last.sequence());
        }
        let outcomes = match self.transport {
            transport::GRIP_RESPONSE => self.answer_of(entries),
            transport::GRIP_SOCKET => self.frames_of(entries),
            _ => self.stream_of(entries),
        };
        if let Some(before) = self.waits_before() {
            self.position = before;
        }
        outcomes
    }

    fn answer_of(&mut self, entries: &[Arc<Entry>]) -> Outcomes {
        let client = self.cold.client;
        let Some((grip, fallback)) = self.cold.grip_poll() else { return Outcomes::Nothing };
        for entry in entries {
            let deed = match grip.session.on_response(&entry.message) {
                Deed::Recover => return Outcomes::Fallback,
                Deed::Ask(pending) => {
                    grip.wait(entry, *pending);
                    return Outcomes::Nothing;
                }
                deed => deed,
            };
            if let Some(answer) = grip::answer(&deed, fallback.payload(), client) {
                return Outcomes::Answer(grip.answer(answer, client));
            }
        }
        Outcomes::Nothing
    }

    /// The answer that the application has given, as its client gets it.
    pub(super) fn fallback(&mut self) -> Option<Frame> {
        let client = self.cold.client;
        match self.cold.grip_poll() {
            Some((grip, fallback)) if matches!(grip.own, Own::Call(_)) => {
                Some(Frame::raw(grip.answer(fallback.payload().to_vec(), client)))
            }
            _ => self.cold.poll().map(|poll| poll.fallback.clone()),
        }
    }

    fn stream_of(&mut self, entries: &[Arc<Entry>]) -> Outcomes {
        let (mut bytes, mut events, mut then) = (Vec::new(), 0, Then::GoesOn);
        let mut grip = self.cold.grip();
        for entry in entries {
            let deed = match &mut grip {
                Some(grip) => grip.session.on_stream(&entry.message),
                None => grip::plain(&entry.message),
            };
            match deed {
                Deed::Send(own) => {
                    bytes.extend_from_slice(&own);
                    events += 1;
                }
                Deed::Ask(pending) => {
                    if let Some(grip) = &mut grip {
                        grip.wait(entry, *pending);
                    }
                    break;
                }
                Deed::Close(_) => {
                    then = Then::Ends;
                    break;
                }
                Deed::Recover if grip.as_ref().is_some_and(|grip| grip.has_way()) => {
                    then = Then::Asks;
                    break;
                }
                _ => {}
            }
        }
        Outcomes::Stream { bytes, events, then }
    }
}

/// It ends streams, or is for those only that have certain filters.
fn is_particular_stream(entry: &Entry) -> bool {
    let form = entry.message.forms.as_ref().and_then(|forms| forms.stream.as_ref());
    form.is_some_and(|form| form.act == ToStream::Close || form.filters.is_some())
}

/// The same of WebSockets; their applications may be wanted, too.
fn is_particular_socket(entry: &Entry) -> bool {
    let form = entry.message.forms.as_ref().and_then(|forms| forms.socket.as_ref());
    form.is_some_and(|form| !matches!(form.act, ToSocket::Send(..)) || form.filters.is_some())
}

impl EventLoop {
    /// A connection has just come, and this was published meanwhile.
    pub(super) fn grip_begin(&mut self, key: usize) {
        if let Some(grip) = self.held[key].cold.grip() {
            grip.begin(&self.entries);
        }
    }

    /// One connection gets what a channel has for it. The list that it stands in must not change meanwhile.
    pub(super) fn grip_segment(&mut self, key: u32, entries: &[Arc<Entry>]) {
        let held = &mut self.held[key as usize];
        match held.outcomes(entries) {
            Outcomes::Nothing => self.ask(key as usize),
            Outcomes::Fallback if self.ask_for_missing(key as usize) => {}
            Outcomes::Fallback => self.end_afterwards(key),
            Outcomes::Answer(bytes) => match self.grip_answer(key as usize, bytes) {
                Outcome::Done => self.afterwards.push((key, Afterwards::Finish(Reason::Answered))),
                Outcome::Waiting => {}
                Outcome::Broken(reason) => self.afterwards.push((key, Afterwards::Cut(reason))),
            },
            Outcomes::Stream { bytes, events, then } => {
                match (self.grip_write(key as usize, &bytes, events), then) {
                    (Outcome::Broken(reason), _) => {
                        self.afterwards.push((key, Afterwards::Cut(reason)));
                    }
                    (_, Then::Ends) => self.end_afterwards(key),
                    (_, Then::Asks) => {
                        self.ask_for_missing(key as usize);
                    }
                    (_, Then::GoesOn) => self.ask(key as usize),
                }
            }
        }
    }

    /// What comes behind it in this turn isn't for this connection.
    fn end_afterwards(&mut self, key: u32) {
        self.held[key as usize].behind = true;
        self.afterwards.push((key, Afterwards::End(Reason::ChannelClosed)));
    }

    /// The same of what it has missed, merged over its channels.
    pub(super) fn grip_missed(&mut self, key: usize) {
        let entries = std::mem::take(&mut self.entries);
        let held = &mut self.held[key];
        held.behind = held.position < self.seen;
        let reached = held.position;
        let outcomes = held.outcomes(&entries);
        if !held.waits() {
            held.position = held.position.max(reached);
        }
        self.entries = entries;
        match outcomes {
            Outcomes::Nothing => self.ask(key),
            Outcomes::Fallback if self.ask_for_missing(key) => {}
            Outcomes::Fallback => self.end(key, Reason::ChannelClosed),
            Outcomes::Answer(bytes) => match self.grip_answer(key, bytes) {
                Outcome::Done => self.finish(key, Reason::Answered),
                Outcome::Waiting => {}
                Outcome::Broken(reason) => self.cut(key, reason),
            },
            Outcomes::Stream { bytes, events, then } => match (self.grip_write(key, &bytes, events), then) {
                (Outcome::Broken(reason), _) => self.cut(key, reason),
                (_, Then::Ends) => self.end(key, Reason::ChannelClosed),
                (_, Then::Asks) => {
                    self.ask_for_missing(key);
                }
                (_, Then::GoesOn) => self.ask(key),
            },
        }
    }

    pub(super) fn grip_write(&mut self, key: usize, bytes: &[u8], events: usize) -> Outcome {
        if bytes.is_empty() {
            return Outcome::Done;
        }
        let held = &mut self.held[key];
        held.wrote_at = self.tick;
        self.measures.delivered(held.transport, events);
        let frame = runs::chunk(|out| out.extend_from_slice(bytes));
        let sent = held.send(&frame, events, &mut self.scratch);
        self.settle(key, sent)
    }

    pub(super) fn grip_answer(&mut self, key: usize, bytes: Vec<u8>) -> Outcome {
        let held = &mut self.held[key];
        held.stage = Stage::Ending(Reason::Answered);
        self.measures.delivered(held.transport, 1);
        let sent = held.send(&Frame::raw(bytes), 1, &mut self.scratch);
        self.wheel.schedule(key, self.tick + ticks(LAST_WORDS));
        self.settle(key, sent)
    }
}
