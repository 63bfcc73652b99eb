//! The heads of rows, until a broker has taken them.

use super::place::Place;
use crate::planted::{Defect, is_planted};

/// Heads by the places of their rows, which come in the order of the journal. Memory: 16 bytes each, and the heads.
#[derive(Debug, Default)]
pub(super) struct Heads {
    /// Segment and byte of each row, and where its head begins in `bytes`.
    places: Vec<(u32, u32, usize)>,
    bytes: Vec<u8>,
}

impl Heads {
    /// Adds a head. That of an empty value is left out, because the next row is at the same place.
    pub(super) fn push(&mut self, place: Place, head: &[u8]) {
        if !head.is_empty() && place.len > 0 {
            self.places.push((place.segment, place.at, self.bytes.len()));
            self.bytes.extend_from_slice(head);
        }
    }

    /// The head of the row at this place. It is looked for at `next` first, which becomes that of the one behind it: rows that
    /// follow each other usually do so in the journal, too.
    pub(super) fn get(&self, place: Place, next: &mut usize) -> Option<&[u8]> {
        let wanted = (place.segment, place.at);
        let is_there = self.places.get(*next).is_some_and(|(segment, at, _)| (*segment, *at) == wanted);
        let found = || self.places.binary_search_by_key(&wanted, |(segment, at, _)| (*segment, *at));
        let at = if is_there { Ok(*next) } else { found() };
        let at = at.ok().filter(|_| place.len > 0)?;
        *next = at.saturating_add(1);
        let at = at.saturating_add(usize::from(is_planted(Defect::HeadOfNeighbour)));
        let begin = self.places.get(at)?.2;
        let end = self.places.get(at.saturating_add(1)).map_or(self.bytes.len(), |next| next.2);
        self.bytes.get(begin..end)
    }
}
