//! The keys of a publisher's messages.

/// Distinct keys that messages carry in no apparent order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Keys {
    /// The publisher, which has keys of its own.
    pub(crate) publisher: u64,
    /// The number of keys.
    pub(crate) count: u64,
}

/// An odd number near 2^64 divided by the golden ratio: its multiples are spread over all numbers.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Low bits of a multiple, which are spread worse.
const LOW_BITS: u32 = 20;

impl Keys {
    /// Which key the message with this number carries, from 0 on.
    pub(crate) const fn of(&self, number: u64) -> u64 {
        let spread = number.wrapping_mul(SPREAD) >> LOW_BITS;
        match spread.checked_rem(self.count) {
            Some(key) => key,
            None => 0,
        }
    }

    /// That key as a message carries it.
    pub(crate) fn bytes(&self, number: u64) -> Vec<u8> {
        format!("{:x}-{:x}", self.publisher, self.of(number)).into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn messages_carry_most_of_the_keys_and_no_others() {
        let keys = Keys { publisher: 7, count: 1_000 };
        let drawn: BTreeSet<u64> = (0..3_000).map(|number| keys.of(number)).collect();
        assert!(drawn.iter().all(|key| *key < 1_000));
        assert!(drawn.len() > 800, "{}", drawn.len());
        assert_eq!(keys.bytes(0), b"7-0");
    }

    #[test]
    fn publishers_have_different_keys() {
        let [one, two] = [1, 2].map(|publisher| Keys { publisher, count: 1 });
        assert_eq!(one.of(5), two.of(9));
        assert_ne!(one.bytes(5), two.bytes(9));
    }
}
