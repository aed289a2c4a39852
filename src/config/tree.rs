//! The text of a configuration as a tree of nodes that know their places.
//!
//! Every scalar is text here: what it means is decided by the key it belongs to, so `no` and `22:22` are never
//! anything but themselves. Anchors, aliases and tags are refused. Depth is bounded, so recursion over a tree is.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, StrInput};

use super::problem::{Fault, Place, Problem, quote};

/// A value somewhere in the file.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) content: Content,
}

/// What a node is.
#[derive(Debug)]
pub(super) enum Content {
    /// A scalar, its quotes and escapes undone.
    Text(String),
    /// Nothing, `~` or `null`.
    Nothing,
    /// A list.
    List(Vec<Node>),
    /// A mapping in the order of the file; no key occurs twice.
    Map(Vec<Entry>),
    /// Something whose problem has been told: nothing more is said of it.
    Broken,
}

/// A key with its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) place: Place,
    pub(super) value: Node,
}

impl Node {
    /// The node below at a path of keys that are joined by dots.
    pub(super) fn at(&self, path: &str) -> Option<&Node> {
        path.split('.').try_fold(self, Node::below)
    }

    /// The node behind a key.
    pub(super) fn below(&self, key: &str) -> Option<&Node> {
        match &self.content {
            Content::Map(entries) => entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value),
            _ => None,
        }
    }
}

/// The text of a file, or the place of its first byte that is none.
pub(super) fn text(bytes: Vec<u8>) -> Result<String, Problem> {
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let before = String::from_utf8_lossy(valid);
        let line = before.rsplit('\n').next().unwrap_or_default();
        let place = Place { line: before.matches('\n').count() + 1, column: line.chars().count() + 1 };
        Problem::new(place, Fault::NotUtf8)
    })
}

/// Reads the one document of a text. Problems that leave a tree go into `problems`; the error is one that doesn't.
pub(super) fn read(text: &str, problems: &mut Vec<Problem>) -> Result<Node, Problem> {
    let mut builder = Builder { text, events: Parser::new_from_str(text), problems };
    loop {
        match builder.next()? {
            (Event::DocumentStart(_), _) => break,
            (Event::StreamEnd, _) => return Err(nothing()),
            _ => {}
        }
    }
    let root = builder.node(0)?;
    match root.content {
        Content::Map(_) => {}
        Content::Nothing => return Err(nothing()),
        _ => {
            return Err(Problem::new(root.place, Fault::NoMapping)
                .expected("keys with values, as in `listen: 127.0.0.1:80`"));
        }
    }
    loop {
        match builder.next()? {
            (Event::DocumentStart(_), span) => {
                return Err(Problem::new(place(span.start), Fault::SecondDocument).expected("one"));
            }
            (Event::StreamEnd, _) => return Ok(root),
            _ => {}
        }
    }
}

/// Deeper than any key of the configuration, and far from the end of the stack.
const DEPTH_MAX: usize = 32;

struct Builder<'t, 'p> {
    text: &'t str,
    events: Parser<'t, StrInput<'t>>,
    problems: &'p mut Vec<Problem>,
}

