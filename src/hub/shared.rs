//! What lies between a hub and a log that it shares with other nodes: one thread appends, another applies what comes.
//!
//! The log numbers, so nothing is planned here. Whatever was appended, by this node or another, comes back through the
//! log and is applied in its order. A publisher is answered when the log has its messages and this node has applied
//! them, so that who asks the node next finds them there.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Condvar, Mutex};

use crate::message::{Batch, ChannelName, Message, Sequence};
use crate::metrics::Metrics;
use crate::store::{Appended, LogError, Mark, Numbered, OldEntries, Record, RedisLog, Repeated, Told, Word};

use super::channel::Channel;
use super::draft::Draft;
use super::line::{Answer, Group, Line};
use super::sieve::Sieve;
use super::state::{State, Wake};
use super::{Hub, Receipt, Refused};

/// The appending side; owned by one thread, which takes a turn whenever something waits.
pub struct Appender {
    hub: Arc<Hub>,
    line: Arc<Line>,
    log: RedisLog,
    tide: Arc<Tide>,
    metrics: Metrics,
    /// Where the next look for what nobody keeps begins.
    looked_upto: Sequence,
}

/// The applying side; owned by one thread, which does nothing else.
pub struct Follower {
    hub: Arc<Hub>,
    log: RedisLog,
    mark: Mark,
    tide: Arc<Tide>,
    metrics: Metrics,
    listen: Box<dyn Fn(Word) + Send>,
}

/// What the two sides know of each other.
struct Tide {
    reached: Mutex<Sequence>,
    rises: Condvar,
    /// The follower reads the log.
    is_connected: AtomicBool,
    /// The log may be another: the follower is to find out.
    is_doubted: AtomicBool,
}

/// How long a publisher waits for this node to apply what the log has: it is acknowledged then in any case.
const TIDE_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause after a fault, at least: what was refused is likely to be refused again at once.
const FAULT_PAUSE: Duration = Duration::from_millis(50);
/// Between two looks for room by any node.
const ROOM_PAUSE: Duration = Duration::from_millis(900);
/// Readings of the log in one look: as many as find something to remove, and a few that don't.
const LOOKS: (usize, usize) = (64, 4);

pub(super) fn pair(
    hub: &Arc<Hub>,
    line: Arc<Line>,
    appends: RedisLog,
    (follows, mark): (RedisLog, Mark),
    listen: Box<dyn Fn(Word) + Send>,
    metrics: Metrics,
) -> (Appender, Follower) {
    let tide = Arc::new(Tide {
        reached: Mutex::new(mark.place()),
        rises: Condvar::new(),
        is_connected: AtomicBool::new(true),
        is_doubted: AtomicBool::new(false),
    });
    metrics.store_connected.set(1);
    let appender = Appender {
        hub: Arc::clone(hub),
        line,
        log: appends,
        tide: Arc::clone(&tide),
        metrics: metrics.clone(),
        looked_upto: Sequence(0),
    };
    let follower = Follower { hub: Arc::clone(hub), log: follows, mark, tide, metrics, listen };
    (appender, follower)
}

impl Appender {
    /// `wake` is called when something waits and nothing did before.
    pub fn on_wake(&self, wake: Box<dyn Fn() + Send + Sync>) {
        self.line.set_wake(wake);
    }

    /// Does what waits, one group of it; false where nothing waits.
    pub fn turn(&mut self, now: Instant) -> bool {
        match self.line.take() {
            None => return false,
            Some(Group::Publish(batches)) => self.publish(batches, now),
            Some(Group::Delete(name, answer)) => self.delete(&name, answer, now),
        }
        true
    }

    fn publish(&mut self, batches: Vec<(Batch, Answer<Vec<Receipt>>)>, now: Instant) {
        let (batches, answers) = self.with_room(batches, now);
        if batches.is_empty() {
            return;
        }
        let timer = self.metrics.store_append.start_timer();
        let appended = match self.tide.is_connected.load(Ordering::Acquire) {
            true => self.log.append(&batches, *self.tide.reached.lock()),
            false => Err(LogError::Unreachable("the connection is lost".into())),
        };
        timer.observe_duration();
        let outcomes = appended.unwrap_or_else(|error| vec![Err(error); batches.len()]);
        self.tide.wait_for(last_place(&outcomes));
        for ((batch, outcome), answer) in batches.iter().zip(outcomes).zip(answers) {
            let outcome = self.counted(outcome).and_then(|appended| self.receipts(batch, appended));
            // Whoever asked may have left.
            let _ = answer.send(outcome);
        }
    }

