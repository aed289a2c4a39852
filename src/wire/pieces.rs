//! Several byte slices read as one.

use std::io::IoSlice;

/// A place in a run of slices.
pub(super) struct Pieces<'a> {
    slices: &'a [IoSlice<'a>],
    offset: usize,
}

impl<'a> Pieces<'a> {
    pub(super) fn new(slices: &'a [IoSlice<'a>]) -> Pieces<'a> {
        Pieces { slices, offset: 0 }
    }

    /// Bytes from here to the end.
    pub(super) fn remaining(&self) -> usize {
        self.slices.iter().map(|slice| slice.len()).sum::<usize>() - self.offset
    }

    /// Goes on by `count` bytes, which must be there.
    pub(super) fn skip(&mut self, count: usize) {
        self.offset += count;
        while let [first, rest @ ..] = self.slices
            && self.offset >= first.len()
        {
            self.offset -= first.len();
            self.slices = rest;
        }
        debug_assert!(self.offset == 0 || !self.slices.is_empty());
    }

    /// Fills all of `into`, which must not be longer than what remains.
    pub(super) fn fill(&mut self, into: &mut [u8]) {
        let mut filled = 0;
        while filled < into.len() {
            let Some(first) = self.slices.first() else { break };
            let from = &first[self.offset..];
            let count = from.len().min(into.len() - filled);
            into[filled..filled + count].copy_from_slice(&from[..count]);
            filled += count;
            self.skip(count);
        }
        debug_assert_eq!(filled, into.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_read_as_one_run_whatever_the_cuts() {
        let whole = b"abcdefghij";
        for cuts in [[0, 0], [0, 10], [3, 3], [1, 9], [10, 10], [4, 7]] {
            for step in 1..=10 {
                let slices =
                    [&whole[..cuts[0]], &whole[cuts[0]..cuts[1]], &whole[cuts[1]..]].map(IoSlice::new);
                let mut pieces = Pieces::new(&slices);
                let mut seen = Vec::new();
                while pieces.remaining() > 0 {
                    let mut part = vec![0; step.min(pieces.remaining())];
                    pieces.fill(&mut part);
                    seen.extend(part);
                }
                assert_eq!(seen, whole, "{cuts:?} in steps of {step}");
            }
        }
    }

    #[test]
    fn what_was_skipped_does_not_come_again() {
        let slices = [IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cde")];
        let mut pieces = Pieces::new(&slices);
        pieces.skip(3);
        let mut rest = [0; 2];
        pieces.fill(&mut rest);
        assert_eq!((&rest, pieces.remaining()), (b"de", 0));
    }
}
