//! Publishing to a storage directory beside the disk itself and other servers that sync for each answer.
//!
//! `zaichik-bench storage` prints tables, and the targets with their figures. In each round every contender runs once, as
//! a new process on an empty directory, right after the other; ratios are taken within a round.

mod beside;
mod cold;
mod disk;
mod jetstream;
mod lines;
mod postgres;
mod publisher;
mod redis;
mod reopen;
mod series;
mod server;
mod targets;
mod zaichik;

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;

use crate::contender::Programs;
use crate::environment::Environment;
use crate::guarantees::TOPIC;
use crate::metric::{Metric, Sample, throughput};
use crate::options::StorageOptions;
use crate::process::TemporaryFolder;
use crate::report::{Report, Row, Table};
use crate::storage::disk::Place;
pub(crate) use crate::storage::jetstream::JetStream;
pub(crate) use crate::storage::publisher::Publisher;
use crate::storage::publisher::{one_at_a_time, publish_all};
pub(crate) use crate::storage::redis::Redis;
use crate::storage::series::Series;
pub(crate) use crate::storage::server::payloads;
use crate::storage::server::{Running, Server};
use crate::storage::targets::{Target, best_peer};
use crate::storage::zaichik::{Consumer, publish_and_consume};
use crate::text::{self, Style};

const WORKLOADS: [&str; 6] = ["durable", "consume", "one", "cold", "beside", "reopen"];

/// Messages in flight, of all connections.
const IN_FLIGHT: u64 = 1_000;

/// A server, and the number of connections that share what is in flight.
type Contender = (&'static str, &'static str, Server, u64);

const CONTENDERS: [Contender; 11] = [
    ("zaichik", "Zaichik, tokio", Server::Zaichik, 1),
    ("zaichik-8", "Zaichik, tokio, 8 connections", Server::Zaichik, 8),
    ("zaichik-async-std", "Zaichik, async-std", Server::ZaichikAsyncStd, 1),
    ("zaichik-memory", "Zaichik, memory only", Server::Memory, 1),
    ("zaichik-memory-8", "Zaichik, memory only, 8 connections", Server::Memory, 8),
    ("redis", "redis-server", Server::Redis, 1),
    ("redis-8", "redis-server, 8 connections", Server::Redis, 8),
    ("postgres", "PostgreSQL, batches of 1,000", Server::Postgres, 1),
    ("postgres-4", "PostgreSQL, 4 connections, batches of 250", Server::Postgres, 4),
    ("jetstream", "JetStream", Server::JetStream, 1),
    ("jetstream-8", "JetStream, 8 connections", Server::JetStream, 8),
];

/// The content of the JSON file.
#[derive(Debug, Serialize)]
struct StorageReport {
    #[serde(flatten)]
    report: Report,
    targets: Vec<Target>,
}

