//! The file that says what the directory is: text, for whoever finds it.

use crate::disk::{Disk, File};
use crate::error::{Damage, OpenError, StoreError, failed};
use crate::recovery::read;
use crate::segment::FORMAT;

/// What the file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) format: u32,
    pub(crate) store: u128,
}

impl Identity {
    pub(crate) const fn new(store: u128) -> Self {
        Self { format: FORMAT, store }
    }

    pub(crate) fn encode(&self) -> String {
        format!("zaichik journal\nformat {}\nstore {:032x}\n", self.format, self.store)
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let text = str::from_utf8(bytes).ok()?;
        let rest = text.strip_prefix("zaichik journal\nformat ")?;
        let (format, rest) = rest.split_once('\n')?;
        let format = format.parse().ok()?;
        if format != FORMAT {
            // What else the file says is up to its version.
            return Some(Self { format, store: 0 });
        }
        let store = rest.strip_prefix("store ")?.strip_suffix('\n').filter(|store| store.len() == 32)?;
        Some(Self { format, store: u128::from_str_radix(store, 16).ok()? })
    }
}

/// The store's id, if a file says it; `None` if nothing was ever stored.
pub(crate) fn read_identity(disk: &mut impl Disk) -> Result<Option<u128>, OpenError> {
    let files = disk.files().map_err(|error| failed("list", "the storage directory", &error))?;
    let text = match files.iter().find(|(file, _)| *file == File::Identity) {
        Some((file, len)) => read(disk, *file, 0, *len)?,
        None => Vec::new(),
    };
    match Identity::read(&text) {
        Some(identity) if identity.format != FORMAT => Err(OpenError::Version { found: identity.format }),
        Some(identity) => Ok(Some(identity.store)),
        None if files.iter().any(|(file, _)| matches!(file, File::Segment(_))) => {
            Err(StoreError::Corrupt { file: File::Identity, at: 0, damage: Damage::Identity }.into())
        }
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_read_as_it_was_written_and_not_if_it_was_cut() {
        let identity = Identity::new(0x1234);
        let text = identity.encode();
        assert_eq!(Identity::read(text.as_bytes()), Some(identity));
        for len in 0..text.len() {
            assert_eq!(Identity::read(&text.as_bytes()[..len]), None, "{len} bytes");
        }
        assert_eq!(
            Identity::read(b"zaichik journal\nformat 3\nwhatever\n"),
            Some(Identity { format: 3, store: 0 })
        );
    }
}
