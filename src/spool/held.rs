//! A body that is kept whole, in memory and in a file, and may be read as often as it has to be sent.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::block::Run;
use super::disk::{Job, Scratch};
use super::queue::JOB_BYTES;
use super::{Kind, Spools};

/// The body. What is in memory stays there until the last of its readers is gone.
pub struct Held {
    spools: Arc<Spools>,
    kind: Kind,
    length: u64,
    /// Before what is in the file.
    front: Box<[Bytes]>,
    file: Option<(Arc<Scratch>, Range<u64>)>,
    /// Behind it.
    tail: Box<[Bytes]>,
}

/// One reading of it.
pub struct Reader {
    held: Arc<Held>,
    at: Place,
    /// Bytes that are not taken yet.
    left: u64,
    /// Read from the file and not yet taken.
    ahead: VecDeque<Bytes>,
    job: Option<Job<Run>>,
}

enum Place {
    /// At this piece of the front.
    Front(usize),
    /// At this byte of the file.
    File(u64),
    /// At this piece of the tail.
    Tail(usize),
}

impl Held {
    pub(super) fn new(
        spools: Arc<Spools>,
        kind: Kind,
        length: u64,
        front: Run,
        file: Option<(Arc<Scratch>, Range<u64>)>,
        tail: Run,
    ) -> Held {
        let (front, tail) = (front.into_pieces().collect(), tail.into_pieces().collect());
        Held { spools, kind, length, front, file, tail }
    }

    /// A body that came in one piece, which is counted already.
    pub fn piece(spools: Arc<Spools>, kind: Kind, piece: Bytes) -> Held {
        let (length, front) = (piece.len() as u64, Box::new([piece]));
        Held { spools, kind, length, front, file: None, tail: Box::default() }
    }

    /// Bytes of it.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// All of it in one piece, where nothing of it is in a file.
    pub fn in_memory(&self) -> Option<Bytes> {
        match (&self.file, &*self.front, &*self.tail) {
            (Some(_), ..) => None,
            (None, [piece], []) => Some(Bytes::copy_from_slice(piece)),
            (None, front, tail) => Some([front, tail].concat().concat().into()),
        }
    }

    /// From the beginning.
    pub fn read(self: &Arc<Self>) -> Reader {
        Reader {
            held: self.clone(),
            at: Place::Front(0),
            left: self.length,
            ahead: VecDeque::new(),
            job: None,
        }
    }
}

impl Reader {
    /// Bytes that are still to be taken.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// The next piece; `None` behind the last. An error is one of the file.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            if let Some(job) = &mut self.job {
                let run = ready!(job.as_mut().poll(cx));
                self.job = None;
                match run {
                    Ok(run) => self.ahead.extend(run.into_pieces()),
                    Err(error) => return Poll::Ready(Some(Err(error))),
                }
            }
            if let Some(piece) = self.ahead.pop_front() {
                return Poll::Ready(Some(Ok(self.give(piece))));
            }
            match self.step() {
                Step::Piece(piece) => return Poll::Ready(Some(Ok(self.give(piece)))),
                Step::Move(place) => self.at = place,
                Step::Read(job) => self.job = Some(job),
                Step::End => return Poll::Ready(None),
            }
        }
    }

    fn give(&mut self, piece: Bytes) -> Bytes {
        self.left -= piece.len() as u64;
        piece
    }

    fn step(&mut self) -> Step {
        let held = &self.held;
        match &mut self.at {
            Place::Front(index) => match held.front.get(*index) {
                Some(piece) => {
                    *index += 1;
                    Step::Piece(piece.clone())
                }
                None => Step::Move(
                    held.file.as_ref().map_or(Place::Tail(0), |(_, range)| Place::File(range.start)),
                ),
            },
            Place::File(at) => match &held.file {
                Some((scratch, range)) if *at < range.end => {
                    let bytes =
                        usize::try_from(range.end - *at).map_or(JOB_BYTES, |left| left.min(JOB_BYTES));
                    let memory = (&held.spools.budget, held.kind);
                    let job = held.spools.disk.read(scratch.clone(), *at, bytes, memory);
                    *at += bytes as u64;
                    Step::Read(job)
                }
                _ => Step::Move(Place::Tail(0)),
            },
            Place::Tail(index) => match held.tail.get(*index) {
                Some(piece) => {
                    *index += 1;
                    Step::Piece(piece.clone())
                }
                None => Step::End,
            },
        }
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("left", &self.left).finish_non_exhaustive()
    }
}

/// What a reader does next.
enum Step {
    Piece(Bytes),
    Move(Place),
    Read(Job<Run>),
    End,
}
