//! The store on a disk: a log of segments that is appended to, one sync for all who wait.
//!
//! Invariants:
//! * What [`Store::append`] has taken is safe before it returns (or, where syncs are told to come now and then, after
//!   the next of them). What it refuses is cut off again before anything else is written; while that fails,
//!   everything is refused.
//! * Only the last segment can have a torn end. A frame that isn't whole anywhere else ends the start.
//! * A segment leaves only once what has to be known of its messages is safe behind it.
//!
//! The files: `identity` (text: the epoch), `NUMBER.log` (segments), `lock`. Nothing else in the folder is touched.

mod files;
mod frame;
#[cfg(test)]
pub(crate) mod fuzz;
mod identity;
mod segment;

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use super::record::{write_deleted, write_message};
use super::replay::Replay;
use super::{Numbered, OpenError, Part, Record, Recovered, Sifted, Store, StoreError};
use crate::message::{ChannelName, Epoch, Sequence};

pub use files::{Files, Folder};
use frame::{Framer, Rest};
use identity::Identity;
use segment::{BadSegment, Content, Segment, is_left_over, number_of};

/// How the log is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskSettings {
    /// Whether a group is safe before it is answered. Otherwise whoever owns the store calls [`Store::sync`] now and
    /// then, and a loss of power may take back what was answered since; the end of the process may not.
    pub sync_each: bool,
    /// Bytes at which the next segment begins.
    pub segment_bytes: u64,
}

/// The log.
pub struct Disk {
    files: Box<dyn Files>,
    settings: DiskSettings,
    identity: Identity,
    /// Those that are complete, in order.
    sealed: Vec<Segment>,
    active: Segment,
    /// The last place given.
    head: Sequence,
    framer: Framer,
    /// There may be bytes behind the active segment's that were refused.
    is_soiled: bool,
    /// There are bytes that wait for [`Store::sync`].
    is_unsynced: bool,
    /// A name was changed, and may come back with a loss of power.
    are_names_unsynced: bool,
    rotations: u64,
    looks: u64,
    wants_room: bool,
}

/// Looks after which a segment is looked at again though nothing was written: channels forget by age, too.
const LOOKS_MAX: u64 = 60;

impl Disk {
    /// Opens what is there. `fresh` is the epoch of a store that begins, or that can't vouch for its positions any
    /// more; `boot` names this run of the machine, where that is known.
    pub fn open(
        mut files: Box<dyn Files>,
        settings: DiskSettings,
        fresh: Epoch,
        boot: Option<&str>,
    ) -> Result<(Disk, Recovered), OpenError> {
        let names = files.names().map_err(unusable("its folder"))?;
        for name in names.iter().filter(|name| is_left_over(name)) {
            files.remove(name).map_err(unusable(name))?;
        }
        let identity = Identity::read(&*files, &names)?;
        let lost_power = identity.as_ref().is_some_and(|identity| identity.lost_power(boot));
        let mut replay = Replay::default();
        let mut segments = read_segments(&mut *files, &names, lost_power, &mut replay)?;
        let epoch = identity.as_ref().filter(|_| !lost_power).map_or(fresh, |identity| identity.epoch);
        if lost_power {
            tracing::warn!("the machine ended without a last sync of the store: a new epoch begins");
        }
        let recovered = replay.finish(epoch);
        let active = match segments.pop() {
            Some(last) => last,
            None => make_segment(&mut *files, 1, recovered.head).map_err(unusable("a new file"))?,
        };
        // What the process had written but not synced when it ended is shown from now on, and a file that it had made
        // but not made safe is written to.
        files.sync(&active.name()).map_err(unusable(&active.name()))?;
        files.sync_folder().map_err(unusable("its folder"))?;
        let trusting = (!settings.sync_each).then(|| boot.unwrap_or("unknown").to_owned());
        let now = Identity { epoch, trusting };
        if identity.as_ref() != Some(&now) {
            now.write(&mut *files).map_err(unusable(identity::IDENTITY))?;
        }
        let disk = Disk {
            files,
            settings,
            identity: now,
            sealed: segments,
            active,
            head: recovered.head,
            framer: Framer::default(),
            is_soiled: false,
            is_unsynced: false,
            are_names_unsynced: false,
            rotations: 0,
            looks: 0,
            wants_room: false,
        };
        Ok((disk, recovered))
    }

    /// Writes the frame that was built, whole or not at all.
    fn write_frame(&mut self) -> Result<(), StoreError> {
        self.take_back()?;
        if self.active.bytes >= self.settings.segment_bytes {
            self.rotate().map_err(|error| StoreError::of(&error))?;
        }
        self.is_soiled = true;
        let written = self.write_soiling();
        match written {
            Ok(length) => {
                self.is_soiled = false;
                self.active.bytes += length;
                self.is_unsynced |= !self.settings.sync_each;
                Ok(())
            }
            Err(error) => {
                // Where this fails, the next write tries it again before anything else.
                let _ = self.take_back();
                Err(StoreError::of(&error))
            }
        }
    }

