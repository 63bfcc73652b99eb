//! Frames and configurations as requests, answers, events and settings of the model.

use std::rc::Rc;

use zaichik_engine::{BrokerConfig, TopicSettings};
use zaichik_proto::{
    Batched, ClientFrame, CompactionMode, Delivery, GapReason, List, Members, OffsetRange, OnConflict,
    Overflow, RecordRef, Records, SeekTarget, ServerFrame, SubscribeShared, TopicOptions, TopicStatus,
};

use crate::model::names::Names;
use crate::model::sharing::{Described, DescribedMember, How, Range, Reached, Settle};
use crate::model::words::{
    Answer, Bounds, Durable, Event, Join, Operation, Options, Ready, Record, Request, Settings, Start,
    Subscribe, Target,
};

/// The request in a frame, and its id; `None` if there is none that the model knows.
pub(crate) fn request(frame: &ClientFrame<'_>, names: &mut Names) -> Option<(u32, Request)> {
    Some(match frame {
        ClientFrame::Publish(publish) => {
            let (topic, records) = (names.topic_id(publish.topic), records(&publish.records));
            let (ack, producer) = (publish.ack, publish.producer);
            (publish.request, Request::Publish { ack, producer, topic, records })
        }
        ClientFrame::Batch(batch) => {
            let operations = batch.operations.iter().map(|operation| match operation {
                zaichik_proto::Operation::Publish { topic, records: published } => {
                    Operation::Publish { topic: names.topic_id(topic), records: records(&published) }
                }
                zaichik_proto::Operation::Commit { subscription, offset, rewind } => {
                    Operation::Commit { number: subscription, offset, rewind }
                }
                zaichik_proto::Operation::Ack { subscription, rewind, ranges } => {
                    Operation::Ack { number: subscription, rewind, ranges: self::ranges(ranges) }
                }
            });
            let (ack, producer, operations) = (batch.ack, batch.producer, operations.collect());
            (batch.request, Request::Batch { ack, producer, operations })
        }
        ClientFrame::Subscribe(one) => (one.request, Request::Subscribe(subscribe(one, names))),
        ClientFrame::Unsubscribe(one) => (one.request, Request::Unsubscribe { number: one.subscription }),
        ClientFrame::Commit(commit) => {
            let (number, offset, rewind) = (commit.subscription, commit.offset, commit.rewind);
            (commit.request, Request::Commit { number, offset, rewind })
        }
        ClientFrame::Nack(nack) => {
            let (number, offset, delay) = (nack.subscription, nack.offset, nack.delay_micros);
            (nack.request, Request::Nack { number, offset, delay })
        }
        ClientFrame::Seek(seek) => {
            let target = match seek.target {
                SeekTarget::Subscription(number) => Target::Number(number),
                SeekTarget::Durable { topic, name } => {
                    Target::Name { topic: names.topic_id(topic), name: names.durable_id(name) }
                }
            };
            (seek.request, Request::Seek { target, to: start(seek.to) })
        }
        ClientFrame::RemoveDurable(one) => {
            let (topic, name) = (names.topic_id(one.topic), names.durable_id(one.name));
            (one.request, Request::RemoveDurable { topic, name })
        }
        ClientFrame::CreateTopic(create) => {
            let (topic, options) = (names.topic_id(create.topic), options(&create.options));
            (create.request, Request::Create { topic, options })
        }
        ClientFrame::AlterTopic(alter) => {
            let (topic, options) = (names.topic_id(alter.topic), options(&alter.options));
            (alter.request, Request::Alter { topic, options })
        }
        ClientFrame::TrimTopic(trim) => {
            let (topic, before) = (names.topic_id(trim.topic), start(trim.before));
            (trim.request, Request::Trim { topic, before })
        }
        ClientFrame::SubscribeShared(one) => (one.request, Request::Join(join(one, names))),
        ClientFrame::Ack(one) => {
            let how = How::Ack { quiet: one.quiet };
            (one.request, settle(how, (one.subscription, one.rewind), one.ranges))
        }
        ClientFrame::NackShared(one) => {
            let how = How::GiveBack { delay: one.delay_micros };
            (one.request, settle(how, (one.subscription, one.rewind), one.ranges))
        }
        ClientFrame::Extend(one) => {
            (one.request, settle(How::Extend, (one.subscription, one.rewind), one.ranges))
        }
        ClientFrame::DescribeShared(one) => {
            let (topic, name) = (names.topic_id(one.topic), names.durable_id(one.name));
            (one.request, Request::DescribeShared { topic, name })
        }
        ClientFrame::Describe(_)
        | ClientFrame::Shard(_)
        | ClientFrame::SubscribePattern(_)
        | ClientFrame::Hello(_)
        | ClientFrame::Ping { .. }
        | ClientFrame::Pong { .. }
        | ClientFrame::Close
        | ClientFrame::Extension { .. } => return None,
    })
}

