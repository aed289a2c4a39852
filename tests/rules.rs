//! The rules of the house that a text check can keep: arrows between rooms, banned words, docs in step with code.
//!
//! Each finding says file, line, rule and reason. What is exempt stands in a list here, which may only shrink.
//! That configuration, its reference and `config/` agree is kept by a test of the config room, which knows the keys.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use perihelion::metrics::NAMES;
use perihelion::transport::TRANSPORTS;

/// A room, the rooms that it may name, and why. Code that only tests see is exempt.
const ARROWS: &[(&str, &[&str], &str)] = &[
    ("sys", &[], "what the libraries lack of the system knows nothing of the program"),
    ("message", &[], "a message knows neither its transports nor where it is kept"),
    ("body", &[], "a body is bytes, whoever makes them"),
    ("clock", &[], "a clock doesn't know what it limits"),
    ("date", &[], "a date doesn't know what it stands on"),
    ("pulse", &[], "a pulse doesn't know whose it is"),
    ("jwt", &[], "a token doesn't know what it opens"),
    (
        "config",
        &["jwt"],
        "nothing of the configuration depends on who reads it; keys are read by who uses them",
    ),
    ("metrics", &[], "everybody counts, so counting depends on nobody"),
    ("stretch", &[], "a stretch of a file doesn't know what it is a part of"),
    ("wire", &["stretch"], "a socket knows no HTTP and no messages"),
    ("access_log", &["config", "metrics"], "a line of the log is made from what it is told"),
    ("spool", &["config", "metrics"], "a spool keeps bytes, whatever they are for"),
    ("transport", &["message"], "a transport turns messages into bytes and knows no socket, hub or clock"),
    ("quota", &["config", "metrics"], "whoever is counted is an address, and nothing else"),
    (
        "hold",
        &["transport", "message", "wire", "body", "date", "access_log", "quota"],
        "the seam: an instruction in neutral words, which neither half lies behind",
    ),
    ("store", &["message"], "a store keeps what was numbered, and doesn't know who numbers and who reads"),
    ("hub", &["store", "message", "metrics"], "the hub knows no HTTP, no socket and no transport"),
    (
        "edge",
        &["transport", "body", "config"],
        "what holds for a route whatever answers it, so it knows no answers of its own",
    ),
    (
        "upstream",
        &["spool", "config", "metrics", "body", "clock"],
        "a pool lends connections and knows no requests",
    ),
    ("files", &[], "a file knows neither who asks for it nor who serves it"),
    (
        "exchange",
        &[
            "upstream",
            "files",
            "hold",
            "edge",
            "spool",
            "body",
            "config",
            "metrics",
            "access_log",
            "clock",
            "date",
            "message",
            "stretch",
            "jwt",
        ],
        "of the half that holds, a request may name only the seam",
    ),
    (
        "bayeux",
        &["hold", "hub", "transport", "message", "config", "metrics"],
        "a session knows its terms and what it waits for, and neither connections nor routes",
    ),
    (
        "shard",
        &["hub", "hold", "transport", "wire", "message", "config", "metrics", "access_log", "pulse", "sys"],
        "a shard delivers, and knows nothing of requests and pools",
    ),
    (
        "listener",
        &["hold", "wire", "body", "config", "metrics", "clock", "date", "sys"],
        "a listener drives connections, and doesn't know what serves their requests",
    ),
    (
        "site",
        &[
            "exchange",
            "bayeux",
            "quota",
            "upstream",
            "files",
            "hold",
            "edge",
            "spool",
            "body",
            "config",
            "metrics",
            "access_log",
        ],
        "a site chooses who answers, and holds nothing",
    ),
    (
        "control",
        &["hub", "upstream", "edge", "message", "transport", "config", "metrics", "jwt"],
        "the control port names the engines, never a shard or an exchange",
    ),
    (
        "server",
        &[
            "access_log",
            "bayeux",
            "body",
            "clock",
            "config",
            "control",
            "edge",
            "exchange",
            "hold",
            "hub",
            "jwt",
            "listener",
            "message",
            "metrics",
            "pulse",
            "quota",
            "shard",
            "site",
            "store",
            "spool",
            "sys",
            "transport",
            "upstream",
            "wire",
        ],
        "the server builds the rooms below the command line",
    ),
    ("demo", &["config"], "the demo's application uses the proxy from outside, as any application does"),
    ("cli", &["config", "server", "demo", "pulse"], "a command starts a room and says what came of it"),
    ("main", &["cli"], "exit codes and nothing else"),
];

