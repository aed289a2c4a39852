//! Frames as clients on a WebSocket may send them.

use super::websocket::{Incoming, Said};
use crate::fuzz::kind;

const LIMIT: usize = 1000;

/// However the bytes are cut, they say the same, and nothing that is longer than allowed.
pub(crate) fn frames(input: &[u8]) -> u64 {
    let read = |size: usize| {
        let (mut incoming, mut said) = (Incoming::default(), Vec::new());
        for piece in input.chunks(size) {
            let mut rest = piece;
            while !rest.is_empty() {
                match incoming.take(Some(LIMIT), &mut rest) {
                    Ok(Some(words)) => {
                        if let Said::Message(_, data) = &words {
                            assert!(data.len() <= LIMIT);
                        }
                        said.push(format!("{words:?}"));
                    }
                    Ok(None) => assert!(rest.is_empty(), "bytes are left behind"),
                    Err(fault) => return (said, Some(fault.code())),
                }
            }
        }
        (said, None)
    };
    let whole = read(input.len().max(1));
    assert_eq!(read(1), whole);
    kind((whole.0.iter().map(|said| said.len().min(12)).collect::<Vec<_>>(), whole.1))
}
