//! A message to publish.

use std::time::Duration;

use bytes::Bytes;
use zaichik_proto::{Record, micros};

/// A message to publish: a body, and optionally a key, headers and a time to live.
///
/// Strings, byte vectors and [`Bytes`] convert into a message:
///
/// ```
/// use std::time::Duration;
/// use zaichik_driver::Outgoing;
/// let plain: Outgoing = "hello".into();
/// let full = Outgoing::new("hello").key("user-7").header("trace", "a1b2").ttl(Duration::from_secs(60));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outgoing {
    body: Bytes,
    key: Option<Bytes>,
    headers: Vec<(String, Bytes)>,
    ttl: Option<Duration>,
    tombstone: bool,
}

impl Outgoing {
    /// A message with a body and nothing else.
    #[must_use]
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..Self::default() }
    }

    /// A message that deletes a key from a topic that keeps the latest value of each (rule C7).
    #[must_use]
    pub fn tombstone(key: impl Into<Bytes>) -> Self {
        Self { key: Some(key.into()), tombstone: true, ..Self::default() }
    }

    /// The key for compaction, at most 1,024 bytes; the empty key is a key.
    #[must_use]
    pub fn key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Adds a header: a name of 1 to 255 bytes, a value of at most 65,535.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The message's time to live, if it is shorter than the topic's; at least a microsecond (rule R8).
    #[must_use]
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Its approximate size on the wire, in bytes.
    pub(crate) fn len(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.len().saturating_add(value.len()));
        let headers = headers.fold(0, usize::saturating_add);
        let key = self.key.as_ref().map_or(0, Bytes::len);
        self.body.len().saturating_add(headers).saturating_add(key)
    }

    /// The message as a record; `headers` has its [`headers`](Self::headers).
    fn record<'a>(&'a self, headers: &'a [(&'a str, &'a [u8])]) -> Record<'a> {
        Record {
            key: self.key.as_deref(),
            headers,
            body: &self.body,
            ttl_micros: self.ttl.map(micros),
            tombstone: self.tombstone,
            timestamp: 0,
        }
    }

    fn headers(&self) -> Vec<(&str, &[u8])> {
        self.headers.iter().map(|(name, value)| (name.as_str(), &value[..])).collect()
    }

    /// Lends messages as records.
    pub(crate) fn with_records<T>(messages: &[Self], lend: impl FnOnce(&[Record<'_>]) -> T) -> T {
        if let [message] = messages {
            let headers = message.headers();
            return lend(&[message.record(&headers)]);
        }
        let headers: Vec<_> = messages.iter().map(Self::headers).collect();
        let records = messages.iter().zip(&headers).map(|(message, headers)| message.record(headers));
        lend(&records.collect::<Vec<_>>())
    }
}

impl From<Bytes> for Outgoing {
    fn from(body: Bytes) -> Self {
        Self::new(body)
    }
}

impl From<Vec<u8>> for Outgoing {
    fn from(body: Vec<u8>) -> Self {
        Self::new(body)
    }
}

impl From<String> for Outgoing {
    fn from(body: String) -> Self {
        Self::new(body)
    }
}

impl From<&str> for Outgoing {
    fn from(body: &str) -> Self {
        Self::new(Bytes::copy_from_slice(body.as_bytes()))
    }
}

impl From<&[u8]> for Outgoing {
    fn from(body: &[u8]) -> Self {
        Self::new(Bytes::copy_from_slice(body))
    }
}