/// A word that must not stand in code, where it may after all, and why not elsewhere.
struct Ban {
    word: &'static str,
    allowed: &'static [&'static str],
    reason: &'static str,
}

const BANS: &[Ban] = &[
    Ban { word: "unsafe ", allowed: &["src/sys.rs"], reason: "unsafe lives in one file, with its reasons" },
    Ban { word: "tokio::spawn(", allowed: &[], reason: "every task has an owner that stops it" },
    Ban { word: "unbounded_channel", allowed: &[], reason: "every queue has a bound" },
    Ban { word: "mpsc::channel()", allowed: &[], reason: "every queue has a bound: sync_channel" },
    Ban { word: "todo!", allowed: &[], reason: "smaller and finished rather than larger and not" },
    Ban { word: "unimplemented!", allowed: &[], reason: "smaller and finished rather than larger and not" },
    Ban { word: "dbg!", allowed: &[], reason: "left over" },
    Ban {
        word: " println!",
        allowed: &["src/cli/"],
        reason: "standard output is the command line's and the log's",
    },
    Ban { word: " eprintln!", allowed: &["src/cli/"], reason: "what is to be read goes through tracing" },
    Ban { word: "use super::*", allowed: &[], reason: "a use says which wall it crosses; tests are exempt" },
];

/// Parts of names of types and files that say nothing.
const EMPTY_NAMES: &[&str] = &["Manager", "Helper", "Handler", "Util", "Wrapper", "Info"];
/// The same for files and rooms.
const EMPTY_FILES: &[&str] = &["util", "utils", "helper", "helpers", "misc", "common", "types", "prelude"];

/// Lines after which a file is split before its next feature.
const LINES_MAX: usize = 700;
/// Tables may be long.
const LONG_TABLES: &[&str] = &[];

/// A source file without what only tests see and without comments; other lines keep their numbers.
struct Source {
    /// From the root of the package.
    path: String,
    text: String,
    lines: Vec<String>,
}

/// Where cargo starts tests, whatever checkout they were built from.
fn root() -> &'static Path {
    Path::new("")
}

fn files_under(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let path = entry.expect("a readable folder").path();
        // What cargo builds of the benchmark lies beside it.
        if path.is_dir() && !path.ends_with("target") {
            files_under(&path, ending, found);
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
}

fn rust_files(folder: &str) -> Vec<(String, String)> {
    let mut paths = Vec::new();
    files_under(&root().join(folder), ".rs", &mut paths);
    paths.sort();
    let read = |path: PathBuf| {
        let name = path.strip_prefix(root()).expect("a path below the root").to_string_lossy().into_owned();
        (name, std::fs::read_to_string(&path).expect("UTF-8"))
    };
    paths.into_iter().map(read).collect()
}

/// What the product is made of: files that only tests see are left out.
fn product() -> Vec<Source> {
    let files = rust_files("src");
    let tests: Vec<String> = files.iter().flat_map(|(path, text)| test_modules(path, text)).collect();
    let of_tests = |path: &str| {
        tests.iter().any(|module| path == format!("{module}.rs") || path.starts_with(&format!("{module}/")))
    };
    let source = |(path, text): (String, String)| Source { lines: without_tests(&text), path, text };
    files.into_iter().filter(|(path, _)| !of_tests(path)).map(source).collect()
}

/// Paths, without their ending, of the modules that a file declares for tests only.
fn test_modules(path: &str, text: &str) -> Vec<String> {
    let stem = path.trim_end_matches(".rs");
    let folder = match Path::new(path).file_name().and_then(|name| name.to_str()) {
        Some("mod.rs" | "lib.rs" | "main.rs") => {
            Path::new(path).parent().expect("in src").to_string_lossy().into_owned()
        }
        _ => stem.to_string(),
    };
    let lines: Vec<&str> = text.lines().collect();
    let declared = lines.windows(2).filter(|pair| pair[0].trim() == "#[cfg(test)]").filter_map(|pair| {
        let name = pair[1].trim().strip_suffix(';')?.rsplit_once("mod ")?.1;
        Some(format!("{folder}/{name}"))
    });
    declared.collect()
}

/// The lines of a file; those of items behind `#[cfg(test)]`, and comments, are empty.
fn without_tests(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_string).collect();
    let mut at = 0;
    while at < lines.len() {
        if lines[at].trim() == "#[cfg(test)]" {
            let end = end_of_item(&lines, at);
            lines[at..=end].iter_mut().for_each(String::clear);
            at = end;
        } else if lines[at].trim_start().starts_with("//") {
            lines[at].clear();
        }
        at += 1;
    }
    lines
}

