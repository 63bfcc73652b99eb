//! A connection: both ends and the network between them.

use bytes::Bytes;
use zaichik_engine::Outbound;
use zaichik_proto::{FrameHeader, HEADER_LEN};

use super::silence::Deadlines;
use crate::sim::pipe::Pipe;
use crate::sim::plan::Faults;
use crate::sim::random::Rng;

/// The kind of a Pong of the broker.
const PONG: u8 = 0x4e;

/// A connection.
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
    pub(super) deadlines: Deadlines,
}

/// The frames that were put into the lanes since they had these lengths, also those that wait for a store: all but those of
/// the stream lane, and those.
pub(super) fn new_frames(before: [usize; 3], out: &Outbound) -> (Vec<u8>, Vec<u8>) {
    if out.unsent_lengths() == before {
        return Default::default();
    }
    let [mut control, passing, stream] = out.unsent();
    let new = |lane: &[u8], before: usize| lane.get(before..).unwrap_or_default().to_vec();
    control = new(&control, before[0]);
    control.extend(new(&passing, before[1]));
    (control, new(&stream, before[2]))
}

/// Whether a Pong is among the frames that may wait for a store and were put there since the lane had this length.
pub(super) fn has_held_pong(before: [usize; 3], out: &Outbound) -> bool {
    if out.unsent_lengths()[0] == before[0] {
        return false;
    }
    let [control, ..] = out.unsent();
    let mut rest = control.get(before[0]..).unwrap_or_default();
    while let Some((header, body)) = rest.split_first_chunk::<HEADER_LEN>() {
        let header = FrameHeader::from_bytes(*header).expect("the broker's frames are valid");
        if header.kind == PONG {
            return true;
        }
        rest = body.get(header.body_len as usize..).unwrap_or_default();
    }
    false
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
