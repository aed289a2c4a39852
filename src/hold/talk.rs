//! Words with a held connection from outside its shard: who holds it says what becomes of it, who owns it answers.
//!
//! An [`Ear`] travels with the hold and comes to its end with it: whatever happens, its owner is told once how. A
//! [`Line`] is what the owner is given to answer through; it reaches that one hold, and nothing when that is over.
//!
//! **A poll** is told [`Said::Here`] and [`Said::Over`], and answered once.
//!
//! **A WebSocket** whose ear is [listening](Ear::listening) has a conversation besides. To listen, put such an ear into
//! the `Hold`; channels may stand beside it, or none at all.
//!
//! * Its owner hears `Here`, then what the client says as [`Said::Words`], in order, each whole (fragments are put
//!   together, text is UTF-8, longer ones than the ear takes end it with 1009), then `Over`, and nothing afterwards.
//!   Pings are answered and keep-alives sent by the shard, and neither is told.
//! * Each of the words comes with a [`Receipt`], to be dropped when they are done with, whatever became of them. While
//!   [`WORDS_AHEAD`] of them, or as many bytes as one message may have, are not, the shard doesn't read the socket, so
//!   that a client that says more than its owner can bear is slowed down by its own system. The same while the client
//!   doesn't take what it was told. So an owner's queue needs no other bound: it is one of words a connection.
//! * Its owner speaks by [`Speech::Message`] and ends it by [`Speech::Close`]. What was spoken before is said first. For
//!   every message it hears [`Said::Sent`] once it is with the client's system, and so knows what would be lost with the
//!   connection; it waits for that before it says more than it was asked. More than [`SPEECHES_AHEAD`] that a client
//!   doesn't take end it as too slow.
//! * A client that closes is answered with its own code by the shard; the owner hears [`End::Left`] with it.
//! * Where the ear [listens to all](Ear::listening_to_all), its owner hears pings and pongs as words, too, and answers the
//!   pings itself.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::grip::{Control, LastIds, Missing, Resume, Ruling};
use super::{Answer, Hold};
use crate::message::Sequence;
pub use crate::transport::websocket::Kind;

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
    /// The client of a WebSocket has said this.
    Words(Words),
    /// So many more of the messages that the owner has spoken are with the client's system.
    Sent(usize),
    /// A publisher wants the owner to look after it.
    Wanted,
    /// Its client may lack something, which the owner asks the application for.
    Missing(Box<Missing>),
    /// It is over.
    Over(End),
}

/// A message of a client.
#[derive(Debug)]
pub struct Words {
    /// Text is UTF-8.
    pub kind: Kind,
    /// The whole of it.
    pub data: Vec<u8>,
    /// Lets the client go on when it is dropped.
    pub receipt: Receipt,
}

/// How a hold has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// What its owner answered is with the client's system.
    Answered,
    /// The client was given the words that the hold brought along for its end, or its owner's last.
    Spoken,
    /// The client has closed its WebSocket, with this code and reason where it gave some.
    Left(Option<(u16, Box<str>)>),
    /// The client is gone, or took too long.
    Lost,
}

/// Messages of a client that are out at its owner before the socket is read again: enough that a burst is heard in one
/// turn, and few beside what a socket's own buffers hold.
pub const WORDS_AHEAD: usize = 16;
/// Messages for a client that wait for its socket: more than that is said faster than it listens.
pub const SPEECHES_AHEAD: usize = 64;

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
    /// A message for the client of a WebSocket, and how many of the hub's are in it.
    Message(Kind, Vec<u8>, usize),
    /// Whole frames for the client of a WebSocket.
    Frames(Vec<u8>),
    /// What an application of GRIP orders. What it subscribes to begins after this place.
    Grip(Box<Control>, Sequence),
    /// What a stream lacked, and how it goes on.
    Resume(Arc<Resume>),
    /// How the client of a response is held from now on, since its request was asked again.
    HoldAgain(Box<Hold>),
    /// The whole answer to it, and what stands behind its status where that isn't the usual word.
    Whole(Box<Answer>, Option<Box<str>>),
    /// What a filter's URL has said about a message.
    Ruled(Ruling),
    /// The end of a WebSocket, with a code that may be sent (RFC 6455 §7.4) and a reason, cut to 123 bytes; of
    /// anything else, in its usual words.
    Close(u16, Box<str>),
    /// The end without a word.
    Cut,
    /// So many messages of the client, with so many bytes, are done with. Receipts say so.
    Heard(usize, usize),
}