/// The last line of the item behind the attribute on line `at`: rustfmt puts its end at its own indentation.
fn end_of_item(lines: &[String], at: usize) -> usize {
    let indentation = lines[at].len() - lines[at].trim_start().len();
    let begins =
        (at + 1..lines.len()).find(|line| !lines[*line].trim_start().starts_with("#[")).unwrap_or(at);
    if lines[begins].trim_end().ends_with(';') || lines[begins].trim_end().ends_with(',') {
        return begins;
    }
    let closes = |line: &usize| {
        let text = &lines[*line];
        text.starts_with(&format!("{}}}", " ".repeat(indentation)))
    };
    (begins..lines.len()).find(closes).unwrap_or(begins)
}

fn room_of(path: &str) -> &str {
    let inside = path.strip_prefix("src/").expect("a source file");
    inside.split('/').next().expect("not empty").trim_end_matches(".rs")
}

/// The rooms that a line names by `crate::room` or `crate::{…}`.
fn rooms_named(line: &str) -> Vec<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut rooms = Vec::new();
    for behind in line.split("crate::").skip(1) {
        match behind.strip_prefix('{') {
            Some(list) => rooms.extend(list.split(',').map(|item| word(item.trim()))),
            None => rooms.push(word(behind)),
        }
    }
    rooms.retain(|room| !room.is_empty());
    rooms
}

#[track_caller]
fn assert_none(findings: &str) {
    assert!(findings.is_empty(), "\n{findings}");
}

#[test]
fn rooms_name_only_the_rooms_that_they_may() {
    let mut findings = String::new();
    for source in product().iter().filter(|source| source.path != "src/lib.rs") {
        let room = room_of(&source.path);
        let Some((_, allowed, reason)) = ARROWS.iter().find(|(name, ..)| *name == room) else {
            writeln!(findings, "{}: the room {room:?} has no row in ARROWS", source.path).expect("memory");
            continue;
        };
        for (number, line) in source.lines.iter().enumerate() {
            for named in rooms_named(line).into_iter().filter(|named| named != room) {
                let known = ARROWS.iter().any(|(name, ..)| *name == named);
                if known && !allowed.contains(&named.as_str()) {
                    let place = format!("{}:{}", source.path, number + 1);
                    writeln!(findings, "{place}: {room} names {named}: {reason}").expect("memory");
                }
            }
        }
    }
    assert_none(&findings);
}

#[test]
fn arrows_go_one_way() {
    for (room, uses, _) in ARROWS {
        for used in *uses {
            let row = ARROWS.iter().position(|(name, ..)| name == used);
            let own = ARROWS.iter().position(|(name, ..)| name == room);
            assert!(row < own, "{room} uses {used}, which stands behind it in ARROWS");
            assert!(row.is_some(), "{room} uses {used}, which has no row");
        }
    }
}