    fn write_soiling(&mut self) -> io::Result<u64> {
        let frame = self.framer.frame().ok_or(io::ErrorKind::FileTooLarge)?;
        let name = self.active.name();
        self.files.write(&name, self.active.bytes, frame)?;
        if self.settings.sync_each {
            self.files.sync(&name)?;
        }
        Ok(frame.len() as u64)
    }

    /// Cuts off what was refused. Until that is safe, it could be found again under places given anew.
    fn take_back(&mut self) -> Result<(), StoreError> {
        if self.is_soiled {
            let name = self.active.name();
            let cut = self.files.truncate(&name, self.active.bytes).and_then(|()| self.files.sync(&name));
            cut.map_err(|error| StoreError::Failed(format!("what was refused can't be cut off: {error}")))?;
            self.is_soiled = false;
        }
        Ok(())
    }

    /// Begins the next segment. Nothing is appended to the one before once its file may exist.
    fn rotate(&mut self) -> io::Result<()> {
        if self.is_unsynced {
            self.files.sync(&self.active.name())?;
            self.is_unsynced = false;
        }
        let next = make_segment(&mut *self.files, self.active.number + 1, self.head)?;
        self.sealed.push(std::mem::replace(&mut self.active, next));
        self.rotations += 1;
        self.wants_room = true;
        Ok(())
    }

    fn sealed(&mut self, number: u64) -> Option<&mut Segment> {
        self.sealed.iter_mut().find(|segment| segment.number == number)
    }

    /// Appends records that stand for others, and waits until they are safe.
    fn carry(&mut self, records: &[Record]) -> Result<(), StoreError> {
        let content = self.framer.content();
        records.iter().for_each(|record| record.write(content));
        self.write_frame()?;
        self.sync()
    }

    /// Writes a segment anew with fewer records, and puts it in its place.
    fn rewrite(&mut self, old: &Segment, records: &[Record]) -> io::Result<Segment> {
        let mut segment = Segment::new(old.number, old.head);
        let content = self.framer.content();
        for record in records {
            record.write(content);
            if let Record::Message { sequence, .. } = record {
                segment.note(*sequence);
            }
        }
        let frame = self.framer.frame().ok_or(io::ErrorKind::FileTooLarge)?;
        let name = segment.new_name();
        self.files.write(&name, 0, &segment.head_bytes())?;
        self.files.write(&name, segment.bytes, frame)?;
        segment.bytes += frame.len() as u64;
        self.files.truncate(&name, segment.bytes)?;
        self.files.sync(&name)?;
        self.are_names_unsynced = true;
        self.files.rename(&name, &segment.name())?;
        Ok(segment)
    }

    fn sync_names(&mut self) -> io::Result<()> {
        if self.are_names_unsynced {
            self.files.sync_folder()?;
            self.are_names_unsynced = false;
        }
        Ok(())
    }
}

impl Store for Disk {
    fn append(&mut self, messages: &[Numbered], at: SystemTime) -> Result<(), StoreError> {
        let at = at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        let content = self.framer.content();
        for Numbered { sequence, message } in messages {
            write_message(*sequence, at, message, content);
        }
        self.write_frame()?;
        messages.iter().for_each(|numbered| self.active.note(numbered.sequence));
        self.head = messages.last().map_or(self.head, |last| last.sequence);
        Ok(())
    }

    fn delete(&mut self, channel: &ChannelName, upto: Sequence) -> Result<(), StoreError> {
        write_deleted(upto, channel, self.framer.content());
        self.write_frame()
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        if self.is_unsynced {
            self.files.sync(&self.active.name()).map_err(|error| StoreError::of(&error))?;
            self.is_unsynced = false;
        }
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.active.bytes + self.sealed.iter().map(|segment| segment.bytes).sum::<u64>()
    }

    fn wants_room(&self) -> bool {
        self.wants_room
    }

    fn next_part(&mut self) -> Option<Part> {
        self.wants_room = false;
        // Tried again now, lest the process ends with it.
        self.take_back().ok()?;
        self.sync_names().ok()?;
        self.looks += 1;
        let now = (self.rotations, self.looks);
        let oldest = self.sealed.first()?.number;
        let is_due = |segment: &&mut Segment| {
            let (rotations, looks) = segment.looked_at;
            rotations < now.0 || looks + LOOKS_MAX <= now.1
        };
        let segment = self.sealed.iter_mut().filter(is_due).min_by_key(|segment| segment.looked_at.1)?;
        segment.looked_at = now;
        Some(Part {
            number: segment.number,
            messages: segment.messages,
            places: segment.places.clone(),
            is_oldest: segment.number == oldest,
        })
    }

