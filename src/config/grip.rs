//! `grip`: how both sides of GRIP know each other.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::form::{self, Form, Unfit};
use super::grip_key::{Signing, signing, verifying};
use super::presence::{POST, PostUrl};
use super::section::{Key, Section, Value};
use super::upstream_tls::{Roots, signers};
use crate::jwt::VerifyingKey;

/// How applications that speak GRIP know the proxy, and it them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GripConfig {
    /// Signs `Grip-Sig`.
    pub key: Signing,
    /// Who it says that it is.
    pub issuer: String,
    /// With what the tokens of publishers are checked; `None` where they need none of this kind.
    pub publish_key: Option<VerifyingKey>,
    /// What filters may ask.
    pub filters: Vec<FilterConfig>,
}

/// URLs that filters may ask about messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterConfig {
    /// What they begin with.
    pub url: PostUrl,
    /// Where they are asked, if not at the host that they name: an URL without a path.
    pub server: Option<PostUrl>,
    /// Whose certificates are believed there where that is `https`.
    pub roots: Roots,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Questions that are out at once.
    pub concurrent: NonZeroUsize,
}

impl Default for GripConfig {
    fn default() -> Self {
        GripConfig {
            key: Signing::Off,
            // What applications were told when they were put behind Pushpin.
            issuer: "pushpin".into(),
            publish_key: None,
            filters: Vec::new(),
        }
    }
}

pub(super) static GRIP: Section<GripConfig> = Section {
    short: None,
    required: &[],
    keys: &[
        Key::new("key", |grip, value| {
            if let Some(key) = signing(value) {
                grip.key = key;
            }
        }),
        Key::new("issuer", |grip, value| value.put(&mut grip.issuer, &form::NAME)),
        Key::new("publish_key", |grip, value| grip.publish_key = verifying(value)),
        Key::section("filters", "[].", &FILTER, |grip, value| filters(&mut grip.filters, value)),
    ],
};

/// As long as it takes Pushpin to give up.
const FILTER_TIMEOUT: Duration = Duration::from_secs(10);
/// As many as a small pool of workers has, twice; whoever is behind them waits within the same time.
const FILTER_CONCURRENT: NonZeroUsize = NonZeroUsize::new(32).expect("more than none");

/// One entry as it was typed; `None` where a problem was told.
struct FilterDraft {
    url: Option<PostUrl>,
    server: Option<PostUrl>,
    roots: Roots,
    timeout: Duration,
    concurrent: NonZeroUsize,
}

static FILTER: Section<FilterDraft> = Section {
    short: Some(POST.expected),
    required: &[("url", POST.expected)],
    keys: &[
        Key::new("url", |filter, value| filter.url = value.read(&BEGINNING)),
        Key::new("server", |filter, value| filter.server = value.read(&SERVER)),
        Key::new("ca", |filter, value| filter.roots = signers(value)),
        Key::new("timeout", |filter, value| value.put(&mut filter.timeout, &form::DURATION)),
        Key::new("concurrent", |filter, value| value.put(&mut filter.concurrent, &CONCURRENT)),
    ],
};

/// A list of what URLs begin with, by a mapping or by nothing but that.
fn filters(into: &mut Vec<FilterConfig>, value: Value<'_>) {
    value.each_of_some(|item| {
        let (timeout, concurrent) = (FILTER_TIMEOUT, FILTER_CONCURRENT);
        let mut draft = FilterDraft { url: None, server: None, roots: Roots::default(), timeout, concurrent };
        match item.is_text() {
            true => draft.url = item.read(&BEGINNING),
            false => FILTER.fill(&mut draft, item),
        }
        let FilterDraft { url, server, roots, timeout, concurrent } = draft;
        into.extend(url.map(|url| FilterConfig { url, server, roots, timeout, concurrent }));
    });
}

/// What URLs begin with: a path is part of it, and a query isn't.
static BEGINNING: Form<PostUrl> = Form {
    expected: "what URLs begin with, such as http://127.0.0.1:8000/filters/",
    read: |text| if text.contains('?') { Err(Unfit::Unlike) } else { (POST.read)(text) },
};

static SERVER: Form<PostUrl> = Form {
    expected: "a server such as http://127.0.0.1:8000",
    read: |text| {
        (POST.read)(text).and_then(|url| if url.target == "/" { Ok(url) } else { Err(Unfit::Unlike) })
    },
};

static CONCURRENT: Form<NonZeroUsize> = Form {
    expected: form::COUNT.expected,
    read: |text| (form::COUNT.read)(text).and_then(|count| NonZeroUsize::new(count).ok_or(Unfit::Unlike)),
};
