//! The protocols of the clients.

pub(crate) mod mqtt;
pub(crate) mod nats;
pub(crate) mod redis;
mod relay;
pub(crate) mod zaichik;

use std::net::TcpStream;

use anyhow::Result;
use zaichik_measure::payload::restamp;

use crate::count::{Counter, Expected};
use crate::payload;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Zaichik's own.
    Zaichik,
    /// A line and then payloads (see [`crate::relay`]).
    Relay,
    /// NATS: lines of text.
    Nats,
    /// Redis: RESP 2.
    Redis,
    /// MQTT 3.1.1, quality of service 0.
    Mqtt,
}

impl Dialect {
    /// A connection with an active subscription to the topic; no message has been read from it.
    pub(crate) fn subscribe(self, port: u16, topic: &str) -> Result<TcpStream> {
        match self {
            Self::Zaichik => zaichik::subscribe(port, topic),
            Self::Relay => relay::subscribe(port, topic),
            Self::Nats => nats::subscribe(port, topic),
            Self::Redis => redis::subscribe(port, topic),
            Self::Mqtt => mqtt::subscribe(port, topic),
        }
    }

    pub(crate) fn publisher(self, port: u16, topic: &str) -> Result<TcpStream> {
        match self {
            Self::Zaichik => zaichik::publisher(port),
            Self::Relay => relay::publisher(port, topic),
            Self::Nats => nats::connect(port),
            Self::Redis => redis::connect(port),
            Self::Mqtt => mqtt::connect(port),
        }
    }

    /// A connection with a subscription to each of the topics; `None` where that is not possible.
    pub(crate) fn subscribe_all(self, port: u16, topics: &[String]) -> Result<Option<TcpStream>> {
        match self {
            Self::Zaichik => zaichik::subscribe_all(port, topics).map(Some),
            Self::Relay => Ok(None),
            Self::Nats => nats::subscribe_all(port, topics).map(Some),
            Self::Redis => redis::subscribe_all(port, topics).map(Some),
            Self::Mqtt => mqtt::subscribe_all(port, topics).map(Some),
        }
    }

    pub(crate) fn counter(self, topic: &str, payload: usize, expected: Expected) -> Counter {
        match self {
            Self::Zaichik => Counter::ZaichikFrames(crate::count::ZaichikFrames::new(expected)),
            Self::Relay => Counter::FixedLength(relay::counter(payload, expected)),
            Self::Nats => Counter::FixedLength(nats::counter(topic, payload, expected)),
            Self::Redis => Counter::FixedLength(redis::counter(topic, payload, expected)),
            Self::Mqtt => Counter::FixedLength(mqtt::counter(topic, payload, expected)),
        }
    }

    pub(crate) fn publish(self, topic: &str, payload: &[u8]) -> Vec<u8> {
        match self {
            Self::Zaichik => zaichik::publish(topic, payload),
            Self::Relay => payload.to_vec(),
            Self::Nats => nats::publish(topic, payload),
            Self::Redis => redis::publish(topic, payload),
            Self::Mqtt => mqtt::publish(topic, payload, false),
        }
    }

    /// Bytes behind the payload of a publish.
    const fn behind(self) -> usize {
        match self {
            Self::Zaichik | Self::Relay | Self::Mqtt => 0,
            Self::Nats | Self::Redis => 2,
        }
    }

    /// Whether the broker answers each publish, even without a request.
    pub(crate) const fn answers(self) -> bool {
        matches!(self, Self::Redis)
    }
}

/// Publishes encoded beforehand, written repeatedly.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    bytes: Vec<u8>,
    messages: u64,
    /// Bytes of a publish.
    len: usize,
    /// Where its payload begins.
    payload_at: usize,
    payload: usize,
}

impl Block {
    /// About `size` bytes of publishes with payloads of `payload` bytes; at least one publish.
    pub(crate) fn new(dialect: Dialect, topic: &str, payload: usize, size: usize) -> Self {
        let len = dialect.publish(topic, &payload::payload(0, 1, payload)).len();
        let messages = (size / len).max(1) as u64;
        let publishes = (0..messages)
            .map(|message| dialect.publish(topic, &payload::payload(message, messages, payload)));
        let bytes = publishes.flatten().collect();
        Self { bytes, messages, len, payload_at: len - dialect.behind() - payload, payload }
    }

    pub(crate) const fn messages(&self) -> u64 {
        self.messages
    }

    /// The publishes of the messages from `first` to the end of the block, at most `max`, and their number.
    pub(crate) fn publishes(&mut self, first: u64, max: u64) -> (&[u8], u64) {
        let place = first % self.messages;
        let count = (self.messages - place).min(max);
        if place == 0 {
            let payload = &mut self.bytes[self.payload_at..self.payload_at + self.payload];
            restamp(payload, payload::stamp(first, self.messages));
        }
        let at = |message: u64| usize::try_from(message).unwrap_or(usize::MAX) * self.len;
        (&self.bytes[at(place)..at(place + count)], count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Dialect; 5] =
        [Dialect::Zaichik, Dialect::Relay, Dialect::Nats, Dialect::Redis, Dialect::Mqtt];

    #[test]
    fn a_block_continues_with_the_next_number() {
        for dialect in ALL {
            let mut block = Block::new(dialect, "t0", 128, 1_000);
            let messages = block.messages();
            assert!((1..=7).contains(&messages), "{dialect:?}");
            let (bytes, count) = block.publishes(messages, 100);
            assert_eq!(count, messages);
            let payload = payload::payload(messages, messages, 128);
            assert!(bytes.windows(128).any(|window| window == payload), "{dialect:?}");
            let (rest, count) = block.publishes(1, 2);
            assert_eq!(rest.len() as u64, count * (block.len as u64));
        }
    }

    #[test]
    fn mqtt_and_the_relay_deliver_publishes_unchanged() {
        for dialect in [Dialect::Relay, Dialect::Mqtt] {
            let mut block = Block::new(dialect, "t0", 200, 4_096);
            let expected = Expected { messages: 50, block: block.messages() };
            let mut counter = dialect.counter("t0", 200, expected);
            let mut sent = 0;
            while sent < 50 {
                let (bytes, count) = block.publishes(sent, 50 - sent);
                counter.feed(bytes).unwrap();
                sent += count;
            }
            assert_eq!(counter.messages(), 50);
        }
    }
}
