//! One log for several nodes, in Redis or Valkey: a script numbers and appends in one step, every node reads the stream.
//!
//! The order is that of one stream, whose ids are `PLACE-0`: Redis itself refuses a place that isn't after the last one.
//! What a channel's publishers may ask about lies beside it: its last place, publishers' ids, accounts of what is gone.
//! All tables have bounds. Nothing here is kept in the process but the place that was read last.

mod entry;
mod link;
mod whereabouts;
mod word;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use redis::{Pipeline, TlsCertificates};

use super::record::write_message;
use super::replay::Replay;
use super::{OpenError, Past, Record, Recovered, Sifted};
use crate::message::{Batch, ChannelName, Epoch, Expected, Sequence};

use entry::{Raw, read_entry};
use link::{Link, Script};
use whereabouts::Whereabouts;

pub use entry::{Mark, Told};
pub use word::{Memory, Word, Words};

/// Where the log lies.
#[derive(Clone)]
pub struct RedisSettings {
    /// `redis://` or `rediss://`, with a password where one is needed. Of several, one takes writes; with sentinels, the
    /// host of the only one is the name that they know it by.
    pub urls: Vec<String>,
    /// Who knows where the server is.
    pub sentinels: Vec<String>,
    /// For `rediss://`; without it, certificates are checked against the roots that browsers trust.
    pub tls: Option<TlsCertificates>,
    /// What its keys begin with.
    pub prefix: String,
    /// Publishers' ids that are remembered.
    pub publisher_ids: usize,
}

/// A connection to the log. Each thread has its own: one appends, one follows.
pub struct RedisLog {
    link: Link,
    keys: Keys,
    publisher_ids: usize,
    /// Of the next life of the log, where one has to begin.
    fresh: Epoch,
    epoch: Epoch,
}

/// What a hub needs of a log, with a connection for each thread of it.
pub struct Following {
    /// Appends messages.
    pub appends: RedisLog,
    /// Follows what is appended.
    pub follows: RedisLog,
    /// What the log has.
    pub recovered: Recovered,
    /// Where the follower goes on.
    pub mark: Mark,
}

/// What is said through a log beside messages.
pub struct Talk {
    /// Says [words](Word); connects when there is one to say.
    pub tells: RedisLog,
    /// What is remembered of those that were said.
    pub words: Words,
}

/// Entries that every node can have read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldEntries {
    /// Where they stand, in order.
    pub places: Vec<Sequence>,
    /// What channels may keep of them.
    pub records: Vec<Record>,
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appended {
    /// The places of its messages; of a repeated one that of the first.
    At(Vec<(Sequence, Repeated)>),
    /// The last message of a channel is another than was expected.
    Unexpected {
        /// The message of the batch, from 0.
        item: usize,
        /// The channel's last message, where there is one.
        last: Option<Sequence>,
    },
}

/// Whether a message was appended before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeated {
    /// Its id is known.
    Yes,
    /// It is new.
    No,
}

/// Why the log doesn't do something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// There is no connection: nothing has happened.
    #[error("redis can't be reached: {0}")]
    Unreachable(String),
    /// The connection broke before the answer: it may have happened.
    #[error(
        "the connection to redis was lost before its answer ({0}); what was asked for may still happen, once"
    )]
    Lost(String),
    /// Redis has no room.
    #[error("redis is full: {0}")]
    Full(String),
    /// Redis refuses.
    #[error("redis refuses: {0}")]
    Failed(String),
    /// The log isn't the one that this node knows: it was emptied, or lost its end when another server took over.
    #[error("redis has lost a part of the log that this node knows")]
    Replaced,
    /// The log has gone on further without this node than it keeps.
    #[error("messages were removed from the log before this node had read them")]
    Behind,
}

impl LogError {
    fn strange() -> LogError {
        LogError::Failed("an answer of another form than expected".into())
    }
}

/// Channels whose last place, deletion or account is remembered; the oldest are forgotten first.
const CHANNELS: usize = 200_000;
/// Entries of one reading, so that a node that has much to catch up on holds no more than it is about to apply.
const ENTRIES: usize = 256;
/// How long Redis waits for the next entry. Shorter than an answer may take, and how late an end is noticed.
const WAIT: Duration = Duration::from_millis(500);
/// How long an entry stays in the log whatever the channels keep: other nodes may need this long to read it.
const ENTRY_AGE_MIN: Duration = Duration::from_secs(60);

