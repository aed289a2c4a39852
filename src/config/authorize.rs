//! `authorize` of a route with Bayeux: whom it asks about clients, and how long that may take.

use std::time::Duration;

use hyper::http::uri::PathAndQuery;

use super::form::{self, Form, Unfit};
use super::section::{Key, Section, Value};
use super::{ServerConfig, address};

/// Who says what clients may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorizeConfig {
    /// Whom to ask.
    pub at: Authority,
    /// How long an answer may take, waiting in the pool's line included.
    pub timeout: Duration,
    /// Answers that are remembered for one session.
    pub remember: usize,
}

/// An application that is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authority {
    /// That to which the routes of a site lead this path.
    Path {
        /// Name of the site.
        site: String,
        /// With its query.
        target: PathAndQuery,
    },
    /// A server by itself.
    Server {
        /// Name of the pool that has nobody else in it.
        pool: String,
        /// Where it is.
        server: ServerConfig,
        /// Path and query.
        target: PathAndQuery,
    },
}

impl AuthorizeConfig {
    fn of(at: Authority) -> AuthorizeConfig {
        AuthorizeConfig {
            at,
            // Clients of CometD wait ten for the reply.
            timeout: Duration::from_secs(5),
            // As many as a session has subscriptions.
            remember: 100,
        }
    }
}

/// The keys of `authorize`.
pub(super) static AUTHORIZE: Section<Draft> = Section {
    short: Some(URL.expected),
    required: &[("url", URL.expected)],
    keys: &[
        Key::new("url", |draft, value| draft.at = value.read(&URL)),
        Key::new("timeout", |draft, value| draft.timeout = value.read(&form::DURATION)),
        Key::new("remember", |draft, value| draft.remember = value.read(&form::COUNT)),
    ],
};

/// What was typed; `None` also where a problem was told.
#[derive(Default)]
pub(super) struct Draft {
    at: Option<Authority>,
    timeout: Option<Duration>,
    remember: Option<usize>,
}

/// Whom to ask, or nothing but the URL.
pub(super) fn authorize(value: Value<'_>) -> Option<AuthorizeConfig> {
    let mut draft = Draft::default();
    match value.is_text() {
        true => draft.at = value.read(&URL),
        false => AUTHORIZE.fill(&mut draft, value),
    }
    let usual = AuthorizeConfig::of(draft.at?);
    let (timeout, remember) =
        (draft.timeout.unwrap_or(usual.timeout), draft.remember.unwrap_or(usual.remember));
    Some(AuthorizeConfig { timeout, remember, ..usual })
}

static URL: Form<Authority> = Form {
    expected: "a path of the site, or a URL such as http://127.0.0.1:8000/authorize",
    read: |text| {
        let (origin, rest) = parts(text);
        let target = if rest.is_empty() && !origin.is_empty() { "/" } else { rest };
        let target: PathAndQuery = target.parse().map_err(|_| Unfit::Unlike)?;
        if text.contains('#') || !target.as_str().starts_with('/') || target.as_str().starts_with("//") {
            return Err(Unfit::Unlike);
        }
        if origin.is_empty() {
            // Which site it is in is told by whoever knows it.
            return Ok(Authority::Path { site: String::new(), target });
        }
        let server = address::server(origin)?;
        // Colons are in no name that somebody types.
        let pool = match server.tls {
            true => format!("authorize:https:{}", origin.trim_start_matches("https://")),
            false => format!("authorize:{}", origin.trim_start_matches("http://")),
        };
        Ok(Authority::Server { pool, server, target })
    },
};

/// Where a URL leads, which is nothing for a path, and what is asked for there.
fn parts(text: &str) -> (&str, &str) {
    let scheme = ["http://", "https://"].into_iter().find(|scheme| text.starts_with(scheme));
    let host = scheme.map_or(0, str::len);
    let end = text[host..].find(['/', '?']).map_or(text.len(), |end| host + end);
    if scheme.is_some() { text.split_at(end) } else { ("", text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authority_is_a_path_of_the_site_or_a_server_by_itself() {
        let read = |text| match URL.read(text).ok()? {
            Authority::Path { target, .. } => Some(format!("path {target}")),
            Authority::Server { pool, target, .. } => Some(format!("{pool} {target}")),
        };
        for (text, expected) in [
            ("/authorize?for=bayeux", Some("path /authorize?for=bayeux")),
            ("http://127.0.0.1:8000/a?b", Some("authorize:127.0.0.1:8000 /a?b")),
            ("http://app", Some("authorize:app /")),
            ("https://app:8443/x", Some("authorize:https:app:8443 /x")),
            ("http://[::1]:80/", Some("authorize:[::1]:80 /")),
            ("app", None),
            ("//evil.example/", None),
            ("http://", None),
            ("http://a@b/", None),
            ("http://app?x", None),
            ("ftp://app/", None),
            ("/a#b", None),
            ("/a b", None),
            ("", None),
        ] {
            assert_eq!(read(text).as_deref(), expected, "{text}");
        }
    }
}
