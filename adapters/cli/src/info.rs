//! `zaichik info`: the broker's version, limits and counters.

use std::collections::BTreeMap;

use clap::Args;
use serde::Serialize;
use zaichik_tokio::{BrokerInfo, Counter, Limits, Timestamp};

use crate::connect::ServerArgs;
use crate::failure::Failure;
use crate::printable::printable_line;
use crate::report::{self, OutputArgs};
use crate::rfc3339;

/// Show the broker's version, limits and counters.
#[derive(Debug, Args)]
pub(crate) struct Info {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// A broker, as JSON.
#[derive(Debug, Serialize)]
struct BrokerReport<'a> {
    server: &'a str,
    address: String,
    protocol: u16,
    /// Hexadecimal. Offsets are valid within one instance only.
    instance: String,
    uptime_us: u64,
    /// `memory` or `durable`.
    storage: &'static str,
    limits: BTreeMap<&'static str, u32>,
    counters: BTreeMap<String, u64>,
}

impl Info {
    pub(crate) async fn run(&self) -> Result<(), Failure> {
        let client = self.server.connect("zaichik info").await?;
        let info = client.broker_info().await?;
        client.close().await?;
        let report = BrokerReport::new(&info, self.server.address()?);
        if self.output.is_json() {
            return report::json(&report);
        }
        let mut pairs = vec![
            ("server".to_owned(), printable_line(report.server)),
            ("address".to_owned(), report.address),
            ("protocol".to_owned(), report.protocol.to_string()),
            ("instance".to_owned(), report.instance),
            ("uptime".to_owned(), report::duration(report.uptime_us)),
            ("storage".to_owned(), storage(|counter| info.counter(counter))),
        ];
        pairs.extend(report.limits.iter().map(|(name, limit)| match *name {
            "heartbeat_millis" => {
                ("limit heartbeat".to_owned(), report::duration(u64::from(*limit).saturating_mul(1_000)))
            }
            "max_message" | "max_frame" | "max_window_size" => {
                (format!("limit {name}"), report::size((*limit).into()))
            }
            name => (format!("limit {name}"), limit.to_string()),
        }));
        let counters = info.counters.iter().filter(|value| value.counter != Counter::Uptime);
        pairs.extend(counters.map(|value| (name(value.counter), shown(value.counter, value.value))));
        report::pairs(pairs)
    }
}

impl<'a> BrokerReport<'a> {
    fn new(info: &'a BrokerInfo, address: String) -> Self {
        let Limits {
            max_message,
            max_frame,
            max_records,
            max_window,
            max_window_size,
            max_subscriptions,
            heartbeat_millis,
            ..
        } = info.limits;
        let limits = [
            ("max_message", max_message),
            ("max_frame", max_frame),
            ("max_records", max_records),
            ("max_window", max_window),
            ("max_window_size", max_window_size),
            ("max_subscriptions", max_subscriptions),
            ("heartbeat_millis", heartbeat_millis),
        ];
        let counters = info.counters.iter().filter(|value| value.counter != Counter::Uptime);
        Self {
            server: &info.server,
            address,
            protocol: info.protocol,
            instance: format!("{:032x}", info.instance),
            uptime_us: info.counter(Counter::Uptime).unwrap_or_default(),
            storage: if info.counter(Counter::StorageChangedRows).is_some() { "durable" } else { "memory" },
            limits: limits.into(),
            counters: counters.map(|value| (name(value.counter), value.value)).collect(),
        }
    }
}

/// Where the broker keeps what it has, for people.
fn storage(counter: impl Fn(Counter) -> Option<u64>) -> String {
    // A broker reports it if and only if it has a store.
    if counter(Counter::StorageChangedRows).is_none() {
        return "memory only; messages are lost when the broker ends".to_owned();
    }
    let size = counter(Counter::StorageBytes).map(|bytes| format!(", {}", report::size(bytes)));
    let commit = counter(Counter::StorageLastCommit);
    let commit = commit.map(|micros| format!(", last commit took {}", report::duration(micros)));
    let is_full = counter(Counter::StorageFull) == Some(1);
    let full = if is_full { ", without space: publishes are refused" } else { "" };
    format!("durable{}{}{full}", size.unwrap_or_default(), commit.unwrap_or_default())
}

