//! What the run cost the broker, as far as it tells.

use std::fmt;

use serde::Serialize;

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
