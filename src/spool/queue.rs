//! A queue of bytes between one who sends and one who takes them slowly: memory first, then a file.
//!
//! The order of what waits: `front`, what is in the file, `tail`. While something is in the file, the front is what
//! was read back from it; the tail gathers what will be written. One job at a time works on the file.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::block::{BLOCK_BYTES, Run};
use super::budget::Wait;
use super::disk::{Job, Scratch, Written};
use super::held::Held;
use super::{Kind, Spools};

/// Bytes of one write or read of a file: enough that the way to another thread and back doesn't count.
pub(super) const JOB_BYTES: usize = 128 * 1024;
/// Bytes that gather for the file, what is being written left out.
const TAIL_BYTES_MAX: usize = 2 * JOB_BYTES;

/// The queue.
pub struct Spool {
    spools: Arc<Spools>,
    kind: Kind,
    /// Bytes that may stay in memory.
    memory_max: usize,
    front: Run,
    file: Option<Box<OnDisk>>,
    tail: Run,
    /// Of everything that waits.
    bytes: u64,
    /// Whether the disk has refused: then nothing more goes there.
    refused: bool,
    /// What went wrong with the file, until it is told to whoever takes.
    broken: Option<io::Error>,
    /// While there is no room.
    wait: Option<Wait>,
    /// Whether the want of room has been counted.
    is_short: bool,
}

/// What is in the file.
#[derive(Default)]
struct OnDisk {
    scratch: Option<Arc<Scratch>>,
    /// What is waiting there is from here…
    read_at: u64,
    /// …to here.
    write_at: u64,
    work: Option<Work>,
}

enum Work {
    Write(Job<Written>),
    Read(Job<Run>),
}

enum Done {
    Written(Written),
    Read(Run),
}

/// Whether there is room for a further piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// There is.
    Some,
    /// There is none until something is taken, or memory becomes free elsewhere.
    None,
}

