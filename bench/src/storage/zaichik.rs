//! Zaichik: acknowledged publishes, and a consumer with a durable subscription.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use zaichik_proto::{AckLevel, ClientFrame, Commit, ServerFrame};

use super::publisher::{Publisher, publish};
use crate::dialect::zaichik::{Client, publish_records, retained};
use crate::guarantees::{acknowledged, connect};

/// A connection that publishes frames of one message.
#[derive(Debug)]
pub(super) struct Zaichik {
    client: Client,
    frames: Vec<u8>,
    burst: u64,
}

impl Zaichik {
    /// Creates the topic, which keeps everything, unless it exists.
    pub(super) fn new(port: u16, topic: &str, payloads: &[Vec<u8>], level: AckLevel) -> Result<Self> {
        let mut client = connect(port)?;
        client.create(topic, retained())?;
        let frame = |(payload, request): (&Vec<u8>, u32)| publish_records(topic, level, request, &[payload]);
        let frames = payloads.iter().zip(1..).flat_map(frame).collect();
        Ok(Self { client, frames, burst: payloads.len() as u64 })
    }
}

impl Publisher for Zaichik {
    fn burst(&self) -> u64 {
        self.burst
    }

    fn write(&mut self) -> Result<()> {
        self.client.send(&self.frames)
    }

    fn read(&mut self) -> Result<u64> {
        let mut answered = 0;
        self.client.receive(|frame, _| {
            answered += acknowledged(frame)?;
            Ok(())
        })?;
        Ok(answered)
    }
}

/// A connection with a durable subscription to the topic.
#[derive(Debug)]
pub(super) struct Consumer(Client);

impl Consumer {
    pub(super) fn new(port: u16, topic: &str, window: u32) -> Result<Self> {
        let mut client = connect(port)?;
        client.create(topic, retained())?;
        client.subscribe_durable(topic, window, "consumer")?;
        Ok(Self(client))
    }

    /// Receives messages and commits after each frame, until the commit of the last one is answered.
    ///
    /// `total` becomes the number of messages before the last one is published; until then it is larger.
    pub(super) fn consume(&mut self, total: &AtomicU64) -> Result<()> {
        let (mut next, mut is_done) = (0, false);
        while !is_done {
            let received = self.0.receive(|frame, out| {
                match frame {
                    ServerFrame::Delivery(delivery) => {
                        let first = delivery.first_offset;
                        ensure!(first == next, "received offset {first} instead of {next}");
                        next += u64::from(delivery.records.len());
                        let quiet = next < total.load(Ordering::Acquire);
                        let commit =
                            Commit { request: 2, subscription: 0, offset: next - 1, rewind: Some(0), quiet };
                        ClientFrame::Commit(commit).encode(out);
                    }
                    ServerFrame::Done(_) => is_done = true,
                    ServerFrame::Ping { .. } => {}
                    frame => bail!("the broker sent {frame:?}"),
                }
                Ok(())
            });
            received.with_context(|| format!("{next} messages are consumed"))?;
        }
        Ok(())
    }
}

/// Publishes to a consumer, if there is one, until everything is acknowledged and the last commit is answered; returns the
/// number of messages.
pub(super) fn publish_and_consume(
    publisher: &mut dyn Publisher,
    consumer: Option<Consumer>,
    in_flight: u64,
    duration: Duration,
) -> Result<u64> {
    let total = AtomicU64::new(u64::MAX);
    thread::scope(|scope| {
        let consuming = consumer.map(|mut consumer| {
            scope.spawn({
                let total = &total;
                move || consumer.consume(total)
            })
        });
        let announce = |messages| total.store(messages, Ordering::Release);
        let messages = publish(publisher, in_flight, duration, announce)?;
        match consuming.map(thread::ScopedJoinHandle::join) {
            Some(Ok(outcome)) => outcome?,
            Some(Err(_)) => bail!("the consumer panicked"),
            None => {}
        }
        Ok(messages)
    })
}
