//! `redirect` of a route and `https` of a site: their keys, and what they have to be together.

use hyper::StatusCode;

use super::draft::{HttpsDraft, RedirectDraft};
use super::form;
use super::problem::{Fault, Placed, Problem, quote};
use super::section::{Key, Section, Value};

/// Where a route sends its clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedirectConfig {
    /// A URL, or a path of the same host.
    pub to: String,
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
    /// What of the request's target is put behind `to`.
    pub carry: Carry,
}

/// What a redirect carries over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carry {
    /// Nothing.
    Off,
    /// Path and query.
    Whole,
    /// What the path has behind that of the route, and the query.
    Rest,
}

/// The keys of `redirect`.
pub(super) static REDIRECT: Section<RedirectDraft> = Section {
    short: Some(form::LOCATION.expected),
    required: &[("to", form::LOCATION.expected)],
    keys: &[
        Key::new("to", |redirect, value| redirect.to = value.placed(&form::LOCATION)),
        Key::new("status", |redirect, value| value.put(&mut redirect.status, &form::REDIRECT_STATUS)),
        Key::new("carry", |redirect, value| value.put(&mut redirect.carry, &form::CARRY)),
    ],
};

/// A redirect, or nothing but where it leads.
pub(super) fn redirect(value: Value<'_>) -> Option<RedirectConfig> {
    let mut draft = RedirectDraft::default();
    let Value { key, node, problems } = value;
    let value = Value { key, node, problems: &mut *problems };
    match value.is_text() {
        true => draft.to = value.placed(&form::LOCATION),
        false => REDIRECT.fill(&mut draft, value),
    }
    let RedirectDraft { to, status, carry } = draft;
    let Placed { place, value: to } = to?;
    if carry != Carry::Off && to.contains(['?', '#']) {
        let fault = Fault::BadValue { key: "to".into(), value: quote(&to) };
        problems
            .push(Problem::new(place, fault).expected("a URL that ends with its path, for `carry` to go on"));
    }
    Some(RedirectConfig { to, status, carry })
}

/// The port that addresses with `https` need not name (RFC 9110 §4.2.2).
pub const HTTPS_PORT: u16 = 443;

/// The keys of `https`.
pub(super) static HTTPS: Section<HttpsDraft> = Section {
    short: Some(form::HTTPS_SHORT),
    required: &[],
    keys: &[Key::new("port", |https, value| https.port = value.read(&form::PORT))],
};

/// Where requests without TLS are sent, if anywhere: in a word, or by a mapping.
pub(super) fn https(value: Value<'_>) -> Option<HttpsDraft> {
    let mut draft = HttpsDraft::default();
    if value.is_text() {
        return value.read(&form::HTTPS)?.then_some(draft);
    }
    HTTPS.fill(&mut draft, value);
    Some(draft)
}
