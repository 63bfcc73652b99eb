//! A queue of bytes in blocks, whose allocations are counted exactly.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use bytes::BytesMut;

/// Minimum and maximum size of a block: it doubles from one to the other, so that quiet connections own little memory.
const BLOCK: RangeInclusive<usize> = 256..=4 << 10;

/// Room below which a new block is begun; most frames need no more.
const LEAST_ROOM: usize = 64;

/// Places by which the queue of blocks grows.
const MORE_BLOCKS: usize = 4;

/// Bytes in the order in which they were appended.
#[derive(Default)]
pub(super) struct Blocks {
    queue: VecDeque<Block>,
    /// Bytes allocated: the capacities of all blocks, and of their queue.
    allocated: usize,
    /// Size of the last block begun; 0 when there is none.
    size: usize,
}

#[derive(Default)]
struct Block {
    bytes: BytesMut,
    /// Bytes of it that were taken.
    read: usize,
}

impl Blocks {
    /// Appends what `write` writes; returns its length.
    pub(super) fn append(&mut self, write: impl FnOnce(&mut BytesMut)) -> usize {
        if !self.queue.back().is_some_and(Block::has_room) {
            self.size = self.size.saturating_mul(2).clamp(*BLOCK.start(), *BLOCK.end());
            let bytes = BytesMut::with_capacity(self.size);
            self.allocated = self.allocated.saturating_add(bytes.capacity());
            let places = self.queue.capacity();
            if self.queue.len() == places {
                // Not twice as many: a frame allocates little, however much waits (rule S15).
                self.queue.reserve_exact(MORE_BLOCKS);
            }
            self.queue.push_back(Block { bytes, read: 0 });
            let more = self.queue.capacity().saturating_sub(places);
            self.allocated = self.allocated.saturating_add(more.saturating_mul(size_of::<Block>()));
        }
        let Some(Block { bytes, .. }) = self.queue.back_mut() else { return 0 };
        let (len, capacity) = (bytes.len(), bytes.capacity());
        write(bytes);
        self.allocated = self.allocated.saturating_add(bytes.capacity().saturating_sub(capacity));
        bytes.len().saturating_sub(len)
    }

    /// The first bytes, at most `limit` of them and not necessarily all.
    pub(super) fn first(&self, limit: usize) -> &[u8] {
        self.queue.front().map_or(&[], |block| block.rest(0, limit))
    }

    /// Up to `len` bytes after the first `skip`, in slices.
    pub(super) fn slices(&self, skip: usize, len: usize) -> impl Iterator<Item = &[u8]> {
        let mut at = (skip, len);
        self.queue.iter().map_while(move |block| {
            let (skip, len) = at;
            if len == 0 {
                return None;
            }
            let slice = block.rest(skip, len);
            at = (skip.saturating_sub(block.unread()), len.saturating_sub(slice.len()));
            Some(slice)
        })
    }

    /// Removes the first `count` bytes.
    pub(super) fn take(&mut self, count: usize) {
        let mut left = count;
        while left > 0 {
            let is_last = self.queue.len() == 1;
            let Some(block) = self.queue.front_mut() else { return };
            let part = block.unread().min(left);
            block.read = block.read.saturating_add(part);
            left = left.saturating_sub(part);
            if block.unread() > 0 {
                return;
            }
            if is_last && block.bytes.capacity() <= *BLOCK.end() {
                // The last block is reused.
                block.bytes.clear();
                block.read = 0;
                return;
            }
            self.allocated = self.allocated.saturating_sub(block.bytes.capacity());
            self.queue.pop_front();
            self.size = if is_last { 0 } else { self.size };
        }
    }

    /// Removes all bytes after the first `keep`.
    pub(super) fn truncate(&mut self, keep: usize) {
        let mut left = keep;
        for block in &mut self.queue {
            let kept = block.unread().min(left);
            block.bytes.truncate(block.read.saturating_add(kept));
            left = left.saturating_sub(kept);
        }
        while let Some(last) = self.queue.back()
            && last.unread() == 0
        {
            self.allocated = self.allocated.saturating_sub(last.bytes.capacity());
            self.queue.pop_back();
        }
    }

    /// Bytes allocated.
    pub(super) const fn allocated(&self) -> usize {
        self.allocated
    }

    /// The same, counted anew.
    pub(super) fn recount(&self) -> usize {
        let blocks = self.queue.iter().map(|block| block.bytes.capacity());
        let queue = self.queue.capacity().saturating_mul(size_of::<Block>());
        blocks.fold(queue, usize::saturating_add)
    }
}

impl Block {
    fn unread(&self) -> usize {
        self.bytes.len().saturating_sub(self.read)
    }

    /// Whether more may be appended. A block that a frame has enlarged beyond the maximum takes no other one: it would
    /// double again and again, and so allocate more than was reserved for a frame (rule S15).
    fn has_room(&self) -> bool {
        let capacity = self.bytes.capacity();
        capacity <= *BLOCK.end() && capacity.saturating_sub(self.bytes.len()) >= LEAST_ROOM
    }

    /// At most `limit` of the bytes not taken, after the first `skip` of them.
    fn rest(&self, skip: usize, limit: usize) -> &[u8] {
        let from = self.read.saturating_add(skip).min(self.bytes.len());
        let to = from.saturating_add(limit).min(self.bytes.len());
        self.bytes.get(from..to).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(blocks: &Blocks, skip: usize, len: usize) -> Vec<u8> {
        blocks.slices(skip, len).flatten().copied().collect()
    }

    /// An answer is applied when there are 6 KiB for it.
    #[test]
    fn s15_a_short_frame_allocates_at_most_6_kib_however_much_waits() {
        for len in 1..=300usize {
            let (mut blocks, mut waiting) = (Blocks::default(), 0);
            while waiting < 256 << 10 {
                let before = blocks.allocated;
                waiting += blocks.append(|out| out.extend_from_slice(&vec![7; len]));
                let more = blocks.allocated - before;
                assert!(more <= 6 << 10, "{more} bytes for {len} behind {waiting}");
            }
            let allocated = blocks.allocated();
            assert!(allocated <= waiting * 9 / 4, "{allocated} for {waiting} in frames of {len}");
        }
    }

    proptest! {
        #[test]
        fn bytes_leave_in_the_order_in_which_they_came(steps in prop::collection::vec((0..9_000usize, 0..9_000usize, 0..9u8), 1..40)) {
            let (mut blocks, mut model, mut next) = (Blocks::default(), Vec::new(), 0u8);
            for (more, count, what) in steps {
                let bytes: Vec<u8> = (0..more).map(|_| { next = next.wrapping_add(1); next }).collect();
                prop_assert_eq!(blocks.append(|out| out.extend_from_slice(&bytes)), more);
                model.extend(bytes);
                let count = count.min(model.len());
                prop_assert_eq!(all(&blocks, count, 100), &model[count..model.len().min(count.saturating_add(100))]);
                if what == 0 {
                    blocks.truncate(count);
                    model.truncate(count);
                } else {
                    blocks.take(count);
                    model.drain(..count);
                }
                prop_assert_eq!(all(&blocks, 0, usize::MAX), &model[..]);
                prop_assert!(model.starts_with(blocks.first(usize::MAX)));
                prop_assert_eq!(blocks.allocated(), blocks.recount());
            }
            blocks.take(model.len());
            let kept: usize = blocks.queue.iter().map(|block| block.bytes.capacity()).sum();
            prop_assert!(kept <= *BLOCK.end(), "at most one small block is kept");
        }
    }
}
