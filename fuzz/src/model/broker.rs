//! The model of a broker: topics, subscriptions and producers, and the effect of each request on them.
//!
//! Obvious rather than fast: every question is answered with a scan. It shares the rules with the engine, but no code.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use zaichik_proto::{AckLevel, Producer, RefusalCode};

use crate::model::group::Group;
use crate::model::names::Names;
use crate::model::producer::{Kind, Producers};
use crate::model::subscription::Subscription;
use crate::model::topic::{Accepted, Topic};
use crate::model::words::{
    Answer, Bounds, INVALID, Options, Ready, Record, Refusal, Request, Settings, Start,
};

/// A broker with its connections.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    pub(crate) now: u64,
    pub(crate) defaults: Settings,
    pub(crate) bounds: Bounds,
    pub(crate) topics: BTreeMap<u32, Rc<Topic>>,
    pub(crate) names: Names,
    /// Records appended by requests: topic, first offset and count. Callers may take them.
    pub(crate) appended: Vec<(u32, u64, u64)>,
    pub(crate) subscriptions: Vec<Subscription>,
    /// The shared ones.
    pub(crate) groups: Vec<Group>,
    /// Numbers whose durable subscription was taken over by another connection: session, number, and the new epoch.
    pub(crate) fenced: Vec<(u64, u32, u32)>,
    /// Those of them that the connection has not been notified of yet.
    pub(crate) notices: Vec<(u64, u32, u32)>,
    pub(crate) producers: Producers,
    /// Connections that speak version 2.
    pub(crate) newer: BTreeSet<u64>,
    /// Records that were copied to a dead-letter topic: topic, offset and durable name of the original.
    pub(crate) dead_letters: BTreeSet<(u32, u64, Option<u32>)>,
    /// The number of dead letters that the broker has memory for; `None` if memory is not a limit.
    pub(crate) dead_letter_room: Option<u64>,
    /// By topic and name of a durable subscription, the offsets that the broker may have been unable to copy to a dead-letter
    /// topic, and has not copied.
    pub(crate) left_at_end: BTreeSet<(u32, u32, u64)>,
    /// Superseded records that subscriptions skipped.
    pub(crate) superseded: u64,
    /// Records that a dead-letter topic refused.
    pub(crate) dead_letters_refused: u64,
    /// Whether the broker has a store.
    pub(crate) is_storing: bool,
    /// Whether the store has no space (rule B9).
    pub(crate) is_full: bool,
    /// Whether everything that is due is delivered before the next request.
    pub(crate) is_exact: bool,
}

impl Model {
    pub(crate) fn new(defaults: Settings, bounds: Bounds) -> Self {
        Self {
            now: 0,
            defaults,
            bounds,
            topics: BTreeMap::new(),
            names: Names::default(),
            appended: Vec::new(),
            subscriptions: Vec::new(),
            groups: Vec::new(),
            fenced: Vec::new(),
            notices: Vec::new(),
            producers: Producers::default(),
            newer: BTreeSet::new(),
            dead_letters: BTreeSet::new(),
            dead_letter_room: None,
            left_at_end: BTreeSet::new(),
            superseded: 0,
            dead_letters_refused: 0,
            is_storing: false,
            is_full: false,
            is_exact: false,
        }
    }

    /// Time does not move backwards. Durable subscriptions end exactly when they were detached for too long (rule D5).
    pub(crate) fn tick(&mut self, now: u64) {
        let now = self.now.max(now);
        self.now = now;
        self.subscriptions.retain(|one| !one.is_forgotten(now));
        self.groups.retain(|one| !one.is_forgotten(now));
    }

    /// Whether a timer with visible effects is due at this time.
    pub(crate) fn is_due(&self, now: u64) -> bool {
        let now = self.now.max(now);
        let has_paused = |one: &Subscription| one.pause.is_some_and(|pause| pause.until <= now);
        self.subscriptions.iter().any(has_paused) || self.groups.iter().any(|one| one.next_deadline() <= now)
    }

    /// The broker did not run for a time, which the delays of Nacks do not count (rule O5).
    pub(crate) fn resumed(&mut self, pause: u64) {
        for one in self.subscriptions.iter_mut().filter_map(|one| one.pause.as_mut()) {
            one.until = one.until.saturating_add(pause);
        }
        self.groups.iter_mut().for_each(|one| one.resumed(pause));
    }

    /// Ends pauses (rule A4).
    pub(crate) fn housekeep(&mut self) {
        let now = self.now;
        for one in &mut self.subscriptions {
            if one.pause.is_some_and(|pause| pause.until <= now) {
                one.resume();
            }
        }
        self.end_deadlines();
    }

    pub(crate) fn request(&mut self, session: u64, request: &Request) -> Answer {
        let answer = self.request_of(session, request);
        if self.newer.contains(&session) { answer } else { answer.plain() }
    }

