//! The file that says whose positions a store gave out: its epoch, and whether a loss of power could have taken some back.

use std::io;

use super::files::Files;
use crate::message::Epoch;
use crate::store::OpenError;

/// The name of the file. Without it a store begins a new epoch.
pub(super) const IDENTITY: &str = "identity";
const NEXT: &str = "identity.new";
const FIRST_LINE: &str = "perihelion store 1";

/// A store's identity, as text of three lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    /// Of its positions.
    pub(super) epoch: Epoch,
    /// The run of the machine in which messages may have been handed out before they were safe; `None` where each
    /// was safe before.
    pub(super) trusting: Option<String>,
}

impl Identity {
    pub(super) fn read(files: &dyn Files, names: &[String]) -> Result<Option<Identity>, OpenError> {
        if !names.iter().any(|name| name == IDENTITY) {
            return Ok(None);
        }
        let unusable = |reason| OpenError::Unusable { path: IDENTITY.into(), reason };
        let bytes = files.read(IDENTITY).map_err(unusable)?;
        let identity = std::str::from_utf8(&bytes).ok().and_then(Identity::parse);
        identity.map(Some).ok_or_else(|| OpenError::Foreign { file: IDENTITY.into() })
    }

    fn parse(text: &str) -> Option<Identity> {
        let mut lines = text.lines();
        let first = lines.next()?;
        let epoch = lines.next()?.strip_prefix("epoch ")?;
        let trusting = lines.next()?.strip_prefix("unsynced in boot ")?;
        let whole = first == FIRST_LINE && lines.next().is_none();
        let epoch = u64::from_str_radix(epoch, 16).ok()?;
        let trusting = Some(trusting.to_owned()).filter(|boot| boot != "none");
        whole.then_some(Identity { epoch: Epoch(epoch), trusting })
    }

    /// Whether the machine has ended since messages were handed out that may not have been safe.
    pub(super) fn lost_power(&self, boot: Option<&str>) -> bool {
        self.trusting.as_deref().is_some_and(|then| boot != Some(then))
    }

    /// Writes it, whole or not at all, and safe.
    pub(super) fn write(&self, files: &mut dyn Files) -> io::Result<()> {
        let boot = self.trusting.as_deref().unwrap_or("none");
        let text = format!("{FIRST_LINE}\nepoch {:x}\nunsynced in boot {boot}\n", self.epoch.0);
        // A longer one may be left of a start that was cut short.
        files.write(NEXT, 0, b"")?;
        files.truncate(NEXT, 0)?;
        files.write(NEXT, 0, text.as_bytes())?;
        files.sync(NEXT)?;
        files.rename(NEXT, IDENTITY)?;
        files.sync_folder()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_read_strictly() {
        let text = "perihelion store 1\nepoch ab12\nunsynced in boot none\n";
        assert_eq!(Identity::parse(text), Some(Identity { epoch: Epoch(0xab12), trusting: None }));
        let trusting = text.replace("none", "3f-9");
        assert_eq!(Identity::parse(&trusting).and_then(|identity| identity.trusting), Some("3f-9".into()));
        let other = [text.replace("1\n", "2\n"), text.replace("epoch", "era"), format!("{text}x"), "".into()];
        other.iter().for_each(|text| assert_eq!(Identity::parse(text), None, "{text:?}"));
    }
}
