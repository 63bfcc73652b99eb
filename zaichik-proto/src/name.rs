//! Topic names (rule T6).

use core::fmt;

use thiserror::Error;

/// Maximum length of the name of a topic, client or durable subscription, in bytes.
pub const MAX_NAME_LEN: usize = 255;

/// A valid topic name: 1 to 255 bytes of UTF-8, no control characters, no leading `$`.
///
/// ```
/// use zaichik_proto::{NameError, TopicName};
/// assert_eq!(TopicName::parse(b"orders/eu")?.as_str(), "orders/eu");
/// assert_eq!(TopicName::parse(b"$sys"), Err(NameError::Reserved));
/// # Ok::<(), NameError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName<'a>(&'a str);

impl<'a> TopicName<'a> {
    /// Checks a name.
    ///
    /// # Errors
    /// [`NameError`] says which rule the bytes violate.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, NameError> {
        if bytes.is_empty() {
            return Err(NameError::Empty);
        }
        if bytes.len() > MAX_NAME_LEN {
            return Err(NameError::TooLong { got: bytes.len() });
        }
        let name = core::str::from_utf8(bytes).map_err(|_| NameError::NotUtf8)?;
        if name.starts_with('$') {
            return Err(NameError::Reserved);
        }
        if name.chars().any(char::is_control) {
            return Err(NameError::Control);
        }
        Ok(Self(name))
    }

    /// The name as text.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }
}

impl fmt::Display for TopicName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Why a name is not valid.
///
/// ```
/// use zaichik_proto::{NameError, TopicName};
/// assert_eq!(TopicName::parse(b""), Err(NameError::Empty));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NameError {
    /// The name is empty.
    #[error("a name must have at least one byte")]
    Empty,
    /// The name is longer than [`MAX_NAME_LEN`].
    #[error("a name has {got} bytes; the maximum is 255")]
    TooLong {
        /// The length in bytes.
        got: usize,
    },
    /// The name is not UTF-8.
    #[error("a name must be UTF-8")]
    NotUtf8,
    /// The name has a control character.
    #[error("a name must have no control characters")]
    Control,
    /// The name starts with `$`, which is reserved for the broker.
    #[error("names that start with $ are reserved")]
    Reserved,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t_06_only_valid_names_are_accepted() {
        let longest = [b'a'; 255];
        assert_eq!(TopicName::parse(&longest).map(|name| name.as_str().len()), Ok(255));
        assert_eq!(TopicName::parse(&[b'a'; 256]), Err(NameError::TooLong { got: 256 }));
        assert_eq!(TopicName::parse(b""), Err(NameError::Empty));
        assert_eq!(TopicName::parse(b"a\nb"), Err(NameError::Control));
        assert_eq!(TopicName::parse("a\u{85}b".as_bytes()), Err(NameError::Control));
        assert_eq!(TopicName::parse(b"a\0b"), Err(NameError::Control));
        assert_eq!(TopicName::parse(b"$x"), Err(NameError::Reserved));
        assert_eq!(TopicName::parse(b"\xff\xfe"), Err(NameError::NotUtf8));
        assert!(TopicName::parse(b"a$x").is_ok());
        assert!(TopicName::parse(&[b'/'; 255]).is_ok(), "slashes have no meaning");
    }
}
