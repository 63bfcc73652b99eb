//! Runs seeds of the simulator: one, a range, or as many as possible in a time.

#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use zaichik_fuzz::sim::{Defect, FAULT_CLASSES, Report, Setup, report_panics, run, shrink, twin};

const USAGE: &str = "simulate --seed S | --seeds A..[B] | --for SECONDSs | --shrink S
  --twins          Compare each seed with and without its attackers instead
  --events N       Number of events in the first phase, instead of the drawn one
  --without CLASS  Leave out a class of faults, or a client; may be repeated
  --plant DEFECT   Plant a defect in the broker, as fuzz/tests/planted.rs does
  --stored         Give every broker a store
  --all            Continue after a failure, and print one line for each
  --trace          Print each event";

fn main() -> ExitCode {
    match Options::parse(std::env::args().skip(1)) {
        Ok(options) => simulate(&options),
        Err(error) => {
            eprintln!("{error}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

#[derive(Default)]
struct Options {
    first: u64,
    end: u64,
    seconds: Option<u64>,
    all: bool,
    twins: bool,
    shrinks: bool,
    setup: Setup,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self { end: u64::MAX, ..Self::default() };
        let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{text}: {error}"));
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--twins" => options.twins = true,
                "--seed" | "--shrink" => {
                    options.shrinks = arg == "--shrink";
                    options.first = number(&value()?)?;
                    options.end = options.first.saturating_add(1);
                }
                "--seeds" => {
                    let range = value()?;
                    let (first, end) = range.split_once("..").ok_or("--seeds needs A..B")?;
                    options.first = number(first)?;
                    options.end = if end.is_empty() { u64::MAX } else { number(end)? };
                }
                "--for" => options.seconds = Some(number(value()?.trim_end_matches('s'))?),
                "--events" => options.setup.events = usize::try_from(number(&value()?)?).ok(),
                "--without" => {
                    let class = value()?;
                    if !FAULT_CLASSES.contains(&&*class) && !class.starts_with("client-") {
                        let known = FAULT_CLASSES.join(" ");
                        return Err(format!(
                            "{class} is not a class of faults; use one of {known}, or client-N"
                        ));
                    }
                    options.setup.without.push(class);
                }
                "--plant" => {
                    let name = value()?;
                    let found = Defect::ALL.iter().find(|defect| format!("{defect:?}") == name);
                    options.setup.defect = Some(*found.ok_or_else(|| format!("{name} is not a defect"))?);
                }
                "--all" => options.all = true,
                "--stored" => options.setup.has_store = true,
                "--trace" => options.setup.prints_events = true,
                _ => return Err(format!("unknown option {arg}")),
            }
        }
        Ok(options)
    }
}

fn simulate(options: &Options) -> ExitCode {
    report_panics();
    if options.shrinks {
        return if let Some(failure) = shrink(&Setup { seed: options.first, ..options.setup.clone() }) {
            eprintln!("{failure}");
            ExitCode::FAILURE
        } else {
            eprintln!("seed {} does not fail: there is nothing to shrink", options.first);
            ExitCode::SUCCESS
        };
    }
    let begun = now();
    let (mut totals, mut failed) = (Totals::default(), false);
    for seed in options.first..options.end {
        if options.seconds.is_some_and(|seconds| begun.elapsed().as_secs() >= seconds) {
            break;
        }
        if options.twins {
            match twin(seed) {
                Ok(is_compared) => totals.twins += u64::from(is_compared),
                Err(failure) => {
                    failed = true;
                    eprintln!("seed {seed}: {}", failure.broken);
                }
            }
            continue;
        }
        match run(&Setup { seed, ..options.setup.clone() }) {
            Ok(report) => totals.add(&report),
            Err(failure) if options.all => {
                failed = true;
                eprintln!("seed {seed}: {}", failure.broken);
            }
            Err(failure) => {
                eprintln!("{failure}");
                return ExitCode::FAILURE;
            }
        }
    }
    totals.print(begun.elapsed());
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

struct Begun(Instant);

#[expect(clippy::disallowed_methods, reason = "measures how long runs take; nothing depends on it")]
fn now() -> Begun {
    Begun(Instant::now())
}

impl Begun {
    #[expect(clippy::disallowed_methods, reason = "as above")]
    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

#[derive(Default)]
struct Totals {
    seeds: u64,
    twins: u64,
    elapsed: u64,
    requests: u64,
    deliveries: u64,
    acknowledged: u64,
    counts: zaichik_fuzz::sim::Counts,
    hash: u64,
}

impl Totals {
    fn add(&mut self, report: &Report) {
        self.seeds += 1;
        self.elapsed += report.elapsed;
        self.requests += report.requests;
        self.deliveries += report.deliveries;
        self.acknowledged += report.acknowledged;
        self.counts.add(&report.counts);
        self.hash = report.hash;
    }

    #[expect(clippy::print_stdout, reason = "the command's output")]
    fn print(&self, took: Duration) {
        let seconds = took.as_secs_f64().max(0.001);
        let counts = &self.counts;
        let per_second = counts.events * 1_000 / u64::try_from(took.as_millis()).unwrap_or(1).max(1);
        println!("{} seeds, {} events in {seconds:.1} s: {per_second} events/s", self.seeds, counts.events);
        println!("{} simulated hours, {} connections", self.elapsed / 3_600_000_000, counts.connections);
        println!(
            "{} requests, {} records delivered, {} acknowledged",
            self.requests, self.deliveries, self.acknowledged
        );
        println!(
            "faults: {} resets, {} freezes, {} half-open, {} crashes, {} clock steps, {} pauses, \
             {} brokers replaced",
            counts.resets,
            counts.freezes,
            counts.half_opens,
            counts.crashes,
            counts.clock_steps,
            counts.pauses,
            counts.restarts
        );
        println!(
            "{} commits, {} brokers restored from a store, {} of them without the last commits, {} compared with the \
             one before, {} chunks read back, {} times without space",
            counts.commits, counts.recoveries, counts.losses, counts.pairs, counts.fetches, counts.fulls
        );
        if self.twins > 0 {
            println!("{} pairs of twins received the same", self.twins);
        }
        println!("hash of the last seed: {:016x}", self.hash);
    }
}