/// The answer in a frame, and its request's id; `None` if there is none, or if the frame answers several requests.
pub(crate) fn answer(frame: &ServerFrame<'_>) -> Option<(u32, Answer)> {
    Some(match frame {
        ServerFrame::Published(published) => {
            let duplicates = published.duplicates.iter().map(|one| (one.record, one.offset)).collect();
            let (created, first) = (published.created, published.first_offset);
            let answer = Answer::Published { created, first, duplicates };
            (published.request, repeated(published.repeated, answer))
        }
        ServerFrame::Batched(batched) => {
            (batched.request, repeated(batched.repeated, self::batched(batched)))
        }
        ServerFrame::Refused(refused) if refused.request != 0 => {
            let (code, value) = (refused.refusal.code, refused.refusal.value);
            let operation = refused.refusal.operation;
            (refused.request, repeated(refused.repeated, Answer::Refused { code, value, operation }))
        }
        ServerFrame::TopicReady(ready) => {
            let status = match ready.status {
                TopicStatus::Unchanged => Ready::Unchanged,
                TopicStatus::Created => Ready::Created,
                TopicStatus::Adopted => Ready::Adopted,
                status => panic!("unknown status {status:?}"),
            };
            (ready.request, Answer::TopicReady(status))
        }
        ServerFrame::Trimmed(trimmed) => {
            (trimmed.request, Answer::Trimmed { start: trimmed.start, removed: trimmed.removed })
        }
        ServerFrame::Done(done) => (done.request, Answer::Done(done.value)),
        ServerFrame::Subscribed(one) => {
            let (epoch, rewind, created) = (one.epoch, one.rewind, one.created);
            let (start, end) = (one.start, one.end);
            (one.request, Answer::Subscribed { epoch, rewind, created, start, end })
        }
        ServerFrame::Unsubscribed(one) => (one.request, Answer::Unsubscribed { last: one.last_offset }),
        ServerFrame::Acked(one) => {
            (one.request, Answer::Acked { cursor: one.cursor, not_held: ranges(one.not_held) })
        }
        ServerFrame::Members(one) => (one.request, Answer::Members(described(one))),
        ServerFrame::Acks(_)
        | ServerFrame::Refused(_)
        | ServerFrame::Delivery(_)
        | ServerFrame::Gap(_)
        | ServerFrame::Fenced(_)
        | ServerFrame::Welcome(_)
        | ServerFrame::Counters(_)
        | ServerFrame::Topics(_)
        | ServerFrame::Subscriptions(_)
        | ServerFrame::PatternSubscribed(_)
        | ServerFrame::Matched(_)
        | ServerFrame::NotMatched(_)
        | ServerFrame::Ping { .. }
        | ServerFrame::Pong { .. }
        | ServerFrame::Goodbye(_)
        | ServerFrame::Fatal(_)
        | ServerFrame::Extension { .. } => return None,
    })
}

fn repeated(repeated: Option<bool>, answer: Answer) -> Answer {
    if repeated == Some(true) { Answer::Repeated(Box::new(answer)) } else { answer }
}

/// The events of a subscription in a frame, and its number.
#[expect(clippy::wildcard_enum_match_arm, reason = "most frames are answers")]
pub(crate) fn events(frame: &ServerFrame<'_>) -> Option<(u32, Vec<Event>)> {
    match frame {
        ServerFrame::Fenced(one) => Some((one.subscription, vec![Event::Fenced { epoch: one.epoch }])),
        ServerFrame::Gap(gap) => {
            let (rewind, from, to) = (gap.rewind, gap.from, gap.to);
            let limit = gap.reason == GapReason::Limit;
            Some((gap.subscription, vec![Event::Gap { rewind, from, to, limit }]))
        }
        ServerFrame::Delivery(delivery) => Some((delivery.subscription, delivered(delivery))),
        _ => None,
    }
}

/// The settings of a new topic.
pub(crate) fn settings(settings: &TopicSettings) -> Settings {
    Settings {
        ttl: settings.retention_ttl_micros,
        window: settings.compaction_window_micros,
        latest: settings.compaction == CompactionMode::Latest,
        max_messages: settings.max_messages,
        max_bytes: settings.max_bytes,
        reject: settings.overflow == Overflow::Reject,
        max_keys: settings.max_keys,
        tombstone_ttl: settings.tombstone_ttl_micros,
    }
}

/// The limits of a broker.
pub(crate) fn bounds(config: &BrokerConfig) -> Bounds {
    Bounds {
        first_offset: config.first_offset,
        max_message: config.wire.max_message,
        max_topics: config.max_topics,
        max_subscriptions: config.wire.max_subscriptions,
        max_window: config.wire.max_window,
        max_window_size: config.wire.max_window_size,
        max_durables: config.max_durables,
        inactive_ttl: zaichik_proto::micros(config.inactive_ttl),
        max_producers: config.max_producers,
        producer_ttl: zaichik_proto::micros(config.producer_ttl),
    }
}

