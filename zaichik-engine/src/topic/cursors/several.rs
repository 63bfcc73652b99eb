//! Many cursors, as the leaves of a tree in which each node is the lowest of 64 below it.

/// Children of a node.
const WIDTH: usize = 64;

/// A place without a cursor: no cursor is that high.
const VACANT: u64 = u64::MAX;

/// Cursors by place. Every call takes O(log n), mostly O(1); the lowest cursor is at hand. No call moves more than a
/// sixty-fourth of the cursors. Memory: about 9 bytes for each cursor at the highest number of them.
#[derive(Debug, Default)]
pub(super) struct Several {
    leaves: Vec<Leaf>,
    /// The lowest cursor of each leaf, the lowest of 64 of those, and so on; the last level has at most 64 nodes.
    levels: Vec<Vec<u64>>,
    /// The leaves that may have a vacant place.
    open: Vec<u32>,
    len: usize,
}

/// Up to 64 cursors.
#[derive(Debug, Default)]
struct Leaf {
    places: Vec<u64>,
    /// Bits of the places in use.
    used: u64,
}

impl Several {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// The lowest cursor.
    pub(super) fn lowest(&self) -> Option<u64> {
        self.levels.last()?.iter().min().copied().filter(|_| self.len > 0)
    }

    /// Adds a cursor; returns its place, which may be that of a removed one.
    pub(super) fn insert(&mut self, cursor: u64) -> u32 {
        let is_full = |leaf: &Leaf| leaf.used == u64::MAX;
        while self.open.pop_if(|open| self.leaves.get(*open as usize).is_none_or(is_full)).is_some() {}
        let number = self.open.last().map_or(self.leaves.len(), |open| *open as usize);
        if number == self.leaves.len() {
            self.open.push(u32::try_from(number).unwrap_or(u32::MAX));
            self.leaves.push(Leaf::default());
        }
        let place = self.leaves.get_mut(number).map_or(0, Leaf::take_place);
        self.len = self.len.saturating_add(1);
        let id = u32::try_from(number.saturating_mul(WIDTH).saturating_add(place)).unwrap_or(u32::MAX);
        self.set(id, cursor);
        id
    }

    /// Moves a cursor.
    #[inline]
    pub(super) fn set(&mut self, id: u32, to: u64) {
        let (leaf, place) = split(id as usize);
        let Some(cursor) = self.leaves.get_mut(leaf).and_then(|leaf| leaf.places.get_mut(place)) else {
            debug_assert!(false, "{id} is not a cursor of this topic");
            return;
        };
        let before = core::mem::replace(cursor, to);
        // Usually another one is lower than it was, and than it is.
        let lowest = self.levels.first().and_then(|level| level.get(leaf)).copied();
        if lowest.is_none_or(|lowest| before <= lowest || to < lowest) {
            self.update(leaf);
        }
    }

    /// Removes a cursor.
    pub(super) fn remove(&mut self, id: u32) {
        let (number, place) = split(id as usize);
        self.set(id, VACANT);
        let Some(leaf) = self.leaves.get_mut(number) else { return };
        if leaf.used == u64::MAX {
            self.open.push(u32::try_from(number).unwrap_or(u32::MAX));
        }
        let used = leaf.used & !(1 << place);
        debug_assert!(used != leaf.used, "{id} is not a cursor of this topic");
        leaf.used = used;
        self.len = self.len.saturating_sub(1);
    }

    /// Bytes allocated.
    pub(super) fn footprint(&self) -> usize {
        let leaves = self.leaves.capacity().saturating_mul(size_of::<Leaf>());
        let all_but_last = self.leaves.len().saturating_sub(1).saturating_mul(WIDTH);
        let last = self.leaves.last().map_or(0, |leaf| leaf.places.capacity());
        let nodes = self.levels.iter().map(Vec::capacity).fold(all_but_last, usize::saturating_add);
        let levels = self.levels.capacity().saturating_mul(size_of::<Vec<u64>>());
        let own = size_of::<Self>().saturating_add(self.open.capacity().saturating_mul(4));
        let cursors = nodes.saturating_add(last).saturating_mul(8);
        own.saturating_add(leaves).saturating_add(levels).saturating_add(cursors)
    }

