//! `jsonp` of a route: its keys, and what each is when it is left out.

use hyper::Method;

use super::form::{self, Form, Unfit, choice};
use super::section::{Key, Section, Value};

/// How scripts of pages ask for what they may not fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonpConfig {
    /// The parameter that names the function to call.
    pub callback: String,
    /// What that is called with.
    pub argument: JsonpArgument,
    /// The parameter with the request's body, which is JSON then; `None` for `_body`, which may be anything.
    pub body: Option<String>,
    /// The function that is called where a request has that parameter and names none.
    pub default_callback: Option<String>,
    /// The method where the request says none by `_method`; `None` for the one that fits the argument.
    pub method: Option<Method>,
}

/// What a function is called with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonpArgument {
    /// The whole answer as an object.
    Answer,
    /// The body alone.
    Body,
}

impl Default for JsonpConfig {
    fn default() -> Self {
        JsonpConfig {
            // As nearly everybody calls it.
            callback: "callback".into(),
            // A page can tell errors from answers.
            argument: JsonpArgument::Answer,
            body: None,
            default_callback: None,
            method: None,
        }
    }
}

/// The keys of `jsonp`.
pub(super) static JSONP: Section<JsonpConfig> = Section {
    short: Some(form::YES_OR_NO.expected),
    required: &[],
    keys: &[
        Key::new("callback", |jsonp, value| value.put(&mut jsonp.callback, &PARAMETER)),
        Key::new("argument", |jsonp, value| value.put(&mut jsonp.argument, &ARGUMENT)),
        Key::new("body", |jsonp, value| jsonp.body = value.read(&PARAMETER)),
        Key::new("default_callback", |jsonp, value| jsonp.default_callback = value.read(&FUNCTION)),
        Key::new("method", |jsonp, value| jsonp.method = value.read(&METHOD)),
    ],
};

/// In a word, or by a mapping.
pub(super) fn jsonp(value: Value<'_>) -> Option<JsonpConfig> {
    let mut jsonp = JsonpConfig::default();
    if value.is_text() {
        return value.read(&form::YES_OR_NO)?.then_some(jsonp);
    }
    JSONP.fill(&mut jsonp, value);
    Some(jsonp)
}

static PARAMETER: Form<String> = Form {
    expected: "the name of a parameter: up to 64 letters, digits, `-`, `_` and `.`",
    read: |text| {
        let letters = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        let fits = (1..=64).contains(&text.len()) && text.chars().all(letters);
        if fits { Ok(text.to_owned()) } else { Err(Unfit::Unlike) }
    },
};

/// What requests may name, too.
static FUNCTION: Form<String> = Form {
    expected: "the name of a function such as app.take, up to 64 characters",
    read: |text| {
        let part = |part: &str| {
            let inner = |letter: char| letter.is_ascii_alphanumeric() || "_$".contains(letter);
            !part.starts_with(|first: char| first.is_ascii_digit())
                && !part.is_empty()
                && part.chars().all(inner)
        };
        if text.len() <= 64 && text.split('.').all(part) { Ok(text.to_owned()) } else { Err(Unfit::Unlike) }
    },
};

static ARGUMENT: Form<JsonpArgument> = Form {
    expected: "answer or body",
    read: |text| choice(text, &[("answer", JsonpArgument::Answer), ("body", JsonpArgument::Body)]),
};

static METHOD: Form<Method> = Form {
    expected: "GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS",
    read: |text| {
        let methods = [
            ("GET", Method::GET),
            ("HEAD", Method::HEAD),
            ("POST", Method::POST),
            ("PUT", Method::PUT),
            ("PATCH", Method::PATCH),
            ("DELETE", Method::DELETE),
            ("OPTIONS", Method::OPTIONS),
        ];
        choice(text, &methods)
    },
};
