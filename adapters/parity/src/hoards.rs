//! Connections that make the broker hold memory (rules S15, S16), against the memory of its process.

#![expect(clippy::disallowed_types, reason = "peers that never read need no runtime")]

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use bytes::BytesMut;
use zaichik_proto::{
    AckLevel, ClientFrame, Describe, FrameHeader, Hello, MAGIC, Publish, Record, Records, Start, Subject,
    Subscribe, Unsubscribe,
};
use zaichik_tokio::Client;

use crate::messages::next_message;
use crate::process::{Broker, command};
use crate::script;

/// The broker's memory, in bytes.
const BUDGET: u64 = 64 << 20;

/// Maximum memory of its process: a twentieth more, and its code, stacks and the runtime.
const ALLOWED: u64 = BUDGET + BUDGET / 20 + (32 << 20);

/// Connections that each round adds; with 120 in all their requests exceed the budget several times.
const PER_ROUND: usize = 20;

/// How often each of them sends what the broker accepts. A client publishes and consumes in between.
const ROUNDS: usize = 6;

/// The kind of a Publish.
const PUBLISH: u8 = 0x04;

/// Frames that are never completed, large frames with a byte behind them, and answers that are never read.
pub fn s15_connections_that_hoard_memory_stay_within_the_budget(path: &str) {
    for (name, bytes) in [
        ("unfinished frames", unfinished()),
        ("leftovers", leftover()),
        ("unread descriptions", descriptions()),
        ("unread subscriptions", subscriptions()),
    ] {
        let broker = Broker::run(command(path, 0).env("ZAICHIK_LIMITS_MEMORY", BUDGET.to_string()));
        let address = broker.address();
        let highest = script::block_on(async {
            let honest = Client::connect(&address).await.expect("the broker listens");
            let mut messages = honest.subscribe("honest").await.expect("subscribed");
            let mut hoard = Vec::new();
            let mut highest = 0;
            for _ in 0..ROUNDS {
                hoard.extend((0..PER_ROUND).map(|_| Peer::connect(&address, &bytes)));
                hoard.iter_mut().for_each(Peer::send);
                for _ in 0..5 {
                    honest.publish("honest", "x").await.expect("accepted at the first try, or soon");
                    let message = next_message(&mut messages).await;
                    message.commit().await.expect("committed");
                }
                highest = highest.max(broker.resident());
            }
            highest
        });
        assert!(highest <= ALLOWED, "{name}: {highest} bytes are resident, {ALLOWED} are allowed");
        broker.signal("TERM");
        broker.signal("TERM");
        let (_, log) = broker.end();
        assert!(!log.contains("panicked"), "{log}");
    }
}

/// A peer that sends what the broker accepts and reads nothing.
struct Peer {
    /// `None` once the broker refused or closed it.
    stream: Option<TcpStream>,
    rest: Vec<u8>,
}

impl Peer {
    fn connect(address: &str, bytes: &[u8]) -> Self {
        let mut hello = BytesMut::from(&MAGIC[..]);
        ClientFrame::Hello(Hello { version: 1, name: "hoard", token: b"" }).encode(&mut hello);
        let mut stream = TcpStream::connect(address).expect("the broker listens");
        stream.write_all(&hello).expect("the broker reads");
        let welcomed = matches!(stream.read(&mut [0]), Ok(1));
        stream.set_nonblocking(true).expect("it is a socket");
        Self { stream: welcomed.then_some(stream), rest: bytes.to_vec() }
    }

    fn send(&mut self) {
        while let Some(stream) = &mut self.stream
            && !self.rest.is_empty()
        {
            match stream.write(&self.rest) {
                Ok(count) => drop(self.rest.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.stream = None,
            }
        }
    }
}

/// All but the last byte of a frame of 1 MiB.
fn unfinished() -> Vec<u8> {
    let header = FrameHeader { body_len: 1 << 20, kind: PUBLISH }.to_bytes();
    let body = vec![0; (1 << 20) - 1];
    [&header[..], &body].concat()
}

/// Two publishes of 1 MB and the first byte of a third.
fn leftover() -> Vec<u8> {
    let mut record = Vec::new();
    Record { body: &vec![7; 1_000_000], ..Record::default() }.encode(&mut record);
    let publish = Publish {
        request: 0,
        ack: AckLevel::None,
        producer: None,
        topic: b"hoard",
        records: Records::from_encoded(1, &record),
    };
    let mut bytes = BytesMut::new();
    ClientFrame::Publish(publish).encode(&mut bytes);
    let mut bytes = bytes.repeat(2);
    bytes.push(5);
    bytes
}

fn descriptions() -> Vec<u8> {
    let mut bytes = BytesMut::new();
    ClientFrame::Describe(Describe { request: 1, subject: Subject::Broker }).encode(&mut bytes);
    bytes.repeat(40_000)
}

fn subscriptions() -> Vec<u8> {
    let mut bytes = BytesMut::new();
    ClientFrame::Subscribe(Subscribe {
        request: 1,
        subscription: 1,
        topic: b"hoard",
        start: Start::Latest,
        window: 1,
        window_bytes: 0,
        max_attempts: 0,
        dead_letter: b"",
        durable: None,
    })
    .encode(&mut bytes);
    ClientFrame::Unsubscribe(Unsubscribe { request: 2, subscription: 1 }).encode(&mut bytes);
    bytes.repeat(20_000)
}
