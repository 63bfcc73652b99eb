//! The cost of Zaichik's guarantees: acknowledged publishing, and consuming with commits.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use zaichik_proto::{AckLevel, ClientFrame, Commit, Delivery, ServerFrame};

use crate::dialect::zaichik::{Client, live_only, publish_records, retained};
use crate::metric::{Sample, throughput};
use crate::payload;
use crate::process::Process;

pub(crate) const TOPIC: &str = "t0";

pub(crate) const PAYLOAD: usize = 128;

/// Maximum messages of one write.
pub(crate) const WRITE: u32 = 200;

/// Maximum time without bytes from the broker.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Publishing {
    /// Maximum unacknowledged frames.
    pub(crate) in_flight: u32,
    pub(crate) frame: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guarantee {
    /// Publishing until everything is acknowledged; the topic keeps the messages.
    Acknowledged(Publishing),
    /// The same while a consumer receives and commits everything, until its last commit is answered.
    Consumed { publishing: Publishing, window: u32 },
    /// Receiving and committing the messages stored in a topic, until the last commit is answered.
    Backlog { window: u32 },
}

/// One run. The number of messages is rounded up, so that all writes are full.
pub(crate) fn run(guarantee: Guarantee, broker: &Process, messages: u64) -> Result<Sample> {
    let messages = messages.next_multiple_of(u64::from(WRITE));
    let mut publisher = connect(broker.port)?;
    let fast = Publishing { in_flight: 100, frame: 100 };
    let (cpu, begin) = match guarantee {
        Guarantee::Acknowledged(publishing) => {
            publisher.create(TOPIC, retained())?;
            let before = (broker.cpu()?, Instant::now());
            publish(&mut publisher, publishing, messages)?;
            before
        }
        Guarantee::Consumed { publishing, window } => {
            publisher.create(TOPIC, live_only())?;
            let mut consumer = connect(broker.port)?;
            consumer.subscribe(TOPIC, window)?;
            let before = (broker.cpu()?, Instant::now());
            let thread = thread::Builder::new().name("consumer".to_owned());
            let burst = publishing.write();
            let thread =
                thread.spawn(move || consume(&mut consumer, messages, burst)).context("a consumer")?;
            let outcome = publish(&mut publisher, publishing, messages);
            thread.join().unwrap_or_else(|_| bail!("the consumer panicked"))?;
            outcome?;
            before
        }
        Guarantee::Backlog { window } => {
            publisher.create(TOPIC, retained())?;
            publish(&mut publisher, fast, messages)?;
            let mut consumer = connect(broker.port)?;
            let before = (broker.cpu()?, Instant::now());
            consumer.subscribe(TOPIC, window)?;
            consume(&mut consumer, messages, fast.write())?;
            before
        }
    };
    let seconds = begin.elapsed().as_secs_f64();
    Ok(throughput(messages, seconds, broker.cpu()? - cpu, broker.peak_memory()?))
}

/// Stores messages, in large frames.
pub(crate) fn store(port: u16, messages: u64) -> Result<()> {
    let mut publisher = connect(port)?;
    publisher.create(TOPIC, retained())?;
    publish(&mut publisher, Publishing { in_flight: 100, frame: 100 }, messages)
}

impl Publishing {
    /// Messages of one write.
    const fn write(self) -> u32 {
        let max = self.in_flight.saturating_mul(self.frame);
        if max < WRITE { max } else { WRITE }
    }

    /// The frames of one write; their messages are numbered.
    fn frames(self) -> Vec<u8> {
        let block = u64::from(self.write());
        let payloads: Vec<Vec<u8>> =
            (0..block).map(|message| payload::payload(message, block, PAYLOAD)).collect();
        let payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
        let frames = payloads.chunks(self.frame as usize).zip(1..);
        let encode = |(payloads, request)| publish_records(TOPIC, AckLevel::Accepted, request, payloads);
        frames.flat_map(encode).collect()
    }
}

pub(crate) fn connect(port: u16) -> Result<Client> {
    let client = Client::connect(port)?;
    client.set_read_timeout(READ_TIMEOUT)?;
    Ok(client)
}

