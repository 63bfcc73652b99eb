//! Attacks by one connection that waits for its answers: settings, keys and records that are much work.

use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};
use zaichik_proto::{AckLevel, AlterTopic, ClientFrame, CompactionMode, Record, ServerFrame, TopicOptions};

use crate::attacks::frames;
use crate::attacks::signals::Signals;
use crate::dialect::zaichik::{Client, live_only, retained};

/// Records of one publish.
const RECORDS: u32 = 5_000;

/// Records of [`stored`].
pub(super) const STORED: u32 = 4_000;

/// Parts of the log, of about 64 KiB, whose records die in [`holes`].
const HOLES: usize = 5_000;

/// Parts of the log between two records that live.
const LIVE: usize = 100;

/// Keys of [`alter`].
const KEYS: u32 = 500_000;

/// Bytes of the budget for each of these keys; a smaller budget has fewer keys.
const BYTES_PER_KEY: u64 = 400;

/// Records that one publish buries.
const BURIED: u32 = 1_000_000;

/// How long the records of a hole live.
const TTL: Duration = Duration::from_millis(50);

/// Pause after ten of them, so that they do not fill the memory.
const PAUSE: Duration = Duration::from_millis(5);

/// Payload of a large record.
const LARGE: usize = 60_000;

/// A topic that keeps [`STORED`] records.
pub(super) fn stored(client: &mut Client) -> Result<()> {
    client.create("stored", retained())?;
    publish(client, "stored", &vec![Record::default(); STORED as usize])
}

/// A topic with records that have died, in 5,000 parts of its log.
pub(super) fn holes(client: &mut Client) -> Result<()> {
    client.create("holes", retained())?;
    let live = Record { body: b"live", ..Record::default() };
    let ttl = u64::try_from(TTL.as_micros())?;
    let body = vec![b'z'; LARGE];
    let dying = Record { body: &body, ttl_micros: Some(ttl), ..Record::default() };
    for _ in 0..HOLES / LIVE {
        publish(client, "holes", &[live])?;
        for _ in 0..LIVE / 10 {
            publish(client, "holes", &[dying; 10])?;
            thread::sleep(PAUSE);
        }
    }
    thread::sleep(TTL + TTL);
    Ok(())
}

/// Fills a topic for slow readers, whose records die soon.
pub(super) fn feed(client: &mut Client, signals: &Signals) -> Result<()> {
    client.create("fed", retained().max_bytes(4 << 20))?;
    signals.prepared();
    let body = vec![b'z'; LARGE];
    while !signals.is_over() {
        publish(client, "fed", &[Record { body: &body, ..Record::default() }])?;
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Changes settings that kill the records of 500,000 keys, again and again: their window, and the number of records.
pub(super) fn alter(client: &mut Client, budget: u64, signals: &Signals) -> Result<()> {
    let keys = KEYS.min(u32::try_from(budget / BYTES_PER_KEY)?);
    let topic = "keys";
    let window = TopicOptions::new().compaction_window(Duration::MAX);
    client.create(topic, live_only().retain_forever().compaction(CompactionMode::Latest))?;
    let fill = |client: &mut Client| {
        (0..keys.div_ceil(RECORDS)).try_for_each(|part| {
            let keys: Vec<_> = (0..RECORDS).map(|index| (part * RECORDS + index).to_le_bytes()).collect();
            let record = |key| Record { key: Some(key), ..Record::default() };
            publish(client, topic, &keys.iter().map(|key| record(&key[..])).collect::<Vec<_>>())
        })
    };
    while !signals.is_over() {
        set(client, topic, window)?;
        fill(client)?;
        fill(client)?;
        signals.prepared();
        set(client, topic, TopicOptions::new().compaction_window(Duration::ZERO))?;
        set(client, topic, TopicOptions::new().max_messages(1))?;
        set(client, topic, TopicOptions::new().max_messages(u64::MAX))?;
    }
    Ok(())
}

/// Stores a record and a million superseded ones behind it; then a publish supersedes the first, again and again.
pub(super) fn bury(client: &mut Client, signals: &Signals) -> Result<()> {
    let topic = "buried";
    client.create(topic, live_only().retain_forever().compaction(CompactionMode::Latest))?;
    let first = Record { key: Some(b"first"), ..Record::default() };
    let others = vec![Record { key: Some(b"other"), ..Record::default() }; RECORDS as usize];
    while !signals.is_over() {
        publish(client, topic, &[first])?;
        for _ in 0..BURIED / RECORDS {
            publish(client, topic, &others)?;
        }
        signals.prepared();
    }
    Ok(())
}

/// Publishes records in one frame; a refusal is an answer as well.
fn publish(client: &mut Client, topic: &str, records: &[Record<'_>]) -> Result<()> {
    client.send(&frames::publish(topic, AckLevel::Accepted, records))?;
    answered(client)
}

fn set(client: &mut Client, topic: &str, options: TopicOptions) -> Result<()> {
    let alter = AlterTopic { request: 1, topic: topic.as_bytes(), options };
    client.send(&frames::encoded(&ClientFrame::AlterTopic(alter)))?;
    answered(client)
}

/// Waits for the answer to one request.
fn answered(client: &mut Client) -> Result<()> {
    let mut is_answered = false;
    while !is_answered {
        client.receive(|frame, out| {
            match frame {
                ServerFrame::Acks(_)
                | ServerFrame::Published(_)
                | ServerFrame::TopicReady(_)
                | ServerFrame::Done(_)
                | ServerFrame::Refused(_) => is_answered = true,
                ServerFrame::Ping { nonce } => ClientFrame::Pong { nonce: *nonce }.encode(out),
                frame => bail!("the broker sent {frame:?}"),
            }
            Ok(())
        })?;
    }
    Ok(())
}
