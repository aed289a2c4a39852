//! Why a request gets no answer of the application: what each refusal is to clients, to metrics and to the log.

use std::io::ErrorKind::PermissionDenied;
use std::time::Duration;

use hyper::StatusCode;

use crate::access_log::End;
use crate::hold::{BadInstruction, Crowd};
use crate::upstream::{NoLease, Why};

/// Seconds after which a client may try again where nobody knows better: queues and holds empty within some.
const RETRY_SECONDS: u64 = 5;

/// Why a request gets no answer of the application.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The request can't be understood in one way only.
    #[error("{0}")]
    BadRequest(&'static str),
    /// No site or route is meant by it.
    #[error("no site is configured here for this address")]
    NoRoute,
    /// The client's address may not come in here.
    #[error("this address has no access here")]
    Denied,
    /// The client's address sends more than it may; how long it has to wait.
    #[error("too many requests come from this address")]
    TooFast(Duration),
    /// The site is closed for a while; when clients should try again.
    #[error("this site is closed for maintenance")]
    Maintenance(Option<Duration>),
    /// CONNECT, TRACE.
    #[error("this method is not allowed here")]
    Method,
    /// There is no such file, or none that may be seen.
    #[error("there is nothing here")]
    NoFile,
    /// A file can be read, and nothing else be done with it.
    #[error("only GET and HEAD are allowed here")]
    ReadOnly,
    /// Messages are taken here, and nothing else is done.
    #[error("messages come by POST, or by GET in `message`")]
    MessagesOnly,
    /// The system doesn't give a file out.
    #[error("the file can not be read")]
    File(std::io::Error),
    /// The body stopped.
    #[error("the request body took too long")]
    BodyTimeout,
    /// The client broke off its body, or broke its framing.
    #[error("the request body broke off")]
    BodyBroken,
    /// The body passes the limit.
    #[error("the request body is too large")]
    BodyTooLarge,
    /// The body was kept on disk, which failed.
    #[error("the request body can not be stored")]
    Storage,
    /// `Expect` wants something unknown.
    #[error("the only expectation that can be met is 100-continue")]
    Expectation,
    /// There is no connection for it.
    #[error("{}", no_lease(.0))]
    NoLease(#[from] NoLease),
    /// The application's connection gave no answer.
    #[error("{0}")]
    NoAnswer(Why),
    /// The application's answer didn't come in time.
    #[error("the server did not answer in time")]
    ResponseTimeout,
    /// The application doesn't take the request.
    #[error("the server did not take the request in time")]
    UploadTimeout,
    /// The application's answer can't be passed on.
    #[error("{0}")]
    BadAnswer(&'static str),
    /// The application's answer broke off before anything of it was passed on.
    #[error("the server broke off its answer")]
    Truncated,
    /// The application's instruction can't be understood. The client isn't told what it says.
    #[error("the server sent an instruction that can not be understood")]
    BadInstruction(BadInstruction),
    /// The application's answer points to where nothing may be fetched. The client isn't told where.
    #[error("the server sent an instruction that can not be followed")]
    BadHandoff(BadInstruction),
    /// What the application's answer points to can't be had.
    #[error("what is asked for can not be reached")]
    Unfetched,
    /// The body that goes with a hold passes the limit.
    #[error("the server's answer is too large for a connection that is held")]
    HoldBody,
    /// The application holds WebSockets here, and the request is none.
    #[error("only a WebSocket of version 13 can be opened here")]
    UpgradeRequired,
    /// A client sends what only the proxy may say of its WebSockets.
    #[error("clients may not send WebSocket events here")]
    ForgedEvents,
    /// A page of another site wants a WebSocket, which would carry the cookies of its visitor.
    #[error("pages of this origin may not open a WebSocket here")]
    ForeignOrigin,
    /// No place is left for another hold.
    #[error("too many connections are held")]
    HoldsFull,
    /// A channel has no place for another hold.
    #[error("too many connections are held on a channel")]
    ChannelFull,
    /// The client's address has no place for another hold.
    #[error("too many connections of this address are held")]
    AddressFull,
    /// Too many clients want to be held at once; how long this one has to wait.
    #[error("too many connections come to be held")]
    HoldsRush(Duration),
}

/// Servers are not named to clients.
fn no_lease(reason: &NoLease) -> &'static str {
    match reason {
        NoLease::QueueFull => "every connection to the server is busy and the queue is full",
        NoLease::QueueTimeout(_) => "every connection to the server stayed busy for too long",
        NoLease::Connect { .. } => "the server can not be reached",
        NoLease::ConnectTimeout { .. } => "the server could not be reached in time",
    }
}

impl From<Crowd> for Refusal {
    fn from(crowd: Crowd) -> Refusal {
        match crowd {
            Crowd::Full => Refusal::HoldsFull,
            Crowd::Rush(wait) => Refusal::HoldsRush(wait),
            Crowd::Channel => Refusal::ChannelFull,
            Crowd::Address => Refusal::AddressFull,
        }
    }
}

impl Refusal {
    /// The status that says it.
    pub fn status(&self) -> StatusCode {
        match self {
            Refusal::BadRequest(_) | Refusal::BodyBroken => StatusCode::BAD_REQUEST,
            Refusal::NoRoute | Refusal::NoFile => StatusCode::NOT_FOUND,
            Refusal::Method | Refusal::ReadOnly | Refusal::MessagesOnly => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::Denied | Refusal::ForeignOrigin | Refusal::ForgedEvents => StatusCode::FORBIDDEN,
            Refusal::UpgradeRequired => StatusCode::UPGRADE_REQUIRED,
            Refusal::TooFast(_) => StatusCode::TOO_MANY_REQUESTS,
            Refusal::Maintenance(_) => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::File(error) if error.kind() == PermissionDenied => StatusCode::FORBIDDEN,
            Refusal::File(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Refusal::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Refusal::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::Storage => StatusCode::INSUFFICIENT_STORAGE,
            Refusal::Expectation => StatusCode::EXPECTATION_FAILED,
            Refusal::NoLease(NoLease::QueueFull | NoLease::QueueTimeout(_))
            | Refusal::HoldsFull
            | Refusal::ChannelFull
            | Refusal::AddressFull
            | Refusal::HoldsRush(_)
            | Refusal::Unfetched => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::NoLease(NoLease::ConnectTimeout { .. })
            | Refusal::ResponseTimeout
            | Refusal::UploadTimeout => StatusCode::GATEWAY_TIMEOUT,
            Refusal::NoLease(NoLease::Connect { .. })
            | Refusal::NoAnswer(_)
            | Refusal::BadAnswer(_)
            | Refusal::Truncated
            | Refusal::BadInstruction(_)
            | Refusal::BadHandoff(_)
            | Refusal::HoldBody => StatusCode::BAD_GATEWAY,
        }
    }

    /// Its word in `perihelion_request_errors_total`.
    pub fn reason(&self) -> &'static str {
        Refusal::REASONS[self.index()]
    }

    pub(super) const REASONS: [&str; 28] = [
        "bad_request",
        "no_route",
        "method",
        "body_timeout",
        "body_broken",
        "body_too_large",
        "expectation",
        "queue_full",
        "queue_timeout",
        "connect",
        "connect_timeout",
        "upstream_reset",
        "upstream_timeout",
        "bad_response",
        "bad_instruction",
        "hold_body_too_large",
        "holds_full",
        "no_file",
        "file",
        "denied",
        "unfetched",
        "upgrade_required",
        "too_fast",
        "maintenance",
        "storage",
        "holds_rush",
        "channel_full",
        "address_full",
    ];

    /// Its place in [`Refusal::REASONS`].
    pub(super) fn index(&self) -> usize {
        match self {
            Refusal::BadRequest(_) => 0,
            Refusal::NoRoute => 1,
            Refusal::Method | Refusal::ReadOnly | Refusal::MessagesOnly => 2,
            Refusal::BodyTimeout => 3,
            Refusal::BodyBroken => 4,
            Refusal::BodyTooLarge => 5,
            Refusal::Expectation => 6,
            Refusal::NoLease(NoLease::QueueFull) => 7,
            Refusal::NoLease(NoLease::QueueTimeout(_)) => 8,
            Refusal::NoLease(NoLease::Connect { .. }) => 9,
            Refusal::NoLease(NoLease::ConnectTimeout { .. }) => 10,
            Refusal::NoAnswer(Why::BadResponse) | Refusal::BadAnswer(_) => 13,
            Refusal::NoAnswer(_) | Refusal::Truncated => 11,
            Refusal::ResponseTimeout | Refusal::UploadTimeout => 12,
            Refusal::BadInstruction(_) | Refusal::BadHandoff(_) => 14,
            Refusal::HoldBody => 15,
            Refusal::HoldsFull => 16,
            Refusal::NoFile => 17,
            Refusal::File(_) => 18,
            Refusal::Denied | Refusal::ForeignOrigin | Refusal::ForgedEvents => 19,
            Refusal::Unfetched => 20,
            Refusal::UpgradeRequired => 21,
            Refusal::TooFast(_) => 22,
            Refusal::Maintenance(_) => 23,
            Refusal::Storage => 24,
            Refusal::HoldsRush(_) => 25,
            Refusal::ChannelFull => 26,
            Refusal::AddressFull => 27,
        }
    }

    /// Its word in the access log.
    pub(super) fn end(&self) -> End {
        match self {
            Refusal::NoLease(NoLease::QueueFull) => End::QueueFull,
            Refusal::NoLease(NoLease::QueueTimeout(_)) => End::QueueTimeout,
            Refusal::NoLease(NoLease::Connect { .. } | NoLease::ConnectTimeout { .. }) => {
                End::UpstreamConnect
            }
            Refusal::NoAnswer(Why::BadResponse)
            | Refusal::BadAnswer(_)
            | Refusal::BadInstruction(_)
            | Refusal::BadHandoff(_)
            | Refusal::Unfetched
            | Refusal::HoldBody => End::UpstreamBad,
            Refusal::NoAnswer(_) | Refusal::Truncated => End::UpstreamReset,
            Refusal::ResponseTimeout | Refusal::UploadTimeout => End::UpstreamTimeout,
            _ => End::Refused,
        }
    }

    /// Tells the operator what only he can mend; a client's mistake is a counter.
    pub(super) fn tell(&self, site: &str, path: &str) {
        match self.reasons() {
            Some(reasons) => tracing::warn!(site, path, "{reasons}"),
            None if self.status().is_server_error() => tracing::debug!("{self}"),
            None => {}
        }
    }

    /// What clients aren't told of it.
    pub(super) fn reasons(&self) -> Option<String> {
        match self {
            Refusal::BadInstruction(bad) | Refusal::BadHandoff(bad) => Some(bad.to_string()),
            Refusal::HoldBody => Some(format!("{self}: raise limits.hold_body or send less")),
            Refusal::NoLease(reason @ NoLease::Connect { source, .. }) => Some(format!("{reason}: {source}")),
            Refusal::NoLease(reason @ NoLease::ConnectTimeout { .. }) => Some(reason.to_string()),
            Refusal::File(error) => Some(format!("{self}: {error}")),
            _ => None,
        }
    }

    /// The methods that a 405 offers.
    pub(super) fn allowed(&self) -> &'static str {
        match self {
            Refusal::ReadOnly => "GET, HEAD",
            Refusal::MessagesOnly => "GET, POST",
            _ => "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
        }
    }

    /// Seconds after which trying again may help, a begun one as a whole.
    pub(super) fn retry_after(&self) -> Option<u64> {
        match self {
            Refusal::TooFast(wait) | Refusal::HoldsRush(wait) => {
                Some(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
            }
            Refusal::Maintenance(time) => time.map(|time| time.as_secs()),
            _ => (self.status() == StatusCode::SERVICE_UNAVAILABLE).then_some(RETRY_SECONDS),
        }
    }

    /// Whether it is unclear where the next request would begin.
    pub(super) fn ends_connection(&self) -> bool {
        matches!(
            self,
            Refusal::BadRequest(_)
                | Refusal::Method
                | Refusal::BodyTimeout
                | Refusal::BodyBroken
                | Refusal::BodyTooLarge
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_a_reason_of_its_own_kind() {
        let timeout = Refusal::NoLease(NoLease::QueueTimeout(Duration::from_secs(1)));
        assert_eq!((timeout.reason(), timeout.end()), ("queue_timeout", End::QueueTimeout));
        assert_eq!(Refusal::HoldsFull.reason(), "holds_full");
        assert_eq!((Refusal::NoFile.reason(), Refusal::Unfetched.reason()), ("no_file", "unfetched"));
        assert_eq!(Refusal::NoAnswer(Why::BadResponse).reason(), "bad_response");
    }
}
