//! The options of the benchmarks.

use std::time::Duration;

use clap::{Args, ValueEnum};
use zaichik_measure::payload;

use crate::connect::ServerArgs;
use crate::failure::{Code, Failure};

/// Maximum publishers of a run.
const MAX_PUBLISHERS: i64 = 512;

/// Maximum subscribers of a run.
const MAX_SUBSCRIBERS: i64 = 1_024;

/// Maximum keys of a publisher.
const MAX_KEYS: u64 = 10_000_000;

/// Maximum messages of a publish.
const MAX_BATCH: i64 = 256;

/// Bytes of messages that are published together without `--batch`.
const BATCH_BYTES: usize = 32 << 10;

/// Maximum unanswered publishes of one publisher: the broker remembers this many answers.
const MAX_IN_FLIGHT: i64 = 1_024;

/// Maximum bytes of a publisher's unanswered publishes.
const MAX_IN_FLIGHT_BYTES: usize = 64 << 20;

/// Maximum messages per second.
const MAX_RATE: i64 = 100_000_000;

/// Options of every benchmark.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// The topic; it keeps nothing after the run. Topics are never deleted, so all runs share one by default; runs at the
    /// same time need different ones.
    #[arg(long, value_name = "TOPIC", default_value = "bench")]
    pub(crate) topic: String,
    /// How long to wait for a message or an answer before giving up.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = positive_duration)]
    pub(crate) timeout: Duration,
    /// Print one JSON object: parameters, environment and results.
    #[arg(short = 'J', long, conflicts_with = "csv")]
    pub(crate) json: bool,
    /// Print CSV: a header and one line for each part of the run.
    #[arg(long)]
    pub(crate) csv: bool,
    /// Do not show progress; it is shown only if standard error is a terminal.
    #[arg(long)]
    pub(crate) no_progress: bool,
}

/// The messages to publish.
#[derive(Debug, Clone, Args)]
pub(crate) struct Load {
    /// Messages to publish by all publishers together, after the warm-up.
    #[arg(long, value_name = "N", value_parser = positive_count, conflicts_with = "duration")]
    pub(crate) msgs: Option<u64>,
    /// Publish for DURATION instead of a number of messages.
    #[arg(long, value_name = "DURATION", value_parser = positive_duration)]
    pub(crate) duration: Option<Duration>,
    /// Size of a message's body, such as 128 or 16KiB.
    #[arg(long, value_name = "BYTES", default_value = "128", value_parser = size)]
    pub(crate) size: usize,
    /// Messages to publish first; they are verified, but not measured.
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) warmup: Option<u64>,
}

/// Options of publishers.
#[derive(Debug, Clone, Args)]
pub(crate) struct Publishing {
    /// Publishers, each with its own connection.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=MAX_PUBLISHERS))]
    pub(crate) pubs: u32,
    /// The answer that a publisher waits for.
    #[arg(long, value_enum, default_value_t = Ack::Accepted)]
    pub(crate) ack: Ack,
    /// Maximum unanswered publishes of one publisher.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=MAX_IN_FLIGHT))]
    pub(crate) in_flight: u32,
    /// Messages per publish. Default: as many as fit into 32 KiB, at most 256; 1 with --rate, so that each message is
    /// published as soon as it is due.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=MAX_BATCH))]
    pub(crate) batch: Option<u32>,
    /// Messages per second of all publishers together. Each is due at a fixed moment, at which its latency starts.
    /// Default: as fast as the broker accepts them.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MAX_RATE.cast_unsigned()))]
    pub(crate) rate: Option<u64>,
}

/// Options of subscribers.
#[derive(Debug, Clone, Args)]
pub(crate) struct Subscribing {
    /// Subscribers, each with its own connection; each receives every message.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=MAX_SUBSCRIBERS))]
    pub(crate) subs: u32,
    /// Maximum uncommitted messages; a commit is sent after each half window. 0: no commits.
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub(crate) window: u32,
}

/// Options of the members of a shared subscription.
#[derive(Debug, Clone, Args)]
pub(crate) struct Working {
    /// Members, each with its own connection; each message goes to one of them.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=MAX_SUBSCRIBERS))]
    pub(crate) members: u32,
    /// Maximum unacknowledged messages of a member.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) window: u32,
    /// Hand out messages of one key one at a time, in order.
    #[arg(long)]
    pub(crate) by_key: bool,
    /// Keys of each publisher's messages.
    #[arg(long, value_name = "N", default_value_t = 100_000, requires = "by_key", value_parser = clap::value_parser!(u64).range(1..=MAX_KEYS))]
    pub(crate) keys: u64,
}

