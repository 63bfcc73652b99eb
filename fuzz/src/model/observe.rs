//! Compares the broker's observed deliveries with the due ones.
//!
//! The broker decides when it delivers, since that depends on room in its output. So the model does not deliver on its
//! own: it [follows](Model::follow) the observed events one by one, and [`check_drained`](Model::check_drained) finds
//! those missing when the broker claims to have delivered everything.

use crate::broken::{Broken, Verdict};
use crate::model::broker::Model;
use crate::model::subscription::Subscription;
use crate::model::topic::Topic;
use crate::model::words::Event;

impl Model {
    /// A subscription received this event now.
    pub(crate) fn follow(&mut self, session: u64, number: u32, seen: &Event) -> Verdict {
        if let Event::Fenced { epoch } = seen {
            let Some(notice) = self.notices.iter().position(|notice| *notice == (session, number, *epoch))
            else {
                return Broken::because("D3", format!("{seen:?} of {number}, which was not taken over"));
            };
            self.notices.remove(notice);
            return Ok(());
        }
        let Some(index) = self.index_of(session, number) else {
            return Broken::because("A9", format!("subscription {number} has ended, and received {seen:?}"));
        };
        let (one, topic, now) = self.aged(index);
        let skipped = one.follow(seen, topic, now)?;
        self.superseded += skipped;
        Ok(())
    }

    /// The broker claims that a session has received everything that is due.
    pub(crate) fn check_drained(&mut self, session: u64) -> Verdict {
        if let Some(notice) = self.notices.iter().find(|notice| notice.0 == session) {
            return Broken::because("D3", format!("the Fenced of {notice:?} is due"));
        }
        for index in self.ready(session) {
            let (one, topic, now) = self.aged(index);
            let skipped = one.check_drained(topic, now)?;
            self.superseded += skipped;
        }
        Ok(())
    }

    /// The output had no room for more: subscriptions of the session may or may not have skipped silent offsets.
    pub(crate) fn not_drained(&mut self, session: u64) {
        for index in self.ready(session) {
            let (one, topic, now) = self.aged(index);
            one.may_have_skipped(topic, now);
        }
    }

    /// An answer shows that a subscription skipped the silent offsets below `to`.
    pub(crate) fn has_skipped(&mut self, index: usize, to: u64) {
        self.superseded += self.subscriptions[index].has_skipped(to);
    }

    /// Delivers everything that is due to a subscription.
    pub(crate) fn due(&mut self, index: usize) -> Vec<Event> {
        let (one, topic, now) = self.aged(index);
        let mut skipped = 0;
        let events = std::iter::from_fn(|| one.next_event(topic, now, &mut skipped)).collect();
        self.superseded += skipped;
        events
    }

    pub(crate) fn index_of(&self, session: u64, number: u32) -> Option<usize> {
        self.subscriptions.iter().position(|one| one.is_held_by(session, number))
    }

    /// Subscriptions of a session that may have something to deliver.
    fn ready(&self, session: u64) -> Vec<usize> {
        let is_ready = |one: &Subscription| {
            one.ready && one.pause.is_none() && one.holder.is_some_and(|(holder, _)| holder == session)
        };
        (0..self.subscriptions.len()).filter(|index| is_ready(&self.subscriptions[*index])).collect()
    }

    /// A subscription, its topic after everything that has expired is removed, and the time.
    fn aged(&mut self, index: usize) -> (&mut Subscription, &Topic, u64) {
        let id = self.subscriptions[index].topic;
        self.age(id);
        let topic = self.topics.get(&id).expect("it was subscribed to");
        (&mut self.subscriptions[index], topic, self.now)
    }
}
