//! SIGINT and SIGTERM: the first one drains, the second one ends the process.

use std::pin::pin;
use std::time::Duration;

use futures::future::{Either, select};
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

/// The result of `work`, or `None` if a signal came first: there is no broker yet that would have to be drained.
pub(crate) async fn unless_interrupted<T>(
    signals: Option<&mut (impl Stream<Item = Signal> + Unpin)>,
    work: impl Future<Output = T>,
) -> Option<T> {
    let work = pin!(work);
    let Some(signals) = signals else { return Some(work.await) };
    match select(work, signals.next()).await {
        Either::Left((done, _)) => Some(done),
        Either::Right((Some(signal), _)) => {
            tracing::info!("{}: exiting before the storage was read", signal.name());
            None
        }
        Either::Right((None, work)) => Some(work.await),
    }
}

/// Drains the broker on the first signal, for at most `grace`; exits immediately on the second one.
pub(crate) async fn shut_down_on(signals: impl Stream<Item = Signal>, broker: BrokerHandle, grace: Duration) {
    let mut signals = pin!(signals);
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

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn, ready};
    use std::task::Poll;

    use futures::stream;
    use zaichik_simulated::Simulation;

    use super::*;

    fn run<T>(work: impl Future<Output = T>) -> T {
        Simulation::new().run(work)
    }

    #[test]
    fn a_signal_ends_work_that_is_not_done() {
        let mut signals = stream::iter([Signal::Terminate]);
        assert_eq!(run(unless_interrupted(Some(&mut signals), pending::<()>())), None);
        let mut signals = stream::pending();
        assert_eq!(run(unless_interrupted(Some(&mut signals), ready(7))), Some(7));
    }

    #[test]
    fn work_goes_on_without_signals() {
        let mut ended = stream::empty();
        let mut polls = 0;
        let work = poll_fn(|cx| {
            cx.waker().wake_by_ref();
            polls += 1;
            if polls == 2 { Poll::Ready(7) } else { Poll::Pending }
        });
        assert_eq!(run(unless_interrupted(Some(&mut ended), work)), Some(7));
        let none: Option<&mut stream::Empty<Signal>> = None;
        assert_eq!(run(unless_interrupted(none, ready(7))), Some(7));
    }
}