#[test]
fn banned_words_stand_nowhere() {
    let mut findings = String::new();
    for source in product() {
        for (number, line) in source.lines.iter().enumerate() {
            let said = |ban: &&Ban| {
                let allowed = ban.allowed.iter().any(|path| source.path.starts_with(path));
                !allowed && format!(" {line}").contains(ban.word)
            };
            for Ban { word, reason, .. } in BANS.iter().filter(said) {
                writeln!(findings, "{}:{}: {word:?}: {reason}", source.path, number + 1).expect("memory");
            }
        }
    }
    assert_none(&findings);
}

#[test]
fn names_say_something() {
    let mut findings = String::new();
    for source in product() {
        let stem = source.path.split('/').map(|part| part.trim_end_matches(".rs"));
        for part in stem.filter(|part| EMPTY_FILES.contains(part)) {
            writeln!(findings, "{}: {part:?} says nothing: find the noun", source.path).expect("memory");
        }
        for (number, line) in source.lines.iter().enumerate() {
            let empty = |name: &String| EMPTY_NAMES.iter().any(|empty| name.ends_with(empty));
            if let Some(name) = declared_type(line).filter(empty) {
                let place = format!("{}:{}", source.path, number + 1);
                writeln!(findings, "{place}: {name} ends with a word that says nothing").expect("memory");
            }
        }
    }
    assert_none(&findings);
}

fn declared_type(line: &str) -> Option<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let at = words.iter().position(|word| ["struct", "enum", "trait", "union", "type"].contains(word))?;
    let name = words.get(at + 1)?;
    Some(name.chars().take_while(|c| c.is_alphanumeric()).collect())
}

#[test]
fn every_file_begins_with_a_sentence_about_its_job() {
    let mut findings = String::new();
    for (path, text) in rust_files("src").into_iter().chain(rust_files("tests")).chain(rust_files("benches"))
    {
        let first = text.lines().next().unwrap_or_default();
        if !first.starts_with("//! ") || first.len() < 20 {
            writeln!(findings, "{path}:1: {first:?} is no sentence that says what the file is for")
                .expect("memory");
        }
    }
    assert_none(&findings);
}

#[test]
fn no_file_has_grown_beyond_one_idea() {
    let long =
        |source: &Source| source.text.lines().count() > LINES_MAX && !LONG_TABLES.contains(&&*source.path);
    let found: Vec<String> = product().into_iter().filter(long).map(|source| source.path).collect();
    assert!(found.is_empty(), "more than {LINES_MAX} lines, to be split: {found:?}");
}

fn pages() -> Vec<(String, String)> {
    let mut paths = Vec::new();
    files_under(&root().join("docs"), ".md", &mut paths);
    let read = |path: PathBuf| (path.display().to_string(), std::fs::read_to_string(&path).expect("UTF-8"));
    paths.into_iter().map(read).collect()
}

#[test]
fn every_transport_stands_in_the_docs() {
    let page = std::fs::read_to_string(root().join("docs/transports.md")).expect("docs/transports.md");
    for transport in TRANSPORTS {
        let row = format!("| `{}` |", transport.name());
        assert!(page.contains(&row), "docs/transports.md has no row {row:?}");
    }
}

/// Names of metrics in a text, without the endings that a histogram's series have.
fn metric_names(text: &str) -> Vec<String> {
    let boundary = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    let metric = |word: &&str| {
        (word.starts_with("perihelion_") || word.starts_with("process_")) && !word.ends_with('_')
    };
    let family = |word: &str| {
        let ends = ["_bucket", "_count", "_sum"];
        let known = NAMES.iter().any(|(name, _)| *name == word);
        let end = ends.iter().find_map(|end| word.strip_suffix(end)).filter(|_| !known);
        end.unwrap_or(word).to_string()
    };
    text.split(boundary).filter(metric).map(family).collect()
}

#[test]
fn metrics_and_their_page_say_the_same() {
    let page = std::fs::read_to_string(root().join("docs/metrics.md")).expect("docs/metrics.md");
    for (name, _) in NAMES {
        assert!(page.contains(&format!("| `{name}` |")), "docs/metrics.md has no row for {name}");
    }
    for (path, text) in pages() {
        for named in metric_names(&text) {
            assert!(
                NAMES.iter().any(|(name, _)| *name == named),
                "{path} names {named}, which does not exist"
            );
        }
    }
}
