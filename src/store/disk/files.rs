//! The folder of a store: the few operations on files that its promises rest on, so that tests can let each of them fail.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::store::OpenError;

/// Files of one folder by their names.
pub trait Files: Send {
    /// The names of all files.
    fn names(&self) -> io::Result<Vec<String>>;
    /// A whole file.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;
    /// Writes at a place of a file, which is made where it is missing.
    fn write(&mut self, name: &str, at: u64, bytes: &[u8]) -> io::Result<()>;
    /// Cuts a file.
    fn truncate(&mut self, name: &str, length: u64) -> io::Result<()>;
    /// What was written to a file is safe from now on.
    fn sync(&mut self, name: &str) -> io::Result<()>;
    /// Gives a file another name, in place of the file that may have it.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&mut self, name: &str) -> io::Result<()>;
    /// Which files there are, and under which names, is safe from now on.
    fn sync_folder(&mut self) -> io::Result<()>;
}

/// A folder of the file system, locked while this lives.
pub struct Folder {
    path: PathBuf,
    /// The folder itself, whose sync makes names safe.
    folder: File,
    /// Its lock goes with the descriptor, however the process ends.
    _lock: File,
    /// The file that was written last: nearly always the same.
    open: Option<(String, File)>,
}

/// The file that carries the lock; it stays empty.
const LOCK: &str = "lock";

impl Folder {
    /// Opens a folder for this process alone; makes it where only the last part of the path is missing.
    pub fn open(path: &Path) -> Result<Folder, OpenError> {
        let unusable = |reason: io::Error| OpenError::Unusable { path: path.to_owned(), reason };
        // What was published is nobody else's.
        match fs::DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(unusable(error)),
            _ => {}
        }
        let folder = File::open(path).map_err(unusable)?;
        let lock = writable(&path.join(LOCK));
        let lock = lock.map_err(unusable)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Folder { path: path.to_owned(), folder, _lock: lock, open: None }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenError::InUse { path: path.to_owned() }),
            Err(error) => Err(unusable(error.into())),
        }
    }

    fn file(&mut self, name: &str) -> io::Result<&File> {
        if self.open.as_ref().is_none_or(|(open, _)| open != name) {
            let file = writable(&self.path.join(name))?;
            self.open = Some((name.to_owned(), file));
        }
        Ok(&self.open.as_ref().expect("it was open or was just opened").1)
    }

    /// A name that is about to mean another file.
    fn close(&mut self, name: &str) {
        if self.open.as_ref().is_some_and(|(open, _)| open == name) {
            self.open = None;
        }
    }
}

fn writable(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)
}

impl Files for Folder {
    fn names(&self) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(&self.path)?;
        // A name that isn't UTF-8 is none of ours.
        let name = |entry: io::Result<fs::DirEntry>| entry.map(|entry| entry.file_name().into_string().ok());
        entries.filter_map(|entry| name(entry).transpose()).collect()
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.path.join(name))
    }

    fn write(&mut self, name: &str, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.file(name)?.write_all_at(bytes, at)
    }

    fn truncate(&mut self, name: &str, length: u64) -> io::Result<()> {
        self.file(name)?.set_len(length)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.file(name)?.sync_data()
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.close(from);
        self.close(to);
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.close(name);
        fs::remove_file(self.path.join(name))
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        self.folder.sync_all()
    }
}
