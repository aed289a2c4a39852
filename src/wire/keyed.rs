//! A TLS 1.3 connection whose session is gone: keys, numbers, and how much of a record is out already.
//!
//! Invariants: a record's number goes on only when all of it is out, so a half-sent one is sealed again from the
//! same plaintext and no ciphertext is kept; whatever a session would be needed for ends the connection.
//! Deliberately absent: KeyUpdate in either direction (RFC 8446 §4.6.3).

use std::io::{self, Read, Write};

use ring::aead::LessSafeKey;
use rustls::ExtractedSecrets;

use super::OUTPUT;
use super::error::{CLOSE_NOTIFY, Fault, WireError};
use super::inbox::{Arrivals, INPUT, Inbox, uninterrupted};
use super::pieces::Pieces;
use super::record::{Cipher, Content, HEADER, Keys, Mark, OVERHEAD, PLAINTEXT_MAX, TLS13_PAYLOAD_MAX};

/// Records that one `write` to the socket takes at most; a socket's send buffer seldom has room for more.
const BATCH: usize = 4;
const _: () =
    assert!(OUTPUT >= BATCH * (PLAINTEXT_MAX + OVERHEAD), "a batch is sealed into the output buffer");

/// Records without content that one turn accepts; rustls allows as many in a row.
const EMPTY_RECORDS_MAX: usize = 32;

pub(super) struct Keyed {
    tx: Keys,
    rx: Keys,
    inbox: Inbox,
    half_sent: HalfSent,
    cipher: Cipher,
    reading: Reading,
}

/// The record that is out in part; all zero if there is none.
#[derive(Debug, Clone, Copy, Default)]
struct HalfSent {
    plaintext: u16,
    /// Of the sealed record, header included; below its length.
    sent: u16,
    mark: Mark,
}

#[derive(Debug, Clone, Copy)]
enum Reading {
    Open,
    /// The client said `close_notify`.
    Ended,
    /// Found behind data that had to be handed out first, or reported already.
    Failed(Fault),
}

impl Keyed {
    pub(super) fn new(secrets: ExtractedSecrets, inbox: Inbox) -> Result<Keyed, WireError> {
        let (cipher, tx) = Keys::new(secrets.tx)?;
        let (_, rx) = Keys::new(secrets.rx)?;
        Ok(Keyed { tx, rx, inbox, half_sent: HalfSent::default(), cipher, reading: Reading::Open })
    }

    /// The client's `close_notify` came while the session was still there.
    pub(super) fn end(&mut self) {
        self.reading = Reading::Ended;
    }

    pub(super) fn holds_input(&self) -> bool {
        !self.inbox.is_empty() || !matches!(self.reading, Reading::Open)
    }

    /// Plaintext bytes of the half-sent record.
    pub(super) fn half_sent(&self) -> usize {
        usize::from(self.half_sent.plaintext)
    }

