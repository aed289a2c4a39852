//! A log that something has happened to.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use parking_lot::Mutex;

use super::frame::Framer;
use super::{Disk, DiskSettings, Files};
use crate::fuzz::{kind, sentence};
use crate::message::{ChannelName, Data, Epoch, Message, Sequence};
use crate::store::{Numbered, Store};

/// Files in memory, which a test may spoil.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<BTreeMap<String, Vec<u8>>>>);

impl Files for Memory {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.0.lock().get(name).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn write(&mut self, name: &str, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut files = self.0.lock();
        let (file, at) = (files.entry(name.to_owned()).or_default(), at as usize);
        file.resize(file.len().max(at + bytes.len()), 0);
        file[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn truncate(&mut self, name: &str, length: u64) -> io::Result<()> {
        if let Some(file) = self.0.lock().get_mut(name) {
            file.resize(length as usize, 0);
        }
        Ok(())
    }

    fn sync(&mut self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.0.lock();
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.0.lock().remove(name);
        Ok(())
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn open(files: &Memory) -> Result<(Disk, crate::store::Recovered), crate::store::OpenError> {
    let settings = DiskSettings { sync_each: true, segment_bytes: 1 << 20 };
    Disk::open(Box::new(files.clone()), settings, Epoch(14), Some("boot"))
}

/// A store with three messages.
fn filled() -> Memory {
    let files = Memory::default();
    let (mut disk, _) = open(&files).expect("nothing is there");
    for number in 1..=3 {
        let message = Message {
            id: Some("id".into()),
            ..Message::new(ChannelName::parse("news").expect("a name"), Data::Text("hello".into()))
        };
        disk.append(&[Numbered { sequence: Sequence(number), message }], UNIX_EPOCH + Duration::from_secs(1))
            .expect("memory");
    }
    files
}

/// The first byte says what happens to the store: bytes behind its log, a whole frame with other content, another
/// identity, another segment, or other bytes from a place on.
pub(crate) fn recovery(input: &[u8]) -> u64 {
    let Some((&what, input)) = input.split_first() else { return 0 };
    let files = filled();
    let log = files.0.lock().keys().find(|name| name.ends_with(".log")).cloned().expect("a segment");
    let mut framer = Framer::default();
    framer.content().extend_from_slice(input);
    let frame = framer.frame().expect("short").to_vec();
    let mut keeps_all = true;
    {
        let mut all = files.0.lock();
        let bytes = all.get_mut(&log).expect("it is there");
        match what % 5 {
            0 => bytes.extend_from_slice(input),
            1 => bytes.extend_from_slice(&frame),
            2 => drop(all.insert("identity".to_owned(), input.to_vec())),
            3 => drop(all.insert("00000000000000000002.log".to_owned(), input.to_vec())),
            _ => {
                let at = input.first().map_or(0, |at| usize::from(*at)) % bytes.len();
                bytes.truncate(at);
                bytes.extend_from_slice(input);
                keeps_all = false;
            }
        }
    }
    match open(&files) {
        Err(error) => kind(sentence(&error.to_string())),
        Ok((disk, recovered)) => {
            drop(disk);
            if keeps_all && what % 5 == 0 {
                assert!(recovered.messages.len() >= 3, "what was acknowledged is gone");
            }
            let count = |recovered: &crate::store::Recovered| {
                (recovered.messages.len(), recovered.head, recovered.ids.len())
            };
            let (_, again) = open(&files).expect("what was opened opens again");
            assert_eq!(count(&again), count(&recovered));
            kind((what % 5, count(&recovered)))
        }
    }
}
