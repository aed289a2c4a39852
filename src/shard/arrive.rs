//! A connection arrives: it joins its channels, gets its head and what it missed, and is held.

use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use hyper::{StatusCode, Version};

use super::cold::{Cold, Companion, Manner, PollAnswer, With};
use super::event_loop::{EventLoop, Outcome, ticks};
use super::finish::{RETRY_MIN, random_within, time_for};
use super::grip::Grip;
use super::held::{Held, Reason, Stage};
use super::memberships::Memberships;
use super::runs;
use super::socket::Conversation;
use crate::hold::{
    Answer, ClientSide, Departure, Ear, Hold, Home, Length, Permit, Source, Writer, write_head, write_reason,
};
use crate::hub::{ChannelId, Joined};
use crate::message::{Frame, Framing, Position, Sequence};
use crate::transport::{self, Delivery, MediaType, Opening};
use crate::wire::Wire;

impl EventLoop {
    /// Takes a connection in. A hub that was asked for a place before may have none by now.
    pub(super) fn arrive(&mut self, departure: Departure) {
        // A wire that is dropped is so before its mooring.
        let Departure { mooring, wire, read_ahead, mut hold, permit, home } = departure;
        self.spread_return(&mut hold, &permit);
        hold.client.keep_alive &= self.drain.is_none();
        // Before it can be seen on its channels: an order to end that is given later comes later, too.
        let is_revoked = self.tickets.have_revoked(&hold);
        self.entries.clear();
        self.gaps.clear();
        let limit = self.settings.load().turn_bytes;
        let joined = self.tap.join(&hold.wishes, limit, self.now, &mut self.entries, &mut self.gaps);
        let (joined, is_refused) = match joined {
            Ok(joined) => (joined, false),
            Err(refused) => {
                tracing::debug!(%refused, "a connection could not be held");
                turn_away(&mut hold);
                let (channels, head) = (Vec::new(), self.seen);
                (Joined { channels, position: head, head, complete: true }, true)
            }
        };
        // What is missing is caught up to here, even if no turn was taken yet.
        self.seen = self.seen.max(joined.head);
        let arrival = Arrival { wire, read_ahead, permit, home, ear: hold.ear.take() };
        let known = mooring.map(|mooring| mooring.into_key() as usize);
        let (key, has_stirred) = self.settle_in(arrival, known, &hold, &joined);
        if known.is_none()
            && let Err(error) = self.register(key)
        {
            tracing::error!(%error, "a connection can't be watched");
            return self.cut(key, Reason::WriteError);
        }
        if let Some(tag) = &hold.tag {
            self.tags.add(key as u32, tag);
            self.attendance.came(key as u32, &hold);
        }
        self.measures.opened(hold.transport);
        if is_refused {
            return self.end(key, Reason::Limit);
        }
        self.measures.gaps(hold.transport, self.gaps.len());
        let opening = self.opening(&hold, &joined);
        let is_late = self.is_late(&hold, joined.head);
        match transport::transport(hold.transport).delivery() {
            Delivery::Stream | Delivery::Socket => self.open_stream(key, &hold, &opening, joined.complete),
            Delivery::OneAnswer => self.open_poll(key),
            Delivery::AtOnce => self.answer_at_once(key, &opening),
        }
        if is_late && self.held.contains(key) {
            self.ask_for_missing(key);
        }
        self.tell_owner(key);
        self.end_if_leaving(key);
        self.end_if_revoked(key, is_revoked);
        self.hear_beginning(key);
        // The socket announces only what comes from now on.
        if self.held.get(key).is_some_and(|held| has_stirred || held.wire.holds_input()) {
            self.hear(key);
        }
    }

    /// Whether the application has counted to another message than the last one that was published before its answer was
    /// asked for, on a channel on which nothing has come since. What has come since it joined, at `head`, will be told it.
    fn is_late(&self, hold: &Hold, head: Sequence) -> bool {
        let Some(company) = &hold.grip else { return false };
        company.session.counted().any(|(channel, known)| {
            self.entries.iter().all(|entry| entry.message.channel != *channel)
                && self.tap.last_id(channel, head).is_some_and(|last| *last != *known)
        })
    }

