//! The broker's counters as metrics.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use zaichik_driver::{BrokerInfo, Client, ClientError, Counter, Runtime, SubscriptionInfo};

/// The prefix of all metric names.
const PREFIX: &str = "zaichik";

/// Maximum durable subscriptions with a series each, the first ones in the broker's order.
const MAX_SERIES: usize = 1_000;

/// Maximum subscriptions to request a list of; with more than that, no lags are shown.
const MAX_LISTED: u64 = 100_000;

/// The build of the running broker.
#[derive(Debug, Clone)]
pub(crate) struct BuildInfo {
    version: &'static str,
    /// Empty if it is unknown.
    commit: &'static str,
    runtime: String,
}

impl BuildInfo {
    pub(crate) fn new(runtime: &str, commit: Option<&'static str>) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            commit: commit.unwrap_or_default(),
            runtime: runtime.to_owned(),
        }
    }
}

/// The state of a broker at the time of a scrape.
#[derive(Debug)]
pub(super) struct Snapshot {
    info: BrokerInfo,
    /// At most [`MAX_SERIES`].
    durables: Vec<SubscriptionInfo>,
    left_out: u64,
    build: BuildInfo,
}

impl Snapshot {
    /// Requests the state from a broker.
    ///
    /// # Errors
    /// The broker is stopping or has failed.
    pub(super) async fn take<R: Runtime>(client: &Client<R>, build: BuildInfo) -> Result<Self, ClientError> {
        let info = client.broker_info().await?;
        let durable = info.counter(Counter::DurableSubscriptions).unwrap_or_default();
        let all = info.counter(Counter::Subscriptions).unwrap_or_default();
        if durable == 0 || all > MAX_LISTED {
            return Ok(Self { info, durables: Vec::new(), left_out: durable, build });
        }
        let mut durables = client.subscriptions(None).await?;
        durables.retain(|subscription| !subscription.name.is_empty());
        let left_out = durables.len().saturating_sub(MAX_SERIES).try_into().unwrap_or(u64::MAX);
        durables.truncate(MAX_SERIES);
        Ok(Self { info, durables, left_out, build })
    }

    /// The metrics in the Prometheus text format.
    ///
    /// # Errors
    /// None are known: writing to a string succeeds.
    pub(super) fn write(self) -> Result<String, fmt::Error> {
        let mut registry = Registry::with_prefix(PREFIX);
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        prometheus_text::encode(&mut text, &registry)?;
        Ok(text)
    }

    fn value(&self, counter: Counter) -> Option<u64> {
        let value = self.info.counter(counter)?;
        // Without the connection that these metrics are read through.
        Some(if counter == Counter::Connections { value.saturating_sub(1) } else { value })
    }

    fn write_build(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let BuildInfo { version, commit, runtime } = &self.build;
        let labels = [("version", *version), ("commit", *commit), ("runtime", runtime.as_str())];
        encoder
            .encode_descriptor("build", "Version, commit and runtime of the broker", None, MetricType::Info)?
            .encode_info(&labels)
    }

    /// Writes one metric, if the broker reports its counter.
    fn write_counter(&self, encoder: &mut DescriptorEncoder<'_>, metric: &CounterMetric) -> fmt::Result {
        // The broker may omit counters that are still 0.
        let zero = matches!((metric.kind, metric.unit), (MetricType::Counter, Unit::Count)).then_some(0);
        let Some(value) = self.value(metric.counter).or(zero) else {
            return Ok(());
        };
        let name = format!("{}{}", metric.counter.name(), metric.unit.suffix());
        let encoder = encoder.encode_descriptor(&name, metric.help, None, metric.kind)?;
        match (metric.kind, metric.unit) {
            (MetricType::Counter, Unit::Micros) => ConstCounter::new(seconds(value)).encode(encoder),
            (MetricType::Counter, _) => ConstCounter::new(value).encode(encoder),
            (_, Unit::Micros) => ConstGauge::new(seconds(value)).encode(encoder),
            (_, _) => ConstGauge::new(value).encode(encoder),
        }
    }

    fn write_refusals(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Refused requests, by refusal code";
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
        let help = "Memory charged to the budget, by purpose";
        let mut memory = encoder.encode_descriptor("memory_bytes", help, None, MetricType::Gauge)?;
        for (counter, part) in MEMORY_PARTS {
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
        let help = "Durable subscriptions whose lag is not shown because there are too many";
        let left_out = encoder.encode_descriptor("subscriptions_left_out", help, None, MetricType::Gauge)?;
        ConstGauge::new(self.left_out).encode(left_out)
    }
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.write_build(&mut encoder)?;
        for metric in COUNTER_METRICS {
            self.write_counter(&mut encoder, metric)?;
        }
        self.write_refusals(&mut encoder)?;
        self.write_memory(&mut encoder)?;
        self.write_durables(&mut encoder)
    }
}

