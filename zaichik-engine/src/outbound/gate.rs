//! What the lanes hold back until a store has it (rule B6).

use std::collections::VecDeque;

use super::lane::Lane;
use crate::store::{Awaited, Progress};

/// Commits that one connection waits for, each written or synced; what would wait for one more waits for the last of them.
const MAX_MARKS: usize = 4;

/// Which bytes of the two lanes may leave, and which wait for commits. Its bounds are ends of frames.
#[derive(Default)]
pub(super) struct Gate {
    /// Bytes at the front of each lane that may leave.
    open: Bytes,
    /// Bytes behind them that wait for commits.
    held: Bytes,
    /// The commits that they wait for, in order.
    marks: VecDeque<Mark>,
    /// Frames that no commit concerns, and that leave although others wait: Ping and Pong.
    pub(super) passing: Lane,
    /// Remaining bytes of a partly taken one.
    pub(super) passing_partial: usize,
}

#[derive(Debug, Default, Clone, Copy)]
struct Bytes {
    control: usize,
    stream: usize,
}

#[derive(Debug)]
struct Mark {
    awaited: Awaited,
    bytes: Bytes,
}

impl Gate {
    /// Bytes of the control lane, of passing frames and of the stream lane that may leave.
    pub(super) const fn open(&self) -> (usize, usize, usize) {
        (self.open.control, self.passing.len(), self.open.stream)
    }

    /// The sum of these.
    pub(super) const fn open_len(&self) -> usize {
        let (control, passing, stream) = self.open();
        control.saturating_add(passing).saturating_add(stream)
    }

    /// Bytes of the control lane that may leave.
    pub(super) const fn open_control(&self) -> usize {
        self.open.control
    }

    /// Bytes of the stream lane that may leave.
    pub(super) const fn open_stream(&self) -> usize {
        self.open.stream
    }

    /// The newest commit that something waits for.
    pub(super) fn awaited(&self) -> Option<Awaited> {
        self.marks.back().map(|mark| mark.awaited)
    }

    /// Whether something waits for a commit.
    pub(super) const fn is_holding(&self) -> bool {
        self.held.control > 0 || self.held.stream > 0
    }

    /// What was put into the lanes, which now have these lengths, since the last call waits for a commit; without one it
    /// follows what was put there before.
    pub(super) fn hold(&mut self, awaited: Option<Awaited>, control: usize, stream: usize) {
        let more = Bytes {
            control: control.saturating_sub(self.open.control).saturating_sub(self.held.control),
            stream: stream.saturating_sub(self.open.stream).saturating_sub(self.held.stream),
        };
        if more.control == 0 && more.stream == 0 {
            return;
        }
        let is_full = self.marks.len() >= MAX_MARKS;
        match (awaited, self.marks.back_mut()) {
            (Some(awaited), Some(last)) if is_full || last.awaited.includes(awaited) => {
                last.awaited = last.awaited.and(awaited);
                last.bytes.add(more);
            }
            (None, Some(last)) => last.bytes.add(more),
            (Some(awaited), _) => self.marks.push_back(Mark { awaited, bytes: more }),
            (None, None) => return self.open.add(more),
        }
        self.held.add(more);
    }

    /// The store is that far.
    pub(super) fn release(&mut self, progress: Progress) {
        while let Some(mark) = self.marks.pop_front() {
            if !progress.has(mark.awaited) {
                self.marks.push_front(mark);
                return;
            }
            self.open.add(mark.bytes);
            self.held.remove(mark.bytes);
        }
    }

    /// Bytes of the lanes have left.
    pub(super) const fn took(&mut self, control: usize, stream: usize) {
        self.open.remove(Bytes { control, stream });
    }

    /// Of the stream lane, only its first bytes are left, which may leave.
    pub(super) fn truncate_stream(&mut self, keep: usize) {
        (self.open.stream, self.held.stream) = (keep, 0);
        for mark in &mut self.marks {
            mark.bytes.stream = 0;
        }
    }

    /// Nothing waits any more: what did was dropped.
    pub(super) fn drop_held(&mut self) {
        self.held = Bytes::default();
        self.marks.clear();
    }

    /// Bytes allocated.
    pub(super) fn allocated(&self) -> usize {
        let marks = self.marks.capacity().saturating_mul(size_of::<Mark>());
        self.passing.recount().saturating_add(marks).saturating_add(size_of::<Self>())
    }
}

impl Bytes {
    const fn add(&mut self, other: Self) {
        self.control = self.control.saturating_add(other.control);
        self.stream = self.stream.saturating_add(other.stream);
    }

    const fn remove(&mut self, other: Self) {
        self.control = self.control.saturating_sub(other.control);
        self.stream = self.stream.saturating_sub(other.stream);
    }
}
