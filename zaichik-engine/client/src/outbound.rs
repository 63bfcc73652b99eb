//! The bytes that a client has to send.

use core::fmt;
use core::ops::RangeInclusive;

use bytes::{Buf, BytesMut};

/// Bytes to reserve when the buffer is full: they double from the lower to the upper bound, so that a connection that
/// sends little holds little memory.
const ROOM: RangeInclusive<usize> = 256..=4 << 10;

/// Free bytes below which room is reserved.
const LEAST_FREE: usize = 64;

/// The bytes that a client has to send, as a [`Buf`].
///
/// Write the bytes of [`Buf::chunk`], then report how many of them the socket accepted with [`Buf::advance`]; a partial
/// or abandoned write is harmless.
///
/// ```
/// use bytes::Buf;
/// use zaichik_client::{Client, ClientConfig, Timestamp};
///
/// let mut client = Client::new(ClientConfig::new(9));
/// client.handle_connected(Timestamp::from_micros(1));
/// let outbound = client.outbound();
/// let before = outbound.remaining();
/// outbound.advance(3); // the socket accepted three bytes
/// assert_eq!((outbound.remaining(), outbound.taken()), (before - 3, 3));
/// ```
#[derive(Default)]
pub struct Outbound {
    bytes: BytesMut,
    /// Room last reserved; 0 when the buffer holds no memory.
    room: usize,
    taken: u64,
}

impl Outbound {
    /// Appends a frame that `write` encodes.
    pub(crate) fn frame(&mut self, write: impl FnOnce(&mut BytesMut)) {
        if self.bytes.capacity().saturating_sub(self.bytes.len()) < LEAST_FREE {
            self.room = self.room.saturating_mul(2).clamp(*ROOM.start(), *ROOM.end());
            self.bytes.reserve(self.room);
        }
        write(&mut self.bytes);
    }

    /// Drops everything: the connection is gone.
    pub(crate) fn clear(&mut self) {
        let taken = self.taken;
        *self = Self { taken, ..Self::default() };
    }

    /// Frees its memory when there is nothing to send.
    pub(crate) fn shrink(&mut self) {
        if self.bytes.is_empty() {
            self.clear();
        }
    }

    /// Bytes that wait to be written.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Total bytes taken by [`Buf::advance`].
    #[must_use]
    pub const fn taken(&self) -> u64 {
        self.taken
    }
}

impl Buf for Outbound {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        self.taken = self.taken.saturating_add(count as u64);
    }
}

impl fmt::Debug for Outbound {
    /// Shows lengths, not bytes: a client's handshake contains its token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound")
            .field("len", &self.len())
            .field("taken", &self.taken)
            .finish_non_exhaustive()
    }
}
