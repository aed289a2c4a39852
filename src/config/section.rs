//! Sections: tables of keys that read a mapping into a value.
//!
//! A table is at once the decoder, the list of what is known (everything else is an unknown key with the nearest
//! known one), and what the documentation is compared with: a key can't be read without standing in it.

use super::form::{Form, Unfit};
use super::problem::{Fault, Place, Placed, Problem, listed, nearest, quote};
use super::tree::{Content, Node};

/// The keys that a mapping may have, read into a `T`.
pub(super) struct Section<T: 'static> {
    /// What may be written instead of the mapping; the one who reads that also calls [`Section::fill`].
    pub(super) short: Option<&'static str>,
    /// Those that have to be there, with what is expected of them.
    pub(super) required: &'static [(&'static str, &'static str)],
    /// The keys in the order in which they are documented.
    pub(super) keys: &'static [Key<T>],
}

/// One key of a section.
pub(super) struct Key<T> {
    name: &'static str,
    /// What it may be called as well.
    alias: Option<&'static str>,
    set: fn(&mut T, Value<'_>),
    below: Option<Below>,
}

struct Below {
    link: &'static str,
    section: &'static (dyn Keyed + Sync),
}

/// Something that can list its keys.
pub(super) trait Keyed {
    /// Adds the path of each key, those of deeper sections included.
    fn paths(&self, prefix: &str, paths: &mut Vec<String>);
}

impl<T> Keyed for Section<T> {
    fn paths(&self, prefix: &str, paths: &mut Vec<String>) {
        for key in self.keys {
            let path = format!("{prefix}{}", key.name);
            paths.push(path.clone());
            if let Some(below) = &key.below {
                below.section.paths(&format!("{path}{}", below.link), paths);
            }
        }
    }
}

impl<T> Key<T> {
    pub(super) const fn new(name: &'static str, set: fn(&mut T, Value<'_>)) -> Self {
        Key { name, alias: None, set, below: None }
    }

    /// A key whose value is read by a section of its own. `link` stands between them in the path of a key: `.` for
    /// a mapping, `[].` for a list of them, `.NAME.` for a mapping whose keys are names.
    pub(super) const fn section(
        name: &'static str,
        link: &'static str,
        section: &'static (dyn Keyed + Sync),
        set: fn(&mut T, Value<'_>),
    ) -> Self {
        Key { name, alias: None, set, below: Some(Below { link, section }) }
    }

    /// The same key under a second name.
    pub(super) const fn or(self, alias: &'static str) -> Self {
        Key { alias: Some(alias), ..self }
    }
}

impl<T> Key<T> {
    fn is(&self, name: &str) -> bool {
        self.name == name || self.alias == Some(name)
    }
}

impl<T> Section<T> {
    /// Reads a mapping into `target`; what isn't typed stays as it is.
    pub(super) fn fill(&self, target: &mut T, value: Value<'_>) {
        match &value.node.content {
            Content::Map(entries) => {
                for entry in entries {
                    match self.keys.iter().find(|key| key.is(&entry.key)) {
                        Some(key) => {
                            let problems = &mut *value.problems;
                            (key.set)(target, Value { key: &entry.key, node: &entry.value, problems });
                        }
                        None => value.problems.push(self.unknown(&entry.key, entry.place)),
                    }
                }
                let typed = |name| entries.iter().any(|entry| entry.key == name);
                for (name, expected) in self.required.iter().filter(|(name, _)| !typed(*name)) {
                    let problem = Problem::new(value.node.place, Fault::MissingKey(name));
                    value.problems.push(problem.expected(*expected));
                }
            }
            _ => {
                let mapping = format!("a mapping with {}", self.names("and"));
                value.refuse(&self.short.map_or(mapping.clone(), |short| format!("{short}, or {mapping}")));
            }
        }
    }

    fn unknown(&self, key: &str, place: Place) -> Problem {
        let nearest = nearest(key, self.keys.iter().map(|key| key.name));
        Problem::new(place, Fault::UnknownKey(quote(key))).expected(self.names("or")).nearest(nearest)
    }

