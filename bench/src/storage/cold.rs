//! Records that a broker with little memory reads back from its directory.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use zaichik_proto::ServerFrame;

use super::disk;
use super::series::Series;
use super::server::{Running, Server};
use crate::contender::Programs;
use crate::dialect::zaichik::Client;
use crate::guarantees::{self, TOPIC};
use crate::metric::{Metric, Sample};
use crate::process::TemporaryFolder;

/// Bytes of a message in the journal.
const STORED: f64 = 146.0;

/// Reads all messages of a directory through a broker that has them only there, and through one that has them in memory; beside
/// a loop that reads the files. The files are in the system's cache, or not.
pub(super) fn measure(
    gigabytes: f64,
    rounds: u32,
    programs: &Programs,
    folder: &TemporaryFolder,
) -> Result<Series> {
    let mut series = Series::default();
    let messages = messages(gigabytes);
    let in_memory = filled(Server::Zaichik, messages, programs, folder)?;
    let small = filled(Server::Small, messages, programs, folder)?;
    let bytes = journal_bytes(small.data())?;
    for round in 1..=rounds {
        let through = |broker: &Running| {
            let begin = Instant::now();
            Reader::new(broker.port())?.read(messages)?;
            Ok(rate(bytes, begin))
        };
        let files = || {
            let begin = Instant::now();
            Ok(rate(disk::read_all(small.data())?, begin))
        };
        // What a virtual machine's host has cached serves the second of them, so they take turns.
        let mut order = [false, true];
        if round % 2 == 0 {
            order.reverse();
        }
        for is_through in order {
            disk::forget(small.data())?;
            if is_through {
                series.add(("cold", "through the broker, not cached"), round, through(&small));
            } else {
                series.add(("read-cold", "read the files, not cached"), round, files());
            }
        }
        series.add(("read", "read the files, cached"), round, files());
        series.add(("cached", "through the broker, cached"), round, through(&small));
        series.add(("memory", "through a broker that has them in memory"), round, through(&in_memory));
    }
    Ok(series)
}

/// A broker that has stored this number of messages.
pub(super) fn filled(
    server: Server,
    messages: u64,
    programs: &Programs,
    folder: &TemporaryFolder,
) -> Result<Running> {
    let broker = Running::start(server, programs, folder)?;
    guarantees::store(broker.port(), messages)?;
    disk::settle(folder.path())?;
    Ok(broker)
}

/// The number of messages that take this space, in full writes.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast from floating point saturates"
)]
pub(super) fn messages(gigabytes: f64) -> u64 {
    ((gigabytes * 1e9 / STORED) as u64).next_multiple_of(u64::from(guarantees::WRITE))
}

/// Bytes of the segments.
fn journal_bytes(data: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(data).context("listing the directory")? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("segment-") {
            bytes += entry.metadata()?.len();
        }
    }
    Ok(bytes)
}

fn rate(bytes: u64, begin: Instant) -> Sample {
    Sample::from([(Metric::Megabytes, bytes as f64 / begin.elapsed().as_secs_f64() / 1e6)])
}

/// A connection that receives the topic from its beginning.
#[derive(Debug)]
pub(super) struct Reader {
    client: Client,
    pub(super) next: u64,
}

impl Reader {
    pub(super) fn new(port: u16) -> Result<Self> {
        let mut client = guarantees::connect(port)?;
        client.subscribe(TOPIC, 0)?;
        Ok(Self { client, next: 0 })
    }

    fn read(mut self, messages: u64) -> Result<()> {
        while self.next < messages {
            self.receive()?;
        }
        Ok(())
    }

    /// Receives some messages.
    pub(super) fn receive(&mut self) -> Result<()> {
        let next = &mut self.next;
        self.client.receive(|frame, _| {
            if let ServerFrame::Delivery(delivery) = frame {
                let first = delivery.first_offset;
                ensure!(first == *next, "received offset {first} instead of {next}");
                *next += u64::from(delivery.records.len());
            }
            Ok(())
        })
    }
}
