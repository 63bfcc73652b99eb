//! Where the latest version of each row is, and how much of each segment lives.

mod heads;
mod key;
mod place;
mod records;

use core::ops::Bound;
use std::collections::BTreeMap;

use crate::op::{RECORDS, TRIMMED, start_key, start_of};
use crate::table::{Entries, Entry, Malformed, row_bytes};
use heads::Heads;
pub(crate) use key::Key;
pub(crate) use place::{MAX_SEGMENT, Place};
use records::Records;

/// The bytes of a segment in rows and operations, without what frames, heads and outlines add.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) written: u64,
    pub(crate) live: u64,
}

/// All rows and segments. A row of records costs 24 to 48 bytes of memory; another one 50 to 80 bytes, and the length of a key
/// above 22 bytes.
#[derive(Debug, Default)]
pub(crate) struct Index {
    records: Records,
    /// All other rows.
    others: BTreeMap<Key, Place>,
    /// What was stored apart of some rows, while the journal is opened.
    heads: Option<Heads>,
    usage: BTreeMap<u64, Usage>,
    total: Usage,
}

impl Index {
    /// An index that keeps the heads of what is [applied](Self::apply), until they are [forgotten](Self::forget_heads). Frames
    /// are applied in the order of the journal.
    pub(crate) fn with_heads() -> Self {
        Self { heads: Some(Heads::default()), ..Self::default() }
    }

    /// All rows, in the order of their keys.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (Key, Place)> {
        let mut records = self.records.iter().map(|((topic, start), place)| (key_of(topic, start), place));
        let mut others = self.others.iter().map(|(key, place)| (key.clone(), *place));
        let (mut record, mut other) = (records.next(), others.next());
        core::iter::from_fn(move || {
            let is_record = match (&record, &other) {
                (Some((record, _)), Some((other, _))) => record < other,
                (record, _) => record.is_some(),
            };
            if is_record {
                core::mem::replace(&mut record, records.next())
            } else {
                core::mem::replace(&mut other, others.next())
            }
        })
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<Place> {
        match start_of(key) {
            Some((topic, start)) => self.records.get(topic, start),
            None => self.others.get(key).copied(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len().saturating_add(self.others.len())
    }

    /// The rows with records of a topic that start in a range, in order.
    pub(crate) fn records(&self, topic: u32, from: u64, to: u64) -> impl Iterator<Item = (Key, Place)> {
        let rows = self.records.range((topic, from), (topic, to));
        rows.map(|((topic, start), place)| (key_of(topic, start), place))
    }

    /// The head of the row at this place, if it has one that is not forgotten; `next` is 0 for the first one, and then kept.
    pub(crate) fn head(&self, place: Place, next: &mut usize) -> Option<&[u8]> {
        self.heads.as_ref()?.get(place, next)
    }

    pub(crate) fn forget_heads(&mut self) {
        self.heads = None;
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
        let number = u32::try_from(segment).map_err(|_| Malformed)?;
        let written = table.len() as u64;
        self.add(segment, |usage| usage.written = usage.written.saturating_add(written));
        for entry in Entries::new(table) {
            match entry? {
                Entry::Put { key, at, len, crc, head } => {
                    let at = values.saturating_add(u64::from(at));
                    let at = u32::try_from(at).map_err(|_| Malformed)?;
                    let place = Place { segment: number, at, len, crc };
                    if let Some(heads) = &mut self.heads {
                        heads.push(place, head);
                    }
                    let apart = head.len() as u64;
                    self.add(segment, |usage| usage.written = usage.written.saturating_sub(apart));
                    self.put(key, place);
                }
                Entry::Remove { key } => self.remove(key),
                Entry::Trim { topic, from, to } => self.trim(topic, from, to),
            }
        }
        Ok(())
    }

    fn put(&mut self, key: &[u8], place: Place) {
        let value = u64::from(place.len);
        let bytes = row_bytes(key, place.len);
        self.add(u64::from(place.segment), |usage| {
            usage.written = usage.written.saturating_add(value);
            usage.live = usage.live.saturating_add(bytes);
        });
        let before = match start_of(key) {
            Some((topic, start)) => self.records.put(topic, start, place),
            None => match self.others.get_mut(key) {
                Some(at) => Some(core::mem::replace(at, place)),
                None => self.others.insert(Key::copy(key), place),
            },
        };
        if let Some(before) = before {
            self.died(key, before);
        }
    }

    fn remove(&mut self, key: &[u8]) {
        let before = match start_of(key) {
            Some((topic, start)) => self.records.remove(topic, start),
            None => self.others.remove(key),
        };
        if let Some(before) = before {
            self.died(key, before);
        }
    }

    fn trim(&mut self, topic: u32, from: u64, to: u64) {
        for kind in TRIMMED.into_iter().filter(|_| from < to) {
            while let Some(key) = self.first_of(kind, topic, from, to) {
                self.remove(key.as_slice());
            }
        }
    }

    /// The first row of this kind that starts in a range.
    fn first_of(&self, kind: u8, topic: u32, from: u64, to: u64) -> Option<Key> {
        if kind == RECORDS {
            return self.records(topic, from, to).next().map(|(key, _)| key);
        }
        let (from, to) = (start_key(kind, topic, from), start_key(kind, topic, to));
        let range = (Bound::Included(from.as_slice()), Bound::Excluded(to.as_slice()));
        self.others.range::<[u8], _>(range).next().map(|(key, _)| key.clone())
    }

    fn died(&mut self, key: &[u8], place: Place) {
        let bytes = row_bytes(key, place.len);
        self.add(u64::from(place.segment), |usage| usage.live = usage.live.saturating_sub(bytes));
    }

    /// Changes the usage of a segment, and of all together.
    fn add(&mut self, segment: u64, change: impl Fn(&mut Usage)) {
        change(self.usage.entry(segment).or_default());
        change(&mut self.total);
    }
}

fn key_of(topic: u32, start: u64) -> Key {
    Key::copy(&start_key(RECORDS, topic, start))
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
                    push_put(table, &start_key(kind, topic, start), 5, 0, b"head");
                }
            }
        });
        index.apply(1, 112, &rows).unwrap();
        index.apply(2, 112, &table(|table| push_trim(table, 1, 10, 20))).unwrap();
        let left: Vec<_> = index.rows().map(|(key, _)| key.as_slice().to_vec()).collect();
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
            push_put(table, b"a", 5, 0, b"head");
            push_put(table, b"b", 5, 0, b"");
        });
        index.apply(1, 112, &both).unwrap();
        index.apply(2, 112, &table(|table| push_put(table, b"a", 5, 0, b"head"))).unwrap();
        assert_eq!(index.oldest_live().map(|oldest| oldest.0), Some(1));
        index.apply(3, 112, &table(|table| push_remove(table, b"b"))).unwrap();
        assert_eq!(index.oldest_live().map(|oldest| oldest.0), Some(2));
        assert_eq!(index.total().live, row_bytes(b"a", 5));
        let before = index.total().written;
        index.forget_below(2);
        assert_eq!(index.total().written, before - 2 * row_bytes(b"a", 5));
    }
}
