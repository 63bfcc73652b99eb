//! What a raw peer can say.

use bytes::BytesMut;
use zaichik_driver::Runtime;
use zaichik_proto::{
    AckLevel, AlterTopic, ClientFrame, Commit, CreateTopic, Hello, PROTOCOL_VERSION, Publish, Record,
    Records, Start, Subscribe, TopicOptions, Unsubscribe,
};

use super::Peer;

/// What to subscribe to, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sub<'a> {
    number: u32,
    topic: &'a str,
    start: Start,
    window: u32,
    window_bytes: u32,
}

impl<'a> Sub<'a> {
    pub(crate) const fn new(number: u32, topic: &'a str) -> Self {
        Self { number, topic, start: Start::Earliest, window: 1, window_bytes: 0 }
    }

    pub(crate) const fn from(self, start: Start) -> Self {
        Self { start, ..self }
    }

    pub(crate) const fn window(self, window: u32) -> Self {
        Self { window, ..self }
    }

    pub(crate) const fn window_bytes(self, window_bytes: u32) -> Self {
        Self { window_bytes, ..self }
    }
}

pub(crate) fn record(body: &[u8]) -> Record<'_> {
    Record { body, ..Record::default() }
}

pub(crate) fn keyed<'a>(key: &'a str, body: &'a [u8]) -> Record<'a> {
    Record { key: Some(key.as_bytes()), ..record(body) }
}

/// A record that lives for so long.
pub(crate) fn mortal(body: &[u8], ttl: std::time::Duration) -> Record<'_> {
    Record { ttl_micros: Some(zaichik_proto::micros(ttl)), ..record(body) }
}

/// Each gives the request's id.
impl<R: Runtime> Peer<R> {
    pub(crate) fn hello(&self, token: &[u8]) {
        self.queue(&ClientFrame::Hello(Hello { version: PROTOCOL_VERSION, name: "peer", token }));
    }

    pub(crate) fn create(&self, topic: &str, options: TopicOptions) -> u32 {
        let topic = topic.as_bytes();
        self.request(|request| ClientFrame::CreateTopic(CreateTopic { request, topic, options }))
    }

    pub(crate) fn alter(&self, topic: &str, options: TopicOptions) -> u32 {
        let topic = topic.as_bytes();
        self.request(|request| ClientFrame::AlterTopic(AlterTopic { request, topic, options }))
    }

    pub(crate) fn publish(&self, topic: &str, body: &str) -> u32 {
        self.publish_all(topic, &[record(body.as_bytes())])
    }

    pub(crate) fn publish_keyed(&self, topic: &str, key: &str, body: &str) -> u32 {
        self.publish_all(topic, &[keyed(key, body.as_bytes())])
    }

    pub(crate) fn publish_all(&self, topic: &str, records: &[Record<'_>]) -> u32 {
        self.publish_with(topic, AckLevel::Accepted, records)
    }

    pub(crate) fn publish_with(&self, topic: &str, ack: AckLevel, records: &[Record<'_>]) -> u32 {
        let mut bytes = Vec::new();
        for record in records {
            record.encode(&mut bytes);
        }
        let count = u32::try_from(records.len()).expect("a few");
        let (topic, records) = (topic.as_bytes(), Records::from_encoded(count, &bytes));
        let request = self.request(|request| {
            ClientFrame::Publish(Publish { request, ack, producer: None, topic, records })
        });
        if ack != AckLevel::None {
            self.lock().book.publishes.push_back((request, count));
        }
        request
    }

    /// With window 1, from the earliest record.
    pub(crate) fn subscribe(&self, number: u32, topic: &str) -> u32 {
        self.subscribe_to(Sub::new(number, topic))
    }

    pub(crate) fn subscribe_to(&self, sub: Sub<'_>) -> u32 {
        self.request(|request| {
            ClientFrame::Subscribe(Subscribe {
                request,
                subscription: sub.number,
                topic: sub.topic.as_bytes(),
                start: sub.start,
                window: sub.window,
                window_bytes: sub.window_bytes,
                max_attempts: 0,
                dead_letter: b"",
                durable: None,
            })
        })
    }

    pub(crate) fn unsubscribe(&self, subscription: u32) -> u32 {
        self.request(|request| ClientFrame::Unsubscribe(Unsubscribe { request, subscription }))
    }

    pub(crate) fn commit(&self, subscription: u32, offset: u64) -> u32 {
        self.request(|request| ClientFrame::Commit(Commit { request, subscription, offset, quiet: false }))
    }

    pub(crate) fn ping(&self, nonce: u64) {
        self.queue(&ClientFrame::Ping { nonce });
    }

    pub(crate) fn close(&self) {
        self.queue(&ClientFrame::Close);
    }

    pub(crate) fn queue(&self, frame: &ClientFrame<'_>) {
        self.queue_bytes(&encoded(frame));
    }

    /// Queues a frame with a new request id.
    pub(crate) fn request<'a>(&self, frame: impl FnOnce(u32) -> ClientFrame<'a>) -> u32 {
        let request = {
            let book = &mut self.lock().book;
            book.last_request += 1;
            book.last_request
        };
        self.queue(&frame(request));
        request
    }
}

pub(crate) fn encoded(frame: &ClientFrame<'_>) -> BytesMut {
    let mut bytes = BytesMut::new();
    frame.encode(&mut bytes);
    bytes
}
