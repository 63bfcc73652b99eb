//! Lists of entries of fixed size, borrowed from their frame.

use alloc::vec::Vec;
use core::marker::PhantomData;

use crate::error::ProtocolFault;
use crate::limits::Limits;
use crate::read::Reader;

/// An entry of a list, of fixed size.
pub trait Entry: Sized + Copy {
    /// Size on the wire, in bytes.
    const SIZE: usize;
    /// Maximum number of entries in one list.
    const MAX_ELEMENTS: u32 = Limits::MAX_ELEMENTS;
    /// Appends the entry.
    fn write(self, out: &mut Vec<u8>);
    /// Reads an entry from [`SIZE`](Self::SIZE) bytes; `None` if there are fewer, or if a value is not defined.
    fn read(bytes: &[u8]) -> Option<Self>;
}

/// A list that borrows its encoded entries.
///
/// ```
/// use zaichik_proto::{Duplicate, List};
/// let mut bytes = Vec::new();
/// let list = List::encode_into(&mut bytes, [Duplicate { record: 1, offset: 40 }]);
/// assert_eq!(list.iter().next(), Some(Duplicate { record: 1, offset: 40 }));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct List<'a, T> {
    bytes: &'a [u8],
    entry: PhantomData<T>,
}

impl<'a, T: Entry> List<'a, T> {
    /// No entries.
    pub const EMPTY: Self = List { bytes: &[], entry: PhantomData };

    /// Encodes entries into `bytes`, replacing its contents, and borrows them as a list.
    pub fn encode_into(bytes: &'a mut Vec<u8>, entries: impl IntoIterator<Item = T>) -> Self {
        bytes.clear();
        for entry in entries {
            entry.write(bytes);
        }
        Self { bytes, entry: PhantomData }
    }

    /// The entries, in order.
    pub fn iter(&self) -> impl Iterator<Item = T> + Clone + use<'a, T> {
        // Every entry was read when the list was decoded, so none is lost here.
        self.bytes.chunks_exact(T::SIZE).filter_map(T::read)
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len().checked_div(T::SIZE).unwrap_or(0)
    }

    /// Whether there are no entries.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Reads a `u32` count and that many entries.
    pub(crate) fn read(reader: &mut Reader<'a>, field: &'static str) -> Result<Self, ProtocolFault> {
        let count = reader.u32()?;
        let possible = reader.remaining().checked_div(T::SIZE).unwrap_or(0);
        let limit = possible.min(T::MAX_ELEMENTS as usize);
        if count as usize > limit {
            return Err(ProtocolFault::CountTooLarge { field, limit: limit as u64, got: u64::from(count) });
        }
        let bytes = reader.take((count as usize).saturating_mul(T::SIZE))?;
        for chunk in bytes.chunks_exact(T::SIZE) {
            T::read(chunk).ok_or(ProtocolFault::BadValue { field, got: 0 })?;
        }
        Ok(Self { bytes, entry: PhantomData })
    }
}