    fn read_part(&mut self, number: u64) -> Result<Vec<Record>, StoreError> {
        let Some(segment) = self.sealed(number) else { return Ok(Vec::new()) };
        let name = segment.name();
        let bytes = self.files.read(&name).map_err(|error| StoreError::of(&error))?;
        match segment::read(number, &bytes) {
            Ok(Content { records, rest: Rest::Nothing, .. }) => Ok(records),
            _ => Err(StoreError::Failed(format!("{name} is damaged"))),
        }
    }

    fn replace_part(&mut self, number: u64, needed: &Sifted) -> Result<(), StoreError> {
        let Some(old) = self.sealed(number).cloned() else { return Ok(()) };
        let mut bytes = Vec::new();
        needed.stay.iter().chain(&needed.carry).for_each(|record| record.write(&mut bytes));
        if 2 * bytes.len() as u64 > old.bytes {
            return Ok(());
        }
        if !needed.carry.is_empty() {
            self.carry(&needed.carry)?;
        }
        let replaced = if needed.stay.is_empty() {
            self.are_names_unsynced = true;
            self.files.remove(&old.name()).map(|()| None)
        } else {
            self.rewrite(&old, &needed.stay).map(Some)
        };
        let replaced = replaced.map_err(|error| StoreError::of(&error))?;
        self.sealed.retain_mut(|segment| match &replaced {
            _ if segment.number != number => true,
            Some(new) => {
                *segment = Segment { looked_at: segment.looked_at, ..new.clone() };
                true
            }
            None => false,
        });
        self.sync_names().map_err(|error| StoreError::of(&error))
    }

    fn close(&mut self) -> Result<(), StoreError> {
        self.take_back()?;
        self.sync()?;
        if self.identity.trusting.take().is_some() {
            self.identity.write(&mut *self.files).map_err(|error| StoreError::of(&error))?;
        }
        Ok(())
    }
}

fn unusable(what: &str) -> impl FnOnce(io::Error) -> OpenError {
    move |reason| OpenError::Unusable { path: what.into(), reason }
}

/// A segment that holds nothing yet; safe when this returns. What is left of an attempt that failed is overwritten.
fn make_segment(files: &mut dyn Files, number: u64, head: Sequence) -> io::Result<Segment> {
    let segment = Segment::new(number, head);
    let name = segment.name();
    files.write(&name, 0, &segment.head_bytes())?;
    files.truncate(&name, segment.bytes)?;
    files.sync(&name)?;
    files.sync_folder()?;
    Ok(segment)
}

/// Reads every segment into a replay; cuts a torn end off the last.
fn read_segments(
    files: &mut dyn Files,
    names: &[String],
    lost_power: bool,
    replay: &mut Replay,
) -> Result<Vec<Segment>, OpenError> {
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| number_of(name)).collect();
    numbers.sort_unstable();
    let mut segments = Vec::with_capacity(numbers.len());
    for (index, &number) in numbers.iter().enumerate() {
        let name = Segment::new(number, Sequence(0)).name();
        let bytes = files.read(&name).map_err(unusable(&name))?;
        let is_last = index + 1 == numbers.len();
        let damaged = |at| OpenError::Damaged { file: name.clone(), at };
        let content = match segment::read(number, &bytes) {
            Ok(content) => content,
            // The process ended while it made the file.
            Err(BadSegment::Unborn) if is_last => {
                files.remove(&name).map_err(unusable(&name))?;
                continue;
            }
            Err(BadSegment::Unborn | BadSegment::Damaged) => return Err(damaged(0)),
            Err(BadSegment::Foreign) => return Err(OpenError::Foreign { file: name }),
        };
        let Content { segment, records, rest } = content;
        match rest {
            Rest::Nothing => {}
            Rest::Torn if is_last => cut(files, &segment, bytes.len())?,
            Rest::Damaged if is_last && lost_power => cut(files, &segment, bytes.len())?,
            Rest::Torn | Rest::Damaged => return Err(damaged(segment.bytes as usize)),
        }
        replay.reaches(segment.head);
        records.into_iter().for_each(|record| replay.add(record));
        segments.push(segment);
    }
    Ok(segments)
}

fn cut(files: &mut dyn Files, segment: &Segment, length: usize) -> Result<(), OpenError> {
    let name = segment.name();
    let bytes = length as u64 - segment.bytes;
    tracing::warn!(file = name, at = segment.bytes, bytes, "the store's last write was torn: it is cut off");
    let done = files.truncate(&name, segment.bytes).and_then(|()| files.sync(&name));
    done.map_err(unusable(&name))
}
