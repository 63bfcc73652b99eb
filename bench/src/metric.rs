//! Metrics and their medians.

use std::collections::BTreeMap;

use serde::Serialize;

/// The meaning of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Metric {
    /// Million messages delivered (or acknowledged, or consumed) per second.
    Rate,
    /// Processor seconds of the broker per million of them.
    CpuPerMillion,
    PeakMemory,
    /// Median latency in microseconds.
    P50,
    /// 99th percentile of the latency in microseconds.
    P99,
    /// 99.9th percentile of the latency in microseconds.
    P999,
    /// Bytes per connection, topic or message.
    BytesEach,
    /// Milliseconds from the start of the process to an accepted connection.
    Startup,
    CpuSeconds,
    /// Duration of the run in seconds.
    Seconds,
    /// Messages of a commit, on average.
    MessagesPerCommit,
    /// Bytes written to disk per message.
    BytesPerMessage,
    /// Million bytes of files, or of messages as they lie there, per second.
    Megabytes,
    /// Million messages per second that another connection reads meanwhile.
    ReadBeside,
}

impl Metric {
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Rate => "M msg/s",
            Self::CpuPerMillion => "CPU s/M",
            Self::PeakMemory => "peak MiB",
            Self::P50 => "p50 us",
            Self::P99 => "p99 us",
            Self::P999 => "p99.9 us",
            Self::BytesEach => "bytes each",
            Self::Startup => "start ms",
            Self::CpuSeconds => "CPU s",
            Self::Seconds => "run s",
            Self::MessagesPerCommit => "msg/commit",
            Self::BytesPerMessage => "bytes/msg",
            Self::Megabytes => "MB/s",
            Self::ReadBeside => "M read/s",
        }
    }

    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Self::Rate if value < 0.1 => format!("{value:.4}"),
            Self::Rate if value < 1.0 => format!("{value:.3}"),
            Self::Rate | Self::CpuPerMillion | Self::CpuSeconds | Self::Seconds | Self::ReadBeside => {
                format!("{value:.2}")
            }
            Self::PeakMemory => format!("{:.1}", value / f64::from(1 << 20)),
            Self::P50 | Self::P99 | Self::P999 | Self::Startup => format!("{value:.1}"),
            Self::BytesEach | Self::MessagesPerCommit | Self::BytesPerMessage | Self::Megabytes => {
                format!("{value:.0}")
            }
        }
    }
}

pub(crate) type Sample = BTreeMap<Metric, f64>;

/// The figures of a run that takes `seconds` for `messages`, `cpu` processor seconds and `memory` bytes.
pub(crate) fn throughput(messages: u64, seconds: f64, cpu: f64, memory: f64) -> Sample {
    let millions = messages as f64 / 1e6;
    Sample::from([
        (Metric::Rate, millions / seconds),
        (Metric::CpuPerMillion, cpu / millions),
        (Metric::PeakMemory, memory),
        (Metric::Seconds, seconds),
    ])
}

/// The median; of an even number of values, the upper of the two in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// The median of each figure of several runs.
pub(crate) fn medians(samples: &[Sample]) -> Sample {
    let metrics = samples.first().into_iter().flat_map(Sample::keys);
    let of =
        |metric: &Metric| median(samples.iter().filter_map(|sample| sample.get(metric).copied()).collect());
    metrics.filter_map(|metric| Some((*metric, of(metric)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_value_in_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(3.0));
    }

    #[test]
    fn each_figure_has_its_own_median() {
        let samples = [(1.0, 30.0), (2.0, 10.0), (3.0, 20.0)]
            .map(|(rate, memory)| Sample::from([(Metric::Rate, rate), (Metric::PeakMemory, memory)]));
        let expected = Sample::from([(Metric::Rate, 2.0), (Metric::PeakMemory, 20.0)]);
        assert_eq!(medians(&samples), expected);
        assert!(medians(&[]).is_empty());
    }
}