    /// Tells the client of a stream when to come back, so that all who are held now would do so at the configured rate if
    /// all were cut off at once.
    fn spread_return(&self, hold: &mut Hold, permit: &Permit) {
        let is_answer = transport::transport(hold.transport).delivery().is_answer();
        let Some(rate) = self.settings.load().returns.filter(|_| !is_answer) else { return };
        let spread = random_within(time_for(rate, permit.taken()));
        hold.retry = Some(hold.retry.unwrap_or(RETRY_MIN) + spread);
    }

    /// Gives it the key that it had, or a new one; whether something has happened to its socket while it was away.
    fn settle_in(
        &mut self,
        arrival: Arrival,
        known: Option<usize>,
        hold: &Hold,
        joined: &Joined,
    ) -> (usize, bool) {
        let opening = self.opening(hold, joined);
        let (wire, cold) = self.cold(arrival, hold, &opening);
        let key = known.unwrap_or_else(|| self.held.next_key());
        let places: Vec<u32> = joined.channels.iter().map(|channel| self.take_place(*channel, key)).collect();
        let memberships = Memberships::new(&joined.channels, &places);
        let framing = framing(hold);
        let held = Held::new(wire, hold.transport, framing, memberships, joined.position, Box::new(cold));
        let has_stirred = match known {
            Some(key) => self.held.fill(key, held),
            None => {
                self.held.insert(held);
                false
            }
        };
        self.schedule(key);
        (key, has_stirred)
    }

    /// Takes a connection into the list of a channel's members.
    pub(super) fn take_place(&mut self, channel: ChannelId, key: usize) -> u32 {
        let members = self.members.entry(channel).or_default();
        members.push(key as u32);
        (members.len() - 1) as u32
    }

