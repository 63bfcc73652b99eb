//! One lane: frames in order, in memory of its own and in slices of topics' memory.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

use super::blocks::Blocks;

/// Places by which a full queue of pieces grows, and one of frames: not twice as many, so that a frame allocates little,
/// however much waits (rule S15).
const MORE_PIECES: usize = 32;
const MORE_FRAMES: usize = 64;

/// Frames in order.
#[derive(Default)]
pub(super) struct Lane {
    pieces: VecDeque<Piece>,
    own: Blocks,
    /// Bytes in all pieces.
    len: usize,
    /// Shared pieces.
    shared: usize,
    /// Remaining bytes of each frame, in order; kept for the stream lane only.
    frames: VecDeque<usize>,
    /// Bytes allocated for the two queues.
    queues: usize,
}

/// A part of a lane.
enum Piece {
    /// That many of the lane's own bytes.
    Own(usize),
    /// A slice of a topic's memory, which charges it.
    Shared(Bytes),
}

impl Piece {
    fn len(&self) -> usize {
        match self {
            Self::Own(len) => *len,
            Self::Shared(bytes) => bytes.len(),
        }
    }
}

impl Lane {
    /// Appends what `write` writes; returns its length.
    pub(super) fn put(&mut self, write: impl FnOnce(&mut BytesMut)) -> usize {
        let more = self.own.append(write);
        self.len = self.len.saturating_add(more);
        match self.pieces.back_mut() {
            Some(Piece::Own(len)) => *len = len.saturating_add(more),
            Some(Piece::Shared(_)) | None if more > 0 => self.push(Piece::Own(more)),
            Some(Piece::Shared(_)) | None => {}
        }
        more
    }

    /// Appends a slice of a topic's memory.
    pub(super) fn share(&mut self, bytes: Bytes) {
        self.len = self.len.saturating_add(bytes.len());
        self.shared = self.shared.saturating_add(1);
        self.push(Piece::Shared(bytes));
    }

    /// The last `len` bytes are a frame.
    pub(super) fn end_frame(&mut self, len: usize) {
        if self.frames.len() == self.frames.capacity() {
            self.grow_frames();
        }
        self.frames.push_back(len);
    }

    /// Bytes that wait.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Whether slices of topics' memory wait.
    pub(super) const fn shares(&self) -> bool {
        self.shared > 0
    }

    /// Bytes allocated, without shared slices.
    pub(super) const fn allocated(&self) -> usize {
        self.own.allocated().saturating_add(self.queues)
    }

    /// The same, counted anew.
    pub(super) fn recount(&self) -> usize {
        self.own.recount().saturating_add(self.recount_queues())
    }

    /// The first bytes; empty only if none wait.
    pub(super) fn chunk(&self) -> &[u8] {
        match self.pieces.front() {
            Some(Piece::Own(len)) => self.own.first(*len),
            Some(Piece::Shared(bytes)) => bytes,
            None => &[],
        }
    }

    /// The bytes in order, after the first `skip`, in slices; some may be empty.
    pub(super) fn chunks(&self, skip: usize) -> impl Iterator<Item = &[u8]> {
        let (mut skip, mut own) = (skip, 0usize);
        self.pieces.iter().flat_map(move |piece| {
            let skipped = piece.len().min(skip);
            skip = skip.saturating_sub(skipped);
            let (at, shared) = match piece {
                Piece::Own(len) => {
                    let at = own.saturating_add(skipped);
                    own = own.saturating_add(*len);
                    ((at, len.saturating_sub(skipped)), &[][..])
                }
                Piece::Shared(bytes) => ((0, 0), bytes.get(skipped..).unwrap_or_default()),
            };
            self.own.slices(at.0, at.1).chain(core::iter::once(shared))
        })
    }

    /// Removes `count` bytes from the front; returns the remaining bytes of a frame that this split, or 0.
    pub(super) fn take(&mut self, count: usize) -> usize {
        self.len = self.len.saturating_sub(count);
        let mut left = count;
        while left > 0 {
            let Some(piece) = self.pieces.front_mut() else { break };
            let part = piece.len().min(left);
            match piece {
                Piece::Own(len) => {
                    *len = len.saturating_sub(part);
                    self.own.take(part);
                }
                Piece::Shared(bytes) => {
                    bytes.advance(part);
                    self.shared = self.shared.saturating_sub(usize::from(bytes.is_empty()));
                }
            }
            if piece.len() == 0 {
                self.pieces.pop_front();
            }
            left = left.saturating_sub(part);
        }
        self.take_frames(count)
    }

    /// Keeps the first `keep` bytes, which end with a frame.
    pub(super) fn truncate(&mut self, keep: usize) {
        let (mut left, mut own, mut shared) = (keep, 0usize, 0usize);
        for piece in &mut self.pieces {
            let kept = piece.len().min(left);
            left = left.saturating_sub(kept);
            match piece {
                Piece::Own(len) => {
                    *len = kept;
                    own = own.saturating_add(kept);
                }
                Piece::Shared(bytes) => {
                    bytes.truncate(kept);
                    shared = shared.saturating_add(usize::from(kept > 0));
                }
            }
        }
        self.pieces.retain(|piece| piece.len() > 0);
        self.own.truncate(own);
        let mut left = keep;
        let ends = self.frames.iter().take_while(|frame| {
            let is_kept = left > 0;
            left = left.saturating_sub(**frame);
            is_kept
        });
        let kept = ends.count();
        self.frames.truncate(kept);
        (self.len, self.shared) = (keep, shared);
    }

    fn push(&mut self, piece: Piece) {
        if self.pieces.len() == self.pieces.capacity() {
            self.grow_pieces();
        }
        self.pieces.push_back(piece);
    }

    #[cold]
    fn grow_pieces(&mut self) {
        self.pieces.reserve_exact(MORE_PIECES);
        self.queues = self.recount_queues();
    }

    #[cold]
    fn grow_frames(&mut self) {
        self.frames.reserve_exact(MORE_FRAMES);
        self.queues = self.recount_queues();
    }

    fn recount_queues(&self) -> usize {
        let pieces = self.pieces.capacity().saturating_mul(size_of::<Piece>());
        pieces.saturating_add(self.frames.capacity().saturating_mul(size_of::<usize>()))
    }

    fn take_frames(&mut self, count: usize) -> usize {
        let mut left = count;
        while left > 0 {
            let Some(frame) = self.frames.front_mut() else {
                return 0;
            };
            if *frame > left {
                *frame = frame.saturating_sub(left);
                return *frame;
            }
            left = left.saturating_sub(*frame);
            self.frames.pop_front();
        }
        0
    }
}
