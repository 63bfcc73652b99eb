//! A topic's settings on the command line and in reports.

use clap::{Args, ValueEnum};
use serde::Serialize;
use zaichik_tokio::{CompactionMode, Overflow, TopicOptions};

use crate::{hints, report};

/// A topic's settings; for those that are omitted, a new topic gets the broker's defaults and an existing one stays as it
/// is.
#[derive(Debug, Args)]
#[command(next_help_heading = "Settings")]
pub(super) struct SettingsArgs {
    /// How long messages are kept, such as 1h or forever; 0s keeps them only until existing subscriptions have committed
    /// them.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    retention_ttl: Option<u64>,
    /// How long a key is remembered, so that another message with it is a duplicate; 0s turns this off.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    compaction_window: Option<u64>,
    /// Which message of a key is kept: the first within the window, or the latest.
    #[arg(long, value_enum, value_name = "MODE")]
    compaction: Option<Compaction>,
    /// Maximum messages kept, or unlimited.
    #[arg(long, value_name = "N", value_parser = count)]
    max_messages: Option<u64>,
    /// Maximum bytes kept, such as 64MiB, or unlimited.
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    max_bytes: Option<u64>,
    /// What happens to a message above these limits: the oldest ones make room for it, or it is refused.
    #[arg(long, value_enum, value_name = "WHAT")]
    overflow: Option<WhenFull>,
    /// Maximum keys remembered, or unlimited.
    #[arg(long, value_name = "N", value_parser = count)]
    max_keys: Option<u64>,
    /// How long a tombstone is kept, such as 24h or forever.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    tombstone_ttl: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Compaction {
    First,
    Latest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum WhenFull {
    #[value(name = "drop_oldest", alias = "drop-oldest")]
    DropOldest,
    Reject,
}

/// All settings of a topic, as JSON; unlimited and forever are null.
#[derive(Debug, Serialize)]
pub(super) struct Settings {
    retention_ttl_us: Option<u64>,
    compaction_window_us: Option<u64>,
    compaction: &'static str,
    max_messages: Option<u64>,
    max_bytes: Option<u64>,
    overflow: &'static str,
    max_keys: Option<u64>,
    tombstone_ttl_us: Option<u64>,
}

impl SettingsArgs {
    /// The settings that were given.
    pub(super) fn options(&self) -> TopicOptions {
        let mut options = TopicOptions::new();
        options.retention_ttl_micros = self.retention_ttl;
        options.compaction_window_micros = self.compaction_window;
        options.compaction = self.compaction.map(|mode| match mode {
            Compaction::First => CompactionMode::First,
            Compaction::Latest => CompactionMode::Latest,
        });
        options.max_messages = self.max_messages;
        options.max_bytes = self.max_bytes;
        options.overflow = self.overflow.map(|overflow| match overflow {
            WhenFull::DropOldest => Overflow::DropOldest,
            WhenFull::Reject => Overflow::Reject,
        });
        options.max_keys = self.max_keys;
        options.tombstone_ttl_micros = self.tombstone_ttl;
        options
    }

    /// The flags of the settings in `mask` (docs/protocol.md §6.2), with the values that were given; one that was omitted
    /// has its value's name.
    pub(super) fn flags(&self, mask: u64) -> String {
        let duration = |micros: Option<u64>| micros.map(report::duration);
        let limit = |count: Option<u64>| count.map(report::limit);
        let flags = [
            ("--retention-ttl", duration(self.retention_ttl), "<DURATION>"),
            ("--compaction-window", duration(self.compaction_window), "<DURATION>"),
            ("--compaction", self.compaction.as_ref().map(value), "<MODE>"),
            ("--max-messages", limit(self.max_messages), "<N>"),
            ("--max-bytes", limit(self.max_bytes), "<BYTES>"),
            ("--overflow", self.overflow.as_ref().map(value), "<WHAT>"),
            ("--max-keys", limit(self.max_keys), "<N>"),
            ("--tombstone-ttl", duration(self.tombstone_ttl), "<DURATION>"),
        ];
        let differing = flags.into_iter().zip(0_u32..).filter(|(_, bit)| (mask >> bit) & 1 == 1);
        let words = differing.map(|((flag, value, name), _)| {
            let value = value.map_or_else(|| name.to_owned(), |value| hints::argument(&value));
            format!("{flag} {value}")
        });
        words.collect::<Vec<_>>().join(" ")
    }
}

impl Settings {
    /// Converts the settings of an existing topic, which are complete.
    pub(super) fn new(options: &TopicOptions) -> Self {
        let finite = |value: Option<u64>| value.filter(|value| *value != u64::MAX);
        Self {
            retention_ttl_us: finite(options.retention_ttl_micros),
            compaction_window_us: finite(options.compaction_window_micros),
            compaction: match options.compaction.unwrap_or_default() {
                CompactionMode::First => "first",
                CompactionMode::Latest => "latest",
            },
            max_messages: finite(options.max_messages),
            max_bytes: finite(options.max_bytes),
            overflow: match options.overflow.unwrap_or_default() {
                Overflow::DropOldest => "drop_oldest",
                Overflow::Reject => "reject",
            },
            max_keys: finite(options.max_keys),
            tombstone_ttl_us: finite(options.tombstone_ttl_micros),
        }
    }

