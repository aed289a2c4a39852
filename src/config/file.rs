//! Files that a configuration consists of or names, read whole and never past a bound.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::problem::Fault;

/// Far above any configuration, certificate chain or secret; a wrong path may lead to something endless.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Reads a file of at most [`FILE_BYTES_MAX`] bytes.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Fault> {
    let unreadable = |reason: String| Fault::Unreadable { path: path.display().to_string(), reason };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| unreadable(error.to_string()))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(unreadable("it is larger than 1MiB".into()));
    }
    Ok(bytes)
}
