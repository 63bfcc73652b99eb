//! Publishing and consuming beside a reader of old records, which are in memory or only in the directory.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use zaichik_proto::AckLevel;

use super::cold::{Reader, filled};
use super::disk;
use super::publisher::Publisher;
use super::series::Series;
use super::server::{Running, Server, payloads};
use super::zaichik::{Consumer, Zaichik, publish_and_consume};
use crate::contender::Programs;
use crate::metric::{Metric, Sample, throughput};
use crate::process::TemporaryFolder;

/// The window of the consumer.
const WINDOW: u32 = 1_024;

/// A broker, and its rows: without a reader, and beside one.
type Kind = (Server, [(&'static str, &'static str); 2]);

const KINDS: [Kind; 2] = [
    (
        Server::Small,
        [
            ("alone", "publishing with a consumer, 64 MiB of memory"),
            ("beside", "beside a reader of what is only on disk"),
        ],
    ),
    (
        Server::Zaichik,
        [
            ("alone-memory", "publishing with a consumer, enough memory"),
            ("beside-memory", "beside a reader of what is in memory"),
        ],
    ),
];

pub(super) fn measure(
    messages: u64,
    in_flight: u64,
    duration: Duration,
    rounds: u32,
    programs: &Programs,
    folder: &TemporaryFolder,
) -> Result<Series> {
    let mut series = Series::default();
    for round in 1..=rounds {
        for (server, rows) in KINDS {
            let broker = filled(server, messages, programs, folder)?;
            let mut order = [(rows[0], false), (rows[1], true)];
            if round % 2 == 0 {
                order.reverse();
            }
            for ((name, title), has_reader) in order {
                disk::settle(folder.path())?;
                let sample = publish(&broker, name, in_flight, duration, has_reader.then_some(messages));
                series.add((name, title), round, sample);
            }
        }
    }
    Ok(series)
}

/// Publishes to a topic of its own, while all messages of another one are read again and again if there are any.
fn publish(
    broker: &Running,
    topic: &str,
    in_flight: u64,
    duration: Duration,
    read: Option<u64>,
) -> Result<Sample> {
    let port = broker.port();
    let burst = Server::Zaichik.burst(in_flight);
    let mut publisher = Zaichik::new(port, topic, &payloads(burst), AckLevel::Durable)?;
    let consumer = Consumer::new(port, topic, WINDOW)?;
    let is_over = AtomicBool::new(false);
    let (cpu, begin) = (broker.process.cpu()?, Instant::now());
    let (messages, seconds, read) = thread::scope(|scope| {
        let reading = scope.spawn(|| read.map_or(Ok(0), |messages| read_again(port, messages, &is_over)));
        let messages =
            publish_and_consume(&mut publisher as &mut dyn Publisher, Some(consumer), in_flight, duration);
        let seconds = begin.elapsed().as_secs_f64();
        is_over.store(true, Ordering::Relaxed);
        let read = reading.join().unwrap_or_else(|_| bail!("the reader panicked"))?;
        anyhow::Ok((messages?, seconds, read))
    })?;
    let cpu = broker.process.cpu()? - cpu;
    let mut sample = throughput(messages, seconds, cpu, broker.process.peak_memory()?);
    sample.insert(Metric::ReadBeside, read as f64 / seconds / 1e6);
    Ok(sample)
}

/// Reads the topic from its beginning to its end, again and again; returns how many messages.
fn read_again(port: u16, messages: u64, is_over: &AtomicBool) -> Result<u64> {
    let mut total = 0;
    loop {
        let mut reader = Reader::new(port)?;
        while reader.next < messages {
            if is_over.load(Ordering::Relaxed) {
                return Ok(total + reader.next);
            }
            reader.receive()?;
        }
        total += messages;
    }
}