    /// Refuses what would be too many channels for this node.
    fn with_room(
        &self,
        batches: Vec<(Batch, Answer<Vec<Receipt>>)>,
        now: Instant,
    ) -> (Vec<Batch>, Vec<Answer<Vec<Receipt>>>) {
        let mut state = self.hub.state.lock();
        let mut draft = Draft::after(state.head);
        let mut kept = (Vec::with_capacity(batches.len()), Vec::with_capacity(batches.len()));
        for (batch, answer) in batches {
            match state.has_room(&batch, &mut draft, now) {
                Ok(()) => {
                    kept.0.push(batch);
                    kept.1.push(answer);
                }
                // Whoever asked may have left.
                Err(refused) => drop(answer.send(Err(refused))),
            }
        }
        kept
    }

    fn receipts(&self, batch: &Batch, appended: Appended) -> Result<Vec<Receipt>, Refused> {
        let state = self.hub.state.lock();
        match appended {
            Appended::Unexpected { item, last } => {
                Err(Refused::Unexpected { item, last: last.map(|last| state.position(last)) })
            }
            Appended::At(places) => {
                let receipt = |(message, (place, repeated)): (&Message, _)| Receipt {
                    position: state.position(place),
                    subscribers: state.subscribers(&message.channel),
                    duplicate: repeated == Repeated::Yes,
                };
                Ok(batch.messages.iter().zip(places).map(receipt).collect())
            }
        }
    }

    fn delete(&mut self, name: &ChannelName, answer: Answer<bool>, now: Instant) {
        let existed = self.hub.channel(name, now).is_some();
        let deleted = self.log.delete(name);
        if let Ok(place) = deleted {
            self.tide.wait_for(place);
        }
        // Whoever asked may have left.
        let _ = answer.send(self.counted(deleted).map(|_| existed));
    }

    /// Removes from the log what no channel keeps any more, where it is this node's turn; to be called about once a
    /// second.
    pub fn tick(&mut self, at: SystemTime) {
        if !self.tide.is_connected.load(Ordering::Acquire) {
            return;
        }
        if let Err(error) = self.make_room(at) {
            tracing::debug!(%error, "no room was made in the store");
        }
    }

    fn make_room(&mut self, at: SystemTime) -> Result<(), LogError> {
        if !self.log.takes_turn(ROOM_PAUSE)? {
            return Ok(());
        }
        let (mut removing, mut idle) = (0, 0);
        while removing < LOOKS.0 && idle < LOOKS.1 {
            let head = self.hub.head().sequence;
            let old = self.log.old_entries(self.looked_upto, head, at)?;
            let Some(&last) = old.places.last() else {
                self.looked_upto = Sequence(0);
                return Ok(());
            };
            match self.remove(old)? {
                0 => idle += 1,
                _ => removing += 1,
            }
            self.looked_upto = last;
        }
        Ok(())
    }

    fn remove(&mut self, OldEntries { places, records }: OldEntries) -> Result<usize, LogError> {
        let mut sieve = Sieve::new(self.looked_upto == Sequence(0));
        {
            let state = self.hub.state.lock();
            state.sift(records.into_iter(), &mut sieve);
            let channels = std::mem::take(&mut sieve.channels);
            state.vouch(channels.into_iter(), &mut sieve.needed);
        }
        let stay: HashSet<Sequence> = sieve.needed.stay.iter().filter_map(place).collect();
        let gone: Vec<Sequence> = places.into_iter().filter(|place| !stay.contains(place)).collect();
        if !gone.is_empty() {
            self.log.trim(&gone, &sieve.needed)?;
        }
        Ok(gone.len())
    }

