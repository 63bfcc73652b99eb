//! Chunks of a topic that are only in the store (rule B8).

use bytes::Bytes;
use zaichik_proto::{Overflow, Start, Timestamp};

use super::Topic;
use super::amount::Amount;
use super::log::{Eviction, Mismatch};
use super::retired::Retired;

impl Topic {
    /// Everything that was staged is durable. Passes on what may be [evicted](Self::evict) from now on.
    pub(crate) fn committed(&mut self, each: impl FnMut(u64)) {
        self.log.committed(each);
    }

    /// Frees the memory of the chunk that starts at this offset, which the store has.
    ///
    /// With `overflow = reject` the exact size of the topic decides about publishes, and with `latest` compaction any record
    /// may die: their records stay.
    pub(crate) fn evict(&mut self, start: u64, now: Timestamp, retired: &mut Retired) -> Eviction {
        if self.settings.overflow == Overflow::Reject || self.is_latest() {
            return Eviction::Never;
        }
        self.log.evict(start, now.as_micros(), retired)
    }

    /// Frees memory of records that were restored, behind the chunk with the first one and that at `from`; returns where the
    /// last chunk began that was looked at. Not if their keys are still needed.
    pub(crate) fn evict_restored(&mut self, from: u64, has_keys: bool, retired: &mut Retired) -> u64 {
        if self.settings.overflow == Overflow::Reject || self.is_latest() || has_keys {
            return from;
        }
        self.log.evict_restored(from, retired)
    }

    /// The records of a cold chunk were read back: what could not be removed from it without them is.
    pub(crate) fn warm(&mut self, now: Timestamp, chunk: (u64, u64), records: Bytes) -> Result<(), Mismatch> {
        let at = now.as_micros();
        self.log.warm(chunk, at, records)?;
        self.age(at);
        self.drop_owed();
        self.drop_oldest(at);
        Ok(())
    }

    /// The offsets of the cold chunk that has this one.
    pub(crate) fn cold_at(&self, offset: u64) -> Option<(u64, u64)> {
        self.log.cold_at(offset)
    }

    /// The offsets of cold chunks that follow each other from this offset on, up to `bytes` of them.
    pub(crate) fn cold_from(&self, offset: u64, bytes: usize) -> impl Iterator<Item = (u64, u64)> {
        self.log.cold_from(offset, bytes)
    }

    /// The offsets of the first chunk, if it has to be read back to know the first record.
    pub(crate) fn owed_front(&self, now: Timestamp) -> Option<(u64, u64)> {
        self.log.owed_front(now.as_micros(), self.settings.retention_ttl_micros)
    }

    /// The offsets of the chunk that has to be read back to know where a subscription starts.
    pub(crate) fn chunk_of_start(&self, now: Timestamp, start: Start) -> Option<(u64, u64)> {
        match start {
            Start::Latest => None,
            Start::Earliest | Start::Offset(_) => self.owed_front(now),
            Start::Time(time) => self.log.cold_since(time).or_else(|| self.owed_front(now)),
        }
    }

    /// The offsets of a chunk that has to be read back to know whether this many records and bytes can be appended: with
    /// `overflow = reject`, if they do not fit besides the others, and the records that would make room may end in it.
    pub(crate) fn chunk_for_room(&self, now: Timestamp, records: u64, bytes: u64) -> Option<(u64, u64)> {
        if self.settings.overflow != Overflow::Reject || !self.log.has_cold() {
            return None;
        }
        let (limits, added) = (self.limits(), Amount { records, bytes });
        let mut all = self.log.amount_alive();
        all.add(added);
        if all.fits(limits) {
            return None;
        }
        // Some of them may be duplicates, and others be refused: then less room is needed.
        let range = (limits, limits.without(added));
        self.log.cold_within(range, now.as_micros(), self.settings.retention_ttl_micros)
    }

    /// Bytes of records that are only in the store.
    pub(crate) const fn cold_bytes(&self) -> u64 {
        self.log.cold_bytes()
    }
}
