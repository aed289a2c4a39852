//! Every parser of our own against spoilt input: what may come is in `tests/corpus`, and is spoilt at random from there.
//!
//! A target says with a number what became of its input; inputs with a new number are kept to be spoilt further, so that
//! a run finds its way into a parser without knowing its branches. As an ordinary test each target runs for a moment,
//! always with the same numbers; `tests/fuzz --seconds N` runs each for so long, with other ones each time. An input that
//! fails is cut as small as it goes and written into the corpus, where it is a test from then on.

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::config::Config;
use crate::message::{ChannelName, Position};

/// A parser, by the name of its corpus.
type Target = (&'static str, fn(&[u8]) -> u64);

const TARGETS: &[Target] = &[
    ("bayeux", crate::bayeux::fuzz::messages),
    ("chunks", crate::upstream::fuzz::chunks),
    ("configuration", configuration),
    ("control_json", crate::control::fuzz::requests),
    ("grip_instruct", crate::hold::fuzz::instruct),
    ("grip_items", crate::control::fuzz::grip_items),
    ("hold_headers", crate::hold::fuzz::headers),
    ("http2", crate::listener::fuzz::http2),
    ("log_recovery", crate::store::fuzz::recovery),
    ("positions", positions),
    ("proxy_header", crate::listener::fuzz::proxy_header),
    ("pushpin", crate::cli::fuzz::pushpin),
    ("request_head", crate::listener::fuzz::requests),
    ("response_head", crate::upstream::fuzz::head),
    ("tickets", crate::hold::fuzz::tickets),
    ("websocket", crate::transport::fuzz::frames),
];

/// A number for what became of an input.
pub(crate) fn kind(of: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// The words of a text without what it quotes, so that as many kinds come of it as there are sentences.
pub(crate) fn sentence(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_alphabetic() || *c == ' ').take(30).collect()
}

fn configuration(input: &[u8]) -> u64 {
    let Ok(text) = std::str::from_utf8(input) else { return 0 };
    // Files that a spoilt path names are nobody's business.
    if text.contains("/dev") || text.contains("/proc") || text.contains("/sys") {
        return 1;
    }
    match Config::parse("fuzz", text, &|name| (name == "A").then(|| "b".to_owned())) {
        Ok(config) => kind((config.listen.len(), config.sites.len(), config.pools.len())),
        Err(problems) => {
            assert!(problems.iter().next().is_some(), "refused without a reason");
            kind(problems.iter().map(|problem| sentence(&problem.to_string())).collect::<Vec<_>>())
        }
    }
}

fn positions(input: &[u8]) -> u64 {
    let Ok(text) = std::str::from_utf8(input) else { return 0 };
    let name = ChannelName::from_bytes(input);
    if let Ok(name) = &name {
        assert_eq!(name.as_str(), text);
    }
    match text.parse::<Position>() {
        // One way to write each: clients compare them.
        Ok(position) => assert_eq!(position.to_string(), text),
        Err(_) => return kind(name.is_ok()),
    }
    kind(text.len())
}

#[test]
fn no_parser_fails_whatever_it_is_given() {
    let seconds = std::env::var("PERIHELION_FUZZ_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    if seconds.is_some() {
        // The smallest input that fails is told at the end, and not each on the way there.
        std::panic::set_hook(Box::new(|_| ()));
    }
    let only = std::env::var("PERIHELION_FUZZ_TARGET").ok();
    let mut failed = Vec::new();
    for target in TARGETS.iter().filter(|target| only.as_deref().is_none_or(|only| only == target.0)) {
        let patience = seconds.map_or(Patience::Rounds(3000), |seconds| {
            Patience::Until(Instant::now() + Duration::from_secs(seconds))
        });
        let run = Run::new(*target, if seconds.is_some() { fastrand::u64(..) } else { 7 });
        let (rounds, kinds, failure) = run.go(patience);
        if seconds.is_some() {
            eprintln!("{}: {rounds} inputs, {kinds} kinds", target.0);
        }
        failed.extend(failure);
    }
    let _ = std::panic::take_hook();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn every_target_has_a_corpus_and_every_corpus_a_target() {
    let mut folders: Vec<String> = std::fs::read_dir(corpus_path(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    folders.sort();
    assert_eq!(folders, TARGETS.iter().map(|target| target.0).collect::<Vec<_>>());
}

enum Patience {
    Rounds(u64),
    Until(Instant),
}

struct Run {
    target: Target,
    corpus: Vec<Vec<u8>>,
    kinds: HashSet<u64>,
    rng: Rng,
    seed: u64,
}

/// Inputs that are kept; those from the repository always are.
const KEPT_MAX: usize = 5000;
/// Bytes of an input: what is found in a long one is found in a short one.
const LENGTH_MAX: usize = 4096;

impl Run {
    fn new(target: Target, seed: u64) -> Run {
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(corpus_path(target.0)).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let corpus: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
        assert!(!corpus.is_empty(), "{} has no corpus", target.0);
        Run { target, corpus, kinds: HashSet::new(), rng: Rng::with_seed(seed), seed }
    }

    fn go(mut self, patience: Patience) -> (u64, usize, Option<String>) {
        for input in self.corpus.clone() {
            if let Err(failure) = self.try_one(input) {
                return (0, 0, Some(failure));
            }
        }
        let mut rounds = 0;
        loop {
            let over = match patience {
                Patience::Rounds(most) => rounds >= most,
                Patience::Until(end) => Instant::now() >= end,
            };
            if over {
                return (rounds, self.kinds.len(), None);
            }
            rounds += 1;
            let spoilt = self.spoil();
            if let Err(failure) = self.try_one(spoilt) {
                return (rounds, self.kinds.len(), Some(failure));
            }
        }
    }

    fn try_one(&mut self, input: Vec<u8>) -> Result<(), String> {
        match outcome(self.target, &input) {
            Some(kind) => {
                if self.kinds.insert(kind) && self.corpus.len() < KEPT_MAX {
                    self.corpus.push(input);
                }
                Ok(())
            }
            None => {
                let small = cut(self.target, input);
                let file = corpus_path(self.target.0).join(format!("failed-{:x}", kind(&small)));
                std::fs::write(&file, &small).unwrap();
                Err(format!(
                    "{}: {} (seed {}), in {}",
                    self.target.0,
                    small.escape_ascii(),
                    self.seed,
                    file.display()
                ))
            }
        }
    }

    /// One of the corpus, changed in one to eight places.
    fn spoil(&mut self) -> Vec<u8> {
        let mut input = self.rng.choice(&self.corpus).cloned().unwrap_or_default();
        for _ in 0..1 << self.rng.u32(0..4) {
            self.change(&mut input);
        }
        input.truncate(LENGTH_MAX);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let rng = &mut self.rng;
        let at = rng.usize(..=input.len());
        let end = (at + rng.usize(..=16)).min(input.len());
        match rng.u32(0..9) {
            0 if at < input.len() => input[at] ^= 1 << rng.u32(0..8),
            1 if at < input.len() => input[at] = rng.u8(..),
            2 => drop(input.drain(at..end)),
            3 => drop(input.splice(at..at, (0..rng.usize(1..5)).map(|_| rng.u8(..)).collect::<Vec<_>>())),
            // Again, which numbers and brackets in the right places make the more of.
            4 => {
                let piece = input[at..end].repeat(rng.usize(1..20));
                drop(input.splice(at..at, piece));
            }
            5 => {
                let words: &[&[u8]] = WORDS;
                let word = words[rng.usize(..words.len())];
                drop(input.splice(at..at, word.iter().copied()));
            }
            6 => input.truncate(at),
            7 => {
                let other = rng.choice(&self.corpus).cloned().unwrap_or_default();
                let from = rng.usize(..=other.len());
                drop(input.splice(at.., other[from..].iter().copied()));
            }
            _ if at < input.len() && input[at].is_ascii_digit() => input[at] = b'0' + rng.u8(0..10),
            _ => {}
        }
    }
}

/// What parsers of text and of lengths stumble over.
const WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r\n\r\n",
    b"\0",
    b"\xff",
    b"\xe2\x80\xa8",
    b"[[[[",
    b"{\"\":",
    b"18446744073709551616",
    b"9223372036854775807",
    b"-1",
    b"ffffffffffffffff",
    b"1e999",
    b"\\ud800",
    b"\"",
    b"${A}",
    b"${",
    b": ",
    b"- ",
    b"%",
    b"%00",
    b"chunked",
    b"0\r\n",
    b"\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x00\x00\x00\x00",
    b";",
    b",",
    b"=",
    b"*",
    b"..",
];

/// What becomes of an input; `None` if that is a panic.
fn outcome((_, parse): Target, input: &[u8]) -> Option<u64> {
    catch_unwind(AssertUnwindSafe(|| parse(input))).ok()
}

/// The shortest input that fails as well, as far as taking pieces away leads.
fn cut(target: Target, mut input: Vec<u8>) -> Vec<u8> {
    let mut piece = input.len().div_ceil(2);
    while piece > 0 {
        let mut at = 0;
        while at < input.len() {
            let mut shorter = input.clone();
            shorter.drain(at..(at + piece).min(input.len()));
            match outcome(target, &shorter) {
                None => input = shorter,
                Some(_) => at += piece,
            }
        }
        piece /= 2;
    }
    input
}

fn corpus_path(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(target)
}
