//! SIGINT and SIGTERM: the first one drains, the second one ends the process.

use std::io;
use std::time::Duration;

use zaichik_tokio::ServerHandle;

/// Stops the broker at the first signal; at the second one the process ends at once.
pub(crate) fn stop(broker: ServerHandle, grace: Duration) {
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => {
            tracing::warn!(%error, "signals can't be handled; the process ends without draining");
            return;
        }
    };
    drop(tokio::spawn(async move {
        let (name, _) = signals.next().await;
        tracing::info!("{name}: draining for up to {} s; a second signal ends at once", grace.as_secs());
        broker.shutdown(grace);
        let (name, code) = signals.next().await;
        tracing::warn!("{name}: ending at once");
        std::process::exit(code);
    }));
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// The next signal's name, and the code of a process that it ended: 128 and its number.
    async fn next(&mut self) -> (&'static str, i32) {
        std::future::poll_fn(|cx| {
            if self.interrupt.poll_recv(cx).is_ready() {
                std::task::Poll::Ready(("SIGINT", 130))
            } else {
                self.terminate.poll_recv(cx).map(|_| ("SIGTERM", 143))
            }
        })
        .await
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> (&'static str, i32) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        ("Ctrl-C", 130)
    }
}