/// A counter's name; an unknown one, of a later version, is named by its code.
fn name(counter: Counter) -> String {
    match (counter.refusal_code(), counter) {
        (Some(code), _) => format!("refused_with_{}", snake_case(&code.to_string())),
        (None, Counter::Unknown(code)) => format!("counter_{code}"),
        (None, known) => known.name().to_owned(),
    }
}

/// A counter's value with its unit, for people.
#[expect(clippy::wildcard_enum_match_arm, reason = "all others are numbers of something")]
fn shown(counter: Counter, value: u64) -> String {
    match counter {
        Counter::ProcessCpu | Counter::StorageLastCommit => report::duration(value),
        Counter::StorageLastErrorTime => rfc3339::format(Timestamp::from_micros(value)),
        Counter::StorageFull => if value == 0 { "no" } else { "yes" }.to_owned(),
        Counter::BytesIn
        | Counter::BytesOut
        | Counter::MemoryTopics
        | Counter::MemoryRetired
        | Counter::MemorySubscriptions
        | Counter::MemoryProducers
        | Counter::MemorySessions
        | Counter::MemoryBudget
        | Counter::ProcessMemory
        | Counter::ProcessMemoryPeak
        | Counter::StorageBytesWritten
        | Counter::StorageBytes
        | Counter::StorageLiveBytes => report::size(value),
        _ => value.to_string(),
    }
}

/// `TopicFull` as `topic_full`.
fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len());
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(if letter == ' ' { '_' } else { letter.to_ascii_lowercase() });
    }
    snake
}

#[cfg(test)]
mod tests {
    use zaichik_tokio::RefusalCode;

    use super::*;

    #[test]
    fn counters_have_names() {
        assert_eq!(name(Counter::RecordsIn), "records_in");
        assert_eq!(name(Counter::refusals(RefusalCode::TopicFull)), "refused_with_topic_full");
        assert_eq!(name(Counter::refusals(RefusalCode::Unknown(99))), "refused_with_code_99");
        assert_eq!(name(Counter::Unknown(999)), "counter_999");
    }

    #[test]
    fn bytes_and_times_have_units() {
        for (counter, value, expected) in [
            (Counter::RecordsIn, 1_048_576, "1048576"),
            (Counter::BytesIn, 1_048_576, "1 MiB"),
            (Counter::MemoryBudget, 1_536, "1.5 KiB"),
            (Counter::ProcessCpu, 1_500_000, "1s 500ms"),
            (Counter::StorageLastCommit, 312, "312us"),
            (Counter::StorageFull, 1, "yes"),
            (Counter::StorageLastErrorTime, 1_763_805_600_000_042, "2025-11-22T10:00:00.000042Z"),
            (Counter::Unknown(999), 7, "7"),
        ] {
            assert_eq!(shown(counter, value), expected);
        }
    }

    #[test]
    fn storage_is_memory_only_or_durable() {
        let shown = |counters: &[(Counter, u64)]| {
            storage(|counter| counters.iter().find(|(known, _)| *known == counter).map(|(_, value)| *value))
        };
        assert_eq!(shown(&[]), "memory only; messages are lost when the broker ends");
        // A program with a store of its own may report nothing else.
        let mut counters = vec![(Counter::StorageChangedRows, 0)];
        assert_eq!(shown(&counters), "durable");
        counters.extend([(Counter::StorageBytes, 3 << 20), (Counter::StorageLastCommit, 312)]);
        assert_eq!(shown(&counters), "durable, 3 MiB, last commit took 312us");
        counters.push((Counter::StorageFull, 1));
        assert!(shown(&counters).ends_with(", without space: publishes are refused"));
    }
}
