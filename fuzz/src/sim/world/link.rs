//! A connection: both ends and the network between them.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};
use zaichik_engine::Outbound;
use zaichik_proto::HEADER_LEN;

use super::silence::Deadlines;
use crate::sim::pipe::Pipe;
use crate::sim::plan::Faults;
use crate::sim::random::Rng;

/// A connection.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Link {
    /// Index of the broker's end, while there is one.
    pub(super) session: Option<usize>,
    pub(super) client: usize,
    pub(super) to_broker: Pipe,
    pub(super) to_client: Pipe,
    pub(super) rng: Rng,
    pub(super) frozen_until: u64,
    pub(super) reset_at: Option<u64>,
    /// The client's end is broken, and the broker does not know yet.
    pub(super) is_cut: bool,
    /// Bytes that get through in each direction before it breaks.
    pub(super) breaks_after: [Option<usize>; 2],
    pub(super) is_eof_reported: bool,
    /// The client dropped its end.
    pub(super) is_abandoned: bool,
    /// Unsent bytes of each frame in the stream lane.
    pub(super) stream: VecDeque<usize>,
    /// Whether a part of the first one was sent.
    pub(super) is_partly_sent: bool,
    pub(super) deadlines: Deadlines,
}

impl Link {
    /// The frames that an exchange added to the lanes, given the lengths before. The output begins with the rest of a
    /// stream frame that was partly sent; then come the control lane and the rest of the stream lane.
    pub(super) fn new_frames(&mut self, before: (usize, usize), out: &Outbound) -> (Vec<u8>, Vec<u8>) {
        let after = (out.control_len(), out.stream_len());
        if after == before {
            return Default::default();
        }
        let all = peek(out);
        let partial = self.stream.front().copied().filter(|_| self.is_partly_sent).unwrap_or(0);
        if after.1 < before.1 {
            self.stream.truncate(usize::from(self.is_partly_sent));
        }
        let control = all.get(partial + before.0..partial + after.0).unwrap_or_default().to_vec();
        let stream = all[all.len() - after.1.saturating_sub(before.1)..].to_vec();
        self.stream.extend(frame_lengths(&stream));
        (control, stream)
    }

    /// Bytes of the stream lane were sent.
    pub(super) fn stream_sent(&mut self, mut count: usize) {
        while count > 0 {
            let Some(first) = self.stream.front_mut() else { return };
            let part = count.min(*first);
            *first -= part;
            count -= part;
            self.is_partly_sent = *first > 0;
            if !self.is_partly_sent {
                self.stream.pop_front();
            }
        }
    }
}

/// Sends bytes, up to the one at which the connection breaks; returns when the last one arrives.
pub(super) fn send(open: &mut Link, direction: usize, now: u64, mut bytes: Bytes, faults: &Faults) -> u64 {
    if let Some(left) = open.breaks_after[direction] {
        if bytes.len() >= left {
            bytes.truncate(left);
            open.reset_at.get_or_insert(now + faults.latency);
        }
        open.breaks_after[direction] = Some(left - bytes.len());
    }
    let pipe = if direction == 0 { &mut open.to_broker } else { &mut open.to_client };
    pipe.write(now, bytes, faults, &mut open.rng)
}

/// All unsent output, in the order in which it is sent.
fn peek(out: &Outbound) -> Vec<u8> {
    let remaining = out.remaining();
    let mut all = Vec::with_capacity(remaining);
    let mut slices = vec![IoSlice::new(&[]); 64];
    loop {
        let filled = out.chunks_vectored(&mut slices);
        if filled < slices.len() || slices.iter().map(|slice| slice.len()).sum::<usize>() >= remaining {
            break;
        }
        let more = slices.len() * 4;
        slices = vec![IoSlice::new(&[]); more];
    }
    for slice in &slices {
        all.extend_from_slice(slice);
    }
    all
}

/// The lengths of the frames in a byte sequence, according to their headers.
fn frame_lengths(mut bytes: &[u8]) -> Vec<usize> {
    let mut lengths = Vec::new();
    while let Some(head) = bytes.first_chunk::<4>() {
        let len = (u32::from_le_bytes(*head) as usize + HEADER_LEN).min(bytes.len());
        lengths.push(len);
        bytes = &bytes[len..];
    }
    lengths
}
