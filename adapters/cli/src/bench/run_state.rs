//! State that the publishers and subscribers of one run share: their progress, and when to stop.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Notify;
use zaichik_tokio::{Clock, Timestamp};

/// Bytes that publishers may be ahead of the slowest subscriber of the same process. These messages wait in the broker:
/// more of them would not be faster, and could reach the topic's limit.
const AHEAD_BYTES: u64 = 4 << 20;

/// Messages after which a subscriber that never waits wakes the publishers.
const WAKE_INTERVAL: u64 = 1_024;

/// The shared state of one run.
#[derive(Debug)]
pub(crate) struct RunState {
    pub(crate) clock: Clock,
    stopped: AtomicBool,
    stop: Notify,
    /// Whether every message of a shared subscription is acknowledged.
    is_complete: AtomicBool,
    complete: Notify,
    /// When publishing began.
    begin: OnceLock<Timestamp>,
    published: AtomicU64,
    /// The progress of each subscriber, in separate allocations so that subscribers do not share cache lines.
    reached: Vec<Arc<AtomicU64>>,
    advanced: Notify,
    /// Maximum published messages that have not reached every subscriber.
    max_ahead: u64,
}

impl RunState {
    /// A run with messages of `size` bytes, of which publishers publish up to `step` at once.
    pub(crate) fn new(subscribers: u32, size: usize, step: u64) -> Arc<Self> {
        let size = u64::try_from(size.max(1)).unwrap_or(u64::MAX);
        Arc::new(Self {
            clock: Clock::start(),
            stopped: AtomicBool::new(false),
            stop: Notify::new(),
            is_complete: AtomicBool::new(false),
            complete: Notify::new(),
            begin: OnceLock::new(),
            published: AtomicU64::new(0),
            reached: (0..subscribers).map(|_| Arc::default()).collect(),
            advanced: Notify::new(),
            max_ahead: AHEAD_BYTES.checked_div(size).unwrap_or(0).max(step.saturating_mul(2)),
        })
    }

    /// Stops publishing.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.stop.notify_waiters();
        self.advanced.notify_waiters();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Ready when publishing has been stopped.
    pub(crate) async fn stopped(&self) {
        let stop = self.stop.notified();
        if !self.is_stopped() {
            stop.await;
        }
    }

    /// Ends the members of a shared subscription: every message is acknowledged.
    pub(crate) fn complete(&self) {
        self.is_complete.store(true, Ordering::SeqCst);
        self.complete.notify_waiters();
    }

    /// Ready when every message of a shared subscription is acknowledged.
    pub(crate) async fn completed(&self) {
        let complete = self.complete.notified();
        if !self.is_complete.load(Ordering::SeqCst) {
            complete.await;
        }
    }

    /// The moment that all schedules start from: the first call of this method.
    pub(crate) fn begin(&self) -> Timestamp {
        *self.begin.get_or_init(|| self.clock.now())
    }

    /// Whether `duration` has passed since `since`.
    pub(crate) fn is_over(&self, since: Timestamp, duration: Duration) -> bool {
        self.clock.now().since(since) >= duration
    }

    /// Ready when `messages` may be published without getting too far ahead of a subscriber, or when publishing has been
    /// stopped.
    pub(crate) async fn wait_for_room(&self, messages: u64) {
        loop {
            // Registered before the check, so that no notification between check and wait is missed.
            let advanced = self.advanced.notified();
            let published = self.published.load(Ordering::Relaxed).saturating_add(messages);
            if self.is_stopped() || published <= self.slowest().saturating_add(self.max_ahead) {
                return;
            }
            advanced.await;
        }
    }

    /// Counts published messages.
    pub(crate) fn add_published(&self, messages: u64) {
        self.published.fetch_add(messages, Ordering::Relaxed);
    }

    /// Published messages, including the warm-up.
    pub(crate) fn published(&self) -> u64 {
        self.published.load(Ordering::Relaxed)
    }

    /// Records that a subscriber has received `messages`.
    pub(crate) fn set_reached(&self, subscriber: usize, messages: u64) {
        if let Some(reached) = self.reached.get(subscriber) {
            reached.store(messages, Ordering::Relaxed);
        }
        if messages.is_multiple_of(WAKE_INTERVAL) {
            self.wake_publishers();
        }
    }

    /// Counts messages that the members of a shared subscription have acknowledged; together they are the only subscriber.
    pub(crate) fn add_acknowledged(&self, messages: u64) {
        if let Some(reached) = self.reached.first() {
            reached.fetch_add(messages, Ordering::Relaxed);
        }
    }

    /// Wakes waiting publishers: a subscriber waits for them.
    pub(crate) fn wake_publishers(&self) {
        self.advanced.notify_waiters();
    }

    /// Messages that all subscribers received in total.
    pub(crate) fn delivered(&self) -> u64 {
        let reached = self.reached.iter().map(|reached| reached.load(Ordering::Relaxed));
        reached.fold(0, u64::saturating_add)
    }

    fn slowest(&self) -> u64 {
        self.reached.iter().map(|reached| reached.load(Ordering::Relaxed)).min().unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::FutureExt;

    use super::*;

    #[test]
    fn publishers_wait_for_the_slowest_subscriber() {
        let state = RunState::new(2, 1 << 20, 1);
        state.add_published(4);
        state.set_reached(0, 4);
        let mut room = pin!(state.wait_for_room(1));
        assert!(room.as_mut().now_or_never().is_none(), "4 MiB are ahead");
        state.set_reached(1, 1);
        assert!(room.as_mut().now_or_never().is_none(), "not woken yet");
        state.wake_publishers();
        assert!(room.now_or_never().is_some());
        assert_eq!((state.published(), state.delivered()), (4, 5));
    }

    #[test]
    fn without_subscribers_there_is_always_room() {
        let state = RunState::new(0, 1 << 20, 1);
        state.add_published(1 << 40);
        assert!(state.wait_for_room(1).now_or_never().is_some());
    }

    #[test]
    fn members_are_one_subscriber_together_and_end_together() {
        let state = RunState::new(1, 1 << 20, 1);
        state.add_published(4);
        let mut room = pin!(state.wait_for_room(1));
        let mut completed = pin!(state.completed());
        state.add_acknowledged(1);
        assert!(room.as_mut().now_or_never().is_some());
        assert!(completed.as_mut().now_or_never().is_none());
        state.complete();
        assert!(completed.now_or_never().is_some());
        assert!(state.completed().now_or_never().is_some(), "even after the end");
    }

    #[test]
    fn a_stop_reaches_everybody() {
        let state = RunState::new(1, 1 << 20, 1);
        state.add_published(100);
        let (mut room, mut stopped) = (pin!(state.wait_for_room(1)), pin!(state.stopped()));
        assert!(room.as_mut().now_or_never().is_none());
        assert!(stopped.as_mut().now_or_never().is_none());
        state.stop();
        assert!(room.now_or_never().is_some());
        assert!(stopped.now_or_never().is_some());
        assert!(state.stopped().now_or_never().is_some(), "even after the stop");
    }
}