/// A metric with the name and value of one of the broker's counters.
#[derive(Debug)]
struct CounterMetric {
    counter: Counter,
    kind: MetricType,
    unit: Unit,
    help: &'static str,
}

/// The unit of a counter.
#[derive(Debug, Clone, Copy)]
enum Unit {
    /// A number of something; bytes too, if the counter's name says so.
    Count,
    /// Bytes, where the counter's name does not say so.
    Bytes,
    /// Microseconds, shown as seconds.
    Micros,
}

impl Unit {
    const fn suffix(self) -> &'static str {
        match self {
            Self::Count => "",
            Self::Bytes => "_bytes",
            Self::Micros => "_seconds",
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a microsecond is lost after 285 years")]
fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

const fn total(counter: Counter, help: &'static str) -> CounterMetric {
    CounterMetric { counter, kind: MetricType::Counter, unit: Unit::Count, help }
}

const fn gauge(counter: Counter, unit: Unit, help: &'static str) -> CounterMetric {
    CounterMetric { counter, kind: MetricType::Gauge, unit, help }
}

/// The counters of memory, with the label of each.
const MEMORY_PARTS: &[(Counter, &str)] = &[
    (Counter::MemoryTopics, "topics"),
    (Counter::MemoryRetired, "retired"),
    (Counter::MemorySubscriptions, "subscriptions"),
    (Counter::MemoryProducers, "producers"),
    (Counter::MemorySessions, "sessions"),
];

/// All counters that are neither refusals nor parts of the memory.
const COUNTER_METRICS: &[CounterMetric] = &[
    gauge(Counter::Uptime, Unit::Micros, "Time since the broker started"),
    gauge(Counter::Connections, Unit::Count, "Open connections, except the one that serves these metrics"),
    total(Counter::ConnectionsAccepted, "Connections accepted, including the one that serves these metrics"),
    gauge(Counter::Topics, Unit::Count, "Topics"),
    gauge(Counter::Subscriptions, Unit::Count, "Subscriptions, including detached ones"),
    gauge(Counter::DurableSubscriptions, Unit::Count, "Durable subscriptions, including detached ones"),
    total(Counter::RecordsIn, "Records accepted"),
    total(Counter::BytesIn, "Bytes of records accepted"),
    total(Counter::RecordsOut, "Records written to connections' output"),
    total(Counter::BytesOut, "Bytes of records written to connections' output"),
    total(Counter::Duplicates, "Records not stored because they were duplicates by key"),
    total(Counter::Repeated, "Retried requests of producers answered from memory"),
    total(Counter::Gaps, "Gaps written to connections' output"),
    total(
        Counter::Superseded,
        "Offsets that subscriptions skipped because a newer record of the key existed",
    ),
    total(Counter::Rewinds, "Times the position of a subscription was moved"),
    total(Counter::DeadLetters, "Records copied to a dead-letter topic"),
    total(Counter::DeadLettersRefused, "Times a dead-letter topic refused a record"),
    total(Counter::Takeovers, "Durable subscriptions that one connection took over from another"),
    total(Counter::ClockStepsBack, "Times the clock went backwards"),
    gauge(Counter::MemoryBudget, Unit::Bytes, "Memory budget of the broker"),
    total(Counter::WriteStalls, "Times a connection's socket accepted none of the pending output"),
    CounterMetric {
        counter: Counter::ProcessCpu,
        kind: MetricType::Counter,
        unit: Unit::Micros,
        help: "CPU time used by the process",
    },
    gauge(Counter::ProcessMemory, Unit::Bytes, "Resident memory of the process"),
    gauge(Counter::ProcessMemoryPeak, Unit::Bytes, "Peak resident memory of the process"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_is_a_metric() {
        for counter in Counter::ALL {
            let shown = COUNTER_METRICS.iter().filter(|metric| metric.counter == *counter).count();
            let parts = MEMORY_PARTS.iter().filter(|(part, _)| part == counter).count();
            // Their total is not shown: refusals are shown by code.
            let expected = usize::from(*counter != Counter::Refused);
            assert_eq!(shown + parts, expected, "{}", counter.name());
        }
    }
}
