//! One exchange: which requests it applied, what each was answered, and what was delivered then.

use std::collections::VecDeque;

use bytes::{Buf, BytesMut};
use zaichik_proto::{
    AckLevel, AckRun, Batch, ClientFrame, Commit, Duplicate, Nack, Operation, Producer, Publish, Records,
    Refusal, RefusalCode, Seek, SeekTarget, ServerDecoder, ServerFrame, Start, Subscribe, Subscribed,
    TopicStatus,
};

use super::log::{Topic, content, hash};
use super::producers::Turn;
use super::sub::Sub;
use super::{Attached, Broken, Checker, Durable, Step, Tap, Verdict, is_copy, record_id};
use crate::sim::random::Trail;

/// What was answered to one request.
#[derive(Debug, Clone)]
enum Reply<'a> {
    Frame(ServerFrame<'a>),
    /// A publish that was plainly accepted.
    At(u64),
    Refused(Refusal),
}

/// The answers of one exchange, in order.
struct Replies<'a> {
    control: VecDeque<ServerFrame<'a>>,
    stream: VecDeque<ServerFrame<'a>>,
    runs: VecDeque<AckRun>,
    /// Publishes left of the run at hand, and where the next one is.
    run: Option<(u32, u64)>,
}

impl Checker {
    /// Every invariant about one exchange.
    pub(crate) fn step(&mut self, step: Step<'_>) -> Verdict {
        let Some(mut tap) = self.taps.remove(&step.link) else {
            return Ok(());
        };
        self.now = self.now.max(step.told);
        tap.now = tap.now.max(self.now);
        let now = tap.now;
        let checked = self.step_of(&mut tap, step, now);
        if step.taken.is_none() && !tap.is_over {
            tap.is_over = true;
            self.ended(&mut tap, step.link, now);
        }
        self.taps.insert(step.link, tap);
        checked.map_err(|broken| broken.at(format!("connection {:#x}", step.link)))
    }

    fn step_of(&mut self, tap: &mut Tap, step: Step<'_>, now: u64) -> Verdict {
        let mut replies = Replies::parse(&self.limits, step.control, step.stream)?;
        if std::env::var("SIM_DEBUG").is_ok() {
            eprintln!("{now} {:#x} -> {:?} {:?}", step.link, replies.control, replies.stream);
        }
        let mut taken = tap.waiting.split_to(step.taken.unwrap_or(tap.waiting.len()).min(tap.waiting.len()));
        while !taken.is_empty() && tap.is_open && !tap.is_over {
            let mut decoder = tap.decoder.clone();
            let Ok(Some((frame, len))) = decoder.decode(&taken) else {
                break;
            };
            self.requests += 1;
            if std::env::var("SIM_DEBUG").is_ok() {
                eprintln!("{now} {:#x} <- {frame:?}", step.link);
            }
            let is_answered =
                self.request(tap, step.link, &frame, &mut replies, now, step.taken.is_none())?;
            let is_last = matches!(frame, ClientFrame::Close) || !is_answered;
            tap.decoder = decoder;
            taken.advance(len);
            if is_last {
                break;
            }
        }
        if step.taken.is_none() {
            return Ok(());
        }
        if !taken.is_empty() && tap.is_open {
            return Broken::because(
                "W5",
                format!("{} bytes were taken that are no whole frame", taken.len()),
            );
        }
        if replies.run.is_some() || !replies.runs.is_empty() || replies.has_answers() {
            return Broken::because("P1", "an answer came that nothing was asked for".into());
        }
        while let Some(frame) = replies.stream.pop_front() {
            self.streamed(tap, &frame, now)?;
        }
        Ok(())
    }

