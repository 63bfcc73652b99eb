//! The client's frames in a form that tests can compare.

use zaichik_proto::{
    ClientFrame, List, OffsetRange, OnConflict, Operation, Producer, Records, SeekTarget, Start,
    SubscribePattern,
};

/// A frame that the client sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sent {
    Hello {
        name: String,
        token: Vec<u8>,
    },
    CreateTopic {
        request: u32,
        topic: String,
    },
    Describe {
        request: u32,
    },
    RemoveDurable {
        request: u32,
    },
    AlterTopic {
        request: u32,
    },
    TrimTopic {
        request: u32,
        before: Start,
    },
    Publish {
        request: u32,
        producer: Option<Producer>,
        topic: String,
        bodies: Vec<Vec<u8>>,
    },
    Batch {
        request: u32,
        producer: Option<Producer>,
        operations: Vec<Op>,
    },
    Subscribe {
        request: u32,
        subscription: u32,
        topic: String,
        start: Start,
        window: u32,
        durable: Option<Attach>,
        dead_letter: (u32, String),
    },
    SubscribePattern {
        request: u32,
        subscription: u32,
        pattern: String,
        start: Start,
        window: u32,
        dead_letter: (u32, String),
    },
    Unsubscribe {
        request: u32,
        subscription: u32,
    },
    Commit {
        request: u32,
        subscription: u32,
        offset: u64,
        quiet: bool,
    },
    Nack {
        request: u32,
        subscription: u32,
        offset: u64,
        delay_micros: u64,
    },
    Seek {
        request: u32,
        target: Target,
        to: Start,
    },
    SubscribeShared {
        request: u32,
        subscription: u32,
        name: String,
        start: Start,
        by_key: bool,
        ack_deadline_micros: u64,
        inactive_ttl_micros: u64,
    },
    /// Of a shared subscription.
    Settle {
        request: u32,
        subscription: u32,
        rewind: u32,
        effect: Effect,
        offsets: Vec<(u64, u32)>,
    },
    DescribeShared {
        request: u32,
    },
    Ping(u64),
    Pong(u64),
    Close,
}

/// What messages of a shared subscription are to become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    Acknowledged { quiet: bool },
    GivenBack { delay_micros: u64 },
    Extended,
}

/// An operation of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Op {
    Publish { topic: String, bodies: Vec<Vec<u8>> },
    Commit { subscription: u32, offset: u64 },
    Ack { subscription: u32, rewind: u32, offsets: Vec<(u64, u32)> },
}

/// How a durable subscription is attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attach {
    pub(super) name: String,
    pub(super) on_conflict: OnConflict,
    pub(super) epoch: u32,
    pub(super) inactive_ttl_micros: u64,
}

/// The target of a seek.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    Number(u32),
    Name { topic: String, name: String },
}

impl Sent {
    /// The request's id.
    pub(super) fn request(&self) -> u32 {
        match self {
            Self::CreateTopic { request, .. }
            | Self::AlterTopic { request }
            | Self::TrimTopic { request, .. }
            | Self::Describe { request }
            | Self::RemoveDurable { request }
            | Self::Publish { request, .. }
            | Self::Batch { request, .. }
            | Self::Nack { request, .. }
            | Self::Seek { request, .. }
            | Self::Subscribe { request, .. }
            | Self::SubscribeShared { request, .. }
            | Self::SubscribePattern { request, .. }
            | Self::Settle { request, .. }
            | Self::DescribeShared { request }
            | Self::Unsubscribe { request, .. }
            | Self::Commit { request, .. } => *request,
            Self::Hello { .. } | Self::Ping(_) | Self::Pong(_) | Self::Close => {
                panic!("{self:?} is not a request")
            }
        }
    }

    /// Its producer's sequence number.
    pub(super) fn sequence(&self) -> u64 {
        match self {
            Self::Publish { producer, .. } | Self::Batch { producer, .. } => producer.unwrap().sequence,
            other => panic!("{other:?} has no producer"),
        }
    }

    /// The first body of a publish.
    pub(super) fn body(&self) -> &[u8] {
        match self {
            Self::Publish { bodies, .. } => &bodies[0],
            Self::Batch { operations, .. } if operations.is_empty() => b"",
            other => panic!("{other:?}"),
        }
    }
}

