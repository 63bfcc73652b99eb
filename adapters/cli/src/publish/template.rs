//! Placeholders in bodies and keys.

use bytes::Bytes;
use zaichik_tokio::Timestamp;

use crate::rfc3339;

/// A copy of `text` with `{{n}}` replaced by the message's number and `{{ts}}` by the time in RFC 3339; white space inside
/// the braces is allowed, and other braces stay as they are.
pub(super) fn fill(text: &[u8], number: u64, now: Timestamp) -> Bytes {
    let mut filled = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = match placeholder(rest) {
            Some((b"n", after)) => {
                filled.extend_from_slice(number.to_string().as_bytes());
                after
            }
            Some((b"ts", after)) => {
                filled.extend_from_slice(rfc3339::format(now).as_bytes());
                after
            }
            _ => {
                filled.push(*first);
                after
            }
        };
    }
    filled.into()
}

/// The name in the braces that `text` starts with, and the text after them.
fn placeholder(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let inner = text.strip_prefix(b"{{")?;
    let end = inner.windows(2).take(MAX_PLACEHOLDER).position(|end| end == b"}}")?;
    let (name, after) = inner.split_at_checked(end)?;
    Some((name.trim_ascii(), after.strip_prefix(b"}}")?))
}

/// Maximum bytes between the braces of a placeholder, so that braces without an end cost little.
const MAX_PLACEHOLDER: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_placeholders_are_filled() {
        let now = Timestamp::from_micros(1_763_805_600_000_000);
        assert_eq!(fill(b"{{n}}: {{ts}}", 7, now), "7: 2025-11-22T10:00:00.000000Z");
        assert_eq!(fill(b"{{{n}}} {{N}} {{n} {{", 7, now), "{7} {{N}} {{n} {{");
        assert_eq!(fill(b"{{ n }} {{  ts}}", 7, now), "7 2025-11-22T10:00:00.000000Z");
        assert_eq!(fill(b"\xff{{n}}\xfe", 10, now)[..], *b"\xff10\xfe");
    }
}
