//! The results of a run, as JSON and CSV.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;
use zaichik_measure::Latencies;
use zaichik_tokio::Timestamp;

use super::environment::Environment;
use super::latency::Percentiles;
use super::number::as_f64;
use super::plan::Plan;
use super::server::ServerCost;
use super::verdict::Verdict;
use crate::failure::{Code, Failure};

/// A run and its results.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) parameters: Plan,
    pub(crate) environment: Environment,
    pub(crate) server: ServerCost,
    /// Whether a signal ended it early.
    pub(crate) interrupted: bool,
    pub(crate) published: Option<Part>,
    pub(crate) delivered: Option<Part>,
    /// Of members of a shared subscription: messages that the broker knows to be done. Latencies end when a member receives a
    /// message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) acknowledged: Option<Part>,
    pub(crate) round_trips: Option<Part>,
    pub(crate) verify: Option<Verdict>,
}

/// The results of all clients of one kind.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Part {
    pub(crate) clients: usize,
    /// Measured messages of all these clients.
    pub(crate) messages: u64,
    /// Bytes of their bodies.
    pub(crate) bytes: u64,
    /// Publishes without acknowledgement that the broker refused.
    pub(crate) refused_publishes: u64,
    pub(crate) seconds: f64,
    pub(crate) messages_per_second: f64,
    pub(crate) mib_per_second: f64,
    pub(crate) latency: Option<Percentiles>,
}

impl Part {
    /// Rates of `messages` over `span`, from the first moment to the last.
    pub(crate) fn new(
        clients: usize,
        messages: u64,
        bytes: u64,
        span: Option<(Timestamp, Timestamp)>,
        latencies: &Latencies,
    ) -> Self {
        let span = span.map_or(Duration::ZERO, |(first, last)| last.since(first));
        // A run that is shorter than the clock's resolution took one step of the clock.
        let seconds = span.max(Duration::from_micros(1)).as_secs_f64();
        Self {
            clients,
            messages,
            bytes,
            refused_publishes: 0,
            seconds,
            messages_per_second: as_f64(messages) / seconds,
            mib_per_second: as_f64(bytes) / seconds / f64::from(1 << 20),
            latency: Percentiles::of(latencies),
        }
    }
}

impl Report {
    /// Fails if verification failed.
    ///
    /// # Errors
    /// The broker refused publishes, or not every message was delivered as it was published.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if let Some(verdict) = self.verify.filter(|verdict| !verdict.holds()) {
            return Err(Failure::new(Code::Unverified, format_args!("verification failed: {verdict}")));
        }
        let refused = self.published.as_ref().map_or(0, |part| part.refused_publishes);
        if refused > 0 {
            let message = format!(
                "verification failed: the broker refused {refused} publishes; use --ack accepted to see why"
            );
            return Err(Failure::new(Code::Unverified, message));
        }
        Ok(())
    }

    /// One JSON object.
    ///
    /// # Errors
    /// None in practice.
    pub(crate) fn json(&self) -> Result<String, Failure> {
        serde_json::to_string_pretty(self).map_err(|error| Failure::new(Code::Other, error))
    }

    /// A header, and a line for each part.
    pub(crate) fn csv(&self) -> String {
        let parts = [
            ("published", &self.published),
            ("delivered", &self.delivered),
            ("acknowledged", &self.acknowledged),
            ("round_trips", &self.round_trips),
        ];
        let mut out = String::new();
        for (name, part) in parts {
            let Some(part) = part else { continue };
            let (columns, cells): (Vec<_>, Vec<_>) = self.csv_cells(name, part).into_iter().unzip();
            if out.is_empty() {
                let _ = writeln!(out, "{}", columns.join(","));
            }
            let cells: Vec<String> = cells.iter().map(|cell| quoted(cell)).collect();
            let _ = writeln!(out, "{}", cells.join(","));
        }
        out
    }

    fn csv_cells(&self, name: &str, part: &Part) -> [(&'static str, String); 39] {
        let plan = &self.parameters;
        // Only deliveries are verified.
        let verdict = self.verify.filter(|_| name != "published");
        let found = |count: fn(&Verdict) -> u64| optional(verdict.as_ref().map(count));
        let micros = |value: fn(&Percentiles) -> u64| optional(part.latency.as_ref().map(value));
        [
            ("command", plan.command.to_owned()),
            ("part", name.to_owned()),
            ("clients", part.clients.to_string()),
            ("messages", part.messages.to_string()),
            ("bytes", part.bytes.to_string()),
            ("seconds", format!("{:.6}", part.seconds)),
            ("messages_per_second", format!("{:.1}", part.messages_per_second)),
            ("mib_per_second", format!("{:.3}", part.mib_per_second)),
            ("mean_us", optional(part.latency.as_ref().map(|latency| format!("{:.1}", latency.mean_us)))),
            ("p50_us", micros(|latency| latency.p50_us)),
            ("p90_us", micros(|latency| latency.p90_us)),
            ("p99_us", micros(|latency| latency.p99_us)),
            ("p999_us", micros(|latency| latency.p999_us)),
            ("max_us", micros(|latency| latency.max_us)),
            ("refused_publishes", part.refused_publishes.to_string()),
            ("lost", found(|verdict| verdict.lost)),
            ("duplicated", found(|verdict| verdict.duplicated)),
            ("reordered", found(|verdict| verdict.reordered)),
            ("corrupted", found(|verdict| verdict.corrupted)),
            ("gaps", found(|verdict| verdict.gaps)),
            ("redelivered", found(|verdict| verdict.redelivered)),
            ("interrupted", self.interrupted.to_string()),
            ("topic", plan.topic.clone()),
            ("size", optional(plan.size)),
            ("pubs", plan.pubs.to_string()),
            ("subs", plan.subs.to_string()),
            ("members", optional(plan.members)),
            ("keys", optional(plan.keys)),
            ("window", optional(plan.window)),
            ("ack", optional(plan.ack.map(super::options::Ack::name))),
            ("batch", optional(plan.batch)),
            ("in_flight", optional(plan.in_flight)),
            ("rate", optional(plan.rate)),
            ("client_version", self.environment.client_version.to_owned()),
            ("server_version", optional(self.server.version.as_deref())),
            ("server_cpu_seconds", optional(self.server.cpu_seconds.map(|seconds| format!("{seconds:.3}")))),
            ("server_memory_peak_bytes", optional(self.server.memory_peak_bytes)),
            ("kernel", self.environment.kernel.clone()),
            ("cores", self.environment.cores.to_string()),
        ]
    }
}

/// An empty cell for `None`.
fn optional(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn quoted(cell: &str) -> String {
    if cell.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_with_a_separator_is_quoted() {
        assert_eq!(quoted("plain"), "plain");
        assert_eq!(quoted("a,b"), "\"a,b\"");
        assert_eq!(quoted("say \"so\""), "\"say \"\"so\"\"\"");
    }

    #[test]
    fn a_part_has_rates() {
        let span = (Timestamp::from_micros(1_000_000), Timestamp::from_micros(3_000_000));
        let latencies = Latencies::in_microseconds().expect("a valid bound");
        let part = Part::new(1, 1_000, 2 << 20, Some(span), &latencies);
        assert!((part.messages_per_second - 500.0).abs() < 1e-9);
        assert!((part.mib_per_second - 1.0).abs() < 1e-9);
        assert!(part.latency.is_none());
    }
}
