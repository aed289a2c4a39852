//! What stands in a store, and its bytes.
//!
//! A record is a byte for its kind, then its fields: numbers little-endian, texts and data behind their length of 32
//! bits. Records stand behind one another without anything between them; whoever keeps them guards them by checksums,
//! so bytes that can't be read here were written by another version.

use bytes::Bytes;

use super::Past;
use super::forms as form_bytes;
use crate::message::{ChannelName, Data, Message, Sequence};

/// One thing that a store has to know after a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A message.
    Message {
        /// Its place.
        sequence: Sequence,
        /// When it was published, in milliseconds of Unix time.
        at: u64,
        /// What was published.
        message: Message,
    },
    /// A channel was deleted with everything up to a place.
    Deleted {
        /// The last place given then.
        upto: Sequence,
        /// Which.
        channel: ChannelName,
    },
    /// What is gone of a channel.
    Past {
        /// Which.
        channel: ChannelName,
        /// The account.
        past: Past,
    },
    /// A publisher's id whose message is gone.
    Id {
        /// The message's place.
        sequence: Sequence,
        /// Its channel.
        channel: ChannelName,
        /// The id.
        id: Box<str>,
    },
    /// Channels whose last message is at or before this place may be unknown.
    Forgotten(Sequence),
}

/// Bytes that are no record of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoRecord;

const MESSAGE: u8 = 1;
const DELETED: u8 = 2;
const PAST: u8 = 3;
const ID: u8 = 4;
const FORGOTTEN: u8 = 5;
/// A message with a key: one without is written as before there were any.
const KEYED: u8 = 6;
/// A message with forms, which stand behind it, and perhaps a key.
const FORMED: u8 = 7;

impl Record {
    /// Appends its bytes.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Record::Message { sequence, at, message } => write_message(*sequence, *at, message, out),
            Record::Deleted { upto, channel } => write_deleted(*upto, channel, out),
            Record::Past { channel, past } => {
                let Past { dropped, count, first, vouched } = past;
                out.push(PAST);
                [dropped.0, *count, first.0, vouched.0].iter().for_each(|&number| write_number(number, out));
                write_bytes(channel.as_str().as_bytes(), out);
            }
            Record::Id { sequence, channel, id } => {
                out.push(ID);
                write_number(sequence.0, out);
                write_bytes(channel.as_str().as_bytes(), out);
                write_bytes(id.as_bytes(), out);
            }
            Record::Forgotten(upto) => {
                out.push(FORGOTTEN);
                write_number(upto.0, out);
            }
        }
    }
}

/// Appends the bytes of a message's record.
pub(super) fn write_message(sequence: Sequence, at: u64, message: &Message, out: &mut Vec<u8>) {
    let Message { channel, event, id, key, content_type, data, forms } = message;
    out.push(match (key, forms) {
        (_, Some(_)) => FORMED,
        (Some(_), None) => KEYED,
        (None, None) => MESSAGE,
    });
    write_number(sequence.0, out);
    write_number(at, out);
    match (key, forms) {
        (key, Some(_)) => write_text(key.as_deref(), out),
        (Some(key), None) => write_bytes(key.as_bytes(), out),
        (None, None) => {}
    }
    write_bytes(channel.as_str().as_bytes(), out);
    [event, id, content_type].into_iter().for_each(|text| write_text(text.as_deref(), out));
    out.push(match data {
        Data::Json(_) => 0,
        Data::Text(_) => 1,
        Data::Binary(_) => 2,
    });
    write_bytes(data.bytes(), out);
    if let Some(forms) = forms {
        form_bytes::write(forms, out);
    }
}

/// Appends the bytes of a deletion's record.
pub(super) fn write_deleted(upto: Sequence, channel: &ChannelName, out: &mut Vec<u8>) {
    out.push(DELETED);
    write_number(upto.0, out);
    write_bytes(channel.as_str().as_bytes(), out);
}

/// Every record of some bytes.
pub(super) fn read_all(bytes: &[u8]) -> Result<Vec<Record>, NoRecord> {
    let mut reader = Reader(bytes);
    let mut records = Vec::new();
    while !reader.0.is_empty() {
        records.push(reader.record()?);
    }
    Ok(records)
}

pub(super) fn write_number(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&number.to_le_bytes());
}

/// Pieces are parts of a group, whose length is checked to fit into 32 bits.
pub(super) fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

pub(super) fn write_text(text: Option<&str>, out: &mut Vec<u8>) {
    out.push(u8::from(text.is_some()));
    if let Some(text) = text {
        write_bytes(text.as_bytes(), out);
    }
}

