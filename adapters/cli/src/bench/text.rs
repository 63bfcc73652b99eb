//! The results of a run, as text.

use std::fmt::Write as _;

use super::latency::Percentiles;
use super::number::grouped;
use super::report::{Part, Report};

/// Messages per second, and MiB per second if known.
pub(crate) fn rates(messages: f64, mib: Option<f64>) -> String {
    // A rate is never negative and fits into 64 bits.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as above")]
    let messages = messages.round() as u64;
    let mib = mib.map_or_else(String::new, |mib| format!("  {mib:>8.1} MiB/s"));
    format!("{:>11} msg/s{mib}", grouped(messages))
}

/// The results, without the line of parameters.
pub(crate) fn summary(report: &Report) -> String {
    let mut out = String::new();
    let is_acked = report.parameters.ack.is_some_and(|ack| ack.name() != "none");
    let parts = [
        ("pub", if is_acked { "acked" } else { "sent" }, "ack", &report.published),
        ("sub", "delivered", "e2e", &report.delivered),
        ("work", "acked", "e2e", &report.acknowledged),
        ("echo", "round trips", "rtt", &report.round_trips),
    ];
    for (name, what, latency, part) in parts {
        if let Some(part) = part {
            out.push_str(&line(name, what, latency, part));
        }
    }
    if let Some(verdict) = &report.verify {
        let _ = writeln!(out, " verify: {verdict}");
    }
    if report.interrupted {
        out.push_str(" interrupted: results up to the interrupt\n");
    }
    let environment = &report.environment;
    let _ = writeln!(out, " server: {}", report.server);
    let _ = writeln!(
        out,
        " client: zaichik {} ({}) · {} · {} cores",
        environment.client_version, environment.client_build, environment.kernel, environment.cores
    );
    out
}

fn line(name: &str, what: &str, latency: &str, part: &Part) -> String {
    let count = grouped(part.messages);
    let mut out = format!(" {name:<4} {count:>11} {what:<11} ");
    out.push_str(&rates(part.messages_per_second, Some(part.mib_per_second)));
    if let Some(latencies) = &part.latency {
        let _ = write!(out, "   {latency}  {}", percentiles(latencies));
    }
    out.push('\n');
    if part.refused_publishes > 0 {
        let _ = writeln!(out, "      {:>11} publishes refused", grouped(part.refused_publishes));
    }
    out
}

fn percentiles(latencies: &Percentiles) -> String {
    let Percentiles { p50_us, p90_us, p99_us, p999_us, max_us, .. } = *latencies;
    let [p50, p90, p99, p999, max] = [p50_us, p90_us, p99_us, p999_us, max_us].map(grouped);
    format!("p50 {p50}  p90 {p90}  p99 {p99}  p99.9 {p999}  max {max} µs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_units() {
        assert_eq!(rates(812_113.6, Some(99.13)), "    812,114 msg/s      99.1 MiB/s");
        assert_eq!(rates(0.4, None), "          0 msg/s");
    }
}
