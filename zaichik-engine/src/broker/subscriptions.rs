//! All subscriptions, and the names of the durable ones (chapter D).

mod due;
mod matched;
mod storing;

use core::hash::Hasher;
use core::ops::{Index, IndexMut};

use siphasher::sip::SipHasher13;
use zaichik_proto::{Durable as Request, OnConflict, Refusal, RefusalCode, Timestamp, micros};

pub(super) use self::due::Due;
use super::changes::Changes;
use super::deadlines::Deadlines;
use super::members::Members;
use super::memory::{Account, Memory};
use super::patterns::Patterns;
use super::readiness::Readiness;
use crate::arena::Arena;
use crate::config::{BrokerConfig, Seed};
use crate::group::{Group, Options};
use crate::id::{SessionId, SubKey, TopicId};
use crate::planted::{Defect, is_planted};
use crate::store::Key;
use crate::subscription::{Durable, Shared, Subscription, Terms, check_epoch};
use crate::table::Table;
use crate::topic::CursorId;

/// The table of subscriptions. A key is valid until its subscription is [removed](Self::remove); sessions, rings,
/// names and deadlines drop their keys before that.
#[derive(Debug)]
pub(super) struct Subscriptions {
    entries: Arena<Subscription>,
    /// The members of shared ones.
    pub(super) members: Members,
    /// The patterns for which some were made.
    pub(super) patterns: Patterns,
    /// Durable subscriptions by topic and name.
    durables: Table<SubKey>,
    /// When pauses end, in running time; those of shared subscriptions that end together, in the order of their serial numbers.
    pauses: Deadlines<(u64, SubKey)>,
    /// How many shared subscriptions there ever were.
    shared_count: u64,
    /// When detached durable subscriptions end.
    expiries: Deadlines<SubKey>,
    hash_key: u128,
    /// Maximum number of durable subscriptions.
    max_durables: u32,
    /// How long a durable subscription lives without a session unless its client says otherwise, in microseconds.
    inactive_micros: u64,
    /// For how long the broker has not run, in microseconds.
    stopped_micros: u64,
    /// The durable ones that changed since they were staged last, if there is a store.
    changes: Option<Changes<Changed>>,
}

/// A durable subscription that has changed.
#[derive(Debug)]
enum Changed {
    /// It may be gone by now.
    There(SubKey),
    Gone(Key),
}

/// Where a new subscription begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beginning {
    pub(super) topic: TopicId,
    pub(super) start: u64,
    /// Its cursor in the topic.
    pub(super) cursor_id: CursorId,
}

impl Index<SubKey> for Subscriptions {
    type Output = Subscription;

    #[expect(clippy::expect_used, reason = "a key is valid until its subscription is removed")]
    fn index(&self, key: SubKey) -> &Subscription {
        self.entries.get(key.0).expect("a subscription that exists")
    }
}

impl IndexMut<SubKey> for Subscriptions {
    #[expect(clippy::expect_used, reason = "as above")]
    fn index_mut(&mut self, key: SubKey) -> &mut Subscription {
        self.entries.get_mut(key.0).expect("a subscription that exists")
    }
}

impl Subscriptions {
    pub(super) fn new(config: &BrokerConfig, seed: Seed) -> Self {
        Self {
            entries: Arena::new(),
            members: Members::new(),
            patterns: Patterns::new(config),
            durables: Table::new(),
            pauses: Deadlines::default(),
            shared_count: 0,
            expiries: Deadlines::default(),
            hash_key: seed.hash_key,
            max_durables: config.max_durables,
            inactive_micros: micros(config.inactive_ttl),
            stopped_micros: 0,
            changes: None,
        }
    }

    /// The broker did not run for `pause` microseconds.
    pub(super) const fn resumed(&mut self, pause: u64) {
        self.stopped_micros = self.stopped_micros.saturating_add(pause);
    }

    /// For how long the broker has not run, in microseconds.
    pub(super) const fn stopped_micros(&self) -> u64 {
        self.stopped_micros
    }

