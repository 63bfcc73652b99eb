//! Bytes to send: two bounded lanes, written as one stream (rule A7).
//!
//! The machine owns the write cursor. The adapter peeks ([`Buf::chunks_vectored`]), writes what the socket accepts and
//! reports the length ([`Buf::advance`]); partial or abandoned writes are safe.

use std::collections::VecDeque;
use std::fmt;
use std::io::IoSlice;
use std::ops::RangeInclusive;

use bytes::{Buf, Bytes, BytesMut};

/// Bodies up to this many bytes are copied next to their header: an `IoSlice` costs more than the copy.
const INLINE_MAX: usize = 512;

/// Minimum and maximum room reserved in the open buffer of a lane: it doubles from one to the other, so that quiet
/// connections own little memory. It is reused once everything split off it was written.
const OPEN_ROOM: RangeInclusive<usize> = 256..=4 << 10;

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
        lane.reserve_open();
        let before = lane.open.len();
        write(&mut lane.open);
        let len = lane.open.len().saturating_sub(before);
        lane.len = lane.len.saturating_add(len);
        if is_stream {
            lane.frames.push_back(len);
            self.stream_put = self.stream_put.saturating_add(len as u64);
        }
    }

    /// Appends a stream frame: a head that `write` encodes, and a body, which is shared instead of copied if it is
    /// large.
    pub(crate) fn stream_frame_with(&mut self, body: &Bytes, write: impl FnOnce(&mut BytesMut)) {
        let lane = &mut self.stream;
        lane.reserve_open();
        let before = lane.open.len();
        write(&mut lane.open);
        let mut len = lane.open.len().saturating_sub(before);
        len = len.saturating_add(body.len());
        if body.len() <= INLINE_MAX {
            lane.open.extend_from_slice(body);
        } else {
            lane.seal();
            lane.pieces.push_back(Piece { bytes: body.clone(), is_shared: true });
            lane.shared_len = lane.shared_len.saturating_add(body.len());
        }
        lane.len = lane.len.saturating_add(len);
        lane.frames.push_back(len);
        self.stream_put = self.stream_put.saturating_add(len as u64);
    }

    /// Drops unsent stream frames, except the rest of a partly sent one.
    pub(crate) fn clear_stream(&mut self) {
        let keep = self.stream_partial;
        self.stream.truncate(keep);
    }

    /// Drops everything: the connection is gone.
    pub(crate) fn clear(&mut self) {
        let Self { taken, stream_put, .. } = *self;
        *self = Self { taken, stream_put, ..Self::default() };
    }

    /// Frees memory when there is nothing to send.
    pub(crate) fn shrink(&mut self) {
        if !self.has_remaining() {
            self.clear();
        }
    }

    /// Bytes waiting in the stream lane.
    #[must_use]
    pub const fn stream_len(&self) -> usize {
        self.stream.len
    }

    /// Bytes waiting in both lanes, without shared bodies, which are charged to their topic.
    pub(crate) const fn own_len(&self) -> usize {
        self.stream.len.saturating_add(self.control.len).saturating_sub(self.stream.shared_len)
    }

    /// Bytes waiting in the control lane.
    #[must_use]
    pub const fn control_len(&self) -> usize {
        self.control.len
    }

    /// Total bytes put into the stream lane, and total bytes that have left it.
    pub(crate) const fn stream_progress(&self) -> (u64, u64) {
        (self.stream_put, self.stream_put.saturating_sub(self.stream.len as u64))
    }

    /// Total bytes taken by [`Buf::advance`].
    #[must_use]
    pub const fn taken(&self) -> u64 {
        self.taken
    }

    const fn lane(&mut self, lane: LaneKind) -> &mut Lane {
        match lane {
            LaneKind::Stream => &mut self.stream,
            LaneKind::Control => &mut self.control,
        }
    }
}

impl Buf for Outbound {
    fn remaining(&self) -> usize {
        self.stream.len.saturating_add(self.control.len)
    }

