//! The options of a shared subscription (chapter G).

use core::time::Duration;

/// A subscription whose messages are shared by its members, named within its topic: each message goes to one of them and
/// is acknowledged alone (chapter G).
///
/// ```
/// use std::time::Duration;
/// use zaichik_client::{SharedOptions, SubscribeOptions};
/// let workers = SharedOptions::new("workers").by_key().ack_deadline(Duration::from_mins(5));
/// let options = SubscribeOptions::new().window(64).shared(workers);
/// assert_eq!(options.shared.map(|shared| shared.name), Some("workers".to_owned()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SharedOptions {
    /// Its name, 1 to 255 bytes.
    pub name: String,
    /// Whether messages with one key are held by one member at a time, in order (rule G7). Default false. All members ask
    /// for the same.
    pub by_key: bool,
    /// How long a member may hold a message before it goes to another one (rule G6); [`Duration::MAX`] for any time.
    /// Default 30 s.
    pub ack_deadline: Duration,
    /// Maximum distance between the first message that is not acknowledged and those that are handed out (rule G4); 0 for
    /// the broker's 65,536, the default.
    pub max_span: u32,
    /// How long it is kept without members; [`Duration::MAX`] for no limit, zero for the broker's setting (24 h), which
    /// is the default.
    pub inactive_ttl: Duration,
}

impl SharedOptions {
    /// The defaults, with this name.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            by_key: false,
            ack_deadline: Duration::from_secs(30),
            max_span: 0,
            inactive_ttl: Duration::ZERO,
        }
    }

    /// Messages with one key are held by one member at a time, in order.
    #[must_use]
    pub const fn by_key(mut self) -> Self {
        self.by_key = true;
        self
    }

    /// How long a member may hold a message; [`Duration::MAX`] for any time.
    #[must_use]
    pub const fn ack_deadline(mut self, deadline: Duration) -> Self {
        self.ack_deadline = deadline;
        self
    }

    /// Maximum distance between the first message that is not acknowledged and those that are handed out.
    #[must_use]
    pub const fn max_span(mut self, offsets: u32) -> Self {
        self.max_span = offsets;
        self
    }

    /// How long it is kept without members.
    #[must_use]
    pub const fn inactive_ttl(mut self, ttl: Duration) -> Self {
        self.inactive_ttl = ttl;
        self
    }
}

impl<T: Into<String>> From<T> for SharedOptions {
    fn from(name: T) -> Self {
        Self::new(name)
    }
}
