//! The lowest cursor of a topic's subscriptions, without a scan.
//!
//! Most topics have one subscription: its cursor is kept inline, and nothing is allocated. Several are the leaves of a
//! tree of lowest values, so that a commit and a query are bounded (rule S14).

mod several;

use self::several::Several;

/// Cursors of the subscriptions of one topic.
#[derive(Debug, Default)]
pub(crate) struct Cursors {
    /// The only cursor, with the id [`ONLY`]; `None` while there are several.
    only: Option<u64>,
    /// Two or more cursors, or the remainder of these until there are none.
    several: Option<Box<Several>>,
}

/// Identifies a cursor within its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CursorId(u32);

/// The id of a cursor that was the only one; it keeps the id when others are added.
const ONLY: CursorId = CursorId(0);

impl Cursors {
    pub(crate) fn insert(&mut self, cursor: u64) -> CursorId {
        if self.is_empty() {
            self.only = Some(cursor);
            return ONLY;
        }
        let several = self.several.get_or_insert_default();
        if let Some(only) = self.only.take() {
            // The first place is that of ONLY.
            several.insert(only);
        }
        CursorId(several.insert(cursor))
    }

    /// Moves a cursor.
    #[inline]
    pub(crate) fn set(&mut self, id: CursorId, to: u64) {
        if let Some(only) = &mut self.only {
            debug_assert!(id == ONLY, "{id:?} is not a cursor of this topic");
            *only = to;
        } else if let Some(several) = &mut self.several {
            several.set(id.0, to);
        } else {
            debug_assert!(false, "{id:?} is not a cursor of this topic");
        }
    }

    pub(crate) fn remove(&mut self, id: CursorId) {
        if id == ONLY && self.only.take().is_some() {
            return;
        }
        if let Some(several) = &mut self.several {
            several.remove(id.0);
            if several.len() == 0 {
                self.several = None;
            }
        }
    }

    /// The lowest cursor; `None` without subscriptions.
    #[inline]
    pub(crate) fn lowest(&self) -> Option<u64> {
        self.only.or_else(|| self.several.as_ref()?.lowest())
    }

    pub(crate) fn len(&self) -> usize {
        let several = self.several.as_ref().map_or(0, |several| several.len());
        several.saturating_add(usize::from(self.only.is_some()))
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.only.is_none() && self.several.is_none()
    }

    /// Bytes allocated.
    pub(crate) fn footprint(&self) -> usize {
        self.several.as_ref().map_or(0, |several| several.footprint())
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec as vec_of;
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Action {
        Insert(u64),
        Set(usize, u64),
        Remove(usize),
        Lowest,
    }

    fn action() -> impl Strategy<Value = Action> {
        prop_oneof![
            // Few inserts, so that often no cursor or one is left.
            3 => (0..20u64).prop_map(Action::Insert),
            8 => (0..8usize, 0..20u64).prop_map(|(which, to)| Action::Set(which, to)),
            3 => (0..8usize).prop_map(Action::Remove),
            4 => Just(Action::Lowest),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_lowest_cursor_is_that_of_a_scan(actions in vec_of(action(), 1..200)) {
            let mut cursors = Cursors::default();
            let mut all: Vec<(CursorId, u64)> = Vec::new();
            for action in actions {
                match action {
                    Action::Insert(at) => all.push((cursors.insert(at), at)),
                    Action::Set(which, to) => {
                        if let Some((id, cursor)) = all.get_mut(which) {
                            *cursor = to;
                            cursors.set(*id, to);
                        }
                    }
                    Action::Remove(which) if which < all.len() => cursors.remove(all.swap_remove(which).0),
                    Action::Remove(_) => {}
                    Action::Lowest => {
                        let lowest = all.iter().map(|(_, cursor)| *cursor).min();
                        prop_assert_eq!(cursors.lowest(), lowest);
                    }
                }
                prop_assert_eq!(cursors.len(), all.len());
            }
        }
    }
}
