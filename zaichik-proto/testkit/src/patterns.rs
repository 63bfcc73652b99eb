//! The requests of a client that subscribes to patterns of topics.

use zaichik_proto::{ClientFrame, Start, SubscribePattern};

use crate::client::RawClient;

/// The terms of a subscription to a pattern; without others, window 1, from the earliest record.
#[derive(Debug, Clone, Copy)]
pub struct PatternSub<'a>(SubscribePattern<'a>);

impl<'a> PatternSub<'a> {
    /// A subscription to a pattern under this number.
    #[must_use]
    pub const fn new(number: u32, pattern: &'a [u8]) -> Self {
        Self(SubscribePattern {
            request: 1,
            subscription: number,
            pattern,
            start: Start::Earliest,
            window: 1,
            window_bytes: 0,
            max_attempts: 0,
            dead_letter: b"",
            durable: None,
        })
    }

    /// Where the topics begin that exist.
    #[must_use]
    pub const fn start(self, start: Start) -> Self {
        Self(SubscribePattern { start, ..self.0 })
    }

    /// Its window in records, of all topics together.
    #[must_use]
    pub const fn window(self, window: u32) -> Self {
        Self(SubscribePattern { window, ..self.0 })
    }

    /// Its window in bytes, of all topics together.
    #[must_use]
    pub const fn window_bytes(self, window_bytes: u32) -> Self {
        Self(SubscribePattern { window_bytes, ..self.0 })
    }

    /// After this many failures a record goes to this topic.
    #[must_use]
    pub const fn dead_letter(self, max_attempts: u32, topic: &'a str) -> Self {
        Self(SubscribePattern { max_attempts, dead_letter: topic.as_bytes(), ..self.0 })
    }
}

impl RawClient {
    /// Subscribes to a pattern; returns the request's id.
    pub fn subscribe_pattern(&self, pattern: PatternSub<'_>) -> u32 {
        self.request(|request| ClientFrame::SubscribePattern(SubscribePattern { request, ..pattern.0 }))
    }
}
