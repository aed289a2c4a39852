//! A client of GRIP that has somebody to be asked for what it lacks: its owner is told of it, and what comes of that is put
//! behind the stream, or is the answer, or another hold.
//!
//! A client that is asked for is behind, and is given nothing, until it is told how it goes on. Then it joins its channels
//! as if it had just come, at the moment when its application was asked; it leaves the ones that it was on afterwards, so
//! that none of them vanishes in between.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem;
use std::sync::Arc;

use super::arrive::whole_answer;
use super::cold::Manner;
use super::event_loop::{EventLoop, Outcome, ticks};
use super::grip::{Grip, Own};
use super::held::{Held, Reason, Stage};
use super::memberships::Memberships;
use crate::hold::grip::{Company, Onward, Resume, Way};
use crate::hold::{Answer, Ear, Hold};
use crate::message::{ChannelName, Frame, Sequence, Start};

/// The links of a stream.
pub(super) struct Linked {
    pub(super) ear: Ear,
    next: Option<Way>,
    /// Tick at which its application is asked, unless something has come on all of its channels.
    due: u32,
    /// What it is told while its socket is full.
    waiting: Option<Arc<Resume>>,
}

impl Grip {
    /// Tick at which something has to be done for it.
    pub(super) fn due(&self) -> u32 {
        let linked = self.linked().filter(|_| !self.is_asking).map_or(u32::MAX, |linked| linked.due);
        linked.min(self.delayed_until())
    }

    /// Whether there is somebody to ask for what it lacks.
    pub(super) fn has_way(&self) -> bool {
        self.linked().is_some_and(|linked| linked.next.is_some())
    }
}

impl Held {
    /// Whether its channels were silent for as long as its link says.
    pub(super) fn is_silent_for_long(&self, now: u32) -> bool {
        self.cold.grip_of_stream().is_some_and(|grip| grip.due() <= now)
    }
}

impl EventLoop {
    /// What GRIP needs to know of a stream, with its links.
    pub(super) fn linked(&self, mut grip: Grip, hold: &Hold, ear: Option<Box<Ear>>) -> Grip {
        let next = hold.grip.as_ref().and_then(|company| company.ways.next.clone());
        let due = due(next.as_ref(), self.tick);
        if let Some(ear) = ear {
            grip.own = Own::Linked(Box::new(Linked { ear: *ear, next, due, waiting: None }));
        }
        grip
    }

    /// A client may lack something; false where there is nobody to be asked for it. The lists that it stands in don't
    /// change.
    pub(super) fn ask_for_missing(&mut self, key: usize) -> bool {
        let inbox = self.inbox();
        let held = &mut self.held[key];
        // What waits for a filter counts as known already, and is asked for afterwards if it is missing.
        if held.stage != Stage::Live || held.cold.is_asking() || held.waits() {
            return true;
        }
        let Some(grip) = held.cold.grip() else { return false };
        let last_ids = grip.session.last_ids().map(|(name, id)| (name.clone(), id.into())).collect();
        let next = grip.linked().and_then(|linked| linked.next.as_ref());
        let target = next.map(|way| way.target.clone());
        let Some(ear) = held.cold.ear() else { return false };
        ear.missing(target, last_ids, inbox, key as u32);
        held.behind = true;
        if let Some(grip) = held.cold.grip() {
            grip.is_asking = true;
        }
        true
    }

    /// Its link's time is over.
    pub(super) fn ask_after_silence(&mut self, key: usize) {
        let tick = self.tick;
        let Some(grip) = self.held[key].cold.grip() else { return };
        let was_silent = !grip.session.take_heard();
        if let Some(linked) = grip.linked_mut() {
            linked.due = due(linked.next.as_ref(), tick);
        }
        if was_silent {
            self.ask_for_missing(key);
        }
    }

    /// What was told while the socket was full.
    pub(super) fn resume_waiting(&mut self, key: usize) {
        let Some(held) = self.held.get_mut(key).filter(|held| !held.blocked()) else { return };
        let linked = held.cold.grip().and_then(|grip| grip.linked_mut());
        if let Some(resume) = linked.and_then(|linked| linked.waiting.take()) {
            self.resume(key, resume);
        }
    }

    /// A stream is told how it goes on.
    pub(super) fn resume(&mut self, key: usize, resume: Arc<Resume>) {
        let held = &mut self.held[key];
        let is_blocked = held.blocked();
        let Some(grip) = held.cold.grip().filter(|grip| grip.is_asking) else { return };
        if is_blocked {
            if let Some(linked) = grip.linked_mut() {
                linked.waiting = Some(resume);
            }
            return;
        }
        grip.is_asking = false;
        let reached = match &resume.onward {
            Some(Onward { wishes, company }) => match self.rejoin(key, wishes, company) {
                Some(reached) => Some(reached),
                None => return self.end(key, Reason::Listener),
            },
            None => None,
        };
        let held = &mut self.held[key];
        let outcome = match resume.body.payload() {
            [] => Outcome::Done,
            _ => {
                held.wrote_at = self.tick;
                let sent = held.send(&resume.body, 0, &mut self.scratch);
                self.settle(key, sent)
            }
        };
        match (outcome, reached) {
            (Outcome::Broken(reason), _) => self.cut(key, reason),
            (_, None) => self.end(key, Reason::Listener),
            (_, Some(reached)) => {
                self.schedule(key);
                self.open_own(key, reached);
            }
        }
    }

