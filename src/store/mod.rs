//! What of the channels outlives the process, and how it is found again.
//!
//! The hub numbers; a store keeps what was numbered and says when it is safe. Only then does the hub hand it out, so
//! nobody is ever shown what a crash could take back. Without a store everything is in the hub's memory alone, and a
//! start begins a new epoch; with one, positions stay valid across starts.
//!
//! A log that several nodes share ([`RedisLog`]) is another thing: it numbers by itself, and the hub follows it.
//!
//! A store is written by one thread and knows neither hub nor sockets: what it needs to know when it makes room is
//! handed in ([`Sifted`]).

mod disk;
mod forms;
mod past;
mod record;
mod redis;
mod replay;

use std::io;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::SystemTime;

use crate::message::{ChannelName, Epoch, Message, Sequence};

#[cfg(test)]
pub(crate) use disk::fuzz;
pub use disk::{Disk, DiskSettings, Files, Folder};
pub use past::Past;
pub use record::Record;
pub use redis::{
    Appended, Following, LogError, Mark, Memory, OldEntries, RedisLog, RedisSettings, Repeated, Talk, Told,
    Word, Words,
};

/// A message with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbered {
    /// Its place in the order.
    pub sequence: Sequence,
    /// What was published.
    pub message: Message,
}

/// Keeps what the hub has numbered.
pub trait Store: Send {
    /// Keeps all of these messages, as safely as the store promises, or none of them. Their places are after all
    /// that were kept before.
    fn append(&mut self, messages: &[Numbered], at: SystemTime) -> Result<(), StoreError>;

    /// Remembers that a channel was deleted when `upto` was the last place given.
    fn delete(&mut self, channel: &ChannelName, upto: Sequence) -> Result<(), StoreError>;

    /// Makes safe what isn't yet, for stores that do so now and then.
    fn sync(&mut self) -> Result<(), StoreError>;

    /// Bytes that it takes.
    fn bytes(&self) -> u64;

    /// Whether a new part has begun since the last look at one: room should be made as fast as it is used.
    fn wants_room(&self) -> bool;

    /// A part of the store that may hold much that nobody needs any more. Each part comes up now and then.
    fn next_part(&mut self) -> Option<Part>;

    /// The records of a part.
    fn read_part(&mut self, number: u64) -> Result<Vec<Record>, StoreError>;

    /// Puts a part's records that are still needed in its place. Does nothing where that gains too little.
    fn replace_part(&mut self, number: u64, needed: &Sifted) -> Result<(), StoreError>;

    /// Makes everything safe for good.
    fn close(&mut self) -> Result<(), StoreError>;
}

/// A part of a store, by what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its number; the oldest has the lowest.
    pub number: u64,
    /// Messages in it.
    pub messages: u64,
    /// Where they stand; says nothing where there are none.
    pub places: RangeInclusive<Sequence>,
    /// There is none before it.
    pub is_oldest: bool,
}

/// What is still needed of a part's records.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Sifted {
    /// Those that have to stay where they are in the order.
    pub stay: Vec<Record>,
    /// What stands for others from now on: it goes behind everything else.
    pub carry: Vec<Record>,
}

/// Why a store didn't keep something. Nothing of it is left behind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// There is no room.
    #[error("the store is full: {0}")]
    Full(String),
    /// The system refuses, or what was refused before can't be taken back.
    #[error("the store can't be written: {0}")]
    Failed(String),
}

impl StoreError {
    fn of(error: &io::Error) -> StoreError {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                StoreError::Full(error.to_string())
            }
            _ => StoreError::Failed(error.to_string()),
        }
    }
}

/// What a store has kept of its earlier life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// Of its positions.
    pub epoch: Epoch,
    /// The last place given.
    pub head: Sequence,
    /// The last message of every channel that isn't known any more is at or before this place.
    pub forgotten: Sequence,
    /// Every channel that is known, by its name, with what is gone of it.
    pub channels: Vec<(ChannelName, Past)>,
    /// Messages in order, each of a channel above and after what is gone of it.
    pub messages: Vec<(SystemTime, Numbered)>,
    /// Publishers' ids in the order of their messages.
    pub ids: Vec<(ChannelName, Box<str>, Sequence)>,
}

/// Why a store can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file or folder.
    #[error("the store can't use {}: {reason}", path.display())]
    Unusable {
        /// Which.
        path: PathBuf,
        /// The system's reason.
        reason: io::Error,
    },
    /// Another process has it.
    #[error("the store {} is in use by another process", path.display())]
    InUse {
        /// Its folder.
        path: PathBuf,
    },
    /// What was safe isn't whole any more.
    #[error(
        "the store's file {file} is damaged at byte {at}: restore the folder from a copy, or move this file and \
         the file `identity` out of it; what is left is then served under a new epoch, and clients that come back \
         are told of a gap"
    )]
    Damaged {
        /// Its name.
        file: String,
        /// Where the first record begins that can't be read.
        at: usize,
    },
    /// Redis.
    #[error("the store in redis can't be used: {reason}")]
    Redis {
        /// What it said, or what the network did.
        reason: String,
    },
    /// Written by something else.
    #[error("the store's file {file} was not written by this version of the program")]
    Foreign {
        /// Its name.
        file: String,
    },
}
