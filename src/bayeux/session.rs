//! One client's session: the connect that it has open, the socket that it is on, what is on its way, when it ends; pure.
//!
//! At most one answer is on its way; what comes meanwhile waits for its end (`mail.rs`). A client that connects on a
//! WebSocket is told at once what comes, and its connect stays open; one that acknowledges batches gets them by its
//! connects there, too.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::authority::Remembered;
use super::connect::{Connect, Connected, Way};
use super::mail::{Full, Mail, Room};
use crate::config::BayeuxConfig;
use crate::hold::{End, Line};
use crate::hub::ChannelId;
use crate::message::{Entry, Sequence};

/// What holds for the sessions of one route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// As configured for it.
    pub route: BayeuxConfig,
    /// Bytes of one message's data, as for all publishers.
    pub message: usize,
}

/// A client's session.
pub(super) struct Session {
    pub(super) id: Box<str>,
    pub(super) terms: Arc<Terms>,
    /// What its browser is called.
    pub(super) browser: Option<Box<str>>,
    pub(super) subscriptions: HashMap<Box<str>, Subscription>,
    /// What it was allowed or denied before.
    pub(super) remembered: Remembered,
    mail: Mail,
    connect: Option<Connect>,
    /// The socket on which its last connect came.
    socket: Option<u64>,
    flight: Option<Flight>,
    connected: bool,
    /// When it ends, unless a connect comes before; `None` from one until its answer has arrived.
    expires: Option<Instant>,
}

/// Messages on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flight {
    /// With the answer of this hold.
    Poll(u64),
    /// On its socket, with what was said there as the so many-th.
    Socket(u64),
}

/// Where one subscription stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Subscription {
    /// The hub's channel; `None` for a pattern with a wildcard.
    pub(super) channel: Option<ChannelId>,
    /// It begins after this place.
    pub(super) since: Sequence,
}

impl Session {
    pub(super) fn new(
        id: Box<str>,
        terms: Arc<Terms>,
        browser: Option<Box<str>>,
        ack: bool,
        now: Instant,
    ) -> Session {
        let (subscriptions, mail, expires) = (HashMap::new(), Mail::new(ack), Some(now + patience(&terms)));
        let (connect, socket, flight, connected) = (None, None, None, false);
        let remembered = Remembered::default();
        Session {
            id,
            terms,
            browser,
            subscriptions,
            remembered,
            mail,
            connect,
            socket,
            flight,
            connected,
            expires,
        }
    }

    /// That of a client whom an application has handed over. It has no other transport to try, so that its first connect is
    /// held like any other.
    pub(super) fn of_guest(id: Box<str>, terms: Arc<Terms>, now: Instant) -> Session {
        Session { connected: true, ..Session::new(id, terms, None, false, now) }
    }

    /// A message of the channel of one of its subscriptions; whether it is new to it.
    pub(super) fn offer(&mut self, entry: &Arc<Entry>, since: Sequence) -> Result<bool, Full> {
        let room = Room { messages: self.terms.route.queue, bytes: self.terms.route.queue_bytes };
        self.mail.offer(entry, since, room)
    }

    /// A connect comes, with the last batch that its client has.
    pub(super) fn connect(&mut self, ack: Option<u64>) -> Connected {
        let again = self.mail.acknowledge(ack);
        if self.mail.is_counted() {
            self.flight = None;
        }
        self.expires = None;
        let replaced = self.connect.take();
        let first = !std::mem::replace(&mut self.connected, true);
        Connected { replaced, batch: self.mail.batch(), at_once: first || again || self.waits(), first }
    }

    /// Its client is on this socket from now on, or on none; the one where it was. What that one hasn't taken yet is lost
    /// with it.
    pub(super) fn moves_to(&mut self, socket: Option<u64>) -> Option<u64> {
        let before = std::mem::replace(&mut self.socket, socket).filter(|before| Some(*before) != socket)?;
        self.lose_socket();
        Some(before)
    }

    fn lose_socket(&mut self) {
        if let Some(Flight::Socket(_)) = self.flight {
            self.flight = None;
            self.mail.lost();
        }
    }

    /// Its connect is to be held.
    pub(super) fn hold(&mut self, connect: Connect) {
        self.expires = None;
        self.connect = Some(connect);
    }

    /// Whether this hold is that of its connect.
    pub(super) fn waits_for(&self, hold: u64) -> bool {
        self.connect.as_ref().is_some_and(|connect| connect.is_of(hold))
    }

    /// Its connect can be answered.
    pub(super) fn reached(&mut self, line: Line) {
        if let Some(Connect { way: Way::Poll(_, to), .. }) = &mut self.connect {
            *to = Some(line);
        }
    }