/// The owner's ear at a hold.
pub struct Ear {
    owner: Arc<dyn Hears>,
    hold: u64,
    open: bool,
    listens: Option<usize>,
    /// Whether it hears pings and pongs.
    hears_signs: bool,
}

/// A number for a hold, which no other has: a line knows by it whom it means.
pub fn fresh_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Ear {
    /// Of an owner that calls the hold by this number, a [fresh](fresh_number) one.
    pub fn new(owner: Arc<dyn Hears>, hold: u64) -> Ear {
        Ear { owner, hold, open: true, listens: None, hears_signs: false }
    }

    /// The same at a WebSocket, for messages of up to so many bytes.
    pub fn listening(owner: Arc<dyn Hears>, hold: u64, bytes_max: usize) -> Ear {
        Ear { owner, hold, open: true, listens: Some(bytes_max), hears_signs: false }
    }

    /// The same for pings and pongs besides.
    pub fn listening_to_all(owner: Arc<dyn Hears>, hold: u64, bytes_max: usize) -> Ear {
        Ear { owner, hold, open: true, listens: Some(bytes_max), hears_signs: true }
    }

    /// Whether its owner hears pings and pongs.
    pub fn hears_signs(&self) -> bool {
        self.hears_signs
    }

    /// Bytes of the longest message that it takes; `None` where it takes none.
    pub fn bytes_max(&self) -> Option<usize> {
        self.listens
    }

    /// The number.
    pub fn hold(&self) -> u64 {
        self.hold
    }

    /// The hold can be answered.
    pub fn here(&self, to: Arc<dyn Speaks>, key: u32) {
        self.owner.hear(self.hold, Said::Here(Line { to, key, hold: self.hold }));
    }

    /// The client has said something.
    pub fn words(&self, (kind, data): (Kind, Vec<u8>), to: Arc<dyn Speaks>, key: u32) {
        let receipt = Receipt { line: Line { to, key, hold: self.hold }, bytes: data.len() };
        self.owner.hear(self.hold, Said::Words(Words { kind, data, receipt }));
    }

    /// So many more of its owner's messages are with the client's system.
    pub fn sent(&self, messages: usize) {
        self.owner.hear(self.hold, Said::Sent(messages));
    }

    /// A publisher wants its owner to look after the client.
    pub fn wanted(&self) {
        self.owner.hear(self.hold, Said::Wanted);
    }

    /// Its client may lack something.
    pub fn missing(&self, target: Option<Arc<str>>, last_ids: LastIds, to: Arc<dyn Speaks>, key: u32) {
        let line = Line { to, key, hold: self.hold };
        self.owner.hear(self.hold, Said::Missing(Box::new(Missing { target, last_ids, line })));
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

/// For words that are not done with yet.
#[derive(Debug)]
pub struct Receipt {
    line: Line,
    bytes: usize,
}

#[cfg(test)]
impl Receipt {
    /// For words without bytes.
    pub fn to(line: Line) -> Receipt {
        Receipt { line, bytes: 0 }
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        self.line.speak(Speech::Heard(1, self.bytes));
    }
}

/// The way to one hold.
#[derive(Clone)]
pub struct Line {
    to: Arc<dyn Speaks>,
    key: u32,
    hold: u64,
}

impl Line {
    /// To the hold, or whatever else, with this number at the connection with this key.
    pub fn new(to: Arc<dyn Speaks>, key: u32, hold: u64) -> Line {
        Line { to, key, hold }
    }

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
