//! What was accepted: publishes, batches, and the settings of topics.

use zaichik_proto::{
    AckLevel, Batch, Duplicate, Operation, Producer, Publish, Records, Refusal, RefusalCode, ServerFrame,
    TopicStatus,
};

use super::log::{Topic, content, hash};
use super::producers::Turn;
use super::replies::{Replies, Reply};
use super::{Broken, Checker, Tap, Verdict, record_id};
use crate::sim::random::Trail;

impl Checker {
    pub(super) fn published(
        &mut self,
        publish: &Publish<'_>,
        replies: &mut Replies<'_>,
        now: u64,
        is_end: bool,
    ) -> Result<bool, Broken> {
        if publish.ack == AckLevel::None {
            self.published_loosely(publish);
            return Ok(true);
        }
        let Some(reply) = replies.publish(publish.request, publish.records.len()) else {
            // Every request that took effect before the end is answered: this one did not.
            return if is_end {
                Ok(false)
            } else {
                Broken::because("P1", format!("publish {} was not answered", publish.request))
            };
        };
        let (created, first, duplicates) = match reply {
            Reply::At(first) => (false, Some(first), Vec::new()),
            Reply::Frame(ServerFrame::Published(published)) => {
                (published.created, published.first_offset, published.duplicates.iter().collect())
            }
            Reply::Refused(refusal) => {
                self.publish_refused(publish.producer.as_ref(), refusal, now)?;
                self.plausible(publish.topic, &publish.records, refusal, now)?;
                return Ok(true);
            }
            Reply::Frame(frame) => {
                return Broken::because("P1", format!("a publish was answered by {frame:?}"));
            }
        };
        let answer = answer_hash(created, first, &duplicates);
        if let Some(producer) = &publish.producer
            && self.is_repeat(producer, answer, (publish.topic, first), now)?
        {
            return Ok(true);
        }
        if created {
            self.topics.remove(publish.topic);
        }
        self.append(publish.topic, &publish.records, first, &duplicates, now)?;
        Ok(true)
    }

    /// I6: whether a producer's success was told before, in the same words.
    pub(super) fn is_repeat(
        &mut self,
        producer: &Producer,
        answer: u64,
        (topic, first): (&[u8], Option<u64>),
        now: u64,
    ) -> Result<bool, Broken> {
        let before = match self.producers.succeeded(producer, now)? {
            Turn::Fresh => {
                self.producers.used(producer, answer, now);
                return Ok(false);
            }
            // Then the offset tells.
            Turn::Unknown => {
                let end = self.topics.get(topic).map_or(0, |topic| topic.end);
                return Ok(first.is_none_or(|first| first < end));
            }
            Turn::Repeat(before) => before,
        };
        self.producers.heard(producer, now);
        match before.filter(|before| *before != answer) {
            Some(_) => Broken::because(
                "P-01",
                format!("{producer:?} is answered {first:?}, and was answered otherwise before"),
            ),
            None => Ok(true),
        }
    }

    /// A publish without an answer may have happened, or not.
    pub(super) fn published_loosely(&mut self, publish: &Publish<'_>) {
        if let Some(producer) = &publish.producer {
            self.producers.lost(producer);
        }
        let Some(topic) = self.known_topic(publish.topic) else {
            return;
        };
        for record in publish.records.iter() {
            topic.loose += 1;
            topic.candidates.insert(content(&record));
            topic.loose_keys.extend(record.key().map(hash));
        }
    }

    pub(super) fn publish_refused(
        &mut self,
        producer: Option<&Producer>,
        refusal: Refusal,
        now: u64,
    ) -> Verdict {
        let Some(producer) = producer else {
            return Ok(());
        };
        if refusal.code.is_retryable() {
            self.refused_at = now;
        }
        let is_kept = refusal.code.is_retryable() || matches!(refusal.code.code(), 32..=35);
        if refusal.code == RefusalCode::SequenceGap {
            self.producers.refused_as_gap(producer, refusal.value, now)?;
        }
        if is_kept {
            self.producers.heard(producer, now);
        } else if let Turn::Fresh = self.producers.succeeded(producer, now)? {
            self.producers.used(producer, refusal_hash(refusal), now);
        } else {
            self.producers.heard(producer, now);
        }
        Ok(())
    }

