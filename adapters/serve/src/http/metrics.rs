//! The broker's counters as metrics.

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use futures::future::{Either, select};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use zaichik_driver::{Client, Counter, CounterValue, Runtime, SubscriptionInfo, Timer};

/// The prefix of all metric names.
const PREFIX: &str = "zaichik";

/// Maximum durable subscriptions with a series each, the first ones in the broker's order.
const MAX_SERIES: usize = 1_000;

/// Maximum time to wait for that list.
const LAGS_TIMEOUT: Duration = Duration::from_secs(2);

/// The metric of the time that commits take; it is no counter.
const COMMIT_SECONDS: &str = "storage_commit_seconds";

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
    counters: Vec<CounterValue>,
    lags: Lags,
    /// How long commits of the store take, if there is a store.
    commit_seconds: Option<Histogram>,
    build: BuildInfo,
}

/// The lags of durable subscriptions.
#[derive(Debug, Default)]
pub(super) struct Lags {
    /// At most [`MAX_SERIES`].
    durables: Vec<SubscriptionInfo>,
    left_out: u64,
}

impl Lags {
    /// Requests the lags from a broker with these counters, unless they are too many. What the broker does not answer soon
    /// is left out: its answer may wait for the store.
    pub(super) async fn request<R: Runtime>(client: &Client<R>, counters: &[CounterValue]) -> Self {
        let durable = value(counters, Counter::DurableSubscriptions).unwrap_or_default();
        let all = value(counters, Counter::Subscriptions).unwrap_or_default();
        if durable == 0 || all > MAX_LISTED {
            return Self::left_out(counters);
        }
        let (mut timer, start) = (R::timer(), R::now());
        let deadline = start.checked_add(LAGS_TIMEOUT).unwrap_or(start);
        let listed = pin!(client.subscriptions(None));
        let Either::Left((Ok(mut durables), _)) =
            select(listed, pin!(poll_fn(|cx| timer.poll_until(cx, deadline)))).await
        else {
            return Self::left_out(counters);
        };
        durables.retain(|subscription| !subscription.name.is_empty());
        let left_out = durables.len().saturating_sub(MAX_SERIES).try_into().unwrap_or(u64::MAX);
        durables.truncate(MAX_SERIES);
        Self { durables, left_out }
    }

    /// None of them.
    pub(super) fn left_out(counters: &[CounterValue]) -> Self {
        let left_out = value(counters, Counter::DurableSubscriptions).unwrap_or_default();
        Self { durables: Vec::new(), left_out }
    }
}

impl Snapshot {
    pub(super) const fn new(
        counters: Vec<CounterValue>,
        lags: Lags,
        commit_seconds: Option<Histogram>,
        build: BuildInfo,
    ) -> Self {
        Self { counters, lags, commit_seconds, build }
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
        let value = value(&self.counters, counter)?;
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
        for counted in &self.counters {
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

    fn write_commits(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Some(commits) = &self.commit_seconds else { return Ok(()) };
        let help = "Time that the store took for a commit";
        commits.encode(encoder.encode_descriptor(COMMIT_SECONDS, help, None, MetricType::Histogram)?)
    }

    fn write_durables(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Offsets that a durable subscription has not committed";
        let mut lag = encoder.encode_descriptor("subscription_lag", help, None, MetricType::Gauge)?;
        for durable in &self.lags.durables {
            let labels = [("topic", durable.topic.as_str()), ("name", durable.name.as_str())];
            ConstGauge::new(durable.lag()).encode(lag.encode_family(&labels)?)?;
        }
        let help = "Durable subscriptions whose lag is not shown: there are too many, or the store is slow";
        let left_out = encoder.encode_descriptor("subscriptions_left_out", help, None, MetricType::Gauge)?;
        ConstGauge::new(self.lags.left_out).encode(left_out)
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
        self.write_commits(&mut encoder)?;
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

fn value(counters: &[CounterValue], counter: Counter) -> Option<u64> {
    counters.iter().find(|one| one.counter == counter).map(|one| one.value)
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
    gauge(Counter::StorageChangedRows, Unit::Count, "Rows that changed and are in no commit yet"),
    total(Counter::StorageCommits, "Commits that the store has made"),
    total(Counter::StorageRowsCommitted, "Rows that commits put or removed"),
    total(Counter::StorageBytesWritten, "Bytes that commits wrote, with what they moved"),
    total(Counter::StorageNoSpace, "Times that a commit found no space, and was repeated"),
    gauge(Counter::StorageFull, Unit::Count, "1 if the store has no space but its reserve, or not even that"),
    gauge(Counter::StorageLastCommit, Unit::Micros, "Time that the last commit took"),
    gauge(Counter::StorageLastErrorTime, Unit::Micros, "When the store last refused something, in Unix time"),
    gauge(Counter::StorageSegments, Unit::Count, "Segments of the store"),
    gauge(Counter::StorageBytes, Unit::Count, "Bytes of the segments of the store"),
    gauge(Counter::StorageLiveBytes, Unit::Count, "Bytes in the segments that are still needed"),
];

#[cfg(test)]
mod tests {
    use super::*;

    const PROTOCOL: &str = include_str!("../../../../docs/protocol.md");
    const GUIDE: &str = include_str!("../../../../docs/guide.md");

    #[test]
    fn every_metric_is_documented() {
        for counter in Counter::ALL {
            let row = format!("| {} | `{}` | ", counter.code(), counter.name());
            assert!(PROTOCOL.contains(&row), "docs/protocol.md has no row {row}");
        }
        let text = snapshot().write().expect("text");
        let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
        let mut others = 0;
        for name in names {
            let is_of = |counter: &Counter| name.starts_with(&format!("{PREFIX}_{}", counter.name()));
            if !Counter::ALL.iter().any(is_of) {
                assert!(GUIDE.contains(&format!("`{name}")), "docs/guide.md does not name {name}");
                others += 1;
            }
        }
        assert!(others >= 4, "those that are no counters of the broker");
    }

    /// With a value for everything.
    fn snapshot() -> Snapshot {
        let counters = Counter::ALL.iter().map(|counter| CounterValue { counter: *counter, value: 1 });
        let commits = Histogram::new([0.001]);
        Snapshot::new(counters.collect(), Lags::default(), Some(commits), BuildInfo::new("tests", None))
    }

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
