//! What the run cost the broker, as far as it tells.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use zaichik_tokio::{BrokerInfo, Client, Counter, Limits};

/// The broker, and what it used.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub(crate) struct ServerCost {
    /// What it calls itself.
    pub(crate) version: Option<String>,
    /// Processor time during the run.
    pub(crate) cpu_seconds: Option<f64>,
    /// The most memory that its process ever had.
    pub(crate) memory_peak_bytes: Option<u64>,
}

/// A broker that is asked before and after a run.
#[derive(Debug)]
pub(crate) struct ServerWatch {
    client: Client,
    before: Option<BrokerInfo>,
}

impl ServerWatch {
    /// Asks for the first time, over a connection that nothing else depends on: a broker that can't answer may close it.
    pub(crate) async fn start(client: Client) -> Self {
        let before = client.broker_info().await.ok();
        Self { client, before }
    }

    /// Most bytes of messages that a subscription may have uncommitted; what is usual if the broker does not tell.
    pub(crate) fn window_bytes(&self) -> u32 {
        let limits = self.before.as_ref().map_or_else(Limits::default, |info| info.limits);
        limits.max_window_bytes
    }

    /// What the broker used since then; nothing if it does not tell.
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
    fn what_the_broker_does_not_tell_is_unknown() {
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
