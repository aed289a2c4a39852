//! What a site or a route wants at its edge, whatever answers it: who may come in, header edits, error pages, compression.

use std::path::PathBuf;

use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue};
use ipnet::IpNet;

use super::form::{self, Form, OFF, Unfit, choice};
use super::jsonp::JsonpConfig;
use super::problem::{Fault, Placed, Problem};
use super::section::{Key, Section, Value};
use super::tree::Content;
use super::{file, units};

/// What holds for the requests of one route: its site's part first, where both say something.
#[derive(Debug, Clone, Default)]
pub struct EdgeConfig {
    /// Who may come in; a request has to pass each of them.
    pub access: Vec<AccessConfig>,
    /// Edits of the request's head, in order.
    pub request: Vec<Edit>,
    /// Edits of the answer's head, in order.
    pub response: Vec<Edit>,
    /// Pages instead of the proxy's own texts; the first one for a status counts.
    pub errors: Vec<ErrorPage>,
    /// How answers are compressed; `None` is `off`.
    pub compress: Option<CompressConfig>,
    /// Whether pages of every origin may read its answers.
    pub cross_origin: bool,
    /// What scripts of pages may ask for; `None` is `false`.
    pub jsonp: Option<JsonpConfig>,
}

/// Networks that may come in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessConfig {
    /// If there are any, nobody else may.
    pub allow: Vec<IpNet>,
    /// Those who may not, even if they are in `allow`.
    pub deny: Vec<IpNet>,
}

/// One change of a head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// Takes every value of a field away.
    Remove(HeaderName),
    /// Makes this the only value.
    Set(HeaderName, HeaderValue),
    /// Puts a value behind those that are there.
    Add(HeaderName, HeaderValue),
}

/// A page that is sent with one status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorPage {
    /// The status.
    pub status: StatusCode,
    /// The file's media type, by its name.
    pub media_type: &'static str,
    /// What the file holds.
    pub body: Vec<u8>,
}

/// How answers are compressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompressConfig {
    /// The codings; the first one that a client likes as much as any other is used.
    pub encodings: Vec<Encoding>,
    /// Bytes of the smallest body that is worth it.
    pub min_size: usize,
    /// Media types, in lower case; `text/*` stands for all of a kind.
    pub types: Vec<String>,
}

/// A coding of bodies (RFC 9110 §8.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// RFC 1952.
    Gzip,
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
}

impl Default for CompressConfig {
    fn default() -> Self {
        let types = [
            "text/*",
            "application/javascript",
            "application/json",
            "application/manifest+json",
            "application/xml",
            "application/xhtml+xml",
            "application/rss+xml",
            "application/atom+xml",
            "application/ld+json",
            "application/problem+json",
            "image/svg+xml",
        ];
        CompressConfig {
            // Each beats the next one in size for its time, and every client knows the last.
            encodings: vec![Encoding::Zstd, Encoding::Brotli, Encoding::Gzip],
            // Less than that fits into the packet that is sent anyway.
            min_size: 1 << 10,
            // What isn't compressed by its own format.
            types: types.map(str::to_owned).into(),
        }
    }
}

/// What was typed of an edge at one place.
#[derive(Default)]
pub(super) struct EdgeDraft {
    access: AccessConfig,
    headers: HeadersDraft,
    errors: Vec<ErrorPage>,
    /// `None` where it wasn't typed.
    compress: Option<Option<CompressConfig>>,
    /// Of a route alone.
    pub(super) cross_origin: bool,
    /// Of a route alone.
    pub(super) jsonp: Option<JsonpConfig>,
}

#[derive(Default)]
pub(super) struct HeadersDraft {
    request: EditsDraft,
    response: EditsDraft,
}

#[derive(Default)]
pub(super) struct EditsDraft {
    remove: Vec<HeaderName>,
    set: Vec<(HeaderName, HeaderValue)>,
    add: Vec<(HeaderName, HeaderValue)>,
}

