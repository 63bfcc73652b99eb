//! What a commit does to the rows of the store.

/// One operation of a commit.
///
/// Operations take effect in their order: a later one wins over an earlier one on the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op<'a> {
    /// Stores a row, or replaces it.
    Put {
        /// Identifies the row: 1 to 65,535 bytes.
        key: &'a [u8],
        /// What is [shown](crate::Journal::read_back) of the row without reading its value; at most [`MAX_HEAD`](crate::MAX_HEAD)
        /// bytes, and usually none.
        head: &'a [u8],
        /// The value in pieces, which are stored one after another.
        value: &'a [&'a [u8]],
    },
    /// Removes a row; without effect if there is none.
    Remove {
        /// The row's key.
        key: &'a [u8],
    },
    /// Removes the records of a topic that start in `from..to`, and their marks: the rows whose keys are a byte 2 or 7,
    /// the topic (u32) and the start (u64), both big-endian.
    Trim {
        /// The topic's id.
        topic: u32,
        /// The first start that is removed.
        from: u64,
        /// The first start that stays.
        to: u64,
    },
}

/// The first byte of the keys of records.
pub(crate) const RECORDS: u8 = 2;

/// The first bytes of the keys of records and of their marks, which are followed by the topic (u32) and the offset (u64).
pub(crate) const TRIMMED: [u8; 2] = [RECORDS, 7];

/// The key of the row of this kind that starts at this offset.
pub(crate) fn start_key(kind: u8, topic: u32, start: u64) -> [u8; 13] {
    let mut key = [0; 13];
    if let Some(first) = key.first_mut() {
        *first = kind;
    }
    if let Some(place) = key.get_mut(1..5) {
        place.copy_from_slice(&topic.to_be_bytes());
    }
    if let Some(place) = key.get_mut(5..13) {
        place.copy_from_slice(&start.to_be_bytes());
    }
    key
}

/// The topic and the start in the key of records; `None` for another key.
pub(crate) fn start_of(key: &[u8]) -> Option<(u32, u64)> {
    let (topic, start) = key.strip_prefix(&[RECORDS])?.split_first_chunk()?;
    Some((u32::from_be_bytes(*topic), u64::from_be_bytes(start.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_read_from_the_keys_of_records_only() {
        assert_eq!(start_of(&start_key(RECORDS, 7, 256)), Some((7, 256)));
        let key = start_key(RECORDS, 7, 256);
        for other in [&start_key(7, 7, 256)[..], &key[..12], &[&key[..], &[0]].concat(), &[]] {
            assert_eq!(start_of(other), None);
        }
    }

    #[test]
    fn the_order_of_keys_is_the_order_of_offsets() {
        let keys = [start_key(2, 1, 255), start_key(2, 1, 256), start_key(2, 256, 0), start_key(3, 0, 0)];
        assert!(keys.is_sorted());
    }
}
