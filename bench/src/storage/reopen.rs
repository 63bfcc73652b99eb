//! How long a broker takes to open a directory of some gigabytes again.

use std::time::Instant;

use anyhow::Result;

use super::cold::messages;
use super::disk;
use super::series::Series;
use super::server::{Running, Server};
use crate::contender::Programs;
use crate::guarantees;
use crate::metric::{Metric, Sample};
use crate::process::TemporaryFolder;

/// Fills a directory, kills the broker, and opens the directory again, with the files in the system's cache and without.
///
/// Opened means that a client was welcomed. Beside it: a start on an empty directory, and a loop that reads the files.
pub(super) fn measure(
    gigabytes: f64,
    rounds: u32,
    programs: &Programs,
    folder: &TemporaryFolder,
) -> Result<Series> {
    let mut series = Series::default();
    let empty = Running::start(Server::Zaichik, programs, folder)?;
    let startup = millis(empty.process.startup.as_secs_f64());
    drop(empty);
    let mut broker = Running::start(Server::Zaichik, programs, folder)?;
    guarantees::store(broker.port(), messages(gigabytes))?;
    broker.kill();
    for round in 1..=rounds {
        series.add(("empty", "start on an empty directory"), round, Ok(startup.clone()));
        let begin = Instant::now();
        disk::read_all(broker.data())?;
        series.add(("read", "read the files, cached"), round, Ok(millis(begin.elapsed().as_secs_f64())));
        series.add(("killed", "open after a kill, cached"), round, open(&mut broker, programs, folder));
        broker.kill();
        disk::forget(broker.data())?;
        let begin = Instant::now();
        disk::read_all(broker.data())?;
        series.add(
            ("read-cold", "read the files, not cached"),
            round,
            Ok(millis(begin.elapsed().as_secs_f64())),
        );
        disk::forget(broker.data())?;
        series.add(
            ("killed-cold", "open after a kill, not cached"),
            round,
            open(&mut broker, programs, folder),
        );
        broker.kill();
    }
    Ok(series)
}

/// Starts a broker until it has welcomed a client.
fn open(broker: &mut Running, programs: &Programs, folder: &TemporaryFolder) -> Result<Sample> {
    let begin = Instant::now();
    broker.restart(programs, folder)?;
    guarantees::connect(broker.port())?;
    let mut sample = millis(begin.elapsed().as_secs_f64());
    sample.insert(Metric::PeakMemory, broker.process.peak_memory()?);
    Ok(sample)
}

fn millis(seconds: f64) -> Sample {
    Sample::from([(Metric::Startup, seconds * 1_000.0)])
}
