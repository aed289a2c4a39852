//! Problems of a configuration file: what is wrong, where, what was expected, and the nearest right word.
//!
//! The only place that turns faults of a configuration into text for people.

use std::fmt;

/// Line and column in a file, both from 1; the column counts characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Line.
    pub line: usize,
    /// Column, in characters.
    pub column: usize,
}

/// A value and where it was typed.
#[derive(Debug, Clone)]
pub(super) struct Placed<T> {
    pub(super) place: Place,
    pub(super) value: T,
}

/// One thing that is wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where; `None` for the file as a whole.
    pub place: Option<Place>,
    /// What.
    pub fault: Fault,
    /// What would have been right.
    pub expected: Option<Box<str>>,
    /// What was probably meant.
    pub nearest: Option<Box<str>>,
}

impl Problem {
    pub(super) fn new(place: Place, fault: Fault) -> Self {
        Problem { place: Some(place), fault, expected: None, nearest: None }
    }

    pub(super) fn of_file(fault: Fault) -> Self {
        Problem { place: None, fault, expected: None, nearest: None }
    }

    pub(super) fn expected(self, expected: impl Into<Box<str>>) -> Self {
        Problem { expected: Some(expected.into()), ..self }
    }

    pub(super) fn nearest(self, nearest: Option<String>) -> Self {
        Problem { nearest: nearest.map(String::into_boxed_str), ..self }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.fault)?;
        match (&self.expected, &self.nearest) {
            (None, None) => Ok(()),
            (Some(expected), None) => write!(f, " (expected {expected})"),
            (None, Some(nearest)) => write!(f, " (did you mean `{nearest}`?)"),
            (Some(expected), Some(nearest)) => {
                write!(f, " (expected {expected}; did you mean `{nearest}`?)")
            }
        }
    }
}

