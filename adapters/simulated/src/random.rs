//! Numbers that look random and are the same for the same seed (`SplitMix64`).

/// A sequence of pseudo-random numbers.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// An index below `len`; 0 if `len` is 0.
    pub(crate) fn index(&mut self, len: usize) -> usize {
        let drawn = self.next().checked_rem(len as u64).unwrap_or(0);
        usize::try_from(drawn).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_below_the_count() {
        let mut random = Random::new(0);
        let drawn: Vec<_> = (0..100).map(|_| random.index(3)).collect();
        assert!(
            (0..3).all(|index| drawn.contains(&index)) && drawn.iter().all(|index| *index < 3),
            "{drawn:?}"
        );
        assert_eq!(random.index(0), 0);
    }
}
