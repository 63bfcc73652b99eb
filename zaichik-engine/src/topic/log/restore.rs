//! A log that is built from its rows.

use bytes::{Bytes, BytesMut};
use zaichik_proto::{RecordHead, RecordRef};

use super::Log;
use super::chunk::{CHUNK, Chunk, Cold, Span, own_death};
use super::deaths::RecordInfo;
use super::losses::{Losses, SparseIndex};
use crate::store::{Mark, RecordsHead, RecordsRow, RunKind};
use crate::topic::amount::Amount;
use crate::topic::position::Position;
use crate::topic::retired::Retired;

/// A record of a log that is being restored.
pub(in crate::topic) struct Restored<'a> {
    pub(in crate::topic) info: RecordInfo,
    pub(in crate::topic) key: Option<&'a [u8]>,
}

impl Log {
    /// Appends a row's records; `false` if it does not continue the log.
    pub(in crate::topic) fn restore_records(&mut self, row: RecordsRow, retired: &mut Retired) -> bool {
        let mut rest = &row.data[..];
        let is_earlier = RecordHead::peek(rest).is_some_and(|head| head.timestamp < self.last_timestamp);
        if row.start != self.end || is_earlier || row.last_timestamp.as_micros() < self.last_timestamp {
            return false;
        }
        if row.runs.iter().any(|run| run.kind != RunKind::Present) {
            self.restore_sparse(row, retired);
            return true;
        }
        // A row lies within one part, so that it can be removed with it.
        if self.tail.capacity().saturating_sub(self.tail.len()) < rest.len() {
            self.reserve_tail(rest.len(), retired);
        }
        while let Some(head) = RecordHead::peek(rest) {
            let Some((record, tail)) = rest.split_at_checked(head.len) else {
                debug_assert!(false, "a row is checked when it is read");
                return false;
            };
            self.append(record, head.ttl_micros, head.timestamp, retired);
            rest = tail;
        }
        true
    }

    /// Appends the records of a row that stay in the store; `false` if it does not continue the log. Short rows become one
    /// chunk, but none has records on both sides of the offset `divided_at`.
    pub(in crate::topic) fn restore_cold(
        &mut self,
        head: &RecordsHead,
        divided_at: u64,
        retired: &mut Retired,
    ) -> bool {
        let (first_timestamp, last_timestamp) =
            (head.first_timestamp.as_micros(), head.last_timestamp.as_micros());
        if head.start != self.end || first_timestamp < self.last_timestamp {
            return false;
        }
        self.close_allocation(false, retired);
        (self.tail, self.tail_charge) = (BytesMut::new(), 0);
        if self.is_empty() {
            (self.first_timestamp, self.first_own_death) = (first_timestamp, u64::MAX);
            self.first_bytes = self.end_bytes;
        }
        let (end, len) = (head.end(), head.bytes as usize);
        let last = self.chunks.back_mut().filter(|_| head.start != divided_at);
        let joined = last.and_then(|chunk| Some((&mut chunk.span, &mut chunk.end, chunk.cold.as_mut()?)));
        let joined = joined.filter(|(.., cold)| cold.len.saturating_add(len) <= CHUNK);
        if let Some((span, chunk_end, cold)) = joined {
            (span.last_timestamp, *chunk_end) = (last_timestamp, end);
            cold.len = cold.len.saturating_add(len);
            self.cold_bytes = self.cold_bytes.saturating_add(len as u64);
        } else {
            let span = Span { start: head.start, base: self.end_bytes, last_timestamp, has_own: false };
            let (allocation, cold) = (self.allocation.wrapping_sub(1), Some(Cold { len, first_timestamp }));
            let data = Bytes::new();
            self.add_chunk(Chunk {
                span,
                end,
                data,
                allocation,
                charge: 0,
                losses: None,
                cold,
                hot_until: 0,
            });
            self.count_cold(len);
        }
        (self.end, self.last_timestamp) = (end, last_timestamp);
        self.end_bytes = self.end_bytes.saturating_add(len as u64);
        true
    }

    /// All records are appended: those below `first` are gone; `false` if that is above the end.
    pub(in crate::topic) fn restore_first(&mut self, first: u64) -> bool {
        self.begin_at(self.first.offset);
        self.raise_first(first);
        self.first.offset == first
    }