/// What can be wrong. Values in it are cut to [`QUOTE_CHARS`] characters and printable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A file that can't be read.
    #[error("`{path}` can't be read: {reason}")]
    Unreadable {
        /// As it was typed.
        path: String,
        /// What the system says.
        reason: String,
    },
    /// Not UTF-8.
    #[error("this is not UTF-8 text")]
    NotUtf8,
    /// The parser can't go on here.
    #[error("this is not YAML: {0}")]
    Syntax(String),
    /// No document.
    #[error("the file says nothing")]
    Empty,
    /// A document that is text or a list.
    #[error("the file is no mapping")]
    NoMapping,
    /// A second document.
    #[error("a second YAML document begins here")]
    SecondDocument,
    /// Nested deeper than anything that a configuration could mean.
    #[error("nested too deep")]
    TooDeep,
    /// YAML that a configuration doesn't need.
    #[error("{0} mean nothing in a configuration")]
    Unsupported(&'static str),
    /// A key that is a list, a mapping or empty.
    #[error("a key has to be text")]
    KeyNotText,
    /// A key that was given before in the same mapping.
    #[error("key `{key}` is given twice, first on line {first}")]
    RepeatedKey {
        /// The key.
        key: String,
        /// Line of the first.
        first: usize,
    },
    /// A key that means nothing here.
    #[error("unknown key `{0}`")]
    UnknownKey(String),
    /// A key that has to be there.
    #[error("`{0}` is missing")]
    MissingKey(&'static str),
    /// A key without a value.
    #[error("`{0}` has no value")]
    NoValue(String),
    /// A list, mapping or text where something else belongs.
    #[error("`{key}` is {found}")]
    WrongType {
        /// The key.
        key: String,
        /// What it is instead.
        found: &'static str,
    },
    /// Text that can't be understood.
    #[error("`{key}` can't be `{value}`")]
    BadValue {
        /// The key.
        key: String,
        /// As it was typed, variables put in.
        value: String,
    },
    /// A key that is a name and can't be one.
    #[error("`{of}` can't hold the name `{name}`")]
    BadName {
        /// The key that holds names.
        of: String,
        /// As it was typed.
        name: String,
    },
    /// A token that can't be sent in a header; it isn't shown.
    #[error("`{0}` can't be used as a secret")]
    BadSecret(String),
    /// No address of a Redis server; it isn't shown.
    #[error("`{0}` is no address of a Redis server")]
    BadRedis(String),
    /// A list or mapping that has to hold something.
    #[error("`{0}` is empty")]
    EmptyList(String),
    /// A variable of the environment that isn't there.
    #[error("the variable `{0}` is not set")]
    UnsetVariable(String),
    /// `${` that goes on in no known way.
    #[error("`{0}` is no variable")]
    BadVariable(String),
    /// Two things that may be there once.
    #[error("{what} `{value}` is given twice, first on line {first}")]
    Repeated {
        /// What kind of thing.
        what: &'static str,
        /// Which.
        value: String,
        /// Line of the first.
        first: usize,
    },
    /// A route to a pool that doesn't exist.
    #[error("there is no pool `{0}`")]
    UnknownPool(String),
    /// A user or group that isn't there.
    #[error("there is no {what} `{name}`")]
    Unknown {
        /// Which of the two.
        what: &'static str,
        /// As it was typed.
        name: String,
    },
    /// A user or group from whom nothing is taken.
    #[error("`{0}` may do everything")]
    Superuser(String),
    /// A site that isn't there.
    #[error("there is no site `{0}`")]
    UnknownSite(String),
    /// A route that would be answered in two ways.
    #[error("`{key}` can't stand beside `{other}`, since a route leads to one place")]
    TwoActions {
        /// The key at this place.
        key: &'static str,
        /// The other key.
        other: &'static str,
    },
    /// A file where a folder belongs.
    #[error("`{0}` is no folder")]
    NotFolder(String),
    /// A route without a key that says what answers it.
    #[error("the route leads nowhere")]
    NoAction,
    /// Two keys that exclude each other.
    #[error("`{key}` can't stand beside `{other}`, which says the same in another way")]
    Both {
        /// The key at this place.
        key: &'static str,
        /// The other key.
        other: &'static str,
    },
    /// No way for a request to go.
    #[error("nothing says where requests go")]
    NoUpstream,
    /// A site that serves nothing.
    #[error("site `{0}` has no route")]
    NoRoute(String),
    /// A control port that anyone can reach.
    #[error("the control port on `{0}` can be reached from other machines and asks for nothing")]
    OpenControl(String),
    /// A server that is this process: each request would come back to it until nothing is left.
    #[error("`{0}` is where the proxy itself listens")]
    Ourselves(String),
    /// A key that means something only beside another.
    #[error("`{key}` means nothing without `{other}`")]
    Needs {
        /// The key at this place.
        key: &'static str,
        /// What has to stand beside it.
        other: &'static str,
    },
    /// A bound that another one makes impossible.
    #[error("`{key}` is more than `{bound}`")]
    MoreThan {
        /// The key at this place.
        key: &'static str,
        /// The key that has to be at least as much.
        bound: &'static str,
    },
    /// A certificate or key that can't be used.
    #[error("`{path}` {reason}")]
    Certificate {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
}

/// Characters of a value that a problem quotes at the most.
const QUOTE_CHARS: usize = 80;

/// A value as a problem may show it: printable and short.
pub(super) fn quote(value: &str) -> String {
    let mut quoted: String = value.chars().flat_map(printable).take(QUOTE_CHARS).collect();
    if value.chars().count() > QUOTE_CHARS {
        quoted.push('…');
    }
    quoted
}

fn printable(c: char) -> impl Iterator<Item = char> {
    let escaped = c.is_control().then(|| c.escape_default());
    let plain = escaped.is_none().then_some(c);
    escaped.into_iter().flatten().chain(plain)
}

/// The candidate that is so near to a word that it was probably meant.
pub(super) fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<String> {
    // Distance costs the product of the lengths; nothing that long is a slip of the fingers.
    if word.len() > QUOTE_CHARS {
        return None;
    }
    let word = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= 1.max(candidate.chars().count() / 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate.to_owned())
}

/// Words as a sentence lists them: `a, b or c`.
pub(super) fn listed(words: &[&str], before_last: &str) -> String {
    match words {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [front @ .., last] => format!("{} {before_last} {last}", front.join(", ")),
    }
}

/// Every problem of one file in the order of their places; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    file: String,
    problems: Vec<Problem>,
}

impl Problems {
    pub(super) fn new(file: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.place);
        Problems { file: file.to_owned(), problems }
    }

    /// The file, as it was named.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The problems in the order of their places.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter()
    }
}

impl fmt::Display for Problems {
    /// One line for each, `file:line:column: what is wrong (expected …; did you mean …?)`, no line feed last.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            match problem.place {
                Some(Place { line, column }) => write!(f, "{}:{line}:{column}: {problem}", self.file)?,
                None => write!(f, "{}: {problem}", self.file)?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_one_that_a_slip_leads_to() {
        let keys = ["listen", "limits", "log", "pools"];
        let table = [
            ("lisen", Some("listen")),
            ("Listen", Some("listen")),
            ("lsiten", Some("listen")),
            ("pool", Some("pools")),
            ("lgo", Some("log")),
            ("cat", None),
            ("", None),
        ];
        for (word, expected) in table {
            assert_eq!(nearest(word, keys).as_deref(), expected, "{word}");
        }
        assert_eq!(nearest(&"l".repeat(1 << 20), keys), None);
    }

    #[test]
    fn a_quoted_value_is_short_and_printable() {
        assert_eq!(quote("a\u{1b}[2J\0b"), "a\\u{1b}[2J\\u{0}b");
        assert_eq!(quote(&"é".repeat(100)).chars().count(), QUOTE_CHARS + 1);
    }
}