    /// Whether a connect is open on a socket since a moment before this one.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        let is_late = |connect: &Connect| {
            matches!(connect.way, Way::Socket(_)) && now >= connect.since + self.terms.route.timeout
        };
        self.connect.as_ref().is_some_and(is_late)
    }

    /// Whether what waits may go with other replies than those to connects.
    pub(super) fn takes_by_the_way(&self) -> bool {
        !self.mail.is_counted() && self.socket.is_none() && self.connect.is_none()
    }

    /// The socket on which it is told at once what comes.
    pub(super) fn pushes_to(&self) -> Option<u64> {
        self.socket.filter(|_| !self.mail.is_counted())
    }

    /// Whether something waits that can go now.
    pub(super) fn waits(&self) -> bool {
        self.flight.is_none() && self.mail.waits()
    }

    /// The connect that can be answered, and with what. It is on its way then; on a socket it has to be
    /// [said](Session::said_as) as what.
    pub(super) fn answer(&mut self) -> Option<(Connect, Vec<Arc<Entry>>)> {
        let connect = self.connect.take_if(|connect| !matches!(connect.way, Way::Poll(_, None)))?;
        if self.flight.is_some() {
            return Some((connect, Vec::new()));
        }
        if let Way::Poll(hold, _) = connect.way {
            self.flight = Some(Flight::Poll(hold));
        }
        Some((connect, self.mail.give()))
    }

    /// Whether its connect, where one is open, can be answered now: somebody has heard of its hold.
    pub(super) fn is_heard_of(&self) -> bool {
        !matches!(self.connect, Some(Connect { way: Way::Poll(_, None), .. }))
    }

    /// The connect of whose hold nobody has heard yet, for an answer that it gets as soon as somebody does.
    pub(super) fn take_unheard(&mut self, now: Instant) -> Option<Connect> {
        let connect = self.connect.take();
        self.rest(now);
        connect
    }

    /// What waits and can go now; it has to be [said](Session::said_as) on its socket.
    pub(super) fn give(&mut self) -> Vec<Arc<Entry>> {
        if self.flight.is_some() { Vec::new() } else { self.mail.give() }
    }

    /// Messages were said on its socket as the so many-th.
    pub(super) fn said_as(&mut self, number: u64) {
        self.flight = Some(Flight::Socket(number));
    }

    /// So much of what was said on its socket is with the client's system.
    pub(super) fn heard(&mut self, number: u64, now: Instant) {
        if let Some(Flight::Socket(own)) = self.flight
            && own <= number
        {
            self.flight = None;
            self.mail.arrived();
            // What comes without a connect is no sign that its client lives.
            if self.expires.is_none() {
                self.rest(now);
            }
        }
    }

    /// Its socket is gone, and with it what was said there and is nowhere yet.
    pub(super) fn is_left(&mut self, now: Instant) {
        self.socket = None;
        self.connect.take_if(|connect| matches!(connect.way, Way::Socket(_)));
        if self.flight.is_none() {
            // Nobody was there to be told.
            self.mail.lost();
        }
        self.lose_socket();
        self.rest(now);
    }

    /// The connect that is open, whatever there is to say.
    pub(super) fn take_connect(&mut self) -> Option<Connect> {
        self.connect.take()
    }

    /// What waits, for an answer that is sent at once: it counts as arrived, unless the client acknowledges.
    pub(super) fn take(&mut self) -> Vec<Arc<Entry>> {
        if self.flight.is_some() {
            return Vec::new();
        }
        let messages = self.mail.give();
        self.mail.arrived();
        messages
    }

    /// A hold is over; its connect, where that was still open.
    pub(super) fn over(&mut self, hold: u64, end: End, now: Instant) -> Option<Connect> {
        let mut open = None;
        if self.flight == Some(Flight::Poll(hold)) {
            self.flight = None;
            match end {
                End::Answered => self.mail.arrived(),
                End::Spoken | End::Left(_) | End::Lost => self.mail.lost(),
            }
        } else {
            open = Some(self.connect.take_if(|connect| connect.is_of(hold))?);
        }
        self.rest(now);
        open
    }

    /// A reply to a connect is out: its clock runs until the next one.
    pub(super) fn rest(&mut self, now: Instant) {
        if self.connect.is_none() && self.flight.is_none() {
            self.expires = Some(now + patience(&self.terms));
        }
    }

    /// Whether its client has stayed away for too long.
    pub(super) fn is_expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

