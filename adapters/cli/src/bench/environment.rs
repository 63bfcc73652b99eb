//! What figures depend on besides the parameters.

use std::num::NonZero;
use std::thread;

use serde::Serialize;

/// The machine and the programs.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Environment {
    pub(crate) client_version: &'static str,
    /// `release`, or `debug`, whose figures mean little.
    pub(crate) client_build: &'static str,
    /// The system and its kernel's version.
    pub(crate) kernel: String,
    pub(crate) architecture: &'static str,
    /// Cores that the client may use.
    pub(crate) cores: usize,
}

impl Environment {
    /// Looks around.
    pub(crate) fn look() -> Self {
        Self {
            client_version: env!("CARGO_PKG_VERSION"),
            client_build: if cfg!(debug_assertions) { "debug" } else { "release" },
            kernel: kernel(),
            architecture: std::env::consts::ARCH,
            cores: thread::available_parallelism().map_or(1, NonZero::get),
        }
    }
}

#[cfg(unix)]
fn kernel() -> String {
    let system = rustix::system::uname();
    format!("{} {}", system.sysname().to_string_lossy(), system.release().to_string_lossy())
}

#[cfg(not(unix))]
fn kernel() -> String {
    std::env::consts::OS.to_owned()
}
