//! Messages that bear their numbers, published one after the other to a topic that keeps them, so that each has its number
//! as its offset.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::task::JoinHandle;
use zaichik_tokio::{Client, Start, TopicOptions};

use crate::messages::next_message;

/// The topic.
pub(crate) const TOPIC: &str = "t";

/// A topic that keeps the last few of the same messages, so that files are freed.
const SCRATCH: &str = "scratch";

/// Creates the topics.
pub(crate) async fn create_topics(client: &Client) {
    let options = TopicOptions::new().retain_forever().max_bytes(u64::MAX);
    client.create_topic(TOPIC, options).await.expect("created");
    client.create_topic(SCRATCH, options.max_bytes(64 << 10)).await.expect("created");
}

/// Publishes without a pause, over as many connections as it takes.
pub(crate) struct Publishing {
    acknowledged: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Publishing {
    /// Begins with the first message. Most bodies have this length, and some are so much longer that a file ends early.
    pub(crate) fn start(client: Client, len: usize) -> Self {
        let (acknowledged, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, over) = (Arc::clone(&acknowledged), Arc::clone(&is_over));
        let task = tokio::spawn(async move {
            for number in 0_u64.. {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                let is_long = matches!(number % 10, 7 | 9);
                let body = body(number, if is_long { len.saturating_mul(250) } else { len });
                client.publish(SCRATCH, body.clone()).no_ack().await.expect("the client is open");
                let receipt = client.publish(TOPIC, body).await.expect("acknowledged in the end");
                assert_eq!(receipt.offset(0), Some(number));
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { acknowledged, is_over, task }
    }

    /// How many messages were acknowledged.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Waits until so many more are.
    pub(crate) async fn continue_for(&self, more: u64) {
        let target = self.acknowledged().saturating_add(more);
        while self.acknowledged() < target {
            assert!(!self.task.is_finished(), "the publisher failed");
            tokio::task::yield_now().await;
        }
    }

    /// Waits for the last answer; returns how many messages were acknowledged.
    pub(crate) async fn finish(self) -> u64 {
        self.is_over.store(true, Ordering::Relaxed);
        self.task.await.expect("no panic");
        self.acknowledged.load(Ordering::Relaxed)
    }
}

/// A message's body.
pub(crate) fn body(number: u64, len: usize) -> Vec<u8> {
    let mut body = number.to_be_bytes().to_vec();
    body.resize(len.max(body.len()), b'x');
    body
}

/// Receives all messages, each of which is there once, and checks that there are so many.
pub(crate) async fn check(client: &Client, count: u64) {
    assert_eq!(received(client).await, count);
}

/// Receives all messages, each of which is there once; returns how many there are.
pub(crate) async fn received(client: &Client) -> u64 {
    let mut messages = client.subscribe(TOPIC).window(0).from(Start::Earliest).await.expect("subscribed");
    assert_eq!(messages.start(), 0);
    for number in 0..messages.end() {
        let message = next_message(&mut messages).await;
        assert_eq!((message.offset, &message.body[..8]), (number, &number.to_be_bytes()[..]));
    }
    messages.end()
}