/// How long a session lives without a connect.
fn patience(terms: &Terms) -> Duration {
    terms.route.interval + terms.route.expiry
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::message::{ChannelName, Data, Epoch, Message, Position};

    fn terms(queue: usize) -> Arc<Terms> {
        let second = Duration::from_secs(1);
        let route = BayeuxConfig { timeout: second, expiry: second, queue, ..BayeuxConfig::default() };
        Arc::new(Terms { route, message: 1000 })
    }

    pub(in crate::bayeux) fn entry(number: u64) -> Arc<Entry> {
        let channel = ChannelName::parse("/a").unwrap();
        let data = Data::Text("x".into());
        let message = Message::new(channel, data);
        let position = Position { epoch: Epoch(1), sequence: Sequence(number) };
        Arc::new(Entry::new(position, number, Instant::now(), message))
    }

    pub(in crate::bayeux) fn session(ack: bool, queue: usize) -> Session {
        Session::new("id".into(), terms(queue), None, ack, Instant::now())
    }

    pub(in crate::bayeux) fn held(hold: u64) -> Connect {
        let (way, since) = (Way::Poll(hold, Some(Line::nowhere())), Instant::now());
        Connect { way, id: None, batch: None, callback: None, clock: None, since }
    }

    pub(in crate::bayeux) fn numbers(messages: &[Arc<Entry>]) -> Vec<u64> {
        messages.iter().map(|entry| entry.sequence().0).collect()
    }

    #[test]
    fn a_message_comes_once_by_however_many_subscriptions_and_after_each_ones_beginning() {
        let mut session = session(false, 10);
        assert_eq!(session.offer(&entry(3), Sequence(3)), Ok(false));
        assert_eq!(session.offer(&entry(3), Sequence(2)), Ok(true));
        assert_eq!(session.offer(&entry(3), Sequence(0)), Ok(false));
        assert_eq!(numbers(&session.take()), [3]);
        assert!(session.take().is_empty());
    }

    #[test]
    fn a_client_whose_connect_ended_before_anybody_heard_of_its_hold_expires_like_others() {
        let (mut session, now) = (session(false, 10), Instant::now());
        session.connect(None);
        session.hold(Connect { way: Way::Poll(1, None), ..held(1) });
        assert!(!session.is_heard_of() && session.answer().is_none());
        assert!(session.take_unheard(now).is_some_and(|connect| connect.is_of(1)) && session.is_heard_of());
        assert!(session.over(1, End::Answered, now).is_none());
        assert!(session.is_expired(now + Duration::from_secs(100)));
    }

    #[test]
    fn a_full_queue_is_said() {
        let mut session = session(false, 2);
        assert_eq!([1, 2].map(|number| session.offer(&entry(number), Sequence(0))), [Ok(true), Ok(true)]);
        assert_eq!(session.offer(&entry(3), Sequence(0)), Err(Full));
    }

    #[test]
    fn the_first_connect_and_those_with_something_waiting_are_not_held() {
        let mut session = session(false, 10);
        let connected = session.connect(None);
        assert!(connected.first && connected.at_once);
        assert!(!session.connect(None).at_once);
        session.offer(&entry(1), Sequence(0)).unwrap();
        assert!(session.connect(None).at_once);
        session.take();
        session.hold(held(1));
        assert!(session.connect(None).replaced.is_some_and(|connect| connect.is_of(1)));
    }

    #[test]
    fn a_session_expires_while_no_connect_is_open_and_none_is_on_its_way() {
        let (mut session, now) = (session(false, 10), Instant::now());
        let later = now + Duration::from_secs(100);
        session.connect(None);
        session.hold(held(1));
        assert!(!session.is_expired(later));
        session.offer(&entry(1), Sequence(0)).unwrap();
        session.answer().unwrap();
        assert!(!session.is_expired(later));
        assert!(session.over(1, End::Answered, now).is_none());
        assert!(session.is_expired(later) && !session.is_expired(now));
        session.hold(held(2));
        assert!(session.over(1, End::Lost, later).is_none() && session.waits_for(2));
        assert!(session.over(2, End::Lost, later).is_some() && !session.waits_for(2));
    }

    #[test]
    fn what_was_said_on_a_socket_waits_again_when_the_socket_is_lost() {
        let (mut session, now) = (session(false, 10), Instant::now());
        session.connect(None);
        assert_eq!(session.moves_to(Some(5)), None);
        session.hold(Connect { way: Way::Socket(5), ..held(0) });
        (1..=3).for_each(|number| assert_eq!(session.offer(&entry(number), Sequence(0)), Ok(true)));
        assert_eq!((session.pushes_to(), numbers(&session.give())), (Some(5), vec![1, 2, 3]));
        session.said_as(7);
        session.heard(6, now);
        assert!(!session.waits());
        session.heard(7, now);
        session.offer(&entry(4), Sequence(0)).unwrap();
        assert_eq!(numbers(&session.give()), [4]);
        session.said_as(8);
        session.is_left(now);
        assert!(
            session.connect.is_none() && session.waits() && session.is_expired(now + Duration::from_secs(1))
        );
        assert_eq!(numbers(&session.take()), [4]);
        assert_eq!(session.moves_to(None), None);
    }

    #[test]
    fn a_connect_on_a_socket_is_answered_when_its_time_is_over() {
        let (mut session, now) = (session(false, 10), Instant::now());
        session.hold(Connect { way: Way::Socket(5), since: now, ..held(0) });
        assert!(!session.is_overdue(now) && session.is_overdue(now + Duration::from_secs(1)));
        session.hold(held(1));
        assert!(!session.is_overdue(now + Duration::from_secs(100)));
    }
}
