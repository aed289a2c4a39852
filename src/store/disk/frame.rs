//! Frames: what is written in one step, between a mark, a length and a checksum. Pure.
//!
//! A frame is whole or it was never there: the batches of a publisher lie inside one. The last frame of a file may be
//! torn, because the process or the machine ended while it was written; nobody was told then that it is safe. A frame
//! that isn't whole with a whole one behind it was damaged later, and nothing may go on as if it had not been.

use std::ops::Range;

use memchr::memmem;

/// Begins each frame. Not UTF-8, so that it is rare inside of frames.
const MARK: [u8; 4] = [0xf5, b'P', b'h', 0xf6];
/// Mark, length of the content, CRC-32 of length and content; numbers little-endian.
const HEAD: usize = 12;

/// Builds one frame in a buffer that is used again and again.
#[derive(Default)]
pub(super) struct Framer {
    bytes: Vec<u8>,
}

/// What a buffer may keep between two frames.
const SPARE_BYTES_MAX: usize = 1 << 20;

impl Framer {
    /// An empty frame, to whose content is appended.
    pub(super) fn content(&mut self) -> &mut Vec<u8> {
        self.bytes.clear();
        self.bytes.shrink_to(SPARE_BYTES_MAX);
        self.bytes.resize(HEAD, 0);
        &mut self.bytes
    }

    /// The frame; `None` where the content is longer than 32 bits can say.
    pub(super) fn frame(&mut self) -> Option<&[u8]> {
        let length = u32::try_from(self.bytes.len() - HEAD).ok()?.to_le_bytes();
        let sum = checksum(&length, &self.bytes[HEAD..]).to_le_bytes();
        self.bytes[..4].copy_from_slice(&MARK);
        self.bytes[4..8].copy_from_slice(&length);
        self.bytes[8..HEAD].copy_from_slice(&sum);
        Some(&self.bytes)
    }
}

/// The whole frames at the beginning of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scan {
    /// The content of each.
    pub(super) contents: Vec<Range<usize>>,
    /// Where the last one ends.
    pub(super) end: usize,
    pub(super) rest: Rest,
}

/// What is behind the whole frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    Nothing,
    /// No whole frame begins anywhere in it.
    Torn,
    /// A whole frame begins somewhere in it.
    Damaged,
}

/// Reads frames from a place on.
pub(super) fn scan(bytes: &[u8], start: usize) -> Scan {
    let mut contents = Vec::new();
    let mut end = start;
    while let Some(content) = whole_frame(bytes, end) {
        end = content.end;
        contents.push(content);
    }
    let rest = match bytes.get(end..) {
        None | Some([]) => Rest::Nothing,
        Some(rest) => {
            let mut marks = memmem::find_iter(rest, &MARK);
            if marks.any(|at| whole_frame(rest, at).is_some()) { Rest::Damaged } else { Rest::Torn }
        }
    };
    Scan { contents, end, rest }
}

/// The content of the frame that begins at a place, if it is whole.
fn whole_frame(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let head = bytes.get(at..at.checked_add(HEAD)?)?;
    let (mark, numbers) = head.split_at(4);
    let (length, sum) = numbers.split_at(4);
    let number = |bytes: &[u8]| Some(u32::from_le_bytes(bytes.try_into().ok()?));
    let content = at + HEAD..(at + HEAD).checked_add(number(length)? as usize)?;
    let whole = mark == MARK && checksum(length, bytes.get(content.clone())?) == number(sum)?;
    whole.then_some(content)
}

fn checksum(length: &[u8], content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(length);
    hasher.update(content);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> (Vec<u8>, Vec<usize>) {
        let mut bytes = vec![7; 5];
        let mut ends = Vec::new();
        let mut framer = Framer::default();
        for content in ["one", "", "three, and longer than the others"] {
            framer.content().extend_from_slice(content.as_bytes());
            bytes.extend_from_slice(framer.frame().unwrap());
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    #[test]
    fn a_cut_leaves_the_frames_before_it_and_a_torn_rest() {
        let (bytes, ends) = three();
        for length in 5..=bytes.len() {
            let whole = ends.iter().filter(|end| **end <= length).count();
            let end = whole.checked_sub(1).map_or(5, |last| ends[last]);
            let scan = scan(&bytes[..length], 5);
            assert_eq!((scan.contents.len(), scan.end), (whole, end), "cut to {length}");
            assert_eq!(scan.rest, if end == length { Rest::Nothing } else { Rest::Torn });
        }
    }

    #[test]
    fn a_changed_byte_is_damage_where_a_whole_frame_follows_and_a_torn_end_in_the_last() {
        let (bytes, ends) = three();
        for at in 5..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let scan = scan(&changed, 5);
            let in_last = at >= ends[1];
            assert_eq!(scan.rest, if in_last { Rest::Torn } else { Rest::Damaged }, "byte {at}");
            assert_eq!(scan.contents.len(), ends.iter().filter(|end| **end <= at).count());
        }
    }
}
