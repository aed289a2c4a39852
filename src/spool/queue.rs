//! A queue of bytes between one who sends and one who takes them slowly: memory first, then a file.
//!
//! The order of what waits: `front`, what is in the file, `tail`. While something is in the file, the front is what
//! was read back from it or what was there before; the tail gathers what will be written. One job at a time works on
//! the file. Before what is in the file there is always room in it for the front, which goes there when memory is short
//! and nobody takes it.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::block::{BLOCK_BYTES, Run};
use super::budget::{Use, Wait};
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
    /// While something is in memory that could be in the file.
    sleep: Option<Wait>,
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
    /// Whether the front was read from right before that, and is still there.
    has_front: bool,
    work: Option<Work>,
}

enum Work {
    /// What has gathered, behind all that is in the file.
    Tail(Job<Written>),
    /// The front, before it.
    Front(Job<Written>),
    Read(Job<Run>),
}

enum Done {
    Tail(Written),
    Front(Written),
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
            sleep: None,
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

    /// Adds a piece: in memory, where it stays or is written to the file later. It is taken whatever the room, and stays
    /// where nothing else waits: it is about to be taken.
    pub fn push(&mut self, data: &[u8]) {
        let is_first = self.is_empty();
        self.bytes += data.len() as u64;
        if is_first || self.fits_front() || self.front_is_all() && !self.may_spill() {
            self.front_is_new();
            return self.front.append(data, &self.spools.budget, self.kind, Use::Staying);
        }
        self.tail.append(data, &self.spools.budget, self.kind, Use::Passing);
        self.write_what_gathered();
    }

    /// Whether anything of it is in memory.
    #[cfg(test)]
    pub(super) fn is_in_memory(&self) -> bool {
        !self.front.is_empty() || !self.tail.is_empty() || self.is_working()
    }

    /// Goes on with what has begun, without waiting for it, and moves to the file while nobody takes anything and
    /// memory is short. Has the task woken for that.
    pub fn work(&mut self, cx: &mut Context<'_>) {
        // Whoever takes what waits hears what becomes of a file that broke.
        while self.poll_work(cx).is_ready() {
            self.write_what_gathered();
            if self.is_working() {
                continue;
            }
            if self.front.is_empty() || !self.may_spill() || !self.spools.budget.sleep(&mut self.sleep, cx) {
                return;
            }
            self.write_front();
        }
    }