    /// Seals and writes until all is out or the socket is full: see [`Wire::write`](super::Wire::write).
    pub(super) fn write(
        &mut self,
        socket: &mut impl Write,
        mut pieces: Pieces<'_>,
        output: &mut [u8; OUTPUT],
    ) -> io::Result<usize> {
        let total = pieces.remaining();
        let schedule = self.tx.schedule(self.cipher);
        let mut done = 0;
        while done < total {
            let batch = self.seal_batch(&schedule, &mut pieces, output)?;
            let before = usize::from(self.half_sent.sent);
            match uninterrupted(|| socket.write(&output[before..batch.end()])) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    done += self.settle(&batch, before + count);
                    if before + count < batch.end() {
                        return some(done);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return some(done),
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    /// Seals the half-sent record and what follows it, until the batch is full.
    fn seal_batch(
        &self,
        schedule: &LessSafeKey,
        pieces: &mut Pieces<'_>,
        output: &mut [u8],
    ) -> Result<Batch, Fault> {
        let mut batch = Batch::default();
        while batch.count < BATCH && pieces.remaining() > 0 {
            let plaintext = match self.half_sent() {
                half if half > 0 && batch.count == 0 => half,
                _ => pieces.remaining().min(PLAINTEXT_MAX),
            };
            if plaintext > pieces.remaining() {
                return Err(Fault::OtherBytes);
            }
            if !self.tx.may_seal(self.cipher, batch.count as u64) {
                if batch.count == 0 {
                    return Err(Fault::WornOut);
                }
                break;
            }
            let record = &mut output[batch.end()..][..plaintext + OVERHEAD];
            pieces.fill(&mut record[HEADER..HEADER + plaintext]);
            let mark = self.tx.seal(schedule, batch.count as u64, record);
            if batch.count == 0 && self.half_sent() > 0 && mark != self.half_sent.mark {
                return Err(Fault::OtherBytes);
            }
            batch.push(plaintext, mark);
        }
        Ok(batch)
    }

    /// `sent` bytes of the batch are out: counts the records that are whole, remembers the one that isn't.
    /// Returns the plaintext bytes of the whole ones.
    fn settle(&mut self, batch: &Batch, sent: usize) -> usize {
        let (mut done, mut start) = (0, 0);
        self.half_sent = HalfSent::default();
        for &(plaintext, mark) in batch.records() {
            let end = start + plaintext + OVERHEAD;
            if sent < end {
                if sent > start {
                    // Both are below 16 KiB and a record's overhead.
                    self.half_sent =
                        HalfSent { plaintext: plaintext as u16, sent: (sent - start) as u16, mark };
                }
                break;
            }
            done += plaintext;
            start = end;
            self.tx.advance(1);
        }
        done
    }

    /// Seals one record that the caller promises to send. Returns plaintext and sealed length.
    pub(super) fn seal_one(
        &mut self,
        mut pieces: Pieces<'_>,
        output: &mut [u8; OUTPUT],
    ) -> Result<(usize, usize), Fault> {
        debug_assert_eq!(self.half_sent(), 0);
        if !self.tx.may_seal(self.cipher, 0) {
            return Err(Fault::WornOut);
        }
        let plaintext = pieces.remaining().min(PLAINTEXT_MAX);
        let record = &mut output[..plaintext + OVERHEAD];
        pieces.fill(&mut record[HEADER..HEADER + plaintext]);
        self.tx.seal(&self.tx.schedule(self.cipher), 0, record);
        self.tx.advance(1);
        Ok((plaintext, record.len()))
    }

    /// The last record: the alert that the client's fault asks for, else `close_notify`. None inside a half-sent
    /// record, or when the client wouldn't listen.
    pub(super) fn farewell(&mut self) -> Option<[u8; OVERHEAD + 2]> {
        let description = match self.reading {
            Reading::Open | Reading::Ended => CLOSE_NOTIFY,
            Reading::Failed(fault) => fault.alert()?,
        };
        if self.half_sent() > 0 {
            return None;
        }
        let record = self.tx.seal_alert(&self.tx.schedule(self.cipher), description);
        self.tx.advance(1);
        Some(record)
    }

    /// Reads plaintext: see [`Wire::read`](super::Wire::read).
    pub(super) fn read(
        &mut self,
        socket: &mut impl Read,
        into: &mut [u8],
        input: &mut [u8; INPUT],
    ) -> io::Result<usize> {
        let kept = self.inbox.take_plaintext(into);
        if kept > 0 || into.is_empty() {
            return Ok(kept);
        }
        match self.reading {
            Reading::Open => {}
            Reading::Ended => return Ok(0),
            Reading::Failed(fault) => return Err(fault.into()),
        }
        let mut arrivals = self.inbox.resume(input);
        let mut empty = 0;
        loop {
            let read = match self.open_arrivals(&mut arrivals, into, &mut empty) {
                Ok(read) => read,
                Err(fault) => {
                    self.reading = Reading::Failed(fault);
                    return Err(fault.into());
                }
            };
            if read > 0 || matches!(self.reading, Reading::Ended) {
                return Ok(read);
            }
            match arrivals.refill(socket) {
                Ok(true) => {}
                Ok(false) => return Ok(0),
                Err(error) => {
                    self.inbox.keep(&[], arrivals.rest());
                    return Err(error);
                }
            }
        }
    }

    /// Opens whole records until `into` is full or none is left; once something was read, what is left over is kept.
    /// A fault behind data waits for the next call.
    fn open_arrivals(
        &mut self,
        arrivals: &mut Arrivals<'_>,
        into: &mut [u8],
        empty: &mut usize,
    ) -> Result<usize, Fault> {
        let mut schedule = None;
        let mut read = 0;
        while read < into.len() {
            let content = arrivals.next(TLS13_PAYLOAD_MAX).transpose().map(|record| {
                let schedule = schedule.get_or_insert_with(|| self.rx.schedule(self.cipher));
                self.rx.open(schedule, record?)
            });
            match content {
                None => break,
                Some(Ok(Content::Data([]))) if *empty < EMPTY_RECORDS_MAX => *empty += 1,
                Some(Ok(Content::Data([]))) => return Err(Fault::Empty),
                Some(Ok(Content::Data(plaintext))) => {
                    let count = plaintext.len().min(into.len() - read);
                    into[read..read + count].copy_from_slice(&plaintext[..count]);
                    read += count;
                    if count < plaintext.len() {
                        let left = plaintext[count..].to_vec();
                        self.inbox.keep(&left, arrivals.rest());
                        return Ok(read);
                    }
                }
                Some(Ok(Content::End)) => {
                    self.reading = Reading::Ended;
                    return Ok(read);
                }
                Some(Err(fault)) if read > 0 => {
                    self.reading = Reading::Failed(fault);
                    return Ok(read);
                }
                Some(Err(fault)) => return Err(fault),
            }
        }
        if read > 0 {
            self.inbox.keep(&[], arrivals.rest());
        }
        Ok(read)
    }
}

/// Records that lie sealed in the output buffer, one behind the other.
#[derive(Default)]
struct Batch {
    records: [(usize, Mark); BATCH],
    count: usize,
    end: usize,
}

impl Batch {
    fn push(&mut self, plaintext: usize, mark: Mark) {
        self.records[self.count] = (plaintext, mark);
        self.count += 1;
        self.end += plaintext + OVERHEAD;
    }

    fn records(&self) -> &[(usize, Mark)] {
        &self.records[..self.count]
    }

    fn end(&self) -> usize {
        self.end
    }
}

/// What a full socket means to the caller.
pub(super) fn some(done: usize) -> io::Result<usize> {
    if done > 0 { Ok(done) } else { Err(io::ErrorKind::WouldBlock.into()) }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use super::*;
    use crate::wire::record::tests::keys;

    const NUMBERS: u64 = 1 << 24;

    #[test]
    fn half_sent_records_are_finished_byte_for_byte_wherever_they_were_cut() {
        let plaintext: Vec<u8> = (0..40_000_u32).map(|at| (at % 251) as u8).collect();
        let mut whole = Vec::new();
        offer(&mut keyed(5), &mut whole, &plaintext).unwrap();
        assert_eq!(whole.len(), plaintext.len() + 3 * OVERHEAD);
        for step in [149, 1_500, 16_405, 16_406, 16_407, 39_999] {
            let mut socket = Narrow { room: 0, taken: Vec::new() };
            let (mut keyed, mut done) = (keyed(5), 0);
            while done < plaintext.len() {
                socket.room = step;
                match offer(&mut keyed, &mut socket, &plaintext[done..]) {
                    Ok(count) => done += count,
                    Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
                }
            }
            assert!(socket.taken == whole, "in steps of {step}");
        }
    }

    #[test]
    fn a_key_seals_as_much_as_it_may_and_then_says_goodbye() {
        let mut keyed = keyed(NUMBERS - 2);
        let mut socket = Vec::new();
        let error = offer(&mut keyed, &mut socket, &[b'x'; 3 * PLAINTEXT_MAX]).unwrap_err();
        assert_eq!(error.get_ref().and_then(|inner| inner.downcast_ref()), Some(&Fault::WornOut));
        assert_eq!(socket.len(), 2 * (PLAINTEXT_MAX + OVERHEAD));
        assert!(keyed.farewell().is_some());
    }

    #[test]
    fn nothing_is_said_inside_a_half_sent_record() {
        let mut keyed = keyed(0);
        let mut socket = Narrow { room: 10, taken: Vec::new() };
        assert!(offer(&mut keyed, &mut socket, b"some bytes").is_err());
        assert_eq!((keyed.half_sent(), socket.taken.len()), (10, 10));
        assert_eq!(keyed.farewell(), None);
    }

    #[test]
    fn a_turn_ends_on_records_that_say_nothing() {
        let client = keys(0, [1; 32], [1; 12]);
        let schedule = client.schedule(Cipher::Aes128Gcm);
        let mut input = Vec::new();
        for ahead in 0..=EMPTY_RECORDS_MAX as u64 {
            let mut record = [0; OVERHEAD];
            client.seal(&schedule, ahead, &mut record);
            input.extend(record);
        }
        let outcome = keyed(0).read(&mut &input[..], &mut [0; 9], &mut [0; INPUT]);
        let error = outcome.unwrap_err();
        assert_eq!(error.get_ref().and_then(|inner| inner.downcast_ref()), Some(&Fault::Empty));
    }

    /// Takes as many bytes as it has room for.
    struct Narrow {
        room: usize,
        taken: Vec<u8>,
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.room);
            self.taken.extend(&bytes[..count]);
            self.room -= count;
            some(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn offer(keyed: &mut Keyed, socket: &mut impl Write, bytes: &[u8]) -> io::Result<usize> {
        let slices = [IoSlice::new(bytes)];
        keyed.write(socket, Pieces::new(&slices), &mut [0; OUTPUT])
    }

    fn keyed(number: u64) -> Keyed {
        Keyed {
            tx: keys(number, [2; 32], [2; 12]),
            rx: keys(0, [1; 32], [1; 12]),
            inbox: Inbox::default(),
            half_sent: HalfSent::default(),
            cipher: Cipher::Aes128Gcm,
            reading: Reading::Open,
        }
    }
}
