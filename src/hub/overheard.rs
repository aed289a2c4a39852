//! What a tap hears of channels that it does not read: all below some folders, whoever made them and when.
//!
//! A message is looked up once for each folder that it lies in, as many as its name has slashes; where no tap
//! overhears, publishing doesn't look at names at all.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

use super::channel::TapId;
use super::state::{State, Wake};
use crate::message::{Entry, Sequence};

/// The folders of one tap, and what was said in them since its last turn.
#[derive(Default)]
pub(super) struct Overheard {
    /// By name, with how often it is wanted.
    folders: HashMap<Box<str>, u32>,
    entries: Vec<Arc<Entry>>,
    /// Entries were dropped, since the tap didn't take them in time.
    lost: bool,
}

/// What a tap has overheard, in order.
#[derive(Debug, Default)]
pub struct Hearsay {
    /// The messages.
    pub entries: Vec<Arc<Entry>>,
    /// Messages are missing before these: the tap came too late for them.
    pub lost: bool,
}

/// Messages that wait for a tap: a second of a busy hub. They are kept by it alone if their channels have dropped them.
const WAITING_MAX: usize = 65_536;

impl Overheard {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn wants(&self, name: &str) -> bool {
        name.match_indices('/').any(|(slash, _)| self.folders.contains_key(&name[..=slash]))
    }

    fn push(&mut self, entry: &Arc<Entry>) {
        if self.entries.len() == WAITING_MAX {
            self.entries.clear();
            self.lost = true;
        }
        self.entries.push(Arc::clone(entry));
    }

    /// Gives everything, and takes the room of what was taken before.
    pub(super) fn take(&mut self, into: &mut Hearsay) {
        into.entries.clear();
        mem::swap(&mut into.entries, &mut self.entries);
        into.lost = mem::take(&mut self.lost);
    }
}

impl State {
    pub(super) fn overhear(&mut self, tap: TapId, folder: &str) -> Sequence {
        let folders = &mut self.taps[tap].overheard.folders;
        if folders.is_empty() {
            self.eavesdroppers.push(tap);
        }
        *folders.entry(folder.into()).or_default() += 1;
        self.head
    }

    pub(super) fn overhear_no_more(&mut self, tap: TapId, folder: &str) {
        let folders = &mut self.taps[tap].overheard.folders;
        if let Some(wanted) = folders.get_mut(folder) {
            *wanted -= 1;
            if *wanted == 0 {
                folders.remove(folder);
            }
        }
        if folders.is_empty() {
            self.eavesdroppers.retain(|eavesdropper| *eavesdropper != tap);
        }
    }

    /// Tells taps of a message that is in a folder of theirs.
    pub(super) fn let_overhear(&mut self, entry: &Arc<Entry>, wakes: &mut Vec<Wake>) {
        for &tap in &self.eavesdroppers {
            let tap = &mut self.taps[tap];
            if tap.overheard.wants(entry.message.channel.as_str()) {
                tap.wake_once(wakes);
                tap.overheard.push(entry);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_holds_what_is_below_it_and_nothing_else() {
        let mut overheard = Overheard::default();
        overheard.folders.insert("/a/".into(), 1);
        for (name, wanted) in [
            ("/a/b", true),
            ("/a/b/c", true),
            ("/a", false),
            ("/ab", false),
            ("/b/a/c", false),
            ("a/b", false),
        ] {
            assert_eq!(overheard.wants(name), wanted, "{name}");
        }
        overheard.folders.insert("/".into(), 1);
        assert!(overheard.wants("/b") && !overheard.wants("b"));
    }
}
