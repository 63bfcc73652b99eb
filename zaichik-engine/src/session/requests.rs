//! From frames to calls of the broker, in the order received (rule O3).

use std::sync::Arc;

use zaichik_proto::{
    AckLevel, Acked, AlterTopic, Batch, ClientFrame, Commit, Counters, CreateTopic, Describe, DescribeShared,
    Done, List, Members, Operation, Page, Publish, Refusal, RefusalCode, RemoveDurable, ServerFrame, Subject,
    TopicReady, TrimTopic, Trimmed, Unsubscribe, Version,
};

use super::Session;
use super::answers::SHORT_ANSWER;
use super::costs::{concerns_no_commit, longest_answer, steps_of};
use super::state::{Applied, State};
use crate::broker::{BatchAnswer, Broker, Description, Outcome, Prepared, Rejection};
use crate::effects::{Effects, Note, NoteEvent};
use crate::error::CloseReason;
use crate::outbound::LaneKind;
use crate::planted::{Defect, is_planted};
use crate::steps::STEPS_PER_EXCHANGE;
use crate::topic::AppendedRun;
use zaichik_proto::Timestamp;

/// Maximum bytes of requests that one exchange applies; the last frame may exceed it.
const BYTES_PER_EXCHANGE: usize = 256 << 10;

/// Bytes of answers in the stream lane at which decoding pauses, so that a peer that subscribes and unsubscribes in a
/// loop without reading cannot fill memory.
const MAX_STREAM_ANSWERS: usize = 64 << 10;

/// Bytes of one such answer.
const STREAM_ANSWER: usize = 48;

/// The topic of requests that name a subscription, or nothing.
const NO_TOPIC: &[u8] = b"";

impl Session {
    /// Applies a bounded amount of what was received.
    pub(super) fn apply(&mut self, now: Timestamp, broker: &mut Broker, effects: &mut Effects) -> Applied {
        if !self.owes_stream_answers() {
            self.stream_answers = 0;
        }
        if self.inbound.is_empty() {
            let applied = if self.is_paused() { Applied::Paused } else { Applied::All };
            self.answers.report(now, &mut self.outbound);
            return applied;
        }
        let inbound = self.inbound.take();
        let mut taken = 0usize;
        let last_step = broker.steps().saturating_add(STEPS_PER_EXCHANGE);
        let applied = loop {
            if self.is_paused() {
                break Applied::Paused;
            }
            let is_behind = broker.is_behind();
            let is_used = taken >= BYTES_PER_EXCHANGE || broker.steps() >= last_step;
            if is_used && !is_planted(Defect::EndlessExchange) {
                break Applied::More;
            }
            let rest = inbound.get(taken..).unwrap_or_default();
            if !self.has_room(SHORT_ANSWER) {
                if self.decoder.frame_len(rest).is_none_or(|len| len > rest.len()) {
                    break Applied::All;
                }
                self.wants = SHORT_ANSWER;
                break Applied::Paused;
            }
            if !is_behind && let Some((publish, len)) = self.decoder.decode_plain_publish(rest) {
                match broker.prepare_publish((now, last_step), self.id, &mut self.run, &publish) {
                    Prepared::Ready => {}
                    Prepared::InPart => {
                        self.decoder.take_back(len);
                        break Applied::More;
                    }
                    Prepared::Awaited => {
                        self.decoder.take_back(len);
                        break Applied::Paused;
                    }
                }
                taken = taken.saturating_add(len);
                self.publish(now, &publish, broker, effects);
                let share = BYTES_PER_EXCHANGE.saturating_sub(taken);
                let rest = rest.get(len..).unwrap_or_default();
                let rest = rest.get(..share).unwrap_or(rest);
                taken = taken.saturating_add(self.publish_alike(now, &publish, rest, broker));
                continue;
            }
            match self.decoder.decode(rest) {
                Ok(Some((frame, len))) => {
                    if is_behind && !concerns_no_commit(&frame) {
                        self.decoder.take_back(len);
                        break Applied::Paused;
                    }
                    if let Some(longest) = longest_answer(&frame)
                        && !self.has_room(longest)
                    {
                        self.wants = longest;
                        self.decoder.take_back(len);
                        break Applied::Paused;
                    }
                    match broker.prepare((now, last_step), self.id, &mut self.run, &frame) {
                        Prepared::Ready => {}
                        Prepared::InPart => {
                            self.decoder.take_back(len);
                            break Applied::More;
                        }
                        Prepared::Awaited => {
                            self.decoder.take_back(len);
                            break Applied::Paused;
                        }
                    }
                    taken = taken.saturating_add(len);
                    broker.spend(steps_of(&frame));
                    self.request(now, &frame, broker, effects);
                    if self.state != State::Open {
                        break Applied::All;
                    }
                }
                Ok(None) => break Applied::All,
                Err(error) => {
                    self.finish(now, CloseReason::Protocol(error));
                    break Applied::All;
                }
            }
        };
        broker.settle_run(now, &mut self.run);
        if self.state == State::Open {
            self.answers.report(now, &mut self.outbound);
            self.answers.flush(&mut self.outbound);
            self.inbound.put_back(inbound, taken);
        }
        applied
    }

