//! A folder of files, and what a request finds in it: the file, a compressed copy of it, or that a folder is meant.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper::HeaderMap;
use hyper::header::HeaderValue;
use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use super::coding::{Accepted, Coding};
use super::name::Name;
use super::open::{Pace, open};

/// Files that are served.
#[derive(Debug, PartialEq, Eq)]
pub struct Folder {
    /// Where they lie.
    pub path: PathBuf,
    /// What stands for a folder, the first that exists.
    pub index: Vec<String>,
    /// What every file says to caches.
    pub cache_control: Option<HeaderValue>,
}

/// What a name means.
pub enum Found {
    /// A file.
    File(Opened),
    /// A folder whose name lacks its slash.
    Folder,
}

/// A regular file that is open for reading.
#[derive(Debug)]
pub struct Opened {
    pub(super) file: Arc<OwnedFd>,
    pub(super) length: u64,
    pub(super) modified: SystemTime,
    pub(super) coding: Option<Coding>,
    pub(super) media_type: HeaderValue,
    /// Whether another request could get another copy of it.
    pub(super) varies: bool,
}

impl Opened {
    /// Bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The file itself.
    pub fn file(&self) -> &Arc<OwnedFd> {
        &self.file
    }
}

impl Folder {
    /// Finds what a request wants, or `NotFound`. Waits for a disk only on a thread that may.
    ///
    /// # Errors
    /// What the system says; everything that only means that there is nothing to be seen is `NotFound`.
    pub async fn find(self: &Arc<Folder>, name: Name, headers: &HeaderMap) -> io::Result<Found> {
        let accepted = Accepted::by(headers);
        let found = match self.look(&name, accepted, Pace::Cached) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let folder = self.clone();
                let look = move || folder.look(&name, accepted, Pace::Waiting);
                tokio::task::spawn_blocking(look).await.unwrap_or_else(|panic| Err(io::Error::other(panic)))
            }
            found => found,
        };
        found.map_err(without_detail)
    }

    fn look(&self, name: &Name, accepted: Accepted, pace: Pace) -> io::Result<Found> {
        if !name.is_folder() {
            return self.file(name, accepted, pace);
        }
        for index in &self.index {
            match self.file(&name.join(index), accepted, pace) {
                Ok(Found::Folder) => {}
                Err(error) if is_missing(&error) => {}
                found => return found,
            }
        }
        Err(io::ErrorKind::NotFound.into())
    }

    fn file(&self, name: &Name, accepted: Accepted, pace: Pace) -> io::Result<Found> {
        let media_type = media_type(name.path());
        let varies = is_worth_compressing(&media_type);
        let codings = accepted.iter().filter(|_| varies).map(Some).chain([None]);
        for coding in codings {
            let suffix = coding.map_or("", Coding::suffix);
            let path = [name.path(), suffix.as_bytes()].concat();
            let file = match open(&self.path, &path, pace) {
                Ok(file) => file,
                Err(error) if coding.is_some() && error.kind() != io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            };
            let stat = rustix::fs::fstat(&file)?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => {
                    let (length, modified) = (u64::try_from(stat.st_size).unwrap_or(0), modified(&stat));
                    let file = Arc::new(file);
                    return Ok(Found::File(Opened { file, length, modified, coding, media_type, varies }));
                }
                FileType::Directory if coding.is_none() => return Ok(Found::Folder),
                _ => {}
            }
        }
        Err(io::ErrorKind::NotFound.into())
    }
}

fn modified(stat: &Stat) -> SystemTime {
    let seconds = Duration::from_secs(u64::try_from(stat.st_mtime).unwrap_or(0));
    let nanoseconds = Duration::from_nanos(u64::from(u32::try_from(stat.st_mtime_nsec).unwrap_or(0)));
    SystemTime::UNIX_EPOCH + seconds + nanoseconds
}

/// What can't be seen isn't there: whoever asks learns nothing else.
fn without_detail(error: io::Error) -> io::Error {
    if is_missing(&error) { io::ErrorKind::NotFound.into() } else { error }
}

fn is_missing(error: &io::Error) -> bool {
    let missing = [
        Errno::NOENT,
        Errno::NOTDIR,
        Errno::LOOP,
        Errno::XDEV,
        Errno::NAMETOOLONG,
        Errno::INVAL,
        // A socket can't be opened.
        Errno::NXIO,
    ];
    error.kind() == io::ErrorKind::NotFound
        || Errno::from_io_error(error).is_some_and(|errno| missing.contains(&errno))
}

/// By the ending of the name. Text is UTF-8, as nearly all is that lies on a server today.
fn media_type(name: &[u8]) -> HeaderValue {
    let name = String::from_utf8_lossy(name);
    let guess = mime_guess::from_path(&*name).first_raw().unwrap_or("application/octet-stream");
    match guess {
        "text/html" => HeaderValue::from_static("text/html; charset=utf-8"),
        "text/css" => HeaderValue::from_static("text/css; charset=utf-8"),
        "text/javascript" | "application/javascript" => {
            HeaderValue::from_static("text/javascript; charset=utf-8")
        }
        text if text.starts_with("text/") => {
            HeaderValue::try_from(format!("{text}; charset=utf-8")).expect("a media type is visible ASCII")
        }
        other => HeaderValue::from_static(other),
    }
}

/// Whether compressed copies are looked for: of pictures, films and archives there are none.
fn is_worth_compressing(media_type: &HeaderValue) -> bool {
    let words = [
        "text/",
        "json",
        "javascript",
        "xml",
        "wasm",
        "font/ttf",
        "font/otf",
        "manifest",
        "vnd.ms-fontobject",
    ];
    let media_type = media_type.to_str().unwrap_or_default();
    words.iter().any(|word| media_type.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_of_a_name_says_what_the_file_is() {
        let table = [
            ("index.html", "text/html; charset=utf-8", true),
            ("a/app.JS", "text/javascript; charset=utf-8", true),
            ("style.css", "text/css; charset=utf-8", true),
            ("data.json", "application/json", true),
            ("icon.svg", "image/svg+xml", true),
            ("app.wasm", "application/wasm", true),
            ("notes.txt", "text/plain; charset=utf-8", true),
            ("photo.jpeg", "image/jpeg", false),
            ("font.woff2", "font/woff2", false),
            ("archive.tar.gz", "application/gzip", false),
            ("none", "application/octet-stream", false),
            ("a.b/none", "application/octet-stream", false),
        ];
        for (name, expected, compressed) in table {
            let media_type = media_type(name.as_bytes());
            assert_eq!(media_type, expected, "{name}");
            assert_eq!(is_worth_compressing(&media_type), compressed, "{name}");
        }
    }
}