    /// The keys as a sentence lists them.
    fn names(&self, before_last: &str) -> String {
        listed(&self.keys.iter().map(|key| key.name).collect::<Vec<_>>(), before_last)
    }
}

/// A value with the key that it belongs to, and where to put its problems.
pub(super) struct Value<'a> {
    pub(super) key: &'a str,
    pub(super) node: &'a Node,
    pub(super) problems: &'a mut Vec<Problem>,
}

impl Value<'_> {
    /// Whether it is a scalar.
    pub(super) fn is_text(&self) -> bool {
        matches!(self.node.content, Content::Text(_))
    }

    /// Whether it is a list.
    pub(super) fn is_list(&self) -> bool {
        matches!(self.node.content, Content::List(_))
    }

    /// Whether it is a mapping.
    pub(super) fn is_map(&self) -> bool {
        matches!(self.node.content, Content::Map(_))
    }

    /// Reads a scalar into a slot, which stays as it is when there is a problem.
    pub(super) fn put<T>(self, slot: &mut T, form: &Form<T>) {
        if let Some(value) = self.read(form) {
            *slot = value;
        }
    }

    /// Reads a scalar.
    pub(super) fn read<T>(self, form: &Form<T>) -> Option<T> {
        let Content::Text(text) = &self.node.content else {
            self.refuse(form.expected);
            return None;
        };
        match form.read(text) {
            Ok(value) => Some(value),
            Err(unfit) => {
                let fault = Fault::BadValue { key: quote(self.key), value: quote(text) };
                self.problems.push(unfit_problem(self.node.place, fault, form.expected, unfit));
                None
            }
        }
    }

    /// Reads a scalar together with its place.
    pub(super) fn placed<T>(self, form: &Form<T>) -> Option<Placed<T>> {
        let place = self.node.place;
        self.read(form).map(|value| Placed { place, value })
    }

    /// Goes through a list; what isn't a list is taken for its only item.
    pub(super) fn each(self, mut item: impl FnMut(Value<'_>)) {
        match &self.node.content {
            Content::List(nodes) => {
                for node in nodes {
                    item(Value { key: self.key, node, problems: &mut *self.problems });
                }
            }
            _ => item(self),
        }
    }

    /// The same for a list that has to hold something.
    pub(super) fn each_of_some(self, item: impl FnMut(Value<'_>)) {
        match &self.node.content {
            Content::List(nodes) if nodes.is_empty() => self.refuse_empty(),
            _ => self.each(item),
        }
    }

    /// Goes through a mapping from names, which are read by a form, to what they name.
    pub(super) fn each_named(self, names: &Form<String>, mut item: impl FnMut(Placed<String>, Value<'_>)) {
        match &self.node.content {
            Content::Map(entries) if entries.is_empty() => self.refuse_empty(),
            Content::Map(entries) => {
                for entry in entries {
                    match names.read(&entry.key) {
                        Ok(value) => item(
                            Placed { place: entry.place, value },
                            Value { key: &entry.key, node: &entry.value, problems: &mut *self.problems },
                        ),
                        Err(unfit) => {
                            let fault = Fault::BadName { of: quote(self.key), name: quote(&entry.key) };
                            self.problems.push(unfit_problem(entry.place, fault, names.expected, unfit));
                        }
                    }
                }
            }
            _ => self.refuse("a mapping whose keys are names"),
        }
    }

    /// Says that the value is of the wrong type.
    pub(super) fn refuse(self, expected: &str) {
        let key = quote(self.key);
        let found = match self.node.content {
            Content::Broken => return,
            Content::Nothing => return self.push(Fault::NoValue(key), expected),
            Content::Text(_) => "text",
            Content::List(_) => "a list",
            Content::Map(_) => "a mapping",
        };
        self.push(Fault::WrongType { key, found }, expected);
    }

    fn refuse_empty(self) {
        let key = quote(self.key);
        self.push(Fault::EmptyList(key), "at least one");
    }

    fn push(self, fault: Fault, expected: &str) {
        self.problems.push(Problem::new(self.node.place, fault).expected(expected));
    }
}

fn unfit_problem(place: Place, fault: Fault, expected: &str, unfit: Unfit) -> Problem {
    let nearest = match unfit {
        Unfit::Unlike => None,
        Unfit::Meant(text) => Some(text),
    };
    Problem::new(place, fault).expected(expected).nearest(nearest)
}