    /// The name and value of each setting, for people.
    pub(super) fn pairs(&self) -> [(&'static str, String); 8] {
        let duration = |micros: Option<u64>| report::duration(micros.unwrap_or(u64::MAX));
        let limit = |count: Option<u64>| report::limit(count.unwrap_or(u64::MAX));
        [
            ("retention-ttl", duration(self.retention_ttl_us)),
            ("compaction-window", duration(self.compaction_window_us)),
            ("compaction", self.compaction.to_owned()),
            ("max-messages", limit(self.max_messages)),
            ("max-bytes", report::size(self.max_bytes.unwrap_or(u64::MAX))),
            ("overflow", self.overflow.to_owned()),
            ("max-keys", limit(self.max_keys)),
            ("tombstone-ttl", duration(self.tombstone_ttl_us)),
        ]
    }
}

/// How long messages are kept, for people.
pub(super) fn retention(options: &TopicOptions) -> String {
    match options.retention_ttl_micros {
        Some(0) => "live only".to_owned(),
        other => report::duration(other.unwrap_or_default()),
    }
}

/// A value as it is written on the command line.
fn value(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

fn duration(text: &str) -> Result<u64, String> {
    if text == "forever" {
        return Ok(u64::MAX);
    }
    let duration = humantime::parse_duration(text);
    let duration = duration.map_err(|error| format!("{error}; use a duration such as 1h, or forever"))?;
    u64::try_from(duration.as_micros()).map_err(|_| "the duration is too long; use forever".to_owned())
}

fn count(text: &str) -> Result<u64, String> {
    match text {
        "unlimited" => Ok(u64::MAX),
        _ => text.parse().map_err(|_| "use a whole number, or unlimited".to_owned()),
    }
}

fn bytes(text: &str) -> Result<u64, String> {
    if text == "unlimited" {
        return Ok(u64::MAX);
    }
    let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("B", 1), ("", 1)];
    let bytes = units.into_iter().find_map(|(unit, factor)| {
        let number: u64 = text.strip_suffix(unit)?.trim_end().parse().ok()?;
        number.checked_mul(factor)
    });
    bytes.ok_or_else(|| "use bytes such as 1048576 or 64MiB, or unlimited".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_units_and_words() {
        assert_eq!(duration("1h 30m"), Ok(5_400_000_000));
        assert_eq!(duration("0s"), Ok(0));
        assert_eq!(duration("forever"), Ok(u64::MAX));
        assert_eq!(bytes("64MiB"), Ok(64 << 20));
        assert_eq!(bytes("1 GiB"), Ok(1 << 30));
        assert_eq!(bytes("7"), Ok(7));
        assert_eq!(bytes("7B"), Ok(7));
        assert_eq!(bytes("unlimited"), Ok(u64::MAX));
        assert_eq!(count("10"), Ok(10));
        for wrong in ["", "MiB", "1TiB", "-1", "20000000000GiB"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
        for wrong in ["soon", "1h x", "1h,2h", "forever1", "forever forever", "1hforever"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        for wrong in ["many", "10 10", "10x", "unlimited1", "10,unlimited", "18446744073709551616"] {
            assert!(count(wrong).is_err(), "{wrong}");
        }
        for wrong in ["64MiBMiB", "64MiB64MiB", "1GiBB", "unlimited1", "1 2", "1.5GiB"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }
}
