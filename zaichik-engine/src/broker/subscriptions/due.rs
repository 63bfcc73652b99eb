//! When pauses end, and when durable subscriptions have been detached for too long (rules A6, D5).

use zaichik_proto::Timestamp;

use super::Subscriptions;
use crate::id::SubKey;

/// A deadline of a subscription that has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::broker) enum Due {
    Subscription(SubKey),
    /// Its subscription has another deadline now.
    Stale,
}

impl Subscriptions {
    /// Schedules the end of a durable subscription that was detached.
    pub(in crate::broker) fn schedule_expiry(&mut self, key: SubKey) {
        let Some(durable) = self[key].durable.as_mut().filter(|durable| durable.expires_at < durable.due)
        else {
            return;
        };
        let due = durable.expires_at;
        let before = core::mem::replace(&mut durable.due, due);
        self.expiries.schedule(key, before, due);
    }

    /// The next subscription whose pause, delay or member's time may be over, if there is one. One whose time was extended
    /// since is scheduled again, so that they come in the order of their deadlines.
    pub(in crate::broker) fn pop_pause(&mut self, now: Timestamp) -> Option<Due> {
        let (serial, key) = self.pauses.pop_due(self.running(now))?;
        let subscription = &mut self[key];
        let due = subscription.resumes_at();
        if due <= subscription.due {
            subscription.due = Timestamp::MAX;
            return Some(Due::Subscription(key));
        }
        subscription.due = due;
        self.pauses.schedule((serial, key), Timestamp::MAX, due);
        Some(Due::Stale)
    }

    /// The next subscription that was detached for too long, if there is one.
    pub(in crate::broker) fn pop_expired(&mut self, now: Timestamp) -> Option<Due> {
        let key = self.expiries.pop_due(now)?;
        let Some(durable) = &mut self[key].durable else {
            return Some(Due::Stale);
        };
        durable.due = Timestamp::MAX;
        if durable.expires_at <= now {
            return Some(Due::Subscription(key));
        }
        // It was attached since.
        self.schedule_expiry(key);
        Some(Due::Stale)
    }

    /// When the next pause ends, or `Timestamp::MAX`.
    #[inline]
    pub(in crate::broker) const fn next_pause(&self) -> Timestamp {
        self.pauses.first().plus_micros(self.stopped_micros)
    }

    /// When the next subscription may have been detached for too long, or `Timestamp::MAX`.
    #[inline]
    pub(in crate::broker) const fn next_expiry(&self) -> Timestamp {
        self.expiries.first()
    }

    /// Whether a subscription may have been detached for too long.
    #[inline]
    pub(in crate::broker) fn has_expired(&self, now: Timestamp) -> bool {
        self.expiries.is_due(now)
    }
}
