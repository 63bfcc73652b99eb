//! Patterns of topic names (rule W1).

use thiserror::Error;

use crate::name::{NameError, TopicName};

/// Separates the segments of a name.
const SEPARATOR: char = '.';

/// Stands for one segment.
const ANY: &str = "*";

/// Stands for all segments that follow, of which there is at least one.
const REST: &str = ">";

/// A valid pattern of topic names: segments separated by dots, of which `*` stands for any one, and a last `>` for one or
/// more.
///
/// Otherwise it has the form of a [`TopicName`], without empty segments. A wildcard is a whole segment: `a*` is a literal.
///
/// ```
/// use zaichik_proto::{PatternError, TopicName, TopicPattern};
/// let pattern = TopicPattern::parse(b"orders.*.paid")?;
/// assert!(pattern.matches(TopicName::parse(b"orders.eu.paid")?));
/// assert!(!pattern.matches(TopicName::parse(b"orders.eu.berlin.paid")?));
/// assert_eq!(TopicPattern::parse(b"orders.>.paid"), Err(PatternError::RestInside));
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPattern<'a>(&'a str);

/// A segment of a [`TopicPattern`].
///
/// ```
/// use zaichik_proto::{PatternSegment, TopicPattern};
/// let pattern = TopicPattern::parse(b"orders.*.>")?;
/// assert!(pattern.segments().eq([PatternSegment::Literal("orders"), PatternSegment::Any, PatternSegment::Rest]));
/// # Ok::<(), zaichik_proto::PatternError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatternSegment<'a> {
    /// Exactly this segment.
    Literal(&'a str),
    /// `*`: any one segment.
    Any,
    /// `>`: this segment and all that follow. It is the last one of its pattern.
    Rest,
}

impl<'a> TopicPattern<'a> {
    /// Checks a pattern.
    ///
    /// # Errors
    /// [`PatternError`] says which rule the bytes violate.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, PatternError> {
        let text = TopicName::parse(bytes)?.as_str();
        let mut segments = text.split(SEPARATOR);
        while let Some(segment) = segments.next() {
            if segment.is_empty() {
                return Err(PatternError::EmptySegment);
            }
            if segment == REST && segments.clone().next().is_some() {
                return Err(PatternError::RestInside);
            }
        }
        Ok(Self(text))
    }

    /// The pattern as text.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// Its segments, in order.
    pub fn segments(self) -> impl Iterator<Item = PatternSegment<'a>> {
        self.0.split(SEPARATOR).map(|segment| match segment {
            ANY => PatternSegment::Any,
            REST => PatternSegment::Rest,
            literal => PatternSegment::Literal(literal),
        })
    }

    /// Whether a topic of this name is one of those that the pattern stands for. Cost: O(length of the name).
    #[must_use]
    pub fn matches(self, name: TopicName<'_>) -> bool {
        let mut names = name.segments();
        for segment in self.segments() {
            match (segment, names.next()) {
                (PatternSegment::Rest, Some(_)) => return true,
                (PatternSegment::Any, Some(_)) => {}
                (PatternSegment::Literal(literal), Some(name)) if literal == name => {}
                _ => return false,
            }
        }
        names.next().is_none()
    }
}

impl<'a> TopicName<'a> {
    /// The parts of the name between dots; at least one, and any of them may be empty.
    ///
    /// ```
    /// use zaichik_proto::TopicName;
    /// assert!(TopicName::parse(b"orders.eu..")?.segments().eq(["orders", "eu", "", ""]));
    /// # Ok::<(), zaichik_proto::NameError>(())
    /// ```
    pub fn segments(self) -> impl Iterator<Item = &'a str> + Clone {
        self.as_str().split(SEPARATOR)
    }

    /// Whether one of its segments is `*` or `>`, which stand for other segments in a [`TopicPattern`]: a topic of this
    /// name can't be created (rule W1).
    ///
    /// ```
    /// use zaichik_proto::TopicName;
    /// assert!(TopicName::parse(b"orders.*")?.has_wildcard());
    /// assert!(!TopicName::parse(b"orders.a*")?.has_wildcard());
    /// # Ok::<(), zaichik_proto::NameError>(())
    /// ```
    #[must_use]
    pub fn has_wildcard(self) -> bool {
        // A name without such a byte, as almost all are, needs no second look.
        let bytes = self.as_str().as_bytes();
        let may_have = bytes.iter().any(|byte| matches!(byte, b'*' | b'>'));
        may_have && self.segments().any(|segment| segment == ANY || segment == REST)
    }
}

