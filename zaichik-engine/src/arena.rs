//! Values in fixed places, in blocks that are allocated and freed one by one (rule S14).
//!
//! A growing vector moves all of its values at once; this never moves one. Memory of a block is freed when its last
//! value is removed.

/// Maximum bytes of a block, unless it has [`FEWEST`] places.
const BLOCK_BYTES: usize = 32 << 10;

/// Minimum and maximum places of a block.
const FEWEST: u32 = 16;
const MOST: u32 = 256;

/// No place.
const NONE: u32 = u32::MAX;

/// Values by number. Every call takes O(1), besides allocating or freeing one block.
#[derive(Debug)]
pub(crate) struct Arena<T> {
    blocks: Vec<Block<T>>,
    /// The blocks that are not full.
    open: Vec<u32>,
    len: usize,
    /// Places that are allocated and hold no value.
    spare: usize,
}

#[derive(Debug)]
struct Block<T> {
    /// Empty while no value is in it.
    places: Vec<Place<T>>,
    /// The first vacant place.
    vacant: u32,
    values: usize,
}

#[derive(Debug)]
enum Place<T> {
    Value(T),
    /// The next vacant one.
    Vacant(u32),
}

impl<T> Arena<T> {
    /// Places of a block: a power of two.
    const BLOCK: u32 = {
        let mut places = MOST;
        while places > FEWEST && places as usize * size_of::<Place<T>>() > BLOCK_BYTES {
            places /= 2;
        }
        places
    };

    pub(crate) const fn new() -> Self {
        Self { blocks: Vec::new(), open: Vec::new(), len: 0, spare: 0 }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Places allocated.
    pub(crate) const fn capacity(&self) -> usize {
        self.len.saturating_add(self.spare)
    }

    /// Places that are allocated and hold no value.
    #[inline]
    pub(crate) const fn spare(&self) -> usize {
        self.spare
    }

    /// A number above those of all values.
    pub(crate) fn end(&self) -> u32 {
        u32::try_from(self.blocks.len()).unwrap_or(NONE).saturating_mul(Self::BLOCK)
    }

    /// The number that the next value gets.
    pub(crate) fn next_number(&self) -> u32 {
        let block = self.open.last().map_or(self.blocks.len(), |open| *open as usize);
        let place = self.blocks.get(block).map_or(0, |block| match block.vacant {
            NONE => u32::try_from(block.places.len()).unwrap_or(NONE),
            vacant => vacant,
        });
        u32::try_from(block).unwrap_or(NONE).saturating_mul(Self::BLOCK).saturating_add(place)
    }

    /// Bytes allocated.
    pub(crate) fn footprint(&self) -> usize {
        let blocks = self.capacity().saturating_mul(size_of::<Place<T>>());
        let table = self.blocks.capacity().saturating_mul(size_of::<Block<T>>());
        blocks.saturating_add(table).saturating_add(self.open.capacity().saturating_mul(4))
    }

    /// The values, in the order of their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.blocks.iter().flat_map(|block| &block.places).filter_map(|place| match place {
            Place::Value(value) => Some(value),
            Place::Vacant(_) => None,
        })
    }

    #[inline]
    pub(crate) fn get(&self, number: u32) -> Option<&T> {
        let (block, place) = Self::split(number);
        match self.blocks.get(block)?.places.get(place)? {
            Place::Value(value) => Some(value),
            Place::Vacant(_) => None,
        }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        let (block, place) = Self::split(number);
        match self.blocks.get_mut(block)?.places.get_mut(place)? {
            Place::Value(value) => Some(value),
            Place::Vacant(_) => None,
        }
    }

    /// Adds a value; returns its number, which may be that of a removed one.
    pub(crate) fn insert(&mut self, value: T) -> u32 {
        let index = self.open.last().copied().unwrap_or_else(|| {
            let index = u32::try_from(self.blocks.len()).unwrap_or(NONE);
            self.blocks.push(Block { places: Vec::new(), vacant: NONE, values: 0 });
            self.open.push(index);
            index
        });
        let Some(block) = self.blocks.get_mut(index as usize) else {
            debug_assert!(false, "more values than numbers");
            return NONE;
        };
        let before = block.places.capacity();
        let place = block.insert(value);
        let more = block.places.capacity().saturating_sub(before);
        self.spare = self.spare.saturating_add(more).saturating_sub(1);
        if block.values >= Self::BLOCK as usize {
            self.open.pop();
        }
        self.len = self.len.saturating_add(1);
        index.saturating_mul(Self::BLOCK).saturating_add(place)
    }

    pub(crate) fn remove(&mut self, number: u32) -> Option<T> {
        let (index, place) = Self::split(number);
        let block = self.blocks.get_mut(index)?;
        let value = block.remove(place)?;
        (self.len, self.spare) = (self.len.saturating_sub(1), self.spare.saturating_add(1));
        if block.values.saturating_add(1) == Self::BLOCK as usize {
            self.open.push(u32::try_from(index).unwrap_or(NONE));
        }
        if block.values == 0 {
            self.spare = self.spare.saturating_sub(block.places.capacity());
            (block.places, block.vacant) = (Vec::new(), NONE);
        }
        if self.len == 0 {
            *self = Self::new();
        }
        Some(value)
    }

    #[expect(clippy::arithmetic_side_effects, reason = "a block has places")]
    const fn split(number: u32) -> (usize, usize) {
        ((number / Self::BLOCK) as usize, (number % Self::BLOCK) as usize)
    }
}

