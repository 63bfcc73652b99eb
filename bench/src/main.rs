//! Compares Zaichik with other brokers and with a blind relay: throughput, latency, cost of guarantees, footprint.
//!
//! `cargo run --release -p zaichik-bench` prints tables. All contenders have the same clients: plain threads with
//! blocking sockets that write messages encoded beforehand and count the messages they read. Compare figures with those
//! of the relay in the same run; across runs and machines they mean little.

#![expect(clippy::arithmetic_side_effects, reason = "a benchmark that overflows must stop")]
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "clients and the relay are plain threads"
)]
#![expect(clippy::indexing_slicing, reason = "a benchmark with a bug must stop")]
#![expect(clippy::cast_precision_loss, reason = "figures are shown with three or four digits")]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a client expects few of a broker's frames and rejects all others"
)]
#![expect(clippy::print_stdout, reason = "it prints its results")]

mod attacks;
mod contender;
mod count;
mod dialect;
mod environment;
mod fan;
mod flat;
mod footprint;
mod guarantees;
mod latency;
mod metric;
mod options;
mod payload;
mod plot;
mod process;
mod publisher;
mod relay;
mod report;
mod runner;
mod storage;
mod subscriber;
mod text;
mod wire;
mod workers;
mod workload;

use std::fs;
use std::net::TcpListener;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;

use crate::contender::{Contender, Programs};
use crate::environment::Environment;
use crate::options::{Cli, Command, Options};
use crate::process::TemporaryFolder;
use crate::report::{ContenderInfo, Report, Table};
use crate::runner::Runner;
use crate::text::Style;

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("zaichik-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the subcommand, or the harness without one.
fn run(cli: &Cli) -> Result<()> {
    match &cli.command {
        Some(Command::Relay { port, copying }) => {
            let listener = TcpListener::bind(("127.0.0.1", *port)).context("listening")?;
            println!("listening 127.0.0.1:{}", listener.local_addr()?.port());
            relay::serve(&listener, *copying)
        }
        Some(Command::Attacks(options)) => attacks::run(options),
        Some(Command::Storage(options)) => storage::run(options),
        None if cli.options.list => {
            list();
            Ok(())
        }
        None => measure(&cli.options),
    }
}

/// Measures the requested workloads and prints the results.
fn measure(options: &Options) -> Result<()> {
    let workloads = options.workloads()?;
    let programs = Programs::new(options.zaichik.clone(), options.zaichik_async_std.clone())?;
    let (contenders, missing) = find_contenders(options, &programs)?;
    let descriptors = process::raise_descriptors();
    let environment = Environment::detect(options.rounds(), options.quick);
    let infos = contenders.iter().map(|contender| ContenderInfo::new(*contender, &programs));
    let contender = infos.collect::<Result<_>>()?;
    let mut report = Report { environment, contenders: contender, missing, tables: Vec::new() };
    let style = if options.markdown { Style::Markdown } else { Style::Terminal };
    print!("{}", text::preamble(&report, style));
    let runner = Runner {
        programs,
        folder: TemporaryFolder::new()?,
        rounds: options.rounds(),
        length: runner::length(options.quick, descriptors),
        scale: options.messages_scale,
    };
    for group in workloads.chunk_by(|a, b| a.kind.group() == b.kind.group()) {
        let first = report.tables.len();
        for workload in group {
            let rows = runner.run(workload, &contenders);
            let (group, metrics) = (workload.kind.group(), workload.kind.metrics().to_vec());
            let table = Table { group, workload: workload.name, about: workload.about, metrics, rows };
            match group {
                "fan" | "latency" => print!("{}", text::table(&table, style)),
                "workers" => print!("{}", text::beside_peers(&table, style)),
                _ => {}
            }
            report.tables.push(table);
        }
        print_group(&report.tables[first..], style);
    }
    print!("{}", text::caveats(&report));
    if let Some(path) = &options.json {
        let json = serde_json::to_string_pretty(&report).context("writing JSON")?;
        fs::write(path, json + "\n").with_context(|| format!("writing {}", path.display()))?;
    }
    if let Some(path) = &options.plot {
        let plot = plot::svg(&report.tables);
        fs::write(path, plot).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// Prints workloads of a group in one table.
fn print_group(tables: &[Table], style: Style) {
    let about = match tables.first().map(|table| table.group) {
        Some("guarantees") => {
            "The cost of guarantees, Zaichik alone: the plain publish and subscribe of the other contenders stores, \
             acknowledges and commits nothing."
        }
        Some("flat") => {
            "Whether the cost of a publish depends on what else the broker holds: acknowledged, 1,000 in flight, 128 bytes, \
             topics that keep everything."
        }
        Some("footprint") => "Footprint; a dash where a contender has no such thing.",
        _ => return,
    };
    println!("{about}\n");
    for figure in 0..3 {
        print!("{}", text::matrix(tables, figure, style).unwrap_or_default());
    }
}

/// The contenders to measure, and why others are missing.
///
/// Contenders requested by name must be installed, and so must Zaichik.
fn find_contenders(options: &Options, programs: &Programs) -> Result<(Vec<Contender>, Vec<String>)> {
    let (wanted, by_name) = options.contenders()?;
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for contender in wanted {
        match programs.find(contender) {
            Ok(_) => found.push(contender),
            Err(error) if by_name || contender.is_zaichik() => bail!("{error}"),
            Err(error) => missing.push(error.to_string()),
        }
    }
    Ok((found, missing))
}

/// Prints workloads and contenders.
fn list() {
    println!("workloads:");
    for workload in workload::ALL {
        println!("  {:12} {:12} {}", workload.kind.group(), workload.name, workload.about);
    }
    println!("contenders:");
    for contender in Contender::ALL {
        println!("  {:24} {}", contender.name(), contender.title());
    }
}
