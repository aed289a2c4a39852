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
pub(super) const EMPTY_RECORDS_MAX: usize = 32;

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
        loop {
            let read = match self.open_arrivals(&mut arrivals, into) {
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
    fn open_arrivals(&mut self, arrivals: &mut Arrivals<'_>, into: &mut [u8]) -> Result<usize, Fault> {
        let mut schedule = None;
        let (mut read, mut empty) = (0, 0);
        while read < into.len() {
            let content = arrivals.next(TLS13_PAYLOAD_MAX).transpose().map(|record| {
                let schedule = schedule.get_or_insert_with(|| self.rx.schedule(self.cipher));
                self.rx.open(schedule, record?)
            });
            match content {
                None => break,
                Some(Ok(Content::Data([]))) if empty < EMPTY_RECORDS_MAX => empty += 1,
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