    /// The kind of a batch on a connection.
    pub(crate) fn kind_of_batch(&self, session: u64) -> Kind {
        if self.newer.contains(&session) { Kind::Batch } else { Kind::OldBatch }
    }

    fn request_of(&mut self, session: u64, request: &Request) -> Answer {
        let refused = |refusal| Answer::refused(refusal);
        match request {
            Request::Publish { ack, producer, topic, records } => {
                self.as_producer(*producer, Kind::Publish, |model| {
                    model.publish(*ack, *topic, records).unwrap_or_else(refused)
                })
            }
            Request::Batch { ack, producer, operations } => {
                self.as_producer(*producer, self.kind_of_batch(session), |model| {
                    model.batch(session, *ack, operations)
                })
            }
            Request::Subscribe(subscribe) => self.subscribe(session, subscribe),
            Request::Unsubscribe { number } => self.unsubscribe(session, *number).unwrap_or_else(refused),
            Request::Join(join) => self.join(session, join),
            Request::Settle(settle) => self.settle_records(session, settle).unwrap_or_else(refused),
            Request::DescribeShared { topic, name } => {
                self.describe_group(*topic, *name).unwrap_or_else(refused)
            }
            Request::Commit { number, offset, rewind } => {
                let committed = self.held(session, *number).and_then(|one| one.commit(*offset, *rewind));
                committed.map_or_else(refused, Answer::Done)
            }
            Request::Nack { number, offset, delay } => {
                self.nack(session, *number, *offset, *delay).map_or_else(refused, Answer::Done)
            }
            Request::Seek { target, to } => {
                self.seek(session, *target, *to).map_or_else(refused, Answer::Done)
            }
            Request::RemoveDurable { topic, name } => {
                self.remove_durable(*topic, *name).map_or_else(refused, Answer::Done)
            }
            Request::Create { topic, options } => self.create(*topic, options).unwrap_or_else(refused),
            Request::Alter { topic, options } => self.alter(*topic, options).unwrap_or_else(refused),
            Request::Trim { topic, before } => self.trim(*topic, *before).unwrap_or_else(refused),
        }
    }

    /// A request that the broker refused for lack of memory has an effect only on its producer.
    pub(crate) fn request_without_memory(&mut self, session: u64, request: &Request, busy: Answer) -> Answer {
        let (Request::Publish { producer, .. } | Request::Batch { producer, .. }) = request else {
            return busy;
        };
        let is_batch = matches!(request, Request::Batch { .. });
        let kind = if is_batch { self.kind_of_batch(session) } else { Kind::Publish };
        let answer = self.as_producer(*producer, kind, |_| busy);
        if self.newer.contains(&session) { answer } else { answer.plain() }
    }

    fn as_producer(
        &mut self,
        claim: Option<Producer>,
        kind: Kind,
        run: impl FnOnce(&mut Self) -> Answer,
    ) -> Answer {
        let Some(claim) = claim else { return run(self) };
        let is_new = self.producers.is_new(claim.id, self.now, &self.bounds);
        if let Err(answer) = self.producers.judge(claim, kind, self.now, &self.bounds) {
            return answer;
        }
        if let Err(refusal) = self.check_space()
            && is_new
        {
            self.producers.take_back(claim.id);
            return Answer::refused(refusal);
        }
        let answer = run(self);
        self.producers.remember(claim, &answer);
        answer
    }

    fn publish(&mut self, ack: AckLevel, id: u32, records: &[Record]) -> Result<Answer, Refusal> {
        if ack == AckLevel::Durable && !self.is_storing {
            return Err((RefusalCode::NotDurable, 0));
        }
        let (created, Accepted { first, duplicates, .. }) = self.append(id, records, (0, 0))?;
        self.settle(id);
        Ok(Answer::Published { created, first, duplicates })
    }

    /// Ends a step in which a topic may have received records.
    pub(crate) fn settle(&mut self, id: u32) {
        let (now, cursors) = (self.now, self.cursors(id));
        if let Some(topic) = self.topic_mut(id) {
            topic.settle(now, &cursors);
        }
    }

    /// Appends all records or none; returns whether the topic was created. `earlier` has the records that the same
    /// batch appended before.
    pub(crate) fn append(
        &mut self,
        id: u32,
        records: &[Record],
        earlier: (u64, u64),
    ) -> Result<(bool, Accepted), Refusal> {
        self.check_space()?;
        let created = self.needs_topic(id)?;
        let (now, max_message, cursors) = (self.now, self.bounds.max_message, self.cursors(id));
        if created {
            self.topics.insert(id, Rc::new(self.new_topic(self.defaults)));
        }
        let topic = self.topic_mut(id).expect("it exists by now");
        let accepted = topic.publish(now, records, u64::from(max_message), &cursors, earlier);
        if accepted.is_err() && created {
            self.topics.remove(&id);
        }
        let accepted = accepted?;
        if let Some(first) = accepted.first {
            self.appended.push((id, first, accepted.count));
            self.wake(id);
        }
        Ok((created, accepted))
    }

