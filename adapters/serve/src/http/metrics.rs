//! The broker's counters as metrics.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use zaichik_driver::{BrokerInfo, Client, ClientError, Counter, Runtime, SubscriptionInfo};

/// What the names of all metrics begin with.
const PREFIX: &str = "zaichik";

/// Most durable subscriptions with a series of their own, the first ones in the broker's order.
const MOST_SERIES: usize = 1_000;

/// Most subscriptions of which a list is asked for; the lags of more are left out, all of them.
const LONGEST_LIST: u64 = 100_000;

/// What runs.
#[derive(Debug, Clone)]
pub(crate) struct Build {
    version: &'static str,
    /// Empty if it is not known.
    commit: &'static str,
    runtime: String,
}

impl Build {
    pub(crate) fn new(runtime: &str, commit: Option<&'static str>) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            commit: commit.unwrap_or_default(),
            runtime: runtime.to_owned(),
        }
    }
}

/// A broker at the moment of a scrape.
#[derive(Debug)]
pub(super) struct Snapshot {
    info: BrokerInfo,
    /// At most [`MOST_SERIES`].
    durables: Vec<SubscriptionInfo>,
    left_out: u64,
    build: Build,
}

impl Snapshot {
    /// Asks a broker.
    ///
    /// # Errors
    /// The broker is stopping, or failed.
    pub(super) async fn take<R: Runtime>(client: &Client<R>, build: Build) -> Result<Self, ClientError> {
        let info = client.broker_info().await?;
        let known = info.counter(Counter::DurableSubscriptions).unwrap_or_default();
        let listed = info.counter(Counter::Subscriptions).unwrap_or_default();
        if known == 0 || listed > LONGEST_LIST {
            return Ok(Self { info, durables: Vec::new(), left_out: known, build });
        }
        let mut durables = client.subscriptions(None).await?;
        durables.retain(|subscription| !subscription.name.is_empty());
        let left_out = durables.len().saturating_sub(MOST_SERIES).try_into().unwrap_or(u64::MAX);
        durables.truncate(MOST_SERIES);
        Ok(Self { info, durables, left_out, build })
    }

    /// The Prometheus text format.
    ///
    /// # Errors
    /// None that are known: writing to a string succeeds.
    pub(super) fn write(self) -> Result<String, fmt::Error> {
        let mut registry = Registry::with_prefix(PREFIX);
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        prometheus_text::encode(&mut text, &registry)?;
        Ok(text)
    }

    fn value(&self, counter: Counter) -> Option<u64> {
        let value = self.info.counter(counter)?;
        // Who asked is a connection too, and not of interest.
        Some(if counter == Counter::Connections { value.saturating_sub(1) } else { value })
    }

    fn write_build(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Build { version, commit, runtime } = &self.build;
        let labels = [("version", *version), ("commit", *commit), ("runtime", runtime.as_str())];
        encoder.encode_descriptor("build", "What runs", None, MetricType::Info)?.encode_info(&labels)
    }

    /// One number, if the broker has it.
    fn write_counter(&self, encoder: &mut DescriptorEncoder<'_>, shown: &Shown) -> fmt::Result {
        // What did not happen yet may not be told, but happened 0 times.
        let never = matches!((shown.kind, shown.unit), (MetricType::Counter, Unit::Things)).then_some(0);
        let Some(value) = self.value(shown.counter).or(never) else {
            return Ok(());
        };
        let name = format!("{}{}", shown.counter.name(), shown.unit.suffix());
        let metric = encoder.encode_descriptor(&name, shown.help, None, shown.kind)?;
        match (shown.kind, shown.unit) {
            (MetricType::Counter, Unit::Micros) => ConstCounter::new(seconds(value)).encode(metric),
            (MetricType::Counter, _) => ConstCounter::new(value).encode(metric),
            (_, Unit::Micros) => ConstGauge::new(seconds(value)).encode(metric),
            (_, _) => ConstGauge::new(value).encode(metric),
        }
    }