    /// Ends: whatever waits is done, whatever comes is refused.
    pub fn close(mut self, now: Instant) {
        self.line.close();
        while self.turn(now) {}
    }

    fn counted<T>(&mut self, result: Result<T, LogError>) -> Result<T, Refused> {
        if let Err(error) = &result {
            match error {
                LogError::Replaced => self.tide.is_doubted.store(true, Ordering::Release),
                // A server that refuses may not be the one to ask any more.
                LogError::Failed(_) => self.log.doubt(),
                _ => {}
            }
            let word = if matches!(error, LogError::Full(_)) { "full" } else { "failed" };
            self.metrics.store_errors.with_label_values(&[word]).inc();
        }
        result.map_err(Refused::from)
    }
}

impl Drop for Appender {
    /// Nobody waits for what will never be done, however the thread ended.
    fn drop(&mut self) {
        self.line.abandon();
    }
}

impl Follower {
    /// Reads what is new and applies it; waits a moment where there is nothing. After a fault it says how long to pause.
    /// An error is final: what this node has can't be continued.
    pub fn turn(&mut self, now: Instant, at: SystemTime) -> Result<Duration, LogError> {
        if self.tide.is_doubted.swap(false, Ordering::AcqRel) {
            self.log.doubt();
        }
        match self.log.follow(&mut self.mark) {
            Ok(told) => {
                self.connected(true, None);
                // Waiting took time.
                self.apply(told, now.max(Instant::now()), at.max(SystemTime::now()));
                self.tide.rise(self.mark.place());
                Ok(Duration::ZERO)
            }
            Err(error @ (LogError::Replaced | LogError::Behind)) => Err(error),
            Err(error) => {
                // Also where it answered: a server that refuses may not be the one to ask any more.
                self.log.doubt();
                self.connected(false, Some(&error));
                Ok(self.log.pause_left(now).max(FAULT_PAUSE))
            }
        }
    }

    /// In order: who hears a word has been handed everything that was published before it.
    fn apply(&self, told: Vec<Told>, now: Instant, at: SystemTime) {
        let mut run = Vec::with_capacity(told.len());
        for told in told {
            let word = if let Told::Word(_, _, word) = &told { Some(word.clone()) } else { None };
            run.push(told);
            if let Some(word) = word {
                self.hub.apply_told(std::mem::take(&mut run), now, at);
                (self.listen)(word);
            }
        }
        self.hub.apply_told(run, now, at);
    }

    /// Whether the log can't be read now.
    pub fn watch(&self) -> Arc<dyn Fn() -> bool + Send + Sync> {
        let tide = Arc::clone(&self.tide);
        Arc::new(move || !tide.is_connected.load(Ordering::Acquire))
    }

    fn connected(&self, is_connected: bool, error: Option<&LogError>) {
        if self.tide.is_connected.swap(is_connected, Ordering::AcqRel) == is_connected {
            return;
        }
        self.metrics.store_connected.set(i64::from(is_connected));
        match error {
            None => tracing::info!("the store is there again, and nothing of it was missed"),
            Some(error) => tracing::warn!(%error, "messages are refused and none comes from other nodes"),
        }
    }
}

impl Tide {
    fn rise(&self, place: Sequence) {
        *self.reached.lock() = place;
        self.rises.notify_all();
    }

    /// A follower that doesn't get what the log has may follow a server that another one has replaced.
    fn wait_for(&self, place: Sequence) {
        let mut reached = self.reached.lock();
        let deadline = Instant::now() + TIDE_TIMEOUT;
        while *reached < place {
            if self.rises.wait_until(&mut reached, deadline).timed_out() {
                self.is_doubted.store(true, Ordering::Release);
                return;
            }
        }
    }
}

impl Hub {
    /// Applies what the log says, in its order.
    fn apply_told(&self, told: Vec<Told>, now: Instant, at: SystemTime) {
        if told.is_empty() {
            return;
        }
        let wakes = {
            let mut state = self.state.lock();
            let wakes = state.apply_told(told, now, at);
            self.show_head(&state);
            wakes
        };
        wakes.iter().for_each(|wake| wake());
    }
}

