//! What a client has sent and nobody has used yet: a place only while there is something, and whole TLS records.
//!
//! Invariant: between two turns a connection keeps at most the plaintext of one record and one turn's input
//! ([`INPUT`] bytes) of undecrypted records.

use std::io::{self, Read};

use super::error::Fault;
use super::record::{self, HEADER, PAYLOAD_MAX};

/// Bytes of a thread's input buffer: the largest record fits.
pub(super) const INPUT: usize = HEADER + PAYLOAD_MAX;

/// What is kept from turn to turn; one pointer, null for nearly every held connection.
#[derive(Default)]
pub(super) struct Inbox(Option<Box<Kept>>);

/// Never empty.
struct Kept {
    /// Plaintext first, then records as they came.
    bytes: Vec<u8>,
    taken: usize,
    plaintext_end: usize,
}

impl Inbox {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Everything, for somebody who knows what it is.
    pub(super) fn into_bytes(self) -> Option<Vec<u8>> {
        let Kept { mut bytes, taken, .. } = *self.0?;
        bytes.drain(..taken);
        Some(bytes)
    }

    /// Moves plaintext to `into`; 0 where there is none.
    pub(super) fn take_plaintext(&mut self, into: &mut [u8]) -> usize {
        let Some(kept) = &mut self.0 else { return 0 };
        let plaintext = &kept.bytes[kept.taken..kept.plaintext_end];
        let count = plaintext.len().min(into.len());
        into[..count].copy_from_slice(&plaintext[..count]);
        kept.taken += count;
        if kept.taken == kept.bytes.len() {
            self.0 = None;
        }
        count
    }

    /// Moves the records to the thread's buffer. No plaintext may be left.
    pub(super) fn resume<'s>(&mut self, buffer: &'s mut [u8; INPUT]) -> Arrivals<'s> {
        let mut end = 0;
        if let Some(kept) = self.0.take() {
            debug_assert_eq!(kept.taken, kept.plaintext_end);
            let records = &kept.bytes[kept.plaintext_end..];
            end = records.len();
            buffer[..end].copy_from_slice(records);
        }
        Arrivals { buffer, start: 0, end }
    }

    /// Keeps what a turn has left over. Nothing may be kept yet.
    pub(super) fn keep(&mut self, plaintext: &[u8], records: &[u8]) {
        debug_assert!(self.is_empty());
        if plaintext.is_empty() && records.is_empty() {
            return;
        }
        let mut bytes = Vec::with_capacity(plaintext.len() + records.len());
        bytes.extend_from_slice(plaintext);
        bytes.extend_from_slice(records);
        self.0 = Some(Box::new(Kept { bytes, taken: 0, plaintext_end: plaintext.len() }));
    }

    /// Puts plaintext before everything that is kept; for a connection that changes hands.
    pub(super) fn prepend(&mut self, plaintext: &[u8]) {
        let kept = self.0.take().map_or_else(
            || (Vec::new(), 0),
            |kept| {
                let Kept { mut bytes, taken, plaintext_end } = *kept;
                bytes.drain(..taken);
                (bytes, plaintext_end - taken)
            },
        );
        let (earlier, records) = kept.0.split_at(kept.1);
        self.keep(&[plaintext, earlier].concat(), records);
    }
}

/// The input of one turn, in the thread's buffer.
pub(super) struct Arrivals<'s> {
    buffer: &'s mut [u8; INPUT],
    start: usize,
    end: usize,
}

impl Arrivals<'_> {
    /// The next record if it is here as a whole.
    pub(super) fn next(&mut self, payload_max: usize) -> Result<Option<&mut [u8]>, Fault> {
        let Some(length) = record::whole(self.rest(), payload_max)? else { return Ok(None) };
        let start = self.start;
        self.start += length;
        Ok(Some(&mut self.buffer[start..self.start]))
    }

    /// Bytes behind the records that [`Self::next`] gave out.
    pub(super) fn rest(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Reads once from `socket`. To be called when [`Self::next`] gave nothing: then there is room.
    /// `Ok(false)` is the end of the stream between two records.
    pub(super) fn refill(&mut self, socket: &mut impl Read) -> io::Result<bool> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        match uninterrupted(|| socket.read(&mut self.buffer[self.end..]))? {
            0 if self.end > 0 => Err(Fault::Truncated.into()),
            0 => Ok(false),
            count => {
                self.end += count;
                Ok(true)
            }
        }
    }
}

/// Does it again when a signal came in between.
pub(super) fn uninterrupted(mut io: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match io() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plaintext_comes_out_before_records_and_nothing_is_held_afterwards() {
        let mut inbox = Inbox::default();
        inbox.keep(b"cd", b"\x17\x03");
        inbox.prepend(b"ab");
        let mut into = [0; 3];
        assert_eq!((inbox.take_plaintext(&mut into), &into), (3, b"abc"));
        assert_eq!((inbox.take_plaintext(&mut into), into[0]), (1, b'd'));
        assert_eq!(inbox.take_plaintext(&mut into), 0);
        let mut buffer = [0; INPUT];
        assert_eq!(inbox.resume(&mut buffer).rest(), b"\x17\x03");
        assert!(inbox.is_empty());
    }

    #[test]
    fn records_are_cut_whatever_the_reads() {
        let stream =
            [&b"\x17\x03\x03\x00\x02ab"[..], b"\x15\x03\x03\x00\x00", b"\x17\x03\x03\x00\x01c"].concat();
        for step in 1..=stream.len() {
            let mut inbox = Inbox::default();
            let mut seen = Vec::new();
            for mut part in stream.chunks(step) {
                let mut buffer = [0; INPUT];
                let mut arrivals = inbox.resume(&mut buffer);
                assert!(arrivals.refill(&mut part).unwrap());
                while let Some(record) = arrivals.next(PAYLOAD_MAX).unwrap() {
                    seen.push(record.to_vec());
                }
                inbox.keep(&[], arrivals.rest());
            }
            assert!(inbox.is_empty());
            assert_eq!(seen, [&stream[..7], &stream[7..12], &stream[12..]], "in steps of {step}");
        }
    }

    #[test]
    fn an_end_inside_a_record_is_not_a_clean_one() {
        for (kept, expected) in [(&b""[..], Ok(false)), (b"\x17", Err(io::ErrorKind::UnexpectedEof))] {
            let mut inbox = Inbox::default();
            inbox.keep(&[], kept);
            let mut buffer = [0; INPUT];
            let end = inbox.resume(&mut buffer).refill(&mut io::empty());
            assert_eq!(end.map_err(|error| error.kind()), expected);
        }
    }
}
