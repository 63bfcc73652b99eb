//! Patterns of topics on the command line (rule W1).

use zaichik_tokio::TopicPattern;

use super::args::Subscribe;
use super::position::Position;
use crate::failure::{Code, Failure};

/// Whether a topic argument is a pattern: a part of it between dots is `*` or `>`.
pub(super) fn is_pattern(argument: &str) -> bool {
    argument.split('.').any(|part| matches!(part, "*" | ">"))
}

impl Subscribe {
    /// Refuses patterns that are invalid, and what only a single topic has.
    ///
    /// # Errors
    /// It says what to omit.
    pub(super) fn check_patterns(&self) -> Result<(), Failure> {
        let Some(first) = self.topics.iter().find(|topic| is_pattern(topic)) else {
            return Ok(());
        };
        for pattern in self.topics.iter().filter(|topic| is_pattern(topic)) {
            TopicPattern::parse(pattern.as_bytes()).map_err(|error| {
                Failure::new(Code::Usage, format_args!("the pattern {pattern:?} is invalid: {error}"))
            })?;
        }
        let impossible = [
            (self.durable.is_some(), "--durable keeps the position in one topic"),
            (self.shared.is_some(), "--shared shares the messages of one topic"),
            (matches!(self.from, Position::Last(_)), "a count from the end is a position in one topic"),
        ];
        let reason = impossible.into_iter().find_map(|(is_asked, reason)| is_asked.then_some(reason));
        reason.map_or(Ok(()), |reason| {
            let message =
                format_args!("{first:?} is a pattern of topics, but {reason}; name each topic in full");
            Err(Failure::new(Code::Usage, message))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_between_dots_that_is_a_wildcard_makes_a_pattern() {
        for pattern in ["*", ">", "orders.*", "orders.>", "*.new", "a.*.b", "a.>.b"] {
            assert!(is_pattern(pattern), "{pattern}");
        }
        for topic in ["orders", "orders*", "orders/*", "a>b", "#", "+", "", "a..b"] {
            assert!(!is_pattern(topic), "{topic}");
        }
    }
}