impl State {
    fn apply_told(&mut self, told: Vec<Told>, now: Instant, at: SystemTime) -> Vec<Wake> {
        let mut wakes = Vec::new();
        let mut messages: Vec<(Instant, Numbered)> = Vec::with_capacity(told.len());
        for told in told {
            let place = told.place();
            match told {
                Told::Message(published, numbered) => messages.push((moment(published, now, at), numbered)),
                Told::Deleted(_, _, channel) => {
                    wakes.extend(self.hand_out_all(messages.drain(..), now));
                    wakes.extend(self.delete(&channel, now).1);
                    self.head = place;
                }
                Told::Word(..) => {
                    wakes.extend(self.hand_out_all(messages.drain(..), now));
                    self.head = place;
                }
            }
        }
        wakes.extend(self.hand_out_all(messages.drain(..), now));
        wakes
    }

    fn subscribers(&self, name: &ChannelName) -> usize {
        let channel = self.directory.find(name).and_then(|id| self.directory.get(id));
        channel.map_or(0, Channel::subscribers)
    }
}

/// A time of the log's clock by ours; one ahead of ours makes a message new.
fn moment(published: SystemTime, now: Instant, at: SystemTime) -> Instant {
    let age = at.duration_since(published).unwrap_or(Duration::ZERO);
    now.checked_sub(age).unwrap_or(now)
}

fn last_place(outcomes: &[Result<Appended, LogError>]) -> Sequence {
    let places = |outcome: &Result<Appended, LogError>| match outcome {
        Ok(Appended::At(places)) => places.iter().map(|(place, _)| *place).max(),
        _ => None,
    };
    outcomes.iter().filter_map(places).max().unwrap_or_default()
}

fn place(record: &Record) -> Option<Sequence> {
    match record {
        Record::Message { sequence, .. } => Some(*sequence),
        Record::Deleted { upto, .. } => Some(*upto),
        Record::Past { .. } | Record::Id { .. } | Record::Forgotten(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::HubSettings;
    use crate::message::{Data, Epoch, Position, Start};

    #[test]
    fn who_has_more_than_this_node_gets_what_comes_after_that() {
        let hub = shared();
        let mut tap = hub.attach(Box::new(|| {}));
        let after = Position { epoch: Epoch(1), sequence: Sequence(2) };
        let (mut backlog, mut gaps) = (Vec::new(), Vec::new());
        let (now, at) = (Instant::now(), SystemTime::now());
        hub.apply_told(vec![message(1, at)], now, at);
        let wish = (name(), Start::After(after));
        let joined = tap.join(&[wish], usize::MAX, now, &mut backlog, &mut gaps).expect("room");
        assert_eq!((joined.position, joined.complete, backlog.len(), gaps.len()), (Sequence(2), true, 0, 0));
        let history = hub.history(&name(), Start::After(after), 10, now).expect("a channel");
        assert_eq!((history.position, history.gap), (after, None));
    }

    #[test]
    fn a_deletion_stands_between_the_same_messages_on_every_node() {
        let hub = shared();
        let (now, at) = (Instant::now(), SystemTime::now());
        hub.apply_told(vec![message(1, at), Told::Deleted(at, Sequence(2), name()), message(3, at)], now, at);
        let facts = hub.channel(&name(), now).expect("it lives again");
        assert_eq!((facts.messages, facts.last.map(|last| last.sequence)), (1, Some(Sequence(3))));
        assert_eq!(hub.head().sequence, Sequence(3));
    }

    fn shared() -> Arc<Hub> {
        let settings = HubSettings {
            policies: crate::hub::Policy::keeping(100, None).into(),
            history_bytes: usize::MAX,
            channels: 100,
            window_messages: 100,
            publisher_ids: 100,
        };
        let mut state = State::new(Epoch(1), settings, Metrics::new().expect("metrics register"));
        state.is_shared = true;
        Hub::with_state(state, None)
    }

    fn name() -> ChannelName {
        ChannelName::parse("news").expect("a name")
    }

    fn message(place: u64, at: SystemTime) -> Told {
        let data = Data::Text("x".into());
        let message = Message::new(name(), data);
        Told::Message(at, Numbered { sequence: Sequence(place), message })
    }
}