    fn opening<'a>(&self, hold: &'a Hold, joined: &Joined) -> Opening<'a> {
        let media_type = hold.answer.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        Opening {
            body: &hold.answer.body,
            media_type,
            retry: hold.retry,
            position: Position { epoch: self.epoch, sequence: joined.position },
            gap: !self.gaps.is_empty(),
            parameters: &hold.parameters,
        }
    }

    fn cold(&self, arrival: Arrival, hold: &Hold, opening: &Opening) -> (Wire, Cold) {
        let Arrival { wire, read_ahead, permit, home, ear } = arrival;
        let settings = self.settings.load();
        let transport = transport::transport(hold.transport);
        let manner = match transport.delivery() {
            Delivery::Stream => {
                let grip = self.grip(hold).map(|grip| self.linked(grip, hold, ear));
                Manner::Stream(grip.map(|grip| Box::new(Companion { conversation: None, grip: Some(grip) })))
            }
            Delivery::Socket => {
                let conversation = Some(Conversation::new(ear));
                Manner::Stream(Some(Box::new(Companion { conversation, grip: self.grip(hold) })))
            }
            Delivery::OneAnswer | Delivery::AtOnce => {
                Manner::Poll(poll_answer(hold, opening, self.grip(hold), ear))
            }
        };
        let is_poll = transport.delivery().is_answer();
        let timeout = hold.timeout.or(is_poll.then_some(settings.poll_timeout));
        let silence = hold.keepalive.or(settings.keepalive);
        let own_sign = || hold.grip.as_ref().is_some_and(|company| company.keepalive.is_some());
        let has_sign = || own_sign() || !transport.keep_alive().is_empty();
        let silence = silence.filter(|_| !is_poll && has_sign());
        let since = self.tick;
        let cold = Cold {
            permit,
            home,
            client: hold.client,
            subject: hold.subject.clone(),
            manner,
            read_ahead,
            status: hold.answer.status.as_u16(),
            channels: hold.wishes.len() as u16,
            since,
            until: timeout.map_or(u32::MAX, |timeout| since.saturating_add(ticks(timeout))),
            keepalive: silence.map_or(0, ticks),
        };
        (wire, cold)
    }

    fn grip(&self, hold: &Hold) -> Option<Grip> {
        hold.grip.as_ref().map(|company| Grip::new(company, self.tick))
    }

    /// Head, the application's beginning, gaps and what was missed, in one write.
    fn open_stream(&mut self, key: usize, hold: &Hold, opening: &Opening, complete: bool) {
        let framing = framing(hold);
        let mut bytes = stream_head(hold, opening);
        let transport = transport::transport(hold.transport);
        let mut beginning = Vec::new();
        transport.open(opening, &mut beginning);
        framing.lay(&beginning, &mut bytes);
        let is_own = self.held[key].grips(&self.entries);
        let missed = if is_own { 0 } else { self.entries.len() };
        if !is_own {
            runs::lay_with_gaps(&self.gaps, &self.entries, hold.transport, framing, &mut bytes);
        }
        let sent = self.held[key].send_own(bytes, missed, &mut self.scratch);
        self.measures.delivered(hold.transport, missed);
        self.held[key].behind = !complete;
        let outcome = self.settle(key, sent);
        if is_own && !matches!(outcome, Outcome::Broken(_)) {
            return self.open_own(key, opening.position.sequence);
        }
        match outcome {
            Outcome::Done => self.catch_up(key),
            Outcome::Waiting => {}
            Outcome::Broken(reason) => self.cut(key, reason),
        }
    }

    /// What a stream was missing whose bytes are its own, behind its beginning, or once that is written.
    pub(super) fn open_own(&mut self, key: usize, reached: Sequence) {
        self.grip_begin(key);
        let held = &mut self.held[key];
        if held.blocked() {
            held.position = self.entries.first().map_or(reached, |first| Sequence(first.sequence().0 - 1));
            held.behind = true;
            return;
        }
        self.grip_missed(key);
        self.catch_up(key);
    }

    /// A poll that has something to say already is answered at once.
    pub(super) fn open_poll(&mut self, key: usize) {
        if self.held[key].grips(&self.entries) {
            self.grip_begin(key);
            self.grip_missed(key);
            return self.catch_up(key);
        }
        if !self.entries.is_empty() || !self.gaps.is_empty() {
            self.measures.delivered(self.held[key].transport, self.entries.len());
            self.answer_missed(key);
        }
    }

    /// A poll that isn't held says what there is, in words of its own.
    fn answer_at_once(&mut self, key: usize, opening: &Opening) {
        let transport = self.held[key].transport;
        self.measures.delivered(transport, self.entries.len());
        let body = runs::answer(&self.entries, opening, transport);
        self.answer(key, &body, self.entries.len());
    }

    /// What the client of a WebSocket has said before it was answered.
    fn hear_beginning(&mut self, key: usize) {
        let Some(held) = self.held.get_mut(key) else { return };
        if held.cold.conversation().is_some() {
            let said = std::mem::take(&mut held.cold.read_ahead);
            self.listen(key, &said);
        }
    }

    fn end_if_leaving(&mut self, key: usize) {
        let live = self.held.get(key).is_some_and(|held| held.stage == Stage::Live);
        if live && self.drain.is_some() {
            self.end(key, Reason::Drain);
        }
    }
}

/// Seconds after which a client that finds no place may come again, as where it is refused before it leaves.
const RETRY_SECONDS: u64 = 5;

/// The client gets the answer that it would have got before its connection left, as a poll that is over at once.
fn turn_away(hold: &mut Hold) {
    let text = "503 Service Unavailable: too many connections are held on a channel\n";
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(RETRY_AFTER, RETRY_SECONDS.into());
    hold.answer = Answer { status: StatusCode::SERVICE_UNAVAILABLE, headers, body: text.into() };
    (hold.transport, hold.source) = (transport::LONG_POLL, Source::Application);
    (hold.tag, hold.grip) = (None, None);
    hold.wishes.clear();
    // Its owner hears that it was lost.
    drop(hold.ear.take());
}

