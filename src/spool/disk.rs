//! Nameless files for what has no room in memory: bounded together, written and read by threads that may block.
//!
//! A write goes to the page cache and mostly takes microseconds, but a disk that is behind stops whoever writes for
//! seconds, so that no connection's thread does it. As many jobs run at once as there are [`TURNS`]; the runtimes
//! have threads for so many besides those for names of servers, which a slow disk must not keep waiting.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use prometheus::{IntCounter, IntGauge};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::Kind;
use super::block::{BLOCK_BYTES, Block, Run};
use super::budget::Budget;
use crate::config::BuffersConfig;
use crate::metrics::Metrics;

/// Files that are written or read at once: enough to keep a disk busy.
pub const TURNS: usize = 8;

/// The disk as far as bodies may use it.
pub(super) struct Disk {
    folder: ArcSwap<Box<Path>>,
    /// Bytes of all files together; 0 is none.
    limit: AtomicU64,
    used: AtomicU64,
    gauge: IntGauge,
    turns: Arc<Semaphore>,
    /// Whether the last attempt failed, which is said once.
    failing: AtomicBool,
    errors: IntCounter,
}

/// A file without a name, and its share of the disk.
pub(super) struct Scratch {
    disk: Arc<Disk>,
    /// `None` only while it is dropped.
    file: Option<File>,
    /// From the first to the last byte that was ever written.
    share: Mutex<Range<u64>>,
}

/// What became of blocks that were to be written.
pub(super) struct Written {
    pub(super) scratch: Option<Arc<Scratch>>,
    /// Bytes that are in the file.
    pub(super) bytes: u64,
    /// What is not; the file takes no more then.
    pub(super) left: Run,
}

/// Where blocks are written, one after the other.
enum Target {
    /// From here on.
    From(u64),
    /// So that the last one ends here.
    Before(u64),
}

/// Something that a thread does which may block. Dropped half-way it is finished, and its outcome lost.
pub(super) type Job<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

impl Disk {
    pub(super) fn new(config: &BuffersConfig, metrics: &Metrics) -> Arc<Disk> {
        Arc::new(Disk {
            folder: ArcSwap::from_pointee(config.folder.as_path().into()),
            limit: AtomicU64::new(config.disk),
            used: AtomicU64::new(0),
            gauge: metrics.buffer_disk_bytes.clone(),
            turns: Arc::new(Semaphore::new(TURNS)),
            failing: AtomicBool::new(false),
            errors: metrics.buffer_disk_errors.clone(),
        })
    }

    pub(super) fn reconfigure(&self, config: &BuffersConfig) {
        self.folder.store(Arc::new(config.folder.as_path().into()));
        self.limit.store(config.disk, Ordering::Relaxed);
    }

    /// Whether there may be files at all.
    pub(super) fn is_in_use(&self) -> bool {
        self.limit.load(Ordering::Relaxed) > 0
    }

    /// Writes blocks at a place of a file, or of a new one.
    pub(super) fn write(self: &Arc<Self>, scratch: Option<Arc<Scratch>>, at: u64, run: Run) -> Job<Written> {
        let disk = self.clone();
        self.job(move || Ok(disk.write_now(scratch, Target::From(at), run)))
    }

    /// Writes blocks that end at a place, the last one first, so that what couldn't be written is what comes first.
    pub(super) fn write_before(
        self: &Arc<Self>,
        scratch: Option<Arc<Scratch>>,
        end: u64,
        run: Run,
    ) -> Job<Written> {
        let disk = self.clone();
        self.job(move || Ok(disk.write_now(scratch, Target::Before(end), run)))
    }

    /// Reads so many bytes from a place of a file that has them.
    pub(super) fn read(
        self: &Arc<Self>,
        scratch: Arc<Scratch>,
        from: u64,
        bytes: usize,
        memory: (&Arc<Budget>, Kind),
    ) -> Job<Run> {
        let (budget, kind) = (memory.0.clone(), memory.1);
        self.job(move || scratch.read_now(from, bytes, &budget, kind))
    }

