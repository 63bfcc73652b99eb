//! A message as a line of JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use zaichik_tokio::Timestamp;

use crate::printable::printable_json;
use crate::rfc3339;

/// A message, as JSON; keys, bodies and values of headers that are not UTF-8 are in base64.
#[derive(Debug, Serialize)]
pub(crate) struct JsonMessage<'a> {
    topic: &'a str,
    offset: u64,
    timestamp: String,
    attempt: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    headers: Vec<JsonHeader<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    #[serde(skip_serializing_if = "is_false")]
    tombstone: bool,
}

#[derive(Debug, Serialize)]
struct JsonHeader<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

impl<'a> JsonMessage<'a> {
    /// A tombstone without a key. `attempt` is 0 if it is delivered to no subscription.
    pub(crate) fn new(topic: &'a str, offset: u64, timestamp: Timestamp, attempt: u32) -> Self {
        Self {
            topic,
            offset,
            timestamp: rfc3339::format(timestamp),
            attempt,
            key: None,
            key_base64: None,
            headers: Vec::new(),
            body: None,
            body_base64: None,
            tombstone: true,
        }
    }

    pub(crate) fn key(mut self, key: Option<&'a [u8]>) -> Self {
        (self.key, self.key_base64) = key.map(text_or_base64).unwrap_or_default();
        self
    }

    pub(crate) fn headers(mut self, headers: impl Iterator<Item = (&'a str, &'a [u8])>) -> Self {
        let headers = headers.map(|(name, value)| {
            let (value, value_base64) = text_or_base64(value);
            JsonHeader { name, value, value_base64 }
        });
        self.headers = headers.collect();
        self
    }

    /// A body, which makes it no tombstone; `None` leaves it one.
    pub(crate) fn body(mut self, body: Option<&'a [u8]>) -> Self {
        (self.body, self.body_base64) = body.map(text_or_base64).unwrap_or_default();
        self.tombstone = body.is_none();
        self
    }

    /// The line, with its end.
    pub(crate) fn line(&self) -> Option<String> {
        let json = serde_json::to_string(self).ok()?;
        Some(printable_json(&json) + "\n")
    }
}

fn text_or_base64(bytes: &[u8]) -> (Option<&str>, Option<String>) {
    match str::from_utf8(bytes) {
        Ok(text) => (Some(text), None),
        Err(_) => (None, Some(STANDARD.encode(bytes))),
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde requires a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}