impl<'t> Builder<'t, '_> {
    fn next(&mut self) -> Result<(Event<'t>, Span), Problem> {
        match self.events.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(syntax(self.text, &error)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, depth: usize) -> Result<Node, Problem> {
        let (event, span) = self.next()?;
        self.node_from(event, span, depth)
    }

    fn node_from(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Node, Problem> {
        let place = place(span.start);
        if depth > DEPTH_MAX {
            return Err(Problem::new(place, Fault::TooDeep).expected("at most 32 levels"));
        }
        let content = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_decoration(place, anchor, tag.is_some());
                scalar(text.into_owned(), style)
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_decoration(place, anchor, tag.is_some());
                self.list(depth + 1)?
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_decoration(place, anchor, tag.is_some());
                self.map(depth + 1)?
            }
            Event::Alias(_) => {
                self.problems
                    .push(Problem::new(place, Fault::Unsupported("aliases")).expected("plain values"));
                Content::Broken
            }
            // The grammar puts nothing else where a node belongs.
            _ => Content::Nothing,
        };
        Ok(Node { place, content })
    }

    fn list(&mut self, depth: usize) -> Result<Content, Problem> {
        let mut nodes = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Content::List(nodes)),
                (event, span) => nodes.push(self.node_from(event, span, depth)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Content, Problem> {
        let mut entries = Vec::new();
        let mut lines: HashMap<String, usize> = HashMap::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(Content::Map(entries));
            }
            let key = self.node_from(event, span, depth)?;
            let value = self.node(depth)?;
            let Some((key, place)) = self.key(key) else { continue };
            match lines.get(&key) {
                Some(&first) => self.problems.push(
                    Problem::new(place, Fault::RepeatedKey { key: quote(&key), first })
                        .expected("each key once"),
                ),
                None => {
                    lines.insert(key.clone(), place.line);
                    entries.push(Entry { value: at_key_if_nothing(value, place), key, place });
                }
            }
        }
    }

    fn key(&mut self, node: Node) -> Option<(String, Place)> {
        match node.content {
            Content::Text(text) => Some((text, node.place)),
            Content::Broken => None,
            _ => {
                self.problems.push(Problem::new(node.place, Fault::KeyNotText).expected("one word"));
                None
            }
        }
    }

    fn refuse_decoration(&mut self, place: Place, anchor: usize, tagged: bool) {
        if anchor != 0 {
            self.problems.push(Problem::new(place, Fault::Unsupported("anchors")).expected("plain values"));
        }
        if tagged {
            self.problems.push(Problem::new(place, Fault::Unsupported("tags")).expected("plain values"));
        }
    }
}

fn nothing() -> Problem {
    Problem::of_file(Fault::Empty).expected("at least `listen` and `upstream`")
}

fn scalar(text: String, style: ScalarStyle) -> Content {
    let nothing = matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL");
    if style == ScalarStyle::Plain && nothing { Content::Nothing } else { Content::Text(text) }
}

/// A value that isn't there has no place of its own.
fn at_key_if_nothing(value: Node, key: Place) -> Node {
    match value.content {
        Content::Nothing => Node { place: key, content: Content::Nothing },
        content => Node { place: value.place, content },
    }
}

fn place(mark: Marker) -> Place {
    Place { line: mark.line(), column: mark.col() + 1 }
}

/// What the parser stumbled over, in words that help where the slip is a common one.
fn syntax(text: &str, error: &ScanError) -> Problem {
    let at = place(*error.marker());
    if error.info().contains("tab")
        && let Some(tab) = first_indenting_tab(text, at.line)
    {
        return Problem::new(tab, Fault::Syntax("a tab indents".into())).expected("spaces");
    }
    let problem = Problem::new(at, Fault::Syntax(error.info().into()));
    match around(text, at) {
        (_, Some('*')) => problem.expected("names that begin with `*` in quotes, as in \"*.example.com\""),
        (Some('$'), Some('{')) => problem.expected("quotes round `${…}` inside `[ ]` and `{ }`"),
        (_, Some('@' | '`' | '%')) => {
            problem.expected("quotes round a value that begins with this character")
        }
        _ if error.info().starts_with("illegal placement of ':'") => {
            problem.expected("a `]` or `}` that closes what was opened before")
        }
        _ if error.info().starts_with("mapping values") => {
            problem.expected("a space after the colon of a key, and quotes round a value that holds `: `")
        }
        _ => problem,
    }
}

fn first_indenting_tab(text: &str, from_line: usize) -> Option<Place> {
    let lines = text.lines().enumerate().skip(from_line.saturating_sub(1));
    lines
        .filter_map(|(index, line)| {
            let indent = line.len() - line.trim_start().len();
            let column = line.get(..indent)?.find('\t')? + 1;
            Some(Place { line: index + 1, column })
        })
        .next()
}

/// The characters before and at a place.
fn around(text: &str, at: Place) -> (Option<char>, Option<char>) {
    let line = text.lines().nth(at.line.saturating_sub(1)).unwrap_or_default();
    let before = at.column.checked_sub(2).and_then(|index| line.chars().nth(index));
    (before, line.chars().nth(at.column - 1))
}
