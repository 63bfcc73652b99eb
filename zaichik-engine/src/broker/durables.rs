//! Durable subscriptions: found by name, held by one connection at a time, kept for a while without one (semantics D).

use std::hash::Hasher;

use hashbrown::HashTable;
use siphasher::sip::SipHasher13;
use zaichik_proto::{Durable, OnConflict, Refusal, RefusalCode};

use super::Broker;
use crate::effects::Effects;
use crate::id::{SessionId, SubKey, TopicId};
use zaichik_proto::Timestamp;

/// Durable subscriptions by topic and name. Their number is bounded by the configuration.
#[derive(Debug, Default)]
pub(super) struct Durables(HashTable<SubKey>);

impl Durables {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Broker {
    /// The durable subscription of that name; one that nobody wanted for too long is gone at that instant (D5).
    pub(super) fn find_durable(&mut self, now: Timestamp, topic: TopicId, name: &str) -> Option<SubKey> {
        let hash = self.durable_hash(topic, name);
        let found = self.durables.0.find(hash, |key| {
            let subscription = self.subscriptions.get(key.index());
            subscription.is_some_and(|one| {
                one.topic == topic && one.durable.as_ref().is_some_and(|durable| *durable.name == *name)
            })
        });
        let key = *found?;
        let durable = self.subscriptions.get(key.index())?.durable.as_ref()?;
        if durable.expires_at <= now {
            self.remove_durable(now, key);
            return None;
        }
        Some(key)
    }

    /// Whether there is room for one more.
    pub(super) fn check_durables_full(&self) -> Result<(), Refusal> {
        let limit = self.config.max_durables;
        if self.durables.len() >= limit as usize {
            return Err(Refusal::with_value(RefusalCode::SubscriptionsFull, u64::from(limit)));
        }
        Ok(())
    }

    /// Whether a connection may have a durable subscription that exists (D3).
    pub(super) fn check_take_over(
        &self,
        key: SubKey,
        session: SessionId,
        request: &Durable<'_>,
    ) -> Result<(), Refusal> {
        let subscription = self.subscriptions.get(key.index());
        let Some((subscription, durable)) = subscription.and_then(|one| Some((one, one.durable.as_ref()?)))
        else {
            return Ok(());
        };
        if subscription.session == Some(session) {
            return Err(Refusal::new(RefusalCode::AlreadySubscribed));
        }
        let is_holder = durable.is_held_under(request.epoch);
        if request.epoch > 0 && request.epoch < durable.epoch && !is_holder {
            return Err(Refusal::with_value(RefusalCode::SubscriptionFenced, u64::from(durable.epoch)));
        }
        if subscription.session.is_some() && request.on_conflict == OnConflict::Reject && !is_holder {
            return Err(Refusal::new(RefusalCode::SubscriptionHeld));
        }
        Ok(())
    }

    /// Takes a durable subscription from whoever had it, for a new epoch.
    pub(super) fn take_over(
        &mut self,
        key: SubKey,
        session: SessionId,
        request: &Durable<'_>,
        is_known: bool,
        effects: &mut Effects,
    ) {
        let default_ttl = zaichik_proto::micros(self.config.inactive_ttl);
        let Some(subscription) = self.subscriptions.get_mut(key.index()) else {
            return;
        };
        let (node, number) = (subscription.node, subscription.terms.number);
        let holder = subscription.session;
        if holder.is_some() {
            subscription.detach(Timestamp::MAX);
        }
        if is_known {
            subscription.raise_rewind();
        }
        let Some(durable) = &mut subscription.durable else {
            return;
        };
        durable.take(request.epoch);
        durable.expires_at = Timestamp::MAX;
        durable.inactive_micros =
            if request.inactive_ttl_micros == 0 { default_ttl } else { request.inactive_ttl_micros };
        let epoch = durable.epoch;
        self.stats.rewinds = self.stats.rewinds.saturating_add(u64::from(is_known));
        if let Some(holder) = holder {
            self.rings.unlink(node);
            if let Some(attachment) = self.attachment(holder) {
                attachment.fence(number, epoch);
            }
            self.settle_session(holder);
            self.wake(holder, session, effects);
            self.stats.takeovers = self.stats.takeovers.saturating_add(1);
        }
    }

    /// A new durable subscription is found by its name from here on.
    pub(super) fn name_durable(&mut self, key: SubKey, topic: TopicId, name: &str) {
        let hash = self.durable_hash(topic, name);
        let (hash_key, subscriptions) = (self.seed.hash_key, &self.subscriptions);
        self.durables.0.insert_unique(hash, key, |key| {
            let subscription = subscriptions.get(key.index());
            let named = subscription.and_then(|one| Some((one.topic, one.durable.as_ref()?)));
            named.map_or(0, |(topic, durable)| hash_of(hash_key, topic, &durable.name))
        });
    }

    /// No connection has it any more: it waits for another one (D2).
    pub(super) fn detach_durable(&mut self, now: Timestamp, key: SubKey) {
        let Some(subscription) = self.subscriptions.get_mut(key.index()) else {
            return;
        };
        let inactive = subscription.durable.as_ref().map_or(0, |durable| durable.inactive_micros);
        subscription.detach(now.plus_micros(inactive));
        let node = subscription.node;
        self.rings.unlink(node);
        self.settle_subscription(key);
    }

    /// It is gone for good.
    pub(super) fn remove_durable(&mut self, now: Timestamp, key: SubKey) {
        let subscription = self.subscriptions.get(key.index());
        let named = subscription.and_then(|one| Some((one.topic, one.durable.as_ref()?)));
        let Some((topic, durable)) = named else {
            return;
        };
        let hash = self.durable_hash(topic, &durable.name);
        if let Ok(found) = self.durables.0.find_entry(hash, |other| *other == key) {
            found.remove();
        }
        self.tick(now);
        self.end_subscription(key);
    }

    fn durable_hash(&self, topic: TopicId, name: &str) -> u64 {
        hash_of(self.seed.hash_key, topic, name)
    }
}

fn hash_of(hash_key: u128, topic: TopicId, name: &str) -> u64 {
    let mut hasher = SipHasher13::new_with_key(&hash_key.to_le_bytes());
    hasher.write_u32(topic.0);
    hasher.write(name.as_bytes());
    hasher.finish()
}
