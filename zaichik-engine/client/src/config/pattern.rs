//! The options of a subscription to a pattern of topics (chapter W).

use zaichik_proto::Start;

use super::SubscribeOptions;

/// Where the topics of a pattern begin, and their common window and dead-letter topic (rules W2, W5, A6).
///
/// ```
/// use zaichik_client::PatternOptions;
/// use zaichik_proto::Start;
/// let options = PatternOptions::new().start(Start::Latest).window(64).dead_letter(5, "orders-dead");
/// assert_eq!((options.window, options.max_attempts), (64, 5));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PatternOptions {
    /// Where the topics begin that exist; those that are created later begin at their first message. Default
    /// [`Start::Earliest`].
    pub start: Start,
    /// Maximum messages delivered and not committed, of all topics together; 0 turns commits off. Default 1.
    pub window: u32,
    /// The same in bytes; 0 for the broker's limit, the default.
    pub window_bytes: u32,
    /// Failures of one message after which it is moved to the dead-letter topic; 0 for no limit, the default.
    pub max_attempts: u32,
    /// The topic that such a message is moved to, which the pattern does not match; empty for none, the default.
    pub dead_letter: String,
}

impl PatternOptions {
    /// The defaults.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            start: Start::Earliest,
            window: 1,
            window_bytes: 0,
            max_attempts: 0,
            dead_letter: String::new(),
        }
    }

    /// Where the topics begin that exist.
    #[must_use]
    pub const fn start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// Maximum messages delivered and not committed, of all topics together; 0 turns commits off.
    #[must_use]
    pub const fn window(mut self, window: u32) -> Self {
        self.window = window;
        self
    }

    /// The same in bytes.
    #[must_use]
    pub const fn window_bytes(mut self, bytes: u32) -> Self {
        self.window_bytes = bytes;
        self
    }

    /// Moves a message to a dead-letter topic after `max_attempts` failures, at least 1.
    #[must_use]
    pub fn dead_letter(mut self, max_attempts: u32, topic: impl Into<String>) -> Self {
        (self.max_attempts, self.dead_letter) = (max_attempts, topic.into());
        self
    }

    /// The options of each topic's subscription.
    pub(crate) fn into_subscribe(self) -> SubscribeOptions {
        let Self { start, window, window_bytes, max_attempts, dead_letter } = self;
        SubscribeOptions { start, window, window_bytes, max_attempts, dead_letter, ..SubscribeOptions::new() }
    }
}

impl Default for PatternOptions {
    fn default() -> Self {
        Self::new()
    }
}
