//! `timeouts` and `drain`: the clocks of a request, and those by which the proxy leaves.

use std::time::Duration;

use super::form;
use super::section::{Key, Section};

/// The clocks of a request; each of them separate.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// From the first byte of a request to the end of its head (408); also for a TLS handshake.
    pub request_head: Duration,
    /// Silence between two requests of a kept connection.
    pub idle: Duration,
    /// Silence of an HTTP/2 client that has requests open, until it is asked for a sign of life; and how long it may take.
    pub ping: Duration,
    /// Silence inside a body, from or to the client or the application.
    pub body: Duration,
    /// Connecting to a server.
    pub connect: Duration,
    /// From the request sent to the head of the answer (504).
    pub response: Duration,
    /// Silence inside a tunnel, such as a WebSocket that is passed on.
    pub tunnel: Duration,
    /// Bytes a second that a request's body has to come with while it is waited for; `None` is `off`.
    pub body_rate: Option<u64>,
    /// How long a body is waited for before its rate counts.
    pub body_grace: Duration,
    /// Bytes a second that a client has to take of answers while it is waited for; `None` is `off`.
    pub answer_rate: Option<u64>,
}

/// How the proxy leaves.
#[derive(Debug, Clone)]
pub struct DrainConfig {
    /// After this the rest is cut.
    pub timeout: Duration,
    /// Held streams end spread over this, or over less where they are few and the file doesn't say it.
    pub spread: Duration,
    /// Whether the file says it, and means it.
    pub spread_is_typed: bool,
    /// How long `/readyz` says 503 before listeners close.
    pub lameduck: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            // A head is one packet or two; who takes longer holds a connection on purpose.
            request_head: Duration::from_secs(10),
            // Over the 60 s of load balancers, so that they close first and never send into a closing connection.
            idle: Duration::from_secs(75),
            // Within the time that home routers remember a silent connection.
            ping: Duration::from_secs(30),
            // Silence, not duration: a slow phone still sends something within a minute.
            body: Duration::from_secs(60),
            // A lost SYN is sent again after 1 and 3 s.
            connect: Duration::from_secs(5),
            // What nginx and Apache allow an application.
            response: Duration::from_secs(60),
            // Longer than WebSockets are silent that have a ping of their own.
            tunnel: Duration::from_secs(3600),
            // Apache's mod_reqtimeout asks for as many; a telephone's worst network gives ten times that.
            body_rate: Some(500),
            // A connection that has just begun is slow, and a short body needs no more.
            body_grace: Duration::from_secs(10),
            // What Kestrel and IIS ask for: less than any line that a person would wait at.
            answer_rate: Some(240),
        }
    }
}

impl Default for DrainConfig {
    fn default() -> Self {
        DrainConfig {
            // What systemd, Docker's `stop -t` users and Kubernetes commonly allow before they kill.
            timeout: Duration::from_secs(30),
            // Slow enough that those who come back don't arrive in the same second.
            spread: Duration::from_secs(10),
            spread_is_typed: false,
            // Only behind a load balancer that asks `/readyz` is waiting of use.
            lameduck: Duration::ZERO,
        }
    }
}

pub(super) static TIMEOUTS: Section<Timeouts> = Section {
    short: None,
    required: &[],
    keys: &[
        Key::new("request_head", |timeouts, value| value.put(&mut timeouts.request_head, &form::DURATION)),
        Key::new("idle", |timeouts, value| value.put(&mut timeouts.idle, &form::DURATION)),
        Key::new("ping", |timeouts, value| value.put(&mut timeouts.ping, &form::DURATION)),
        Key::new("body", |timeouts, value| value.put(&mut timeouts.body, &form::DURATION)),
        Key::new("tunnel", |timeouts, value| value.put(&mut timeouts.tunnel, &form::DURATION)),
        Key::new("connect", |timeouts, value| value.put(&mut timeouts.connect, &form::DURATION)),
        Key::new("response", |timeouts, value| value.put(&mut timeouts.response, &form::DURATION)),
        Key::new("body_rate", |timeouts, value| value.put(&mut timeouts.body_rate, &form::SIZE_OR_OFF)),
        Key::new("body_grace", |timeouts, value| value.put(&mut timeouts.body_grace, &form::DURATION)),
        Key::new("answer_rate", |timeouts, value| value.put(&mut timeouts.answer_rate, &form::SIZE_OR_OFF)),
    ],
};

pub(super) static DRAIN: Section<DrainConfig> = Section {
    short: None,
    required: &[],
    keys: &[
        Key::new("timeout", |drain, value| value.put(&mut drain.timeout, &form::DURATION)),
        Key::new("spread", |drain, value| {
            drain.spread_is_typed = true;
            value.put(&mut drain.spread, &form::DELAY);
        }),
        Key::new("lameduck", |drain, value| value.put(&mut drain.lameduck, &form::DELAY)),
    ],
};