/// Publishes `messages` messages, until all are acknowledged.
fn publish(client: &mut Client, publishing: Publishing, messages: u64) -> Result<()> {
    let write = u64::from(publishing.write());
    publish_frames(client, &[publishing.frames()], write, publishing, messages)
}

/// Publishes `messages` messages by repeating `writes` of `write` messages each, until all are acknowledged.
pub(crate) fn publish_frames(
    client: &mut Client,
    writes: &[Vec<u8>],
    write: u64,
    publishing: Publishing,
    messages: u64,
) -> Result<()> {
    let frame = u64::from(publishing.frame);
    let (mut sent, mut answered) = (0, 0);
    let mut turns = writes.iter().cycle();
    while answered < messages {
        while sent < messages && sent - answered + write <= u64::from(publishing.in_flight) * frame {
            client.send(turns.next().context("nothing to write")?)?;
            sent += write;
        }
        let answers = client.receive(|answer, _| {
            let requests = acknowledged(answer)?;
            answered += requests * frame;
            Ok(())
        });
        answers.with_context(|| format!("{answered} of {messages} publishes are acknowledged"))?;
    }
    Ok(())
}

/// The number of publishes that a frame acknowledges.
pub(crate) fn acknowledged(frame: &ServerFrame<'_>) -> Result<u64> {
    match frame {
        ServerFrame::Acks(acks) => Ok(acks.runs.iter().map(|run| u64::from(run.requests)).sum()),
        ServerFrame::Published(_) => Ok(1),
        ServerFrame::Ping { .. } => Ok(0),
        frame => bail!("the broker sent {frame:?}"),
    }
}

/// Receives `messages` messages and commits after each frame, until the last commit is answered.
fn consume(client: &mut Client, messages: u64, block: u32) -> Result<()> {
    let (mut next, mut is_done) = (0, false);
    while !is_done {
        let received = client.receive(|frame, out| {
            match frame {
                ServerFrame::Delivery(delivery) => {
                    next += check_delivery(delivery, next, u64::from(block))?;
                    let quiet = next < messages;
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
        received.with_context(|| format!("{next} of {messages} messages are consumed"))?;
    }
    ensure!(next == messages, "{next} of {messages} messages are consumed");
    Ok(())
}

/// Checks that a delivery continues the previous one; returns its number of messages.
fn check_delivery(delivery: &Delivery<'_>, next: u64, block: u64) -> Result<u64> {
    let first = delivery.first_offset;
    ensure!(first == next, "received offset {first} instead of {next}");
    let record = delivery.records.iter().next().context("a delivery without a record")?;
    // Every write repeats the first block.
    payload::check(record.body(), first % block, block)?;
    Ok(u64::from(delivery.records.len()))
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use zaichik_proto::{Records, ServerDecoder};

    use super::*;

    #[test]
    fn a_write_has_at_most_the_messages_that_may_be_in_flight() {
        let one = Publishing { in_flight: 1, frame: 1 };
        assert_eq!((one.write(), one.frames().len()), (1, 8 + 10 + 3 + 16 + PAYLOAD));
        let many = Publishing { in_flight: 1_000, frame: 100 };
        assert_eq!(many.frames().len(), 2 * (8 + 10 + 3 + 100 * (16 + PAYLOAD)));
    }

    #[test]
    fn a_delivery_out_of_order_is_an_error() {
        let mut record = Vec::new();
        let body = payload::payload(1, 200, PAYLOAD);
        zaichik_proto::Record { body: &body, ..Default::default() }.encode(&mut record);
        let records = Records::from_encoded(1, &record);
        let delivery = Delivery { subscription: 0, rewind: 0, attempt: 1, first_offset: 201, records };
        let mut wire = BytesMut::new();
        ServerFrame::Delivery(delivery).encode(&mut wire);
        let mut decoder = ServerDecoder::new(&zaichik_proto::Limits::default());
        let (frame, _) = decoder.decode(&wire).unwrap().unwrap();
        let ServerFrame::Delivery(delivery) = frame else { panic!("{frame:?}") };
        assert_eq!(check_delivery(&delivery, 201, 200).unwrap(), 1);
        assert!(check_delivery(&delivery, 200, 200).is_err());
        assert!(check_delivery(&delivery, 201, 199).is_err());
    }
}
