//! The broker's resource usage during the run, as far as it reports it.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use zaichik_tokio::{BrokerInfo, Client, Counter, Limits};

/// The broker's version and resource usage.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub(crate) struct ServerCost {
    /// Its name and version.
    pub(crate) version: Option<String>,
    /// Processor time during the run.
    pub(crate) cpu_seconds: Option<f64>,
    /// Peak memory of its process since it started.
    pub(crate) memory_peak_bytes: Option<u64>,
}

/// Asks a broker for its counters before and after a run.
#[derive(Debug)]
pub(crate) struct ServerWatch {
    client: Client,
    before: Option<BrokerInfo>,
}

impl ServerWatch {
    /// Asks before the run, on a separate connection, because a broker that does not know the request may close it.
    pub(crate) async fn start(client: Client) -> Self {
        let before = client.broker_info().await.ok();
        Self { client, before }
    }

    /// The connection that asks.
    pub(crate) const fn client(&self) -> &Client {
        &self.client
    }

    /// Maximum uncommitted bytes of a subscription; the default if the broker does not report its limits.
    pub(crate) fn window_bytes(&self) -> u32 {
        let limits = self.before.as_ref().map_or_else(Limits::default, |info| info.limits);
        limits.max_window_size
    }

    /// Asks again, and returns the usage in between, as far as the broker reports it.
    pub(crate) async fn cost(self) -> ServerCost {
        let Self { client, before } = self;
        let after = client.broker_info().await.ok();
        drop(client.close().await);
        match (before, after) {
            (Some(before), Some(after)) => ServerCost::between(&before, &after),
            (Some(info), None) | (None, Some(info)) => {
                ServerCost { version: Some(info.server), ..ServerCost::default() }
            }
            (None, None) => ServerCost::default(),
        }
    }
}

impl ServerCost {
    fn between(before: &BrokerInfo, after: &BrokerInfo) -> Self {
        let cpu = before.counter(Counter::ProcessCpu).zip(after.counter(Counter::ProcessCpu));
        let cpu = cpu.map(|(before, after)| Duration::from_micros(after.saturating_sub(before)));
        Self {
            version: Some(after.server.clone()),
            cpu_seconds: cpu.map(|cpu| cpu.as_secs_f64()),
            memory_peak_bytes: after.counter(Counter::ProcessMemoryPeak),
        }
    }
}

impl fmt::Display for ServerCost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cpu_seconds {
            Some(seconds) => write!(f, "{seconds:.1} CPU-s")?,
            None => f.write_str("CPU time unknown")?,
        }
        match self.memory_peak_bytes {
            Some(bytes) => write!(f, " · peak RSS {} MiB", bytes.div_ceil(1 << 20))?,
            None => f.write_str(" · memory unknown")?,
        }
        write!(f, " · {}", self.version.as_deref().unwrap_or("version unknown"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_broker_does_not_report_is_unknown() {
        let nothing = ServerCost::default();
        assert_eq!(nothing.to_string(), "CPU time unknown · memory unknown · version unknown");
        let all = ServerCost {
            version: Some("zaichik 0.3.0".to_owned()),
            cpu_seconds: Some(1.94),
            memory_peak_bytes: Some(41 << 20),
        };
        assert_eq!(all.to_string(), "1.9 CPU-s · peak RSS 41 MiB · zaichik 0.3.0");
    }
}
