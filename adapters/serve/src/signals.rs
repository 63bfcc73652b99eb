//! SIGINT and SIGTERM: the first one drains, the second one ends the process.

use std::time::Duration;

use futures::{Stream, StreamExt};
use zaichik_driver::ServerHandle;

/// A signal that asks the process to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT, which is Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

impl Signal {
    const fn name(self) -> &'static str {
        match self {
            Self::Interrupt if cfg!(unix) => "SIGINT",
            Self::Interrupt => "Ctrl-C",
            Self::Terminate => "SIGTERM",
        }
    }

    /// The exit code of a process that it ended: 128 and its number.
    const fn code(self) -> i32 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

/// Stops the broker at the first signal; at the second one the process ends at once.
pub(crate) async fn obey(signals: impl Stream<Item = Signal>, broker: ServerHandle, grace: Duration) {
    let mut signals = std::pin::pin!(signals);
    if let Some(signal) = signals.next().await {
        tracing::info!(
            "{}: draining for up to {}; a second signal ends at once",
            signal.name(),
            humantime::format_duration(grace)
        );
        broker.shutdown(grace);
    }
    if let Some(signal) = signals.next().await {
        tracing::warn!("{}: ending at once", signal.name());
        std::process::exit(signal.code());
    }
}
