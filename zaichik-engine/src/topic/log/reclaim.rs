//! Dead records: their deaths are settled, and their space is reclaimed.

use zaichik_proto::RecordHead;

use super::Log;
use super::chunk::{CHUNK, Chunk, RecordState};
use super::compaction::Compaction;
use super::deaths::{Dead, RecordInfo, Settled};
use super::losses::{Losses, SparseIndex};
use crate::topic::amount::Amount;
use crate::topic::position::Position;
use crate::topic::retired::Retired;

/// Steps of marking a record as dead: it is taken out of the tables of deaths, and its chunk is found.
const STEPS_PER_DEATH: u64 = 16;

/// Chunks whose places are moved in one step.
const CHUNKS_PER_STEP: usize = 16;

/// Entries of the index of a sparse chunk from which on it is not merged with another one, so that rewriting it is bounded.
const MAX_ENTRIES: usize = 1_024;

impl Log {
    /// Sets the window and the tombstones' time to live of `latest` compaction (rule C6); `None` turns it off. The log
    /// is empty when this turns on or off.
    pub(crate) fn set_latest(&mut self, times: Option<(u64, u64)>, now: u64) {
        self.is_latest = times.is_some();
        let Some((window, tombstone_ttl)) = times else {
            return;
        };
        // Dead records stay dead under any new times. The caller has settled all deaths but the newest.
        self.settle(now, usize::MAX);
        self.compaction.get_or_insert_default().deaths.set(window, tombstone_ttl, now);
    }

    /// Facts about the last record appended.
    pub(crate) fn last(&self, len: usize, own_ttl: Option<u64>, is_tombstone: bool) -> RecordInfo {
        let timestamp = self.last_timestamp;
        let own_death = own_ttl.map_or(u64::MAX, |ttl| timestamp.saturating_add(ttl));
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        RecordInfo { offset: self.end.saturating_sub(1), timestamp, own_death, len, is_tombstone }
    }

    /// Tracks an appended tombstone.
    pub(crate) fn track_tombstone(&mut self, info: RecordInfo) {
        if let Some(compaction) = &mut self.compaction {
            compaction.deaths.track_tombstone(info);
        }
    }

    /// Begins to track deaths: until now no record could die before those in front of it.
    #[inline(never)]
    pub(super) fn track_deaths(&mut self) {
        self.compaction = Some(Box::new(Compaction { alive: self.amount(), ..Compaction::default() }));
    }

    /// A newer record of its key was appended.
    pub(crate) fn supersede(&mut self, info: RecordInfo, now: u64) {
        if info.offset < self.first.offset {
            return;
        }
        self.marked(info.offset);
        if let Some(dead) = self.compaction.as_mut().and_then(|one| one.deaths.supersede(info, now)) {
            self.mark_record(dead);
        }
    }

    /// Settles up to `budget` deaths that have come by `now`; returns whether none is left. Then every dead record is
    /// marked and does not count, and positions are found by search.
    pub(crate) fn settle(&mut self, now: u64, budget: usize) -> bool {
        for _ in 0..budget {
            if !self.settle_next(now) {
                return true;
            }
        }
        !self.is_behind(now)
    }

    /// Whether deaths that have come by `now` are not [settled](Self::settle).
    #[inline]
    pub(crate) fn is_behind(&self, now: u64) -> bool {
        let first = self.first.offset;
        self.compaction.as_ref().is_some_and(|compaction| compaction.deaths.is_behind(now, first))
    }

    /// Drops up to `budget` records that no longer exist from the tables of deaths; returns whether there may be more.
    pub(crate) fn forget_removed(&mut self, budget: usize) -> bool {
        let (first, is_empty) = (self.first.offset, self.is_empty());
        let mut drop_one = || {
            let compaction = self.compaction.as_mut();
            compaction.is_some_and(|compaction| compaction.deaths.drop_removed(first, is_empty))
        };
        let dropped = (0..budget).take_while(|_| drop_one()).count();
        self.steps.add(dropped as u64);
        dropped == budget
    }