    fn create(&mut self, id: u32, options: &Options) -> Result<Answer, Refusal> {
        if id == INVALID {
            return Err((RefusalCode::InvalidTopic, 0));
        }
        let settings = self.defaults.with(options);
        check_settings(settings.invalid())?;
        match self.topic(id).map(|topic| (topic.explicit, topic.settings)) {
            None => {
                self.needs_topic(id)?;
                let mut topic = self.new_topic(settings);
                topic.explicit = true;
                self.topics.insert(id, Rc::new(topic));
                Ok(Answer::TopicReady(Ready::Created))
            }
            Some((true, existing)) if existing == settings => Ok(Answer::TopicReady(Ready::Unchanged)),
            Some((true, existing)) => Err((RefusalCode::SettingsDiffer, existing.difference(&settings))),
            Some((false, _)) => {
                self.change(id, settings)?;
                Ok(Answer::TopicReady(Ready::Adopted))
            }
        }
    }

    fn alter(&mut self, id: u32, options: &Options) -> Result<Answer, Refusal> {
        if id == INVALID {
            return Err((RefusalCode::InvalidTopic, 0));
        }
        let topic = self.topic(id).ok_or((RefusalCode::UnknownTopic, 0))?;
        let settings = topic.settings.with(options);
        self.change(id, settings)?;
        Ok(Answer::Done(0))
    }

    fn trim(&mut self, id: u32, before: Start) -> Result<Answer, Refusal> {
        if id == INVALID {
            return Err((RefusalCode::InvalidTopic, 0));
        }
        let (now, cursors) = (self.now, self.cursors(id));
        let topic = self.topic_mut(id).ok_or((RefusalCode::UnknownTopic, 0))?;
        let (start, removed) = topic.cut(before, &cursors, now);
        self.wake(id);
        Ok(Answer::Trimmed { start, removed })
    }

    fn change(&mut self, id: u32, settings: Settings) -> Result<(), Refusal> {
        let (now, cursors) = (self.now, self.cursors(id));
        let topic = self.topic_mut(id).expect("the caller found it");
        let changes_mode = settings.latest != topic.settings.latest && !topic.is_empty(now, &cursors);
        // Limits that are 0 are found first.
        check_settings(settings.invalid())?;
        check_settings(u64::from(changes_mode) << 2)?;
        topic.change(settings, &cursors, now);
        self.wake(id);
        Ok(())
    }

    /// Rule B9.
    pub(crate) const fn check_space(&self) -> Result<(), Refusal> {
        if self.is_full { Err((RefusalCode::StorageFull, 1_000_000)) } else { Ok(()) }
    }

    /// A topic that is created now.
    pub(crate) fn new_topic(&self, settings: Settings) -> Topic {
        Topic::new(settings, self.bounds.first_offset, self.is_storing)
    }

    /// Whether the topic must be created; an error if it can't be.
    pub(crate) fn needs_topic(&self, id: u32) -> Result<bool, Refusal> {
        match self.topic(id) {
            _ if id == INVALID => Err((RefusalCode::InvalidTopic, 0)),
            Some(_) => Ok(false),
            None if self.topics.len() < self.bounds.max_topics as usize => self.check_space().map(|()| true),
            None => Err((RefusalCode::TopicsFull, u64::from(self.bounds.max_topics))),
        }
    }

    pub(crate) fn topic(&self, id: u32) -> Option<&Topic> {
        self.topics.get(&id).map(Rc::as_ref)
    }

    pub(crate) fn topic_mut(&mut self, id: u32) -> Option<&mut Topic> {
        self.topics.get_mut(&id).map(Rc::make_mut)
    }

    pub(crate) fn age(&mut self, id: u32) {
        let now = self.now;
        if let Some(topic) = self.topic_mut(id) {
            topic.age(now);
        }
    }

    /// Bytes of live records.
    pub(crate) fn live_bytes(&self) -> u64 {
        let aged = self.topics.iter().map(|(id, topic)| {
            let mut topic = Topic::clone(topic);
            topic.trim(&self.cursors(*id));
            topic.age(self.now);
            topic.live_bytes(self.now)
        });
        aged.sum()
    }

    pub(crate) fn cursors(&self, id: u32) -> Vec<u64> {
        let exclusive = self.subscriptions.iter().filter(|one| one.topic == id).map(Subscription::cursor);
        let shared = self.groups.iter().filter(|one| one.topic == id).map(|one| one.cursor);
        exclusive.chain(shared).collect()
    }

    /// Subscriptions that waited at the end of a topic may have something to deliver.
    pub(crate) fn wake(&mut self, id: u32) {
        self.subscriptions.iter_mut().filter(|one| one.topic == id).for_each(Subscription::wake);
    }
}

fn check_settings(mask: u64) -> Result<(), Refusal> {
    if mask == 0 { Ok(()) } else { Err((RefusalCode::InvalidSettings, mask)) }
}