    /// The running time at `now`: without the time in which the broker did not run. Pauses of subscriptions are in it,
    /// so that all of them can be prolonged at once.
    #[inline]
    pub(super) const fn running(&self, now: Timestamp) -> Timestamp {
        Timestamp::from_micros(now.as_micros().saturating_sub(self.stopped_micros))
    }

    /// A subscription, and the table of all members.
    #[expect(clippy::expect_used, reason = "as for an index")]
    pub(super) fn with_members(&mut self, key: SubKey) -> (&mut Subscription, &mut Members) {
        (self.entries.get_mut(key.0).expect("a subscription that exists"), &mut self.members)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of free places.
    pub(super) const fn spare(&self) -> usize {
        let members = self.members.spare().saturating_add(self.patterns.spare());
        self.entries.spare().saturating_mul(size_of::<Subscription>()).saturating_add(members)
    }

    pub(super) fn durable_count(&self) -> usize {
        self.durables.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Subscription> {
        self.entries.iter()
    }

    /// The number of places, occupied or not.
    pub(super) fn places(&self) -> u32 {
        self.entries.end()
    }

    /// The subscription in a place, if it is occupied.
    pub(super) fn nth(&self, place: u32) -> Option<&Subscription> {
        self.entries.get(place)
    }

    /// Adds a subscription that no session holds yet; a durable one can be found by its name from now on.
    pub(super) fn insert(
        &mut self,
        at: Beginning,
        terms: Terms,
        name: Option<&str>,
        readiness: &mut Readiness,
    ) -> SubKey {
        let key = SubKey(self.entries.next_number());
        let node = readiness.insert_subscription(key);
        let durable = name.map(|name| Box::new(Durable::new(name)));
        let number =
            self.entries.insert(Subscription::new(at.topic, node, at.cursor_id, at.start, terms, durable));
        debug_assert_eq!(number, key.0, "the number that it was to get");
        if let Some(name) = name {
            let (hash, hash_key, entries) =
                (hash_of(self.hash_key, at.topic, name), self.hash_key, &self.entries);
            self.durables.insert(hash, key, |key| {
                let named = entries.get(key.0).and_then(|one| Some((one.topic, one.durable.as_ref()?)));
                named.map_or(0, |(topic, durable)| hash_of(hash_key, topic, &durable.name))
            });
        }
        key
    }

    /// Removes a subscription from this table and from its ring; returns it so that its topic can be settled. There is
    /// none if it was removed before, which no caller does.
    pub(super) fn remove(
        &mut self,
        key: SubKey,
        memory: &mut Memory,
        readiness: &mut Readiness,
    ) -> Option<Subscription> {
        let mut subscription = self.entries.remove(key.0)?;
        if let Some(durable) = &subscription.durable {
            if let Some(changes) = &mut self.changes {
                let (topic, name) = (subscription.topic.0, durable.name.clone());
                let is_shared = subscription.shared.is_some();
                let key = if is_shared { Key::Group { topic, name } } else { Key::Cursor { topic, name } };
                changes.add_removed(Changed::Gone(key));
            }
            let hash = hash_of(self.hash_key, subscription.topic, &durable.name);
            self.durables.remove(hash, |other| *other == key);
        }
        self.pauses.schedule((subscription.serial(), key), subscription.due, Timestamp::MAX);
        let expires = subscription.durable.as_ref().map_or(Timestamp::MAX, |durable| durable.due);
        self.expiries.schedule(key, expires, Timestamp::MAX);
        readiness.remove(subscription.node);
        if let Some(shared) = &subscription.shared {
            readiness.remove(shared.line);
            readiness.remove(shared.full);
        }
        self.lose_match(&mut subscription, memory, readiness);
        memory.recharge(Account::Subscriptions, &mut subscription.charged, 0);
        Some(subscription)
    }

    /// Makes a new durable subscription a shared one.
    pub(super) fn share(&mut self, key: SubKey, options: Options, readiness: &mut Readiness) {
        let (line, full) = (readiness.insert_ring(), readiness.insert_ring());
        self.shared_count = self.shared_count.saturating_add(1);
        let serial = self.shared_count;
        let subscription = &mut self[key];
        let group = Group::new(subscription.cursor(), options);
        subscription.shared = Some(Box::new(Shared::new(serial, group, line, full)));
    }

    /// The durable subscription with this name.
    pub(super) fn find_durable(&self, topic: TopicId, name: &str) -> Option<SubKey> {
        let is_it = |key: &SubKey| {
            let one = &self[*key];
            one.topic == topic && one.durable.as_ref().is_some_and(|durable| *durable.name == *name)
        };
        self.durables.find(hash_of(self.hash_key, topic, name), is_it)
    }

    /// Whether there is room for one more durable subscription.
    pub(super) fn check_durables_full(&self) -> Result<(), Refusal> {
        if self.durables.len() >= self.max_durables as usize {
            return Err(Refusal::with_value(RefusalCode::SubscriptionsFull, u64::from(self.max_durables)));
        }
        Ok(())
    }

    /// Whether a session may attach to a durable subscription that exists (rule D3).
    pub(super) fn check_take_over(
        &self,
        key: SubKey,
        session: SessionId,
        request: &Request<'_>,
    ) -> Result<(), Refusal> {
        let subscription = &self[key];
        if subscription.shared.is_some() {
            return Err(Refusal::new(RefusalCode::ModeDiffers));
        }
        let Some(durable) = &subscription.durable else {
            return Err(Refusal::new(RefusalCode::NotSubscribed));
        };
        let holder = subscription.holder();
        if holder.is_some_and(|holder| holder.session == session) {
            return Err(Refusal::new(RefusalCode::AlreadySubscribed));
        }
        let is_holder = durable.is_held_under(request.epoch);
        if request.epoch > 0 && request.epoch < durable.epoch && !is_holder {
            return Err(Refusal::with_value(RefusalCode::SubscriptionFenced, u64::from(durable.epoch)));
        }
        check_epoch(durable.epoch, request.epoch)?;
        if holder.is_some() && request.on_conflict == OnConflict::Reject && !is_holder {
            return Err(Refusal::new(RefusalCode::SubscriptionHeld));
        }
        Ok(())
    }

    /// How long a durable subscription lives without a session, in microseconds.
    pub(super) const fn inactive_micros(&self, request: &Request<'_>) -> u64 {
        if request.inactive_ttl_micros == 0 { self.inactive_micros } else { request.inactive_ttl_micros }
    }

    /// Charges the memory that a subscription holds, and schedules the end of its pause.
    pub(super) fn settle(&mut self, key: SubKey, memory: &mut Memory) {
        if self.changes.is_some() && !is_planted(Defect::UnmarkedCursor) {
            self.changed(key);
        }
        self.settle_charge(key, memory);
    }

    /// The same for a change that does not concern a store.
    #[inline]
    pub(super) fn settle_charge(&mut self, key: SubKey, memory: &mut Memory) {
        let subscription = &mut self[key];
        let footprint = subscription.footprint();
        memory.recharge(Account::Subscriptions, &mut subscription.charged, footprint);
        let due = subscription.resumes_at();
        if due < subscription.due {
            let before = core::mem::replace(&mut subscription.due, due);
            let serial = subscription.serial();
            self.pauses.schedule((serial, key), before, due);
        }
    }
}

fn hash_of(hash_key: u128, topic: TopicId, name: &str) -> u64 {
    let mut hasher = SipHasher13::new_with_key(&hash_key.to_le_bytes());
    hasher.write_u32(topic.0);
    hasher.write(name.as_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subscription::Holder;
    use crate::topic::Cursors;

    const TERMS: Terms = Terms { number: 1, window: 1, window_bytes: 1 << 20, dead_letter: None };

    fn insert(
        subscriptions: &mut Subscriptions,
        readiness: &mut Readiness,
        topic: u32,
        name: &str,
    ) -> SubKey {
        let at = Beginning { topic: TopicId(topic), start: 0, cursor_id: Cursors::default().insert(0) };
        subscriptions.insert(at, TERMS, Some(name), readiness)
    }

    #[test]
    fn a_durable_subscription_is_found_by_topic_and_name_until_it_is_removed() {
        let config = BrokerConfig { max_durables: 2, ..BrokerConfig::default() };
        let (mut memory, mut readiness) = (Memory::new(&BrokerConfig::default()), Readiness::new());
        let mut subscriptions = Subscriptions::new(&config, Seed::new(1, 2));
        let first = insert(&mut subscriptions, &mut readiness, 0, "billing");
        let second = insert(&mut subscriptions, &mut readiness, 1, "billing");
        subscriptions.settle(first, &mut memory);
        assert_eq!(subscriptions.find_durable(TopicId(0), "billing"), Some(first));
        assert_eq!(subscriptions.find_durable(TopicId(1), "billing"), Some(second));
        assert_eq!(subscriptions.find_durable(TopicId(0), "kitchen"), None);
        assert!(subscriptions.check_durables_full().is_err());
        assert!(subscriptions.remove(first, &mut memory, &mut readiness).is_some());
        assert!(subscriptions.remove(first, &mut memory, &mut readiness).is_none());
        assert_eq!(subscriptions.find_durable(TopicId(0), "billing"), None);
        assert_eq!((memory.ledger().subscriptions, subscriptions.durable_count()), (0, 1));
    }

    #[test]
    fn an_older_epoch_may_not_attach_and_reject_leaves_the_holder_alone() {
        let mut readiness = Readiness::new();
        let mut subscriptions = Subscriptions::new(&BrokerConfig::default(), Seed::new(1, 2));
        let key = insert(&mut subscriptions, &mut readiness, 0, "billing");
        let (mine, other) = (SessionId::new(1, 1), SessionId::new(2, 2));
        let request =
            |epoch, on_conflict| Request { name: "billing", epoch, on_conflict, inactive_ttl_micros: 0 };
        let holder = Holder { session: mine, ready: readiness.insert_ring() };
        let durable = subscriptions[key].durable.as_mut().expect("it is durable");
        for _ in 0..3 {
            durable.take(0);
        }
        subscriptions[key].attach(holder, TERMS, Timestamp::ZERO);
        let check = |session, epoch, on_conflict| {
            let checked = subscriptions.check_take_over(key, session, &request(epoch, on_conflict));
            checked.map_err(|refusal| refusal.code)
        };
        assert_eq!(check(mine, 0, OnConflict::TakeOver), Err(RefusalCode::AlreadySubscribed));
        assert_eq!(check(other, 1, OnConflict::TakeOver), Err(RefusalCode::SubscriptionFenced));
        assert_eq!(check(other, 0, OnConflict::Reject), Err(RefusalCode::SubscriptionHeld));
        assert_eq!(check(other, 0, OnConflict::TakeOver), Ok(()));
    }
    #[test]
    fn d5_an_attached_subscription_has_not_expired_even_at_the_end_of_time() {
        let mut readiness = Readiness::new();
        let mut subscriptions = Subscriptions::new(&BrokerConfig::default(), Seed::new(1, 2));
        let key = insert(&mut subscriptions, &mut readiness, 0, "billing");
        let holder = Holder { session: SessionId::new(1, 1), ready: readiness.insert_ring() };
        subscriptions[key].attach(holder, TERMS, Timestamp::ZERO);
        assert!(!subscriptions[key].has_expired(Timestamp::MAX));
        subscriptions[key].detach(Timestamp::ZERO);
        assert!(subscriptions[key].has_expired(Timestamp::ZERO), "it is kept for 0 microseconds");
    }
}
