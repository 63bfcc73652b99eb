//! The naive model: it keeps every record for ever in a list and answers every question with a scan.
//!
//! Obvious rather than fast: nothing is indexed, nothing is freed, a publish works on a copy of its topic. It shares
//! no code with the engine; what they have in common is semantics.md.

use std::collections::BTreeSet;

use zaichik_proto::{AckLevel, Producer, RefusalCode};

use crate::model::producer::Producers;
use crate::model::subscription::Subscription;
use crate::model::topic::{Accepted, Topic};
use crate::model::words::{
    Answer, Bounds, Event, INVALID, Options, Ready, Record, Refusal, Request, Settings,
};

/// A broker with a few connections.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    pub(crate) now: u64,
    pub(crate) defaults: Settings,
    pub(crate) bounds: Bounds,
    pub(crate) topics: Vec<(u8, Topic)>,
    pub(crate) subscriptions: Vec<Subscription>,
    /// Numbers whose durable subscription is another connection's: session, number, the epoch of that.
    pub(crate) fenced: Vec<(usize, u32, u32)>,
    /// What connections are told besides what their subscriptions read.
    pub(crate) notices: Vec<(usize, u32, Event)>,
    /// Offsets of which a subscription may or may not be told: superseded, and then ended by their topic's time to live.
    /// The broker does not know when they were accepted, once their memory was used again (protocol §11.13).
    pub(crate) unsure: BTreeSet<(usize, u32, u64)>,
    pub(crate) producers: Producers,
    /// Superseded records that subscriptions passed.
    pub(crate) superseded: u64,
    /// Records that a dead-letter topic had no room for.
    pub(crate) dead_letters_refused: u64,
}

impl Model {
    pub(crate) fn new(defaults: Settings, bounds: Bounds) -> Self {
        Self {
            now: 0,
            defaults,
            bounds,
            topics: Vec::new(),
            subscriptions: Vec::new(),
            fenced: Vec::new(),
            notices: Vec::new(),
            unsure: BTreeSet::new(),
            producers: Producers::default(),
            superseded: 0,
            dead_letters_refused: 0,
        }
    }

    /// Time does not go back.
    pub(crate) fn tick(&mut self, now: u64) {
        self.now = self.now.max(now);
    }

    /// Whether a timer rings at this time that everybody may notice.
    pub(crate) fn is_due(&self, now: u64) -> bool {
        let now = self.now.max(now);
        let ends = |one: &Subscription| one.pause.is_some_and(|pause| pause.until <= now);
        self.subscriptions.iter().any(|one| ends(one) || one.is_forgotten(now))
    }

    /// Pauses end (A4), and what was detached for too long is forgotten (D5).
    pub(crate) fn housekeep(&mut self) {
        let now = self.now;
        self.subscriptions.retain(|one| !one.is_forgotten(now));
        for one in &mut self.subscriptions {
            if one.pause.is_some_and(|pause| pause.until <= now) {
                (one.pause, one.ready) = (None, true);
            }
        }
    }

    pub(crate) fn request(&mut self, session: usize, request: &Request) -> Answer {
        let refused = |refusal| Answer::refused(refusal);
        match request {
            Request::Publish { ack, producer, topic, records } => {
                self.as_producer(*producer, false, |model| {
                    model.publish(*ack, *topic, records).unwrap_or_else(refused)
                })
            }
            Request::Batch { ack, producer, operations } => {
                self.as_producer(*producer, true, |model| model.batch(session, *ack, operations))
            }
            Request::Subscribe(subscribe) => self.subscribe(session, subscribe),
            Request::Unsubscribe { number } => self.unsubscribe(session, *number).unwrap_or_else(refused),
            Request::Commit { number, offset } => {
                let committed = self.held(session, *number).and_then(|one| one.commit(*offset));
                committed.map_or_else(refused, Answer::Done)
            }
            Request::Nack { number, offset, delay } => {
                self.nack(session, *number, *offset, *delay).map_or_else(refused, Answer::Done)
            }
            Request::Seek { target, to } => {
                self.seek(session, *target, *to).map_or_else(refused, Answer::Done)
            }
            Request::Create { topic, options } => self.create(*topic, options).unwrap_or_else(refused),
            Request::Alter { topic, options } => self.alter(*topic, options).unwrap_or_else(refused),
        }
    }

    /// What every subscription gets now: session, number, events.
    pub(crate) fn deliver(&mut self) -> Vec<(usize, u32, Vec<Event>)> {
        self.unsure.clear();
        let notices = std::mem::take(&mut self.notices).into_iter();
        let mut all: Vec<_> =
            notices.map(|(session, number, event)| (session, number, vec![event])).collect();
        for index in 0..self.subscriptions.len() {
            let one = &self.subscriptions[index];
            let (Some((session, number)), true, None) = (one.holder, one.ready, one.pause) else { continue };
            let id = one.topic;
            self.age(id);
            let topic = self.topic(id).expect("it was subscribed to").clone();
            let before = self.subscriptions[index].next;
            let (events, superseded) = self.subscriptions[index].deliver(&topic, self.now);
            self.superseded += superseded;
            let passed = before..self.subscriptions[index].next;
            let unsure = passed.filter(|offset| topic.is_unsure(*offset, self.now));
            self.unsure.extend(unsure.map(|offset| (session, number, offset)));
            if !events.is_empty() {
                all.push((session, number, events));
            }
        }
        all
    }

