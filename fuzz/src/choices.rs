//! Decodes choices from bytes, one byte each, which a fuzzer mutates and a property test shrinks.

/// Decodes choices. Without bytes each choice is the first alternative, the smallest number, or nothing.
pub(crate) struct Choices<'a> {
    rest: &'a [u8],
}

impl<'a> Choices<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        *first
    }

    /// The unread bytes.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Up to `count` bytes, unchanged.
    pub(crate) fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// A number from 0 to `end`, exclusive; `end` is from 1 to 256.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end
    }

    /// A number from `low` to `high`, exclusive, which are at most 256 apart.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        low + i64::from(self.byte()) % (high - low)
    }

    pub(crate) fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// The index of an alternative, given the weights of all; they add up to at most 256.
    pub(crate) fn weighted(&mut self, weights: &[usize]) -> usize {
        let mut at = self.below(weights.iter().sum());
        weights.iter().take_while(|weight| at.checked_sub(**weight).map(|rest| at = rest).is_some()).count()
    }

    /// True in `percent` of all cases.
    pub(crate) fn chance(&mut self, percent: u32) -> bool {
        u32::from(self.byte()) * 100 >= 256 * (100 - percent)
    }

    pub(crate) fn maybe<T>(&mut self, percent: u32, some: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.chance(percent).then(|| some(self))
    }

    /// A list whose length is the first choice: from `least` to `most`, inclusive.
    pub(crate) fn some<T>(
        &mut self,
        least: usize,
        most: usize,
        mut each: impl FnMut(&mut Self) -> T,
    ) -> Vec<T> {
        let count = least + self.below(most - least + 1);
        (0..count).map(|_| each(self)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Choices;

    #[test]
    fn every_alternative_can_be_chosen_and_the_first_is_the_default() {
        let of = |weights: &[usize], byte| Choices::new(&[byte]).weighted(weights);
        let all: Vec<_> = (0..6).map(|byte| of(&[1, 2, 3], byte)).collect();
        assert_eq!(all, [0, 1, 1, 2, 2, 2]);
        let mut nothing = Choices::new(&[]);
        assert_eq!((nothing.weighted(&[1, 2]), nothing.one_of(&[7, 8]), nothing.below(3)), (0, 7, 0));
        assert!(!nothing.chance(99) && nothing.chance(100) && Choices::new(&[255]).chance(1));
        assert_eq!(nothing.some(2, 5, Choices::byte), [0, 0]);
        assert_eq!(Choices::new(&[2, 9, 8, 7]).some(1, 3, Choices::byte), [9, 8, 7]);
    }
}
