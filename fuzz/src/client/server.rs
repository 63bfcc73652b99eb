//! A broker that decodes requests, and answers them correctly or not.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};
use zaichik_proto::{
    AckLevel, AckRun, Acks, Batched, ClientDecoder, ClientFrame, Counters, Delivery, Done, Duplicate, Fatal,
    FaultCode, Fenced, Gap, GapReason, Goodbye, GoodbyeReason, Items, Limits, List, Page, Published, Record,
    Records, Refusal, RefusalCode, Refused, ServerFrame, Subject, Subscribed, TopicReady, TopicStatus,
    Trimmed, Unsubscribed, Version, Welcome,
};

use crate::choices::Choices;

/// Refusals of every class, including those that the client handles.
const REFUSALS: [RefusalCode; 13] = [
    RefusalCode::Busy,
    RefusalCode::TopicFull,
    RefusalCode::SequenceGap,
    RefusalCode::SequenceTooOld,
    RefusalCode::ProducerFenced,
    RefusalCode::ProducersFull,
    RefusalCode::Draining,
    RefusalCode::StorageFull,
    RefusalCode::SubscriptionHeld,
    RefusalCode::SubscriptionFenced,
    RefusalCode::NotSubscribed,
    RefusalCode::CommitAhead,
    RefusalCode::TooLarge,
];

/// The other end of one connection.
pub(super) struct Server {
    decoder: ClientDecoder,
    version: Version,
    input: BytesMut,
    is_open: bool,
    asked: VecDeque<Asked>,
    /// The number of the latest subscription; its position follows.
    subscription: u32,
    rewind: u32,
    next: u64,
}

/// An unanswered request.
enum Asked {
    Hello,
    Publish(u32),
    Batch(u32),
    Subscribe(u32, u32),
    Unsubscribe(u32, u32),
    Topic(u32),
    Other(u32),
    Trim(u32),
    Counters(u32),
    Topics(u32),
    Subscriptions(u32),
    Ping(u64),
    Close,
}

impl Server {
    pub(super) fn new() -> Self {
        Self {
            decoder: ClientDecoder::handshake(&Limits::default()),
            version: Version::One,
            input: BytesMut::new(),
            is_open: false,
            asked: VecDeque::new(),
            subscription: 1,
            rewind: 0,
            next: 0,
        }
    }