    /// Rewrites one chunk if one is more than half dead; returns whether another one is.
    pub(crate) fn reclaim(&mut self, now: u64, retired: &mut Retired) -> bool {
        let Some(compaction) = self.compaction.as_mut().filter(|compaction| compaction.is_ready()) else {
            return false;
        };
        while let Some(start) = compaction.queue.pop_front() {
            let index = self.chunks.partition_point(|chunk| chunk.span.start < start);
            let chunk = self.chunks.get(index).filter(|chunk| chunk.span.start == start);
            if chunk.is_some_and(|chunk| chunk.losses.as_ref().is_some_and(|losses| losses.is_queued)) {
                self.rewrite(index, now, retired);
                break;
            }
        }
        self.is_reclaimable()
    }

    /// Whether [`reclaim`](Self::reclaim) has something to do.
    pub(crate) fn is_reclaimable(&self) -> bool {
        self.compaction.as_ref().is_some_and(|compaction| compaction.is_ready())
    }

    /// Queues the last chunk, whose allocation was closed, if it is to be rewritten.
    #[inline(never)]
    pub(super) fn allocation_closed(&mut self) {
        if let Some(compaction) = &mut self.compaction
            && let Some(Chunk { span, data, losses: Some(losses), .. }) = self.chunks.back_mut()
        {
            compaction.enqueue(losses, span.start, data.len());
        }
    }

    fn settle_next(&mut self, now: u64) -> bool {
        let first = self.first.offset;
        let Some(settled) = self.compaction.as_mut().and_then(|one| one.deaths.pop(now, first)) else {
            return false;
        };
        self.steps.add(STEPS_PER_DEATH);
        match settled {
            Settled::Died(dead) => self.mark_record(dead),
            Settled::Outlived(offset) => self.marked(offset),
        }
        true
    }

    pub(super) fn mark_record(&mut self, Dead { offset, len, is_silent }: Dead) {
        let index = self.index_of(offset);
        if is_silent {
            self.marked(offset);
        }
        let Some(compaction) = self.compaction.as_mut().filter(|_| offset >= self.first.offset) else {
            return;
        };
        let (chunk, mut losses) = match self.chunks.get_mut(index) {
            Some(chunk) => (chunk.span.start, chunk.losses.take()),
            None => (self.tail_span.start, compaction.tail.take()),
        };
        let before = losses.as_ref().map_or(0, |losses| losses.footprint());
        let marked = losses.get_or_insert_default();
        let is_new = marked.mark(chunk, offset, len, is_silent);
        let after = marked.footprint();
        compaction.losses_bytes = compaction.losses_bytes.saturating_sub(before).saturating_add(after);
        if is_new {
            compaction.alive.subtract(Amount::one(u64::from(len)));
        }
        let Some(Chunk { data, charge, losses: place, .. }) = self.chunks.get_mut(index) else {
            compaction.tail = losses;
            return;
        };
        if is_new && marked.is_queued {
            compaction.queued_bytes = compaction.queued_bytes.saturating_add(len as usize);
        } else if *charge > 0 {
            compaction.enqueue(marked, chunk, data.len());
        }
        *place = losses;
    }

