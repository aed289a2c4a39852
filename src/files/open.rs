//! Opens a file below a folder, and none beside it: links, `..` and races included.
//!
//! The kernel resolves the name beneath the folder (`openat2(2)`, since Linux 5.6). Where it can't, or a sandbox
//! forbids it, the file is opened and then asked where it lies: what was opened is what is checked, so that nothing
//! can be swapped in between. A link to elsewhere in the folder is followed as long as it is a relative one.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Whether a disk may be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// Only what the kernel has in its caches; the rest is [`io::ErrorKind::WouldBlock`].
    Cached,
    /// However long it takes.
    Waiting,
}

/// Never stops at a pipe that nobody writes to, and takes no terminal.
const FILE: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);
const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Opens what a relative path names below a folder; the folder itself where it is empty.
pub(super) fn open(folder: &Path, name: &[u8], pace: Pace) -> io::Result<OwnedFd> {
    match (can_resolve_beneath(), pace) {
        (true, _) => beneath(folder, name, pace),
        (false, Pace::Waiting) => checked(folder, name),
        (false, Pace::Cached) => Err(io::ErrorKind::WouldBlock.into()),
    }
}

/// Asked once: a kernel doesn't learn it.
fn can_resolve_beneath() -> bool {
    static CAN: OnceLock<bool> = OnceLock::new();
    *CAN.get_or_init(|| {
        let tried = rustix::fs::openat2(CWD, ".", FOLDER, Mode::empty(), ResolveFlags::BENEATH);
        !matches!(tried, Err(Errno::NOSYS | Errno::PERM))
    })
}

fn beneath(folder: &Path, name: &[u8], pace: Pace) -> io::Result<OwnedFd> {
    let name = if name.is_empty() { b"." } else { name };
    let cached = match pace {
        Pace::Cached => ResolveFlags::CACHED,
        Pace::Waiting => ResolveFlags::empty(),
    };
    let inside = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | cached;
    let opened = rustix::fs::openat2(CWD, folder, FOLDER, Mode::empty(), cached)
        .and_then(|folder| rustix::fs::openat2(folder, name, FILE, Mode::empty(), inside));
    opened.map_err(|errno| match errno {
        // Kernels before 5.12 don't know the flag.
        Errno::INVAL if pace == Pace::Cached => io::ErrorKind::WouldBlock.into(),
        _ => errno.into(),
    })
}

fn checked(folder: &Path, name: &[u8]) -> io::Result<OwnedFd> {
    let folder = folder.canonicalize()?;
    let path = folder.join(std::ffi::OsStr::from_bytes(name));
    let opened = rustix::fs::open(&path, FILE, Mode::empty())?;
    let lies = place_of(&opened)?;
    if lies.starts_with(&folder) { Ok(opened) } else { Err(Errno::XDEV.into()) }
}

fn place_of(opened: &OwnedFd) -> io::Result<PathBuf> {
    use std::os::fd::AsRawFd;
    std::fs::read_link(format!("/proc/self/fd/{}", opened.as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    type Way = fn(&Path, &[u8]) -> io::Result<OwnedFd>;

    #[test]
    fn nothing_leads_out_of_the_folder_whichever_way_the_system_allows() {
        let base = std::env::temp_dir().join(format!("perihelion-open-{}", std::process::id()));
        let folder = base.join("www");
        fs::create_dir_all(folder.join("deep")).unwrap();
        fs::create_dir_all(base.join("www-secret")).unwrap();
        fs::write(folder.join("a"), "a").unwrap();
        fs::write(folder.join("deep/b"), "b").unwrap();
        fs::write(base.join("secret"), "s").unwrap();
        fs::write(base.join("www-secret/s"), "s").unwrap();
        symlink("deep/b", folder.join("inside")).unwrap();
        symlink("../secret", folder.join("up")).unwrap();
        symlink(base.join("secret"), folder.join("absolute")).unwrap();
        symlink("../www-secret", folder.join("sibling")).unwrap();
        symlink("loop", folder.join("loop")).unwrap();
        symlink(&folder, base.join("current")).unwrap();
        let ways: [Way; 2] = [|folder, name| beneath(folder, name, Pace::Waiting), checked];
        for (way, open) in ways.iter().enumerate() {
            for folder in [&folder, &base.join("current")] {
                for good in ["a", "deep/b", "inside", ""] {
                    assert!(open(folder, good.as_bytes()).is_ok(), "{way} {good}");
                }
                for bad in ["up", "absolute", "sibling/s", "loop", "../secret", "deep/../../secret", "none"] {
                    assert!(open(folder, bad.as_bytes()).is_err(), "{way} {bad}");
                }
            }
        }
        fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn what_is_cached_is_opened_at_once() {
        let folder = std::env::temp_dir();
        assert!(can_resolve_beneath());
        open(&folder, b"", Pace::Waiting).unwrap();
        assert!(open(&folder, b"", Pace::Cached).is_ok());
    }
}
