//! Puts variables into values: `${NAME}`, `${NAME:-default}`, `${file:/path}`; `$${` is a literal `${`.
//!
//! It works on the parsed tree and never on keys, so that no value can become YAML or a key. What was put in isn't
//! looked at again.

use std::path::Path;

use super::file;
use super::problem::{Fault, Problem, quote};
use super::tree::{Content, Node};

/// Where variables come from.
pub(super) type Environment<'e> = &'e dyn Fn(&str) -> Option<String>;

/// Puts variables into every value of a tree; a value that misses one is left [`Content::Broken`].
pub(super) fn fill(node: &mut Node, environment: Environment<'_>, problems: &mut Vec<Problem>) {
    match &mut node.content {
        Content::Text(text) if text.contains("${") => match substituted(text, environment) {
            Ok(value) => *text = value,
            Err(problem) => {
                problems.push(Problem { place: Some(node.place), ..problem });
                node.content = Content::Broken;
            }
        },
        Content::List(nodes) => nodes.iter_mut().for_each(|node| fill(node, environment, problems)),
        Content::Map(entries) => {
            entries.iter_mut().for_each(|entry| fill(&mut entry.value, environment, problems));
        }
        Content::Text(_) | Content::Nothing | Content::Broken => {}
    }
}

fn substituted(text: &str, environment: Environment<'_>) -> Result<String, Problem> {
    let mut value = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, reference) = (&rest[..start], &rest[start..]);
        if let Some(literal) = before.strip_suffix('$') {
            value.push_str(literal);
            value.push_str("${");
            rest = &reference[2..];
            continue;
        }
        let end = reference.find('}').ok_or_else(|| no_variable(reference))?;
        value.push_str(before);
        value.push_str(&looked_up(&reference[..=end], environment)?);
        rest = &reference[end + 1..];
    }
    value.push_str(rest);
    Ok(value)
}

/// The value of one reference, `${` and `}` included.
fn looked_up(reference: &str, environment: Environment<'_>) -> Result<String, Problem> {
    let inside = &reference[2..reference.len() - 1];
    if let Some(path) = inside.strip_prefix("file:") {
        return secret_of(path);
    }
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    if !is_name(name) {
        return Err(no_variable(reference));
    }
    match (environment(name), default) {
        // As in a shell: `:-` stands in for what is empty, too.
        (Some(value), Some(default)) if value.is_empty() => Ok(default.to_owned()),
        (Some(value), _) => Ok(value),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(Problem::of_file(Fault::UnsetVariable(name.to_owned()))
            .expected(format!("a value in the environment, or a default: `${{{name}:-…}}`"))),
    }
}

/// The text of a file without the line feed at its end, which editors put there and nobody means.
fn secret_of(path: &str) -> Result<String, Problem> {
    let text = file::read(Path::new(path))
        .and_then(|bytes| {
            String::from_utf8(bytes).map_err(|_| Fault::Unreadable {
                path: path.to_owned(),
                reason: "it is not UTF-8 text".into(),
            })
        })
        .map_err(Problem::of_file)?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn no_variable(reference: &str) -> Problem {
    Problem::of_file(Fault::BadVariable(quote(reference)))
        .expected("`${NAME}`, `${NAME:-default}` or `${file:/path}`; `$${` stands for `${` itself")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("10.0.0.5".into()),
            "EMPTY" => Some(String::new()),
            "YAML" => Some("a: [b, ${HOST}]\nc: d".into()),
            _ => None,
        }
    }

    #[test]
    fn variables_are_put_in_once_and_only_where_they_are_meant() {
        let table = [
            ("http://${HOST}:${PORT:-8000}", Ok("http://10.0.0.5:8000")),
            ("${EMPTY}", Ok("")),
            ("${EMPTY:-x}", Ok("x")),
            ("${NONE:-}", Ok("")),
            ("${NONE:-a:-b}", Ok("a:-b")),
            ("${YAML}", Ok("a: [b, ${HOST}]\nc: d")),
            ("$HOST $ {HOST}", Ok("$HOST $ {HOST}")),
            ("$${HOST} ${HOST}", Ok("${HOST} 10.0.0.5")),
            ("${NONE}", Err(Fault::UnsetVariable("NONE".into()))),
            ("${}", Err(Fault::BadVariable("${}".into()))),
            ("${1A}", Err(Fault::BadVariable("${1A}".into()))),
            ("a ${HOST", Err(Fault::BadVariable("${HOST".into()))),
        ];
        for (text, expected) in table {
            let value = substituted(text, &environment).map_err(|problem| problem.fault);
            assert_eq!(value, expected.map(str::to_owned), "{text}");
        }
    }
}
