//! Zaichik: a shared subscription, whose members acknowledge ranges of offsets.

use std::collections::VecDeque;
use std::net::TcpStream;

use anyhow::{Context, Result, bail, ensure};
use bytes::BytesMut;
use zaichik_proto::{Ack, AckLevel, ClientFrame, List, OffsetRange, ServerFrame};

use super::tally::Tally;
use super::{Member, WINDOW};
use crate::dialect::zaichik::{Client, live_only, publish_keyed, publish_records};
use crate::guarantees::{PAYLOAD, TOPIC, WRITE, acknowledged, connect};
use crate::payload;
use crate::storage::{Publisher, payloads};

/// A connection that publishes frames of one message.
#[derive(Debug)]
pub(super) struct FramePublisher {
    client: Client,
    writes: Vec<Vec<u8>>,
    next: usize,
}

/// A publisher of messages with these keys, repeatedly; without keys if there are none. The topic keeps each message until it
/// is acknowledged.
pub(super) fn publisher(port: u16, keys: &[u64]) -> Result<FramePublisher> {
    let mut client = connect(port)?;
    client.create(TOPIC, live_only())?;
    let payloads = payloads(WRITE.into());
    let one = |payload: &Vec<u8>| publish_records(TOPIC, AckLevel::Accepted, 1, &[payload]);
    let writes = if keys.is_empty() {
        vec![payloads.iter().flat_map(one).collect()]
    } else {
        ensure!(keys.len().is_multiple_of(payloads.len()), "the last write is not full");
        let keyed = |(payload, key): (&Vec<u8>, &u64)| publish_keyed(TOPIC, 1, &key.to_le_bytes(), payload);
        let writes = keys.chunks(payloads.len());
        writes.map(|keys| payloads.iter().zip(keys).flat_map(keyed).collect()).collect()
    };
    Ok(FramePublisher { client, writes, next: 0 })
}

impl Publisher for FramePublisher {
    fn burst(&self) -> u64 {
        WRITE.into()
    }

    fn write(&mut self) -> Result<()> {
        self.client.send(&self.writes[self.next])?;
        self.next = (self.next + 1) % self.writes.len();
        Ok(())
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

/// A member of the shared subscription.
#[derive(Debug)]
pub(super) struct Worker {
    client: Client,
    /// What arrived and is not acknowledged.
    ranges: Vec<OffsetRange>,
    /// The number of messages of each acknowledgement that is not answered.
    asked: VecDeque<u64>,
    encoded: Vec<u8>,
    output: BytesMut,
}

impl Worker {
    pub(super) fn join(port: u16, by_key: bool) -> Result<Self> {
        let mut client = connect(port)?;
        client.join(TOPIC, WINDOW, by_key)?;
        let (asked, output) = (VecDeque::new(), BytesMut::new());
        Ok(Self { client, ranges: Vec::new(), asked, encoded: Vec::new(), output })
    }

    /// Acknowledges everything that arrived, in one frame.
    fn acknowledge(&mut self) -> Result<()> {
        if self.ranges.is_empty() {
            return Ok(());
        }
        let count = self.ranges.iter().map(|range| u64::from(range.count)).sum();
        self.encoded.clear();
        let ranges = List::encode_into(&mut self.encoded, self.ranges.drain(..));
        let ack = Ack { request: 2, subscription: 0, rewind: 0, quiet: false, ranges };
        ClientFrame::Ack(ack).encode(&mut self.output);
        self.client.send(&self.output)?;
        self.output.clear();
        self.asked.push_back(count);
        Ok(())
    }
}

impl Member for Worker {
    fn work(&mut self, tally: &Tally) -> Result<u64> {
        let mut answered = 0;
        let Self { client, ranges, asked, .. } = self;
        client.receive(|frame, _| {
            match frame {
                ServerFrame::Delivery(delivery) => {
                    let (first, count) = (delivery.first_offset, delivery.records.len());
                    ensure!(delivery.attempt == 1, "message {first} was handed out again");
                    tally.got(first, count.into())?;
                    let record = delivery.records.iter().next().context("a delivery without a record")?;
                    // Every write repeats the first block.
                    let block = WRITE.into();
                    payload::check(record.body(), first % block, block)?;
                    ensure!(record.body().len() == PAYLOAD, "message {first} has another size");
                    ranges.push(OffsetRange { first, count });
                }
                ServerFrame::Acked(acked) => {
                    ensure!(acked.not_held.is_empty(), "the broker sent {acked:?}");
                    answered += asked.pop_front().context("an answer to nothing")?;
                }
                ServerFrame::Ping { .. } => {}
                frame => bail!("the broker sent {frame:?}"),
            }
            Ok(())
        })?;
        self.acknowledge()?;
        Ok(answered)
    }

    fn socket(&self) -> &TcpStream {
        self.client.socket()
    }
}