    /// Sets when the times of `latest` compaction were changed.
    pub(in crate::topic) fn restore_changed_at(&mut self, at: u64) {
        if let Some(compaction) = &mut self.compaction {
            compaction.deaths.restore_changed_at(at);
        }
    }

    /// A record is dead, or will die when its window is over.
    pub(in crate::topic) fn restore_mark(&mut self, info: RecordInfo, mark: Mark) {
        let Some(compaction) = &mut self.compaction else {
            return;
        };
        match mark {
            Mark::Superseded => compaction.deaths.restore_superseded(info),
            Mark::Dead => {
                let dead = compaction.deaths.restore_dead(info);
                self.mark_record(dead);
            }
        }
    }

    /// The records that are in memory, in order, from about this offset on.
    pub(in crate::topic) fn restored(&self, from: u64) -> impl Iterator<Item = Restored<'_>> {
        let parts = (self.index_of(from)..=self.chunks.len()).filter_map(|index| self.part(index));
        parts.flat_map(|part| {
            let mut rest = part.data;
            part.records(Position::at(part.span.start)).map_while(move |found| {
                let (record, tail) = RecordRef::split_first(rest).ok()?;
                rest = tail;
                let info = RecordInfo {
                    offset: found.offset,
                    timestamp: found.head.timestamp,
                    own_death: own_death(found.head),
                    len: u32::try_from(found.head.len).unwrap_or(u32::MAX),
                    is_tombstone: record.is_tombstone(),
                };
                Some(Restored { info, key: record.key() })
            })
        })
    }

    /// Appends a row that lacks records.
    fn restore_sparse(&mut self, row: RecordsRow, retired: &mut Retired) {
        self.close_allocation(false, retired);
        (self.tail, self.tail_charge) = (BytesMut::new(), 0);
        if self.compaction.is_none() {
            self.track_deaths();
        }
        let last_timestamp = row.last_timestamp.as_micros();
        let span = Span { start: row.start, base: self.end_bytes, last_timestamp, has_own: true };
        let mut sparse = SparseIndex::new(self.end_bytes.saturating_add(row.data.len() as u64));
        let (mut offset, mut byte) = (row.start, 0usize);
        for run in &row.runs {
            let end = offset.saturating_add(run.count);
            match run.kind {
                RunKind::Present => byte = self.keep_run(&mut sparse, (offset, end), &row.data, byte),
                RunKind::Expired => sparse.lose(offset, end),
                RunKind::Superseded => {}
            }
            offset = end;
        }
        let losses = Box::new(Losses::from(sparse));
        if let Some(compaction) = &mut self.compaction {
            compaction.losses_bytes = compaction.losses_bytes.saturating_add(losses.footprint());
        }
        let (data, charge) = (row.data, byte);
        self.chunk_charges = self.chunk_charges.saturating_add(charge);
        self.end_bytes = self.end_bytes.saturating_add(charge as u64);
        (self.end, self.last_timestamp) = (offset, last_timestamp);
        let (end, allocation, losses) = (offset, self.allocation.wrapping_sub(1), Some(losses));
        self.add_chunk(Chunk { span, end, data, allocation, charge, losses, cold: None, hot_until: 0 });
    }

    /// Adds the records of a run that begins at `byte`; returns where it ends.
    fn keep_run(
        &mut self,
        sparse: &mut SparseIndex,
        (from, to): (u64, u64),
        data: &Bytes,
        byte: usize,
    ) -> usize {
        let mut byte = byte;
        for offset in from..to {
            let Some(head) = data.get(byte..).and_then(RecordHead::peek) else {
                debug_assert!(false, "a row is checked when it is read");
                break;
            };
            let stop = byte.saturating_add(head.len);
            let at = |byte: usize| u32::try_from(byte).unwrap_or(u32::MAX);
            sparse.keep(offset, self.end_bytes.saturating_add(byte as u64), at(byte), at(stop));
            let (len, own_death) = (at(head.len), own_death(head));
            if let Some(compaction) = &mut self.compaction {
                compaction.alive.add(Amount::one(u64::from(len)));
                if own_death < u64::MAX {
                    compaction.deaths.track_own(own_death, offset, len);
                }
            }
            byte = stop;
        }
        byte
    }
}
