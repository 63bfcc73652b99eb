//! Bytes to send: two bounded lanes, written as one stream (rule A7).
//!
//! The machine owns the write cursor. The adapter peeks ([`Buf::chunks_vectored`]), writes what the socket accepts and
//! reports the length ([`Buf::advance`]); partial or abandoned writes are safe.

mod blocks;
mod gate;
mod gated;
mod lane;

use std::fmt;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

use self::gate::Gate;
use self::lane::Lane;
use crate::planted::{Defect, is_planted};
use crate::store::{Awaited, Progress};

/// Bodies up to this many bytes are copied next to their header: an `IoSlice` costs more than the copy.
const INLINE_MAX: usize = 512;

/// The bytes that a state machine has to send, as a [`Buf`].
///
/// Frames of the control lane are sent at the next frame boundary, before those in the stream lane; a partly written
/// frame is finished first.
///
/// ```
/// use bytes::{Buf, BytesMut};
/// use zaichik_engine::{Broker, BrokerConfig, Effects, Seed, Timestamp};
/// use zaichik_proto::{ClientFrame, Hello, MAGIC};
/// let (now, mut effects) = (Timestamp::from_micros(1), Effects::new());
/// let mut broker = Broker::new(BrokerConfig::default(), Seed::new(1, 2))?;
/// let mut session = broker.accept(now, &mut effects);
/// let mut hello = BytesMut::from(&MAGIC[..]);
/// ClientFrame::Hello(Hello { version: 1, name: "doc", token: b"" }).encode(&mut hello);
/// session.inbound().extend_from_slice(&hello);
/// session.handle_read(now);
/// let _ = session.exchange(now, &mut broker, &mut effects);
/// let outbound = session.outbound(); // a Welcome
/// let before = outbound.remaining();
/// outbound.advance(3); // the socket accepted three bytes
/// assert_eq!((outbound.remaining(), outbound.control_len()), (before - 3, before - 3));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Default)]
pub struct Outbound {
    stream: Lane,
    control: Lane,
    /// Remaining bytes of a partly taken stream frame.
    stream_partial: usize,
    /// Total bytes taken; shows whether a write made progress.
    taken: u64,
    /// Total bytes put into the stream lane.
    stream_put: u64,
    /// Bytes allocated for both lanes: asked for far more often than it changes.
    allocated: usize,
    /// Bytes that may leave: likewise.
    open: usize,
    /// What waits for a store, if there is one.
    gate: Option<Box<Gate>>,
}

/// The lane of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LaneKind {
    /// Subscribed, Delivery, Gap, Fenced, Unsubscribed.
    Stream,
    /// Everything else.
    Control,
}

impl Outbound {
    /// Appends a frame that `write` encodes.
    pub(crate) fn frame(&mut self, lane: LaneKind, write: impl FnOnce(&mut BytesMut)) {
        let is_stream = lane == LaneKind::Stream;
        let lane = self.lane(lane);
        let len = lane.put(write);
        if is_stream {
            lane.end_frame(len);
            self.stream_put = self.stream_put.saturating_add(len as u64);
        }
        self.count();
    }

    /// Appends a stream frame: a head that `write` encodes, and a body, which is shared instead of copied if it is
    /// large.
    pub(crate) fn stream_frame_with(&mut self, body: &Bytes, write: impl FnOnce(&mut BytesMut)) {
        let lane = &mut self.stream;
        let len = if body.len() <= INLINE_MAX {
            lane.put(|out| {
                write(out);
                out.extend_from_slice(body);
            })
        } else {
            let head = lane.put(write);
            lane.share(body.clone());
            head.saturating_add(body.len())
        };
        lane.end_frame(len);
        self.stream_put = self.stream_put.saturating_add(len as u64);
        self.count();
    }

    /// Drops unsent stream frames, except the rest of a partly sent one.
    pub(crate) fn clear_stream(&mut self) {
        let keep = self.stream_partial;
        self.stream.truncate(keep);
        if let Some(gate) = &mut self.gate {
            gate.truncate_stream(keep);
        }
        self.count();
    }

