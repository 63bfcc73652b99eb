//! Positions in a topic on the command line.

use std::str::FromStr;
use std::time::Duration;

use zaichik_tokio::{Client, ClientError, Clock, RefusalCode, RequestError, Start};

use crate::rfc3339;

/// A position in a topic, before the broker is asked where the topic ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Position {
    /// A position that the broker understands.
    At(Start),
    /// A number of offsets before the end.
    Last(u64),
    /// A duration before now.
    Ago(Duration),
}

impl Position {
    /// The position in a topic, as the broker understands it.
    ///
    /// # Errors
    /// The broker did not answer where the topic ends.
    pub(crate) async fn resolve(self, client: &Client, topic: &str) -> Result<Start, ClientError> {
        Ok(match self {
            Self::At(start) => start,
            Self::Ago(ago) => {
                let micros = u64::try_from(ago.as_micros()).unwrap_or(u64::MAX);
                Start::Time(Clock::start().now().as_micros().saturating_sub(micros))
            }
            Self::Last(count) => {
                match client.topic(topic).await {
                    Ok(topic) => Start::Offset(topic.end.saturating_sub(count)),
                    // A new topic is empty.
                    Err(error) if is_unknown_topic(&error) => Start::Earliest,
                    Err(error) => return Err(error),
                }
            }
        })
    }
}

impl FromStr for Position {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let position = match text {
            "earliest" => Some(Self::At(Start::Earliest)),
            "latest" => Some(Self::At(Start::Latest)),
            _ => match text.split_at_checked(1) {
                Some(("@", time)) => match time.strip_prefix('-') {
                    Some(ago) => humantime::parse_duration(ago).ok().map(Self::Ago),
                    None => rfc3339::parse(time).map(|at| Self::At(Start::Time(at.as_micros()))),
                },
                Some(("-", count)) => number(count).map(Self::Last),
                _ => number(text).map(|offset| Self::At(Start::Offset(offset))),
            },
        };
        position.ok_or_else(|| {
            "use earliest, latest, an offset (42), a count from the end (-10), an age (@-5m) or a time \
             (@2026-11-22T10:00Z)"
                .to_owned()
        })
    }
}

fn is_unknown_topic(error: &ClientError) -> bool {
    matches!(error, ClientError::Request(RequestError::Refused { refusal, .. })
        if refusal.code == RefusalCode::UnknownTopic)
}

/// A number without a sign.
fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|_| !text.starts_with('+'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_parsed() {
        for (text, expected) in [
            ("earliest", Position::At(Start::Earliest)),
            ("latest", Position::At(Start::Latest)),
            ("42", Position::At(Start::Offset(42))),
            ("0", Position::At(Start::Offset(0))),
            ("-10", Position::Last(10)),
            ("@-5m", Position::Ago(Duration::from_mins(5))),
            ("@2025-11-22T10:00Z", Position::At(Start::Time(1_763_805_600_000_000))),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for wrong in [
            "",
            "-",
            "@",
            "@-",
            "+1",
            "--1",
            "-+1",
            "first",
            "@5m",
            "1.5",
            "last-per-key",
            "é",
            "42x",
            "42 ",
            "42 43",
            "-10-10",
            "latest,earliest",
            "earliest ",
            "latests",
            "@-5m x",
            "@2025-11-22T10:00Zx",
            "@@-5m",
            "@2025-11-22T10:00Z@-5m",
        ] {
            assert!(wrong.parse::<Position>().is_err(), "{wrong}");
        }
    }
}