    /// Whether the request was answered; only one that ended its connection may not be.
    fn request(
        &mut self,
        tap: &mut Tap,
        link: u64,
        frame: &ClientFrame<'_>,
        replies: &mut Replies<'_>,
        now: u64,
        is_end: bool,
    ) -> Result<bool, Broken> {
        let request = match frame {
            ClientFrame::Publish(publish) => {
                return self
                    .published(publish, replies, now, is_end)
                    .map_err(|broken| broken.at(name(publish.topic)));
            }
            ClientFrame::Commit(commit) => return self.commit(tap, commit, replies, is_end),
            ClientFrame::CreateTopic(create) => create.request,
            ClientFrame::AlterTopic(alter) => alter.request,
            ClientFrame::Subscribe(subscribe) => subscribe.request,
            ClientFrame::Unsubscribe(unsubscribe) => unsubscribe.request,
            ClientFrame::Nack(nack) => nack.request,
            ClientFrame::Seek(seek) => seek.request,
            ClientFrame::Batch(batch) => batch.request,
            ClientFrame::Ping { .. } => {
                // Pongs may overtake: they were taken out of the answers.
                return Ok(true);
            }
            ClientFrame::Hello(_)
            | ClientFrame::Pong { .. }
            | ClientFrame::Close
            | ClientFrame::Extension { .. } => {
                return Ok(true);
            }
        };
        let is_stream = matches!(frame, ClientFrame::Subscribe(_) | ClientFrame::Unsubscribe(_));
        let Some(reply) = replies.take(request, is_stream) else {
            return if is_end {
                Ok(false)
            } else {
                Broken::because("P1", format!("{frame:?} was not answered"))
            };
        };
        let refusal = if let Reply::Refused(refusal) = reply { Some(refusal) } else { None };
        match (frame, &reply) {
            (ClientFrame::CreateTopic(create), Reply::Frame(ServerFrame::TopicReady(ready))) => {
                self.topic_ready(create.topic, &create.options, ready.status);
            }
            (ClientFrame::AlterTopic(alter), Reply::Frame(_)) => self.altered(alter.topic, &alter.options),
            (ClientFrame::Subscribe(subscribe), Reply::Frame(ServerFrame::Subscribed(subscribed))) => {
                self.subscribed(tap, link, subscribe, subscribed, now)
                    .map_err(|broken| broken.at(name(subscribe.topic)))?;
            }
            (ClientFrame::Unsubscribe(unsubscribe), Reply::Frame(_)) => {
                if !tap.subs.contains_key(&unsubscribe.subscription) {
                    return Broken::because("A6", format!("{unsubscribe:?} of nothing was accepted"));
                }
                self.unsubscribed(tap, unsubscribe.subscription, now, false);
            }
            (ClientFrame::Nack(nack), _) => self.nack(tap, nack, &reply, now)?,
            (ClientFrame::Seek(seek), Reply::Frame(ServerFrame::Done(done))) => {
                self.seek(tap, seek, done.value)
            }
            (ClientFrame::Batch(batch), _) => self.batch(tap, batch, &reply, now)?,
            (_, Reply::Refused(_)) => {}
            _ => return Broken::because("P1", format!("{frame:?} was answered by {reply:?}")),
        }
        if let Some(refusal) = refusal {
            self.refused(tap, frame, refusal)?;
        }
        Ok(true)
    }

