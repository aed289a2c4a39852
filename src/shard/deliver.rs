//! A turn: everything new goes to every connection that can be written.

use std::sync::Arc;

use super::event_loop::{EventLoop, Outcome, ticks};
use super::finish::LAST_WORDS;
use super::held::{Reason, Stage};
use super::memberships::Memberships;
use super::runs;
use crate::hub::{Missed, News, Turn};
use crate::message::{Entry, Frame, Position};
use crate::transport::{self, Delivery};

/// What has to happen to a connection once the list that it stands in is whole again.
pub(super) enum Afterwards {
    /// Its answer is written.
    Finish(Reason),
    /// Its socket is broken.
    Cut(Reason),
    /// It is told to end.
    End(Reason),
    /// Several of its channels have news, which have to be merged.
    CatchUp,
}

impl EventLoop {
    /// Takes what is new from the hub and delivers it.
    pub(super) fn take_news(&mut self) {
        let mut turn = std::mem::take(&mut self.turn);
        self.tap.take(&mut turn, self.now);
        self.seen = turn.head;
        self.deliver(&turn);
        for channel in &turn.ended {
            let members = self.members.get(channel).cloned().unwrap_or_default();
            members.into_iter().for_each(|key| self.end(key as usize, Reason::ChannelClosed));
        }
        turn.clear();
        self.turn = turn;
    }

    fn deliver(&mut self, turn: &Turn) {
        for news in &turn.news {
            let Some(members) = self.members.get_mut(&news.channel) else { continue };
            let members = std::mem::take(members);
            self.catch_up_those_who_lost(news, &members);
            self.deliver_channel(turn.entries(news), &members, turn);
            self.members.insert(news.channel, members);
            self.do_afterwards();
        }
        if let Some(oldest) = turn.entries.iter().map(|entry| entry.published).min() {
            self.measures.fanout.observe(oldest.elapsed().as_secs_f64());
        }
    }

    /// What this turn should have brought is gone already: those who need it hear of the gap before what is left.
    fn catch_up_those_who_lost(&mut self, news: &News, members: &[u32]) {
        let Some(lost_upto) = news.lost_upto else { return };
        for &key in members {
            let held = &mut self.held[key as usize];
            if held.position < lost_upto {
                held.behind = true;
                self.afterwards.push((key, Afterwards::CatchUp));
            }
        }
    }

    /// The members of the channel must not change in here: whatever ends is put off.
    fn deliver_channel(&mut self, entries: &[Arc<Entry>], members: &[u32], turn: &Turn) {
        let turn_bytes = self.settings.load().turn_bytes;
        for segment in runs::segments(entries, turn_bytes) {
            self.runs.clear();
            for &key in members {
                self.deliver_segment(key, segment, turn);
            }
            self.fire();
        }
    }

    fn has_other_news(&self, key: u32, turn: &Turn) -> bool {
        match &self.held[key as usize].memberships {
            Memberships::One { .. } => false,
            several @ Memberships::Many(_) => {
                let own = |news: &&News| several.channels().contains(&news.channel);
                turn.news.iter().filter(own).nth(1).is_some()
            }
        }
    }

    /// One connection gets what it doesn't have of a segment. A full socket gets it when it is written again.
    fn deliver_segment(&mut self, key: u32, segment: &[Arc<Entry>], turn: &Turn) {
        let several = self.has_other_news(key, turn);
        let held = &mut self.held[key as usize];
        if held.stage != Stage::Live {
            return;
        }
        if held.blocked() || held.behind {
            held.behind = true;
            return;
        }
        if several {
            held.behind = true;
            return self.afterwards.push((key, Afterwards::CatchUp));
        }
        let skipped = segment.partition_point(|entry| entry.sequence() <= held.position);
        let Some(last) = segment[skipped..].last() else { return };
        if held.grips(&segment[skipped..]) {
            return self.grip_segment(key, &segment[skipped..]);
        }
        held.position = last.sequence();
        let events = segment.len() - skipped;
        self.measures.delivered(held.transport, events);
        if held.cold.poll().is_some() {
            let body = self.runs.answer(segment, skipped, held.transport).clone();
            return self.answer_afterwards(key, &body, events);
        }
        let run = self.runs.stream(segment, skipped, held.transport, held.framing);
        held.wrote_at = self.tick;
        if held.wire.bare().is_some() {
            held.events = held.events.saturating_add(events as u32);
            self.volley.add(key, run);
            if self.volley.is_full() {
                self.fire();
            }
            return;
        }
        let sent = held.send(run, events, &mut self.scratch);
        if let Outcome::Broken(reason) = self.settle(key as usize, sent) {
            self.afterwards.push((key, Afterwards::Cut(reason)));
        }
    }

