//! Answers of the control port: JSON, and for whatever is refused an object with `error`.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use serde::Serialize;

use crate::hub::Refused;
use crate::message::Position;

pub(super) type Reply = Response<Full<Bytes>>;

/// A request that is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    status: StatusCode,
    error: String,
    /// Which item of a batch is wrong, from 0.
    item: Option<usize>,
    allow: Option<&'static str>,
    /// Where another last message was expected: which it is, as long as it is known.
    last: Option<Option<Position>>,
    /// It is said to a publisher of GRIP, in its words.
    is_plain: bool,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<Option<String>>,
}

impl Failure {
    pub(super) fn new(status: StatusCode, error: impl Into<String>) -> Failure {
        Failure { status, error: error.into(), item: None, allow: None, last: None, is_plain: false }
    }

    pub(super) fn bad(error: impl Into<String>) -> Failure {
        Failure::new(StatusCode::BAD_REQUEST, error)
    }

    pub(super) fn method(allow: &'static str) -> Failure {
        let error = format!("the methods here are {allow}");
        Failure { allow: Some(allow), ..Failure::new(StatusCode::METHOD_NOT_ALLOWED, error) }
    }

    /// In the words of GRIP, which are text.
    pub(super) fn plain(status: StatusCode, text: impl Into<String>) -> Failure {
        Failure { is_plain: true, ..Failure::new(status, text) }
    }

    /// The same that GRIP's publishers are told of a method.
    pub(super) fn plain_method(method: &hyper::Method, allow: &'static str) -> Failure {
        let error = format!("Method not allowed: {method}.");
        Failure { allow: Some(allow), ..Failure::plain(StatusCode::METHOD_NOT_ALLOWED, error) }
    }

    /// What is refused, in the words of GRIP.
    pub(super) fn in_plain_words(self) -> Failure {
        Failure { is_plain: true, ..self }
    }

    pub(super) fn in_item(self, item: usize) -> Failure {
        Failure { item: Some(item), ..self }
    }

    /// What the hub refuses.
    pub(super) fn refused(refused: Refused) -> Failure {
        let status = match &refused {
            Refused::Unexpected { .. } => StatusCode::CONFLICT,
            Refused::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Refused::StoreFull(_) | Refused::RuleFull { .. } => StatusCode::INSUFFICIENT_STORAGE,
            Refused::TooManyChannels { .. }
            | Refused::RuleChannels { .. }
            | Refused::TooManySubscribers { .. }
            | Refused::TooMuchWaits
            | Refused::StoreFailed(_)
            | Refused::Unsure(_)
            | Refused::Ending => StatusCode::SERVICE_UNAVAILABLE,
        };
        let failure = Failure::new(status, refused.to_string());
        match refused {
            Refused::Unexpected { item, last } => Failure { item: Some(item), last: Some(last), ..failure },
            Refused::TooLarge { item, .. } => failure.in_item(item),
            _ => failure,
        }
    }

    /// The same where there is one message only.
    pub(super) fn of_one(self) -> Failure {
        Failure { item: None, ..self }
    }

    /// Label of `perihelion_comet_publishes_total`.
    pub(super) fn word(&self) -> &'static str {
        match self.status {
            StatusCode::PAYLOAD_TOO_LARGE => "too_large",
            StatusCode::SERVICE_UNAVAILABLE => "overload",
            StatusCode::INSUFFICIENT_STORAGE => "store_full",
            StatusCode::CONFLICT => "conflict",
            _ => "bad_format",
        }
    }

    #[cfg(test)]
    pub(super) fn error(&self) -> &str {
        &self.error
    }

    /// Label of `perihelion_control_refused_total`.
    pub(super) fn refusal(&self) -> &'static str {
        match self.status {
            StatusCode::UNAUTHORIZED => "token",
            _ => "forbidden",
        }
    }

    pub(super) fn reply(&self) -> Reply {
        let last = self.last.map(|last| last.map(|last| last.to_string()));
        let mut reply = match self.is_plain {
            true => typed(self.status, "text/plain", format!("{}\n", self.error).into()),
            false => json(self.status, &ErrorBody { error: &self.error, item: self.item, last }),
        };
        let headers = reply.headers_mut();
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        reply
    }
}

/// A JSON answer. Values here are our own, so writing them can't fail.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Reply {
    let body = serde_json::to_vec(value).unwrap_or_default();
    typed(status, "application/json", body.into())
}

pub(super) fn typed(status: StatusCode, media_type: &'static str, body: Bytes) -> Reply {
    let mut reply = Response::new(Full::new(body));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}
