//! Subscriptions that were made for a pattern, and the window that they share (rule W5).

use super::Subscriptions;
use crate::broker::memory::Memory;
use crate::broker::patterns::Share;
use crate::broker::readiness::Readiness;
use crate::id::{PatternKey, SubKey};
use crate::subscription::Subscription;

impl Subscriptions {
    /// What the window of its pattern leaves to a subscription, if it has a pattern.
    #[inline]
    pub(in crate::broker) fn share_of(&self, key: SubKey) -> Option<Share> {
        let matched = self[key].matched.as_ref()?;
        Some(self.patterns.get(matched.pattern)?.share_besides(matched.counted))
    }

    /// What a subscription holds has changed, which its pattern counts. If the window of the pattern has room, and with `offers`,
    /// the first of the subscriptions that found it full is ready again.
    #[inline]
    pub(in crate::broker) fn recount(&mut self, key: SubKey, offers: bool, readiness: &mut Readiness) {
        let Some(one) = self.entries.get_mut(key.0) else { return };
        let held = one.held();
        if let Some(matched) = &mut one.matched {
            let before = core::mem::replace(&mut matched.counted, held);
            let pattern = matched.pattern;
            if let Some(pattern) = self.patterns.get_mut(pattern) {
                pattern.recount(before, held);
            }
            if offers {
                self.offer(pattern, readiness);
            }
        }
    }

    /// A subscription has ended: its pattern does not count it any more.
    pub(super) fn lose_match(
        &mut self,
        subscription: &mut Subscription,
        memory: &mut Memory,
        readiness: &mut Readiness,
    ) {
        let Some(matched) = subscription.matched.take() else { return };
        if let Some(pattern) = self.patterns.get_mut(matched.pattern) {
            pattern.lose(subscription.terms.number, matched.counted);
        }
        self.patterns.settle(matched.pattern, memory);
        self.offer(matched.pattern, readiness);
    }

    /// If the window of a pattern has room, the first of the subscriptions that found it full is ready again.
    fn offer(&self, key: PatternKey, readiness: &mut Readiness) {
        let Some(pattern) = self.patterns.get(key) else { return };
        if let Some(ready) = pattern.next_ready()
            && let Some(first) = readiness.first(pattern.full())
            && let Some(first) = self.entries.get(first)
        {
            readiness.push(ready, first.node);
        }
    }
}
