//! Where the application of a held client is asked about it, by links of its own: for what the client lacks
//! (`rel=next`), and when it has gone (`rel=gone`).
//!
//! Both lead to the host that the client's request was for. Nothing of the client goes with them but what it has: the
//! last id on each channel. So clients that lost the same are the same, and one answer is for all of them.

use std::sync::Arc;
use std::time::Duration;

use super::Company;
use crate::hold::Line;
use crate::message::{ChannelName, Frame, Start};

/// The ways that an application has named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ways {
    /// For what a stream lacks.
    pub next: Option<Way>,
    /// When its client has gone: path and query.
    pub gone: Option<Box<str>>,
}

/// The way to what a stream lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// Path and query.
    pub target: Arc<str>,
    /// How long its channels may be silent before it is gone.
    pub timeout: Duration,
}

/// Channels, and the id of the last message that a client has of each, where it is known.
pub type LastIds = Vec<(ChannelName, Box<str>)>;

/// What is said of a client that may lack something.
#[derive(Debug)]
pub struct Missing {
    /// Where to ask for it; nothing for the client of a response, which has asked for something already.
    pub target: Option<Arc<str>>,
    /// What it has.
    pub last_ids: LastIds,
    /// The way back to it.
    pub line: Line,
}

/// What came of asking. It is for all that lacked the same.
#[derive(Debug)]
pub struct Resume {
    /// What stands behind the streams so far.
    pub body: Frame,
    /// How they go on; nothing where they end.
    pub onward: Option<Onward>,
}

/// How a stream goes on.
#[derive(Debug)]
pub struct Onward {
    /// Its channels, and where each begins.
    pub wishes: Vec<(ChannelName, Start)>,
    /// What goes with it.
    pub company: Company,
}