impl RedisLog {
    /// Connections to one log, and what it says. Redis has to be there. A log that is new begins with the first epoch;
    /// one that turns out to be another later, with the second.
    pub fn open(settings: &RedisSettings, [fresh, next]: [Epoch; 2]) -> Result<(Following, Talk), OpenError> {
        let failed = |error: &dyn std::fmt::Display| OpenError::Redis { reason: error.to_string() };
        let whereabouts = Arc::new(Whereabouts::new(settings).map_err(|error| failed(&error))?);
        let log = |epoch| RedisLog {
            link: Link::new(whereabouts.clone()),
            keys: Keys::new(&settings.prefix),
            publisher_ids: settings.publisher_ids,
            fresh,
            epoch,
        };
        let mut follows = log(fresh);
        let (recovered, mark) = follows.recover().map_err(|error| failed(&error))?;
        let words = follows.words().map_err(|error| failed(&error))?;
        follows.fresh = next;
        let (mut appends, tells) = (log(recovered.epoch), log(recovered.epoch));
        appends.link.open().map_err(|error| failed(&error))?;
        Ok((Following { appends, follows, recovered, mark }, Talk { tells, words }))
    }

    /// How long it is of no use to ask again after a fault.
    pub fn pause_left(&self, now: Instant) -> Duration {
        self.link.pause_left(now)
    }

    /// Gives the connection up, so that the next question finds out whether the log is the same.
    pub fn doubt(&mut self) {
        self.link.close();
    }

    /// Appends batches, each as a whole or not at all, to a log that reaches at least up to `head`.
    pub fn append(
        &mut self,
        batches: &[Batch],
        head: Sequence,
    ) -> Result<Vec<Result<Appended, LogError>>, LogError> {
        self.link.open()?;
        let mut commands = redis::pipe();
        batches.iter().for_each(|batch| self.append_one(batch, head, &mut commands));
        let answers = self.link.ask(&commands)?;
        Ok(answers.into_iter().map(|answer| appended(answer?)).collect())
    }

    fn append_one(&self, batch: &Batch, head: Sequence, commands: &mut Pipeline) {
        let Keys { log, meta, last, ids, ended, .. } = &self.keys;
        let command = commands.cmd("EVALSHA").arg(self.link.hash(Script::Append));
        command.arg(5).arg(log).arg(meta).arg(last).arg(ids).arg(ended);
        command.arg(self.epoch.0).arg(head.0).arg(self.publisher_ids).arg(CHANNELS).arg(batch.messages.len());
        for message in &batch.messages {
            let mut bytes = Vec::new();
            // Its place and time are those of the entry.
            write_message(Sequence(0), 0, message, &mut bytes);
            command.arg(message.channel.as_str()).arg(message.id.as_deref().unwrap_or_default()).arg(bytes);
        }
        for Expected { item, last } in &batch.expected {
            let last = match last {
                None => String::new(),
                Some(position) if position.epoch == self.epoch => position.sequence.0.to_string(),
                Some(_) => "of another epoch".to_owned(),
            };
            command.arg(item + 1).arg(last);
        }
    }

    /// Deletes a channel; where that stands in the order.
    pub fn delete(&mut self, channel: &ChannelName) -> Result<Sequence, LogError> {
        self.link.open()?;
        let Keys { log, meta, ended, .. } = &self.keys;
        let mut commands = redis::pipe();
        let command = commands.cmd("EVALSHA").arg(self.link.hash(Script::Delete));
        command.arg(3).arg(log).arg(meta).arg(ended);
        command.arg(self.epoch.0).arg(CHANNELS).arg(channel.as_str());
        let place: i64 = self.link.ask_one(&commands)?;
        u64::try_from(place).map(Sequence).map_err(|_| LogError::Replaced)
    }

    /// What was appended after a mark, which moves on; waits for it up to [`WAIT`].
    pub fn follow(&mut self, mark: &mut Mark) -> Result<Vec<Told>, LogError> {
        self.link.look();
        if !self.link.is_open() {
            self.attach(Some(mark))?;
        }
        let mut commands = redis::pipe();
        let command =
            commands.cmd("XREAD").arg("COUNT").arg(ENTRIES).arg("BLOCK").arg(WAIT.as_millis() as u64);
        command.arg("STREAMS").arg(&self.keys.log).arg(format!("{}-0", mark.place.0));
        commands.cmd("HGET").arg(&self.keys.meta).arg("epoch");
        let [streams, epoch] = self.link.ask_all(&commands)?;
        if read::<Option<u64>>(epoch)? != Some(self.epoch.0) {
            return Err(LogError::Replaced);
        }
        let streams: Option<Vec<(String, Vec<Raw>)>> = read(streams)?;
        let entries =
            streams.and_then(|mut streams| streams.pop()).map_or(Vec::new(), |(_, entries)| entries);
        let mut told = Vec::with_capacity(entries.len());
        for entry in entries {
            let (next, read) = read_entry(entry)?;
            if next.place != mark.place.next() {
                return Err(LogError::Behind);
            }
            *mark = next;
            told.push(read);
        }
        Ok(told)
    }

