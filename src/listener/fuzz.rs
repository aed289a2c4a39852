//! Requests and PROXY headers as anybody may send them.

use super::head_cases::outcome;
use super::proxy_header::{self, Parsed};
use crate::fuzz::kind;

pub(crate) use super::http2::fuzz::connection as http2;

/// However the bytes are cut, they mean the same.
pub(crate) fn requests(input: &[u8]) -> u64 {
    let whole = outcome(input, &[usize::MAX], usize::MAX);
    for lengths in [&[1][..], &[3, 1, 7, 2, 31]] {
        let cut = outcome(input, lengths, 8);
        assert_eq!(cut.ends, whole.ends);
        assert_eq!(cut.bodies, whole.bodies);
        // Which fault is seen first may depend on it: a word that is too long needs no end of its line.
        assert_eq!(cut.status().is_some(), whole.status().is_some());
    }
    kind((whole.ends.len(), whole.status(), whole.bodies.iter().map(Vec::len).collect::<Vec<_>>()))
}

/// A header is whole at one length only, and needs more at every shorter one.
pub(crate) fn proxy_header(input: &[u8]) -> u64 {
    match proxy_header::parse(input) {
        Parsed::Whole { length, client } => {
            assert!(length <= input.len() && length <= proxy_header::LENGTH_MAX);
            for shorter in 0..length {
                assert!(matches!(proxy_header::parse(&input[..shorter]), Parsed::More));
            }
            let again = proxy_header::parse(&input[..length]);
            assert!(
                matches!(again, Parsed::Whole { length: same, client: whom } if same == length && whom == client)
            );
            kind((client.is_some(), client.is_some_and(|client| client.is_ipv4())))
        }
        Parsed::More => {
            assert!(input.len() < proxy_header::LENGTH_MAX);
            2
        }
        Parsed::Bad(reason) => kind(reason),
    }
}