/// What arrives besides the hold.
struct Arrival {
    wire: Wire,
    read_ahead: Vec<u8>,
    permit: Permit,
    home: Home,
    ear: Option<Box<Ear>>,
}

fn framing(hold: &Hold) -> Framing {
    let bare = hold.is_socket() || matches!(hold.client.version, Version::HTTP_10 | Version::HTTP_2);
    if bare { Framing::UntilClose } else { Framing::Chunked }
}

/// The head of a stream. A status without a body can't begin one, so it becomes 200.
fn stream_head(hold: &Hold, opening: &Opening) -> Vec<u8> {
    let mut head = Vec::with_capacity(512);
    let length = if hold.is_socket() { Length::Upgraded } else { Length::Unknown };
    write_own_head(hold, opening, length, &mut head);
    head
}

/// The head of what the transport writes.
fn write_own_head(hold: &Hold, opening: &Opening, length: Length, out: &mut Vec<u8>) {
    let Answer { status, headers, .. } = &hold.answer;
    let is_whole = Length::of(*status, 0) != Length::Bodiless && *status != StatusCode::PARTIAL_CONTENT;
    let status = if is_whole { *status } else { StatusCode::OK };
    let media_type = match transport::transport(hold.transport).media_type() {
        MediaType::Own(media_type) => Some(media_type),
        MediaType::Nothing => None,
        MediaType::Default(media_type) => (!headers.contains_key(CONTENT_TYPE)).then_some(media_type),
    };
    let fields = transport::fields(hold.transport, opening);
    write_head(status, headers, Writer::Transport(media_type), &fields, length, hold.client, out);
    if let Some(reason) = reason(hold) {
        write_reason(reason, out);
    }
}

/// Both answers of a poll, so that no header map is kept for each connection.
fn poll_answer(hold: &Hold, opening: &Opening, grip: Option<Grip>, ear: Option<Box<Ear>>) -> PollAnswer {
    let mut head = Vec::with_capacity(512);
    let with = match grip {
        // Its head is made of the answer that it gets if nothing happens.
        Some(grip) => Some(With::Grip(grip)),
        None => {
            write_own_head(hold, opening, Length::Later, &mut head);
            transport::transport(hold.transport).around(&hold.parameters).map(With::Around)
        }
    };
    let with = with.map(Box::new);
    let fallback = match hold.source {
        Source::Application => application_answer(hold),
        Source::Ticket => Vec::new(),
    };
    let mut answer = PollAnswer { fallback: Frame::raw(fallback), head: head.into(), with, ear };
    if hold.source == Source::Ticket {
        let nothing = runs::shared(opening.position, opening.gap);
        answer.fallback = answer.whole(&runs::answer(&[], &nothing, hold.transport), hold.client);
    }
    answer
}

/// The application's own answer.
fn application_answer(hold: &Hold) -> Vec<u8> {
    whole_answer(&hold.answer, reason(hold), hold.client)
}

/// A whole answer of an application, in words of its own behind the status where there are some.
pub(super) fn whole_answer(answer: &Answer, reason: Option<&str>, client: ClientSide) -> Vec<u8> {
    let Answer { status, headers, body } = answer;
    let length = Length::of(*status, body.len());
    let mut out = Vec::with_capacity(512 + body.len());
    write_head(*status, headers, Writer::Application, &[], length, client, &mut out);
    if let Some(reason) = reason {
        write_reason(reason, &mut out);
    }
    if length != Length::Bodiless {
        out.extend_from_slice(body);
    }
    out
}

fn reason(hold: &Hold) -> Option<&str> {
    hold.grip.as_ref().and_then(|company| company.reason.as_deref())
}