    /// O1, C1, I6, I7: records are where the answer says, and were not to be left out.
    pub(super) fn append(
        &mut self,
        name: &[u8],
        records: &Records<'_>,
        first: Option<u64>,
        duplicates: &[Duplicate],
        now: u64,
    ) -> Verdict {
        let is_known = self.topics.contains_key(name);
        let (defaults, first_offset) = (self.defaults, self.first_offset);
        let topic = self.topics.entry(name.to_vec()).or_insert_with(|| Topic::new(defaults, first_offset));
        if let Some(first) = first
            && !topic.end_is(first)
        {
            let text = format!(
                "records are told at {first}, the end is {} and {} loose (known: {is_known})",
                topic.end, topic.loose
            );
            return Broken::because("O1", text);
        }
        let mut duplicates = duplicates.iter().peekable();
        for (index, record) in (0u32..).zip(records.iter()) {
            let duplicate = duplicates.next_if(|duplicate| duplicate.record == index);
            check_key(topic, record.key().map(hash), duplicate.map(|found| found.offset), now)?;
            if duplicate.is_none() {
                let offset = topic.append(&record, now);
                self.apps.appended(record_id(record.body()), hash(name), offset)?;
            }
        }
        Ok(())
    }

    /// I7: all of a batch or nothing.
    pub(super) fn batch(&mut self, tap: &Tap, batch: &Batch<'_>, reply: &Reply<'_>, now: u64) -> Verdict {
        let batched = match reply {
            Reply::Frame(ServerFrame::Batched(batched)) => batched,
            Reply::Refused(refusal) => return self.publish_refused(batch.producer.as_ref(), *refusal, now),
            other => return Broken::because("P1", format!("a batch was answered by {other:?}")),
        };
        let mut trail = Trail::new();
        for result in batched.results.iter() {
            trail.number(u64::from(result.operation));
            trail.number(result.first_offset);
        }
        if let Some(producer) = &batch.producer {
            let publishes = batch.operations.iter().filter_map(|operation| match operation {
                Operation::Publish { topic, .. } => Some(topic),
                Operation::Commit { .. } => None,
            });
            let told = publishes
                .zip(batched.results.iter())
                .map(|(topic, result)| (topic, Some(result.first_offset)));
            let first = told.into_iter().find(|(_, first)| *first != Some(u64::MAX));
            if self.is_repeat(producer, trail.value(), first.unwrap_or_default(), now)? {
                return Ok(());
            }
        }
        let mut results = batched.results.iter();
        for (index, operation) in (0u32..).zip(batch.operations.iter()) {
            match operation {
                Operation::Publish { topic, records } => {
                    let of = |found: &zaichik_proto::BatchDuplicate| found.operation == index;
                    let duplicates: Vec<_> =
                        batched.duplicates.iter().filter(of).map(|found| found.duplicate).collect();
                    let result = results.next();
                    if result.is_some_and(|result| result.created) {
                        self.topics.remove(topic);
                    }
                    let first = result.map(|result| result.first_offset).filter(|first| *first != u64::MAX);
                    self.append(topic, &records, first, &duplicates, now)
                        .map_err(|broken| broken.at("in a batch"))?;
                }
                Operation::Commit { subscription, offset } => {
                    self.commits(tap, subscription, offset, None)
                        .map_err(|broken| broken.at("in a batch"))?;
                }
            }
        }
        Ok(())
    }