    fn published(
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
    fn is_repeat(
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
    fn published_loosely(&mut self, publish: &Publish<'_>) {
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

    fn publish_refused(&mut self, producer: Option<&Producer>, refusal: Refusal, now: u64) -> Verdict {
        let Some(producer) = producer else {
            return Ok(());
        };
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
    fn append(
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

    fn commit(
        &mut self,
        tap: &mut Tap,
        commit: &Commit,
        replies: &mut Replies<'_>,
        is_end: bool,
    ) -> Result<bool, Broken> {
        let reply = replies.take(commit.request, false);
        match reply {
            Some(Reply::Frame(ServerFrame::Done(done))) => {
                self.commits(tap, commit.subscription, commit.offset, Some(done.value))?;
            }
            Some(Reply::Refused(refusal)) => {
                self.commit_refused(tap, commit.subscription, commit.offset, refusal)?
            }
            None if commit.quiet && !is_end => self.commits(tap, commit.subscription, commit.offset, None)?,
            None if commit.quiet => {
                // The connection ended in this step: it may have been too late.
                if let Some(sub) = self.attached(tap, commit.subscription) {
                    sub.is_vague = true;
                    (sub.next, sub.cursor) = (None, None);
                }
            }
            None if is_end => return Ok(false),
            _ => return Broken::because("P1", format!("{commit:?} was answered by {reply:?}")),
        }
        Ok(true)
    }

    fn commits(&mut self, tap: &Tap, number: u32, offset: u64, told: Option<u64>) -> Verdict {
        if let Some(epoch) = tap.fenced.get(&number) {
            return Broken::because(
                "D3",
                format!("a commit of {offset} was accepted, subscription {number} is fenced by {epoch}"),
            );
        }
        let Some(attached) = tap.subs.get(&number) else {
            return Broken::because(
                "A-06",
                format!("a commit of {offset} was accepted, {number} is not subscribed"),
            );
        };
        let key = self.sub(attached).map(|sub| sub.topic.clone()).unwrap_or_default();
        let Some(topic) = self.topics.remove(&key) else {
            return Ok(());
        };
        let checked = match self.attached(tap, number) {
            Some(sub) => sub.committed(offset, told, &topic),
            None => Ok(()),
        };
        self.topics.insert(key, topic);
        self.note_left_out(tap, number);
        checked.map_err(|broken| broken.at(format!("subscription {number}")))
    }

    fn commit_refused(&mut self, tap: &Tap, number: u32, offset: u64, refusal: Refusal) -> Verdict {
        match (refusal.code, self.attached(tap, number)) {
            (RefusalCode::CommitAhead, Some(sub)) => sub.refused_as_ahead(offset, "A3"),
            (RefusalCode::NotSubscribed | RefusalCode::SubscriptionFenced, Some(_)) => {
                Broken::because("A2", format!("a commit of subscription {number} was refused: {refusal:?}"))
            }
            _ => Ok(()),
        }
    }

    fn nack(&mut self, tap: &Tap, nack: &Nack, reply: &Reply<'_>, now: u64) -> Verdict {
        match reply {
            Reply::Frame(ServerFrame::Done(done)) => {
                if tap.fenced.contains_key(&nack.subscription) {
                    return Broken::because("D3", format!("{nack:?} was accepted, and is fenced"));
                }
                let Some(sub) = self.attached(tap, nack.subscription) else {
                    return Broken::because("A-06", format!("{nack:?} was accepted, and is not subscribed"));
                };
                let until = if nack.delay_micros == 0 { 0 } else { now.saturating_add(nack.delay_micros) };
                sub.nacked(nack.offset, done.value, until)?;
                self.dead_letters_of(tap, nack.subscription);
                Ok(())
            }
            Reply::Refused(refusal) if refusal.code == RefusalCode::NackAhead => self
                .attached(tap, nack.subscription)
                .map_or(Ok(()), |sub| sub.refused_as_ahead(nack.offset, "A4")),
            _ => Ok(()),
        }
    }

    fn seek(&mut self, tap: &Tap, seek: &Seek<'_>, rewind: u64) {
        self.apps.may_copy_again = true;
        let sub = match seek.target {
            SeekTarget::Subscription(number) => self.attached(tap, number),
            SeekTarget::Durable { topic, name } => {
                self.durables.get_mut(&(topic.to_vec(), name.to_owned())).map(|durable| &mut durable.sub)
            }
        };
        if let Some(sub) = sub {
            sub.sought();
            sub.rewind = u32::try_from(rewind).unwrap_or(0);
        }
    }

    /// I7: all of a batch or nothing.
    fn batch(&mut self, tap: &Tap, batch: &Batch<'_>, reply: &Reply<'_>, now: u64) -> Verdict {
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

    fn topic_ready(&mut self, name: &[u8], options: &zaichik_proto::TopicOptions, status: TopicStatus) {
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

    fn altered(&mut self, name: &[u8], options: &zaichik_proto::TopicOptions) {
        let first = self.first_offset;
        if let Some(topic) = self.topics.get_mut(name) {
            topic.was_altered |= topic.end > first || topic.loose > 0;
            topic.settings = Some(topic.settings().with(options));
        }
    }

    fn subscribed(
        &mut self,
        tap: &mut Tap,
        link: u64,
        request: &Subscribe<'_>,
        told: &Subscribed,
        now: u64,
    ) -> Verdict {
        let number = request.subscription;
        tap.fenced.remove(&number);
        if told.created {
            self.topics.remove(request.topic);
        }
        let (defaults, first) = (self.defaults, self.first_offset);
        let topic = self.topics.entry(request.topic.to_vec()).or_insert_with(|| Topic::new(defaults, first));
        if !topic.end_is(told.end) {
            return Broken::because(
                "O1",
                format!("the end is told as {}, it is {} and {} loose", told.end, topic.end, topic.loose),
            );
        }
        let window_bytes = match request.window_bytes {
            0 => self.limits.max_window_bytes,
            bytes => bytes.min(self.limits.max_window_bytes),
        };
        let dead_letter = (!request.dead_letter.is_empty() && request.max_attempts > 0)
            .then(|| (request.max_attempts, request.dead_letter.to_vec()));
        if let Some((_, name)) = &dead_letter {
            let settings = super::Settings { ttl: u64::MAX, rejects: true, ..defaults };
            let dead = self.topics.entry(name.clone()).or_insert_with(|| Topic::new(settings, first));
            dead.is_explicit = true;
        }
        let terms = Sub {
            topic: request.topic.to_vec(),
            window: request.window,
            window_bytes: u64::from(window_bytes),
            durable: request.durable.map(|durable| durable.name.to_owned()),
            dead_letter,
            epoch: told.epoch,
            next: Some(told.start),
            cursor: Some(told.start),
            ..Sub::default()
        };
        let Some(durable) = &request.durable else {
            self.check_start(request, told, now)?;
            let key = self.next_own;
            self.next_own += 1;
            self.own.insert(key, terms);
            tap.subs.insert(number, Attached::Own(key));
            return if told.rewind == 0 {
                Ok(())
            } else {
                Broken::because("A4", format!("{told:?} begins with a rewind"))
            };
        };
        let key = (request.topic.to_vec(), durable.name.to_owned());
        let inactive =
            if durable.inactive_ttl_micros == 0 { self.inactive_ttl } else { durable.inactive_ttl_micros };
        let is_gone = |known: &Durable| {
            known.holder.is_none() && now >= known.detached_at.saturating_add(known.inactive)
        };
        let known = self.durables.remove(&key).filter(|known| !is_gone(known));
        let (sub, held_since) = match known {
            Some(known) => self.taken_over(tap, link, known, terms, told, durable.epoch)?,
            None => {
                self.apps.may_copy_again = true;
                self.check_start(request, told, now)?;
                if told.epoch != durable.epoch.saturating_add(1) || told.rewind != 0 {
                    return Broken::because(
                        "D3",
                        format!("{told:?} is a new one, asked for with epoch {}", durable.epoch),
                    );
                }
                (terms, if durable.epoch == 0 { told.epoch } else { durable.epoch })
            }
        };
        tap.subs.insert(number, Attached::Durable(key.0.clone(), key.1.clone()));
        self.durables
            .insert(key, Durable { sub, holder: Some((link, number)), held_since, inactive, detached_at: 0 });
        self.note_left_out(tap, number);
        Ok(())
    }

    /// D2, D3, I15: a durable subscription goes on where it was, for a newer epoch.
    fn taken_over(
        &mut self,
        tap: &mut Tap,
        link: u64,
        mut known: Durable,
        terms: Sub,
        told: &Subscribed,
        asked: u32,
    ) -> Result<(Sub, u32), Broken> {
        if let Some((holder, number)) = known.holder {
            known.sub.detached(false);
            let other = if holder == link { Some(&mut *tap) } else { self.taps.get_mut(&holder) };
            if let Some(other) = other {
                other.subs.remove(&number);
                other.fenced.insert(number, told.epoch);
            }
        }
        if told.epoch != known.sub.epoch.max(asked).saturating_add(1) {
            return Broken::because("D3", format!("epoch {} follows {}", told.epoch, known.sub.epoch));
        }
        let is_own = asked > 0 && known.held_since <= asked && asked <= known.sub.epoch;
        if asked > 0 && asked < known.sub.epoch && !is_own {
            return Broken::because(
                "D-08",
                format!("epoch {asked} was let in, {} is known", known.sub.epoch),
            );
        }
        let held_since = match (is_own, asked) {
            (true, _) => known.held_since,
            (false, 0) => told.epoch,
            (false, asked) => asked,
        };
        if told.rewind != known.sub.rewind + 1 {
            return Broken::because("A4", format!("rewind {} follows {}", told.rewind, known.sub.rewind));
        }
        if let Some(cursor) = known.sub.cursor.filter(|_| !known.sub.is_vague)
            && told.start != cursor
        {
            let topic = self.topics.get(&known.sub.topic);
            let may_pass = |offset| topic.is_none_or(|topic| known.sub.may_skip(offset, topic));
            if told.start < cursor || !(cursor..told.start).all(may_pass) {
                return Broken::because(
                    "D2",
                    format!("it goes on at {}, the cursor is {cursor}", told.start),
                );
            }
            known.sub.pass(cursor, told.start, topic);
        }
        let Sub { window, window_bytes, dead_letter, epoch, next, cursor, .. } = terms;
        let sub = Sub {
            window,
            window_bytes,
            dead_letter,
            epoch,
            next,
            cursor,
            rewind: told.rewind,
            is_vague: false,
            ..known.sub
        };
        Ok((sub, held_since))
    }

    /// R2, R3: a new subscription begins at the first live record that it asked for.
    fn check_start(&self, request: &Subscribe<'_>, told: &Subscribed, now: u64) -> Verdict {
        let Some(topic) = self.topics.get(request.topic) else {
            return Ok(());
        };
        let asked = match request.start {
            Start::Earliest => 0,
            Start::Latest => topic.end,
            Start::Offset(offset) => offset,
            Start::Time(_) => return Ok(()),
        };
        let is_live_only = topic.settings().ttl == 0;
        if is_live_only || asked >= topic.end {
            let expected = asked.max(topic.end);
            return if told.start == expected || topic.was_altered {
                Ok(())
            } else {
                Broken::because("R3", format!("it begins at {}, not {expected}", told.start))
            };
        }
        if topic.was_altered {
            return Ok(());
        }
        if told.start < asked || told.start > topic.end {
            return Broken::because(
                "R3",
                format!("it begins at {}, asked for {asked}, the end is {}", told.start, topic.end),
            );
        }
        // With `reject` a committed front may have made room.
        let live =
            topic.records.range(asked..told.start).find(|(offset, _)| topic.is_surely_live(**offset, now));
        match live.filter(|_| !topic.settings().rejects) {
            Some((offset, _)) => {
                Broken::because("R3", format!("it begins at {}, and {offset} is live", told.start))
            }
            None => Ok(()),
        }
    }

    fn unsubscribed(&mut self, tap: &mut Tap, number: u32, now: u64, is_failure: bool) {
        match tap.subs.remove(&number) {
            Some(Attached::Durable(topic, name)) => {
                let key = (topic, name);
                if let Some(durable) = self.durables.get_mut(&key) {
                    durable.sub.detached(is_failure);
                    (durable.holder, durable.detached_at) = (None, now);
                    let (copies, dead) = (durable.sub.copies, durable.sub.dead_letter.clone());
                    durable.sub.copies = 0;
                    self.expect_copies(copies, dead);
                }
            }
            Some(Attached::Own(key)) => {
                self.own.remove(&key);
            }
            None => {}
        }
    }

    /// The connection is over.
    fn ended(&mut self, tap: &mut Tap, _link: u64, now: u64) {
        let numbers: Vec<_> = tap.subs.keys().copied().collect();
        for number in numbers {
            self.unsubscribed(tap, number, now, true);
        }
        tap.waiting = BytesMut::new();
    }

    fn streamed(&mut self, tap: &Tap, frame: &ServerFrame<'_>, now: u64) -> Verdict {
        let number = match frame {
            ServerFrame::Delivery(delivery) => delivery.subscription,
            ServerFrame::Gap(gap) => gap.subscription,
            ServerFrame::Fenced(fenced) => {
                return match tap.fenced.get(&fenced.subscription) {
                    Some(_) => Ok(()),
                    None => Broken::because("D3", format!("{fenced:?} came, and nobody took it over")),
                };
            }
            other => return Broken::because("P1", format!("{other:?} answers nothing")),
        };
        let Some(attached) = tap.subs.get(&number) else {
            return Broken::because("A9", format!("subscription {number} is over, and {frame:?} came"));
        };
        let key = self.sub(attached).map(|sub| sub.topic.clone()).unwrap_or_default();
        let Some(mut topic) = self.topics.remove(&key) else {
            return Broken::because("I3", "a delivery from a topic that does not exist".into());
        };
        let checked = self.attached(tap, number).map_or(Ok(()), |sub| match frame {
            ServerFrame::Delivery(delivery) => sub.delivered(delivery, &mut topic, now),
            ServerFrame::Gap(gap) => sub.gap(gap, &topic, now),
            _ => Ok(()),
        });
        self.topics.insert(key.clone(), topic);
        checked.map_err(|broken| broken.at(format!("{} subscription {number}", name(&key))))?;
        if let ServerFrame::Delivery(delivery) = frame {
            self.deliveries += u64::from(delivery.records.len());
            self.seen(&key, delivery)?;
        }
        self.note_left_out(tap, number);
        Ok(())
    }

    /// A delivery may be the first to show a record.
    fn seen(&mut self, topic: &[u8], delivery: &zaichik_proto::Delivery<'_>) -> Verdict {
        for (offset, record) in (delivery.first_offset..).zip(delivery.records.iter()) {
            if is_copy(&record) {
                if self.apps.sees(hash(topic), offset) {
                    self.apps.copied(&record)?;
                }
            } else if let Some(id) = record_id(record.body())
                && !self.apps.is_placed(id)
            {
                self.apps.appended(Some(id), hash(topic), offset)?;
            }
        }
        Ok(())
    }

    fn refused(&self, tap: &Tap, frame: &ClientFrame<'_>, refusal: Refusal) -> Verdict {
        let number = match frame {
            ClientFrame::Unsubscribe(unsubscribe) => unsubscribe.subscription,
            ClientFrame::Nack(nack) => nack.subscription,
            _ => return Ok(()),
        };
        if tap.subs.contains_key(&number)
            && matches!(refusal.code, RefusalCode::NotSubscribed | RefusalCode::SubscriptionFenced)
        {
            return Broken::because("A-06", format!("{frame:?} was refused: {refusal:?}"));
        }
        Ok(())
    }

    /// A refusal for the moment has a reason.
    fn plausible(&self, name: &[u8], records: &Records<'_>, refusal: Refusal, now: u64) -> Verdict {
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

    fn known_topic(&mut self, name: &[u8]) -> Option<&mut Topic> {
        let (defaults, first) = (self.defaults, self.first_offset);
        zaichik_proto::TopicName::parse(name).ok()?;
        Some(self.topics.entry(name.to_vec()).or_insert_with(|| Topic::new(defaults, first)))
    }

    fn attached(&mut self, tap: &Tap, number: u32) -> Option<&mut Sub> {
        match tap.subs.get(&number)? {
            Attached::Own(key) => self.own.get_mut(key),
            Attached::Durable(topic, name) => {
                self.durables.get_mut(&(topic.clone(), name.clone())).map(|durable| &mut durable.sub)
            }
        }
    }

    fn dead_letters_of(&mut self, tap: &Tap, number: u32) {
        let Some(sub) = self.attached(tap, number) else {
            return;
        };
        let (copies, dead) = (std::mem::take(&mut sub.copies), sub.dead_letter.clone());
        self.expect_copies(copies, dead);
    }

    fn expect_copies(&mut self, copies: u64, dead: Option<(u32, Vec<u8>)>) {
        if let Some(topic) = dead.and_then(|(_, name)| self.topics.get_mut(&name)) {
            topic.loose += copies;
        }
    }

    /// A dead-letter topic must have copies of what a subscription left out.
    fn note_left_out(&mut self, tap: &Tap, number: u32) {
        let Some(sub) = self.attached(tap, number).filter(|sub| !sub.left_out.is_empty()) else {
            return;
        };
        let (left_out, name) = (std::mem::take(&mut sub.left_out), sub.durable.clone().unwrap_or_default());
        let topic = sub.topic.clone();
        self.left_out.extend(left_out.into_iter().map(|offset| (topic.clone(), offset, name.clone())));
    }
}

impl<'a> Replies<'a> {
    fn parse(limits: &zaichik_proto::Limits, control: &'a [u8], stream: &'a [u8]) -> Result<Self, Broken> {
        let control = frames(limits, control)?.into_iter().filter(|frame| match frame {
            ServerFrame::Ping { .. }
            | ServerFrame::Pong { .. }
            | ServerFrame::Goodbye(_)
            | ServerFrame::Fatal(_) => false,
            ServerFrame::Refused(refused) => refused.request != 0,
            _ => true,
        });
        let stream = frames(limits, stream)?;
        Ok(Self { control: control.collect(), stream: stream.into(), runs: VecDeque::new(), run: None })
    }

    fn take(&mut self, request: u32, is_stream: bool) -> Option<Reply<'a>> {
        if is_stream {
            let is_it = match self.stream.front() {
                Some(ServerFrame::Subscribed(subscribed)) => subscribed.request == request,
                Some(ServerFrame::Unsubscribed(unsubscribed)) => unsubscribed.request == request,
                _ => false,
            };
            if is_it {
                return self.stream.pop_front().map(Reply::Frame);
            }
        }
        let is_it = match self.control.front()? {
            ServerFrame::TopicReady(ready) => ready.request == request,
            ServerFrame::Done(done) => done.request == request,
            ServerFrame::Batched(batched) => batched.request == request,
            ServerFrame::Published(published) => published.request == request,
            ServerFrame::Refused(refused) => refused.request == request,
            _ => false,
        };
        let frame = self.control.pop_front_if(|_| is_it && self.run.is_none() && self.runs.is_empty())?;
        Some(if let ServerFrame::Refused(refused) = frame {
            Reply::Refused(refused.refusal)
        } else {
            Reply::Frame(frame)
        })
    }

    fn publish(&mut self, request: u32, records: u32) -> Option<Reply<'a>> {
        if self.run.is_none() && self.runs.is_empty() {
            if let Some(ServerFrame::Acks(acks)) = self.control.front() {
                self.runs.extend(acks.runs.iter());
                self.control.pop_front();
            } else {
                return self.take(request, false);
            }
        }
        let (left, offset) = match self.run.take() {
            Some(run) => run,
            None => {
                let run = self.runs.pop_front().filter(|run| run.request == request)?;
                (run.requests, run.first_offset)
            }
        };
        if left > 1 {
            self.run = Some((left - 1, offset + u64::from(records)));
        }
        Some(Reply::At(offset))
    }

    /// Whether answers are left; deliveries are none.
    fn has_answers(&self) -> bool {
        let is_answer = |frame: &ServerFrame<'_>| {
            matches!(frame, ServerFrame::Subscribed(_))
                || matches!(frame, ServerFrame::Unsubscribed(one) if one.request != 0)
        };
        let is_welcome = |frame: &ServerFrame<'_>| matches!(frame, ServerFrame::Welcome(_));
        !self.control.iter().all(is_welcome) || self.stream.iter().any(is_answer)
    }
}

/// I18: whole frames, each of which encodes to the same bytes.
fn frames<'a>(limits: &zaichik_proto::Limits, mut bytes: &'a [u8]) -> Result<Vec<ServerFrame<'a>>, Broken> {
    let mut frames = Vec::new();
    let mut decoder = ServerDecoder::new(limits);
    while !bytes.is_empty() {
        match decoder.decode(bytes) {
            Ok(Some((frame, len))) => {
                let mut again = BytesMut::new();
                frame.encode(&mut again);
                if again != bytes[..len] {
                    return Broken::because("I18", format!("{frame:?} encodes to other bytes"));
                }
                frames.push(frame);
                bytes = &bytes[len..];
            }
            other => {
                return Broken::because("I18", format!("the broker's output does not decode: {other:?}"));
            }
        }
    }
    Ok(frames)
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
        (Some((offset, at)), Some(told)) => {
            if told != offset || now >= at.saturating_add(settings.window) || settings.is_latest {
                return Broken::because(
                    "C1",
                    format!("a duplicate of {told} at {now}; {offset} was accepted at {at}, {settings:?}"),
                );
            }
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

fn name(topic: &[u8]) -> String {
    String::from_utf8_lossy(topic).into_owned()
}
