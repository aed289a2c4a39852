//! `buffers`: where bodies wait for somebody slower.

use std::path::PathBuf;
use std::time::Duration;

use super::form;
use super::section::{Key, Section};
use super::units::{KIB, MIB};

/// Where bodies wait for somebody slower.
#[derive(Debug, Clone)]
pub struct BuffersConfig {
    /// Bytes of all bodies in memory, requests and answers together.
    pub memory: usize,
    /// Bytes of one request's body in memory.
    pub request: usize,
    /// Bytes of one answer's body in memory.
    pub response: usize,
    /// Where nameless files are made.
    pub folder: PathBuf,
    /// Bytes of all of them together; 0 is `off` in the file.
    pub disk: u64,
    /// Which request bodies go to a file.
    pub upload: UploadConfig,
}

/// The reasons for which the body of a request that has no room in memory goes to a file; where there is none, the
/// application is asked at once and the rest is streamed. `None` is `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadConfig {
    /// It is at least so long, in bytes.
    pub size: Option<u64>,
    /// It comes slower than so many bytes a second.
    pub rate: Option<u64>,
    /// What is left of it would take longer.
    pub time: Option<Duration>,
}

impl Default for BuffersConfig {
    fn default() -> Self {
        BuffersConfig {
            // An eighth of a small machine: a few hundred slow clients before files are needed.
            memory: 128 * MIB,
            // Forms and JSON stay in memory; what is larger is a file at the client's, too.
            request: 256 * KIB,
            // Nearly every page; the same as Perlbal's.
            response: 256 * KIB,
            // Made to last and on a disk, while /tmp is memory on many systems.
            folder: "/var/tmp".into(),
            // Room for some thousand pages and uploads, and a size that no machine misses.
            disk: 1 << 30,
            upload: UploadConfig::default(),
        }
    }
}

impl Default for UploadConfig {
    fn default() -> Self {
        UploadConfig {
            // Whatever has no room in memory, where its length is known.
            size: Some(256 << 10),
            // Nobody knows how fast clients are, only how long a worker may wait.
            rate: None,
            // The longest that a worker may wait for a client.
            time: Some(Duration::from_secs(5)),
        }
    }
}

pub(super) static BUFFERS: Section<BuffersConfig> = Section {
    short: None,
    required: &[],
    keys: &[
        Key::new("memory", |buffers, value| value.put(&mut buffers.memory, &form::SHARED_SIZE)),
        Key::new("request", |buffers, value| value.put(&mut buffers.request, &form::SIZE)),
        Key::new("response", |buffers, value| value.put(&mut buffers.response, &form::SIZE)),
        Key::new("folder", |buffers, value| value.put(&mut buffers.folder, &form::FOLDER)),
        Key::new("disk", |buffers, value| value.put(&mut buffers.disk, &form::SIZE_OR_NONE)),
        Key::section("upload", ".", &UPLOAD, |buffers, value| UPLOAD.fill(&mut buffers.upload, value)),
    ],
};

static UPLOAD: Section<UploadConfig> = Section {
    short: None,
    required: &[],
    keys: &[
        Key::new("size", |upload, value| value.put(&mut upload.size, &form::SIZE_OR_NEVER)),
        Key::new("rate", |upload, value| value.put(&mut upload.rate, &form::SIZE_OR_NEVER)),
        Key::new("time", |upload, value| value.put(&mut upload.time, &form::INTERVAL)),
    ],
};