pub(super) fn owned(frame: &ClientFrame<'_>) -> Sent {
    match frame {
        ClientFrame::Hello(hello) => Sent::Hello { name: hello.name.to_owned(), token: hello.token.to_vec() },
        ClientFrame::CreateTopic(create) => {
            Sent::CreateTopic { request: create.request, topic: text(create.topic) }
        }
        ClientFrame::AlterTopic(alter) => Sent::AlterTopic { request: alter.request },
        ClientFrame::Publish(publish) => Sent::Publish {
            request: publish.request,
            producer: publish.producer,
            topic: text(publish.topic),
            bodies: bodies(&publish.records),
        },
        ClientFrame::Batch(batch) => Sent::Batch {
            request: batch.request,
            producer: batch.producer,
            operations: batch.operations.iter().map(operation).collect(),
        },
        ClientFrame::Subscribe(subscribe) => Sent::Subscribe {
            request: subscribe.request,
            subscription: subscribe.subscription,
            topic: text(subscribe.topic),
            start: subscribe.start,
            window: subscribe.window,
            durable: subscribe.durable.map(|durable| Attach {
                name: durable.name.to_owned(),
                on_conflict: durable.on_conflict,
                epoch: durable.epoch,
                inactive_ttl_micros: durable.inactive_ttl_micros,
            }),
            dead_letter: (subscribe.max_attempts, text(subscribe.dead_letter)),
        },
        ClientFrame::Unsubscribe(unsubscribe) => {
            Sent::Unsubscribe { request: unsubscribe.request, subscription: unsubscribe.subscription }
        }
        ClientFrame::Commit(commit) => Sent::Commit {
            request: commit.request,
            subscription: commit.subscription,
            offset: commit.offset,
            quiet: commit.quiet,
        },
        ClientFrame::Nack(nack) => Sent::Nack {
            request: nack.request,
            subscription: nack.subscription,
            offset: nack.offset,
            delay_micros: nack.delay_micros,
        },
        ClientFrame::Seek(seek) => {
            let target = match seek.target {
                SeekTarget::Subscription(number) => Target::Number(number),
                SeekTarget::Durable { topic, name } => {
                    Target::Name { topic: text(topic), name: name.to_owned() }
                }
            };
            Sent::Seek { request: seek.request, target, to: seek.to }
        }
        ClientFrame::Describe(describe) => Sent::Describe { request: describe.request },
        ClientFrame::RemoveDurable(remove) => Sent::RemoveDurable { request: remove.request },
        ClientFrame::Ping { nonce } => Sent::Ping(*nonce),
        ClientFrame::Pong { nonce } => Sent::Pong(*nonce),
        ClientFrame::Close => Sent::Close,
        ClientFrame::TrimTopic(trim) => Sent::TrimTopic { request: trim.request, before: trim.before },
        ClientFrame::SubscribeShared(join) => Sent::SubscribeShared {
            request: join.request,
            subscription: join.subscription,
            name: join.name.to_owned(),
            start: join.start,
            by_key: join.by_key,
            ack_deadline_micros: join.ack_deadline_micros,
            inactive_ttl_micros: join.inactive_ttl_micros,
        },
        ClientFrame::Ack(ack) => Sent::Settle {
            request: ack.request,
            subscription: ack.subscription,
            rewind: ack.rewind,
            effect: Effect::Acknowledged { quiet: ack.quiet },
            offsets: offsets(ack.ranges),
        },
        ClientFrame::NackShared(nack) => Sent::Settle {
            request: nack.request,
            subscription: nack.subscription,
            rewind: nack.rewind,
            effect: Effect::GivenBack { delay_micros: nack.delay_micros },
            offsets: offsets(nack.ranges),
        },
        ClientFrame::Extend(extend) => Sent::Settle {
            request: extend.request,
            subscription: extend.subscription,
            rewind: extend.rewind,
            effect: Effect::Extended,
            offsets: offsets(extend.ranges),
        },
        ClientFrame::DescribeShared(describe) => Sent::DescribeShared { request: describe.request },
        ClientFrame::SubscribePattern(subscribe) => pattern(subscribe),
        ClientFrame::Shard(_) | ClientFrame::Extension { .. } => panic!("the client sent {frame:?}"),
    }
}

fn pattern(subscribe: &SubscribePattern<'_>) -> Sent {
    Sent::SubscribePattern {
        request: subscribe.request,
        subscription: subscribe.subscription,
        pattern: text(subscribe.pattern),
        start: subscribe.start,
        window: subscribe.window,
        dead_letter: (subscribe.max_attempts, text(subscribe.dead_letter)),
    }
}

fn operation(operation: Operation<'_>) -> Op {
    match operation {
        Operation::Publish { topic, records } => Op::Publish { topic: text(topic), bodies: bodies(&records) },
        Operation::Commit { subscription, offset, .. } => Op::Commit { subscription, offset },
        Operation::Ack { subscription, rewind, ranges } => {
            Op::Ack { subscription, rewind, offsets: offsets(ranges) }
        }
    }
}

fn offsets(ranges: List<'_, OffsetRange>) -> Vec<(u64, u32)> {
    ranges.iter().map(|range| (range.first, range.count)).collect()
}

fn bodies(records: &Records<'_>) -> Vec<Vec<u8>> {
    records.iter().map(|record| record.body().to_vec()).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
