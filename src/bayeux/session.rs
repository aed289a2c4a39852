//! One client's session: what waits for it, what it was given, the connect that it has open, when it ends; pure.
//!
//! What waits is a queue of shared messages. An answer on its way keeps them there until its end is known: they are
//! dropped once they are with the client's system, and stay where it was lost. With the `ack` extension they stay until
//! the client says that it has them. At most one answer is on its way; what comes meanwhile waits for its end.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::value::RawValue;

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
    queue: VecDeque<Arc<Entry>>,
    queue_bytes: usize,
    /// How many from the front of the queue are given, and not known to have arrived.
    given: usize,
    /// The last message that was looked at for it: it comes once, by however many subscriptions.
    looked_at: Sequence,
    acks: Option<Acks>,
    connect: Option<Connect>,
    /// The hold whose answer is on its way.
    flight: Option<u64>,
    connected: bool,
    /// When it ends, unless a connect comes before; `None` while one is open.
    expires: Option<Instant>,
}

/// Where one subscription stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Subscription {
    /// The hub's channel; `None` for a pattern with a wildcard.
    pub(super) channel: Option<ChannelId>,
    /// It begins after this place.
    pub(super) since: Sequence,
}

/// Batches that the client has not acknowledged.
#[derive(Default)]
struct Acks {
    /// Number of the last connect.
    batch: u64,
    /// Number of each, and how many messages it brought.
    open: VecDeque<(u64, usize)>,
}

/// A connect that is held, or about to be.
#[derive(Debug)]
pub(super) struct Connect {
    pub(super) hold: u64,
    /// Where it can be answered, once it is held.
    pub(super) line: Option<Line>,
    pub(super) id: Option<Box<RawValue>>,
    /// The batch that its reply counts as.
    pub(super) batch: Option<u64>,
    /// The function that its answer calls.
    pub(super) callback: Option<Box<str>>,
    /// The client's clock, as far as the reply returns it, and since when.
    pub(super) clock: Option<ClientClock>,
    pub(super) since: Instant,
}

/// What a client's clock said, and ours when it came.
#[derive(Debug, Clone)]
pub(super) struct ClientClock {
    pub(super) tc: Box<RawValue>,
    pub(super) ts: u64,
    pub(super) accuracy: i64,
}

/// What comes of a connect.
#[derive(Debug)]
pub(super) struct Connected {
    /// The connect before, if it is still open: an error is its answer.
    pub(super) replaced: Option<Connect>,
    pub(super) batch: Option<u64>,
    /// Whether there is something that it must not wait for.
    pub(super) at_once: bool,
    /// Whether it is the first, by which a client learns that its transport works.
    pub(super) first: bool,
}

/// A session's queue has no more room. Messages are lost to it, so it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

impl Session {
    pub(super) fn new(
        id: Box<str>,
        terms: Arc<Terms>,
        browser: Option<Box<str>>,
        ack: bool,
        now: Instant,
    ) -> Session {
        let expires = Some(now + patience(&terms));
        Session {
            id,
            terms,
            browser,
            subscriptions: HashMap::new(),
            queue: VecDeque::new(),
            queue_bytes: 0,
            given: 0,
            looked_at: Sequence(0),
            acks: ack.then(Acks::default),
            connect: None,
            flight: None,
            connected: false,
            expires,
        }
    }

    /// A message of the channel of one of its subscriptions; whether it is new to it.
    pub(super) fn offer(&mut self, entry: &Arc<Entry>, since: Sequence) -> Result<bool, Full> {
        if entry.sequence() <= since || entry.sequence() <= self.looked_at {
            return Ok(false);
        }
        self.looked_at = entry.sequence();
        let bytes = entry.message.data.bytes().len();
        let fits = self.queue.len() < self.terms.route.queue
            && (self.queue.is_empty() || self.queue_bytes + bytes <= self.terms.route.queue_bytes);
        if !fits {
            return Err(Full);
        }
        self.queue_bytes += bytes;
        self.queue.push_back(Arc::clone(entry));
        Ok(true)
    }

    /// A connect comes, with the last batch that its client has.
    pub(super) fn connect(&mut self, ack: Option<u64>) -> Connected {
        let mut resend = false;
        if let Some(acks) = &mut self.acks {
            let has = ack.unwrap_or(0);
            let mut arrived = 0;
            while let Some(&(_, messages)) = acks.open.front().filter(|(batch, _)| *batch <= has) {
                acks.open.pop_front();
                arrived += messages;
            }
            resend = !acks.open.is_empty();
            acks.open.clear();
            acks.batch += 1;
            self.flight = None;
            self.given = 0;
            self.drop_front(arrived);
        }
        let replaced = self.connect.take();
        let first = !std::mem::replace(&mut self.connected, true);
        let at_once = first || resend || self.waits();
        Connected { replaced, batch: self.acks.as_ref().map(|acks| acks.batch), at_once, first }
    }

    /// Its connect is to be held.
    pub(super) fn hold(&mut self, connect: Connect) {
        self.expires = None;
        self.connect = Some(connect);
    }

    /// Whether this hold is that of its connect.
    pub(super) fn waits_for(&self, hold: u64) -> bool {
        self.connect.as_ref().is_some_and(|connect| connect.hold == hold)
    }

    /// Its connect can be answered.
    pub(super) fn reached(&mut self, line: Line) {
        if let Some(connect) = &mut self.connect {
            connect.line = Some(line);
        }
    }

    /// Whether a connect is open.
    pub(super) fn holds(&self) -> bool {
        self.connect.is_some()
    }

    /// Whether what waits may go with other replies than those to connects.
    pub(super) fn takes_by_the_way(&self) -> bool {
        self.acks.is_none()
    }