    /// Drops everything: the connection is gone.
    pub(crate) fn clear(&mut self) {
        let Self { taken, stream_put, .. } = *self;
        let gate = self.gate.take().map(|_| Box::default());
        *self = Self { taken, stream_put, gate, ..Self::default() };
        self.count();
    }

    /// Frees memory when there is nothing to send.
    pub(crate) fn shrink(&mut self) {
        if self.is_empty() {
            self.clear();
        }
    }

    /// Whether nothing waits, neither for the peer nor for a store.
    pub(crate) fn is_empty(&self) -> bool {
        let passing = self.gate.as_ref().map_or(0, |gate| gate.passing.len());
        self.stream.len() == 0 && self.control.len() == 0 && passing == 0
    }

    /// From now on, what is put into the lanes leaves after [`hold`](Self::hold) said what it waits for.
    pub(crate) fn begin_holding(&mut self) {
        self.gate = Some(Box::default());
        self.count();
    }

    /// What was put into the lanes since the last call waits for a commit, or for none except those that what precedes it
    /// waits for. Returns the newest commit that something waits for.
    pub(crate) fn hold(&mut self, awaited: Option<Awaited>) -> Option<Awaited> {
        let (control, stream) = (self.control.len(), self.stream.len());
        let gate = self.gate.as_mut()?;
        gate.hold(awaited, control, stream);
        let awaited = gate.awaited();
        self.count();
        awaited
    }

    /// The store is that far: what waited for this may leave.
    pub(crate) fn release(&mut self, progress: Progress) {
        if let Some(gate) = &mut self.gate {
            gate.release(progress);
        }
        self.count();
    }

    /// Whether something waits for a store.
    pub(crate) fn is_holding(&self) -> bool {
        self.gate.as_ref().is_some_and(|gate| gate.is_holding())
    }

    /// Drops what waits for a store: the peer must not learn of it.
    pub(crate) fn drop_held(&mut self) {
        let Some(gate) = &mut self.gate else { return };
        self.control.truncate(gate.open_control());
        self.stream.truncate(gate.open_stream());
        gate.drop_held();
        self.count();
    }

    /// Appends a frame that concerns no commit, so it leaves although others wait for one: Ping or Pong.
    pub(crate) fn passing_frame(&mut self, write: impl FnOnce(&mut BytesMut)) {
        match &mut self.gate {
            // Nothing may wait yet, but what was put into the lanes before it may be about to.
            Some(gate) if gate.is_holding() || !is_planted(Defect::HeldPong) => {
                let len = gate.passing.put(write);
                gate.passing.end_frame(len);
                self.count();
            }
            _ => self.frame(LaneKind::Control, write),
        }
    }

    /// Copies of all bytes that have not left, also of those that wait for a store: in the control lane, of Pings and Pongs
    /// that leave before what waits, and in the stream lane. For those who observe a session, such as a simulator.
    #[must_use]
    pub fn unsent(&self) -> [Vec<u8>; 3] {
        let bytes = |lane: &Lane| lane.chunks(0).flatten().copied().collect();
        let passing = self.gate.as_ref().map_or_else(Vec::new, |gate| bytes(&gate.passing));
        [bytes(&self.control), passing, bytes(&self.stream)]
    }

    /// The lengths of these three.
    #[must_use]
    pub const fn unsent_lengths(&self) -> [usize; 3] {
        let passing = match &self.gate {
            Some(gate) => gate.passing.len(),
            None => 0,
        };
        [self.control.len(), passing, self.stream.len()]
    }

    /// Bytes waiting in the stream lane.
    #[must_use]
    pub const fn stream_len(&self) -> usize {
        self.stream.len()
    }

    /// Bytes allocated for both lanes, without shared bodies, which are charged to their topic.
    pub(crate) fn allocated(&self) -> usize {
        debug_assert_eq!(self.allocated, self.recount(), "what the lanes allocate was not charged");
        self.allocated
    }

    /// Whether memory of a topic is kept by what waits.
    pub(crate) fn pins_topics(&self) -> bool {
        self.stream.shares()
    }

    /// Bytes waiting in the control lane.
    #[must_use]
    pub const fn control_len(&self) -> usize {
        match &self.gate {
            Some(gate) => self.control.len().saturating_add(gate.passing.len()),
            None => self.control.len(),
        }
    }

