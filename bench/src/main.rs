//! Zaichik beside other brokers and beside a blind relay: throughput, latency, guarantees, footprint.
//!
//! `cargo run --release -p zaichik-bench` prints tables. All contenders have the same clients: plain threads with
//! blocking sockets that write what was encoded beforehand and count what comes. Figures of one run are compared with
//! those of the relay in the same run; across runs and machines they mean little.

#![expect(clippy::arithmetic_side_effects, reason = "a benchmark that overflows stops, as it should")]
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "clients and relay are plain threads"
)]
#![expect(clippy::indexing_slicing, reason = "a benchmark that is wrong stops, as it should")]
#![expect(clippy::cast_precision_loss, reason = "figures are shown with three or four digits")]
#![expect(clippy::wildcard_enum_match_arm, reason = "of a broker's frames a few may come, and no other")]
#![expect(clippy::print_stdout, reason = "this is what it is for")]

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
mod subscriber;
mod text;
mod wire;
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

/// Is the harness, or what the command line asks for instead.
fn run(cli: &Cli) -> Result<()> {
    match cli.command {
        Some(Command::Relay { port, copying }) => {
            let listener = TcpListener::bind(("127.0.0.1", port)).context("listening")?;
            println!("listening 127.0.0.1:{}", listener.local_addr()?.port());
            relay::serve(&listener, copying)
        }
        None if cli.options.list => {
            list();
            Ok(())
        }
        None => measure(&cli.options),
    }
}

/// Measures what is asked for and tells it.
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
            if matches!(group, "fan" | "latency") {
                print!("{}", text::table(&table, style));
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

/// Prints what reads better as one table than as many.
fn print_group(tables: &[Table], style: Style) {
    let about = match tables.first().map(|table| table.group) {
        Some("guarantees") => {
            "What guarantees cost, Zaichik alone: nothing that is stored, acknowledged and committed is comparable in \
             the other contenders' plain publish and subscribe."
        }
        Some("flat") => {
            "Whether a publish costs the same whatever else the broker has: acknowledged, 1,000 in flight, 128 bytes, topics \
             that keep everything."
        }
        Some("footprint") => "What a broker holds; a dash where there is no such thing.",
        _ => return,
    };
    println!("{about}\n");
    for figure in 0..3 {
        print!("{}", text::matrix(tables, figure, style).unwrap_or_default());
    }
}

/// Who takes part, and why others don't.
///
/// Whoever is asked for by name must be there, and so must Zaichik.
fn find_contenders(options: &Options, programs: &Programs) -> Result<(Vec<Contender>, Vec<String>)> {
    let (wanted, by_name) = options.contenders()?;
    let (mut there, mut missing) = (Vec::new(), Vec::new());
    for contender in wanted {
        match programs.find(contender) {
            Ok(_) => there.push(contender),
            Err(error) if by_name || contender.is_zaichik() => bail!("{error}"),
            Err(error) => missing.push(error.to_string()),
        }
    }
    Ok((there, missing))
}

/// Says which workloads and contenders there are.
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