    fn job<T: Send + 'static>(&self, work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Job<T> {
        let turns = self.turns.clone();
        Box::pin(async move {
            let turn = turns.acquire_owned().await.map_err(io::Error::other)?;
            let work = move || {
                let _turn = turn;
                work()
            };
            tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
        })
    }

    fn write_now(
        self: &Arc<Self>,
        scratch: Option<Arc<Scratch>>,
        mut target: Target,
        mut left: Run,
    ) -> Written {
        let scratch = match scratch.map_or_else(|| self.open(), Ok) {
            Ok(scratch) => scratch,
            Err(error) => {
                self.failed(&error);
                return Written { scratch: None, bytes: 0, left };
            }
        };
        let mut bytes = 0;
        while let Some(block) = target.pop(&mut left) {
            let length = block.bytes().len() as u64;
            let at = target.place(length);
            let written = match scratch.reserve(at..at + length) {
                true => {
                    scratch.file().write_all_at(block.bytes(), at).inspect_err(|error| self.failed(error))
                }
                false => Err(io::ErrorKind::StorageFull.into()),
            };
            if written.is_err() {
                target.put_back(&mut left, block);
                break;
            }
            target.advance(length);
            bytes += length;
        }
        if left.is_empty() {
            self.failing.store(false, Ordering::Relaxed);
        }
        Written { scratch: Some(scratch), bytes, left }
    }

    fn open(self: &Arc<Self>) -> io::Result<Arc<Scratch>> {
        let file = tempfile::tempfile_in(&**self.folder.load_full())?;
        Ok(Arc::new(Scratch { disk: self.clone(), file: Some(file), share: Mutex::default() }))
    }

    fn failed(&self, error: &io::Error) {
        self.errors.inc();
        if !self.failing.swap(true, Ordering::Relaxed) {
            let folder = self.folder.load_full();
            tracing::warn!(folder = %folder.display(), %error, "bodies can't be kept on disk");
        }
    }
}

impl Target {
    /// The next block.
    fn pop(&self, run: &mut Run) -> Option<Block> {
        match self {
            Target::From(_) => run.pop(),
            Target::Before(_) => run.pop_last(),
        }
    }

    /// Where a block of this length goes.
    fn place(&self, length: u64) -> u64 {
        match self {
            Target::From(at) => *at,
            Target::Before(end) => end - length,
        }
    }

    fn advance(&mut self, length: u64) {
        match self {
            Target::From(at) => *at += length,
            Target::Before(end) => *end -= length,
        }
    }

    fn put_back(&self, run: &mut Run, block: Block) {
        match self {
            Target::From(_) => run.push_first(block),
            Target::Before(_) => run.push(block),
        }
    }
}

impl Scratch {
    fn file(&self) -> &File {
        self.file.as_ref().expect("taken only by drop")
    }

    /// Grows the share of this file so that it has these bytes, if the bound allows that.
    fn reserve(&self, bytes: Range<u64>) -> bool {
        let mut share = self.share.lock();
        let wanted = match share.is_empty() {
            true => bytes,
            false => share.start.min(bytes.start)..share.end.max(bytes.end),
        };
        let more = (wanted.end - wanted.start) - (share.end - share.start);
        let limit = self.disk.limit.load(Ordering::Relaxed);
        let before = self.disk.used.fetch_add(more, Ordering::Relaxed);
        if more > 0 && before + more > limit {
            self.disk.used.fetch_sub(more, Ordering::Relaxed);
            return false;
        }
        *share = wanted;
        self.disk.gauge.add(more as i64);
        true
    }

    fn read_now(&self, from: u64, bytes: usize, budget: &Arc<Budget>, kind: Kind) -> io::Result<Run> {
        let mut run = Run::default();
        while run.bytes() < bytes {
            let mut block = Block::zeroed(budget, kind, (bytes - run.bytes()).min(BLOCK_BYTES));
            self.file().read_exact_at(block.bytes_mut(), from + run.bytes() as u64).inspect_err(|error| {
                self.disk.failed(error);
            })?;
            run.push(block);
        }
        Ok(run)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let share = self.share.get_mut();
        let share = share.end - share.start;
        self.disk.used.fetch_sub(share, Ordering::Relaxed);
        self.disk.gauge.sub(share as i64);
        // The space of a large file is given back while it is closed, which takes its time.
        if let (Some(file), Ok(runtime)) = (self.file.take(), Handle::try_current()) {
            drop(runtime.spawn_blocking(move || drop(file)));
        }
    }
}
