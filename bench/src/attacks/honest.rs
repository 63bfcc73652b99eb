//! An honest client beside an attack: it publishes, receives and commits one message after the other.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use zaichik_measure::Latencies;
use zaichik_proto::{
    AckLevel, ClientFrame, Commit, Counter, CounterValue, Describe, RefusalCode, ServerFrame, Subject,
};

use crate::attacks::frames;
use crate::attacks::signals::Signals;
use crate::dialect::zaichik::{Client, live_only, publish_records};

const TOPIC: &str = "honest";

/// Pause between two messages.
const PAUSE: Duration = Duration::from_millis(1);

/// How often it asks for the broker's counters.
const COUNTERS: Duration = Duration::from_millis(250);

/// Maximum time without bytes from the broker; then its connections count as lost.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum time until an attack is prepared.
const PREPARATION: Duration = Duration::from_mins(1);

/// Parts of the broker's memory.
const MEMORY: [Counter; 5] = [
    Counter::MemoryTopics,
    Counter::MemoryRetired,
    Counter::MemorySubscriptions,
    Counter::MemoryProducers,
    Counter::MemorySessions,
];

/// What it saw.
#[derive(Debug)]
pub(super) struct Seen {
    /// From the write of a publish to the answer to its commit, in microseconds.
    pub(super) latencies: Latencies,
    /// The highest memory that the broker reported, in bytes.
    pub(super) ledger: u64,
    pub(super) busy: u64,
    /// Publishes that were refused with another code.
    pub(super) refused: u64,
    /// How often it lost its connections.
    pub(super) lost: u64,
}

/// Its connections.
#[derive(Debug)]
struct Honest {
    publisher: Client,
    consumer: Client,
    publish: Vec<u8>,
}

/// Measures until the attack has been prepared for `duration`, and says that the measurement is over.
pub(super) fn measure(port: u16, duration: Duration, signals: &Signals) -> Result<Seen> {
    let latencies = Latencies::in_microseconds()?;
    let mut seen = Seen { latencies, ledger: 0, busy: 0, refused: 0, lost: 0 };
    let outcome = run(port, duration, signals, &mut seen);
    signals.over();
    outcome.map(|()| seen)
}

fn run(port: u16, duration: Duration, signals: &Signals, seen: &mut Seen) -> Result<()> {
    let begin = Instant::now();
    let (mut prepared_at, mut counted) = (None, begin);
    let mut honest = Honest::connect(port)?;
    loop {
        let now = Instant::now();
        if prepared_at.is_none() && signals.is_prepared() {
            prepared_at = Some(now);
        }
        if prepared_at.is_some_and(|at| now >= at + duration) {
            return Ok(());
        }
        if prepared_at.is_none() && now >= begin + PREPARATION {
            bail!("the attack is not prepared after {PREPARATION:?}");
        }
        let mut outcome = honest.exchange(seen);
        if outcome.is_ok() && now >= counted + COUNTERS {
            counted = now;
            outcome = honest.counters(seen);
        }
        if let Err(error) = outcome {
            eprintln!("the honest client lost its connections: {error:#}");
            seen.lost += 1;
            honest = Honest::connect(port).context("coming back after a lost connection")?;
        }
        thread::sleep(PAUSE);
    }
}

impl Honest {
    fn connect(port: u16) -> Result<Self> {
        let (mut publisher, mut consumer) = (Client::connect(port)?, Client::connect(port)?);
        publisher.set_read_timeout(READ_TIMEOUT)?;
        consumer.set_read_timeout(READ_TIMEOUT)?;
        publisher.create(TOPIC, live_only())?;
        consumer.subscribe(TOPIC, 1)?;
        let publish = publish_records(TOPIC, AckLevel::Accepted, 1, &[&[b'x'; 128]]);
        Ok(Self { publisher, consumer, publish })
    }

    /// Publishes a message, receives it and commits it.
    fn exchange(&mut self, seen: &mut Seen) -> Result<()> {
        let began = Instant::now();
        self.publisher.send(&self.publish)?;
        let mut refusal = None;
        let mut is_answered = false;
        while !is_answered {
            self.publisher.receive(|frame, out| {
                match frame {
                    ServerFrame::Acks(_) | ServerFrame::Published(_) => is_answered = true,
                    ServerFrame::Refused(refused) => {
                        (refusal, is_answered) = (Some(refused.refusal.code), true);
                    }
                    ServerFrame::Ping { nonce } => ClientFrame::Pong { nonce: *nonce }.encode(out),
                    frame => bail!("the broker sent {frame:?}"),
                }
                Ok(())
            })?;
        }
        match refusal {
            None => {}
            Some(RefusalCode::Busy) => seen.busy += 1,
            Some(_) => seen.refused += 1,
        }
        if refusal.is_none() {
            self.consume()?;
            seen.latencies.record(u64::try_from(began.elapsed().as_micros())?, 1);
        }
        Ok(())
    }

    fn consume(&mut self) -> Result<()> {
        let mut is_committed = false;
        while !is_committed {
            self.consumer.receive(|frame, out| {
                match frame {
                    ServerFrame::Delivery(delivery) => {
                        let (offset, rewind) = (delivery.first_offset, Some(delivery.rewind));
                        let commit = Commit { request: 2, subscription: 0, offset, rewind, quiet: false };
                        ClientFrame::Commit(commit).encode(out);
                    }
                    ServerFrame::Done(_) => is_committed = true,
                    ServerFrame::Ping { nonce } => ClientFrame::Pong { nonce: *nonce }.encode(out),
                    frame => bail!("the broker sent {frame:?}"),
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    fn counters(&mut self, seen: &mut Seen) -> Result<()> {
        let describe = Describe { request: 1, subject: Subject::Broker };
        self.publisher.send(&frames::encoded(&ClientFrame::Describe(describe)))?;
        let mut memory = None;
        while memory.is_none() {
            self.publisher.receive(|frame, out| {
                match frame {
                    ServerFrame::Counters(counters) => memory = Some(sum(counters.values.iter())),
                    ServerFrame::Ping { nonce } => ClientFrame::Pong { nonce: *nonce }.encode(out),
                    frame => bail!("the broker sent {frame:?}"),
                }
                Ok(())
            })?;
        }
        seen.ledger = seen.ledger.max(memory.unwrap_or_default());
        Ok(())
    }
}

/// All memory that the counters report.
fn sum(values: impl Iterator<Item = CounterValue>) -> u64 {
    values.filter(|value| MEMORY.contains(&value.counter)).map(|value| value.value).sum()
}
