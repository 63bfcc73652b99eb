//! Accepts connections from one or more listeners while the broker runs.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::shared::{Poisoned, Shared};
use super::spare::{Spare, out_of_descriptors};
use crate::alarm::Alarm;
use crate::runtime::{Listener, Runtime};
use crate::timeline::Timeline;

/// Connections accepted before the task yields to others; with more listeners, one connection of each.
const ACCEPTS_PER_POLL: usize = 64;

/// Delay after the first failed accept; doubles with each further one.
const FIRST_BACKOFF: Duration = Duration::from_millis(10);

/// Maximum delay after a failed accept.
const LONGEST_BACKOFF: Duration = Duration::from_secs(1);

/// Accepts connections while the broker runs.
pub(super) struct Acceptor<'a, R: Runtime> {
    shared: &'a Arc<Shared>,
    doors: Vec<Door<R>>,
    /// The listener to poll next.
    first: usize,
    spare: Spare,
}

/// A listener, and its delay after a failed accept.
struct Door<R: Runtime> {
    listener: R::Listener,
    alarm: Alarm<R::Timer>,
    /// The last delay; zero after a successful accept.
    backoff: Duration,
    until: Option<Instant>,
}

impl<'a, R: Runtime> Acceptor<'a, R> {
    pub(super) fn new(shared: &'a Arc<Shared>, listeners: Vec<R::Listener>) -> Self {
        Self { shared, doors: listeners.into_iter().map(Door::new).collect(), first: 0, spare: Spare::new() }
    }

    /// Ready when the broker is stopping or has failed.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Self { shared, doors, first, spare } = self;
        let mut asleep = 0_usize;
        // A whole round of the listeners fits, wherever it begins, or the task would wake itself without end.
        for _ in 0..ACCEPTS_PER_POLL.max(doors.len().saturating_add(1)) {
            let idle = shared.tasks().none(cx.waker());
            if idle || shared.is_stopping() != Ok(false) {
                return Poll::Ready(());
            }
            // One connection from each in turn, so that a flood on one listener does not block the others.
            let Some(door) = doors.get_mut(*first) else {
                *first = 0;
                continue;
            };
            *first = first.saturating_add(1);
            match door.poll_accept(cx, shared.clock(), spare) {
                Poll::Pending => {
                    asleep = asleep.saturating_add(1);
                    if asleep == doors.len() {
                        return Poll::Pending;
                    }
                }
                Poll::Ready((io, peer)) => {
                    asleep = 0;
                    match shared.accept() {
                        Ok(Some(accepted)) => {
                            R::spawn(Connection::new(io, &peer, R::timer(), accepted, shared));
                        }
                        Ok(None) | Err(Poisoned) => return Poll::Ready(()),
                    }
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<R: Runtime> Door<R> {
    fn new(listener: R::Listener) -> Self {
        Self { listener, alarm: Alarm::new(R::timer()), backoff: Duration::ZERO, until: None }
    }

    /// The next connection; a failed accept is retried.
    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
        clock: &Timeline,
        spare: &mut Spare,
    ) -> Poll<(R::Io, String)> {
        loop {
            if self.until.is_some() {
                ready!(self.alarm.poll(cx, self.until));
                self.until = None;
            }
            match ready!(self.listener.poll_accept(cx)) {
                Ok(accepted) => {
                    self.backoff = Duration::ZERO;
                    return Poll::Ready(accepted);
                }
                Err(error) => self.failed(cx, &error, clock, spare),
            }
        }
    }

    /// Decides how long to wait. A failed accept must never end the broker.
    fn failed(&mut self, cx: &mut Context<'_>, error: &io::Error, clock: &Timeline, spare: &mut Spare) {
        use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
        if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
            return;
        }
        if out_of_descriptors(error) {
            self.refuse_waiting(cx, spare);
        }
        self.backoff = self.backoff.saturating_mul(2).clamp(FIRST_BACKOFF, LONGEST_BACKOFF);
        self.until = clock.instant(clock.now() + self.backoff);
        tracing::warn!(%error, retry_in = ?self.backoff, "accept failed");
    }

    /// Accepts and closes the connections in the backlog, with the spare descriptor.
    fn refuse_waiting(&mut self, cx: &mut Context<'_>, spare: &mut Spare) {
        spare.release();
        for _ in 0..ACCEPTS_PER_POLL {
            match self.listener.poll_accept(cx) {
                Poll::Ready(Ok(refused)) => drop(refused),
                Poll::Ready(Err(_)) | Poll::Pending => break,
            }
        }
        spare.restore();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    use zaichik_engine::{Broker, BrokerConfig, Seed};

    use super::*;
    use crate::endpoint::Endpoint;
    use crate::local::LocalIo;
    use crate::manual::Silent;

    /// A runtime whose listeners never accept.
    struct Deaf;

    struct DeafListener;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Listener for DeafListener {
        type Io = LocalIo;

        fn poll_accept(&mut self, _: &mut Context<'_>) -> Poll<io::Result<(LocalIo, String)>> {
            Poll::Pending
        }

        fn local_addr(&self) -> io::Result<Endpoint> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    impl Runtime for Deaf {
        type Io = LocalIo;
        type Listener = DeafListener;
        type Timer = Silent;

        async fn connect(_: &str) -> io::Result<LocalIo> {
            Err(io::ErrorKind::ConnectionRefused.into())
        }

        async fn bind(_: &str) -> io::Result<DeafListener> {
            Ok(DeafListener)
        }

        fn timer() -> Silent {
            Silent
        }

        fn spawn(_: impl Future<Output = ()> + Send + 'static) {}
    }

    #[test]
    fn idle_listeners_let_the_task_sleep_however_many_there_are() {
        for count in [1, 63, 64, 65, 1_000] {
            let broker = Broker::new(BrokerConfig::default(), Seed::new(1, 2)).expect("valid");
            let shared = Shared::new(broker, Timeline::start());
            let _housekeeper = shared.tasks().enter_housekeeper();
            let listeners = (0..count).map(|_| DeafListener).collect();
            let mut acceptor = Acceptor::<Deaf>::new(&shared, listeners);
            let wakes = Arc::new(Wakes::default());
            let task = Waker::from(Arc::clone(&wakes));
            for _ in 0..2 {
                assert!(acceptor.poll(&mut Context::from_waker(&task)).is_pending());
                assert_eq!(wakes.0.load(Ordering::Relaxed), 0, "with {count} listeners it wakes itself");
            }
        }
    }
}