    /// Takes what has waited longest; `None` where nothing waits. An error is one of the file, whose rest is lost.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            if let Some(block) = self.front.pop() {
                self.bytes -= block.bytes().len() as u64;
                if self.front.is_empty() {
                    self.sleep = None;
                }
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
                    Some(mut block) => {
                        block.stay();
                        self.front_is_new();
                        self.front.push(block);
                    }
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
        let (front, mut tail) = (std::mem::take(&mut self.front), std::mem::take(&mut self.tail));
        tail.turn_to(Use::Staying);
        (self.wait, self.sleep) = (None, None);
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
        let room = if self.may_spill() { !budget.is_tight() } else { budget.has_room(Use::Staying) };
        room && self.front.bytes() < self.front_max() && self.front_is_all()
    }

    fn fits_tail(&self) -> bool {
        self.may_spill() && self.tail.bytes() < TAIL_BYTES_MAX && self.spools.budget.has_room(Use::Passing)
    }

    fn may_spill(&self) -> bool {
        !self.refused && self.spools.disk.is_in_use()
    }

    /// Waits for memory where that is what is missing, and counts that it is.
    fn has_room_elsewhere(&mut self, cx: &mut Context<'_>) -> bool {
        if !std::mem::replace(&mut self.is_short, true) {
            self.spools.full[self.kind as usize].inc();
        }
        let may_spill = self.may_spill();
        let purpose = if may_spill { Use::Passing } else { Use::Staying };
        let would_fit = may_spill || self.front_is_all() && self.front.bytes() < self.front_max();
        would_fit && self.spools.budget.wait(purpose, &mut self.wait, cx)
    }

    /// What is in the front now isn't in the file, or not all of it.
    fn front_is_new(&mut self) {
        if let Some(file) = &mut self.file {
            file.has_front = false;
        }
    }

    /// Bytes that wait in the file.
    fn on_disk(&self) -> u64 {
        self.file.as_ref().map_or(0, |file| file.write_at - file.read_at)
    }

    fn is_working(&self) -> bool {
        self.file.as_ref().is_some_and(|file| file.work.is_some())
    }

    /// Writes the tail where that is worth it, or where its memory must not be kept by those whose senders are silent.
    fn write_what_gathered(&mut self) {
        let much = if self.spools.budget.may_gather() { JOB_BYTES } else { 1 };
        if self.tail.bytes() >= much && self.may_spill() && !self.is_working() {
            self.write_tail();
        }
    }

    fn write_tail(&mut self) {
        let (scratch, at) = self.place(|file| file.write_at);
        let run = std::mem::take(&mut self.tail);
        self.begin(Work::Tail(self.spools.disk.write(scratch, at, run)));
    }

    /// Moves the front to the file, where nothing else is under way.
    fn write_front(&mut self) {
        self.sleep = None;
        if let Some(file) = self.file.as_mut().filter(|file| file.has_front) {
            file.has_front = false;
            file.read_at -= std::mem::take(&mut self.front).bytes() as u64;
            return self.spools.budget.rouse();
        }
        let (scratch, end) = self.place(|file| file.read_at);
        let mut run = std::mem::take(&mut self.front);
        run.turn_to(Use::Passing);
        self.begin(Work::Front(self.spools.disk.write_before(scratch, end, run)));
    }

    /// The file and a place in it. It is made by the first who asks; where nothing waits in it, it begins anew, with
    /// room for the front.
    fn place(&mut self, at: fn(&OnDisk) -> u64) -> (Option<Arc<Scratch>>, u64) {
        let (spills, front) = (&self.spools.spills[self.kind as usize], self.front.bytes() as u64);
        let file = self.file.get_or_insert_with(|| {
            spills.inc();
            Box::default()
        });
        if file.read_at == file.write_at {
            (file.read_at, file.write_at, file.has_front) = (front, front, false);
        }
        (file.scratch.clone(), at(file))
    }

    fn begin(&mut self, work: Work) {
        if let Some(file) = &mut self.file {
            file.work = Some(work);
        }
    }

    fn read_file(&mut self) {
        let memory = (&self.spools.budget, self.kind);
        let bytes_max = if memory.0.is_tight() { BLOCK_BYTES } else { JOB_BYTES };
        if let Some(file) = &mut self.file
            && let Some(scratch) = &file.scratch
        {
            let left = file.write_at - file.read_at;
            let bytes = usize::try_from(left).map_or(bytes_max, |left| left.min(bytes_max));
            file.work = Some(Work::Read(self.spools.disk.read(scratch.clone(), file.read_at, bytes, memory)));
        }
    }

    /// Goes on with the file. Ready when nothing is under way there.
    fn poll_work(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(file) = &mut self.file else { return Poll::Ready(()) };
        let done = match &mut file.work {
            None => return Poll::Ready(()),
            Some(Work::Tail(job)) => ready!(job.as_mut().poll(cx)).map(Done::Tail),
            Some(Work::Front(job)) => ready!(job.as_mut().poll(cx)).map(Done::Front),
            Some(Work::Read(job)) => ready!(job.as_mut().poll(cx)).map(Done::Read),
        };
        file.work = None;
        match done {
            Ok(Done::Tail(Written { scratch, bytes, mut left })) => {
                file.scratch = scratch;
                file.write_at += bytes;
                if !left.is_empty() {
                    left.extend(std::mem::take(&mut self.tail));
                    self.tail = left;
                    self.refuse();
                }
            }
            Ok(Done::Front(Written { scratch, bytes, left })) => {
                file.scratch = scratch;
                file.read_at -= bytes;
                if left.is_empty() {
                    self.spools.budget.rouse();
                } else {
                    self.front = left;
                    self.refuse();
                }
            }
            Ok(Done::Read(run)) => {
                file.read_at += run.bytes() as u64;
                file.has_front = true;
                self.front.extend(run);
            }
            Err(error) => self.broken = Some(error),
        }
        Poll::Ready(())
    }

    /// The disk takes no more: what is in memory stays there.
    fn refuse(&mut self) {
        self.refused = true;
        self.front.turn_to(Use::Staying);
        self.tail.turn_to(Use::Staying);
    }
}