    /// Connects, and finds out whether the log is the one that a mark is from.
    fn attach(&mut self, known: Option<&Mark>) -> Result<(Epoch, Sequence), LogError> {
        self.link.open()?;
        let mut commands = redis::pipe();
        let command = commands.cmd("EVALSHA").arg(self.link.hash(Script::Attach));
        command.arg(2).arg(&self.keys.log).arg(&self.keys.meta).arg(self.fresh.0);
        if let Some(Mark { place, time }) = known {
            command.arg(self.epoch.0).arg(place.0).arg(time);
        }
        let (epoch, head): (u64, u64) = self.link.ask_one(&commands)?;
        if known.is_some() && Epoch(epoch) != self.epoch {
            return Err(LogError::Replaced);
        }
        Ok((Epoch(epoch), Sequence(head)))
    }

    /// Everything that the log says. Entries are read before the accounts of what is gone, so that none that is removed
    /// meanwhile is missed.
    fn recover(&mut self) -> Result<(Recovered, Mark), LogError> {
        let (epoch, head) = self.attach(None)?;
        self.epoch = epoch;
        let mut mark = Mark { place: head, time: String::new() };
        let mut records = Vec::new();
        let mut after = Sequence(0);
        loop {
            let entries = self.entries_between(after, head)?;
            let Some((last, _)) = entries.last() else { break };
            (after, mark) = (last.place, Mark { place: head, time: last.time_at(head) });
            records.extend(entries.into_iter().filter_map(|(_, told)| told.into_record()));
        }
        let mut replay = Replay::default();
        replay.reaches(head);
        self.accounts()?.into_iter().chain(records).for_each(|record| replay.add(record));
        Ok((replay.finish(epoch), mark))
    }

    fn entries_between(&mut self, after: Sequence, upto: Sequence) -> Result<Vec<(Mark, Told)>, LogError> {
        let mut commands = redis::pipe();
        let command = commands.cmd("XRANGE").arg(&self.keys.log).arg(format!("({}-0", after.0));
        command.arg(format!("{}-0", upto.0)).arg("COUNT").arg(ENTRIES);
        let entries: Vec<Raw> = self.link.ask_one(&commands)?;
        entries.into_iter().map(read_entry).collect()
    }

    /// What is told of messages that are gone.
    fn accounts(&mut self) -> Result<Vec<Record>, LogError> {
        let mut commands = redis::pipe();
        commands.cmd("HGET").arg(&self.keys.meta).arg("forgotten");
        let forgotten: u64 = self.link.ask_one(&commands)?;
        let mut commands = redis::pipe();
        commands.cmd("HGETALL").arg(&self.keys.past);
        let pasts: Vec<(String, String)> = self.link.ask_one(&commands)?;
        let mut records = vec![Record::Forgotten(Sequence(forgotten))];
        for (channel, account) in pasts {
            let channel = ChannelName::parse(&channel).map_err(|_| LogError::strange())?;
            let past = read_account(&account).ok_or_else(LogError::strange)?;
            records.push(Record::Past { channel, past });
        }
        Ok(records)
    }

    /// Entries after a place that are old enough to be removed; none at the end.
    pub fn old_entries(
        &mut self,
        after: Sequence,
        upto: Sequence,
        now: SystemTime,
    ) -> Result<OldEntries, LogError> {
        let is_old = |told: &Told| now.duration_since(told.time()).is_ok_and(|age| age >= ENTRY_AGE_MIN);
        let entries = self.entries_between(after, upto)?;
        let old: Vec<Told> = entries.into_iter().map(|(_, told)| told).take_while(is_old).collect();
        let places: Vec<Sequence> = old.iter().map(Told::place).collect();
        Ok(OldEntries { places, records: old.into_iter().filter_map(Told::into_record).collect() })
    }

