//! The limits of a connection: the broker announces them in its Welcome, and both ends respect them.

/// The limits of a connection (docs/protocol.md §3.3).
///
/// The broker's configuration decides. [`Limits::new`] has the defaults, and the method named like a limit changes it.
///
/// ```
/// use zaichik_proto::Limits;
/// let limits = Limits::new().max_message(4 << 20).max_frame((4 << 20) + Limits::FRAME_ROOM);
/// assert_eq!((limits.max_message, limits.max_window), (4_194_304, 1_024));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Maximum size of a message's key, headers and body together, in bytes. Default 1 MiB.
    pub max_message: u32,
    /// Maximum body of a client's frame after the handshake, in bytes. Default 1 MiB and 4 KiB, so that the largest
    /// message fits together with its topic.
    ///
    /// The body of a broker's frame may exceed the larger of this and
    /// [`MAX_DELIVERY_FRAME`](Self::MAX_DELIVERY_FRAME) by [`FRAME_ROOM`](Self::FRAME_ROOM).
    pub max_frame: u32,
    /// Maximum number of records in one publish, and in all operations of one batch. Default and upper bound 65,536.
    pub max_records: u32,
    /// Maximum window of a subscription, in messages. Default 1,024.
    pub max_window: u32,
    /// Maximum window of a subscription, in bytes of records. Default 1 MiB.
    pub max_window_size: u32,
    /// Maximum number of subscriptions of one connection. Default 100,000.
    pub max_subscriptions: u32,
    /// Silence after which an end sends a Ping, in milliseconds. Default 30,000.
    pub heartbeat_millis: u32,
}

impl Limits {
    /// Maximum body of a frame before the handshake is done, in bytes.
    pub const MAX_HANDSHAKE_FRAME: u32 = 4_096;
    /// Bytes that a frame needs besides the largest message: the fixed fields, the topic and the record header.
    pub const FRAME_ROOM: u32 = 4_096;
    /// Maximum size of a frame in which the broker delivers several records, header included, in bytes.
    pub const MAX_DELIVERY_FRAME: u32 = 65_536;
    /// Maximum number of records in a frame, and of entries in a list with one entry for each record.
    pub const MAX_RECORDS: u32 = 65_536;
    /// Maximum number of elements in any other counted list.
    pub const MAX_ELEMENTS: u32 = 1_024;
    /// Maximum number of operations in a batch (rule X6).
    pub const MAX_OPERATIONS: u32 = 1_000;
    /// Maximum size of a key, in bytes.
    pub const MAX_KEY: usize = 1_024;
    /// Maximum size of a token, in bytes.
    pub const MAX_TOKEN: usize = 1_024;
    /// Maximum size of the text in a [`Fatal`](crate::Fatal) frame, in bytes; a longer text is truncated.
    pub const MAX_TEXT: usize = 1_024;

    /// The default limits.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            max_message: 1 << 20,
            max_frame: (1 << 20) + Self::FRAME_ROOM,
            max_records: Self::MAX_RECORDS,
            max_window: 1_024,
            max_window_size: 1 << 20,
            max_subscriptions: 100_000,
            heartbeat_millis: 30_000,
        }
    }

    /// Sets the maximum size of a message; [`max_frame`](Self::max_frame) has to leave room for it.
    #[must_use]
    pub const fn max_message(mut self, bytes: u32) -> Self {
        self.max_message = bytes;
        self
    }

    /// Sets the maximum body of a client's frame.
    #[must_use]
    pub const fn max_frame(mut self, bytes: u32) -> Self {
        self.max_frame = bytes;
        self
    }

    /// Sets the maximum number of records in one publish or batch.
    #[must_use]
    pub const fn max_records(mut self, count: u32) -> Self {
        self.max_records = count;
        self
    }

    /// Sets the maximum window in messages.
    #[must_use]
    pub const fn max_window(mut self, messages: u32) -> Self {
        self.max_window = messages;
        self
    }

    /// Sets the maximum window in bytes.
    #[must_use]
    pub const fn max_window_size(mut self, bytes: u32) -> Self {
        self.max_window_size = bytes;
        self
    }

    /// Sets the maximum number of subscriptions.
    #[must_use]
    pub const fn max_subscriptions(mut self, count: u32) -> Self {
        self.max_subscriptions = count;
        self
    }

    /// Sets the silence after which an end sends a Ping.
    #[must_use]
    pub const fn heartbeat_millis(mut self, millis: u32) -> Self {
        self.heartbeat_millis = millis;
        self
    }

    /// The number of records that a decoder allows in a publish or batch, whatever the other end announced.
    pub(crate) const fn record_limit(&self) -> u32 {
        if self.max_records < Self::MAX_RECORDS { self.max_records } else { Self::MAX_RECORDS }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new()
    }
}