    /// Whether a lane has no room for another answer: only then does decoding pause (rule A7).
    fn is_paused(&self) -> bool {
        self.outbound.control_len() >= self.config.output_buffer || self.stream_answers >= MAX_STREAM_ANSWERS
    }

    fn request(
        &mut self,
        now: Timestamp,
        frame: &ClientFrame<'_>,
        broker: &mut Broker,
        effects: &mut Effects,
    ) {
        if !matches!(frame, ClientFrame::Publish(_)) {
            broker.settle_run(now, &mut self.run);
        }
        match frame {
            ClientFrame::Publish(publish) => self.publish(now, publish, broker, effects),
            ClientFrame::Commit(commit) => self.commit(now, commit, broker, effects),
            ClientFrame::Batch(batch) => {
                self.publishes = true;
                self.awaits_sync |= batch.ack == AckLevel::Durable;
                self.batch(now, batch, broker, effects);
            }
            ClientFrame::CreateTopic(CreateTopic { request, topic, options }) => {
                let result = broker.create_topic(now, self.id, topic, options, effects);
                let ready = |status| ServerFrame::TopicReady(TopicReady { request: *request, status });
                self.answer(*request, topic, result.map(ready), broker, effects);
            }
            ClientFrame::AlterTopic(AlterTopic { request, topic, options }) => {
                let result = broker.alter_topic(now, self.id, topic, options, effects);
                let done = |()| ServerFrame::Done(Done { request: *request, value: 0 });
                self.answer(*request, topic, result.map(done), broker, effects);
            }
            ClientFrame::Subscribe(subscribe) => {
                let result = broker.subscribe(now, self.id, subscribe, effects);
                let answer = result.map(ServerFrame::Subscribed);
                self.stream_answer(subscribe.request, subscribe.topic, answer, broker, effects);
            }
            ClientFrame::Unsubscribe(unsubscribe) => self.unsubscribe(now, *unsubscribe, broker, effects),
            ClientFrame::Ping { nonce } => {
                self.answers.passing(&mut self.outbound, ServerFrame::Pong { nonce: *nonce });
            }
            ClientFrame::Close => {
                self.begin_unheld(broker, effects);
                self.finish(now, CloseReason::Requested);
                self.outbound.hold(None);
            }
            ClientFrame::Nack(nack) => {
                let result = broker.nack(now, self.id, self.answers.version(), *nack, effects);
                let done = |value| ServerFrame::Done(Done { request: nack.request, value });
                self.answer(nack.request, NO_TOPIC, result.map(done), broker, effects);
            }
            ClientFrame::Describe(describe) => self.describe(now, describe, broker, effects),
            ClientFrame::RemoveDurable(RemoveDurable { request, topic, name }) => {
                let result = broker.remove_durable(now, topic, name);
                let done = |()| ServerFrame::Done(Done { request: *request, value: 0 });
                self.answer(*request, topic, result.map(done), broker, effects);
            }
            ClientFrame::Seek(seek) => {
                let result = broker.seek(now, self.id, seek, effects);
                let done = |value| ServerFrame::Done(Done { request: seek.request, value });
                self.answer(seek.request, NO_TOPIC, result.map(done), broker, effects);
            }
            ClientFrame::TrimTopic(TrimTopic { request, topic, before }) => {
                let result = broker.trim_topic(now, self.id, topic, *before, effects);
                let trimmed =
                    |(start, removed)| ServerFrame::Trimmed(Trimmed { request: *request, start, removed });
                self.answer(*request, topic, result.map(trimmed), broker, effects);
            }
            ClientFrame::Shard(shard) => {
                // There are no shards yet.
                let refusal = Refusal::new(RefusalCode::Unsupported);
                self.answer(shard.request, NO_TOPIC, Err(refusal), broker, effects);
            }
            ClientFrame::SubscribeShared(subscribe) => {
                let result = broker.subscribe_shared(now, self.id, subscribe, effects);
                let answer = result.map(ServerFrame::Subscribed);
                self.stream_answer(subscribe.request, subscribe.topic, answer, broker, effects);
            }
            ClientFrame::DescribeShared(describe) => self.describe_shared(describe, broker, effects),
            ClientFrame::Ack(ack) => {
                let result = broker.ack(now, self.id, ack, effects);
                self.acked(ack.request, ack.quiet, result, broker, effects);
            }
            ClientFrame::NackShared(nack) => {
                let result = broker.nack_shared(now, self.id, nack, effects);
                self.acked(nack.request, false, result, broker, effects);
            }
            ClientFrame::Extend(extend) => {
                let result = broker.extend(now, self.id, extend, effects);
                self.acked(extend.request, false, result, broker, effects);
            }
            ClientFrame::SubscribePattern(subscribe) => {
                // The answer is in the stream, after the topics that exist.
                if let Err(refusal) = broker.subscribe_pattern(now, self.id, subscribe, effects) {
                    self.answer(subscribe.request, NO_TOPIC, Err(refusal), broker, effects);
                }
            }
            // The decoder rejects a second Hello, and unknown frames are skipped.
            ClientFrame::Hello(_) | ClientFrame::Pong { .. } | ClientFrame::Extension { .. } => {}
        }
    }

