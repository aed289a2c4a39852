//! The bytes of a file in pieces: at once where they are in the page cache, else by a thread that may wait.

use std::future::Future;
use std::io::{self, IoSliceMut};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use rustix::io::{Errno, ReadWriteFlags};
use tokio::task::JoinHandle;

use super::ranges::Part;

/// Bytes that are read at once: what a slow client keeps of a file in memory, and few enough calls for a fast one.
const PIECE_BYTES: usize = 128 * 1024;

/// How far apart the bytes are by which a stretch is taken to be in the cache.
const LOOK_BYTES: usize = 64 * 1024;

/// A part of a file that is read from its beginning to its end.
pub struct Reading {
    file: Arc<OwnedFd>,
    at: u64,
    left: u64,
    /// The memory of the piece before, to be used again once that has been sent.
    spare: Bytes,
    waiting: Option<JoinHandle<(io::Result<usize>, BytesMut)>>,
}

impl Reading {
    /// Of a part that exists.
    pub fn new(file: Arc<OwnedFd>, part: Part) -> Reading {
        Reading { file, at: part.start, left: part.length, spare: Bytes::new(), waiting: None }
    }

    /// Bytes that are still to come.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// The whole part, where it is short enough and in the cache.
    pub fn at_once(&mut self, bytes_max: usize) -> Option<Bytes> {
        if self.left > bytes_max.min(PIECE_BYTES) as u64 {
            return None;
        }
        let mut memory = self.memory();
        let read =
            read_cached(&self.file, &mut memory, self.at).ok().filter(|read| *read as u64 == self.left)?;
        self.left = 0;
        memory.truncate(read);
        Some(memory.freeze())
    }

    /// The next stretch of the file, where all of it seems to be in the cache, for somebody else to send. It is looked
    /// at in steps of what the kernel reads ahead at the least.
    pub fn stretch(&mut self, bytes_max: usize) -> Option<(Arc<OwnedFd>, u64, usize)> {
        let length = usize::try_from(self.left).unwrap_or(bytes_max).min(bytes_max);
        if self.waiting.is_some() || length == 0 {
            return None;
        }
        let is_cached = |at: usize| read_cached(&self.file, &mut [0], self.at + at as u64) == Ok(1);
        if !((0..length).step_by(LOOK_BYTES).all(is_cached) && is_cached(length - 1)) {
            return None;
        }
        let stretch = (self.file.clone(), self.at, length);
        self.at += length as u64;
        self.left -= length as u64;
        Some(stretch)
    }

    /// The next piece; `None` at the end. A file that has become shorter is an error.
    pub fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let (read, memory) = match &mut self.waiting {
            Some(waiting) => {
                let done = ready!(Pin::new(waiting).poll(cx));
                self.waiting = None;
                done.unwrap_or_else(|panic| (Err(io::Error::other(panic)), BytesMut::new()))
            }
            None => {
                let mut memory = self.memory();
                match read_cached(&self.file, &mut memory, self.at) {
                    Err(Errno::AGAIN | Errno::OPNOTSUPP) => {
                        self.wait(memory);
                        return self.poll_piece(cx);
                    }
                    read => (read.map_err(io::Error::from), memory),
                }
            }
        };
        Poll::Ready(Some(read.and_then(|read| self.piece(memory, read))))
    }

    /// Has a thread read that may wait for a disk.
    fn wait(&mut self, mut memory: BytesMut) {
        let (file, at) = (self.file.clone(), self.at);
        self.waiting = Some(tokio::task::spawn_blocking(move || {
            let read = rustix::io::pread(&file, &mut memory[..], at).map_err(io::Error::from);
            (read, memory)
        }));
    }

    fn piece(&mut self, memory: BytesMut, read: usize) -> io::Result<Bytes> {
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += read as u64;
        self.left -= read as u64;
        self.spare = memory.freeze();
        Ok(self.spare.slice(..read))
    }

    /// Room for the next piece: that of the piece before, unless it is still on its way.
    fn memory(&mut self) -> BytesMut {
        let wanted = usize::try_from(self.left).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        let spare = std::mem::take(&mut self.spare).try_into_mut().ok();
        let mut memory =
            spare.filter(|memory| memory.len() >= wanted).unwrap_or_else(|| BytesMut::zeroed(wanted));
        memory.truncate(wanted);
        memory
    }
}

fn read_cached(file: &OwnedFd, memory: &mut [u8], at: u64) -> Result<usize, Errno> {
    rustix::io::preadv2(file, &mut [IoSliceMut::new(memory)], at, ReadWriteFlags::NOWAIT)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(length: usize) -> Arc<OwnedFd> {
        let path = std::env::temp_dir().join(format!("perihelion-read-{}-{length}", std::process::id()));
        let mut file =
            std::fs::File::options().create(true).truncate(true).write(true).read(true).open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        file.write_all(&bytes).unwrap();
        Arc::new(file.into())
    }

    async fn all(mut reading: Reading) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while let Some(piece) = std::future::poll_fn(|cx| reading.poll_piece(cx)).await {
            bytes.extend_from_slice(&piece?);
        }
        Ok(bytes)
    }

    #[tokio::test]
    async fn a_part_is_read_from_its_beginning_to_its_end() {
        let length = 3 * PIECE_BYTES + 7;
        let (start, wanted) = (5, length - 11);
        let part = Part { start: start as u64, length: wanted as u64 };
        let bytes = all(Reading::new(file(length), part)).await.unwrap();
        assert_eq!(bytes.len(), wanted);
        assert!(bytes.iter().enumerate().all(|(at, byte)| *byte == ((at + start) % 251) as u8));
    }

    #[tokio::test]
    async fn what_must_be_waited_for_is_read_by_another_thread() {
        let mut reading = Reading::new(file(1000), Part { start: 10, length: 20 });
        let memory = reading.memory();
        reading.wait(memory);
        assert_eq!(all(reading).await.unwrap(), (10..30).collect::<Vec<u8>>());
    }

    #[tokio::test]
    async fn stretches_and_pieces_follow_one_another() {
        let mut reading = Reading::new(file(1000), Part { start: 10, length: 30 });
        let (_, at, length) = reading.stretch(12).unwrap();
        assert_eq!((at, length), (10, 12));
        assert_eq!(all(reading).await.unwrap(), (22..40).collect::<Vec<u8>>());
        let mut beyond = Reading::new(file(10), Part { start: 0, length: 11 });
        assert!(beyond.stretch(20).is_none(), "its last byte isn't there");
    }

    #[tokio::test]
    async fn a_file_that_became_shorter_breaks_off() {
        let reading = Reading::new(file(10), Part { start: 0, length: 11 });
        assert_eq!(all(reading).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(Reading::new(file(10), Part { start: 0, length: 11 }).at_once(PIECE_BYTES), None);
        assert_eq!(Reading::new(file(10), Part { start: 2, length: 3 }).at_once(3).unwrap(), &[2, 3, 4][..]);
    }
}
