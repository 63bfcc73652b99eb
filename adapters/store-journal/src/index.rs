//! Where the latest version of each row is, and how much of each segment lives.

use core::borrow::Borrow;
use core::cmp::Ordering;
use core::ops::Bound;
use std::collections::BTreeMap;

use crate::op::{TRIMMED, start_key};
use crate::table::{Entries, Entry, Malformed, row_bytes};

/// Where the value of a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) segment: u64,
    pub(crate) at: u32,
    pub(crate) len: u32,
    /// The checksum of key and value.
    pub(crate) crc: u32,
}

/// A key, without an allocation of its own if it is as short as those of records.
#[derive(Debug, Clone)]
pub(crate) enum Key {
    Short { len: u8, bytes: [u8; 13] },
    Long(Box<[u8]>),
}

impl Key {
    pub(crate) fn copy(key: &[u8]) -> Self {
        let mut bytes = [0; 13];
        match (bytes.get_mut(..key.len()), u8::try_from(key.len())) {
            (Some(place), Ok(len)) => {
                place.copy_from_slice(key);
                Self::Short { len, bytes }
            }
            _ => Self::Long(key.into()),
        }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Short { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Self::Long(bytes) => bytes,
        }
    }
}

impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        self.as_slice()
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_slice().cmp(other.as_slice())
    }
}

/// The bytes of a segment in rows and operations, without what frames and outlines add.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) written: u64,
    pub(crate) live: u64,
}

/// All rows and segments. A row costs 60 to 80 bytes of memory, and the length of a key above 13 bytes.
#[derive(Debug, Default)]
pub(crate) struct Index {
    rows: BTreeMap<Key, Place>,
    usage: BTreeMap<u64, Usage>,
    total: Usage,
}

impl Index {
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&[u8], Place)> {
        self.rows.iter().map(|(key, place)| (key.as_slice(), *place))
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<Place> {
        self.rows.get(key).copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The rows whose keys are in a range, in order.
    pub(crate) fn range(&self, from: &[u8], to: &[u8]) -> impl Iterator<Item = (&[u8], Place)> {
        let range = (Bound::Included(from), Bound::Excluded(to));
        self.rows.range::<[u8], _>(range).map(|(key, place)| (key.as_slice(), *place))
    }

    /// All segments together.
    pub(crate) const fn total(&self) -> Usage {
        self.total
    }

    /// The oldest segment in which a row lives.
    pub(crate) fn oldest_live(&self) -> Option<(u64, Usage)> {
        self.usage.iter().find(|(_, usage)| usage.live > 0).map(|(segment, usage)| (*segment, *usage))
    }

    /// Forgets segments below this one, in which nothing lives.
    pub(crate) fn forget_below(&mut self, oldest: u64) {
        while let Some(first) = self.usage.first_entry().filter(|first| *first.key() < oldest) {
            self.total.written = self.total.written.saturating_sub(first.remove().written);
        }
    }

    /// Applies a frame whose values begin at `values` in this segment.
    pub(crate) fn apply(&mut self, segment: u64, values: u64, table: &[u8]) -> Result<(), Malformed> {
        let written = table.len() as u64;
        self.add(segment, |usage| usage.written = usage.written.saturating_add(written));
        for entry in Entries::new(table) {
            match entry? {
                Entry::Put { key, at, len, crc } => {
                    let at = values.saturating_add(u64::from(at));
                    let at = u32::try_from(at).map_err(|_| Malformed)?;
                    self.put(key, Place { segment, at, len, crc });
                }
                Entry::Remove { key } => self.remove(key),
                Entry::Trim { topic, from, to } => {
                    for kind in TRIMMED {
                        self.trim(kind, topic, from, to);
                    }
                }
            }
        }
        Ok(())
    }

    fn put(&mut self, key: &[u8], place: Place) {
        let value = u64::from(place.len);
        let bytes = row_bytes(key, place.len);
        self.add(place.segment, |usage| {
            usage.written = usage.written.saturating_add(value);
            usage.live = usage.live.saturating_add(bytes);
        });
        if let Some(at) = self.rows.get_mut(key) {
            let before = core::mem::replace(at, place);
            self.died(key, before);
        } else {
            self.rows.insert(Key::copy(key), place);
        }
    }

    fn remove(&mut self, key: &[u8]) {
        if let Some(before) = self.rows.remove(key) {
            self.died(key, before);
        }
    }

    fn trim(&mut self, kind: u8, topic: u32, from: u64, to: u64) {
        if from >= to {
            return;
        }
        let (from, to) = (start_key(kind, topic, from), start_key(kind, topic, to));
        loop {
            let range = (Bound::Included(from.as_slice()), Bound::Excluded(to.as_slice()));
            let Some(key) = self.rows.range::<[u8], _>(range).next().map(|(key, _)| key.clone()) else {
                return;
            };
            self.remove(key.as_slice());
        }
    }

    fn died(&mut self, key: &[u8], place: Place) {
        let bytes = row_bytes(key, place.len);
        self.add(place.segment, |usage| usage.live = usage.live.saturating_sub(bytes));
    }

    /// Changes the usage of a segment, and of all together.
    fn add(&mut self, segment: u64, change: impl Fn(&mut Usage)) {
        change(self.usage.entry(segment).or_default());
        change(&mut self.total);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{push_put, push_remove, push_trim};

    fn table(fill: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
        let mut table = Vec::new();
        fill(&mut table);
        table
    }

    #[test]
    fn a_trim_removes_records_and_marks_that_start_in_its_range() {
        let mut index = Index::default();
        let rows = table(|table| {
            for kind in [2, 3, 7] {
                for (topic, start) in [(1, 9), (1, 10), (1, 19), (1, 20), (2, 10)] {
                    push_put(table, &start_key(kind, topic, start), 5, 0);
                }
            }
        });
        index.apply(1, 112, &rows).unwrap();
        index.apply(2, 112, &table(|table| push_trim(table, 1, 10, 20))).unwrap();
        let left: Vec<_> = index.rows().map(|(key, _)| key.to_vec()).collect();
        let mut expected = Vec::new();
        for kind in [2, 3, 7] {
            let in_range = [(1, 10), (1, 19)];
            let all = [(1, 9), (1, 10), (1, 19), (1, 20), (2, 10)];
            let left = all.into_iter().filter(|row| kind == 3 || !in_range.contains(row));
            expected.extend(left.map(|(topic, start)| start_key(kind, topic, start).to_vec()));
        }
        assert_eq!(left, expected);
    }

    #[test]
    fn a_segment_lives_until_its_last_row_is_replaced_or_removed() {
        let mut index = Index::default();
        let both = table(|table| {
            push_put(table, b"a", 5, 0);
            push_put(table, b"b", 5, 0);
        });
        index.apply(1, 112, &both).unwrap();
        index.apply(2, 112, &table(|table| push_put(table, b"a", 5, 0))).unwrap();
        assert_eq!(index.oldest_live().map(|oldest| oldest.0), Some(1));
        index.apply(3, 112, &table(|table| push_remove(table, b"b"))).unwrap();
        assert_eq!(index.oldest_live().map(|oldest| oldest.0), Some(2));
        assert_eq!(index.total().live, row_bytes(b"a", 5));
        let before = index.total().written;
        index.forget_below(2);
        assert_eq!(index.total().written, before - 2 * row_bytes(b"a", 5));
    }
}