/// Takes fields off the front.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    fn record(&mut self) -> Result<Record, NoRecord> {
        match self.byte()? {
            kind @ (MESSAGE | KEYED | FORMED) => self.message(kind),
            DELETED => Ok(Record::Deleted { upto: self.place()?, channel: self.channel()? }),
            PAST => {
                let past = Past {
                    dropped: self.place()?,
                    count: self.number()?,
                    first: self.place()?,
                    vouched: self.place()?,
                };
                Ok(Record::Past { channel: self.channel()?, past })
            }
            ID => {
                let (sequence, channel) = (self.place()?, self.channel()?);
                Ok(Record::Id { sequence, channel, id: self.utf8()?.into() })
            }
            FORGOTTEN => Ok(Record::Forgotten(self.place()?)),
            _ => Err(NoRecord),
        }
    }

    fn message(&mut self, kind: u8) -> Result<Record, NoRecord> {
        let (sequence, at) = (self.place()?, self.number()?);
        let key = match kind {
            FORMED => self.text()?,
            KEYED => Some(self.utf8()?.into()),
            _ => None,
        };
        let (channel, event, id) = (self.channel()?, self.text()?, self.text()?);
        let (content_type, data) = (self.text()?, self.data()?);
        let forms = if kind == FORMED { Some(Box::new(form_bytes::read(self)?)) } else { None };
        let message = Message { channel, event, id, key, content_type, data, forms };
        Ok(Record::Message { sequence, at, message })
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], NoRecord> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(NoRecord)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, NoRecord> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn number(&mut self) -> Result<u64, NoRecord> {
        Ok(u64::from_le_bytes(self.take(8)?.try_into().map_err(|_| NoRecord)?))
    }

    fn place(&mut self) -> Result<Sequence, NoRecord> {
        self.number().map(Sequence)
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], NoRecord> {
        let length = u32::from_le_bytes(self.take(4)?.try_into().map_err(|_| NoRecord)?);
        self.take(length as usize)
    }

    pub(super) fn utf8(&mut self) -> Result<&'a str, NoRecord> {
        std::str::from_utf8(self.bytes()?).map_err(|_| NoRecord)
    }

    fn channel(&mut self) -> Result<ChannelName, NoRecord> {
        ChannelName::from_bytes(self.bytes()?).map_err(|_| NoRecord)
    }

    pub(super) fn text(&mut self) -> Result<Option<Box<str>>, NoRecord> {
        match self.byte()? {
            0 => Ok(None),
            1 => Ok(Some(self.utf8()?.into())),
            _ => Err(NoRecord),
        }
    }

    /// Copied, so that a message doesn't keep the file that it was read from.
    fn data(&mut self) -> Result<Data, NoRecord> {
        let kind = self.byte()?;
        let bytes = Bytes::copy_from_slice(self.bytes()?);
        match kind {
            0 => Ok(Data::Json(bytes)),
            1 => Ok(Data::Text(bytes)),
            2 => Ok(Data::Binary(bytes)),
            _ => Err(NoRecord),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> Vec<Record> {
        let channel = ChannelName::parse("käse").unwrap();
        let message = |data| Message {
            event: Some("e".into()),
            content_type: Some("text/plain".into()),
            ..Message::new(channel.clone(), data)
        };
        let data = [Data::Json("{}".into()), Data::Text("".into()), Data::Binary(b"\xff".to_vec().into())];
        let past = Past { dropped: Sequence(9), count: 3, first: Sequence(2), vouched: Sequence(1) };
        let mut records: Vec<_> = (1..)
            .zip(data)
            .map(|(n, data)| Record::Message { sequence: Sequence(n), at: 77, message: message(data) })
            .collect();
        for forms in form_bytes::tests::every_kind() {
            let message = Message { forms: Some(Box::new(forms)), ..message(Data::Text("x".into())) };
            records.push(Record::Message { sequence: Sequence(4), at: 78, message });
        }
        records.push(Record::Deleted { upto: Sequence(3), channel: channel.clone() });
        records.push(Record::Past { channel: channel.clone(), past });
        records.push(Record::Id { sequence: Sequence(2), channel, id: "7".into() });
        records.push(Record::Forgotten(Sequence(u64::MAX)));
        records
    }

    #[test]
    fn every_record_reads_what_it_writes() {
        let mut bytes = Vec::new();
        records().iter().for_each(|record| record.write(&mut bytes));
        assert_eq!(read_all(&bytes), Ok(records()));
    }

    #[test]
    fn what_is_cut_or_unknown_is_no_record() {
        for record in records() {
            let mut bytes = Vec::new();
            record.write(&mut bytes);
            for length in 1..bytes.len() {
                assert_eq!(read_all(&bytes[..length]), Err(NoRecord), "{record:?} cut to {length}");
            }
        }
        assert_eq!(read_all(&[9]), Err(NoRecord));
    }
}
