//! Subscribers that never read do not make a broker exceed its memory budget.

#![expect(clippy::disallowed_types, reason = "peers that never read need no runtime")]

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use crate::messages::next_message;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use zaichik_driver::{BrokerConfig, Client, ClientError, Runtime, Server, TopicOptions};
use zaichik_proto::{ClientFrame, Hello, MAGIC, Start, Subscribe};

/// Number of subscribers that never read.
const SUBSCRIBERS: usize = 1_000;

/// Memory budget of the broker, in bytes.
const BUDGET: u64 = 16 << 20;

/// Maximum heap bytes that are not the broker's: the test's connections, the runtime, the allocator's rounding.
const SLACK: usize = 8 << 20;

/// Messages to publish: several times the budget.
const MESSAGES: u64 = 1_500;
const BODY: usize = 64 << 10;

/// Publishes to subscribers that never read and to one that does, and compares the heap bytes that `heap` reports with
/// the budget. It blocks its thread, so the broker needs another one.
///
/// Nothing else may run in the process.
pub async fn s9_a_thousand_frozen_subscribers_stay_within_the_budget<R: Runtime>(heap: impl Fn() -> usize) {
    let mut config = BrokerConfig::default();
    config.memory = BUDGET;
    // Longer than the test, so that no connection is closed for being slow.
    config.write_timeout = Duration::from_hours(1);
    let before = heap();
    let server = Server::<R>::bind("127.0.0.1:0", config).await.expect("a free port");
    let (address, handle) = (server.local_addr().to_string(), server.broker().handle());
    R::spawn(async move { server.serve().await.expect("an orderly end") });
    let writer = Client::<R>::connect(&address).await.expect("the broker listens");
    let options = TopicOptions::new().retain_forever().max_bytes(4 << 20);
    writer.create_topic("flood", options).await.expect("created");
    let mut frozen = Vec::new();
    for _ in 0..subscribers() {
        frozen.push(subscribe(&address));
    }
    let reader = Client::<R>::connect(&address).await.expect("the broker listens");
    let mut honest = reader.subscribe("flood").window(16).await.expect("subscribed");
    let mut highest = 0;
    for number in 0..MESSAGES {
        let receipt = writer.publish("flood", vec![7; BODY]).await.expect("accepted, perhaps after retries");
        assert_eq!(receipt.offset(0), Some(number));
        highest = highest.max(heap().saturating_sub(before));
        // The subscriber that reads gets every message.
        let message = next_message(&mut honest).await;
        assert_eq!(message.offset, number);
        message.commit().await.expect("committed");
    }
    let allowed = usize::try_from(BUDGET).expect("it fits").saturating_add(SLACK);
    assert!(highest <= allowed, "the heap grew by {highest} bytes, {allowed} are allowed");
    let unused = writer.ping().await;
    assert!(!matches!(unused, Err(ClientError::Ended(_))), "{unused:?}");
    drop(frozen);
    handle.shutdown(Duration::ZERO);
}

/// A raw connection that subscribes without a window and never reads.
fn subscribe(address: &str) -> TcpStream {
    let mut bytes = bytes::BytesMut::from(&MAGIC[..]);
    ClientFrame::Hello(Hello { version: 1, name: "frozen", token: b"" }).encode(&mut bytes);
    let mut stream = TcpStream::connect(address).expect("the broker listens");
    stream.write_all(&bytes).expect("the broker reads");
    bytes.clear();
    // Nothing may be sent before the Welcome. Peeking waits for its first byte without reading it.
    stream.peek(&mut [0]).expect("a Welcome");
    ClientFrame::Subscribe(Subscribe {
        request: 1,
        subscription: 1,
        topic: b"flood",
        start: Start::Earliest,
        window: 0,
        window_bytes: 0,
        max_attempts: 0,
        dead_letter: b"",
        durable: None,
    })
    .encode(&mut bytes);
    stream.write_all(&bytes).expect("the broker reads");
    stream
}

/// The number of subscribers: a thousand, or fewer if the system does not allow two descriptors for each.
fn subscribers() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    let descriptors = current.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    (descriptors.saturating_sub(100) / 2).min(SUBSCRIBERS)
}
