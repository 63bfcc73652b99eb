//! Requests and settings of the model as frames and as configuration.

use std::time::Duration;

use bytes::BytesMut;
use zaichik_engine::{BrokerConfig, TopicSettings};
use zaichik_proto::{
    Ack, AlterTopic, Batch, ClientFrame, Commit, CompactionMode, CreateTopic, DescribeShared, Extend, Limits,
    List, Nack, NackShared, OffsetRange, OnConflict, OperationsBuilder, Overflow, Publish, Records,
    RemoveDurable, Seek, SeekTarget, SubscribeShared, TopicOptions, TrimTopic, Unsubscribe,
};

use crate::model::sharing::{How, Range, Settle};
use crate::model::words::{
    Bounds, Join, Operation, Options, Record, Request, Settings, Start, Subscribe, Target, durable_name,
    topic_name,
};

/// A broker's configuration.
pub(crate) fn config(defaults: Settings, bounds: &Bounds, output_buffer: usize) -> BrokerConfig {
    let mut config = BrokerConfig::default();
    config.topic_defaults = settings(defaults);
    config.first_offset = bounds.first_offset;
    config.output_buffer = output_buffer;
    config.wire.max_message = bounds.max_message;
    config.wire.max_frame = bounds.max_message + Limits::FRAME_ROOM;
    config.wire.max_subscriptions = bounds.max_subscriptions;
    config.wire.max_window = bounds.max_window;
    config.wire.max_window_size = bounds.max_window_size;
    config.max_topics = bounds.max_topics;
    config.max_durables = bounds.max_durables;
    config.max_producers = bounds.max_producers;
    config.producer_ttl = Duration::from_micros(bounds.producer_ttl);
    config.inactive_ttl = Duration::from_micros(bounds.inactive_ttl);
    config
}

/// A request as a frame.
pub(crate) fn encode(request: u32, what: &Request, out: &mut BytesMut) {
    match what {
        Request::Publish { ack, producer, topic, records } => {
            let (topic, bytes) = (topic_name(*topic), encode_records(records));
            let records = Records::from_encoded(u32::try_from(records.len()).unwrap(), &bytes);
            let (ack, producer, topic) = (*ack, *producer, topic.as_bytes());
            ClientFrame::Publish(Publish { request, ack, producer, topic, records }).encode(out);
        }
        Request::Batch { ack, producer, operations } => {
            let mut builder = OperationsBuilder::default();
            for operation in operations {
                push(operation, &mut builder);
            }
            let (ack, producer, operations) = (*ack, *producer, builder.operations());
            ClientFrame::Batch(Batch { request, ack, producer, operations }).encode(out);
        }
        Request::Subscribe(subscribe) => encode_subscribe(request, subscribe, out),
        Request::Unsubscribe { number } => {
            ClientFrame::Unsubscribe(Unsubscribe { request, subscription: *number }).encode(out);
        }
        Request::Commit { number, offset, rewind } => {
            let commit =
                Commit { request, subscription: *number, offset: *offset, rewind: *rewind, quiet: false };
            ClientFrame::Commit(commit).encode(out);
        }
        Request::Nack { number, offset, delay } => {
            let nack = Nack { request, subscription: *number, offset: *offset, delay_micros: *delay };
            ClientFrame::Nack(nack).encode(out);
        }
        Request::Seek { target: Target::Number(number), to } => {
            let (target, to) = (SeekTarget::Subscription(*number), start(*to));
            ClientFrame::Seek(Seek { request, target, to }).encode(out);
        }
        Request::Seek { target: Target::Name { topic, name }, to } => {
            let (topic, name) = (topic_name(*topic), durable_name(*name));
            let target = SeekTarget::Durable { topic: topic.as_bytes(), name: &name };
            ClientFrame::Seek(Seek { request, target, to: start(*to) }).encode(out);
        }
        Request::RemoveDurable { topic, name } => {
            let (topic, name) = (topic_name(*topic), durable_name(*name));
            ClientFrame::RemoveDurable(RemoveDurable { request, topic: topic.as_bytes(), name: &name })
                .encode(out);
        }
        Request::Create { topic, options } => {
            let (topic, options) = (topic_name(*topic), wire_options(options));
            ClientFrame::CreateTopic(CreateTopic { request, topic: topic.as_bytes(), options }).encode(out);
        }
        Request::Alter { topic, options } => {
            let (topic, options) = (topic_name(*topic), wire_options(options));
            ClientFrame::AlterTopic(AlterTopic { request, topic: topic.as_bytes(), options }).encode(out);
        }
        Request::Trim { topic, before } => {
            let (topic, before) = (topic_name(*topic), start(*before));
            ClientFrame::TrimTopic(TrimTopic { request, topic: topic.as_bytes(), before }).encode(out);
        }
        Request::Join(join) => encode_join(request, join, out),
        Request::Settle(settle) => encode_settle(request, settle, out),
        Request::DescribeShared { topic, name } => {
            let (topic, name) = (topic_name(*topic), durable_name(*name));
            let describe = DescribeShared { request, topic: topic.as_bytes(), name: &name };
            ClientFrame::DescribeShared(describe).encode(out);
        }
    }
}

