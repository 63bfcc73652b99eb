//! Compares the journal with a plain loop that writes the same bytes and syncs each time.
//!
//! ```sh
//! cargo run --release -p zaichik-store-journal --example throughput -- DIR [MESSAGES_A_COMMIT] [COMMITS]
//! ```
//!
//! Prints messages per second of both, the ratio, and how long it takes to open the journal again.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "measures the time that a file takes"
)]
#![expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "small numbers, and rates")]
#![expect(clippy::print_stdout, reason = "a command")]

use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use zaichik_store_journal::{Journal, Op, Options, StoreError};

/// The bytes of a record with 128 bytes of payload.
const RECORD: usize = 144;
/// Both take turns, so that both meet the same state of the disk.
const ROUNDS: usize = 10;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let path = args.next().ok_or("usage: throughput DIR [MESSAGES_A_COMMIT] [COMMITS]")?;
    let messages = args.next().map_or(Ok(1000), |arg| arg.parse())?;
    let commits: usize = args.next().map_or(Ok(5000), |arg| arg.parse())?;
    let path = Path::new(&path);
    let options = Options::new(0x5eed);
    let mut journal = Journal::open(&path.join("journal"), options)?;
    let mut plain = File::create(path.join("plain"))?;
    let records: Vec<u8> = (0..RECORD.saturating_mul(messages)).map(|at| (at % 251) as u8).collect();
    let row_bytes = records.len().saturating_add(43);
    let bytes = vec![7; row_bytes];
    let (mut times, mut start) = ([Vec::new(), Vec::new()], 0_u64);
    for _ in 0..ROUNDS {
        for _ in 0..commits / ROUNDS {
            let began = Instant::now();
            plain.write_all(&bytes)?;
            plain.sync_data()?;
            if let Some(times) = times.first_mut() {
                times.push(began.elapsed());
            }
        }
        for _ in 0..commits / ROUNDS {
            let mut key = vec![2, 0, 0, 0, 1];
            key.extend_from_slice(&start.to_be_bytes());
            start = start.saturating_add(messages as u64);
            let began = Instant::now();
            journal.commit(&[Op::Put { key: &key, head: &[], value: &[&[1; 30], &records] }])?;
            if let Some(times) = times.last_mut() {
                times.push(began.elapsed());
            }
            journal.tend(Duration::from_micros(start))?;
        }
    }
    let mut rates = Vec::new();
    for (what, times) in ["write and sync", "journal"].iter().zip(&mut times) {
        times.sort();
        let total: Duration = times.iter().sum();
        let rate = (messages as f64) * (times.len() as f64) / total.as_secs_f64();
        let at =
            |tenths: usize| times.get(times.len().saturating_mul(tenths) / 10).copied().unwrap_or_default();
        println!("{what:>14}: {rate:>10.0} messages/s, a commit p50 {:?} p90 {:?}", at(5), at(9));
        rates.push(rate);
    }
    println!("         ratio: {:.2}", rates.last().unwrap_or(&0.0) / rates.first().unwrap_or(&1.0));
    println!("{:?}", journal.info());
    drop(journal);
    let began = Instant::now();
    let mut journal = Journal::open(&path.join("journal"), options)?;
    let opened = began.elapsed();
    let mut total = 0_u64;
    journal.rows(|key, value| {
        total = total.saturating_add(key.len() as u64).saturating_add(value.len() as u64);
        Ok::<_, StoreError>(())
    })?;
    println!(
        "opened in {opened:?}; all {} MB of rows read {:?} after the start",
        total / 1_000_000,
        began.elapsed()
    );
    fs::remove_file(path.join("plain"))?;
    Ok(())
}
