//! How each frame looks on the wire: kind numbers, and one parse and one write per direction.

mod batch;
mod client;
mod server;

use bytes::{BufMut, BytesMut};

use crate::header::{FrameHeader, HEADER_LEN};
use crate::name::MAX_NAME_LEN;

/// Kinds that a client sends.
pub(crate) mod client_kind {
    pub(crate) const HELLO: u8 = 0x01;
    pub(crate) const CREATE_TOPIC: u8 = 0x02;
    pub(crate) const ALTER_TOPIC: u8 = 0x03;
    pub(crate) const PUBLISH: u8 = 0x04;
    pub(crate) const SUBSCRIBE: u8 = 0x05;
    pub(crate) const UNSUBSCRIBE: u8 = 0x06;
    pub(crate) const COMMIT: u8 = 0x07;
    pub(crate) const NACK: u8 = 0x08;
    pub(crate) const SEEK: u8 = 0x09;
    pub(crate) const BATCH: u8 = 0x0a;
    pub(crate) const PING: u8 = 0x0b;
    pub(crate) const PONG: u8 = 0x0c;
    pub(crate) const CLOSE: u8 = 0x0d;
    pub(crate) const DESCRIBE: u8 = 0x0e;
    pub(crate) const REMOVE_DURABLE: u8 = 0x0f;
    pub(crate) const LAST: u8 = REMOVE_DURABLE;
}

/// Kinds that the broker sends.
pub(crate) mod server_kind {
    pub(crate) const WELCOME: u8 = 0x41;
    pub(crate) const TOPIC_READY: u8 = 0x42;
    pub(crate) const ACKS: u8 = 0x43;
    pub(crate) const PUBLISHED: u8 = 0x44;
    pub(crate) const BATCHED: u8 = 0x45;
    pub(crate) const REFUSED: u8 = 0x46;
    pub(crate) const DONE: u8 = 0x47;
    pub(crate) const SUBSCRIBED: u8 = 0x48;
    pub(crate) const DELIVERY: u8 = 0x49;
    pub(crate) const GAP: u8 = 0x4a;
    pub(crate) const FENCED: u8 = 0x4b;
    pub(crate) const UNSUBSCRIBED: u8 = 0x4c;
    pub(crate) const PING: u8 = 0x4d;
    pub(crate) const PONG: u8 = 0x4e;
    pub(crate) const GOODBYE: u8 = 0x4f;
    pub(crate) const FATAL: u8 = 0x50;
    pub(crate) const COUNTERS: u8 = 0x51;
    pub(crate) const TOPICS: u8 = 0x52;
    pub(crate) const SUBSCRIPTIONS: u8 = 0x53;
    pub(crate) const LAST: u8 = SUBSCRIPTIONS;
}

/// From here on a kind is an extension, skipped by who does not know it.
pub(crate) const FIRST_EXTENSION: u8 = 0x80;

/// Stands for "none" where an offset may be missing.
pub(crate) const NO_OFFSET: u64 = u64::MAX;

/// Appends a frame whose body `write` appends; the length is filled in afterwards.
fn framed(out: &mut BytesMut, kind: u8, write: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_slice(&[0; HEADER_LEN]);
    write(out);
    let body_len = out.len().saturating_sub(start).saturating_sub(HEADER_LEN);
    // A body above 4 GiB can't be told: its length saturates, which every decoder refuses.
    let header = FrameHeader { body_len: u32::try_from(body_len).unwrap_or(u32::MAX), kind };
    if let Some(place) = out.get_mut(start..).and_then(|frame| frame.first_chunk_mut::<HEADER_LEN>()) {
        *place = header.to_bytes();
    }
}

/// Appends a topic's name behind a one-byte length.
///
/// A name that does not fit becomes `$`, which every broker refuses: cut off, it would be another topic's.
fn put_topic(out: &mut impl BufMut, name: &[u8]) {
    put_short(out, name, b"$");
}

/// Appends bytes behind a one-byte length; `otherwise` if they are too long for it.
pub(crate) fn put_short(out: &mut impl BufMut, bytes: &[u8], otherwise: &[u8]) {
    let bytes = if bytes.len() > MAX_NAME_LEN { otherwise } else { bytes };
    out.put_u8(u8::try_from(bytes.len()).unwrap_or(u8::MAX));
    out.put_slice(bytes);
}

/// Appends text that nothing depends on behind a one-byte length; what does not fit is cut off.
fn put_label(out: &mut BytesMut, text: &str) {
    put_short(out, cut(text, MAX_NAME_LEN).as_bytes(), b"");
}

/// The longest start of a text that has at most `max` bytes.
fn cut(text: &str, max: usize) -> &str {
    text.get(..text.floor_char_boundary(max)).unwrap_or_default()
}

/// Appends bytes behind a two-byte length; what does not fit is cut off.
fn put_long(out: &mut BytesMut, bytes: &[u8]) {
    let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.put_u16_le(len);
    out.put_slice(bytes.get(..usize::from(len)).unwrap_or_default());
}