    fn as_producer(
        &mut self,
        claim: Option<Producer>,
        is_batch: bool,
        run: impl FnOnce(&mut Self) -> Answer,
    ) -> Answer {
        let Some(claim) = claim else { return run(self) };
        if let Err(answer) = self.producers.judge(claim, is_batch, self.now, &self.bounds) {
            return answer;
        }
        let answer = run(self);
        self.producers.remember(claim, &answer);
        answer
    }

    fn publish(&mut self, ack: AckLevel, id: u8, records: &[Record]) -> Result<Answer, Refusal> {
        if ack == AckLevel::Durable {
            return Err((RefusalCode::NotDurable, 0));
        }
        let (created, Accepted { first, duplicates, .. }) = self.append(id, records, (0, 0))?;
        self.settle(id);
        Ok(Answer::Published { created, first, duplicates })
    }

    pub(crate) fn ids(&self) -> Vec<u8> {
        self.topics.iter().map(|(id, _)| *id).collect()
    }

    /// A step begins in which a topic may get records.
    pub(crate) fn begin(&mut self, id: u8) {
        let (now, cursors) = (self.now, self.cursors(id));
        for (_, topic) in self.topics.iter_mut().filter(|(other, _)| *other == id) {
            topic.begin(now, &cursors);
        }
    }

    /// The step is over in which a topic got records.
    pub(crate) fn settle(&mut self, id: u8) {
        let (now, cursors) = (self.now, self.cursors(id));
        for (_, topic) in self.topics.iter_mut().filter(|(other, _)| *other == id) {
            topic.settle(now, &cursors);
        }
    }

    /// All records or none; says whether the topic was created. `earlier` is what the same batch appended before.
    pub(crate) fn append(
        &mut self,
        id: u8,
        records: &[Record],
        earlier: (u64, u64),
    ) -> Result<(bool, Accepted), Refusal> {
        let created = self.needs_topic(id)?;
        let new = || Topic::new(self.defaults, self.bounds.first_offset);
        let mut topic = self.topic(id).cloned().unwrap_or_else(new);
        let max_message = u64::from(self.bounds.max_message);
        let accepted = topic.publish(self.now, records, max_message, &self.cursors(id), earlier)?;
        self.put(id, topic);
        if accepted.count > 0 {
            self.wake(id);
        }
        Ok((created, accepted))
    }

    fn create(&mut self, id: u8, options: &Options) -> Result<Answer, Refusal> {
        if id == INVALID {
            return Err((RefusalCode::InvalidTopic, 0));
        }
        let settings = self.defaults.with(options);
        check_settings(settings.invalid())?;
        match self.topic(id).map(|topic| (topic.explicit, topic.settings)) {
            None => {
                self.needs_topic(id)?;
                let mut topic = Topic::new(settings, self.bounds.first_offset);
                topic.explicit = true;
                self.put(id, topic);
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

    fn alter(&mut self, id: u8, options: &Options) -> Result<Answer, Refusal> {
        if id == INVALID {
            return Err((RefusalCode::InvalidTopic, 0));
        }
        let topic = self.topic(id).ok_or((RefusalCode::UnknownTopic, 0))?;
        let settings = topic.settings.with(options);
        self.change(id, settings)?;
        Ok(Answer::Done(0))
    }

    fn change(&mut self, id: u8, settings: Settings) -> Result<(), Refusal> {
        let (now, cursors) = (self.now, self.cursors(id));
        let mut topic = self.topic(id).expect("the caller found it").clone();
        let changes_mode = settings.latest != topic.settings.latest && !topic.is_empty(now, &cursors);
        // Of several reasons any one is told, and limits that are 0 are found first.
        check_settings(settings.invalid())?;
        check_settings(u64::from(changes_mode) << 2)?;
        topic.change(settings, &cursors, now);
        self.put(id, topic);
        self.wake(id);
        Ok(())
    }

    /// Whether the topic is to be created; refused if it can't be.
    pub(crate) fn needs_topic(&self, id: u8) -> Result<bool, Refusal> {
        match self.topic(id) {
            _ if id == INVALID => Err((RefusalCode::InvalidTopic, 0)),
            Some(_) => Ok(false),
            None if self.topics.len() < self.bounds.max_topics as usize => Ok(true),
            None => Err((RefusalCode::TopicsFull, u64::from(self.bounds.max_topics))),
        }
    }

    pub(crate) fn topic(&self, id: u8) -> Option<&Topic> {
        self.topics.iter().find(|(other, _)| *other == id).map(|(_, topic)| topic)
    }

    /// The topic is like this from now on.
    pub(crate) fn put(&mut self, id: u8, topic: Topic) {
        self.topics.retain(|(other, _)| *other != id);
        self.topics.push((id, topic));
    }

    pub(crate) fn age(&mut self, id: u8) {
        let now = self.now;
        for (_, topic) in self.topics.iter_mut().filter(|(other, _)| *other == id) {
            topic.age(now);
        }
    }

    pub(crate) fn cursors(&self, id: u8) -> Vec<u64> {
        self.subscriptions.iter().filter(|one| one.topic == id).map(Subscription::cursor).collect()
    }

    /// Who waits at the end of a topic looks again.
    pub(crate) fn wake(&mut self, id: u8) {
        for one in &mut self.subscriptions {
            one.ready |= one.topic == id && one.waiting;
        }
    }
}

fn check_settings(mask: u64) -> Result<(), Refusal> {
    if mask == 0 { Ok(()) } else { Err((RefusalCode::InvalidSettings, mask)) }
}
