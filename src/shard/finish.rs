//! How held connections end: in words that the client understands, in front of its next request, or cut.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::{Duration, Instant};

use hyper::Version;

use super::event_loop::{EventLoop, Outcome, TICK, ticks};
use super::held::{Held, Reason, Stage};
use super::runs;
use super::socket::Farewell;
use crate::access_log::HoldEnd;
use crate::config::Rate;
use crate::hold::{ClientSide, closing};
use crate::hub::ChannelId;
use crate::message::{Frame, Framing};
use crate::transport::{self, Closing, websocket};

/// How long a client may take to read the last bytes and to close its side.
const LINGER: Duration = Duration::from_secs(2);
/// How long a client may take to read what is pending when its hold ends.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(30);
/// Without a spread of their own clients come back within this.
pub(super) const RETRY_MIN: Duration = Duration::from_secs(1);

/// A drain that goes on: connections end in a random order, spread evenly over its time.
pub(super) struct Drain {
    left: Vec<u32>,
    began: Instant,
    spread: Duration,
    /// How many there were at the beginning.
    total: usize,
}

impl EventLoop {
    /// Ends a hold in the transport's words: a stream with its last chunk, a poll with the application's answer.
    pub(super) fn end(&mut self, key: usize, reason: Reason) {
        let Some(held) = self.held.get_mut(key).filter(|held| held.stage == Stage::Live) else { return };
        held.stage = Stage::Ending(reason);
        if !held.blocked() {
            self.say_goodbye(key, reason);
        }
        // A socket that stays full is cut after a while.
        if self.held.get(key).is_some_and(|held| held.stage == Stage::Ending(reason)) {
            self.wheel.schedule(key, self.tick + ticks(LAST_WORDS));
        }
    }

    /// Writes the last bytes of a connection whose socket is not full.
    fn say_goodbye(&mut self, key: usize, reason: Reason) {
        let last = self.last_words(key, reason);
        let held = &mut self.held[key];
        held.said_goodbye = true;
        let sent = held.send(&last, 0, &mut self.scratch);
        match self.settle(key, sent) {
            Outcome::Done => self.finish(key, reason),
            Outcome::Waiting => {}
            Outcome::Broken(reason) => self.cut(key, reason),
        }
    }

    fn last_words(&mut self, key: usize, reason: Reason) -> Frame {
        let parting = self.parting(key);
        let held = &mut self.held[key];
        if let Some(fallback) = held.fallback() {
            let last = parting.unwrap_or(fallback);
            let ClientSide { version, keep_alive } = held.cold.client;
            let is_told = keep_alive || version == Version::HTTP_2;
            return if is_told { last } else { Frame::raw(closing(last.payload())) };
        }
        let unsaid = held.cold.talk().map_or(Vec::new(), |talk| talk.take_waiting().0);
        if let Some(Farewell { code, reason }) = held.cold.farewell() {
            let mut last = unsaid;
            websocket::close(*code, reason, &mut last);
            return Frame::raw(last);
        }
        let retry = match &self.drain {
            Some(drain) if reason == Reason::Drain => {
                let returns =
                    self.settings.load().returns.map(|rate| time_for(rate, held.cold.permit.taken()));
                Some(RETRY_MIN + random_within(drain.spread.max(returns.unwrap_or_default())))
            }
            _ => None,
        };
        let transport = transport::transport(held.transport);
        let closing = runs::chunk(|out| transport.close(&Closing { retry }, out));
        let mut bytes = unsaid;
        bytes.extend_from_slice(parting.as_ref().map_or(&[][..], |last| last.bytes(held.framing)));
        bytes.extend_from_slice(closing.bytes(held.framing));
        if held.framing == Framing::Chunked {
            bytes.extend_from_slice(b"0\r\n\r\n");
        }
        Frame::raw(bytes)
    }

    /// The pending bytes of an ending connection are written: they were its last, or the last words come now.
    pub(super) fn go_on_ending(&mut self, key: usize, reason: Reason) {
        if reason == Reason::Answered || self.held[key].said_goodbye {
            self.finish(key, reason);
        } else {
            self.say_goodbye(key, reason);
        }
    }