    fn answer_afterwards(&mut self, key: u32, body: &Frame, events: usize) {
        match self.write_answer(key as usize, body, events) {
            Outcome::Done => self.afterwards.push((key, Afterwards::Finish(Reason::Answered))),
            Outcome::Waiting => {}
            Outcome::Broken(reason) => self.afterwards.push((key, Afterwards::Cut(reason))),
        }
    }

    fn do_afterwards(&mut self) {
        let mut afterwards = std::mem::take(&mut self.afterwards);
        for (key, what) in afterwards.drain(..) {
            let key = key as usize;
            match what {
                Afterwards::Finish(reason) => self.finish(key, reason),
                Afterwards::Cut(reason) => self.cut(key, reason),
                Afterwards::End(reason) => self.end(key, reason),
                Afterwards::CatchUp => self.catch_up(key),
            }
        }
        self.afterwards = afterwards;
    }

    /// Writes what a connection has missed, merged over its channels, until it has everything or is full.
    pub(super) fn catch_up(&mut self, key: usize) {
        self.go_on_ruled(key);
        while let Some(held) = self.held.get_mut(key).filter(|held| !held.cold.is_asking() && !held.waits()) {
            let up_to_date = held.position >= self.seen;
            held.behind = !up_to_date;
            if up_to_date || held.stage != Stage::Live || held.blocked() {
                return;
            }
            let limit = self.settings.load().turn_bytes;
            self.entries.clear();
            self.gaps.clear();
            let channels = held.memberships.channels();
            let (after, upto) = (held.position, self.seen);
            let Missed { reached, too_slow } =
                self.tap.missed(channels, after, upto, limit, self.now, &mut self.entries, &mut self.gaps);
            held.position = reached;
            let transport = held.transport;
            if !self.gaps.is_empty() {
                self.measures.gaps(transport, self.gaps.len());
                if too_slow {
                    return self.cut(key, Reason::Slow);
                }
            }
            if self.entries.is_empty() && self.gaps.is_empty() {
                continue;
            }
            if held.grips(&self.entries) {
                self.grip_missed(key);
                continue;
            }
            self.measures.delivered(transport, self.entries.len());
            match transport::transport(transport).delivery() {
                Delivery::OneAnswer | Delivery::AtOnce => return self.answer_missed(key),
                Delivery::Stream | Delivery::Socket => self.stream_missed(key),
            }
        }
    }

    fn stream_missed(&mut self, key: usize) {
        let held = &mut self.held[key];
        let frame = runs::stream_with_gaps(&self.gaps, &self.entries, held.transport, held.framing);
        held.wrote_at = self.tick;
        held.behind = held.position < self.seen;
        let sent = held.send(&frame, self.entries.len(), &mut self.scratch);
        if let Outcome::Broken(reason) = self.settle(key, sent) {
            self.cut(key, reason);
        }
    }

    /// A poll is answered with what `entries` and `gaps` hold.
    pub(super) fn answer_missed(&mut self, key: usize) {
        let held = &self.held[key];
        let position = Position { epoch: self.epoch, sequence: held.position };
        let body =
            runs::answer(&self.entries, &runs::shared(position, !self.gaps.is_empty()), held.transport);
        self.answer(key, &body, self.entries.len());
    }

    /// A poll is answered with a body that has so many messages.
    pub(super) fn answer(&mut self, key: usize, body: &Frame, events: usize) {
        match self.write_answer(key, body, events) {
            Outcome::Done => self.finish(key, Reason::Answered),
            Outcome::Waiting => {}
            Outcome::Broken(reason) => self.cut(key, reason),
        }
    }

    /// Writes head and body of a poll's answer, which is its last.
    fn write_answer(&mut self, key: usize, body: &Frame, events: usize) -> Outcome {
        let held = &mut self.held[key];
        let Some(poll) = held.cold.poll() else { return Outcome::Broken(Reason::WriteError) };
        let body = &poll.body(body);
        let head = poll.head_for(body.payload().len(), held.cold.client);
        held.stage = Stage::Ending(Reason::Answered);
        held.events = held.events.saturating_add(events as u32);
        let sent = held.send_answer(head, body, &mut self.scratch);
        self.wheel.schedule(key, self.tick + ticks(LAST_WORDS));
        self.settle(key, sent)
    }
}