impl<T> Block<T> {
    fn insert(&mut self, value: T) -> u32 {
        self.values = self.values.saturating_add(1);
        if let Some(place) = self.places.get_mut(self.vacant as usize)
            && let Place::Vacant(next) = *place
        {
            *place = Place::Value(value);
            return core::mem::replace(&mut self.vacant, next);
        }
        self.places.push(Place::Value(value));
        u32::try_from(self.places.len().saturating_sub(1)).unwrap_or(NONE)
    }

    fn remove(&mut self, index: usize) -> Option<T> {
        let place = self.places.get_mut(index)?;
        if matches!(place, Place::Vacant(_)) {
            return None;
        }
        let removed = core::mem::replace(place, Place::Vacant(self.vacant));
        (self.vacant, self.values) = (u32::try_from(index).unwrap_or(NONE), self.values.saturating_sub(1));
        match removed {
            Place::Value(value) => Some(value),
            Place::Vacant(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::vec as vec_of;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn memory_of_a_block_is_freed_with_its_last_value() {
        let mut arena = Arena::new();
        let numbers: Vec<_> = (0..2_000u64).map(|value| arena.insert(value)).collect();
        let full = arena.footprint();
        for number in &numbers[10..] {
            assert!(arena.remove(*number).is_some() && arena.remove(*number).is_none());
        }
        assert!(arena.footprint() < full / 2 && arena.get(numbers[9]) == Some(&9));
        assert_eq!(arena.iter().copied().collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
        numbers[..10].iter().for_each(|number| assert!(arena.remove(*number).is_some()));
        assert_eq!((arena.len(), arena.footprint()), (0, 0));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn an_arena_agrees_with_a_map(actions in vec_of((any::<bool>(), 0..700usize), 0..2_000)) {
            let (mut arena, mut map) = (Arena::new(), BTreeMap::new());
            for (step, (adds, which)) in (0u64..).zip(actions) {
                if adds {
                    prop_assert_eq!(map.insert(arena.insert(step), step), None);
                } else if let Some(number) = map.keys().nth(which).copied() {
                    prop_assert_eq!(arena.remove(number), map.remove(&number));
                }
                prop_assert_eq!(arena.len(), map.len());
                let places: usize = arena.blocks.iter().map(|block| block.places.capacity()).sum();
                prop_assert_eq!(arena.capacity(), places);
            }
            prop_assert!(arena.iter().eq(map.values()));
            prop_assert!(map.iter().all(|(number, value)| arena.get(*number) == Some(value)));
        }
    }
}
