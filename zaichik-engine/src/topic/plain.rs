//! The fast path into the log, for publishes whose records need not be inspected one by one.
//!
//! It is a special case of [`Topic::publish`], and appends the same records. A publish qualifies if
//!
//! - no record's key is looked up,
//! - offsets remain,
//! - no record can exceed a size limit, because all of them together do not,
//! - all of it fits besides the retained records; or the oldest records may be dropped for it, which
//!   [`Topic::appended`] does once for all publishes of a run.
//!
//! Everything else, and every refusal, is left to the slow path.

use zaichik_proto::{Overflow, PlainPublishes, RECORD_OVERHEAD, Records, Timestamp};

use super::amount::Amount;
use super::{Retired, Topic};

/// Consecutive publishes of one record each that were appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AppendedRun {
    /// The request of the first one.
    pub(crate) request: u32,
    pub(crate) first_offset: u64,
    /// Their number, at least one.
    pub(crate) count: u32,
    /// Bytes of their records.
    pub(crate) bytes: usize,
}

impl Topic {
    /// Appends the records of a publish that qualifies, and returns the offset of the first one; else changes nothing.
    #[inline]
    pub(crate) fn append_plain(
        &mut self,
        now: Timestamp,
        records: Records<'_>,
        max_message: u32,
        retired: &mut Retired,
    ) -> Option<u64> {
        let added = Amount { records: u64::from(records.len()), bytes: records.as_bytes().len() as u64 };
        if added.bytes > u64::from(max_message) || !added.fits(self.plain_room(now, added)?) {
            return None;
        }
        let first = self.log.end();
        self.last_append = now;
        if self.is_unread() {
            self.log.skip(added.records, now.as_micros());
            return Some(first);
        }
        for (record, head) in records.heads() {
            self.log.append(record, head.ttl_micros, now.as_micros(), retired);
        }
        Some(first)
    }

    /// Appends the leading publishes that qualify, as long as their records have at most `bytes` bytes; `None` if there
    /// is none. Not inlined, because the loop would have too few registers in a large caller.
    #[inline(never)]
    pub(crate) fn append_alike(
        &mut self,
        now: Timestamp,
        alike: &mut PlainPublishes<'_, '_>,
        bytes: usize,
        max_message: u32,
        retired: &mut Retired,
    ) -> Option<AppendedRun> {
        let wanted = Amount { records: (bytes / RECORD_OVERHEAD) as u64, bytes: bytes as u64 };
        let mut room = self.plain_room(now, wanted)?;
        let (first_offset, mut request, mut total) = (self.log.end(), None, 0usize);
        let mut next = |max: usize| {
            if room.records == 0 {
                return None;
            }
            let left = usize::try_from(room.bytes).unwrap_or(usize::MAX);
            let (number, record) = alike.next_within(max.min(left).min(max_message as usize))?;
            request.get_or_insert(number);
            room.subtract(Amount::one(record.len() as u64));
            total = total.saturating_add(record.len());
            Some(record)
        };
        if self.is_unread() {
            let records = core::iter::from_fn(|| next(usize::MAX));
            let count = records.fold(0, |count: u64, _| count.saturating_add(1));
            // Without records nobody would charge what this allocates.
            if count > 0 {
                self.log.skip(count, now.as_micros());
            }
        } else {
            self.log.append_run(now.as_micros(), retired, next);
        }
        let request = request?;
        self.last_append = now;
        let count = u32::try_from(self.log.end().saturating_sub(first_offset)).unwrap_or(u32::MAX);
        Some(AppendedRun { request, first_offset, count, bytes: total })
    }

    /// The part of this amount that qualifies; `None` if nothing does.
    #[inline]
    fn plain_room(&mut self, now: Timestamp, wanted: Amount) -> Option<Amount> {
        if self.remembers_keys() || self.is_latest() || !self.has_offsets(wanted.records) {
            return None;
        }
        let limits = self.limits();
        let free = limits.without(self.log.amount_alive());
        if wanted.fits(free) {
            return Some(wanted);
        }
        if self.log.is_behind(now.as_micros()) {
            return None;
        }
        if self.settings.overflow != Overflow::DropOldest {
            return Some(free.min(wanted));
        }
        // A limit will remove something: first remove committed and expired records, so that their removal is not
        // attributed to the limit (rule R9).
        self.age(now.as_micros());
        Some(wanted.min(limits))
    }
}
