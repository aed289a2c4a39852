//! Segments: the files of the log, each with a head of its own and frames behind it.
//!
//! A segment is appended to until it is long enough; then the next one begins. Only the last may have a torn end.

use std::ops::RangeInclusive;

use super::frame::{Rest, Scan, scan};
use crate::message::Sequence;
use crate::store::Record;
use crate::store::record::read_all;

/// Begins each segment; the digit is the version of everything inside.
const MAGIC: &[u8; 16] = b"perihelion log 1";
/// Magic, the last place given when the segment was made, CRC-32 of both.
pub(super) const HEAD: usize = 28;
const ENDING: &str = ".log";
/// What a file is called until it takes its place.
const NEW: &str = ".new";

/// A file of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    /// Later ones have higher numbers.
    pub(super) number: u64,
    /// The last place given when it was made.
    pub(super) head: Sequence,
    /// Its length without a torn end.
    pub(super) bytes: u64,
    /// Messages in it.
    pub(super) messages: u64,
    /// Places of the first and the last of them.
    pub(super) places: RangeInclusive<Sequence>,
    /// When its use was last looked at: rotations and looks until then.
    pub(super) looked_at: (u64, u64),
}

impl Segment {
    /// One with nothing but its head.
    pub(super) fn new(number: u64, head: Sequence) -> Segment {
        let places = Sequence(0)..=Sequence(0);
        Segment { number, head, bytes: HEAD as u64, messages: 0, places, looked_at: (0, 0) }
    }

    /// The name of its file.
    pub(super) fn name(&self) -> String {
        format!("{:020}{ENDING}", self.number)
    }

    /// The name of its file until it takes its place.
    pub(super) fn new_name(&self) -> String {
        self.name() + NEW
    }

    /// Bytes of its head.
    pub(super) fn head_bytes(&self) -> [u8; HEAD] {
        let mut bytes = [0; HEAD];
        bytes[..16].copy_from_slice(MAGIC);
        bytes[16..24].copy_from_slice(&self.head.0.to_le_bytes());
        let sum = crc32fast::hash(&bytes[..24]);
        bytes[24..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// A message is in it.
    pub(super) fn note(&mut self, sequence: Sequence) {
        let first = if self.messages == 0 { sequence } else { *self.places.start() };
        self.places = first..=sequence;
        self.messages += 1;
    }
}

/// The number in a name, if it is one of a segment.
pub(super) fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(ENDING)?;
    let all_digits = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| digits.parse().ok()).flatten()
}

/// Whether a file is left of something that was cut short.
pub(super) fn is_left_over(name: &str) -> bool {
    name.ends_with(NEW)
}

/// A segment as it was read.
pub(super) struct Content {
    pub(super) segment: Segment,
    pub(super) records: Vec<Record>,
    pub(super) rest: Rest,
}

/// What is wrong with a segment's file as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadSegment {
    /// It has no head and no frame: its process ended while it made the file.
    Unborn,
    /// Its head is not whole.
    Damaged,
    /// It is whole, but of another version.
    Foreign,
}

/// Reads a segment.
pub(super) fn read(number: u64, bytes: &[u8]) -> Result<Content, BadSegment> {
    let head = read_head(bytes)?;
    let mut segment = Segment::new(number, head);
    let Scan { contents, end, rest } = scan(bytes, HEAD);
    let mut records = Vec::new();
    for content in contents {
        records.append(&mut read_all(&bytes[content]).map_err(|_| BadSegment::Foreign)?);
    }
    segment.bytes = end as u64;
    for record in &records {
        if let Record::Message { sequence, .. } = record {
            segment.note(*sequence);
        }
    }
    Ok(Content { segment, records, rest })
}

fn read_head(bytes: &[u8]) -> Result<Sequence, BadSegment> {
    let whole = bytes.first_chunk::<HEAD>().map(|head| head.split_at(24));
    let Some((facts, _)) = whole.filter(|(facts, sum)| crc32fast::hash(facts).to_le_bytes() == *sum) else {
        let Scan { contents, rest, .. } = scan(bytes, 0);
        let has_frame = !contents.is_empty() || rest == Rest::Damaged;
        return Err(if has_frame { BadSegment::Damaged } else { BadSegment::Unborn });
    };
    let (magic, head) = facts.split_at(MAGIC.len());
    if magic != MAGIC {
        return Err(BadSegment::Foreign);
    }
    head.try_into().map(|head| Sequence(u64::from_le_bytes(head))).map_err(|_| BadSegment::Damaged)
}