    /// Replaces a chunk and its sparse neighbours with one sparse chunk of their live records, unless a neighbour is
    /// much larger: so every byte is copied few times, and adjacent holes merge.
    fn rewrite(&mut self, index: usize, now: u64, retired: &mut Retired) {
        let (from, to, bytes) = self.neighbours(index);
        let Some((mut span, end)) =
            self.chunks.get(from).zip(self.chunks.get(to)).map(|(first, last)| (first.span, last.end))
        else {
            debug_assert!(false, "chunk {index} does not exist");
            return;
        };
        let (mut sparse, mut data) = (SparseIndex::new(self.base_after(to)), Vec::with_capacity(bytes));
        let mut at = Position::at(span.start.max(self.first.offset));
        while at.offset < end {
            // From one record to the next, not from the start of an extent of a sparse chunk to each of its records.
            at = self.locate_from(at, true);
            let (fate, next) = self.state_at(at, now);
            match fate {
                RecordState::Live => self.copy(at, &mut data, &mut sparse),
                RecordState::Expired => sparse.lose(at.offset, next.offset),
                RecordState::Superseded => {}
            }
            at = next;
        }
        // Fewer records may be live now than were not marked.
        data.shrink_to_fit();
        let mut allocation = 0;
        for chunk in self.chunks.range_mut(from..=to) {
            span.last_timestamp = span.last_timestamp.max(chunk.span.last_timestamp);
            allocation = chunk.allocation;
            let (data, charge) = (core::mem::take(&mut chunk.data), core::mem::take(&mut chunk.charge));
            self.chunk_charges = self.chunk_charges.saturating_sub(charge);
            if charge > 0 {
                retired.push(data, charge);
            }
            if let Some(compaction) = &mut self.compaction {
                compaction.release_losses(chunk.losses.take().as_deref());
            }
        }
        let losses = Box::new(Losses::from(sparse));
        if let Some(compaction) = &mut self.compaction {
            compaction.losses_bytes = compaction.losses_bytes.saturating_add(losses.footprint());
        }
        let charge = data.capacity();
        self.chunk_charges = self.chunk_charges.saturating_add(charge);
        let losses = Some(losses);
        let data = data.into();
        let chunk = Chunk { span, end, data, allocation, charge, losses, cold: None, hot_until: 0 };
        let moved = self.chunks.len().saturating_sub(to).min(from);
        self.steps.add((moved / CHUNKS_PER_STEP) as u64);
        self.chunks.drain(from.saturating_add(1)..=to);
        if let Some(place) = self.chunks.get_mut(from) {
            *place = chunk;
        }
        self.rewrote(span.start, end);
    }

    /// The first and the last chunk to be rewritten together with one, and their approximate live bytes.
    fn neighbours(&self, index: usize) -> (usize, usize, usize) {
        let sparse = |index: usize| self.chunks.get(index)?.losses.as_ref()?.sparse();
        let mut entries = 0usize;
        let live = |index: usize| {
            let chunk = self.chunks.get(index)?;
            let dead = chunk.losses.as_ref().map_or(0, |losses| losses.dead);
            Some(chunk.data.len().saturating_sub(dead))
        };
        let (mut from, mut to, mut bytes) = (index, index, live(index).unwrap_or_default());
        let mut fits = |at: usize, bytes: usize| {
            entries = entries.saturating_add(sparse(at)?.entries());
            let more = live(at)?;
            let is_small = more <= bytes.saturating_mul(2) && bytes.saturating_add(more) <= CHUNK;
            (is_small && entries <= MAX_ENTRIES).then_some(more)
        };
        while let Some((at, more)) = from.checked_sub(1).and_then(|at| Some((at, fits(at, bytes)?))) {
            (from, bytes) = (at, bytes.saturating_add(more));
        }
        while let Some((at, more)) = to.checked_add(1).and_then(|at| Some((at, fits(at, bytes)?))) {
            (to, bytes) = (at, bytes.saturating_add(more));
        }
        (from, to, bytes)
    }

    fn copy(&self, at: Position, data: &mut Vec<u8>, sparse: &mut SparseIndex) {
        let Some(part) = self.part(self.index_of(at.offset)) else {
            debug_assert!(false, "offset {} is in no part", at.offset);
            return;
        };
        let begin = at.byte as usize;
        let rest = part.data.get(begin..).unwrap_or_default();
        let record = RecordHead::peek(rest).and_then(|head| rest.get(..head.len)).unwrap_or_default();
        let at_byte = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let begin = data.len();
        data.extend_from_slice(record);
        sparse.keep(at.offset, part.base_of(at), at_byte(begin), at_byte(data.len()));
    }
}
