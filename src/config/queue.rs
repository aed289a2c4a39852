//! `queue` of a pool: who waits for a server, for how long, and before whom.

use std::num::NonZeroU32;
use std::time::Duration;

use ipnet::IpNet;

use super::form;
use super::section::{Key, Section, Value};
use super::tree::Content;

/// The waiting line of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueConfig {
    /// Requests that may wait.
    pub length: usize,
    /// How long one may wait.
    pub timeout: Duration,
    /// Requests that wait before all others; one sign is enough.
    pub high: Vec<SignConfig>,
    /// Requests that wait behind all others; one sign is enough, and `high` counts more.
    pub low: Vec<SignConfig>,
    /// How many may be served before somebody of a lower class who waits; `None` is `off`.
    pub relief: Option<NonZeroU32>,
}

/// By what a request is told from others: all that is given has to fit, and something is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SignConfig {
    /// A cookie.
    pub cookie: Option<NamedConfig>,
    /// A header field; its name is lower case.
    pub header: Option<NamedConfig>,
    /// What the path begins with.
    pub path: Option<String>,
    /// Where the client is.
    pub peer: Option<IpNet>,
}

/// A cookie or a header field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedConfig {
    /// Its name.
    pub name: String,
    /// Its whole value; `None` is any.
    pub value: Option<String>,
}

impl Default for QueueConfig {
    fn default() -> Self {
        QueueConfig {
            // Some seconds of work for a pool of a few dozen workers; a longer line only makes answers late.
            length: 1000,
            // About as long as a person waits before they reload, which would queue a second request.
            timeout: Duration::from_secs(30),
            high: Vec::new(),
            low: Vec::new(),
            // A tenth of the connections for the less urgent: slow, but not starved.
            relief: NonZeroU32::new(10),
        }
    }
}

pub(super) static QUEUE: Section<QueueConfig> = Section {
    short: Some(form::COUNT_OR_NONE.expected),
    required: &[],
    keys: &[
        Key::new("length", |queue, value| value.put(&mut queue.length, &form::COUNT_OR_NONE)),
        Key::new("timeout", |queue, value| value.put(&mut queue.timeout, &form::DURATION)),
        Key::section("high", "[].", &SIGN, |queue, value| queue.high = signs(value)),
        Key::section("low", "[].", &SIGN, |queue, value| queue.low = signs(value)),
        Key::new("relief", |queue, value| value.put(&mut queue.relief, &form::TURNS)),
    ],
};

static SIGN: Section<SignConfig> = Section {
    short: None,
    required: &[],
    keys: &[
        Key::new("cookie", |sign, value| sign.cookie = value.read(&form::COOKIE)),
        Key::new("header", |sign, value| sign.header = value.read(&form::HEADER)),
        Key::new("path", |sign, value| sign.path = value.read(&form::PATH)),
        Key::new("peer", |sign, value| sign.peer = value.read(&form::NET)),
    ],
};

/// Signs of a class, each with at least one key: none at all would fit every request.
fn signs(value: Value<'_>) -> Vec<SignConfig> {
    let mut signs = Vec::new();
    value.each_of_some(|item| {
        let mut sign = SignConfig::default();
        let is_empty = matches!(&item.node.content, Content::Map(entries) if entries.is_empty());
        match is_empty {
            true => item.refuse("cookie, header, path or peer"),
            false => SIGN.fill(&mut sign, item),
        }
        signs.push(sign);
    });
    signs
}
