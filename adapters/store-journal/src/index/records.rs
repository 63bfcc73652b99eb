//! Where the rows with records are, of which there may be millions.

use std::collections::BTreeMap;

use super::place::Place;

/// A topic and the offset with which a row starts.
type Start = (u32, u64);

/// The most rows of a block.
const BLOCK: usize = 128;

/// The row that starts at an offset, and its place.
type Entry = (u64, Place);

const _: () = assert!(size_of::<Entry>() == 24);

/// Rows with records, in blocks of up to 128 of one topic, by a start that none of the block is below. Rows that come in the
/// order of their starts fill their blocks. No operation moves more than a block.
#[derive(Debug, Default)]
pub(super) struct Records {
    blocks: BTreeMap<Start, Vec<Entry>>,
    len: usize,
}

impl Records {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Start, Place)> {
        self.blocks
            .iter()
            .flat_map(|((topic, _), rows)| rows.iter().map(move |(start, place)| ((*topic, *start), *place)))
    }

    pub(super) fn get(&self, topic: u32, start: u64) -> Option<Place> {
        let (_, rows) = self.blocks.range((topic, 0)..=(topic, start)).next_back()?;
        let at = rows.binary_search_by_key(&start, |row| row.0).ok()?;
        rows.get(at).map(|row| row.1)
    }

    /// The rows between two starts, in order; the second one is not among them.
    pub(super) fn range(&self, from: Start, to: Start) -> impl Iterator<Item = (Start, Place)> {
        let first = self.blocks.range(..=from).next_back().map_or(from, |(start, _)| *start);
        let blocks = self.blocks.range(first.min(to)..to);
        let rows = blocks
            .flat_map(|((topic, _), rows)| rows.iter().map(move |(start, place)| ((*topic, *start), *place)));
        rows.skip_while(move |(start, _)| *start < from).take_while(move |(start, _)| *start < to)
    }

    /// Adds a row; returns the place of the one that it replaces.
    pub(super) fn put(&mut self, topic: u32, start: u64, place: Place) -> Option<Place> {
        let block = self.blocks.range_mut((topic, 0)..=(topic, start)).next_back();
        let Some((_, rows)) = block else {
            self.blocks.insert((topic, start), vec![(start, place)]);
            self.len = self.len.saturating_add(1);
            return None;
        };
        match rows.binary_search_by_key(&start, |row| row.0) {
            Ok(at) => return rows.get_mut(at).map(|row| core::mem::replace(&mut row.1, place)),
            Err(at) if rows.len() < BLOCK => rows.insert(at, (start, place)),
            Err(at) => {
                let is_end = at == rows.len();
                // A block that rows are appended to stays full.
                let mut next = if is_end { Vec::new() } else { rows.split_off(BLOCK / 2) };
                match at.checked_sub(BLOCK / 2) {
                    Some(at) if !is_end => next.insert(at, (start, place)),
                    Some(_) => next.push((start, place)),
                    None => rows.insert(at, (start, place)),
                }
                if let Some((first, _)) = next.first() {
                    self.blocks.insert((topic, *first), next);
                }
            }
        }
        self.len = self.len.saturating_add(1);
        None
    }

    /// Removes a row; returns where it was.
    pub(super) fn remove(&mut self, topic: u32, start: u64) -> Option<Place> {
        let (block, rows) = self.blocks.range_mut((topic, 0)..=(topic, start)).next_back()?;
        let at = rows.binary_search_by_key(&start, |row| row.0).ok()?;
        let (_, place) = rows.remove(at);
        let block = *block;
        if rows.is_empty() {
            self.blocks.remove(&block);
        } else if rows.capacity() > rows.len().saturating_mul(4) {
            rows.shrink_to(rows.len().saturating_mul(2));
        }
        self.len = self.len.saturating_sub(1);
        Some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulated::{below, next};

    #[test]
    fn rows_are_found_as_in_a_map() {
        let mut random = 7;
        let topic = |random: &mut u64, topics| u32::try_from(below(random, topics)).unwrap();
        let (mut records, mut expected) = (Records::default(), BTreeMap::new());
        for step in 0..20_000_u32 {
            let start = (topic(&mut random, 2), below(&mut random, 1_000) as u64 * 3);
            let place = Place { segment: step, at: 1, len: 2, crc: 3 };
            if below(&mut random, 5) < 3 {
                assert_eq!(records.put(start.0, start.1, place), expected.insert(start, place));
            } else {
                assert_eq!(records.remove(start.0, start.1), expected.remove(&start));
            }
            assert_eq!(
                (records.len(), records.get(start.0, start.1)),
                (expected.len(), expected.get(&start).copied())
            );
            let from = (topic(&mut random, 2), next(&mut random) % 3_000);
            let to = (topic(&mut random, 3), next(&mut random) % 3_000);
            if from <= to {
                let found: Vec<_> = records.range(from, to).take(5).collect();
                let range: Vec<_> =
                    expected.range(from..to).take(5).map(|(start, place)| (*start, *place)).collect();
                assert_eq!(found, range, "{from:?}..{to:?}");
            }
        }
        assert!(records.iter().eq(expected.iter().map(|(start, place)| (*start, *place))));
        assert!(records.blocks.values().all(|rows| rows.len() <= BLOCK));
    }

    #[test]
    fn rows_that_are_appended_fill_their_blocks() {
        let mut records = Records::default();
        for start in 0..1_000 {
            records.put(1, start, Place { segment: 1, at: 0, len: 0, crc: 0 });
        }
        assert_eq!(records.blocks.len(), 8);
        assert!(records.blocks.values().all(|rows| rows.capacity() <= BLOCK));
    }
}
