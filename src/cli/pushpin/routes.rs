//! Pushpin's routes file: one rule a line, a condition and its targets, each a value with properties.
//!
//! `condition target [target…]` stand apart by blanks, properties behind commas; quotes keep both together, `\` in
//! them keeps the next character, and `#` outside of them begins a comment.

/// A line that could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    /// The condition's value is a host, `*`, or nothing.
    pub(super) condition: Part,
    /// In the order in which they are tried; at least one.
    pub(super) targets: Vec<Part>,
}

impl Rule {
    /// The same for another path.
    pub(super) fn at(&self, path: String) -> Rule {
        let Rule { mut condition, targets } = self.clone();
        condition.properties.retain(|(name, _)| name != "path_beg");
        condition.properties.push(("path_beg".into(), path));
        Rule { condition, targets }
    }
}

/// A value with its properties.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) value: String,
    /// Names with values; those without one have an empty one.
    pub(super) properties: Vec<(String, String)>,
}

/// A line that Pushpin leaves out, too.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadLine {
    /// From 1.
    pub(super) number: usize,
    pub(super) reason: &'static str,
}

impl Part {
    /// The first value of a property.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.properties.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Every value of one that may stand there several times.
    pub(super) fn all<'p>(&'p self, name: &'p str) -> impl Iterator<Item = &'p str> {
        self.properties.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }
}

/// Every rule, and the lines that are none.
pub(super) fn read(text: &str) -> (Vec<Rule>, Vec<BadLine>) {
    let (mut rules, mut bad) = (Vec::new(), Vec::new());
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        match rule(line) {
            Ok(Some(rule)) => rules.push(rule),
            Ok(None) => {}
            Err(reason) => bad.push(BadLine { number: index + 1, reason }),
        }
    }
    (rules, bad)
}

fn rule(line: &str) -> Result<Option<Rule>, &'static str> {
    let mut parts = parts(line)?;
    if parts.is_empty() {
        return Ok(None);
    }
    let condition = parts.remove(0);
    if parts.is_empty() {
        return Err("there is no target");
    }
    Ok(Some(Rule { condition, targets: parts }))
}

fn parts(line: &str) -> Result<Vec<Part>, &'static str> {
    let mut parts = Vec::new();
    // The words of one part: its value, then its properties.
    let mut words: Option<Vec<String>> = None;
    let mut quoted = false;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => {
                quoted = !quoted;
                words.get_or_insert_with(|| vec![String::new()]);
            }
            '\\' if quoted => append(&mut words, characters.next().ok_or("it ends behind a backslash")?),
            '#' if !quoted => break,
            ',' if !quoted => words.get_or_insert_with(|| vec![String::new()]).push(String::new()),
            ' ' | '\t' if !quoted => parts.extend(words.take().map(part)),
            other => append(&mut words, other),
        }
    }
    if quoted {
        return Err("a quote is not closed");
    }
    parts.extend(words.take().map(part));
    Ok(parts)
}

fn append(words: &mut Option<Vec<String>>, character: char) {
    let words = words.get_or_insert_with(|| vec![String::new()]);
    if let Some(word) = words.last_mut() {
        word.push(character);
    }
}

fn part(words: Vec<String>) -> Part {
    let mut words = words.into_iter();
    let value = words.next().unwrap_or_default();
    let property = |word: String| match word.split_once('=') {
        Some((name, value)) => (name.to_owned(), value.to_owned()),
        None => (word, String::new()),
    };
    Part { value, properties: words.map(property).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &str) -> Result<Vec<String>, &'static str> {
        let show = |part: Part| {
            let properties = part.properties.iter().map(|(name, value)| format!("[{name}={value}]"));
            part.value.clone() + &properties.collect::<String>()
        };
        parts(line).map(|parts| parts.into_iter().map(show).collect())
    }

    #[test]
    fn a_line_is_a_condition_and_its_targets() {
        let table: [(&str, Result<Vec<&str>, &str>); 9] = [
            ("", Ok(vec![])),
            ("  # nothing", Ok(vec![])),
            ("* localhost:80,over_http", Ok(vec!["*", "localhost:80[over_http=]"])),
            (",id=x a:1\tb:2", Ok(vec!["[id=x]", "a:1", "b:2"])),
            ("h,path_beg=/a,ssl=yes a:1 # b:2", Ok(vec!["h[path_beg=/a][ssl=yes]", "a:1"])),
            ("*,header=\"X: a, b # c\" a:1", Ok(vec!["*[header=X: a, b # c]", "a:1"])),
            (r#"*,header="a\"b\\" a:1"#, Ok(vec![r#"*[header=a"b\]"#, "a:1"])),
            ("* \"a", Err("a quote is not closed")),
            ("* \"a\\", Err("it ends behind a backslash")),
        ];
        for (line, expected) in table {
            let expected = expected.map(|parts| parts.into_iter().map(str::to_owned).collect());
            assert_eq!(shown(line), expected, "{line}");
        }
        assert_eq!(rule("only"), Err("there is no target"));
    }
}
