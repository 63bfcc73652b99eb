//! The keys of `first` compaction as rows, and from them.

use bytes::Bytes;
use zaichik_proto::Timestamp;

use super::{Era, KeyStatus, Keys};
use crate::queue::Queue;
use crate::store::{self, RememberedKey};

impl Keys {
    /// The offset of the oldest key; `None` without keys.
    pub(in crate::topic) fn oldest(&self) -> Option<u64> {
        self.entries.front().map(|entry| entry.offset)
    }

    /// The windows of the keys, by offset; none without keys.
    pub(in crate::topic) fn eras(&self) -> Vec<store::Era> {
        if self.entries.len() == 0 {
            return Vec::new();
        }
        // Eras that are over may still be at the front.
        let over = self.eras.partition_point(|_, era| era.from <= self.first).saturating_sub(1);
        let eras = self.eras.iter().skip(over);
        eras.map(|era| store::Era { from: era.offset, window_micros: era.window }).collect()
    }

    /// The keys of records from an offset on for which a condition holds, in order.
    pub(in crate::topic) fn remembered_keys(
        &self,
        from: u64,
        includes: impl Fn(u64) -> bool,
    ) -> impl Iterator<Item = RememberedKey> {
        let first = self.entries.partition_point(|_, entry| entry.offset < from);
        let last = self.bytes_gone.saturating_add(self.bytes.len() as u64);
        let place = |at: u64| usize::try_from(at.saturating_sub(self.bytes_gone)).unwrap_or(usize::MAX);
        let entries = (first..self.entries.len()).filter_map(|index| Some((index, self.entries.get(index)?)));
        entries.filter(move |(_, entry)| includes(entry.offset)).map(move |(index, entry)| {
            let end = self.entries.get(index.saturating_add(1)).map_or(last, |next| next.start);
            let (end, len) = (place(end).min(self.bytes.len()), self.bytes.len());
            let bytes = place(entry.start).min(end).min(len)..end;
            let key: Vec<u8> = bytes.filter_map(|index| self.bytes.get(index)).collect();
            let accepted = Timestamp::from_micros(entry.accepted);
            RememberedKey { offset: entry.offset, accepted, key: Bytes::from(key) }
        })
    }

    /// The keys of records accepted before a restart, in order, that are still remembered at `now`; `None` without keys.
    /// Each is an offset, the time of acceptance and the key.
    ///
    /// # Errors
    /// The offset of a key that another record has within its window, or that was accepted earlier than the one before.
    pub(in crate::topic) fn restore<'a>(
        hash_key: u128,
        eras: &[store::Era],
        keys: impl Iterator<Item = (u64, u64, &'a [u8])>,
        now: u64,
    ) -> Result<Option<Box<Self>>, u64> {
        let mut restored = Self { eras: Queue::new(), ..Self::new(hash_key, 0, 0) };
        let (mut windows, mut last) = (eras.iter().peekable(), 0);
        for (offset, accepted, key) in keys {
            while let Some(era) = windows.next_if(|era| era.from <= offset) {
                restored.begin_era(era);
            }
            let Some(window) = restored.eras.back().map(|era| era.window) else {
                continue;
            };
            if accepted < last {
                return Err(offset);
            }
            last = accepted;
            if accepted.saturating_add(window) <= now {
                continue;
            }
            if restored.accept(key, accepted, offset, u64::MAX) != KeyStatus::New {
                return Err(offset);
            }
        }
        if restored.entries.len() == 0 {
            return Ok(None);
        }
        windows.for_each(|era| restored.begin_era(era));
        Ok(Some(Box::new(restored)))
    }

    /// Records from an offset on were accepted in another era.
    fn begin_era(&mut self, era: &store::Era) {
        let from = self.next_number();
        // An era of which no key is remembered is over.
        if self.eras.back().is_some_and(|last| last.from == from) {
            self.eras.truncate(self.eras.len().saturating_sub(1));
        }
        self.eras.extend(&[Era { from, offset: era.from, window: era.window_micros }]);
    }
}