impl Spool {
    /// An empty one, which costs nothing yet.
    pub fn new(spools: Arc<Spools>, kind: Kind, memory_max: usize) -> Spool {
        Spool {
            spools,
            kind,
            memory_max,
            front: Run::default(),
            file: None,
            tail: Run::default(),
            bytes: 0,
            refused: false,
            broken: None,
            wait: None,
            is_short: false,
        }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether a further piece may be pushed. Pending while there is a disk to go to and a write or memory is waited
    /// for; the task is woken then, and also where there is no room now and memory becomes free.
    pub fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Room> {
        loop {
            let idle = self.poll_work(cx).is_ready();
            if self.fits_front() || self.fits_tail() {
                (self.is_short, self.wait) = (false, None);
                return Poll::Ready(Room::Some);
            }
            if !idle {
                return Poll::Pending;
            }
            if self.may_spill() && !self.tail.is_empty() {
                self.write_tail();
            } else if !self.has_room_elsewhere(cx) {
                return if self.may_spill() { Poll::Pending } else { Poll::Ready(Room::None) };
            }
        }
    }

    /// Adds a piece: in memory, where it stays or is written to the file later. It is taken whatever the room.
    pub fn push(&mut self, data: &[u8]) {
        self.bytes += data.len() as u64;
        let (budget, kind) = (&self.spools.budget, self.kind);
        if self.fits_front() || self.front_is_all() && !self.may_spill() {
            return self.front.append(data, budget, kind);
        }
        self.tail.append(data, budget, kind);
        // Where memory is short, it must not be kept by those whose senders are silent.
        let much = if budget.has_room_to_stay() { JOB_BYTES } else { BLOCK_BYTES };
        if self.tail.bytes() >= much && self.may_spill() && !self.is_working() {
            self.write_tail();
        }
    }

    /// Goes on with what has begun, without waiting for it.
    pub fn work(&mut self, cx: &mut Context<'_>) {
        // Whoever takes what waits hears what becomes of it.
        let _ = self.poll_work(cx);
    }

    /// Takes what has waited longest; `None` where nothing waits. An error is one of the file, whose rest is lost.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            if let Some(block) = self.front.pop() {
                self.bytes -= block.bytes().len() as u64;
                return Poll::Ready(Some(Ok(Bytes::from_owner(block))));
            }
            ready!(self.poll_work(cx));
            if let Some(error) = self.broken.take() {
                return Poll::Ready(Some(Err(error)));
            }
            if self.on_disk() > 0 {
                self.read_file();
            } else if self.front.is_empty() {
                match self.tail.pop() {
                    Some(block) => self.front.push(block),
                    None => return Poll::Ready(None),
                }
            }
        }
    }

    /// Keeps everything that waits, as something that can be read more than once.
    pub fn poll_hold(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Held>> {
        ready!(self.poll_work(cx));
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Err(error));
        }
        let length = std::mem::take(&mut self.bytes);
        let file = self.file.take().and_then(|file| Some((file.scratch?, file.read_at..file.write_at)));
        let (front, tail) = (std::mem::take(&mut self.front), std::mem::take(&mut self.tail));
        let spools = self.spools.clone();
        Poll::Ready(Ok(Held::new(spools, self.kind, length, front, file, tail)))
    }

    /// Whether all that waits is in the front.
    fn front_is_all(&self) -> bool {
        self.tail.is_empty() && self.on_disk() == 0 && !self.is_working()
    }

    fn front_max(&self) -> usize {
        self.memory_max.min(self.spools.budget.share_max())
    }

    fn fits_front(&self) -> bool {
        let budget = &self.spools.budget;
        let room = if self.may_spill() { budget.has_room_to_stay() } else { budget.has_room() };
        room && self.front.bytes() < self.front_max() && self.front_is_all()
    }

    fn fits_tail(&self) -> bool {
        self.may_spill() && self.tail.bytes() < TAIL_BYTES_MAX && self.spools.budget.has_room()
    }

    fn may_spill(&self) -> bool {
        !self.refused && self.spools.disk.is_in_use()
    }

    /// Waits for memory where that is what is missing, and counts that it is.
    fn has_room_elsewhere(&mut self, cx: &mut Context<'_>) -> bool {
        if !std::mem::replace(&mut self.is_short, true) {
            self.spools.full[self.kind as usize].inc();
        }
        let would_fit = self.may_spill() || self.front_is_all() && self.front.bytes() < self.front_max();
        would_fit && self.spools.budget.wait(&mut self.wait, cx)
    }

    /// Bytes that wait in the file.
    fn on_disk(&self) -> u64 {
        self.file.as_ref().map_or(0, |file| file.write_at - file.read_at)
    }

    fn is_working(&self) -> bool {
        self.file.as_ref().is_some_and(|file| file.work.is_some())
    }

    fn write_tail(&mut self) {
        let spills = &self.spools.spills[self.kind as usize];
        let file = self.file.get_or_insert_with(|| {
            spills.inc();
            Box::default()
        });
        if file.read_at == file.write_at {
            (file.read_at, file.write_at) = (0, 0);
        }
        let run = std::mem::take(&mut self.tail);
        file.work = Some(Work::Write(self.spools.disk.write(file.scratch.clone(), file.write_at, run)));
    }

    fn read_file(&mut self) {
        let memory = (&self.spools.budget, self.kind);
        if let Some(file) = &mut self.file
            && let Some(scratch) = &file.scratch
        {
            let bytes =
                usize::try_from(file.write_at - file.read_at).map_or(JOB_BYTES, |left| left.min(JOB_BYTES));
            file.work = Some(Work::Read(self.spools.disk.read(scratch.clone(), file.read_at, bytes, memory)));
        }
    }

    /// Goes on with the file. Ready when nothing is under way there.
    fn poll_work(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(file) = &mut self.file else { return Poll::Ready(()) };
        let done = match &mut file.work {
            None => return Poll::Ready(()),
            Some(Work::Write(job)) => ready!(job.as_mut().poll(cx)).map(Done::Written),
            Some(Work::Read(job)) => ready!(job.as_mut().poll(cx)).map(Done::Read),
        };
        file.work = None;
        match done {
            Ok(Done::Written(Written { scratch, bytes, mut left })) => {
                file.scratch = scratch;
                file.write_at += bytes;
                if !left.is_empty() {
                    self.refused = true;
                    left.extend(std::mem::take(&mut self.tail));
                    self.tail = left;
                }
            }
            Ok(Done::Read(run)) => {
                file.read_at += run.bytes() as u64;
                self.front.extend(run);
            }
            Err(error) => self.broken = Some(error),
        }
        Poll::Ready(())
    }
}
