//! The mark of a directory of which clients may know more than it has: a file, with a text that explains it.
//!
//! A backup has one. Any other directory has one if its commits may not be synced: it is there from the opening of a journal that syncs [on demand](crate::Syncing::OnDemand) until its clean end, and says
//! in which start of the machine the journal was opened. As long as that start lasts, everything that was written is there.

use crate::disk::{Disk, File};
use crate::error::{StoreError, failed};

/// The length of the text in bytes; all of them are written at once, within one sector.
const LEN: usize = FRONT.len() + 32 + 1;

const BACKUP: &str = "this is a backup: clients may know more than it has";

const FRONT: &str = "not every commit may be on the disk\nboot ";

/// How the last owner of a directory ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Every commit that was reported as durable is there, and no other commit was reported.
    Clean,
    /// Only its process ended: everything that it wrote is there, but not all of it may be durable.
    OfProcess,
    /// Its machine ended, or a sync failed: the last commits may be missing, and of each any part.
    OfMachine,
    /// It never had one: the directory is a [copy](crate::backup()) of another, whose owner went on.
    Backup,
}

/// The text, for a journal that was opened in this start of the machine, if that is known.
pub(crate) fn encode(boot: Option<u128>) -> String {
    let boot = boot.map_or_else(|| format!("{:?<32}", "unknown"), |boot| format!("{boot:032x}"));
    format!("{FRONT}{boot}\n")
}

/// The text for a copy.
pub(crate) fn encode_backup() -> String {
    format!("{BACKUP:<width$}\n", width = LEN.saturating_sub(1))
}

/// How the last owner of this directory ended.
pub(crate) fn read_ending(disk: &mut impl Disk) -> Result<Ending, StoreError> {
    // Before the first commit that is not synced, all of the text was. So if the owner ended earlier, nothing is missing.
    if length(disk)?.is_none_or(|len| len < LEN as u64) {
        return Ok(Ending::Clean);
    }
    let mut text = [0; LEN];
    let read = disk.read(File::Unsynced, 0, &mut text);
    let _ = read.map_err(|error| failed("read", File::Unsynced, &error))?;
    if text.starts_with(BACKUP.as_bytes()) {
        return Ok(Ending::Backup);
    }
    let opened_in = decode(&text);
    let is_same = opened_in.is_some() && opened_in == disk.boot();
    Ok(if is_same { Ending::OfProcess } else { Ending::OfMachine })
}

/// The length of the mark, if there is one.
pub(crate) fn length(disk: &mut impl Disk) -> Result<Option<u64>, StoreError> {
    let files = disk.files().map_err(|error| failed("list", "the storage directory", &error))?;
    Ok(files.into_iter().find(|(file, _)| *file == File::Unsynced).map(|(_, len)| len))
}

fn decode(text: &[u8]) -> Option<u128> {
    let text = str::from_utf8(text).ok()?.strip_prefix(FRONT)?.strip_suffix('\n')?;
    u128::from_str_radix(text, 16).ok().filter(|_| text.len() == 32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulated::SimulatedDisk;

    fn ending(text: &[u8]) -> Ending {
        let mut disk = SimulatedDisk::new(1);
        disk.replace(File::Unsynced, Some(text.to_vec()));
        read_ending(&mut disk).unwrap()
    }

    #[test]
    fn a_mark_of_another_or_of_no_start_of_the_machine_says_that_the_machine_ended() {
        let boot = SimulatedDisk::new(1).boot();
        assert!(boot.is_some());
        let text = encode(boot);
        assert_eq!(ending(text.as_bytes()), Ending::OfProcess);
        for at in 0..text.len() {
            let mut other = text.clone().into_bytes();
            other[at] ^= 1;
            assert_eq!(ending(&other), Ending::OfMachine, "byte {at}");
        }
        assert_eq!(ending(encode(None).as_bytes()), Ending::OfMachine);
    }

    #[test]
    fn the_mark_of_a_backup_is_as_long_as_any_other() {
        let text = encode_backup();
        assert_eq!(text.len(), LEN);
        assert_eq!(ending(text.as_bytes()), Ending::Backup);
        for at in 0..BACKUP.len() {
            let mut other = text.clone().into_bytes();
            other[at] ^= 1;
            assert_eq!(ending(&other), Ending::OfMachine, "byte {at}");
        }
    }

    #[test]
    fn a_mark_that_was_not_finished_says_nothing() {
        let text = encode(Some(7));
        for len in 0..text.len() {
            assert_eq!(ending(&text.as_bytes()[..len]), Ending::Clean, "{len} bytes");
        }
    }
}