/// Measures the requested workloads and prints the results.
pub(crate) fn run(options: &StorageOptions) -> Result<()> {
    if let Some(name) = options.only.iter().find(|name| !WORKLOADS.contains(&name.as_str())) {
        bail!("unknown workload {name:?}; there are {}", WORKLOADS.join(", "));
    }
    let programs = Programs::new(options.zaichik.clone(), options.zaichik_async_std.clone())?;
    let (mut servers, mut missing) = (Vec::new(), Vec::new());
    for server in Server::ALL {
        match server.find(&programs) {
            Ok(_) => servers.push(server),
            Err(error) if !server.is_peer() => return Err(error),
            Err(error) => missing.push(format!("{error:#}")),
        }
    }
    let folder = match &options.dir {
        Some(dir) => TemporaryFolder::below(dir)?,
        None => TemporaryFolder::new()?,
    };
    let contenders = servers.iter().map(|server| server.info(&programs)).collect::<Result<_>>()?;
    let environment = Environment::detect(options.rounds, false);
    let mut report = Report { environment, contenders, missing, tables: Vec::new() };
    let style = if options.markdown { Style::Markdown } else { Style::Terminal };
    print!("{}", text::preamble(&report, style));
    let duration = Duration::try_from_secs_f64(options.seconds).context("--seconds")?;
    if let Some(name) =
        options.contenders.iter().find(|name| CONTENDERS.iter().all(|(known, ..)| known != name))
    {
        let known: Vec<_> = CONTENDERS.iter().map(|(known, ..)| *known).collect();
        bail!("unknown contender {name:?}; there are {}", known.join(", "));
    }
    let (wanted, rounds) = (options.contenders.clone(), options.rounds);
    let bench = Bench { programs, folder, servers, wanted, rounds, duration };
    for workload in WORKLOADS {
        if options.only.is_empty() || options.only.iter().any(|name| name == workload) {
            let table = bench.table(workload, options.gigabytes)?;
            print!("{}", text::compared(&table, &against(&table), None, style));
            report.tables.push(table);
        }
    }
    let targets = Target::all(&report.tables);
    println!("{}", targets::show(&targets, style));
    print!("{}", text::caveats(&report));
    if let Some(path) = &options.json {
        let json =
            serde_json::to_string_pretty(&StorageReport { report, targets }).context("writing JSON")?;
        fs::write(path, json + "\n").with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// The rows with which all rows of a table are compared.
fn against(table: &Table) -> Vec<(&'static str, &Row)> {
    let row = |name: &str| table.rows.iter().find(|row| row.contender == name && !row.samples().is_empty());
    let rows = match table.workload {
        "durable" => [("/ loop", row("loop")), ("/ best other server", best_peer(table))],
        "consume" => [("/ alone", row("alone")), ("", None)],
        "one" => [("/ sum", row("sum")), ("/ best other server", best_peer(table))],
        "cold" => [("/ files, not cached", row("read-cold")), ("/ in memory", row("memory"))],
        "beside" => [("/ alone", row("alone")), ("/ alone, enough memory", row("alone-memory"))],
        _ => [("/ reading, cached", row("read")), ("/ reading, not cached", row("read-cold"))],
    };
    rows.into_iter().filter_map(|(name, row)| Some((name, row?))).collect()
}

/// What writes and syncs commits of the size that arose.
const LOOPS: [(&str, &str, Place); 2] = [
    ("loop", "a loop that writes and syncs these commits", Place::End),
    ("loop-within", "the same over a file that was written before", Place::Within),
];

struct Bench {
    programs: Programs,
    folder: TemporaryFolder,
    /// Those that are installed.
    servers: Vec<Server>,
    /// Names of contenders; empty for all.
    wanted: Vec<String>,
    rounds: u32,
    duration: Duration,
}

impl Bench {
    fn table(&self, workload: &'static str, gigabytes: f64) -> Result<Table> {
        Ok(match workload {
            "durable" => {
                let metrics = [
                    Metric::Rate,
                    Metric::CpuPerMillion,
                    Metric::PeakMemory,
                    Metric::MessagesPerCommit,
                    Metric::BytesPerMessage,
                ];
                self.durable().table(
                    workload,
                    "publish, 1,000 in flight, 128 bytes, synced before the answer",
                    &metrics,
                )
            }
            "consume" => {
                let metrics = [Metric::Rate, Metric::CpuPerMillion, Metric::PeakMemory];
                let about = "publish, 1,000 in flight, to a durable subscription that commits everything";
                self.consume().table(workload, about, &metrics)
            }
            "one" => {
                let metrics = [Metric::P50, Metric::P99, Metric::P999];
                self.one()?.table(
                    workload,
                    "publish one message of 128 bytes at a time, until it is acknowledged",
                    &metrics,
                )
            }
            "cold" => {
                let about = "read all of a directory through a broker, from the first message on";
                let series = cold::measure(gigabytes, self.rounds, &self.programs, &self.folder)?;
                series.table(workload, about, &[Metric::Megabytes])
            }
            "beside" => {
                let metrics = [Metric::Rate, Metric::CpuPerMillion, Metric::PeakMemory, Metric::ReadBeside];
                let about = "publish, 1,000 in flight, to a durable subscription, while another topic is read from its \
                             first message on";
                let messages = cold::messages(gigabytes);
                let Self { programs, folder, rounds, duration, .. } = self;
                let series = beside::measure(messages, IN_FLIGHT, *duration, *rounds, programs, folder)?;
                series.table(workload, about, &metrics)
            }
            _ => {
                let metrics = [Metric::Startup, Metric::PeakMemory];
                let series = reopen::measure(gigabytes, self.rounds, &self.programs, &self.folder)?;
                series.table(
                    "reopen",
                    "start on a directory with messages of 128 bytes, until a client is welcomed",
                    &metrics,
                )
            }
        })
    }

    fn contenders(&self) -> impl Iterator<Item = Contender> {
        let is_wanted = |name: &str| self.wanted.is_empty() || self.wanted.iter().any(|one| one == name);
        CONTENDERS
            .into_iter()
            .filter(move |(name, _, server, _)| self.servers.contains(server) && is_wanted(name))
    }

    fn start(&self, server: Server) -> Result<Running> {
        Running::start(server, &self.programs, &self.folder)
    }

    fn durable(&self) -> Series {
        let mut series = Series::default();
        for round in 1..=self.rounds {
            for (name, title, server, connections) in self.contenders() {
                if series.has_failed(name) {
                    continue;
                }
                let sample = self.publish(server, connections);
                let sizes = sample.as_ref().ok().and_then(commit_sizes);
                series.add((name, title), round, sample);
                if let Some((messages, bytes)) = sizes.filter(|_| name == "zaichik") {
                    for (name, title, place) in LOOPS {
                        series.add((name, title), round, self.write_loop(place, messages, bytes));
                    }
                }
            }
        }
        series
    }

    /// Publishes as fast as a server takes it.
    fn publish(&self, server: Server, connections: u64) -> Result<Sample> {
        let running = self.start(server)?;
        let burst = server.burst(IN_FLIGHT / connections);
        let publishers = (0..connections).map(|_| server.publisher(running.port(), burst));
        let publishers = publishers.collect::<Result<Vec<_>>>()?;
        let watched = &running.process;
        let before = watched.cpu_with_children()?;
        // Connections end with the publishers, and with them the processes that a server may have for each.
        let (published, cpu) = thread::scope(|scope| {
            let publishing = scope.spawn(|| publish_all(publishers, IN_FLIGHT, self.duration));
            let mut cpu = before;
            while !publishing.is_finished() {
                cpu = watched.cpu_with_children()?.max(cpu);
                thread::sleep(Duration::from_millis(10));
            }
            let published = publishing.join().unwrap_or_else(|_| bail!("publishing panicked"))?;
            anyhow::Ok((published, cpu - before))
        })?;
        let memory = watched.peak_memory()?;
        let mut sample = throughput(published.messages, published.seconds, cpu, memory);
        if server.has_journal() {
            let (commits, bytes) = running.count_commits()?;
            ensure!(commits > 0, "there is no commit");
            sample.insert(Metric::MessagesPerCommit, published.messages as f64 / commits as f64);
            sample.insert(Metric::BytesPerMessage, bytes as f64 / published.messages as f64);
        }
        Ok(sample)
    }

    /// Commits of this number of messages, of this number of bytes each.
    fn write_loop(&self, place: Place, messages: f64, bytes: f64) -> Result<Sample> {
        let synced =
            disk::write_and_sync(self.folder.path(), place, bytes_of(messages * bytes), self.duration)?;
        Ok(Sample::from([
            (Metric::Rate, synced.commits as f64 * messages / synced.seconds / 1e6),
            (Metric::MessagesPerCommit, messages),
            (Metric::BytesPerMessage, bytes),
        ]))
    }

    fn consume(&self) -> Series {
        let mut series = Series::default();
        let kinds = [
            ("alone", "publishing alone", None),
            ("window-1024", "with a consumer, window 1,024", Some(1_024)),
            ("window-256", "with a consumer, window 256", Some(256)),
        ];
        for round in 1..=self.rounds {
            for (name, title, window) in kinds {
                if !series.has_failed(name) {
                    series.add((name, title), round, self.publish_consumed(window));
                }
            }
        }
        series
    }

    /// Publishes to a consumer, if it has a window, until everything is acknowledged and the last commit is answered.
    fn publish_consumed(&self, window: Option<u32>) -> Result<Sample> {
        let running = self.start(Server::Zaichik)?;
        let mut publisher = Server::Zaichik.publisher(running.port(), Server::Zaichik.burst(IN_FLIGHT))?;
        let consumer = window.map(|window| Consumer::new(running.port(), TOPIC, window)).transpose()?;
        let (cpu, begin) = (running.process.cpu()?, Instant::now());
        let messages = publish_and_consume(&mut *publisher, consumer, IN_FLIGHT, self.duration)?;
        let seconds = begin.elapsed().as_secs_f64();
        Ok(throughput(messages, seconds, running.process.cpu()? - cpu, running.process.peak_memory()?))
    }

    fn one(&self) -> Result<Series> {
        let mut series = Series::default();
        for round in 1..=self.rounds {
            let mut parts = Vec::new();
            for (name, title, server, connections) in self.contenders() {
                if connections > 1 || series.has_failed(name) {
                    continue;
                }
                let sample = self.publish_one_at_a_time(server);
                let sizes = sample.as_ref().ok().and_then(commit_sizes);
                if server == Server::Memory {
                    parts.extend(sample.as_ref().ok().and_then(|sample| sample.get(&Metric::P50).copied()));
                }
                series.add((name, title), round, sample);
                if let Some((messages, bytes)) = sizes.filter(|_| name == "zaichik") {
                    let sync = |place| {
                        let bytes = bytes_of(messages * bytes);
                        let synced = disk::write_and_sync(self.folder.path(), place, bytes, self.duration)?;
                        anyhow::Ok(quantiles(&synced.latencies))
                    };
                    let sample = sync(Place::End)?;
                    parts.extend(sample.get(&Metric::P50).copied());
                    series.add(("sync", "write and sync such a commit"), round, Ok(sample));
                    let title = "the same over a file that was written before";
                    series.add(("sync-within", title), round, sync(Place::Within));
                }
            }
            if let [sync, memory] = parts[..] {
                let sum = Sample::from([(Metric::P50, sync + memory)]);
                series.add(("sum", "sum of the sync and memory only"), round, Ok(sum));
            }
        }
        Ok(series)
    }

    fn publish_one_at_a_time(&self, server: Server) -> Result<Sample> {
        let running = self.start(server)?;
        let mut publisher = server.publisher(running.port(), server.burst(1))?;
        let latencies = one_at_a_time(&mut *publisher, self.duration)?;
        let mut sample = quantiles(&latencies);
        if server.has_journal() {
            let (commits, bytes) = running.count_commits()?;
            sample.insert(Metric::MessagesPerCommit, latencies.count() as f64 / commits.max(1) as f64);
            sample.insert(Metric::BytesPerMessage, bytes as f64 / latencies.count().max(1) as f64);
        }
        Ok(sample)
    }
}

/// Messages of a commit, and bytes of a message.
fn commit_sizes(sample: &Sample) -> Option<(f64, f64)> {
    Some((*sample.get(&Metric::MessagesPerCommit)?, *sample.get(&Metric::BytesPerMessage)?))
}

/// In microseconds.
fn quantiles(latencies: &zaichik_measure::Latencies) -> Sample {
    let micros = |quantile| latencies.quantile(quantile) as f64 / 1_000.0;
    Sample::from([(Metric::P50, micros(0.5)), (Metric::P99, micros(0.99)), (Metric::P999, micros(0.999))])
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast from floating point saturates"
)]
fn bytes_of(bytes: f64) -> usize {
    (bytes.round() as usize).max(1)
}