fn records(records: &Records<'_>) -> Vec<Record> {
    records.iter().map(|record| self::record(&record)).collect()
}

fn record(record: &RecordRef<'_>) -> Record {
    let headers = record.headers();
    Record {
        key: record.key().map(<[u8]>::to_vec),
        headers: headers.iter().map(|(name, value)| (name.to_owned(), value.to_vec())).collect(),
        body: record.body().to_vec(),
        ttl: record.ttl_micros(),
        tombstone: record.is_tombstone(),
    }
}

fn delivered(delivery: &Delivery<'_>) -> Vec<Event> {
    let (rewind, attempt) = (delivery.rewind, delivery.attempt);
    let records = delivery.records.iter().zip(delivery.first_offset..);
    let event = |(record, offset): (RecordRef<'_>, u64)| {
        let (timestamp, record) = (record.timestamp(), Rc::new(self::record(&record)));
        Event::Record { rewind, attempt, offset, timestamp, record }
    };
    records.map(event).collect()
}

fn batched(batched: &Batched<'_>) -> Answer {
    let first = |offset: u64| (offset != u64::MAX).then_some(offset);
    let results = batched.results.iter().map(|one| (one.operation, one.created, first(one.first_offset)));
    let duplicates = batched.duplicates.iter();
    let duplicates = duplicates.map(|one| (one.operation, one.duplicate.record, one.duplicate.offset));
    Answer::Batched { results: results.collect(), duplicates: duplicates.collect() }
}

fn subscribe(subscribe: &zaichik_proto::Subscribe<'_>, names: &mut Names) -> Subscribe {
    let durable = subscribe.durable.map(|durable| Durable {
        name: names.durable_id(durable.name),
        reject: durable.on_conflict == OnConflict::Reject,
        epoch: durable.epoch,
        inactive_ttl: durable.inactive_ttl_micros,
    });
    let has_dead_letter = !subscribe.dead_letter.is_empty();
    Subscribe {
        number: subscribe.subscription,
        topic: names.topic_id(subscribe.topic),
        start: start(subscribe.start),
        window: subscribe.window,
        window_bytes: subscribe.window_bytes,
        max_attempts: subscribe.max_attempts,
        dead_letter: has_dead_letter.then(|| names.topic_id(subscribe.dead_letter)),
        durable,
    }
}

fn join(join: &SubscribeShared<'_>, names: &mut Names) -> Join {
    let has_dead_letter = !join.dead_letter.is_empty();
    Join {
        number: join.subscription,
        topic: names.topic_id(join.topic),
        name: names.durable_id(join.name),
        start: start(join.start),
        window: join.window,
        window_bytes: join.window_bytes,
        max_attempts: join.max_attempts,
        dead_letter: has_dead_letter.then(|| names.topic_id(join.dead_letter)),
        ack_deadline: join.ack_deadline_micros,
        max_span: join.max_span,
        inactive_ttl: join.inactive_ttl_micros,
        by_key: join.by_key,
    }
}

fn settle(how: How, (number, rewind): (u32, u32), ranges: List<'_, OffsetRange>) -> Request {
    Request::Settle(Settle { how, number, rewind, ranges: self::ranges(ranges) })
}

fn ranges(ranges: List<'_, OffsetRange>) -> Vec<Range> {
    ranges.iter().map(|range| (range.first, range.count)).collect()
}

fn described(members: &Members<'_>) -> Described {
    let state = members.state;
    let listed = members.members.iter().map(|one| DescribedMember {
        window: one.window,
        in_flight: one.in_flight,
        oldest: one.oldest_micros,
        stuck: one.stuck,
    });
    Described {
        by_key: state.by_key,
        ack_deadline: state.ack_deadline_micros,
        max_span: state.max_span,
        rewind: state.rewind,
        cursor: state.cursor,
        end: state.end,
        in_flight: state.in_flight,
        oldest: state.oldest_micros,
        members: listed.collect(),
        reached: Some(Reached {
            next: state.next,
            waiting: state.waiting,
            blocked: state.blocked,
            blocked_by: state.blocked_by,
        }),
    }
}

const fn start(start: zaichik_proto::Start) -> Start {
    match start {
        zaichik_proto::Start::Earliest => Start::Earliest,
        zaichik_proto::Start::Latest => Start::Latest,
        zaichik_proto::Start::Offset(offset) => Start::Offset(offset),
        zaichik_proto::Start::Time(time) => Start::Time(time),
    }
}

fn options(options: &TopicOptions) -> Options {
    Options {
        ttl: options.retention_ttl_micros,
        window: options.compaction_window_micros,
        latest: options.compaction.map(|mode| mode == CompactionMode::Latest),
        max_messages: options.max_messages,
        max_bytes: options.max_bytes,
        reject: options.overflow.map(|overflow| overflow == Overflow::Reject),
        max_keys: options.max_keys,
        tombstone_ttl: options.tombstone_ttl_micros,
    }
}
