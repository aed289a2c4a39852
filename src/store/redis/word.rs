//! Words: what one node tells all others through the log, and what is remembered of it for those that start later.
//!
//! What they mean is said elsewhere. A word has its place among the messages, so that every node hears it between the
//! same two; its entry leaves the log as soon as every node can have read it, and its name is remembered beside the log.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::link::Script;
use super::{LogError, RedisLog};
use crate::message::Sequence;

/// What one node tells all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// When it was said, by the clock of who said it; to the millisecond.
    pub at: SystemTime,
    /// What is remembered of it. The same name said again counts from then.
    pub name: Box<[u8]>,
    /// What only those hear who listen now.
    pub more: Box<[u8]>,
}

/// What is remembered of the words that were said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words {
    /// Their names, each with when it was said last; in the order of those times.
    pub said: Vec<(SystemTime, Box<[u8]>)>,
    /// Some that were said up to here are forgotten, since there were too many.
    pub forgotten: Option<SystemTime>,
}

/// How many words are remembered, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// At most so many.
    pub count: usize,
    /// Those of the last hours.
    pub age: Duration,
}

impl Word {
    /// From an entry's fields: its name, then what stands behind the entry's time.
    pub(super) fn read(name: &[u8], rest: &[Vec<u8>]) -> Option<Word> {
        let [_, more, _, at] = rest else { return None };
        let at = std::str::from_utf8(at).ok()?.parse().ok()?;
        Some(Word { at: moment(at)?, name: name.into(), more: more.as_slice().into() })
    }
}

impl RedisLog {
    /// Says a word. Where it stands when this returns: every node hears it, and those that start later find its name.
    pub fn tell(&mut self, word: &Word, memory: Memory) -> Result<Sequence, LogError> {
        self.link.open()?;
        let said = millis(word.at);
        let mut commands = redis::pipe();
        let command = commands.cmd("EVALSHA").arg(self.link.hash(Script::Tell));
        command.arg(3).arg(&self.keys.log).arg(&self.keys.meta).arg(&self.keys.words);
        command.arg(self.epoch.0).arg(said).arg(&*word.name).arg(&*word.more);
        command.arg(memory.count).arg(said.saturating_sub(memory.age.as_millis() as u64));
        let place: i64 = self.link.ask_one(&commands)?;
        u64::try_from(place).map(Sequence).map_err(|_| LogError::Replaced)
    }

    /// What is remembered.
    pub(super) fn words(&mut self) -> Result<Words, LogError> {
        let mut commands = redis::pipe();
        commands.cmd("ZRANGE").arg(&self.keys.words).arg(0).arg(-1).arg("WITHSCORES");
        commands.cmd("HGET").arg(&self.keys.meta).arg("words_forgotten");
        let [said, forgotten] = self.link.ask_all(&commands)?;
        let said: Vec<(Vec<u8>, u64)> = super::read(said)?;
        let read = |(name, at): (Vec<u8>, u64)| Some((moment(at)?, name.into_boxed_slice()));
        let said = said.into_iter().map(read).collect::<Option<_>>().ok_or_else(LogError::strange)?;
        let forgotten: Option<u64> = super::read(forgotten)?;
        Ok(Words { said, forgotten: forgotten.and_then(moment) })
    }
}

fn millis(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

fn moment(millis: u64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_millis(millis))
}
