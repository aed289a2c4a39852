//! The entries of the log: what nodes tell each other, each at its place.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::LogError;
use super::word::Word;
use crate::message::{ChannelName, Message, Sequence};
use crate::store::Numbered;
use crate::store::record::{self, Record};

/// What another node, or this one, has appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// A message, and when it was published.
    Message(SystemTime, Numbered),
    /// When and at which place a channel was deleted.
    Deleted(SystemTime, Sequence, ChannelName),
    /// When and at which place a word was said.
    Word(SystemTime, Sequence, Word),
}

/// The last entry that a node has read: its place, and its time as it is written there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mark {
    pub(super) place: Sequence,
    pub(super) time: String,
}

/// An entry as Redis tells it: its id, then names and values of its fields.
pub(super) type Raw = (String, Vec<Vec<u8>>);

impl Mark {
    /// The last place that was read; 0 before the first.
    pub fn place(&self) -> Sequence {
        self.place
    }

    /// Its time, where it is the entry at this place.
    pub(super) fn time_at(&self, place: Sequence) -> String {
        if self.place == place { self.time.clone() } else { String::new() }
    }
}

impl Told {
    /// Where it stands.
    pub fn place(&self) -> Sequence {
        match self {
            Told::Message(_, numbered) => numbered.sequence,
            Told::Deleted(_, place, _) | Told::Word(_, place, _) => *place,
        }
    }

    /// When it was appended, by Redis's clock.
    pub(super) fn time(&self) -> SystemTime {
        let (Told::Message(at, _) | Told::Deleted(at, ..) | Told::Word(at, ..)) = self;
        *at
    }

    /// What channels keep of it, if they do.
    pub(super) fn into_record(self) -> Option<Record> {
        match self {
            Told::Message(at, Numbered { sequence, message }) => {
                let at = at.duration_since(UNIX_EPOCH).map_or(0, |at| at.as_millis() as u64);
                Some(Record::Message { sequence, at, message })
            }
            Told::Deleted(_, upto, channel) => Some(Record::Deleted { upto, channel }),
            Told::Word(..) => None,
        }
    }
}

pub(super) fn read_entry((id, fields): Raw) -> Result<(Mark, Told), LogError> {
    let place = id.strip_suffix("-0").and_then(|place| place.parse().ok()).map(Sequence);
    let place = place.ok_or_else(LogError::strange)?;
    let [kind, content, _, time, rest @ ..] = fields.as_slice() else { return Err(LogError::strange()) };
    let time = String::from_utf8(time.clone()).map_err(|_| LogError::strange())?;
    let micros = time.parse().map_err(|_| LogError::strange())?;
    let at = UNIX_EPOCH + Duration::from_micros(micros);
    let told = match kind.as_slice() {
        b"m" => {
            let message = read_message(content).ok_or_else(LogError::strange)?;
            Told::Message(at, Numbered { sequence: place, message })
        }
        b"w" => Told::Word(at, place, Word::read(content, rest).ok_or_else(LogError::strange)?),
        b"d" => Told::Deleted(at, place, ChannelName::from_bytes(content).map_err(|_| LogError::strange())?),
        _ => return Err(LogError::strange()),
    };
    Ok((Mark { place, time }, told))
}

fn read_message(bytes: &[u8]) -> Option<Message> {
    match record::read_all(bytes).ok()?.pop()? {
        Record::Message { message, .. } => Some(message),
        _ => None,
    }
}