    /// A refusal for the moment has a reason.
    pub(super) fn plausible(
        &self,
        name: &[u8],
        records: &Records<'_>,
        refusal: Refusal,
        now: u64,
    ) -> Verdict {
        let Some(topic) = self.topics.get(name) else {
            return Ok(());
        };
        let settings = topic.settings();
        let is_wrong = match refusal.code {
            RefusalCode::TopicFull => !settings.rejects,
            RefusalCode::KeysFull => {
                let recent = |at: u64| now < at.saturating_add(settings.window);
                let remembered =
                    topic.keys.values().filter(|(_, at)| settings.is_latest || recent(*at)).count() as u64;
                let most = remembered + topic.loose_keys.len() as u64 + u64::from(records.len());
                !topic.was_altered && most <= settings.max_keys
            }
            _ => false,
        };
        if is_wrong {
            return Broken::because("R5", format!("refused {refusal:?}, with {settings:?}"));
        }
        Ok(())
    }

    pub(super) fn known_topic(&mut self, name: &[u8]) -> Option<&mut Topic> {
        let (defaults, first) = (self.defaults, self.first_offset);
        zaichik_proto::TopicName::parse(name).ok()?;
        Some(self.topics.entry(name.to_vec()).or_insert_with(|| Topic::new(defaults, first)))
    }

    pub(super) fn topic_ready(
        &mut self,
        name: &[u8],
        options: &zaichik_proto::TopicOptions,
        status: TopicStatus,
    ) {
        let (settings, first) = (self.defaults.with(options), self.first_offset);
        if status == TopicStatus::Created {
            self.topics.remove(name);
        }
        let topic = self.topics.entry(name.to_vec()).or_insert_with(|| Topic::new(settings, first));
        if status == TopicStatus::Adopted && topic.settings != Some(settings) {
            topic.was_altered |= topic.end > first || topic.loose > 0;
            topic.settings = Some(settings);
        }
        topic.is_explicit = true;
    }

    pub(super) fn altered(&mut self, name: &[u8], options: &zaichik_proto::TopicOptions) {
        let first = self.first_offset;
        if let Some(topic) = self.topics.get_mut(name) {
            topic.was_altered |= topic.end > first || topic.loose > 0;
            topic.settings = Some(topic.settings().with(options));
        }
    }
}

/// C1: a key is a duplicate within the window of the record that was accepted, and at its end is none.
fn check_key(topic: &mut Topic, key: Option<u64>, duplicate: Option<u64>, now: u64) -> Verdict {
    let (settings, end) = (topic.settings(), topic.end);
    let Some(key) = key else {
        return match duplicate {
            Some(_) => Broken::because("C2", "a record without a key is told as a duplicate".into()),
            None => Ok(()),
        };
    };
    let known =
        topic.keys.get(&key).copied().filter(|_| !topic.was_altered && !topic.loose_keys.contains(&key));
    match (known, duplicate) {
        (Some((offset, at)), Some(told))
            if told != offset || now >= at.saturating_add(settings.window) || settings.is_latest =>
        {
            return Broken::because(
                "C1",
                format!("a duplicate of {told} at {now}; {offset} was accepted at {at}, {settings:?}"),
            );
        }
        (Some((offset, at)), None)
            if !settings.is_latest && settings.window > 0 && now < at.saturating_add(settings.window) =>
        {
            return Broken::because("C1", format!("accepted at {now} within the window of {offset} at {at}"));
        }
        (None, Some(told)) if !topic.was_altered && !topic.loose_keys.contains(&key) => {
            return Broken::because("C1", format!("a duplicate of {told}, which nobody published"));
        }
        _ => {}
    }
    if duplicate.is_none() {
        topic.keys.insert(key, (end, now));
        if !topic.was_altered {
            // From here on this record is the one that counts, if the window of a loose one is over at all.
            topic.loose_keys.remove(&key);
        }
    }
    Ok(())
}

fn answer_hash(created: bool, first: Option<u64>, duplicates: &[Duplicate]) -> u64 {
    let mut trail = Trail::new();
    trail.number(u64::from(created));
    trail.number(first.unwrap_or(u64::MAX));
    for duplicate in duplicates {
        trail.number(u64::from(duplicate.record));
        trail.number(duplicate.offset);
    }
    trail.value()
}

fn refusal_hash(refusal: Refusal) -> u64 {
    u64::from(refusal.code.code()) << 32 | refusal.value
}
