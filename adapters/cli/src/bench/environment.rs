//! What figures depend on besides the parameters.

use serde::Serialize;
use zaichik_measure::Machine;

/// The machine and the programs.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Environment {
    pub(crate) client_version: &'static str,
    /// `release`, or `debug`, which makes figures meaningless.
    pub(crate) client_build: &'static str,
    /// The operating system and its kernel's version.
    pub(crate) kernel: String,
    pub(crate) architecture: &'static str,
    /// Cores that the client may use.
    pub(crate) cores: usize,
}

impl Environment {
    /// Asks the operating system.
    pub(crate) fn detect() -> Self {
        let machine = Machine::detect();
        Self {
            client_version: env!("CARGO_PKG_VERSION"),
            client_build: if cfg!(debug_assertions) { "debug" } else { "release" },
            kernel: format!("{} {}", machine.system, machine.kernel).trim_end().to_owned(),
            architecture: std::env::consts::ARCH,
            cores: machine.cores,
        }
    }
}