impl EdgeDraft {
    /// Puts what a route says to what its site says.
    pub(super) fn below(&self, site: &EdgeDraft) -> EdgeConfig {
        let both = [site, self];
        let access = both.iter().map(|draft| draft.access.clone());
        let edits = |edits: fn(&HeadersDraft) -> &EditsDraft| {
            both.iter().flat_map(|draft| edits(&draft.headers).in_order()).collect()
        };
        EdgeConfig {
            access: access.filter(|access| *access != AccessConfig::default()).collect(),
            request: edits(|headers| &headers.request),
            response: edits(|headers| &headers.response),
            errors: self.errors.iter().chain(&site.errors).cloned().collect(),
            compress: self.compress.clone().or_else(|| site.compress.clone()).flatten(),
            cross_origin: self.cross_origin,
            jsonp: self.jsonp.clone(),
        }
    }
}

impl EditsDraft {
    fn in_order(&self) -> Vec<Edit> {
        let removed = self.remove.iter().cloned().map(Edit::Remove);
        let set = self.set.iter().cloned().map(|(name, value)| Edit::Set(name, value));
        let added = self.add.iter().cloned().map(|(name, value)| Edit::Add(name, value));
        removed.chain(set).chain(added).collect()
    }
}

/// The readers of the keys that a site and a route have in common.
impl EdgeDraft {
    pub(super) fn allow(&mut self, value: Value<'_>) {
        value.each_of_some(|item| self.access.allow.extend(item.read(&form::NET)));
    }

    pub(super) fn deny(&mut self, value: Value<'_>) {
        value.each_of_some(|item| self.access.deny.extend(item.read(&form::NET)));
    }

    pub(super) fn headers(&mut self, value: Value<'_>) {
        HEADERS.fill(&mut self.headers, value);
    }

    /// Statuses with the files of their pages.
    pub(super) fn errors(&mut self, value: Value<'_>) {
        value.each_named(&STATUS_NAME, |status, value| {
            let Value { key, node, problems } = value;
            let path = (Value { key, node, problems: &mut *problems }).placed(&form::FILE);
            match path.map(|path| page(&status.value, path)) {
                Some(Ok(page)) => self.errors.extend(page),
                Some(Err(problem)) => problems.push(problem),
                None => {}
            }
        });
    }

    pub(super) fn compress(&mut self, value: Value<'_>) {
        let mut compress = CompressConfig::default();
        match &value.node.content {
            Content::Text(text) if text == OFF => {
                self.compress = Some(None);
                return;
            }
            Content::Map(_) => COMPRESS.fill(&mut compress, value),
            _ => encodings(&mut compress, value),
        }
        self.compress = Some(Some(compress));
    }
}

pub(super) static HEADERS: Section<HeadersDraft> = Section {
    short: None,
    required: &[],
    keys: &[
        Key::section("request", ".", &REQUEST_EDITS, |headers, value| {
            REQUEST_EDITS.fill(&mut headers.request, value);
        }),
        Key::section("response", ".", &RESPONSE_EDITS, |headers, value| {
            RESPONSE_EDITS.fill(&mut headers.response, value);
        }),
    ],
};

static REQUEST_EDITS: Section<EditsDraft> = Section {
    short: None,
    required: &[],
    keys: &[
        Key::new("set", |edits, value| fields(&mut edits.set, value, &SETTABLE)),
        Key::new("add", |edits, value| fields(&mut edits.add, value, &FIELD)),
        Key::new("remove", |edits, value| removals(&mut edits.remove, value)),
    ],
};

static RESPONSE_EDITS: Section<EditsDraft> = Section {
    short: None,
    required: &[],
    keys: &[
        Key::new("set", |edits, value| fields(&mut edits.set, value, &FIELD)),
        Key::new("add", |edits, value| fields(&mut edits.add, value, &FIELD)),
        Key::new("remove", |edits, value| removals(&mut edits.remove, value)),
    ],
};

pub(super) static COMPRESS: Section<CompressConfig> = Section {
    short: Some("a list of zstd, br and gzip, `off`"),
    required: &[],
    keys: &[
        Key::new("encodings", encodings),
        Key::new("min_size", |compress, value| value.put(&mut compress.min_size, &form::SIZE)),
        Key::new("types", |compress, value| {
            compress.types.clear();
            value.each_of_some(|item| compress.types.extend(item.read(&MEDIA_TYPE)));
        }),
    ],
};