    #[inline]
    fn publish(&mut self, now: Timestamp, publish: &Publish<'_>, broker: &mut Broker, effects: &mut Effects) {
        self.publishes = true;
        self.awaits_sync |= publish.ack == AckLevel::Durable;
        let wants_answer = publish.ack != AckLevel::None;
        match broker.publish(now, self.id, &mut self.run, publish, effects) {
            Ok(_) if !wants_answer => {}
            Ok(published) => match published.first_offset {
                Some(first) if published.is_plain() => {
                    let records = publish.records.len();
                    self.answers.accepted(&mut self.outbound, publish.request, 1, first, records);
                }
                _ => self.answers.accepted_in_full(&mut self.outbound, publish.request, published),
            },
            Err(rejection) if wants_answer => {
                self.reject(publish.request, publish.topic, rejection, broker, effects);
            }
            Err(Rejection { refusal, .. }) => {
                self.answers.refused_silently(refusal);
                self.note_refusal(publish.topic, refusal, broker, effects);
            }
        }
    }

    /// Applies the publishes that follow and differ from the previous one only in request and record, up to the first
    /// one that is not plain; returns their length in bytes.
    #[inline]
    fn publish_alike(
        &mut self,
        now: Timestamp,
        like: &Publish<'_>,
        rest: &[u8],
        broker: &mut Broker,
    ) -> usize {
        let mut alike = self.decoder.decode_plain_publishes(like, rest);
        let Some(appended) = broker.publish_alike(now, &mut self.run, like, &mut alike) else {
            return 0;
        };
        if like.ack != AckLevel::None {
            let AppendedRun { request, count, first_offset, .. } = appended;
            self.answers.accepted(&mut self.outbound, request, count, first_offset, count);
        }
        alike.taken()
    }

