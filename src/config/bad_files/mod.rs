//! Bad files, and the exact words that each of them is answered with.

mod channels;
mod pools;
mod process;
mod sites;
mod text;

use proptest::prelude::*;

use super::Config;

const TABLES: [&[Bad]; 5] = [text::BAD, process::BAD, pools::BAD, sites::BAD, channels::BAD];

/// What a file says, and every problem of it without the name of the file.
struct Bad {
    text: &'static str,
    problems: &'static [&'static str],
}

#[test]
fn a_bad_file_is_answered_with_every_place_and_what_was_expected() {
    let environment = |name: &str| (name == "LEVEL").then(|| "a\u{1b}b".to_owned());
    for Bad { text, problems } in TABLES.into_iter().flatten() {
        let said = Config::parse("bad.yaml", text, &environment).map(|_| ()).map_err(|all| all.to_string());
        let expected: Vec<String> = problems.iter().map(|problem| format!("bad.yaml:{problem}")).collect();
        assert_eq!(said, Err(expected.join("\n")), "{text}");
    }
}

proptest! {
    #[test]
    fn any_text_is_answered_with_places_inside_it(
        start in 0_usize..600,
        noise in "[-a-z0-9:,{}\\[\\]'\"#&*!|>%@$~?é\t\n\r\u{0}\u{feff} ]{0,24}",
        left_out in 0_usize..40,
    ) {
        let full: Vec<char> = include_str!("../../../config/pools.yaml").chars().collect();
        let (before, after) = full.split_at(start.min(full.len()));
        let text: String = before.iter().copied().chain(noise.chars()).chain(after.iter().skip(left_out).copied()).collect();
        if let Err(problems) = Config::parse("bad.yaml", &text, &|_| None) {
            let lines = text.lines().count() + 1;
            for place in problems.iter().filter_map(|problem| problem.place) {
                prop_assert!((1..=lines).contains(&place.line) && place.column >= 1, "{place:?}");
            }
        }
    }
}
