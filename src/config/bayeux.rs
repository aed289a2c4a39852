//! `bayeux` of a route: its keys, and what each is when it is left out.

use std::time::Duration;

use super::authorize::{AUTHORIZE, AuthorizeConfig, authorize};
use super::form;
use super::section::{Key, Section};

/// Bayeux at a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BayeuxConfig {
    /// How long a connect is held.
    pub timeout: Duration,
    /// What clients wait between two connects.
    pub interval: Duration,
    /// How much longer than that a session lives without one.
    pub expiry: Duration,
    /// Connects that are held for one browser; `None` is `off`.
    pub per_browser: Option<usize>,
    /// Whether a session is known only to the browser that has begun it.
    pub same_browser: bool,
    /// When clients beyond that ask again.
    pub poll_interval: Duration,
    /// Channels and patterns of one session.
    pub subscriptions: usize,
    /// Messages that wait for one session.
    pub queue: usize,
    /// Bytes of their data; a single message may have more.
    pub queue_bytes: usize,
    /// Bytes of a request's body.
    pub body: usize,
    /// Who says what clients may do; `None` lets them do everything.
    pub authorize: Option<AuthorizeConfig>,
}

impl Default for BayeuxConfig {
    fn default() -> Self {
        BayeuxConfig {
            // Under the 30 s after which the more impatient middleboxes cut a silent connection.
            timeout: Duration::from_secs(25),
            // A client that waits is reached later, and gains nothing.
            interval: Duration::ZERO,
            // What CometD's server allows; a page that is reloaded is back in less.
            expiry: Duration::from_secs(10),
            // A browser of HTTP/1.1 has six connections for a host, and pages need some of them.
            per_browser: Some(1),
            // Ids can't be guessed, and programs, other origins and Faye's clients bring no cookies.
            same_browser: false,
            // What CometD's server says.
            poll_interval: Duration::from_secs(2),
            // As for other holds.
            subscriptions: 100,
            // As much as a channel's window keeps for those who lag.
            queue: 1024,
            queue_bytes: 1 << 20,
            // Some messages at once; those of clients are small.
            body: 256 << 10,
            // A proxy that asks nobody is what most applications of Bayeux want.
            authorize: None,
        }
    }
}

/// The keys of `bayeux`.
pub(super) static BAYEUX: Section<BayeuxConfig> = Section {
    short: None,
    required: &[],
    keys: &[
        Key::new("timeout", |bayeux, value| value.put(&mut bayeux.timeout, &form::DURATION)),
        Key::new("interval", |bayeux, value| value.put(&mut bayeux.interval, &form::DELAY)),
        Key::new("expiry", |bayeux, value| value.put(&mut bayeux.expiry, &form::DURATION)),
        Key::new("per_browser", |bayeux, value| value.put(&mut bayeux.per_browser, &form::COUNT_OR_OFF)),
        Key::new("same_browser", |bayeux, value| value.put(&mut bayeux.same_browser, &form::YES_OR_NO)),
        Key::new("poll_interval", |bayeux, value| value.put(&mut bayeux.poll_interval, &form::DURATION)),
        Key::new("subscriptions", |bayeux, value| value.put(&mut bayeux.subscriptions, &form::COUNT)),
        Key::new("queue", |bayeux, value| value.put(&mut bayeux.queue, &form::COUNT)),
        Key::new("queue_bytes", |bayeux, value| value.put(&mut bayeux.queue_bytes, &form::SIZE)),
        Key::new("body", |bayeux, value| value.put(&mut bayeux.body, &form::SIZE)),
        Key::section("authorize", ".", &AUTHORIZE, |bayeux, value| bayeux.authorize = authorize(value)),
    ],
};
