//! Whether a request is sent again, and where: before a byte of an answer was passed on, what may be repeated only,
//! and never more than the pool allows.

use std::time::Duration;

use hyper::http::request::Parts;
use hyper::{Method, StatusCode};

use super::check::Asked;
use crate::upstream::{Fault, Lease, Pool, Retry, SendError};

/// What has become of one request so far.
pub(super) struct Retries<'a> {
    pool: &'a Pool,
    /// Whether the application may get it twice, and can.
    is_replayable: bool,
    /// Whether an answer of 500 may be hidden.
    hides_errors: bool,
    renewed: bool,
    moved: usize,
    errors: usize,
}

/// How a request is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// On a fresh connection to the same server.
    Renewed,
    /// To another server.
    Elsewhere,
    /// Wherever a connection is free after this time.
    After(Duration),
}

impl<'a> Retries<'a> {
    pub(super) fn new(pool: &'a Pool, parts: &Parts, asked: &Asked) -> Retries<'a> {
        let is_replayable = asked.replayable;
        let hides_errors = is_replayable && matches!(parts.method, Method::GET | Method::HEAD);
        Retries { pool, is_replayable, hides_errors, renewed: false, moved: 0, errors: 0 }
    }

    /// After an answer: 500 and nothing else may be hidden, by a fixed schedule.
    pub(super) fn after_answer(&mut self, status: StatusCode) -> Option<Again> {
        if status != StatusCode::INTERNAL_SERVER_ERROR || !self.hides_errors {
            return None;
        }
        let delay = *self.pool.error_retries().get(self.errors)?;
        self.errors += 1;
        self.pool.may_retry(Retry::Status).then_some(Again::After(delay))
    }

    /// After none: a kept connection may have been closed before the request arrived; any other that broke was
    /// perhaps broken by the request, and that server doesn't get it again.
    pub(super) fn after_failure(&mut self, error: &SendError, lease: &Lease) -> Option<Again> {
        if !self.is_replayable || !error.silent {
            return None;
        }
        if error.stale && !self.renewed {
            self.renewed = self.pool.may_retry(Retry::Stale);
            return Some(Again::Renewed);
        }
        let may =
            self.moved < self.pool.attempts() && lease.has_alternative() && self.pool.may_retry(Retry::Reset);
        if may {
            self.moved += 1;
            lease.failed(Fault::Reset);
        }
        may.then_some(Again::Elsewhere)
    }
}