/// Why a pattern is not valid.
///
/// ```
/// use zaichik_proto::{PatternError, TopicPattern};
/// assert_eq!(TopicPattern::parse(b"orders..new"), Err(PatternError::EmptySegment));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PatternError {
    /// It does not have the form of a topic's name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A segment is empty.
    #[error("a pattern must have no empty segment")]
    EmptySegment,
    /// `>` is not the last segment.
    #[error("> must be the last segment of a pattern")]
    RestInside,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        let pattern = TopicPattern::parse(pattern.as_bytes()).expect("a valid pattern");
        pattern.matches(TopicName::parse(name.as_bytes()).expect("a valid name"))
    }

    #[test]
    fn w1_a_star_is_one_segment_and_a_last_greater_than_one_or_more() {
        assert!(matches("orders.*", "orders.new") && matches("*.new", "orders.new"));
        assert!(!matches("orders.*", "orders") && !matches("orders.*", "orders.new.eu"));
        assert!(matches("orders.>", "orders.new") && matches("orders.>", "orders.new.eu"));
        assert!(!matches("orders.>", "orders") && !matches("orders.>", "ordersx.new"));
        assert!(matches(">", "orders") && matches(">", "orders.new") && matches("*", "orders"));
        assert!(matches("orders.new", "orders.new") && !matches("orders.new", "orders.newer"));
        assert!(matches("*.>", "a.b") && !matches("*.>", "a"));
        assert!(matches("a*", "a*") && !matches("a*", "ab"), "a wildcard is a whole segment");
        assert!(matches("orders.*", "orders."), "names may have empty segments");
    }

    #[test]
    fn w1_a_pattern_that_can_not_match_is_an_error() {
        use PatternError::{EmptySegment, Name, RestInside};
        let parse = |pattern: &str| TopicPattern::parse(pattern.as_bytes()).map(|_| ());
        for pattern in ["a..b", ".a", "a.", ".", "*..>"] {
            assert_eq!(parse(pattern), Err(EmptySegment), "{pattern}");
        }
        for pattern in ["a.>.b", ">.a", ">.>", ">.*"] {
            assert_eq!(parse(pattern), Err(RestInside), "{pattern}");
        }
        assert_eq!(parse(""), Err(Name(NameError::Empty)));
        assert_eq!(parse("$sys.>"), Err(Name(NameError::Reserved)));
        assert_eq!(parse("a.\n"), Err(Name(NameError::Control)));
        assert_eq!(parse(&"*.".repeat(9_999)), Err(Name(NameError::TooLong { got: 19_998 })));
        assert_eq!(TopicPattern::parse(b"\xff.*").map(|_| ()), Err(Name(NameError::NotUtf8)));
        assert_eq!(parse(&["*"; 128].join(".")), Ok(()));
    }

    #[test]
    fn w1_a_name_with_a_wildcard_as_a_segment_is_recognised() {
        let has = |name: &str| TopicName::parse(name.as_bytes()).expect("a valid name").has_wildcard();
        assert!(has("*") && has(">") && has("a.*") && has("*.a") && has("a.>.b"));
        assert!(!has("a") && !has("a*") && !has("a.>b") && !has("**") && !has("a/*"));
    }
}