    fn chunk(&self) -> &[u8] {
        if self.stream_partial > 0 {
            let chunk = self.stream.chunk();
            return chunk.get(..self.stream_partial).unwrap_or(chunk);
        }
        let control = self.control.chunk();
        if control.is_empty() { self.stream.chunk() } else { control }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filler = Filler { slices, filled: 0 };
        filler.add(self.stream.chunks(0), self.stream_partial);
        filler.add(self.control.chunks(0), self.control.len);
        filler.add(self.stream.chunks(self.stream_partial), self.stream.len);
        filler.filled
    }

    fn advance(&mut self, count: usize) {
        assert!(count <= self.remaining(), "advanced past the end of the outbound bytes");
        self.taken = self.taken.saturating_add(count as u64);
        let mut left = count;
        let partial = left.min(self.stream_partial);
        self.stream_partial = self.stream_partial.saturating_sub(partial);
        self.stream.take(partial);
        left = left.saturating_sub(partial);
        let control = left.min(self.control.len);
        self.control.take(control);
        left = left.saturating_sub(control);
        if left > 0 {
            self.stream_partial = self.stream.take(left);
        }
    }
}

impl fmt::Debug for Outbound {
    /// Shows lengths, not bytes: a client's handshake contains its token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound")
            .field("stream_len", &self.stream.len)
            .field("control_len", &self.control.len)
            .field("taken", &self.taken)
            .finish_non_exhaustive()
    }
}

/// Frames in order: finished pieces, then an open buffer for small frames.
#[derive(Default)]
struct Lane {
    pieces: VecDeque<Piece>,
    open: BytesMut,
    /// Room last reserved in it; 0 when it holds no memory.
    open_room: usize,
    /// Bytes in `pieces` and `open`.
    len: usize,
    /// Bytes in shared pieces.
    shared_len: usize,
    /// Remaining bytes of each frame, in order; kept for the stream lane only.
    frames: VecDeque<usize>,
}

/// A finished part of a lane.
struct Piece {
    bytes: Bytes,
    /// Whether the bytes are a slice of a topic's memory, which charges them.
    is_shared: bool,
}

impl Lane {
    fn reserve_open(&mut self) {
        if self.open.capacity().saturating_sub(self.open.len()) < 64 {
            let room = self.open_room.saturating_mul(2);
            self.open_room = room.clamp(*OPEN_ROOM.start(), *OPEN_ROOM.end());
            self.open.reserve(self.open_room);
        }
    }

    fn seal(&mut self) {
        if !self.open.is_empty() {
            self.pieces.push_back(Piece { bytes: self.open.split().freeze(), is_shared: false });
        }
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.front().map_or(&self.open, |piece| &piece.bytes)
    }

    /// The chunks in order, after `skip` bytes.
    fn chunks(&self, skip: usize) -> impl Iterator<Item = &[u8]> {
        let chunks = self.pieces.iter().map(|piece| &piece.bytes[..]).chain(core::iter::once(&self.open[..]));
        chunks.scan(skip, |skip, chunk| {
            let skipped = chunk.len().min(*skip);
            *skip = skip.saturating_sub(skipped);
            Some(chunk.get(skipped..).unwrap_or_default())
        })
    }

    /// Removes `count` bytes from the front; returns the remaining bytes of a frame that this split, or 0.
    fn take(&mut self, count: usize) -> usize {
        self.len = self.len.saturating_sub(count);
        let mut left = count;
        while left > 0 {
            let Some(piece) = self.pieces.front_mut() else {
                self.open.advance(left.min(self.open.len()));
                break;
            };
            let part = piece.bytes.len().min(left);
            piece.bytes.advance(part);
            if piece.is_shared {
                self.shared_len = self.shared_len.saturating_sub(part);
            }
            if piece.bytes.is_empty() {
                self.pieces.pop_front();
            }
            left = left.saturating_sub(part);
        }
        self.take_frames(count)
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

    /// Keeps the first `keep` bytes, which are the rest of the first frame.
    fn truncate(&mut self, keep: usize) {
        self.seal();
        let mut left = keep;
        self.shared_len = 0;
        for piece in &mut self.pieces {
            let part = piece.bytes.len().min(left);
            piece.bytes.truncate(part);
            left = left.saturating_sub(part);
            if piece.is_shared {
                self.shared_len = self.shared_len.saturating_add(part);
            }
        }
        self.pieces.retain(|piece| !piece.bytes.is_empty());
        self.frames.truncate(usize::from(keep > 0));
        self.len = keep;
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
