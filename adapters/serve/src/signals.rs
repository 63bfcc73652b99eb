//! SIGINT and SIGTERM: the first one drains, the second one ends the process.

use std::time::Duration;

use futures::{Stream, StreamExt};
use zaichik_driver::BrokerHandle;

/// A signal that asks the process to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT, that is Ctrl-C.
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

    /// The exit code of a process ended by this signal: 128 plus its number.
    const fn code(self) -> i32 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

/// Drains the broker on the first signal, for at most `grace`; exits immediately on the second one.
pub(crate) async fn shut_down_on(signals: impl Stream<Item = Signal>, broker: BrokerHandle, grace: Duration) {
    let mut signals = std::pin::pin!(signals);
    if let Some(signal) = signals.next().await {
        tracing::info!(
            "{}: draining for up to {}; a second signal exits immediately",
            signal.name(),
            humantime::format_duration(grace)
        );
        broker.shutdown(grace);
    }
    if let Some(signal) = signals.next().await {
        tracing::warn!("{}: exiting immediately", signal.name());
        crate::log::flush();
        std::process::exit(signal.code());
    }
}
