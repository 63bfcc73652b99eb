//! What the publishers and subscribers of one run tell each other: how far they are, and when to stop.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Notify;
use zaichik_tokio::{Clock, Timestamp};

/// Bytes of messages that publishers may be ahead of the slowest subscriber of the same process. What lies between
/// waits in the broker: more of it makes nothing faster, and the topic's limit is not far.
const AHEAD_BYTES: u64 = 4 << 20;

/// Messages after which a subscriber that never waits tells the publishers how far it is.
const WAKE_INTERVAL: u64 = 1_024;

/// One run, as its publishers and subscribers see it.
#[derive(Debug)]
pub(crate) struct RunState {
    pub(crate) clock: Clock,
    stopped: AtomicBool,
    stop: Notify,
    /// When publishing began.
    begin: OnceLock<Timestamp>,
    published: AtomicU64,
    /// How far each subscriber is. On its own, so that subscribers do not fight for a cache line.
    reached: Vec<Arc<AtomicU64>>,
    advanced: Notify,
    /// Messages that may be published and not have reached every subscriber.
    max_ahead: u64,
}

impl RunState {
    /// A run with that many subscribers, of messages of `size` bytes, of which `step` may be published at a time.
    pub(crate) fn new(subscribers: u32, size: usize, step: u64) -> Arc<Self> {
        let size = u64::try_from(size.max(1)).unwrap_or(u64::MAX);
        Arc::new(Self {
            clock: Clock::start(),
            stopped: AtomicBool::new(false),
            stop: Notify::new(),
            begin: OnceLock::new(),
            published: AtomicU64::new(0),
            reached: (0..subscribers).map(|_| Arc::default()).collect(),
            advanced: Notify::new(),
            max_ahead: AHEAD_BYTES.checked_div(size).unwrap_or(0).max(step.saturating_mul(2)),
        })
    }

    /// Nothing more is to be published.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.stop.notify_waiters();
        self.advanced.notify_waiters();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Ready when nothing more is to be published.
    pub(crate) async fn stopped(&self) {
        let stop = self.stop.notified();
        if !self.is_stopped() {
            stop.await;
        }
    }

    /// The moment that all schedules count from: when it is asked for first.
    pub(crate) fn begin(&self) -> Timestamp {
        *self.begin.get_or_init(|| self.clock.now())
    }

    /// Whether that much time has passed since then.
    pub(crate) fn is_over(&self, since: Timestamp, duration: Duration) -> bool {
        self.clock.now().since(since) >= duration
    }

    /// Ready when as many messages may be published without getting too far ahead of a subscriber, or none may any more.
    pub(crate) async fn wait_for_room(&self, messages: u64) {
        loop {
            // Announced before looking, so that no call between looking and waiting is missed.
            let advanced = self.advanced.notified();
            let published = self.published.load(Ordering::Relaxed).saturating_add(messages);
            if self.is_stopped() || published <= self.slowest().saturating_add(self.max_ahead) {
                return;
            }
            advanced.await;
        }
    }

    /// As many messages were published.
    pub(crate) fn add_published(&self, messages: u64) {
        self.published.fetch_add(messages, Ordering::Relaxed);
    }

    /// The messages that were published, the warm-up's included.
    pub(crate) fn published(&self) -> u64 {
        self.published.load(Ordering::Relaxed)
    }

    /// A subscriber has come that far.
    pub(crate) fn set_reached(&self, subscriber: usize, messages: u64) {
        if let Some(reached) = self.reached.get(subscriber) {
            reached.store(messages, Ordering::Relaxed);
        }
        if messages.is_multiple_of(WAKE_INTERVAL) {
            self.wake_publishers();
        }
    }

    /// A subscriber waits, so that publishers may have to go on.
    pub(crate) fn wake_publishers(&self) {
        self.advanced.notify_waiters();
    }

    /// What all subscribers got together.
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
        assert!(room.as_mut().now_or_never().is_none(), "nobody told");
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
    fn a_stop_is_heard_by_everybody() {
        let state = RunState::new(1, 1 << 20, 1);
        state.add_published(100);
        let (mut room, mut stopped) = (pin!(state.wait_for_room(1)), pin!(state.stopped()));
        assert!(room.as_mut().now_or_never().is_none());
        assert!(stopped.as_mut().now_or_never().is_none());
        state.stop();
        assert!(room.now_or_never().is_some());
        assert!(stopped.now_or_never().is_some());
        assert!(state.stopped().now_or_never().is_some(), "and who comes later");
    }
}
