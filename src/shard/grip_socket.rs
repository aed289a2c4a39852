//! A WebSocket of GRIP: its application puts it on channels and takes it off while it is held, gives it signs of life,
//! puts off what it says, and leaves it to its publishers.
//!
//! A connection has one position for all its channels. Whoever joins another one goes back to where that begins, and
//! passes over what comes again of the others (`Session::subscribe`).

use std::mem;
use std::sync::Arc;

use super::event_loop::{EventLoop, Outcome, ticks};
use super::grip::{Outcomes, Own, Then};
use super::held::{Held, Stage};
use super::socket::Farewell;
use crate::hold::grip::{CHANNELS_MAX, Control, Deed, Filters, KeepAlive};
use crate::message::{ChannelName, Entry, Frame, Sequence, Start};
use crate::transport::websocket;

impl Held {
    /// Whether something that was put off is due.
    pub(super) fn has_delayed(&self, now: u32) -> bool {
        self.cold.grip_of_stream().is_some_and(|grip| grip.delayed_until() <= now)
    }

    /// Frames of what a connection gets of messages.
    pub(super) fn frames_of(&mut self, entries: &[Arc<Entry>]) -> Outcomes {
        let (mut bytes, mut events, mut then, mut wanted) = (Vec::new(), 0, Then::GoesOn, false);
        let Some((grip, conversation)) = self.cold.grip_socket() else { return Outcomes::Nothing };
        let is_due = |entry: &&Arc<Entry>| !grip.session.is_before(&entry.message, entry.sequence());
        let due: Vec<_> = entries.iter().filter(is_due).collect();
        for entry in due {
            match grip.session.on_socket(&entry.message) {
                Deed::SendSocket(kind, payload) => {
                    websocket::message(kind.into(), &payload, &mut bytes);
                    events += 1;
                }
                Deed::Ask(pending) => {
                    grip.wait(entry, *pending);
                    break;
                }
                Deed::Refresh => wanted = true,
                Deed::Close(said) => {
                    let (code, reason) = said.unwrap_or((websocket::NORMAL, ""));
                    conversation.farewell = Some(Box::new(Farewell { code, reason: reason.into() }));
                    then = Then::Ends;
                    break;
                }
                _ => {}
            }
        }
        if let Some(talk) = conversation.talk.as_ref().filter(|_| wanted) {
            talk.ear.wanted();
        }
        Outcomes::Stream { bytes, events, then }
    }
}

impl EventLoop {
    /// Does what the application orders.
    pub(super) fn grip_order(&mut self, key: usize, control: Control, after: Sequence) {
        match control {
            Control::Subscribe(name, filters) => self.subscribe(key, name, filters, after),
            Control::Unsubscribe(name) => self.unsubscribe(key, &name),
            Control::Detach => self.detach(key),
            Control::SetMeta(name, value) => {
                if let Some(grip) = self.held[key].cold.grip() {
                    grip.session.set_meta(&name, value.as_deref());
                }
            }
            Control::KeepAlive(sign) => self.set_sign(key, sign),
            Control::Delay(frame, timeout) => {
                self.say_delayed(key);
                let until = self.tick.saturating_add(ticks(timeout));
                if let Some(grip) = self.held.get_mut(key).and_then(|held| held.cold.grip()) {
                    grip.own = Own::Delayed(Box::new((until, frame)));
                }
                self.schedule(key);
            }
            Control::Flush => self.say_delayed(key),
        }
    }

    fn subscribe(&mut self, key: usize, name: ChannelName, filters: Filters, after: Sequence) {
        let held = &mut self.held[key];
        let (stands_at, channels) = (held.position, held.memberships.channels().len());
        let Some(grip) = held.cold.grip() else { return };
        if grip.session.is_on(&name) {
            return grip.session.subscribe(name, filters, after, stands_at);
        }
        if channels >= CHANNELS_MAX {
            return tracing::debug!(channel = %name, "a client of GRIP is on no more than {CHANNELS_MAX} channels");
        }
        // What it missed is read below, with what it may have missed of its other channels.
        let wishes = [(name.clone(), Start::After(self.tap.head()))];
        let joined = match self.tap.join(&wishes, 0, self.now, &mut Vec::new(), &mut Vec::new()) {
            Ok(joined) => joined,
            Err(refused) => return tracing::warn!(%refused, "a WebSocket is not put on a channel"),
        };
        self.seen = self.seen.max(joined.head);
        let Some(&channel) = joined.channels.first() else { return };
        let place = self.take_place(channel, key);
        let held = &mut self.held[key];
        held.memberships = held.memberships.and(channel, place);
        if let Some(grip) = held.cold.grip() {
            grip.session.subscribe(name, filters, after, stands_at);
            // It comes again with what is read from there.
            grip.wait_no_more();
        }
        held.position = stands_at.min(after);
        held.behind = held.position < self.seen;
        self.catch_up(key);
    }

    fn unsubscribe(&mut self, key: usize, name: &ChannelName) {
        let Some(channel) = self.tap.find(name) else { return };
        let held = &mut self.held[key];
        if let Some(grip) = held.cold.grip() {
            grip.session.unsubscribe(name);
        }
        let Some((rest, place)) = held.memberships.without(channel) else { return };
        held.memberships = rest;
        self.tap.leave(&[channel], self.now);
        self.leave_place(channel, place);
    }

    fn set_sign(&mut self, key: usize, sign: Option<KeepAlive>) {
        let default = self.settings.load().keepalive;
        let held = &mut self.held[key];
        let silence = sign.as_ref().map(|sign| sign.timeout).or(default);
        held.cold.keepalive = silence.map_or(0, ticks);
        if let Some(grip) = held.cold.grip() {
            grip.keepalive = sign.map(Box::new);
            grip.beat_at = self.tick;
        }
        self.schedule(key);
    }

    /// Says what was put off. Where its socket is full it comes as late as that takes bytes.
    pub(super) fn say_delayed(&mut self, key: usize) {
        let Some(held) = self.held.get_mut(key).filter(|held| held.stage == Stage::Live && !held.blocked())
        else {
            return;
        };
        let Some(grip) = held.cold.grip() else { return };
        if !matches!(grip.own, Own::Delayed(_)) {
            return;
        }
        let Own::Delayed(delayed) = mem::replace(&mut grip.own, Own::Nothing) else { return };
        let (_, frame) = *delayed;
        held.wrote_at = self.tick;
        let sent = held.send(&Frame::raw(frame.into()), 0, &mut self.scratch);
        if let Outcome::Broken(reason) = self.settle(key, sent) {
            self.cut(key, reason);
        }
    }
}