    /// Total bytes put into the stream lane, and total bytes that have left it.
    pub(crate) const fn stream_progress(&self) -> (u64, u64) {
        (self.stream_put, self.stream_put.saturating_sub(self.stream.len() as u64))
    }

    /// Total bytes taken by [`Buf::advance`].
    #[must_use]
    pub const fn taken(&self) -> u64 {
        self.taken
    }

    /// The lanes, or what of them may leave, have changed: counts what they allocate and what may leave.
    #[inline]
    fn count(&mut self) {
        self.allocated = self.stream.allocated().saturating_add(self.control.allocated());
        match &self.gate {
            Some(_) => self.count_gated(),
            None => self.open = self.stream.len().saturating_add(self.control.len()),
        }
    }

    fn recount(&self) -> usize {
        let gate = self.gate.as_ref().map_or(0, |gate| gate.allocated());
        self.stream.recount().saturating_add(self.control.recount()).saturating_add(gate)
    }

    fn recount_open(&self) -> usize {
        match &self.gate {
            Some(gate) => gate.open_len(),
            None => self.stream.len().saturating_add(self.control.len()),
        }
    }

    const fn lane(&mut self, lane: LaneKind) -> &mut Lane {
        match lane {
            LaneKind::Stream => &mut self.stream,
            LaneKind::Control => &mut self.control,
        }
    }
}

impl Buf for Outbound {
    #[inline]
    fn remaining(&self) -> usize {
        debug_assert_eq!(self.open, self.recount_open(), "what may leave was not counted");
        self.open
    }

    fn chunk(&self) -> &[u8] {
        if let Some(gate) = &self.gate {
            return self.gated_chunk(gate);
        }
        if self.stream_partial > 0 {
            let chunk = self.stream.chunk();
            return chunk.get(..self.stream_partial).unwrap_or(chunk);
        }
        let control = self.control.chunk();
        if control.is_empty() { self.stream.chunk() } else { control }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filler = Filler { slices, filled: 0 };
        if let Some(gate) = &self.gate {
            self.fill_gated(gate, &mut filler);
            return filler.filled;
        }
        filler.add(self.stream.chunks(0), self.stream_partial);
        filler.add(self.control.chunks(0), self.control.len());
        filler.add(self.stream.chunks(self.stream_partial), self.stream.len());
        filler.filled
    }

    fn advance(&mut self, count: usize) {
        assert!(count <= self.remaining(), "advanced past the end of the outbound bytes");
        self.taken = self.taken.saturating_add(count as u64);
        if self.gate.is_some() {
            return self.advance_gated(count);
        }
        let mut left = count;
        if self.stream_partial > 0 {
            let partial = left.min(self.stream_partial);
            self.stream_partial = self.stream_partial.saturating_sub(partial);
            self.stream.take(partial);
            left = left.saturating_sub(partial);
        }
        if self.control.len() > 0 {
            let control = left.min(self.control.len());
            self.control.take(control);
            left = left.saturating_sub(control);
        }
        if left > 0 {
            self.stream_partial = self.stream.take(left);
        }
        self.count();
    }
}

impl fmt::Debug for Outbound {
    /// Shows lengths, not bytes: a client's handshake contains its token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound")
            .field("stream_len", &self.stream.len())
            .field("control_len", &self.control.len())
            .field("taken", &self.taken)
            .finish_non_exhaustive()
    }
}

/// Fills `IoSlice`s until there is no room.
struct Filler<'s, 'a> {
    slices: &'s mut [IoSlice<'a>],
    filled: usize,
}

impl<'a> Filler<'_, 'a> {
    fn add(&mut self, chunks: impl Iterator<Item = &'a [u8]>, limit: usize) {
        let mut left = limit;
        for chunk in chunks {
            let chunk = chunk.get(..left.min(chunk.len())).unwrap_or_default();
            if chunk.is_empty() {
                if left == 0 {
                    return;
                }
                continue;
            }
            let Some(slot) = self.slices.get_mut(self.filled) else {
                return;
            };
            *slot = IoSlice::new(chunk);
            self.filled = self.filled.saturating_add(1);
            left = left.saturating_sub(chunk.len());
        }
    }
}

#[cfg(test)]
mod tests;