    /// Reads what the client wrote.
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        while let Some((frame, taken)) =
            self.decoder.decode(&self.input).expect("the client keeps to the protocol")
        {
            let asked = match frame {
                ClientFrame::Hello(_) => Some(Asked::Hello),
                ClientFrame::Publish(publish) => {
                    (publish.ack != AckLevel::None).then_some(Asked::Publish(publish.request))
                }
                ClientFrame::Batch(batch) => Some(Asked::Batch(batch.request)),
                ClientFrame::Subscribe(one) => {
                    self.subscription = one.subscription;
                    Some(Asked::Subscribe(one.request, one.subscription))
                }
                ClientFrame::Unsubscribe(one) => Some(Asked::Unsubscribe(one.request, one.subscription)),
                ClientFrame::CreateTopic(one) => Some(Asked::Topic(one.request)),
                ClientFrame::AlterTopic(one) => Some(Asked::Other(one.request)),
                ClientFrame::Commit(one) => (!one.quiet).then_some(Asked::Other(one.request)),
                ClientFrame::Nack(one) => Some(Asked::Other(one.request)),
                ClientFrame::Seek(one) => Some(Asked::Other(one.request)),
                ClientFrame::RemoveDurable(one) => Some(Asked::Other(one.request)),
                ClientFrame::Describe(one) => Some(match one.subject {
                    Subject::Broker => Asked::Counters(one.request),
                    Subject::Topics { .. } | Subject::Topic { .. } => Asked::Topics(one.request),
                    Subject::Subscriptions { .. } | Subject::Durable { .. } => {
                        Asked::Subscriptions(one.request)
                    }
                }),
                ClientFrame::Ping { nonce } => Some(Asked::Ping(nonce)),
                ClientFrame::Close => Some(Asked::Close),
                ClientFrame::TrimTopic(one) => Some(Asked::Trim(one.request)),
                ClientFrame::SubscribeShared(_)
                | ClientFrame::Ack(_)
                | ClientFrame::NackShared(_)
                | ClientFrame::Extend(_)
                | ClientFrame::DescribeShared(_)
                | ClientFrame::SubscribePattern(_)
                | ClientFrame::Shard(_)
                | ClientFrame::Pong { .. }
                | ClientFrame::Extension { .. } => None,
            };
            self.asked.extend(asked);
            self.input.advance(taken);
        }
    }

    /// Answers the oldest request, with a matching answer or a refusal.
    pub(super) fn answer(&mut self, choices: &mut Choices<'_>) -> Bytes {
        let Some(asked) = self.asked.pop_front() else { return Bytes::new() };
        let is_refused = choices.chance(30);
        let offset = self.next.wrapping_add_signed(choices.between(-1, 3));
        let created = choices.chance(20);
        match asked {
            Asked::Hello => self.welcome(choices),
            Asked::Ping(nonce) => encoded(&ServerFrame::Pong { nonce }),
            Asked::Close => {
                encoded(&ServerFrame::Goodbye(Goodbye { reason: GoodbyeReason::Closed, grace_millis: 0 }))
            }
            Asked::Publish(request)
            | Asked::Batch(request)
            | Asked::Subscribe(request, _)
            | Asked::Unsubscribe(request, _)
            | Asked::Topic(request)
            | Asked::Other(request)
            | Asked::Trim(request)
            | Asked::Counters(request)
            | Asked::Topics(request)
            | Asked::Subscriptions(request)
                if is_refused =>
            {
                self.refuse(request, choices)
            }
            Asked::Publish(request) if created => {
                let mut bytes = Vec::new();
                let duplicates = List::encode_into(&mut bytes, [Duplicate { record: 0, offset }]);
                encoded(&ServerFrame::Published(Published {
                    repeated: self.repeated(),
                    request,
                    created,
                    first_offset: None,
                    duplicates,
                }))
            }
            Asked::Publish(request) => {
                let mut bytes = Vec::new();
                let runs =
                    List::encode_into(&mut bytes, [AckRun { request, requests: 1, first_offset: offset }]);
                encoded(&ServerFrame::Acks(Acks { runs }))
            }
            Asked::Batch(request) => {
                let results = zaichik_proto::BatchResult { operation: 0, created, first_offset: offset };
                let mut bytes = Vec::new();
                let results = List::encode_into(&mut bytes, [results]);
                encoded(&ServerFrame::Batched(Batched {
                    repeated: self.repeated(),
                    request,
                    results,
                    duplicates: List::EMPTY,
                }))
            }
            Asked::Subscribe(request, subscription) => {
                (self.subscription, self.next) = (subscription, offset);
                self.rewind = choices.one_of(&[0, 1]);
                let (epoch, rewind, start, end) = (choices.one_of(&[1, 2]), self.rewind, offset, offset);
                encoded(&ServerFrame::Subscribed(Subscribed {
                    request,
                    subscription,
                    epoch,
                    rewind,
                    created,
                    start,
                    end,
                }))
            }
            Asked::Unsubscribe(request, subscription) => {
                let last_offset = (!created).then_some(offset);
                encoded(&ServerFrame::Unsubscribed(Unsubscribed { request, subscription, last_offset }))
            }
            Asked::Topic(request) => {
                encoded(&ServerFrame::TopicReady(TopicReady { request, status: TopicStatus::Created }))
            }
            Asked::Counters(request) => {
                encoded(&ServerFrame::Counters(Counters { request, values: List::EMPTY }))
            }
            Asked::Topics(request) => {
                encoded(&ServerFrame::Topics(Page { request, next: None, items: Items::EMPTY }))
            }
            Asked::Subscriptions(request) => {
                encoded(&ServerFrame::Subscriptions(Page { request, next: None, items: Items::EMPTY }))
            }
            Asked::Trim(request) => {
                encoded(&ServerFrame::Trimmed(Trimmed { request, start: offset, removed: self.next }))
            }
            Asked::Other(request) => {
                self.rewind = self.rewind.wrapping_add(1);
                encoded(&ServerFrame::Done(Done { request, value: u64::from(self.rewind) }))
            }
        }
    }

    /// An answer of version 2 is repeated now and then.
    fn repeated(&self) -> Option<bool> {
        (self.version > Version::One).then_some(self.next % 2 == 1)
    }

    /// Ends the handshake.
    fn welcome(&mut self, choices: &mut Choices<'_>) -> Bytes {
        self.is_open = true;
        let instance = choices.one_of(&[1, 2]);
        // Each instance speaks its own version.
        self.version = if instance == 1 { Version::One } else { Version::Two };
        self.decoder.open(self.version, &Limits::default());
        let limits = Limits::new().heartbeat_millis(choices.one_of(&[5_000, 0]));
        encoded(&ServerFrame::Welcome(Welcome {
            version: self.version.number(),
            instance,
            limits,
            capabilities: if self.version == Version::One { 0 } else { Welcome::TRIM },
            server: "s",
        }))
    }

    fn refuse(&self, request: u32, choices: &mut Choices<'_>) -> Bytes {
        let value = choices.one_of(&[0, 1, self.next, u64::MAX]);
        let refusal = Refusal::with_value(choices.one_of(&REFUSALS), value);
        encoded(&ServerFrame::Refused(Refused { request, count: 1, refusal, repeated: self.repeated() }))
    }

    /// Sends a frame that answers no request; some are allowed.
    pub(super) fn say(&mut self, choices: &mut Choices<'_>) -> Bytes {
        let subscription = [self.subscription, choices.byte().into()][choices.weighted(&[15, 1])];
        let rewind = [self.rewind, self.rewind.wrapping_add(1)][choices.weighted(&[7, 1])];
        match choices.weighted(&[8, 3, 1, 1, 1, 1, 1, 1]) {
            0 => {
                let count = 1 + u32::from(choices.byte() % 3);
                let mut bytes = Vec::new();
                for _ in 0..count {
                    Record { body: &[b'x'; 60], ..Record::default() }.encode(&mut bytes);
                }
                let records = Records::from_encoded(count, &bytes);
                let first_offset = self.next;
                self.next = self.next.wrapping_add(u64::from(count));
                let attempt = 1 + u32::from(choices.byte() % 2);
                encoded(&ServerFrame::Delivery(Delivery {
                    subscription,
                    rewind,
                    attempt,
                    first_offset,
                    records,
                }))
            }
            1 => {
                let reason = choices.one_of(&[GapReason::Expired, GapReason::Limit]);
                let (from, to) = (self.next, self.next.wrapping_add(1 + u64::from(choices.byte() % 4)));
                self.next = to;
                encoded(&ServerFrame::Gap(Gap { subscription, rewind, reason, from, to }))
            }
            2 => encoded(&ServerFrame::Fenced(Fenced { subscription, epoch: choices.byte().into() })),
            3 => {
                let unsubscribed = Unsubscribed { request: 0, subscription, last_offset: None };
                encoded(&ServerFrame::Unsubscribed(unsubscribed))
            }
            4 => self.refuse(choices.one_of(&[0, 1, 2, 3]), choices),
            5 => encoded(&ServerFrame::Ping { nonce: 1 }),
            6 => {
                let reason = choices.one_of(&[GoodbyeReason::Draining, GoodbyeReason::Closed]);
                encoded(&ServerFrame::Goodbye(Goodbye { reason, grace_millis: choices.one_of(&[0, 1_000]) }))
            }
            _ => encoded(&ServerFrame::Fatal(Fatal { code: FaultCode::Internal, offset: 0, text: "fatal" })),
        }
    }
}

fn encoded(frame: &ServerFrame<'_>) -> Bytes {
    let mut bytes = BytesMut::new();
    frame.encode(&mut bytes);
    bytes.freeze()
}
