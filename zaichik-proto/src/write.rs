//! Writers of frames and of the fields that many bodies have.

use bytes::{BufMut, BytesMut};

use crate::header::{FrameHeader, HEADER_LEN};
use crate::name::MAX_NAME_LEN;

/// Appends a frame whose body `write` appends, then fills in its length.
pub(crate) fn framed(out: &mut BytesMut, kind: u8, write: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_slice(&[0; HEADER_LEN]);
    write(out);
    let body_len = out.len().saturating_sub(start).saturating_sub(HEADER_LEN);
    // The length of a body above 4 GiB saturates, which every decoder refuses.
    let header = FrameHeader { body_len: u32::try_from(body_len).unwrap_or(u32::MAX), kind };
    if let Some(place) = out.get_mut(start..).and_then(|frame| frame.first_chunk_mut::<HEADER_LEN>()) {
        *place = header.to_bytes();
    }
}

/// Appends a topic's name after a one-byte length.
///
/// A name that does not fit becomes `$`, which every broker refuses; truncated, it would name another topic.
pub(crate) fn put_topic(out: &mut impl BufMut, name: &[u8]) {
    put_short(out, name, b"$");
}

/// Appends bytes after a one-byte length, or `otherwise` if they are too long for it.
pub(crate) fn put_short(out: &mut impl BufMut, bytes: &[u8], otherwise: &[u8]) {
    let bytes = if bytes.len() > MAX_NAME_LEN { otherwise } else { bytes };
    out.put_u8(u8::try_from(bytes.len()).unwrap_or(u8::MAX));
    out.put_slice(bytes);
}

/// Appends informational text after a one-byte length; a longer text is truncated.
pub(crate) fn put_label(out: &mut BytesMut, text: &str) {
    put_short(out, cut(text, MAX_NAME_LEN).as_bytes(), b"");
}

/// The longest prefix of a text with at most `max` bytes.
pub(crate) fn cut(text: &str, max: usize) -> &str {
    text.get(..text.floor_char_boundary(max)).unwrap_or_default()
}

/// Appends bytes after a two-byte length; longer bytes are truncated.
pub(crate) fn put_long(out: &mut BytesMut, bytes: &[u8]) {
    let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.put_u16_le(len);
    out.put_slice(bytes.get(..usize::from(len)).unwrap_or_default());
}
