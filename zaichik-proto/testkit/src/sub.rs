//! Subscriptions and records in short notation for tests.

use zaichik_proto::{Durable, OnConflict, Record, Start};

/// The options of a subscription. Defaults: window 1, from the earliest record, not durable.
#[derive(Debug, Clone, Copy)]
pub struct Sub<'a> {
    pub(crate) number: u32,
    pub(crate) topic: &'a str,
    pub(crate) start: Start,
    pub(crate) window: u32,
    pub(crate) window_bytes: u32,
    pub(crate) durable: Option<Durable<'a>>,
    pub(crate) max_attempts: u32,
    pub(crate) dead_letter: &'a str,
}

impl<'a> Sub<'a> {
    /// The subscription of this number on the connection.
    #[must_use]
    pub const fn new(number: u32, topic: &'a str) -> Self {
        Self {
            number,
            topic,
            start: Start::Earliest,
            window: 1,
            window_bytes: 0,
            durable: None,
            max_attempts: 0,
            dead_letter: "",
        }
    }

    /// Where it starts.
    #[must_use]
    pub const fn from(self, start: Start) -> Self {
        Self { start, ..self }
    }

    /// Its window in records.
    #[must_use]
    pub const fn window(self, window: u32) -> Self {
        Self { window, ..self }
    }

    /// Its window in bytes.
    #[must_use]
    pub const fn window_bytes(self, window_bytes: u32) -> Self {
        Self { window_bytes, ..self }
    }

    /// Durable under this name; takes over from a current holder.
    #[must_use]
    pub const fn durable(self, name: &'a str) -> Self {
        let on_conflict = OnConflict::TakeOver;
        Self { durable: Some(Durable { name, on_conflict, epoch: 0, inactive_ttl_micros: 0 }), ..self }
    }

    /// Refused if the durable subscription has a holder.
    #[must_use]
    pub fn reject(self) -> Self {
        Self { durable: self.durable.map(|it| Durable { on_conflict: OnConflict::Reject, ..it }), ..self }
    }

    /// As the holder of this epoch.
    #[must_use]
    pub fn epoch(self, epoch: u32) -> Self {
        Self { durable: self.durable.map(|it| Durable { epoch, ..it }), ..self }
    }

    /// How long the cursor is kept without a connection, in microseconds; 0 for the broker's default.
    #[must_use]
    pub fn inactive(self, inactive_ttl_micros: u64) -> Self {
        Self { durable: self.durable.map(|it| Durable { inactive_ttl_micros, ..it }), ..self }
    }

    /// The topic to which a record is moved after this many failures.
    #[must_use]
    pub const fn dead_letter(self, max_attempts: u32, dead_letter: &'a str) -> Self {
        Self { max_attempts, dead_letter, ..self }
    }
}

/// A record with only a body.
#[must_use]
pub const fn record(body: &[u8]) -> Record<'_> {
    keyed_or_not(None, body)
}

/// A record with its own time to live.
#[must_use]
pub const fn mortal(body: &str, ttl_micros: u64) -> Record<'_> {
    Record { ttl_micros: Some(ttl_micros), ..record(body.as_bytes()) }
}

/// A record under a key.
#[must_use]
pub const fn keyed<'a>(key: &'a str, body: &'a [u8]) -> Record<'a> {
    keyed_or_not(Some(key.as_bytes()), body)
}

const fn keyed_or_not<'a>(key: Option<&'a [u8]>, body: &'a [u8]) -> Record<'a> {
    Record { key, headers: &[], body, ttl_micros: None, tombstone: false, timestamp: 0 }
}