    fn write_refusals(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Requests refused, by the code of the refusal";
        let mut refused = encoder.encode_descriptor("refused", help, None, MetricType::Counter)?;
        for counted in &self.info.counters {
            if let Some(code) = counted.counter.refusal_code() {
                let labels = [("code", code.to_string())];
                ConstCounter::new(counted.value).encode(refused.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn write_memory(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Bytes of memory that count against the budget, by what they are for";
        let mut memory = encoder.encode_descriptor("memory_bytes", help, None, MetricType::Gauge)?;
        for (counter, part) in PARTS {
            if let Some(value) = self.value(*counter) {
                let labels = [("part", *part)];
                ConstGauge::new(value).encode(memory.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn write_durables(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Offsets that a durable subscription has not committed";
        let mut lag = encoder.encode_descriptor("subscription_lag", help, None, MetricType::Gauge)?;
        for durable in &self.durables {
            let labels = [("topic", durable.topic.as_str()), ("name", durable.name.as_str())];
            ConstGauge::new(durable.lag()).encode(lag.encode_family(&labels)?)?;
        }
        let help = "Durable subscriptions whose lag is not shown, as there are too many";
        let left_out = encoder.encode_descriptor("subscriptions_left_out", help, None, MetricType::Gauge)?;
        ConstGauge::new(self.left_out).encode(left_out)
    }
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.write_build(&mut encoder)?;
        for shown in SHOWN {
            self.write_counter(&mut encoder, shown)?;
        }
        self.write_refusals(&mut encoder)?;
        self.write_memory(&mut encoder)?;
        self.write_durables(&mut encoder)
    }
}

/// A counter of the broker that is a metric of its own, under its own name.
#[derive(Debug)]
struct Shown {
    counter: Counter,
    kind: MetricType,
    unit: Unit,
    help: &'static str,
}

/// What a counter counts.
#[derive(Debug, Clone, Copy)]
enum Unit {
    Things,
    /// Bytes, where the counter's name does not say so.
    Bytes,
    /// Shown as seconds.
    Micros,
}

impl Unit {
    const fn suffix(self) -> &'static str {
        match self {
            Self::Things => "",
            Self::Bytes => "_bytes",
            Self::Micros => "_seconds",
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a microsecond is lost after 285 years")]
fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

const fn total(counter: Counter, help: &'static str) -> Shown {
    Shown { counter, kind: MetricType::Counter, unit: Unit::Things, help }
}

const fn gauge(counter: Counter, unit: Unit, help: &'static str) -> Shown {
    Shown { counter, kind: MetricType::Gauge, unit, help }
}

/// The parts that memory is for.
const PARTS: &[(Counter, &str)] = &[
    (Counter::MemoryTopics, "topics"),
    (Counter::MemoryRetired, "retired"),
    (Counter::MemorySubscriptions, "subscriptions"),
    (Counter::MemoryProducers, "producers"),
    (Counter::MemorySessions, "sessions"),
];

/// All that are neither refusals nor parts of the memory.
const SHOWN: &[Shown] = &[
    gauge(Counter::Uptime, Unit::Micros, "Time since the broker was started"),
    gauge(Counter::Connections, Unit::Things, "Connections, without the one of these metrics"),
    total(
        Counter::ConnectionsAccepted,
        "Connections that there ever were, the one of these metrics included",
    ),
    gauge(Counter::Topics, Unit::Things, "Topics"),
    gauge(Counter::Subscriptions, Unit::Things, "Subscriptions, detached ones included"),
    gauge(Counter::DurableSubscriptions, Unit::Things, "Durable subscriptions, detached ones included"),
    total(Counter::RecordsIn, "Records accepted"),
    total(Counter::BytesIn, "Bytes of records accepted"),
    total(Counter::RecordsOut, "Records put into the output of a connection"),
    total(Counter::BytesOut, "Bytes of records put into the output of a connection"),
    total(Counter::Duplicates, "Records that were duplicates by their key"),
    total(Counter::Repeated, "Requests of producers that were answered from memory"),
    total(Counter::Gaps, "Gaps put into the output of a connection"),
    total(
        Counter::Superseded,
        "Offsets that subscriptions passed because a newer record of their key was there",
    ),
    total(Counter::Rewinds, "Times that the position of a subscription was moved"),
    total(Counter::DeadLetters, "Records copied to a dead-letter topic"),
    total(Counter::DeadLettersRefused, "Times that a dead-letter topic did not take a record"),
    total(Counter::Takeovers, "Durable subscriptions that one connection took from another"),
    total(Counter::ClockStepsBack, "Times that the clock went back"),
    gauge(Counter::MemoryBudget, Unit::Bytes, "Most bytes of memory that the broker may hold"),
    total(Counter::WriteStalls, "Times that the socket of a connection took nothing of what waited for it"),
    Shown {
        counter: Counter::ProcessCpu,
        kind: MetricType::Counter,
        unit: Unit::Micros,
        help: "Processor time that the process used",
    },
    gauge(Counter::ProcessMemory, Unit::Bytes, "Memory that the process has"),
    gauge(Counter::ProcessMemoryPeak, Unit::Bytes, "Most memory that the process ever had"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_is_a_metric() {
        for counter in Counter::ALL {
            let shown = SHOWN.iter().filter(|shown| shown.counter == *counter).count();
            let parts = PARTS.iter().filter(|(part, _)| part == counter).count();
            // Refusals are shown by their code, whose sum it is.
            let expected = usize::from(*counter != Counter::Refused);
            assert_eq!(shown + parts, expected, "{}", counter.name());
        }
    }
}