    /// Whether something waits that can go now.
    pub(super) fn waits(&self) -> bool {
        self.flight.is_none() && self.queue.len() > self.given
    }

    /// The connect that can be answered, and with what. It is on its way then.
    pub(super) fn answer(&mut self) -> Option<(Connect, Vec<Arc<Entry>>)> {
        let connect = self.connect.take_if(|connect| connect.line.is_some())?;
        if self.flight.is_some() {
            return Some((connect, Vec::new()));
        }
        self.flight = Some(connect.hold);
        Some((connect, self.give()))
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
        let messages = self.give();
        if self.acks.is_none() {
            self.drop_front(self.given);
        }
        messages
    }

    fn give(&mut self) -> Vec<Arc<Entry>> {
        let messages: Vec<_> = self.queue.iter().skip(self.given).cloned().collect();
        if let Some(acks) = &mut self.acks
            && !messages.is_empty()
        {
            acks.open.push_back((acks.batch, messages.len()));
        }
        self.given = self.queue.len();
        messages
    }

    fn drop_front(&mut self, count: usize) {
        let gone = self.queue.drain(..count.min(self.queue.len()));
        self.queue_bytes -= gone.map(|entry| entry.message.data.bytes().len()).sum::<usize>();
        self.given -= count.min(self.given);
    }

    /// A hold is over. True where it was its own, so that no connect is open any more unless another came.
    pub(super) fn over(&mut self, hold: u64, end: End, now: Instant) -> bool {
        if self.flight == Some(hold) {
            self.flight = None;
            match (end, &self.acks) {
                (End::Answered, None) => self.drop_front(self.given),
                (End::Spoken | End::Left(_) | End::Lost, None) => self.given = 0,
                (_, Some(_)) => {}
            }
        } else if self.connect.take_if(|connect| connect.hold == hold).is_none() {
            return false;
        }
        self.rest(now);
        true
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
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::{ChannelName, Data, Epoch, Message, Position};

    pub(super) fn terms(queue: usize) -> Arc<Terms> {
        let second = Duration::from_secs(1);
        let route = BayeuxConfig { timeout: second, expiry: second, queue, ..BayeuxConfig::default() };
        Arc::new(Terms { route, message: 1000 })
    }

    fn entry(number: u64) -> Arc<Entry> {
        let channel = ChannelName::parse("/a").unwrap();
        let data = Data::Text("x".into());
        let message =
            Message { channel, event: None, id: None, key: None, content_type: None, data, forms: None };
        let position = Position { epoch: Epoch(1), sequence: Sequence(number) };
        Arc::new(Entry::new(position, number, Instant::now(), message))
    }

    fn session(ack: bool, queue: usize) -> Session {
        Session::new("id".into(), terms(queue), None, ack, Instant::now())
    }

    fn held(hold: u64) -> Connect {
        let (line, since) = (Some(Line::nowhere()), Instant::now());
        Connect { hold, line, id: None, batch: None, callback: None, clock: None, since }
    }

    fn numbers(messages: &[Arc<Entry>]) -> Vec<u64> {
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
        assert_eq!(session.connect(None).replaced.map(|connect| connect.hold), Some(1));
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
        assert!(session.over(1, End::Answered, now));
        assert!(session.is_expired(later) && !session.is_expired(now));
        assert!(!session.over(1, End::Lost, now));
    }

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Publish,
        Connect,
        Answer,
        Over(bool),
        Piggyback,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            Just(Step::Publish),
            Just(Step::Connect),
            Just(Step::Answer),
            any::<bool>().prop_map(Step::Over),
            Just(Step::Piggyback),
        ];
        proptest::collection::vec(step, 0..60)
    }

    proptest! {
        /// Whatever is lost on the way: every message arrives, in order; with acknowledgements what comes again is
        /// known by its batch, without them nothing that arrived comes again.
        #[test]
        fn nothing_is_lost_and_nothing_that_arrived_comes_again(steps in steps(), ack in any::<bool>()) {
            let mut session = session(ack, 1000);
            let now = Instant::now();
            let (mut published, mut holds, mut known) = (0, 0, 0);
            let mut arrived: Vec<u64> = Vec::new();
            let mut on_its_way: Option<(u64, Option<u64>, Vec<u64>)> = None;
            for step in steps.into_iter().chain([Step::Over(true), Step::Connect, Step::Answer, Step::Over(true)]) {
                match step {
                    Step::Publish => {
                        published += 1;
                        session.offer(&entry(published), Sequence(0)).unwrap();
                    }
                    Step::Connect if on_its_way.is_none() => {
                        let connected = session.connect(Some(known));
                        if connected.at_once {
                            arrived.extend(numbers(&session.take()));
                            known = connected.batch.unwrap_or(0);
                        } else {
                            holds += 1;
                            session.hold(Connect { batch: connected.batch, ..held(holds) });
                        }
                    }
                    Step::Answer if session.waits() => {
                        if let Some((connect, messages)) = session.answer() {
                            prop_assert!(on_its_way.is_none());
                            on_its_way = Some((connect.hold, connect.batch, numbers(&messages)));
                        }
                    }
                    Step::Over(well) => {
                        if let Some((hold, batch, messages)) = on_its_way.take() {
                            session.over(hold, if well { End::Answered } else { End::Lost }, now);
                            if well {
                                arrived.extend(messages);
                                known = batch.unwrap_or(0);
                            }
                        }
                    }
                    Step::Piggyback if session.takes_by_the_way() => arrived.extend(numbers(&session.take())),
                    Step::Answer | Step::Connect | Step::Piggyback => {}
                }
            }
            if let Some((_, _, messages)) = on_its_way {
                arrived.extend(messages);
            }
            arrived.extend(numbers(&session.take()));
            prop_assert_eq!(arrived, (1..=published).collect::<Vec<_>>());
        }
    }
}
