//! A byte stream between two ends: segments that travel, a capacity, and the ways in which it fails.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

use super::plan::Faults;
use super::random::Rng;

/// One direction of a connection.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    /// Segments under way or arrived and not read, with the time of their arrival; none overtakes another.
    segments: VecDeque<(u64, Bytes)>,
    len: usize,
    last_arrival: u64,
    /// The writer has ended its half; nothing more will come.
    is_finished: bool,
    /// What is written from here on vanishes.
    pub(crate) is_silent: bool,
}

impl Pipe {
    /// How many bytes the writer may write now.
    pub(crate) fn room(&self, faults: &Faults) -> usize {
        if self.is_finished { 0 } else { faults.capacity.saturating_sub(self.len) }
    }

    /// Puts bytes on their way; `at` is when the last of them arrives.
    pub(crate) fn write(&mut self, now: u64, mut bytes: Bytes, faults: &Faults, rng: &mut Rng) -> u64 {
        self.len += bytes.len();
        if self.is_silent {
            return now;
        }
        while !bytes.is_empty() {
            let most = faults.segment.max(1);
            let len = usize::try_from(rng.between(1, most)).unwrap_or(1).min(bytes.len());
            // An ordinary network fills its segments.
            let len = if most >= 1_460 { bytes.len().min(1_460) } else { len };
            let latency = rng.below(faults.latency.saturating_add(1));
            self.last_arrival = self.last_arrival.max(now + latency);
            self.segments.push_back((self.last_arrival, bytes.split_to(len)));
        }
        self.last_arrival
    }

    /// Ends the stream behind what was written.
    pub(crate) const fn finish(&mut self) {
        self.is_finished = true;
    }

    /// Takes up to `limit` bytes that have arrived.
    pub(crate) fn read(&mut self, now: u64, limit: usize) -> Option<Bytes> {
        let (at, bytes) = self.segments.front_mut()?;
        if *at > now || limit == 0 {
            return None;
        }
        let taken = bytes.split_to(bytes.len().min(limit));
        self.len -= taken.len();
        if !bytes.has_remaining() {
            self.segments.pop_front();
        }
        Some(taken)
    }

    /// Whether everything was read and nothing more will come.
    pub(crate) fn is_over(&self) -> bool {
        self.is_finished && self.segments.is_empty()
    }

    /// When the reader has something to do.
    pub(crate) fn next_arrival(&self) -> Option<u64> {
        self.segments.front().map(|(at, _)| *at)
    }
}
