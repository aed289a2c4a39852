//! Words with a held connection from outside its shard: who holds it says what becomes of it, who owns it answers.
//!
//! An [`Ear`] travels with the hold and comes to its end with it: whatever happens, its owner is told once how. A
//! [`Line`] is what the owner is given to answer through; it reaches that one hold, and nothing when that is over.

use std::fmt;
use std::sync::Arc;

/// Whoever owns what is held.
pub trait Hears: Send + Sync {
    /// Is told of the hold with this number. Called by threads that must not wait.
    fn hear(&self, hold: u64, said: Said);
}

/// What is said of a hold.
#[derive(Debug)]
pub enum Said {
    /// It is held, and can be answered.
    Here(Line),
    /// It is over.
    Over(End),
}

/// How a hold has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// What its owner answered is with the client's system.
    Answered,
    /// The client was given the words that the hold brought along for its end.
    Spoken,
    /// The client is gone, or took too long.
    Lost,
}

/// Whoever holds.
pub trait Speaks: Send + Sync {
    /// Says something on the connection with this key, if it still has the hold with this number.
    fn speak(&self, key: u32, hold: u64, speech: Speech);
}

/// What an owner wants to be said.
#[derive(Debug)]
pub enum Speech {
    /// The body of the answer to a poll, and how many messages are in it.
    Answer(Vec<u8>, usize),
    /// Nothing but an error: another request has taken its place.
    Refuse,
}

/// The owner's ear at a hold.
pub struct Ear {
    owner: Arc<dyn Hears>,
    hold: u64,
    open: bool,
}

impl Ear {
    /// Of an owner that calls the hold by this number, which it never uses again.
    pub fn new(owner: Arc<dyn Hears>, hold: u64) -> Ear {
        Ear { owner, hold, open: true }
    }

    /// The number.
    pub fn hold(&self) -> u64 {
        self.hold
    }

    /// The hold can be answered.
    pub fn here(&self, to: Arc<dyn Speaks>, key: u32) {
        self.owner.hear(self.hold, Said::Here(Line { to, key, hold: self.hold }));
    }

    /// The hold is over. Where nobody says so it was lost.
    pub fn end(&mut self, end: End) {
        if std::mem::replace(&mut self.open, false) {
            self.owner.hear(self.hold, Said::Over(end));
        }
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.end(End::Lost);
    }
}

impl fmt::Debug for Ear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ear({})", self.hold)
    }
}

/// The way to one hold.
pub struct Line {
    to: Arc<dyn Speaks>,
    key: u32,
    hold: u64,
}

impl Line {
    /// To a hold that is over.
    #[cfg(test)]
    pub fn nowhere() -> Line {
        struct Nobody;
        impl Speaks for Nobody {
            fn speak(&self, _key: u32, _hold: u64, _speech: Speech) {}
        }
        Line { to: Arc::new(Nobody), key: 0, hold: 0 }
    }

    /// Says something there. What comes of it is told by the hold's end.
    pub fn speak(&self, speech: Speech) {
        self.to.speak(self.key, self.hold, speech);
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Line({})", self.hold)
    }
}
