//! Latency: of one message at a time, and at a fixed rate.

use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use zaichik_measure::{Latencies, Schedule, sleep_exactly};

use crate::contender::Contender;
use crate::count::Expected;
use crate::dialect::Block;
use crate::metric::{Metric, Sample};
use crate::process::Process;
use crate::publisher::Publisher;
use crate::subscriber::Reader;

const PAYLOAD: usize = 128;

const TOPIC: &str = "t0";

/// Messages before the measured ones.
const WARM_UP: u64 = 500;

/// Messages per second of the open loop.
const RATE: u64 = 20_000;

/// Bytes of a block: no write of the open loop is larger.
const BLOCK: usize = 64 << 10;

const BUFFER: usize = 256 << 10;

/// Maximum time without bytes from the broker.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Closed loop: each message is sent when the previous one has arrived. One thread has both connections.
pub(crate) fn echo(contender: Contender, broker: &mut Process, duration: Duration) -> Result<Sample> {
    let dialect = contender.dialect()?;
    let mut block = Block::new(dialect, TOPIC, PAYLOAD, BLOCK);
    let expected = Expected { messages: u64::MAX, block: block.messages() };
    let socket = dialect.subscribe(broker.port, TOPIC).context("the subscriber")?;
    socket.set_read_timeout(Some(READ_TIMEOUT))?;
    let mut reader = Reader::new(socket, dialect.counter(TOPIC, PAYLOAD, expected), u64::MAX)?;
    let mut publisher = dialect.publisher(broker.port, TOPIC).context("the publisher")?;
    // The size of the answer to a publish that reached one subscriber.
    let answer: &mut [u8] = if dialect.answers() { &mut [0; 4] } else { &mut [] };
    let mut buffer = vec![0; BUFFER];
    let mut latencies = Latencies::in_nanoseconds()?;
    let (mut sent, mut cpu, mut begin) = (0, 0.0, Instant::now());
    while sent < WARM_UP || begin.elapsed() < duration {
        if sent == WARM_UP {
            (cpu, begin) = (broker.cpu()?, Instant::now());
        }
        let (bytes, count) = block.publishes(sent, 1);
        let written = Instant::now();
        publisher.write_all(bytes).context("the publisher cannot write")?;
        let mut got = 0;
        while got < count {
            got += reader.read(&mut buffer)?;
        }
        if sent >= WARM_UP {
            record(&mut latencies, written.elapsed())?;
        }
        publisher.read_exact(answer).context("the publisher's answer")?;
        sent += 1;
    }
    Ok(sample(&latencies, broker.cpu()? - cpu))
}

/// Open loop: messages are due at fixed moments, and latencies start when messages are due, whatever delays them.
pub(crate) fn rate(contender: Contender, broker: &mut Process, duration: Duration) -> Result<Sample> {
    let messages = RATE * u64::try_from(duration.as_millis())? / 1_000;
    let dialect = contender.dialect()?;
    let block = Block::new(dialect, TOPIC, PAYLOAD, BLOCK);
    let expected = Expected { messages, block: block.messages() };
    let socket = dialect.subscribe(broker.port, TOPIC).context("the subscriber")?;
    socket.set_read_timeout(Some(READ_TIMEOUT))?;
    let mut reader = Reader::new(socket, dialect.counter(TOPIC, PAYLOAD, expected), messages)?;
    let publisher = Publisher::connect(dialect, broker.port, TOPIC)?;
    let cpu = broker.cpu()?;
    let begin = Instant::now() + Duration::from_millis(20);
    let publishing = thread::Builder::new().name("publisher".to_owned());
    let publishing = publishing
        .spawn(move || write_at_rate(publisher, block, messages, begin))
        .context("the publisher")?;
    let mut latencies = Latencies::in_nanoseconds()?;
    let mut buffer = vec![0; BUFFER];
    let schedule = Schedule::new(RATE, 1, 0);
    let mut got = 0;
    while got < messages {
        let count =
            reader.read(&mut buffer).with_context(|| format!("{got} of {messages} messages arrived"))?;
        let now = Instant::now();
        for message in got..got + count {
            record(&mut latencies, now.saturating_duration_since(begin + schedule.due(message)))?;
        }
        got += count;
    }
    let sample = sample(&latencies, broker.cpu()? - cpu);
    let publisher = publishing.join().unwrap_or_else(|_| bail!("the publisher panicked"))?;
    drop(publisher);
    Ok(sample)
}

fn write_at_rate(publisher: Publisher, mut block: Block, messages: u64, begin: Instant) -> Result<Publisher> {
    sleep_exactly();
    let schedule = Schedule::new(RATE, 1, 0);
    let mut sent = 0;
    while sent < messages {
        let now = Instant::now();
        let next = begin + schedule.due(sent);
        if next > now {
            thread::sleep(next - now);
            continue;
        }
        let owed = (now - begin).as_nanos() * u128::from(RATE) / 1_000_000_000 + 1;
        let owed = u64::try_from(owed)?.min(messages) - sent;
        ensure!(owed > 0, "no message is due");
        let (bytes, count) = block.publishes(sent, owed);
        publisher.write(bytes)?;
        sent += count;
    }
    Ok(publisher)
}

fn record(latencies: &mut Latencies, latency: Duration) -> Result<()> {
    latencies.record(u64::try_from(latency.as_nanos())?, 1);
    Ok(())
}

fn sample(latencies: &Latencies, cpu: f64) -> Sample {
    let micros = |quantile| latencies.quantile(quantile) as f64 / 1_000.0;
    let millions = latencies.count() as f64 / 1e6;
    Sample::from([
        (Metric::P50, micros(0.5)),
        (Metric::P99, micros(0.99)),
        (Metric::P999, micros(0.999)),
        (Metric::CpuPerMillion, cpu / millions),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_in_microseconds() {
        let mut latencies = Latencies::in_nanoseconds().unwrap();
        for _ in 0..99 {
            record(&mut latencies, Duration::from_micros(10)).unwrap();
        }
        record(&mut latencies, Duration::from_millis(1)).unwrap();
        let sample = sample(&latencies, 1.0);
        assert!((sample[&Metric::P50] - 10.0).abs() < 0.1);
        assert!((sample[&Metric::P999] - 1_000.0).abs() < 1.0);
        assert!((sample[&Metric::CpuPerMillion] - 10_000.0).abs() < 0.1);
    }
}
