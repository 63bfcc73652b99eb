//! The numbers both ends agree on: the broker announces them in its Welcome.

/// What a connection may carry (docs/protocol.md §3.3); the broker's configuration decides.
///
/// ```
/// use zaichik_proto::Limits;
/// let limits = Limits { max_message: 4 << 20, max_frame: (4 << 20) + Limits::FRAME_ROOM, ..Limits::default() };
/// assert_eq!(limits.max_window, 1_024);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest key, headers and body of one message together, in bytes. Default 1 MiB.
    pub max_message: u32,
    /// Largest body of a client's frame once the handshake is done, in bytes. The broker's may have
    /// [`FRAME_ROOM`](Self::FRAME_ROOM) more than this or [`MAX_DELIVERY_FRAME`](Self::MAX_DELIVERY_FRAME),
    /// whichever is larger. Default 1 MiB and 4 KiB, so that the largest message fits with its topic.
    pub max_frame: u32,
    /// Most records in one publish, and in all of one batch. Default and upper bound 65,536.
    pub max_records: u32,
    /// Largest window of a subscription, in messages. Default 1,024.
    pub max_window: u32,
    /// Largest window of a subscription, in bytes of records. Default 1 MiB.
    pub max_window_bytes: u32,
    /// Most subscriptions of one connection. Default 100,000.
    pub max_subscriptions: u32,
    /// Silence after which an end sends a Ping, in milliseconds. Default 30,000.
    pub heartbeat_millis: u32,
}

impl Limits {
    /// Largest body before the handshake is done, in bytes.
    pub const MAX_HANDSHAKE_FRAME: u32 = 4_096;
    /// Room that a frame needs beside the largest message: the fixed fields, the topic and the record header.
    pub const FRAME_ROOM: u32 = 4_096;
    /// Largest frame in which the broker delivers several records, header included, in bytes.
    pub const MAX_DELIVERY_FRAME: u32 = 65_536;
    /// Most records of a frame, and of any list with an entry for each of them.
    pub const MAX_RECORDS: u32 = 65_536;
    /// Most elements of any other counted list.
    pub const MAX_ELEMENTS: u32 = 1_024;
    /// Most operations of a batch (semantics X6).
    pub const MAX_OPERATIONS: u32 = 1_000;
    /// Longest key, in bytes.
    pub const MAX_KEY: usize = 1_024;
    /// Longest token, in bytes.
    pub const MAX_TOKEN: usize = 1_024;
    /// Longest text of a [`Fatal`](crate::Fatal) frame, in bytes; a longer one is cut off.
    pub const MAX_TEXT: usize = 1_024;

    /// What bounds the records of one publish, and of one batch.
    pub(crate) const fn max_records(&self) -> u32 {
        if self.max_records < Self::MAX_RECORDS { self.max_records } else { Self::MAX_RECORDS }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message: 1 << 20,
            max_frame: (1 << 20) + Self::FRAME_ROOM,
            max_records: Self::MAX_RECORDS,
            max_window: 1_024,
            max_window_bytes: 1 << 20,
            max_subscriptions: 100_000,
            heartbeat_millis: 30_000,
        }
    }
}