/// The answer that a publisher waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Ack {
    /// None; refused messages are reported at the end.
    None,
    /// The broker has the messages in its log.
    Accepted,
}

impl Ack {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Accepted => "accepted",
        }
    }
}

impl Publishing {
    /// Messages per publish.
    ///
    /// # Errors
    /// More bytes would be in flight than allowed.
    pub(crate) fn batch(&self, size: usize) -> Result<u32, Failure> {
        let batch = self.batch.unwrap_or_else(|| {
            let fit = BATCH_BYTES.checked_div(size).unwrap_or(1);
            let fit = u32::try_from(fit).unwrap_or(u32::MAX);
            let max = u32::try_from(MAX_BATCH).unwrap_or(u32::MAX);
            if self.rate.is_some() { 1 } else { fit.clamp(1, max) }
        });
        let bytes = [self.in_flight, batch]
            .into_iter()
            .fold(size, |bytes, count| bytes.saturating_mul(usize::try_from(count).unwrap_or(usize::MAX)));
        if bytes > MAX_IN_FLIGHT_BYTES {
            return Err(Failure::new(
                Code::Usage,
                format_args!(
                    "--in-flight {} publishes of {batch} messages of {size} bytes are {} MiB for each publisher, and {} MiB are allowed; lower one of them",
                    self.in_flight,
                    bytes >> 20,
                    MAX_IN_FLIGHT_BYTES >> 20
                ),
            ));
        }
        Ok(batch)
    }
}

/// A number, with or without separators: `1_000_000`, `1,000,000`.
fn count(text: &str) -> Result<u64, String> {
    let digits: String = text.chars().filter(|digit| !matches!(digit, '_' | ',')).collect();
    digits.parse().map_err(|_| "expected a number, such as 1000000 or 1_000_000".to_owned())
}

fn positive_count(text: &str) -> Result<u64, String> {
    match count(text)? {
        0 => Err("must be more than 0".to_owned()),
        count => Ok(count),
    }
}

fn size(text: &str) -> Result<usize, String> {
    let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("B", 1)];
    let unit = units.into_iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, bytes)));
    let (number, unit) = unit.unwrap_or((text, 1));
    let bytes = number.trim().parse::<usize>().ok().and_then(|number| number.checked_mul(unit));
    let bytes = bytes.ok_or("expected bytes, such as 128 or 16KiB")?;
    if bytes < payload::HEAD {
        return Err(format!(
            "a payload needs {} bytes for its checksum, publisher, number and time; use at least that",
            payload::HEAD
        ));
    }
    Ok(bytes)
}

fn positive_duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if duration.is_zero() {
        return Err("must be more than 0".to_owned());
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publishing() -> Publishing {
        Publishing { pubs: 1, ack: Ack::Accepted, in_flight: 64, batch: None, rate: None }
    }

    #[test]
    fn sizes_may_have_units_and_have_a_minimum() {
        assert_eq!(size("128"), Ok(128));
        assert_eq!(size("16KiB"), Ok(16 << 10));
        assert_eq!(size("1 MiB"), Ok(1 << 20));
        assert_eq!(size("32B"), Ok(32));
        assert!(size("31").expect_err("too small").contains("needs 32 bytes"));
        assert!(size("99999999999999999999").is_err());
        assert!(size("many").is_err());
    }

    #[test]
    fn counts_may_have_separators() {
        assert_eq!(count("1_000,000"), Ok(1_000_000));
        assert!(count("").is_err());
        assert!(count("-1").is_err());
    }

    #[test]
    fn a_batch_fills_32_kib_unless_there_is_a_rate() {
        let batch = |size| publishing().batch(size).expect("allowed");
        assert_eq!([32, 128, 1 << 10, 64 << 10].map(batch), [256, 256, 32, 1]);
        assert_eq!(Publishing { rate: Some(10), ..publishing() }.batch(128).expect("allowed"), 1);
        assert_eq!(
            Publishing { rate: Some(10), batch: Some(7), ..publishing() }.batch(128).expect("allowed"),
            7
        );
        assert!(publishing().batch((1 << 20) + 1).is_err(), "64 of more than 1 MiB");
    }
}