    /// Puts a client on the channels that it goes on with; what was published on them since is in `entries` then. Gives
    /// how far these go, or nothing where the hub refuses it.
    fn rejoin(&mut self, key: usize, wishes: &[(ChannelName, Start)], company: &Company) -> Option<Sequence> {
        self.entries.clear();
        self.gaps.clear();
        let limit = self.settings.load().turn_bytes;
        let joined = self.tap.join(wishes, limit, self.now, &mut self.entries, &mut self.gaps);
        let joined = joined.inspect_err(|refused| tracing::debug!(%refused, "a stream can't go on")).ok()?;
        self.seen = self.seen.max(joined.head);
        let places: Vec<u32> = joined.channels.iter().map(|channel| self.take_place(*channel, key)).collect();
        let memberships = Memberships::new(&joined.channels, &places);
        let before = mem::replace(&mut self.held[key].memberships, memberships);
        self.tap.leave(before.channels(), self.now);
        before.pairs().for_each(|(channel, place)| self.leave_place(channel, place));
        let held = &mut self.held[key];
        (held.position, held.behind) = (joined.position, !joined.complete);
        let tick = self.tick;
        if held.cold.poll().is_none() {
            held.cold.keepalive = company.keepalive.as_ref().map_or(0, |sign| ticks(sign.timeout));
        }
        if let Some(grip) = held.cold.grip() {
            grip.session = company.session.clone();
            grip.wait_no_more();
            grip.keepalive = company.keepalive.clone().map(Box::new);
            grip.beat_at = tick;
            if let Some(linked) = grip.linked_mut() {
                linked.next = company.ways.next.clone();
                linked.due = due(linked.next.as_ref(), tick);
            }
        }
        Some(joined.position)
    }

    /// The client of a response is held as its application has said when its request was asked again.
    pub(super) fn hold_again(&mut self, key: usize, hold: &Hold) {
        let Some(company) = hold.grip.as_deref().filter(|_| self.held[key].cold.is_asking()) else { return };
        if self.rejoin(key, &hold.wishes, company).is_none() {
            return self.end(key, Reason::ChannelClosed);
        }
        let now = self.tick;
        let cold = &mut self.held[key].cold;
        if let Some(grip) = cold.grip() {
            grip.is_asking = false;
        }
        if let Manner::Poll(poll) = &mut cold.manner {
            let reason = company.reason.as_deref();
            poll.fallback = Frame::raw(whole_answer(&hold.answer, reason, cold.client));
        }
        cold.status = hold.answer.status.as_u16();
        cold.until = hold.timeout.map_or(u32::MAX, |timeout| now.saturating_add(ticks(timeout)));
        self.schedule(key);
        self.open_poll(key);
    }

    /// The client of a response gets the answer that its application has given when its request was asked again.
    pub(super) fn answer_whole(&mut self, key: usize, answer: &Answer, reason: Option<&str>) {
        let cold = &mut self.held[key].cold;
        if cold.poll().is_none() || !cold.is_asking() {
            return;
        }
        cold.status = answer.status.as_u16();
        let client = cold.client;
        let Some(grip) = cold.grip() else { return };
        let bytes = grip.answer(whole_answer(answer, reason, client), client);
        match self.grip_answer(key, bytes) {
            Outcome::Done => self.finish(key, Reason::Answered),
            Outcome::Waiting => {}
            Outcome::Broken(reason) => self.cut(key, reason),
        }
    }

    /// Has the applications of all that GRIP holds asked, as far as they can be.
    pub(super) fn ask_for_all(&mut self) {
        let keys: Vec<usize> = self.held.keys().filter(|key| self.held[*key].cold.has_grip()).collect();
        for key in keys {
            let cold = &mut self.held[key].cold;
            let has_way = cold.grip().is_some_and(|grip| grip.has_way());
            if cold.poll().is_some() && !self.ask_for_missing(key) {
                self.end(key, Reason::ChannelClosed);
            } else if has_way {
                self.ask_for_missing(key);
            }
        }
    }
}

/// When a stream is asked for if nothing comes. All that have the same link are asked for at the same time, so that one
/// question is for all of them, and different links at different times; the first time comes after half of it at least.
fn due(way: Option<&Way>, now: u32) -> u32 {
    let Some(Way { target, timeout }) = way else { return u32::MAX };
    let period = u64::from(ticks(*timeout));
    let mut hasher = DefaultHasher::new();
    target.hash(&mut hasher);
    let phase = hasher.finish() % period;
    let earliest = u64::from(now) + period.div_ceil(2);
    let due = earliest + (period + phase - earliest % period) % period;
    u32::try_from(due).unwrap_or(u32::MAX - 1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn streams_with_one_link_are_asked_for_together_and_each_at_its_time() {
        let due = |target: &str, now| {
            let way = Way { target: target.into(), timeout: Duration::from_secs(2) };
            super::due(Some(&way), now)
        };
        let first = due("/a", 100);
        assert!((104..=112).contains(&first), "{first}");
        assert_eq!(due("/a", first), first + 8);
        for now in 100..first - 4 {
            assert_eq!(due("/a", now), first, "{now}");
        }
        let phases: std::collections::HashSet<_> =
            (0..99).map(|link| due(&format!("/{link}"), 0) % 8).collect();
        assert_eq!(phases.len(), 8);
        assert_eq!(super::due(None, 7), u32::MAX);
    }
}
