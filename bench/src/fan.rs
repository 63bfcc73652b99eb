//! Throughput: publishers write messages encoded beforehand, subscribers count.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::contender::Contender;
use crate::count::Expected;
use crate::dialect::Block;
use crate::metric::{Sample, throughput};
use crate::process::Process;
use crate::publisher::{self, Publisher};
use crate::subscriber::{self, Progress, Reader};

/// Approximate bytes of one write of a publisher.
const WRITE: usize = 256 << 10;

const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A run without progress for this long has failed.
const STALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Topics, publishers and subscribers of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FanOut {
    /// Topics, each with one publisher.
    pub(crate) topics: u64,
    /// Subscribers of each topic.
    pub(crate) subscribers: u64,
    pub(crate) payload: usize,
}

impl FanOut {
    /// Deliveries of one message to each topic.
    pub(crate) const fn deliveries(self) -> u64 {
        self.topics * self.subscribers
    }
}

/// One run, in which each publisher publishes `messages`.
pub(crate) fn run(
    shape: FanOut,
    contender: Contender,
    broker: &mut Process,
    messages: u64,
) -> Result<Sample> {
    let dialect = contender.dialect()?;
    let mut blocks = Vec::new();
    let mut readers = Vec::new();
    let mut publishers = Vec::new();
    for topic in (0..shape.topics).map(|number| format!("t{number}")) {
        let block = Block::new(dialect, &topic, shape.payload, WRITE);
        let expected = Expected { messages, block: block.messages() };
        for _ in 0..shape.subscribers {
            let socket = dialect.subscribe(broker.port, &topic).context("a subscriber")?;
            readers.push(Reader::new(socket, dialect.counter(&topic, shape.payload, expected), messages)?);
        }
        publishers.push(Publisher::connect(dialect, broker.port, &topic)?);
        blocks.push(block);
    }
    let due = messages * shape.deliveries();
    let progress = Arc::new(Progress::default());
    let cpu = broker.cpu()?;
    let subscribers = subscriber::start(readers, &progress)?;
    // Gives subscribers time to block in their reads.
    thread::sleep(POLL_INTERVAL);
    let begin = Instant::now();
    let publishers: Vec<_> = publishers
        .into_iter()
        .zip(blocks)
        .map(|(publisher, block)| publisher::start(publisher, block, messages))
        .collect::<Result<_>>()?;
    let end = wait(&progress, due, &subscribers);
    let sample = if end == End::Complete { Some((broker.cpu()? - cpu, broker.peak_memory()?)) } else { None };
    if sample.is_none() {
        // Ends threads that are blocked on a socket.
        broker.kill();
    }
    let (mut last, mut failure) = (begin, None);
    for thread in subscribers {
        match thread.join().unwrap_or_else(|_| bail!("a subscriber panicked")) {
            Ok(moment) => last = last.max(moment),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    for thread in publishers {
        let outcome = thread.join().unwrap_or_else(|_| bail!("a publisher panicked"));
        failure = failure.or_else(|| outcome.err());
    }
    let missing = due - progress.received().min(due);
    let (cpu, memory) = match (sample, failure) {
        (Some(sample), None) => sample,
        _ if end == End::Stalled => {
            bail!("{missing} of {due} messages are missing, none arrived within {STALL_TIMEOUT:?}")
        }
        (_, Some(error)) => bail!("{missing} of {due} messages are missing; {error:#}"),
        (None, None) => bail!("{missing} of {due} messages are missing"),
    };
    let seconds = last.duration_since(begin).as_secs_f64();
    Ok(throughput(due, seconds, cpu, memory))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Complete,
    Failed,
    /// No message arrived within [`STALL_TIMEOUT`].
    Stalled,
}

fn wait(progress: &Progress, due: u64, subscribers: &[subscriber::Thread]) -> End {
    let mut seen = (0, Instant::now());
    loop {
        let got = progress.received();
        if progress.has_failed() {
            return End::Failed;
        }
        if got == due && subscribers.iter().all(subscriber::Thread::is_finished) {
            return End::Complete;
        }
        if seen.1.elapsed() > STALL_TIMEOUT {
            return End::Stalled;
        }
        if got != seen.0 {
            seen = (got, Instant::now());
        }
        thread::sleep(POLL_INTERVAL);
    }
}