fn encode_subscribe(request: u32, subscribe: &Subscribe, out: &mut BytesMut) {
    let topic = topic_name(subscribe.topic);
    let dead_letter = subscribe.dead_letter.map_or_else(String::new, topic_name);
    let name = subscribe.durable.map_or_else(String::new, |durable| durable_name(durable.name));
    let durable = subscribe.durable.map(|durable| zaichik_proto::Durable {
        name: &name,
        on_conflict: if durable.reject { OnConflict::Reject } else { OnConflict::TakeOver },
        epoch: durable.epoch,
        inactive_ttl_micros: durable.inactive_ttl,
    });
    let subscribe = zaichik_proto::Subscribe {
        request,
        subscription: subscribe.number,
        topic: topic.as_bytes(),
        start: start(subscribe.start),
        window: subscribe.window,
        window_bytes: subscribe.window_bytes,
        max_attempts: subscribe.max_attempts,
        dead_letter: dead_letter.as_bytes(),
        durable,
    };
    ClientFrame::Subscribe(subscribe).encode(out);
}

fn encode_join(request: u32, join: &Join, out: &mut BytesMut) {
    let (topic, name) = (topic_name(join.topic), durable_name(join.name));
    let dead_letter = join.dead_letter.map_or_else(String::new, topic_name);
    let join = SubscribeShared {
        request,
        subscription: join.number,
        topic: topic.as_bytes(),
        name: &name,
        start: start(join.start),
        window: join.window,
        window_bytes: join.window_bytes,
        max_attempts: join.max_attempts,
        dead_letter: dead_letter.as_bytes(),
        ack_deadline_micros: join.ack_deadline,
        max_span: join.max_span,
        inactive_ttl_micros: join.inactive_ttl,
        by_key: join.by_key,
    };
    ClientFrame::SubscribeShared(join).encode(out);
}

fn encode_settle(request: u32, settle: &Settle, out: &mut BytesMut) {
    let (subscription, rewind, mut bytes) = (settle.number, settle.rewind, Vec::new());
    let ranges = encode_ranges(&settle.ranges, &mut bytes);
    let frame = match settle.how {
        How::Ack { quiet } => ClientFrame::Ack(Ack { request, subscription, rewind, quiet, ranges }),
        How::GiveBack { delay } => {
            let delay_micros = delay;
            ClientFrame::NackShared(NackShared { request, subscription, rewind, delay_micros, ranges })
        }
        How::Extend => ClientFrame::Extend(Extend { request, subscription, rewind, ranges }),
    };
    frame.encode(out);
}

fn encode_ranges<'a>(ranges: &[Range], bytes: &'a mut Vec<u8>) -> List<'a, OffsetRange> {
    List::encode_into(bytes, ranges.iter().map(|(first, count)| OffsetRange { first: *first, count: *count }))
}

fn push(operation: &Operation, builder: &mut OperationsBuilder) {
    match operation {
        Operation::Publish { topic, records } => {
            let (topic, bytes) = (topic_name(*topic), encode_records(records));
            let records = Records::from_encoded(u32::try_from(records.len()).unwrap(), &bytes);
            builder.push(zaichik_proto::Operation::Publish { topic: topic.as_bytes(), records });
        }
        Operation::Commit { number, offset, rewind } => {
            builder.push(zaichik_proto::Operation::Commit {
                subscription: *number,
                offset: *offset,
                rewind: *rewind,
            });
        }
        Operation::Ack { number, rewind, ranges } => {
            let mut bytes = Vec::new();
            let ranges = encode_ranges(ranges, &mut bytes);
            builder.push(zaichik_proto::Operation::Ack { subscription: *number, rewind: *rewind, ranges });
        }
    }
}

fn encode_records(records: &[Record]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for record in records {
        let headers: Vec<_> = record.headers.iter().map(|(name, value)| (&name[..], &value[..])).collect();
        let record = zaichik_proto::Record {
            key: record.key.as_deref(),
            headers: &headers,
            body: &record.body,
            ttl_micros: record.ttl,
            tombstone: record.tombstone,
            timestamp: 0,
        };
        record.encode(&mut bytes);
    }
    bytes
}

const fn start(start: Start) -> zaichik_proto::Start {
    match start {
        Start::Earliest => zaichik_proto::Start::Earliest,
        Start::Latest => zaichik_proto::Start::Latest,
        Start::Offset(offset) => zaichik_proto::Start::Offset(offset),
        Start::Time(time) => zaichik_proto::Start::Time(time),
    }
}

fn wire_options(options: &Options) -> TopicOptions {
    let mut wire = TopicOptions::new();
    wire.retention_ttl_micros = options.ttl;
    wire.compaction_window_micros = options.window;
    wire.compaction = options.latest.map(compaction);
    wire.max_messages = options.max_messages;
    wire.max_bytes = options.max_bytes;
    wire.overflow = options.reject.map(overflow);
    wire.max_keys = options.max_keys;
    wire.tombstone_ttl_micros = options.tombstone_ttl;
    wire
}

fn settings(settings: Settings) -> TopicSettings {
    let mut complete = TopicSettings::default();
    complete.retention_ttl_micros = settings.ttl;
    complete.compaction_window_micros = settings.window;
    complete.compaction = compaction(settings.latest);
    complete.max_messages = settings.max_messages;
    complete.max_bytes = settings.max_bytes;
    complete.overflow = overflow(settings.reject);
    complete.max_keys = settings.max_keys;
    complete.tombstone_ttl_micros = settings.tombstone_ttl;
    complete
}

const fn compaction(latest: bool) -> CompactionMode {
    if latest { CompactionMode::Latest } else { CompactionMode::First }
}

const fn overflow(reject: bool) -> Overflow {
    if reject { Overflow::Reject } else { Overflow::DropOldest }
}
