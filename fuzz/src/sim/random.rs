//! Randomness from one seed: `SplitMix64` seeds xoshiro256++, and each concern has a separate stream.
//!
//! A draw from one stream does not change another, so a client or a class of faults can be left out of a run and the
//! others behave as before.

/// The concern that a stream is for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Concern {
    /// Limits, topics, clients.
    Plan = 1,
    /// The order of events at the same time.
    Order = 2,
    /// Segments, latency, partial writes.
    Net = 3,
    /// Jumps and steps of the clock, late housekeeping.
    Clock = 4,
    /// The actions of clients.
    Work = 5,
    /// Faults of clients and connections.
    Fault = 6,
    /// Pauses of the broker, of clients and of the machine.
    Pause = 7,
    /// The store, and the end of a broker that is restored from it.
    Store = 8,
    /// Which records a restored broker leaves in the store.
    Heads = 9,
    /// What a broker and the one restored from it are asked.
    Pair = 10,
    /// Members of shared subscriptions, and what they do.
    Members = 11,
}

/// A stream of random numbers.
#[derive(Debug, Clone)]
pub(crate) struct Rng([u64; 4]);

impl Rng {
    /// The stream of a concern; `who` identifies a client or connection.
    pub(crate) fn new(seed: u64, concern: Concern, who: u64) -> Self {
        let mut state = mix(seed) ^ mix((concern as u64) << 32 | 0x5eed) ^ mix(who.wrapping_add(1) << 20);
        Self(std::array::from_fn(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            mix(state)
        }))
    }

    pub(crate) fn next(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.0;
        let result = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// A number below `end`; 0 if that is 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        let wide = u128::from(self.next()) * u128::from(end);
        u64::try_from(wide >> 64).unwrap_or_default()
    }

    /// A number from `low` to `high`, inclusive.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// True once in `count` times; never if that is 0.
    pub(crate) fn once_in(&mut self, count: u64) -> bool {
        count > 0 && self.below(count) == 0
    }

    /// One element of a list.
    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.index(from.len())]
    }

    /// An index of a list of length `len`; 0 if it is empty.
    pub(crate) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or_default()
    }
}

/// The finalizer of `SplitMix64`: it decorrelates similar numbers.
pub(crate) const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// An incremental hash, the same on every machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trail(u64);

impl Trail {
    pub(crate) const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    pub(crate) const fn number(&mut self, number: u64) {
        self.0 = mix(self.0.wrapping_add(number).wrapping_add(0x9e37_79b9_7f4a_7c15));
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.number(u64::from_le_bytes(word));
        }
    }

    pub(crate) const fn value(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_independent_and_repeatable() {
        let draw = |concern, who| {
            let mut rng = Rng::new(7, concern, who);
            [rng.next(), rng.next(), rng.next()]
        };
        assert_eq!(draw(Concern::Net, 0), draw(Concern::Net, 0));
        assert_ne!(draw(Concern::Net, 0), draw(Concern::Net, 1));
        assert_ne!(draw(Concern::Net, 0), draw(Concern::Clock, 0));
    }

    #[test]
    fn numbers_stay_within_their_bounds() {
        let mut rng = Rng::new(1, Concern::Plan, 0);
        let drawn: Vec<_> = (0..1_000).map(|_| rng.between(3, 5)).collect();
        assert!([3, 4, 5].iter().all(|number| drawn.contains(number)));
        assert!(drawn.iter().all(|number| (3..=5).contains(number)));
    }
}