fn encodings(compress: &mut CompressConfig, value: Value<'_>) {
    compress.encodings.clear();
    value.each_of_some(|item| compress.encodings.extend(item.read(&ENCODING)));
}

fn fields(into: &mut Vec<(HeaderName, HeaderValue)>, value: Value<'_>, names: &Form<String>) {
    value.each_named(names, |name, value| {
        value.each_of_some(|item| {
            let text = item.read(&FIELD_VALUE);
            // Both were found good by their forms.
            let pair =
                text.and_then(|text| Some((name.value.parse().ok()?, HeaderValue::try_from(text).ok()?)));
            into.extend(pair);
        });
    });
}

fn removals(into: &mut Vec<HeaderName>, value: Value<'_>) {
    value
        .each_of_some(|item| into.extend(item.read(&FIELD).and_then(|name| name.parse::<HeaderName>().ok())));
}

/// `None` where the status was found bad before.
fn page(status: &str, path: Placed<PathBuf>) -> Result<Option<ErrorPage>, Problem> {
    let Ok(status) = StatusCode::from_bytes(status.as_bytes()) else { return Ok(None) };
    let body = file::read(&path.value).map_err(|fault| Problem::new(path.place, fault))?;
    let ending = path.value.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let media_type = match ending {
        "html" | "htm" => "text/html; charset=utf-8",
        "json" => "application/json",
        "txt" => "text/plain; charset=utf-8",
        _ => {
            let fault = Fault::BadValue { key: "errors".into(), value: path.value.display().to_string() };
            return Err(
                Problem::new(path.place, fault).expected("a file that ends with .html, .json or .txt")
            );
        }
    };
    Ok(Some(ErrorPage { status, media_type, body }))
}

/// What the proxy itself answers with.
static STATUS_NAME: Form<String> = Form {
    expected: "a status from 400 to 599",
    read: |text| {
        let status = units::count(text)?;
        if (400..600).contains(&status) { Ok(text.to_owned()) } else { Err(Unfit::Unlike) }
    },
};

/// A field that may be changed: neither the connection's, nor framing, nor an instruction to a proxy.
static FIELD: Form<String> = Form {
    expected: "the name of a header that isn't of the connection, its framing or the proxy",
    read: |text| {
        let name: HeaderName = text.parse().map_err(|_| Unfit::Unlike)?;
        let name = name.as_str();
        let own = ["x-comet-", "grip-"].iter().any(|prefix| name.starts_with(prefix));
        if own || UNTOUCHABLE.contains(&name) { Err(Unfit::Unlike) } else { Ok(name.to_owned()) }
    },
};

/// The same, and `Host`, of which a request has to have one.
static SETTABLE: Form<String> = Form {
    expected: FIELD.expected,
    read: |text| if text.eq_ignore_ascii_case("host") { Ok("host".to_owned()) } else { (FIELD.read)(text) },
};

/// Written by the proxy for each side of its own (RFC 9110 §7.6.1), or what a message would be read wrong without.
const UNTOUCHABLE: [&str; 14] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

static FIELD_VALUE: Form<String> = Form {
    expected: "the value of a header: visible characters, and spaces between them",
    read: |text| {
        let trimmed = text.trim_ascii() == text;
        if trimmed && HeaderValue::from_str(text).is_ok() { Ok(text.to_owned()) } else { Err(Unfit::Unlike) }
    },
};

static ENCODING: Form<Encoding> = Form {
    expected: "zstd, br or gzip",
    read: |text| {
        choice(text, &[("zstd", Encoding::Zstd), ("br", Encoding::Brotli), ("gzip", Encoding::Gzip)])
    },
};

static MEDIA_TYPE: Form<String> = Form {
    expected: "a media type such as application/json or text/*",
    read: |text| {
        let token = |part: &str| {
            let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
            !part.is_empty() && part.bytes().all(letter)
        };
        match text.split_once('/') {
            Some((kind, part)) if token(kind) && (part == "*" || token(part)) => {
                Ok(text.to_ascii_lowercase())
            }
            _ => Err(Unfit::Unlike),
        }
    },
};
