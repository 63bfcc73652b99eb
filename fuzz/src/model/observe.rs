//! Compares the broker's observed deliveries with the due ones.
//!
//! The broker decides when it delivers, since that depends on room in its output. So the model does not deliver on its
//! own: it [follows](Model::follow) the observed events one by one, and [`check_drained`](Model::check_drained) finds
//! those missing when the broker claims to have delivered everything.

use zaichik_proto::RefusalCode;

use crate::broken::{Broken, Verdict};
use crate::model::broker::Model;
use crate::model::group::Group;
use crate::model::sharing::{self, Range};
use crate::model::subscription::Subscription;
use crate::model::topic::Topic;
use crate::model::words::{Answer, Event, Request};

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
        if let Some((index, member)) = self.member(session, number) {
            let id = self.groups[index].topic;
            self.age(id);
            let topic = self.topics.get(&id).expect("it was subscribed to");
            return self.groups[index].follow(member, seen, topic, self.now, &mut self.superseded);
        }
        let Some(index) = self.index_of(session, number) else {
            return Broken::because("A9", format!("subscription {number} has ended, and received {seen:?}"));
        };
        let (one, topic, now) = self.aged(index);
        let skipped = one.follow(seen, topic, now)?;
        self.superseded += skipped;
        Ok(())
    }

    /// A frame with some records is about to be [followed](Self::follow): a member does not get more at once than rule G2 says.
    pub(crate) fn check_run(&mut self, session: u64, number: u32, records: usize) -> Verdict {
        let Some((index, _)) = self.member(session, number) else { return Ok(()) };
        let group = &self.groups[index];
        let topic = self.topics.get(&group.topic).expect("it was subscribed to");
        group.check_run(records as u64, topic, self.now)
    }

    /// The broker claims that all members have received everything that is due.
    pub(crate) fn check_groups_drained(&mut self) -> Verdict {
        for index in 0..self.groups.len() {
            let id = self.groups[index].topic;
            self.age(id);
            let topic = self.topics.get(&id).expect("it was subscribed to");
            self.groups[index].check_drained(topic, self.now, &mut self.superseded)?;
        }
        Ok(())
    }

    /// The broker has skipped this many superseded records: members that may or may not have been looked at have passed the
    /// rest.
    pub(crate) fn superseded_are(&mut self, count: u64) {
        for index in 0..self.groups.len() {
            let topic = self.topics.get(&self.groups[index].topic).expect("it was subscribed to");
            let group = &mut self.groups[index];
            while self.superseded < count && group.pass_undecided(topic, self.now, &mut self.superseded) {}
            group.has_counted();
        }
    }

    /// An answer shows that a shared subscription has passed the silent offsets below `to`.
    pub(crate) fn has_passed(&mut self, index: usize, to: u64) {
        let topic = self.topics.get(&self.groups[index].topic).expect("it was subscribed to");
        self.groups[index].has_passed(to, topic, self.now, &mut self.superseded);
    }

    /// A request was accepted. If a topic had no room for its records or keys, shared subscriptions have passed what died silently at
    /// their cursors, which makes room (rule R5).
    pub(crate) fn has_made_room(&mut self, session: u64, request: &Request) {
        loop {
            let can_pass = |group: &Group| {
                let topic = self.topics.get(&group.topic).expect("it was subscribed to");
                group.may_have_passed(topic, self.now)
            };
            let passable = (0..self.groups.len()).filter(|index| can_pass(&self.groups[*index]));
            let passable: Vec<usize> = passable.collect();
            let is_full = |answer| {
                matches!(answer, Answer::Refused { code: RefusalCode::TopicFull | RefusalCode::KeysFull, .. })
            };
            if passable.is_empty() || !is_full(self.clone().request(session, request)) {
                return;
            }
            for index in passable {
                self.has_passed(index, self.groups[index].cursor + 1);
            }
        }
    }

    /// An answer shows that a member can't acknowledge these late: those that died silently were passed.
    pub(crate) fn have_died(&mut self, index: usize, member: usize, not_held: &[Range]) {
        let (group, now) = (&mut self.groups[index], self.now);
        let topic = self.topics.get(&group.topic).expect("it was subscribed to");
        let id = group.members[member].id;
        let late = group.ackable(id, 0, u64::MAX).into_iter();
        let is_named = |at: &u64| not_held.iter().any(|range| (range.0..sharing::end(*range)).contains(at));
        for offset in late.filter(is_named) {
            group.has_died(offset, topic, now, &mut self.superseded);
        }
    }

    /// The memberships of a session.
    pub(crate) fn memberships(&self, session: u64) -> Vec<(usize, usize)> {
        let each = |(index, group): (usize, &Group)| {
            let member = group.members.iter().position(|one| one.session == session)?;
            Some((index, member))
        };
        self.groups.iter().enumerate().filter_map(each).collect()
    }

    /// What is due to members, or not done, of the shared subscriptions that a session has joined.
    pub(crate) fn unfinished_of(&mut self, session: u64) -> Vec<String> {
        let joined = self.groups.iter().filter(|group| group.has_member(session));
        let topics: Vec<u32> = joined.map(|group| group.topic).collect();
        for topic in topics {
            self.age(topic);
        }
        let joined = self.groups.iter().filter(|group| group.has_member(session));
        let topic = |group: &Group| self.topics.get(&group.topic).expect("it was subscribed to");
        joined.flat_map(|group| group.unfinished(topic(group), self.now)).collect()
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