    fn batch(&mut self, now: Timestamp, batch: &Batch<'_>, broker: &mut Broker, effects: &mut Effects) {
        let mut recent = self.run.topic();
        let result = broker.batch(now, self.id, &mut recent, batch, effects);
        self.run.turn_to(recent);
        match result {
            Ok(BatchAnswer::Batched(batched)) => {
                self.answers.batched(&mut self.outbound, batch.request, batched);
            }
            Ok(BatchAnswer::Published(published)) if self.answers.version() > Version::One => {
                self.answers.accepted_in_full(&mut self.outbound, batch.request, published);
            }
            Ok(BatchAnswer::Published(_)) => {
                // In version 1 the answer to a publish can't answer a batch.
                let refusal = Refusal::new(RefusalCode::SequenceTooOld);
                self.answer(batch.request, NO_TOPIC, Err(refusal), broker, effects);
            }
            Err(rejection) => {
                let failed = batch.operations.iter().nth(rejection.refusal.operation as usize);
                let topic = match failed {
                    Some(Operation::Publish { topic, .. }) => topic,
                    Some(Operation::Commit { .. } | Operation::Ack { .. }) | None => NO_TOPIC,
                };
                self.reject(batch.request, topic, rejection, broker, effects);
            }
        }
    }

    fn commit(&mut self, now: Timestamp, commit: &Commit, broker: &mut Broker, effects: &mut Effects) {
        match broker.commit(now, self.id, commit) {
            Ok(_) if commit.quiet => {}
            Ok(value) => {
                let done = ServerFrame::Done(Done { request: commit.request, value });
                self.answer(commit.request, NO_TOPIC, Ok(done), broker, effects);
            }
            Err(refusal) => self.answer(commit.request, NO_TOPIC, Err(refusal), broker, effects),
        }
    }

    fn unsubscribe(
        &mut self,
        now: Timestamp,
        unsubscribe: Unsubscribe,
        broker: &mut Broker,
        effects: &mut Effects,
    ) {
        let Unsubscribe { request, subscription } = unsubscribe;
        let answer = match broker.unsubscribe_pattern(self.id, (request, subscription)) {
            Some((begun, ended)) => {
                if let Some(begun) = begun.map(ServerFrame::PatternSubscribed) {
                    self.stream_answer(request, NO_TOPIC, Ok(begun), broker, effects);
                }
                Ok(ended)
            }
            None => broker.unsubscribe(now, self.id, unsubscribe, effects),
        };
        self.stream_answer(request, NO_TOPIC, answer.map(ServerFrame::Unsubscribed), broker, effects);
    }

    #[inline(never)]
    fn describe_shared(&mut self, describe: &DescribeShared<'_>, broker: &mut Broker, effects: &mut Effects) {
        let (DescribeShared { request, topic, name }, mut bytes) = (*describe, Vec::new());
        let described = broker.describe_shared(topic, name, &mut bytes);
        let members =
            described.map(|(state, members)| ServerFrame::Members(Members { request, state, members }));
        self.answer(request, topic, members, broker, effects);
    }

    /// Answers a request about records of a shared subscription.
    #[inline(never)]
    fn acked(
        &mut self,
        request: u32,
        is_quiet: bool,
        result: Result<Outcome, Refusal>,
        broker: &mut Broker,
        effects: &mut Effects,
    ) {
        let (mut bytes, is_empty) = (Vec::new(), result.as_ref().is_ok_and(|one| one.not_held.is_empty()));
        if is_quiet && is_empty {
            return;
        }
        let acked = result.map(|Outcome { cursor, not_held }| {
            let not_held = List::encode_into(&mut bytes, not_held);
            ServerFrame::Acked(Acked { request, cursor, not_held })
        });
        self.answer(request, NO_TOPIC, acked, broker, effects);
    }

