//! Stretches of files in an answer: bytes stand for them on their way through HTTP, and the socket sends the file itself.
//!
//! Whoever lays an answer out owns the order of bytes on a connection, but never looks at those of a file. A
//! body hands it blank bytes; where they come to the socket, sendfile(2) takes their place, so that a file is copied by
//! nobody. Blank bytes are known by their address, which no others have. They come in the order in which they were
//! handed out, since one answer at a time is on a connection; whatever loses some ends the connection.
//!
//! Only for connections without TLS, and for what is in the page cache: sendfile(2) waits for a disk.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

/// Bytes that one stretch may have: more than a socket takes at once.
pub const STRETCH_MAX: usize = 1 << 20;

/// Takes address space and no memory, since nobody reads it.
static BLANK: [u8; STRETCH_MAX] = [0; STRETCH_MAX];

/// The stretches that are on their way over one connection. Lives on one thread.
#[derive(Clone, Default)]
pub struct Stretches(Rc<RefCell<VecDeque<Stretch>>>);

struct Stretch {
    file: Arc<OwnedFd>,
    at: u64,
    left: usize,
}

impl Stretches {
    /// Bytes that stand for a stretch of a file, of at most [`STRETCH_MAX`]. They have to go to this connection.
    pub fn stand_in(&self, file: Arc<OwnedFd>, at: u64, length: usize) -> Bytes {
        let length = length.min(STRETCH_MAX);
        self.0.borrow_mut().push_back(Stretch { file, at, left: length });
        Bytes::from_static(&BLANK[..length])
    }

    /// The first piece that is blank.
    pub fn first_blank(&self, pieces: &[io::IoSlice<'_>]) -> Option<usize> {
        if self.0.borrow().is_empty() {
            return None;
        }
        pieces.iter().position(|piece| BLANK.as_ptr_range().contains(&piece.as_ptr()))
    }

    /// Sends what the first blank bytes stand for, as much of it as the socket takes.
    ///
    /// # Errors
    /// The socket's; `UnexpectedEof` if the file has become shorter.
    pub fn send(&self, socket: impl AsFd) -> io::Result<usize> {
        let mut stretches = self.0.borrow_mut();
        let Some(first) = stretches.front_mut() else { return Err(io::ErrorKind::InvalidInput.into()) };
        let sent = rustix::fs::sendfile(socket, &first.file, Some(&mut first.at), first.left)?;
        first.left -= sent;
        match (sent, first.left) {
            (0, _) => return Err(io::ErrorKind::UnexpectedEof.into()),
            (_, 0) => drop(stretches.pop_front()),
            _ => {}
        }
        Ok(sent)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{IoSlice, Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    fn file(text: &str) -> Arc<OwnedFd> {
        let path = std::env::temp_dir().join(format!("perihelion-stretch-{}-{text}", std::process::id()));
        let mut file =
            std::fs::File::options().create(true).truncate(true).write(true).read(true).open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        Arc::new(file.into())
    }

    #[test]
    fn blank_bytes_become_the_stretches_in_their_order() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let stretches = Stretches::default();
        assert_eq!(stretches.first_blank(&[IoSlice::new(b"head")]), None);
        let first = stretches.stand_in(file("0123456789"), 2, 3);
        let second = stretches.stand_in(file("abc"), 0, 2);
        let pieces = [IoSlice::new(b"head"), IoSlice::new(&first[1..]), IoSlice::new(&second)];
        assert_eq!(stretches.first_blank(&pieces), Some(1));
        assert_eq!((stretches.send(&near).unwrap(), stretches.send(&near).unwrap()), (3, 2));
        assert_eq!(stretches.first_blank(&pieces), None);
        drop(near);
        let mut said = String::new();
        far.read_to_string(&mut said).unwrap();
        assert_eq!(said, "234ab");
    }

    #[test]
    fn a_file_that_became_shorter_is_an_error() {
        let (near, _far) = UnixStream::pair().unwrap();
        let stretches = Stretches::default();
        stretches.stand_in(file("abc"), 3, 1);
        assert_eq!(stretches.send(&near).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