    /// Removes entries, and puts accounts of them beside the log.
    pub fn trim(&mut self, places: &[Sequence], needed: &Sifted) -> Result<(), LogError> {
        let (mut forgotten, mut accounts) = (Sequence(0), Vec::new());
        for record in &needed.carry {
            match record {
                Record::Past { channel, past } => accounts.push((channel, past)),
                Record::Forgotten(upto) => forgotten = *upto,
                // Ids have a table of their own, and the others stay where they are.
                Record::Id { .. } | Record::Message { .. } | Record::Deleted { .. } => {}
            }
        }
        let Keys { log, meta, past, order, .. } = &self.keys;
        let mut commands = redis::pipe();
        let command = commands.cmd("EVALSHA").arg(self.link.hash(Script::Trim));
        command.arg(4).arg(log).arg(meta).arg(past).arg(order);
        command.arg(self.epoch.0).arg(forgotten.0).arg(CHANNELS).arg(accounts.len());
        for (channel, past) in accounts {
            command.arg(channel.as_str()).arg(past.dropped.0).arg(account(past));
        }
        for place in places {
            command.arg(place.0);
        }
        match self.link.ask_one::<i64>(&commands)? {
            0 => Ok(()),
            _ => Err(LogError::Replaced),
        }
    }

    /// Whether this node is the one that makes room now; another is asked to wait this long.
    pub fn takes_turn(&mut self, pause: Duration) -> Result<bool, LogError> {
        self.link.open()?;
        let mut commands = redis::pipe();
        let command = commands.cmd("SET").arg(&self.keys.turn).arg(1);
        command.arg("NX").arg("PX").arg(pause.as_millis() as u64);
        let set: Option<String> = self.link.ask_one(&commands)?;
        Ok(set.is_some())
    }
}

/// Names of keys, all in one slot of a cluster.
struct Keys {
    log: String,
    meta: String,
    last: String,
    ids: String,
    ended: String,
    past: String,
    order: String,
    turn: String,
    words: String,
}

impl Keys {
    fn new(prefix: &str) -> Keys {
        let key = |name: &str| format!("{{{prefix}}}:{name}");
        Keys {
            log: key("log"),
            meta: key("meta"),
            last: key("last"),
            ids: key("ids"),
            ended: key("ended"),
            past: key("past"),
            order: key("order"),
            turn: key("turn"),
            words: key("words"),
        }
    }
}

fn read<T: redis::FromRedisValue>(value: redis::Value) -> Result<T, LogError> {
    redis::from_redis_value(value).map_err(|error| LogError::Failed(error.to_string()))
}

fn appended(answer: redis::Value) -> Result<Appended, LogError> {
    let answer: Vec<i64> = read(answer)?;
    match *answer.as_slice() {
        [-1] => Err(LogError::Replaced),
        [0, item, last] => {
            let last = (last > 0).then_some(Sequence(last.unsigned_abs()));
            Ok(Appended::Unexpected { item: item.unsigned_abs() as usize, last })
        }
        [1, ref places @ ..] => Ok(Appended::At(places.iter().map(|&place| placed(place)).collect())),
        _ => Err(LogError::strange()),
    }
}

fn placed(place: i64) -> (Sequence, Repeated) {
    let repeated = if place < 0 { Repeated::Yes } else { Repeated::No };
    (Sequence(place.unsigned_abs()), repeated)
}

/// An account as text: four numbers.
fn account(past: &Past) -> String {
    let Past { dropped, count, first, vouched } = past;
    format!("{} {count} {} {}", dropped.0, first.0, vouched.0)
}

fn read_account(text: &str) -> Option<Past> {
    let numbers: Vec<u64> = text.split(' ').map(|number| number.parse().ok()).collect::<Option<_>>()?;
    let &[dropped, count, first, vouched] = numbers.as_slice() else { return None };
    Some(Past { dropped: Sequence(dropped), count, first: Sequence(first), vouched: Sequence(vouched) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_reads_what_it_writes() {
        let past = Past { dropped: Sequence(9), count: 3, first: Sequence(2), vouched: Sequence(1) };
        assert_eq!(read_account(&account(&past)), Some(past));
        assert_eq!(read_account("1 2 3"), None);
    }

    #[test]
    fn an_answer_of_the_script_says_what_became_of_each_message() {
        let answer = |numbers: &[i64]| {
            appended(redis::Value::Array(numbers.iter().map(|&number| redis::Value::Int(number)).collect()))
        };
        let places = vec![(Sequence(7), Repeated::No), (Sequence(3), Repeated::Yes)];
        assert_eq!(answer(&[1, 7, -3]), Ok(Appended::At(places)));
        assert_eq!(answer(&[0, 2, 5]), Ok(Appended::Unexpected { item: 2, last: Some(Sequence(5)) }));
        assert_eq!(answer(&[0, 0, 0]), Ok(Appended::Unexpected { item: 0, last: None }));
        assert_eq!(answer(&[-1]), Err(LogError::Replaced));
        assert_eq!(answer(&[2]), Err(LogError::strange()));
    }
}
