//! Revocations in the folder of the store, so that a ticket which was revoked stays so over a restart.
//!
//! One file for each day, of one line of JSON for each revocation, safe before it is answered. A file is read at the start
//! while a ticket of before it could be valid, and removed afterwards. A torn last line was never answered, and goes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::hold::{TICKET_MAX, Tickets, Whose};
use crate::store::OpenError;

/// The file of the running day.
pub(super) struct Ledger {
    folder: PathBuf,
    day: u64,
    file: File,
}

#[derive(Serialize, Deserialize)]
struct Line {
    /// Milliseconds of Unix time.
    at: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tag: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    channel: Option<Box<str>>,
}

/// What a file may be about: as long as a ticket may last, so that two of them say all.
const DAY: Duration = TICKET_MAX;
const PREFIX: &str = "revoked-";

impl Ledger {
    /// Tells `tickets` what was revoked, and goes on in the folder of a store that this process has locked.
    ///
    /// # Errors
    /// A file can't be read or written.
    pub(super) fn open(folder: &Path, tickets: &Tickets, now: SystemTime) -> Result<Ledger, OpenError> {
        let today = day_of(now);
        let unusable = |reason| OpenError::Unusable { path: folder.to_owned(), reason };
        // Those of days to come as well, which a clock has left that was ahead.
        for day in days_in(folder).map_err(unusable)?.into_iter().filter(|day| day + 1 >= today) {
            let path = path_of(folder, day);
            let unusable = |reason| OpenError::Unusable { path: path.clone(), reason };
            read(&path).map_err(unusable)?.into_iter().for_each(|(at, whose)| {
                tickets.revoke(whose, at);
            });
        }
        let unusable = |reason| OpenError::Unusable { path: path_of(folder, today), reason };
        let file = begin(folder, today).map_err(unusable)?;
        Ok(Ledger { folder: folder.to_owned(), day: today, file })
    }

    /// Keeps a revocation; it is safe when this returns.
    pub(super) fn add(&mut self, whose: &Whose, at: SystemTime) -> io::Result<()> {
        let day = day_of(at);
        if day > self.day {
            self.file = begin(&self.folder, day)?;
            self.day = day;
        }
        let (tag, channel) = match whose.clone() {
            Whose::Tag(tag) => (Some(tag), None),
            Whose::Channel(channel) => (None, Some(channel)),
        };
        let mut line = serde_json::to_vec(&Line { at: millis(at), tag, channel })?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        self.file.sync_data()
    }
}

/// The days that have a file.
fn days_in(folder: &Path) -> io::Result<Vec<u64>> {
    let mut days = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let day = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse::<u64>().ok());
        days.extend(day.filter(|day| *day < u64::MAX));
    }
    days.sort_unstable();
    Ok(days)
}

/// Opens the file of a day behind its last whole line, and removes those that say nothing any more.
fn begin(folder: &Path, day: u64) -> io::Result<File> {
    for over in days_in(folder)?.into_iter().filter(|of| of + 1 < day) {
        fs::remove_file(path_of(folder, over))?;
    }
    let path = path_of(folder, day);
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
    let whole = memchr::memrchr(b'\n', &fs::read(&path)?).map_or(0, |end| end + 1);
    file.set_len(whole as u64)?;
    file.sync_all()?;
    File::open(folder)?.sync_all()?;
    Ok(file)
}

fn read(path: &Path) -> io::Result<Vec<(SystemTime, Whose)>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let damaged = |number: usize| {
        let text = format!("line {number} is damaged: change tickets.keys and remove the file");
        io::Error::new(io::ErrorKind::InvalidData, text)
    };
    let whole = memchr::memrchr(b'\n', &bytes).unwrap_or_default();
    let lines = (1..).zip(bytes[..whole].split(|byte| *byte == b'\n')).filter(|(_, line)| !line.is_empty());
    lines.map(|(number, line)| parse(line).ok_or_else(|| damaged(number))).collect()
}

fn parse(line: &[u8]) -> Option<(SystemTime, Whose)> {
    let Line { at, tag, channel } = serde_json::from_slice(line).ok()?;
    let whose = tag.map(Whose::Tag).or(channel.map(Whose::Channel))?;
    Some((UNIX_EPOCH.checked_add(Duration::from_millis(at))?, whose))
}

fn path_of(folder: &Path, day: u64) -> PathBuf {
    folder.join(format!("{PREFIX}{day}"))
}

fn day_of(time: SystemTime) -> u64 {
    millis(time) / DAY.as_millis() as u64
}

fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hold::TicketSettings;

    /// A folder of this test, empty at its beginning and gone at its end.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Place {
            let path = std::env::temp_dir().join(format!("perihelion-ledger-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir(&path).unwrap();
            Place(path)
        }

        fn names(&self) -> Vec<String> {
            let names = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name().into_string());
            let mut names: Vec<_> = names.map(Result::unwrap).collect();
            names.sort();
            names
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn at(hours: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(3600 * (24 * 20_000 + hours))
    }

    fn tag(name: &str) -> Whose {
        Whose::Tag(name.into())
    }

    fn tickets() -> Tickets {
        Tickets::new(&[1; 32], &TicketSettings { keys: Vec::new(), renewal: None, revocations: 10 })
    }

    fn kept(place: &Place, day: u64) -> Vec<(SystemTime, Whose)> {
        read(&path_of(&place.0, 20_000 + day)).unwrap()
    }

    #[test]
    fn what_was_revoked_is_known_again_for_as_long_as_a_ticket_lasts() {
        let place = Place::new("days");
        let mut ledger = Ledger::open(&place.0, &tickets(), at(1)).unwrap();
        ledger.add(&tag("line\n\"end"), at(1)).unwrap();
        ledger.add(&Whose::Channel("news".into()), at(23)).unwrap();
        ledger.add(&tag("later"), at(25)).unwrap();
        assert_eq!(kept(&place, 0), [(at(1), tag("line\n\"end")), (at(23), Whose::Channel("news".into()))]);
        assert_eq!(kept(&place, 1), [(at(25), tag("later"))]);
        ledger.add(&tag("much later"), at(49)).unwrap();
        assert_eq!(place.names(), ["revoked-20001", "revoked-20002"]);
    }

    #[test]
    fn a_torn_line_goes_and_a_damaged_one_ends_the_start() {
        let place = Place::new("torn");
        Ledger::open(&place.0, &tickets(), at(1)).unwrap().add(&tag("a"), at(1)).unwrap();
        let path = path_of(&place.0, 20_000);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, [&whole[..], b"{\"at\":17280"].concat()).unwrap();
        let mut ledger = Ledger::open(&place.0, &tickets(), at(2)).unwrap();
        ledger.add(&tag("b"), at(2)).unwrap();
        assert_eq!(kept(&place, 0), [(at(1), tag("a")), (at(2), tag("b"))]);
        fs::write(&path, [b"damage\n", &whole[..]].concat()).unwrap();
        let error = Ledger::open(&place.0, &tickets(), at(3)).err().unwrap().to_string();
        assert!(error.contains("line 1 is damaged"), "{error}");
    }
}