    /// Recounts the nodes above a leaf, until one does not change.
    fn update(&mut self, leaf: usize) {
        let (mut number, mut height) = (leaf, 0usize);
        let mut lowest = self.leaves.get(leaf).map_or(VACANT, |leaf| lowest_of(&leaf.places));
        loop {
            let is_known = self.place_node(height, number, lowest);
            let Some(level) = self.levels.get(height).filter(|level| level.len() > WIDTH) else { return };
            let (parent, _) = split(number);
            let has_parent = self.levels.get(height.saturating_add(1)).is_some_and(|up| parent < up.len());
            if is_known && has_parent {
                return;
            }
            if self.levels.len() == height.saturating_add(1) {
                // This level was the top one until now.
                let first = lowest_of(level.get(..WIDTH).unwrap_or_default());
                self.levels.push(vec![first]);
            }
            let from = parent.saturating_mul(WIDTH);
            let children = self.levels.get(height).and_then(|level| level.get(from..));
            lowest = children.map_or(VACANT, |children| lowest_of(children.get(..WIDTH).unwrap_or(children)));
            (number, height) = (parent, height.saturating_add(1));
        }
    }

    /// Sets a node, which is added if it is missing; returns whether it had this value before.
    fn place_node(&mut self, height: usize, number: usize, lowest: u64) -> bool {
        if height == self.levels.len() {
            self.levels.push(Vec::new());
        }
        let Some(level) = self.levels.get_mut(height) else { return true };
        if number >= level.len() {
            level.resize(number.saturating_add(1), VACANT);
        }
        level.get_mut(number).is_none_or(|node| core::mem::replace(node, lowest) == lowest)
    }
}

impl Leaf {
    /// The first vacant place, which is in use from now on.
    fn take_place(&mut self) -> usize {
        let place = self.used.trailing_ones() as usize;
        if place == self.places.len() {
            self.places.push(VACANT);
        }
        self.used |= 1u64.checked_shl(self.used.trailing_ones()).unwrap_or_default();
        place
    }
}

fn lowest_of(cursors: &[u64]) -> u64 {
    cursors.iter().min().copied().unwrap_or(VACANT)
}

const fn split(number: usize) -> (usize, usize) {
    (number / WIDTH, number % WIDTH)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::vec as vec_of;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_lowest_of_many_cursors_is_that_of_a_scan_on_every_level() {
        let (mut several, mut all) = (Several::default(), BTreeMap::new());
        let count = 64 * 64 + 100;
        for cursor in (1..=count).rev() {
            assert_eq!(all.insert(several.insert(cursor), cursor), None);
            assert_eq!(several.lowest(), Some(cursor));
        }
        assert_eq!(several.levels.len(), 2);
        // The lowest is raised above all others, again and again.
        for round in 1..=count {
            let lowest = several.lowest().expect("there are cursors");
            assert_eq!(lowest, round);
            let id = u32::try_from(count - round).expect("a small number");
            several.set(id, count + round);
        }
        for id in 0..u32::try_from(count).expect("a small number") {
            several.remove(id);
        }
        assert_eq!((several.len(), several.lowest()), (0, None));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 32, ..ProptestConfig::default() })]

        #[test]
        fn the_lowest_of_several_cursors_is_that_of_a_scan(
            grown in 0..4_500u64,
            actions in vec_of((0..4u8, 0..4_500usize, 0..20_000u64), 0..100),
        ) {
            let (mut several, mut all) = (Several::default(), BTreeMap::new());
            for cursor in 0..grown {
                all.insert(several.insert(cursor), cursor);
            }
            for (action, which, to) in actions {
                let id = all.keys().nth(which).or_else(|| all.keys().next()).copied();
                match (action, id) {
                    (0, _) | (_, None) => prop_assert_eq!(all.insert(several.insert(to), to), None),
                    (1, Some(id)) => {
                        several.remove(id);
                        all.remove(&id);
                    }
                    (_, Some(id)) => {
                        several.set(id, to);
                        all.insert(id, to);
                    }
                }
                prop_assert_eq!(several.lowest(), all.values().min().copied());
                prop_assert_eq!(several.len(), all.len());
            }
        }
    }
}
