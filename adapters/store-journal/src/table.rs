//! The table of a frame: what each of its operations does, and where the value of each row is.

use bytes::{Buf, BufMut};

/// The longest key in bytes.
pub const MAX_KEY: usize = u16::MAX as usize;
/// The longest head in bytes.
pub const MAX_HEAD: usize = u8::MAX as usize;

const PUT: u8 = 1;
const REMOVE: u8 = 2;
const TRIM: u8 = 3;

/// One entry of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry<'a> {
    Put {
        key: &'a [u8],
        /// Where the value begins among the values of the frame.
        at: u32,
        len: u32,
        /// The checksum of key and value.
        crc: u32,
        /// What is known of the row without its value.
        head: &'a [u8],
    },
    Remove {
        key: &'a [u8],
    },
    Trim {
        topic: u32,
        from: u64,
        to: u64,
    },
}

/// The bytes that a row occupies in a table and among the values, without its head.
pub(crate) fn row_bytes(key: &[u8], len: u32) -> u64 {
    let entry = 12_u64.saturating_add(u64::try_from(key.len()).unwrap_or(u64::MAX));
    entry.saturating_add(u64::from(len))
}

/// Callers have checked the length of the head against [`MAX_HEAD`].
pub(crate) fn push_put(table: &mut Vec<u8>, key: &[u8], len: u32, crc: u32, head: &[u8]) {
    table.put_u8(PUT);
    table.put_u16(key_len(key));
    table.put_u32(len);
    table.put_u32(crc);
    table.put_u8(u8::try_from(head.len()).unwrap_or(u8::MAX));
    table.put_slice(key);
    table.put_slice(head);
}

pub(crate) fn push_remove(table: &mut Vec<u8>, key: &[u8]) {
    table.put_u8(REMOVE);
    table.put_u16(key_len(key));
    table.put_slice(key);
}

pub(crate) fn push_trim(table: &mut Vec<u8>, topic: u32, from: u64, to: u64) {
    table.put_u8(TRIM);
    table.put_u32(topic);
    table.put_u64(from);
    table.put_u64(to);
}

/// Callers have checked the length against [`MAX_KEY`].
fn key_len(key: &[u8]) -> u16 {
    u16::try_from(key.len()).unwrap_or(u16::MAX)
}

/// The entries of a table, in order. Ends after the first that does not parse, which is `Err`.
#[derive(Debug)]
pub(crate) struct Entries<'a> {
    rest: &'a [u8],
    at: u32,
}

/// A table whose checksum is right cannot be read: this version did not write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

impl<'a> Entries<'a> {
    pub(crate) const fn new(table: &'a [u8]) -> Self {
        Self { rest: table, at: 0 }
    }

    fn read(&mut self) -> Option<Entry<'a>> {
        let entry = match self.rest.try_get_u8().ok()? {
            PUT => {
                let key_len = self.rest.try_get_u16().ok()?;
                let len = self.rest.try_get_u32().ok()?;
                let crc = self.rest.try_get_u32().ok()?;
                let head_len = self.rest.try_get_u8().ok()?;
                let at = self.at;
                self.at = at.checked_add(len)?;
                let key = self.take(key_len)?;
                Entry::Put { key, at, len, crc, head: self.take(u16::from(head_len))? }
            }
            REMOVE => {
                let key_len = self.rest.try_get_u16().ok()?;
                Entry::Remove { key: self.take(key_len)? }
            }
            TRIM => Entry::Trim {
                topic: self.rest.try_get_u32().ok()?,
                from: self.rest.try_get_u64().ok()?,
                to: self.rest.try_get_u64().ok()?,
            },
            _ => return None,
        };
        Some(entry)
    }

    fn take(&mut self, len: u16) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(usize::from(len))?;
        self.rest = rest;
        Some(taken)
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let entry = self.read().ok_or(Malformed);
        if entry.is_err() {
            self.rest = &[];
        }
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_as_they_were_pushed() {
        let mut table = Vec::new();
        push_put(&mut table, b"a", 7, 1, b"head");
        push_remove(&mut table, b"bc");
        push_trim(&mut table, 1, 2, 3);
        push_put(&mut table, b"d", 5, 2, b"");
        let entries: Result<Vec<_>, _> = Entries::new(&table).collect();
        let expected = [
            Entry::Put { key: b"a", at: 0, len: 7, crc: 1, head: b"head" },
            Entry::Remove { key: b"bc" },
            Entry::Trim { topic: 1, from: 2, to: 3 },
            Entry::Put { key: b"d", at: 7, len: 5, crc: 2, head: b"" },
        ];
        assert_eq!(entries.as_deref(), Ok(expected.as_slice()));
    }

    #[test]
    fn a_table_that_ends_within_an_entry_is_malformed() {
        let mut table = Vec::new();
        push_put(&mut table, b"key", 7, 1, b"head");
        for len in 1..table.len() {
            assert_eq!(Entries::new(&table[..len]).collect::<Vec<_>>(), [Err(Malformed)], "{len} bytes");
        }
        assert_eq!(Entries::new(&[9]).next(), Some(Err(Malformed)));
    }
}
