//! Lists of fixed-size entries that stay in their frame: no allocation to read one.

use alloc::vec::Vec;
use core::marker::PhantomData;

use crate::error::ProtocolFault;
use crate::limits::Limits;
use crate::read::Reader;

/// An element of fixed size.
pub trait Entry: Sized + Copy {
    /// Its bytes on the wire.
    const SIZE: usize;
    /// Most of them in one list.
    const MAX_ELEMENTS: u32 = Limits::MAX_ELEMENTS;
    /// Appends it.
    fn write(self, out: &mut Vec<u8>);
    /// Reads it from exactly [`SIZE`](Self::SIZE) bytes; `None` from any other number, or from a value that is not defined.
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
    /// The list without entries.
    pub const EMPTY: Self = List { bytes: &[], entry: PhantomData };

    /// Encodes entries into `bytes`, replacing what it held, and borrows them as a list.
    pub fn encode_into(bytes: &'a mut Vec<u8>, entries: impl IntoIterator<Item = T>) -> Self {
        bytes.clear();
        for entry in entries {
            entry.write(bytes);
        }
        Self { bytes, entry: PhantomData }
    }

    /// The entries, in order.
    pub fn iter(&self) -> impl Iterator<Item = T> + Clone + use<'a, T> {
        // Each entry was read once when the list was made, so the filter drops none.
        self.bytes.chunks_exact(T::SIZE).filter_map(T::read)
    }

    /// How many entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len().checked_div(T::SIZE).unwrap_or(0)
    }

    /// Whether there are none.
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

/// One run of plainly accepted publish requests (docs/protocol.md §5.2).
///
/// ```
/// use zaichik_proto::AckRun;
/// // Requests 7, 8 and 9, of one record each, have the offsets 40, 41 and 42.
/// let run = AckRun { request: 7, requests: 3, first_offset: 40 };
/// assert_eq!(run.first_offset + u64::from(run.requests) - 1, 42);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AckRun {
    /// Id of the first request answered.
    pub request: u32,
    /// How many acknowledged publish requests, in the order sent, the run answers; at least 1.
    pub requests: u32,
    /// Offset of the first record of the first request; the records of the whole run have consecutive offsets.
    pub first_offset: u64,
}

impl Entry for AckRun {
    const SIZE: usize = 16;

    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.request.to_le_bytes());
        out.extend_from_slice(&self.requests.to_le_bytes());
        out.extend_from_slice(&self.first_offset.to_le_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let entry = Self {
            request: reader.request().ok()?,
            requests: reader.u32().ok()?,
            first_offset: reader.u64().ok()?,
        };
        (entry.requests > 0).then_some(entry)
    }
}

/// A record that was not appended because its key was still remembered (semantics C1).
///
/// ```
/// use zaichik_proto::Duplicate;
/// let second_of_the_publish = Duplicate { record: 1, offset: 7 }; // its original is there
/// assert_eq!(second_of_the_publish.offset, 7);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Duplicate {
    /// Which record of the publish, from 0.
    pub record: u32,
    /// Offset of the record that the topic accepted under that key.
    pub offset: u64,
}

impl Entry for Duplicate {
    const SIZE: usize = 12;
    const MAX_ELEMENTS: u32 = Limits::MAX_RECORDS;

    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.record.to_le_bytes());
        out.extend_from_slice(&self.offset.to_le_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        Some(Self { record: reader.u32().ok()?, offset: reader.u64().ok()? })
    }
}

/// What became of one publish operation of a batch.
///
/// ```
/// use zaichik_proto::{BatchResult, List};
/// let mut bytes = Vec::new();
/// let results = List::encode_into(&mut bytes, [BatchResult { operation: 2, created: true, first_offset: 0 }]);
/// assert!(results.iter().all(|result| result.created));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchResult {
    /// Which operation of the batch, from 0.
    pub operation: u32,
    /// Whether the operation created its topic.
    pub created: bool,
    /// Offset of the first record appended; `u64::MAX` if all were duplicates.
    pub first_offset: u64,
}

impl Entry for BatchResult {
    const SIZE: usize = 13;

    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.operation.to_le_bytes());
        out.push(u8::from(self.created));
        out.extend_from_slice(&self.first_offset.to_le_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        Some(Self {
            operation: reader.u32().ok()?,
            created: reader.bool("created").ok()?,
            first_offset: reader.u64().ok()?,
        })
    }
}

/// A record of a batch that was not appended because its key was still remembered.
///
/// ```
/// use zaichik_proto::{BatchDuplicate, Duplicate, List};
/// let mut bytes = Vec::new();
/// let duplicate = Duplicate { record: 1, offset: 7 };
/// let all = List::encode_into(&mut bytes, [BatchDuplicate { operation: 2, duplicate }]);
/// assert_eq!(all.len(), 1);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchDuplicate {
    /// Which operation of the batch, from 0.
    pub operation: u32,
    /// Which record of that operation, and its original.
    pub duplicate: Duplicate,
}

impl Entry for BatchDuplicate {
    const SIZE: usize = 16;
    const MAX_ELEMENTS: u32 = Limits::MAX_RECORDS;

    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.operation.to_le_bytes());
        self.duplicate.write(out);
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        Some(Self { operation: reader.u32().ok()?, duplicate: Duplicate::read(reader.rest())? })
    }
}