    /// Everything is written: the connection stays for its next request, or closes without a reset.
    pub(super) fn finish(&mut self, key: usize, reason: Reason) {
        self.tell_end(key, reason);
        self.leave(key, reason);
        let held = &mut self.held[key];
        let until_close = held.cold.poll().is_none() && held.framing == Framing::UntilClose;
        if held.cold.client.keep_alive && !until_close {
            return self.stay(key);
        }
        held.stage = Stage::Lingering;
        held.wire.close();
        let is_socket = held.cold.conversation().is_some();
        self.wheel.schedule(key, self.tick + ticks(LINGER));
        // It may have been left unread for a while.
        if is_socket {
            self.hear_socket(key);
        }
    }

    /// Ends a connection without a word: it left, its socket is broken, or it is too slow.
    pub(super) fn cut(&mut self, key: usize, reason: Reason) {
        if !self.held[key].is_over() {
            self.leave(key, reason);
        }
        self.forget(key);
    }

    /// Closes the socket and frees the place.
    pub(super) fn forget(&mut self, key: usize) {
        self.wheel.cancel(key);
        if let Some(held) = self.held.remove(key) {
            self.deregister(&held);
        }
    }

    /// Takes a connection off its channels, and says in metrics and log that its hold is over.
    fn leave(&mut self, key: usize, reason: Reason) {
        let held = &mut self.held[key];
        if held.blocked() {
            held.forget_pending();
            self.measures.slow.dec();
        }
        self.leave_channels(key);
        self.tags.remove(key as u32);
        self.attendance.left(key as u32);
        self.partings.remove(&key);
        let held = &self.held[key];
        let time = TICK * self.tick.saturating_sub(held.cold.since);
        self.measures.closed(held.transport, reason, time, held.bytes);
        self.log_end(held, reason, time);
    }

    fn leave_channels(&mut self, key: usize) {
        let held = &mut self.held[key];
        let memberships = std::mem::replace(&mut held.memberships, super::memberships::Memberships::none());
        self.tap.leave(memberships.channels(), self.now);
        for (channel, place) in memberships.pairs() {
            self.leave_place(channel, place);
        }
    }

    /// Takes a connection out of the list of a channel's members; the last of them moves into its place.
    pub(super) fn leave_place(&mut self, channel: ChannelId, place: u32) {
        let Some(members) = self.members.get_mut(&channel) else { return };
        members.swap_remove(place as usize);
        match members.get(place as usize) {
            Some(&moved) => self.held[moved as usize].memberships.move_to(channel, place),
            None if members.is_empty() => drop(self.members.remove(&channel)),
            None => {}
        }
    }

    fn log_end(&self, held: &Held, reason: Reason, time: Duration) {
        let Some(subject) = &held.cold.subject else { return };
        let end = HoldEnd {
            status: held.cold.status,
            transport: transport::transport(held.transport).name(),
            channels: held.cold.channels as usize,
            reason: reason.word(),
            events: held.events.into(),
            bytes: held.bytes,
            held: time,
        };
        self.log.hold_ended(subject, &end);
    }

    /// Draws the order in which connections end. None of them stays for another request from now on, however it ends.
    pub(super) fn begin_draining(&mut self, spread: Duration) {
        self.close_those_between();
        let mut left: Vec<u32> = self.held.keys().map(|key| key as u32).collect();
        left.iter().for_each(|key| self.held[*key as usize].cold.client.keep_alive = false);
        left.sort_by_cached_key(|key| RandomState::new().hash_one(key));
        self.drain = Some(Drain { total: left.len(), left, began: self.now, spread });
    }

    /// Ends as many connections as its time has come for.
    pub(super) fn go_on_draining(&mut self) {
        while let Some(key) = self.drain.as_mut().and_then(|drain| drain.next(self.now)) {
            if self.held.contains(key as usize) {
                self.end(key as usize, Reason::Drain);
            }
        }
    }
}

impl Drain {
    fn next(&mut self, now: Instant) -> Option<u32> {
        let passed = (now - self.began).as_secs_f64() / self.spread.as_secs_f64().max(0.001);
        let due = (self.total as f64 * passed).ceil() as usize;
        let ended = self.total - self.left.len();
        if ended < due { self.left.pop() } else { None }
    }
}

/// How long so many take at this rate.
pub(super) fn time_for(rate: Rate, count: usize) -> Duration {
    (rate.per / rate.count.get()).saturating_mul(u32::try_from(count).unwrap_or(u32::MAX))
}

/// A time in `0..limit` that differs from call to call; nothing secret depends on it.
pub(super) fn random_within(limit: Duration) -> Duration {
    let number = RandomState::new().build_hasher().finish();
    limit.mul_f64((number >> 11) as f64 / (1u64 << 53) as f64)
}
