//! A disk that exists in memory: it fails when it is told to, and forgets what was not synced when the power goes.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use perihelion::store::Files;

/// One disk; clones are the same.
#[derive(Clone, Default)]
pub(crate) struct SimulatedDisk(Arc<Mutex<Platter>>);

#[derive(Default)]
struct Platter {
    files: Vec<Content>,
    /// Index of each file, as the process sees it and as it is safe.
    names: BTreeMap<String, usize>,
    safe_names: BTreeMap<String, usize>,
    changes: u64,
    fault: Option<Fault>,
}

#[derive(Default, Clone)]
struct Content {
    seen: Vec<u8>,
    safe: Vec<u8>,
}

/// What goes wrong: operations that change something are counted from 1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    /// The first that fails.
    pub(crate) at: u64,
    /// How many fail.
    pub(crate) count: u64,
    /// What part of a write that fails is done all the same, in 256ths.
    pub(crate) torn: u8,
}

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Killed: what it has written stays.
    Process,
    /// The machine stops: of what wasn't synced, a part stays, in 256ths.
    Power { part: u8 },
}

impl SimulatedDisk {
    /// Operations so far that change something.
    pub(crate) fn changes(&self) -> u64 {
        self.platter().changes
    }

    pub(crate) fn break_at(&self, fault: Option<Fault>) {
        self.platter().fault = fault;
    }

    /// What the next process finds. Nothing fails any more.
    pub(crate) fn end(&self, end: End) {
        let mut platter = self.platter();
        platter.fault = None;
        if let End::Power { part } = end {
            platter.lose_power(part);
        }
    }

    /// Changes one byte of a file.
    pub(crate) fn damage(&self, name: &str, at: usize) {
        let mut platter = self.platter();
        let file = platter.names[name];
        platter.files[file].seen[at] ^= 0x20;
    }

    /// Each file's name and length, in order.
    pub(crate) fn lengths(&self) -> Vec<(String, usize)> {
        let platter = self.platter();
        let length = |(name, file): (&String, &usize)| (name.clone(), platter.files[*file].seen.len());
        platter.names.iter().map(length).collect()
    }

    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().expect("nobody panics with it")
    }
}

impl Platter {
    /// Counts a change; the part of it that is done where it fails.
    fn change(&mut self) -> Result<(), u8> {
        self.changes += 1;
        match self.fault {
            Some(Fault { at, count, torn }) if (at..at + count).contains(&self.changes) => Err(torn),
            _ => Ok(()),
        }
    }

    fn lose_power(&mut self, part: u8) {
        // Names are kept by a journal: all changes up to some moment.
        if part < 128 {
            self.names = self.safe_names.clone();
        }
        for Content { seen, safe } in &mut self.files {
            let same = std::iter::zip(&*seen, &*safe).take_while(|(seen, safe)| seen == safe).count();
            if seen.len() >= safe.len() {
                let kept = same + (seen.len() - same) * usize::from(part) / 256;
                seen.truncate(kept.max(safe.len()));
                let from = kept.min(safe.len());
                seen[from..safe.len()].copy_from_slice(&safe[from..]);
            } else if part < 128 {
                seen.clone_from(safe);
            }
            safe.clone_from(seen);
        }
        self.safe_names = self.names.clone();
    }

    fn file(&mut self, name: &str) -> usize {
        if let Some(&file) = self.names.get(name) {
            return file;
        }
        self.files.push(Content::default());
        let file = self.files.len() - 1;
        self.names.insert(name.to_owned(), file);
        file
    }
}

fn failed() -> io::Error {
    io::Error::from(io::ErrorKind::StorageFull)
}

impl Files for SimulatedDisk {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.platter().names.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let platter = self.platter();
        let file = platter.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(platter.files[*file].seen.clone())
    }

    fn write(&mut self, name: &str, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut platter = self.platter();
        let change = platter.change();
        let done = match change {
            Ok(()) => bytes,
            Err(torn) => &bytes[..bytes.len() * usize::from(torn) / 256],
        };
        let file = platter.file(name);
        let (at, seen) = (at as usize, &mut platter.files[file].seen);
        seen.resize(seen.len().max(at + done.len()), 0);
        seen[at..at + done.len()].copy_from_slice(done);
        change.map_err(|_| failed())
    }

    fn truncate(&mut self, name: &str, length: u64) -> io::Result<()> {
        let mut platter = self.platter();
        platter.change().map_err(|_| failed())?;
        let file = platter.file(name);
        platter.files[file].seen.resize(length as usize, 0);
        Ok(())
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        let mut platter = self.platter();
        platter.change().map_err(|_| failed())?;
        let file = platter.file(name);
        let Content { seen, safe } = &mut platter.files[file];
        safe.clone_from(seen);
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let mut platter = self.platter();
        platter.change().map_err(|_| failed())?;
        let file = platter.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        platter.names.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        let mut platter = self.platter();
        platter.change().map_err(|_| failed())?;
        platter.names.remove(name).map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        let mut platter = self.platter();
        platter.change().map_err(|_| failed())?;
        platter.safe_names = platter.names.clone();
        Ok(())
    }
}