    fn describe(
        &mut self,
        now: Timestamp,
        describe: &Describe<'_>,
        broker: &mut Broker,
        effects: &mut Effects,
    ) {
        let Describe { request, subject } = *describe;
        let mut bytes = Vec::new();
        let result = broker.describe(now, &subject, &mut bytes).map(|description| match description {
            Description::Counters(values) => ServerFrame::Counters(Counters { request, values }),
            Description::Topics(next, items) => ServerFrame::Topics(Page { request, next, items }),
            Description::Subscriptions(next, items) => {
                ServerFrame::Subscriptions(Page { request, next, items })
            }
        });
        if matches!(subject, Subject::Broker) {
            // Nothing stored follows from them, so they can be read when nothing can be stored.
            self.begin_unheld(broker, effects);
            self.answer(request, NO_TOPIC, result, broker, effects);
            self.outbound.hold(None);
            return;
        }
        let topic = match subject {
            Subject::Topic { topic }
            | Subject::Subscriptions { topic, .. }
            | Subject::Durable { topic, .. } => topic,
            Subject::Broker | Subject::Topics { .. } => NO_TOPIC,
        };
        self.answer(request, topic, result, broker, effects);
    }

    fn answer(
        &mut self,
        request: u32,
        topic: &[u8],
        result: Result<ServerFrame<'_>, Refusal>,
        broker: &mut Broker,
        effects: &mut Effects,
    ) {
        match result {
            Ok(frame) => self.answers.control(&mut self.outbound, frame),
            Err(refusal) => self.reject(request, topic, Rejection::from(refusal), broker, effects),
        }
    }

    /// What is put into the output from here to a hold without a commit waits for none, unless what is before it does
    /// (rule B6).
    fn begin_unheld(&mut self, broker: &mut Broker, effects: &mut Effects) {
        debug_assert_eq!(self.run.uncharged(), 0, "the changes of a run are noticed when it is settled");
        self.answers.flush(&mut self.outbound);
        if broker.is_storing() {
            self.hold_answers(broker, effects);
        }
    }

    fn reject(
        &mut self,
        request: u32,
        topic: &[u8],
        rejection: Rejection,
        broker: &mut Broker,
        effects: &mut Effects,
    ) {
        // Nothing was done, and nothing is said of what was done before.
        let is_unheld = rejection.refusal.code == RefusalCode::StorageFull;
        if is_unheld {
            self.begin_unheld(broker, effects);
        }
        self.answers.refused(&mut self.outbound, request, rejection);
        if is_unheld {
            self.outbound.hold(None);
        }
        self.note_refusal(topic, rejection.refusal, broker, effects);
    }

    /// Answers a request whose answer must keep its order with deliveries (rule A7).
    fn stream_answer(
        &mut self,
        request: u32,
        topic: &[u8],
        result: Result<ServerFrame<'_>, Refusal>,
        broker: &mut Broker,
        effects: &mut Effects,
    ) {
        match result {
            Ok(frame) => {
                self.outbound.frame(LaneKind::Stream, |out| frame.encode(out));
                self.stream_answers = self.stream_answers.saturating_add(STREAM_ANSWER);
                (self.stream_answers_end, _) = self.outbound.stream_progress();
            }
            Err(refusal) => self.answer(request, topic, Err(refusal), broker, effects),
        }
    }

    fn note_refusal(&self, topic: &[u8], refusal: Refusal, broker: &mut Broker, effects: &mut Effects) {
        broker.count_refusal(refusal.code);
        let session = self.id;
        effects.note(|| {
            let topic = (!topic.is_empty()).then(|| Arc::from(String::from_utf8_lossy(topic)));
            Note { session, topic, event: NoteEvent::Refused(refusal) }
        });
    }
}
