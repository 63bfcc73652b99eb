//! A byte stream between two ends: segments with latency, a capacity, and the ways in which it fails.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

use super::plan::Faults;
use super::random::Rng;

/// One direction of a connection.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    /// Segments that are in flight or unread, with their arrival times, in order.
    segments: VecDeque<(u64, Bytes)>,
    len: usize,
    last_arrival: u64,
    /// The writer has ended its half.
    is_finished: bool,
    /// Everything written from now on is lost.
    pub(crate) is_silent: bool,
}

impl Pipe {
    /// How many bytes the writer may write now.
    pub(crate) fn room(&self, faults: &Faults) -> usize {
        if self.is_finished { 0 } else { faults.capacity.saturating_sub(self.len) }
    }

    /// Sends bytes; returns when the last one arrives.
    pub(crate) fn write(&mut self, now: u64, mut bytes: Bytes, faults: &Faults, rng: &mut Rng) -> u64 {
        self.len += bytes.len();
        if self.is_silent {
            return now;
        }
        while !bytes.is_empty() {
            let most = faults.segment.max(1);
            let len = usize::try_from(rng.between(1, most)).unwrap_or(1).min(bytes.len());
            // Segments of ordinary size are filled.
            let len = if most >= 1_460 { bytes.len().min(1_460) } else { len };
            let latency = rng.below(faults.latency.saturating_add(1));
            self.last_arrival = self.last_arrival.max(now + latency);
            self.segments.push_back((self.last_arrival, bytes.split_to(len)));
        }
        self.last_arrival
    }

    /// Ends the stream after what was written.
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

    /// Whether the stream has ended and everything was read.
    pub(crate) fn is_over(&self) -> bool {
        self.is_finished && self.segments.is_empty()
    }

    /// When the next segment arrives.
    pub(crate) fn next_arrival(&self) -> Option<u64> {
        self.segments.front().map(|(at, _)| *at)
    }
}
