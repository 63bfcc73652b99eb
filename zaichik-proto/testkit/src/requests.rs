//! The requests of a raw client.

use bytes::BytesMut;
use zaichik_proto::{
    AckLevel, AlterTopic, ClientFrame, Commit, CreateTopic, Describe, Hello, MAGIC, Nack, Producer, Publish,
    Record, Records, RemoveDurable, Seek, SeekTarget, Start, Subject, Subscribe, TopicOptions, TrimTopic,
    Unsubscribe, Version,
};

use crate::client::RawClient;
use crate::sub::{Sub, keyed, record};

/// Each call returns the request's id; nothing is sent before the transport takes it.
impl RawClient {
    /// Magic and Hello of a client that speaks version 1.
    pub fn hello(&self, token: &[u8]) {
        self.hello_as(Version::One, token);
    }

    /// Magic and Hello of a client whose highest version is `version`.
    pub fn hello_as(&self, version: Version, token: &[u8]) {
        self.send_bytes(&MAGIC);
        self.send(&ClientFrame::Hello(Hello { version: version.number(), name: "peer", token }));
    }

    /// Creates a topic.
    pub fn create(&self, topic: &str, options: TopicOptions) -> u32 {
        let topic = topic.as_bytes();
        self.request(|request| ClientFrame::CreateTopic(CreateTopic { request, topic, options }))
    }

    /// Changes a topic's settings.
    pub fn alter(&self, topic: &str, options: TopicOptions) -> u32 {
        let topic = topic.as_bytes();
        self.request(|request| ClientFrame::AlterTopic(AlterTopic { request, topic, options }))
    }

    /// Removes the records of a topic before a point; in version 2.
    pub fn trim(&self, topic: &str, before: Start) -> u32 {
        let topic = topic.as_bytes();
        self.request(|request| ClientFrame::TrimTopic(TrimTopic { request, topic, before }))
    }

    /// Publishes one record.
    pub fn publish(&self, topic: &str, body: &str) -> u32 {
        self.publish_all(topic, &[record(body.as_bytes())])
    }

    /// Publishes one record under a key.
    pub fn publish_keyed(&self, topic: &str, key: &str, body: &str) -> u32 {
        self.publish_all(topic, &[keyed(key, body.as_bytes())])
    }

    /// Publishes records.
    pub fn publish_all(&self, topic: &str, records: &[Record<'_>]) -> u32 {
        self.publish_with(topic, AckLevel::Accepted, records)
    }

    /// Publishes records, with or without an acknowledgement.
    pub fn publish_with(&self, topic: &str, ack: AckLevel, records: &[Record<'_>]) -> u32 {
        self.publish_as(None, topic, ack, records)
    }

    /// The same with a producer.
    pub fn publish_as(
        &self,
        producer: Option<Producer>,
        topic: &str,
        ack: AckLevel,
        records: &[Record<'_>],
    ) -> u32 {
        let (topic, encoded) = (topic.as_bytes(), Encoded::new(records));
        let records = encoded.as_records();
        self.request(|request| ClientFrame::Publish(Publish { request, ack, producer, topic, records }))
    }

    /// Subscribes with window 1, from the earliest record.
    pub fn subscribe(&self, number: u32, topic: &str) -> u32 {
        self.subscribe_to(Sub::new(number, topic))
    }

    /// Subscribes.
    pub fn subscribe_to(&self, sub: Sub<'_>) -> u32 {
        self.request(|request| {
            ClientFrame::Subscribe(Subscribe {
                request,
                subscription: sub.number,
                topic: sub.topic.as_bytes(),
                start: sub.start,
                window: sub.window,
                window_bytes: sub.window_bytes,
                max_attempts: sub.max_attempts,
                dead_letter: sub.dead_letter.as_bytes(),
                durable: sub.durable,
            })
        })
    }

    /// Ends a subscription.
    pub fn unsubscribe(&self, subscription: u32) -> u32 {
        self.request(|request| ClientFrame::Unsubscribe(Unsubscribe { request, subscription }))
    }

    /// Commits up to and including an offset; in version 2, what was received under the newest rewind number.
    pub fn commit(&self, subscription: u32, offset: u64) -> u32 {
        self.commit_of(subscription, offset, self.rewind(subscription))
    }

    /// Commits up to and including an offset that was received under this rewind number.
    pub fn commit_of(&self, subscription: u32, offset: u64, rewind: Option<u32>) -> u32 {
        self.request(|request| {
            ClientFrame::Commit(Commit { request, subscription, offset, rewind, quiet: false })
        })
    }

    /// Goes back to an offset, after a delay in microseconds.
    pub fn nack(&self, subscription: u32, offset: u64, delay_micros: u64) -> u32 {
        self.request(|request| ClientFrame::Nack(Nack { request, subscription, offset, delay_micros }))
    }

    /// Moves the cursor of one of the connection's subscriptions.
    pub fn seek(&self, subscription: u32, to: Start) -> u32 {
        let target = SeekTarget::Subscription(subscription);
        self.request(|request| ClientFrame::Seek(Seek { request, target, to }))
    }

    /// Moves the cursor of a durable subscription, attached to any connection or to none.
    pub fn seek_durable(&self, topic: &str, name: &str, to: Start) -> u32 {
        let target = SeekTarget::Durable { topic: topic.as_bytes(), name };
        self.request(|request| ClientFrame::Seek(Seek { request, target, to }))
    }

    /// Asks for a description of the broker.
    pub fn describe(&self, subject: Subject<'_>) -> u32 {
        self.request(|request| ClientFrame::Describe(Describe { request, subject }))
    }

    /// Removes a durable subscription.
    pub fn remove_durable(&self, topic: &str, name: &str) -> u32 {
        let topic = topic.as_bytes();
        self.request(|request| ClientFrame::RemoveDurable(RemoveDurable { request, topic, name }))
    }

    /// Asks for a pong, which is reported with the frames of the control lane.
    pub fn ping(&self, nonce: u64) {
        self.send(&ClientFrame::Ping { nonce });
    }

    /// Asks the broker to end the connection.
    pub fn close(&self) {
        self.send(&ClientFrame::Close);
    }
}

/// A frame's bytes.
#[must_use]
pub fn encoded(frame: &ClientFrame<'_>) -> BytesMut {
    let mut bytes = BytesMut::new();
    frame.encode(&mut bytes);
    bytes
}

/// Records as they are in a frame.
pub(crate) struct Encoded {
    count: u32,
    bytes: Vec<u8>,
}

impl Encoded {
    pub(crate) fn new(records: &[Record<'_>]) -> Self {
        let mut bytes = Vec::new();
        for record in records {
            record.encode(&mut bytes);
        }
        Self { count: u32::try_from(records.len()).expect("fewer than u32::MAX records"), bytes }
    }

    pub(crate) fn as_records(&self) -> Records<'_> {
        Records::from_encoded(self.count, &self.bytes)
    }
}
