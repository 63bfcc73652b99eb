//! Attacks on the broker commands, with an honest client beside each: memory of the process, and what the client saw.
//!
//! `zaichik-bench attacks` prints a table for each command and budget. Targets: resident memory at most a twentieth above
//! the budget and 32 MiB; the honest client's 99th percentile below 25 ms, its longest time below 100 ms, none of its
//! publishes refused and no connection lost. What misses them is named in the last column.

mod attack;
mod crowd;
mod frames;
mod honest;
mod script;
mod signals;

use std::io::{self, Write};
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::attacks::attack::Attack;
use crate::attacks::crowd::Done;
use crate::attacks::honest::Seen;
use crate::attacks::signals::Signals;
use crate::contender::{Contender, Programs};
use crate::options::AttackOptions;
use crate::process::{Process, TemporaryFolder, raise_descriptors};

const MIB: f64 = (1 << 20) as f64;

/// Resident memory above the budget and its twentieth: code, stacks and the runtime, in bytes.
const PROCESS: f64 = 32.0 * MIB;

/// Target for the honest client's 99th percentile, in milliseconds.
const P99: f64 = 25.0;

/// Target for its longest time, in milliseconds.
const LONGEST: f64 = 100.0;

/// The names of the columns.
const COLUMNS: &str = "| attack | RSS MiB | charged MiB | p50 ms | p99 ms | max ms | exchanges | busy | refused | lost | attackers sent MiB | closed | missed |\n\
    |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|";

/// What one attack did.
#[derive(Debug)]
struct Outcome {
    /// Peak memory of the broker's process, in bytes.
    resident: f64,
    seen: Seen,
    done: Done,
}

/// Runs the requested attacks and prints the results.
pub(crate) fn run(options: &AttackOptions) -> Result<()> {
    let attacks = attacks(&options.only)?;
    if options.list {
        for attack in attacks {
            println!("{:14} {}", attack.name(), attack.about());
        }
        return Ok(());
    }
    let programs = Programs::new(options.zaichik.clone(), options.zaichik_async_std.clone())?;
    let contenders = contenders(&options.contenders)?;
    let folder = TemporaryFolder::new()?;
    raise_descriptors();
    for contender in contenders {
        for budget in &options.budgets {
            println!("\n{}, {budget} MiB:\n\n{COLUMNS}", contender.title());
            for attack in &attacks {
                let duration = Duration::from_secs(options.seconds);
                let line = match measure(*attack, contender, budget << 20, duration, &programs, &folder) {
                    Ok(outcome) => outcome.line(*attack, budget << 20),
                    Err(error) => format!("| {} | failed: {error:#} |", attack.name()),
                };
                println!("{line}");
                io::stdout().flush()?;
            }
        }
    }
    Ok(())
}

/// Starts a broker, attacks it, and kills it.
fn measure(
    attack: Attack,
    contender: Contender,
    budget: u64,
    duration: Duration,
    programs: &Programs,
    folder: &TemporaryFolder,
) -> Result<Outcome> {
    let variables = [("ZAICHIK_LIMITS_MEMORY", budget.to_string())];
    let mut broker = Process::start(contender, programs, folder, &variables)?;
    let port = broker.port;
    let signals = Signals::default();
    thread::scope(|scope| {
        let attacking = scope.spawn(|| attack.run(port, budget, &signals));
        let seen = honest::measure(port, duration, &signals);
        let resident = broker.peak_memory();
        // This ends the attackers' connections, and their waiting for answers.
        broker.kill();
        let done = attacking.join().unwrap_or_else(|_| bail!("the attacker panicked"));
        // An attacker that fails earlier leaves the attack unprepared, or does less than it reports.
        Ok(Outcome { resident: resident?, seen: seen?, done: done.unwrap_or_default() })
    })
}

impl Outcome {
    fn line(&self, attack: Attack, budget: u64) -> String {
        let millis = |micros: u64| micros as f64 / 1_000.0;
        let latencies = &self.seen.latencies;
        let (p50, p99) = (millis(latencies.quantile(0.5)), millis(latencies.quantile(0.99)));
        let longest = millis(latencies.max());
        let targets = [
            ("RSS", self.resident > budget as f64 * 1.05 + PROCESS),
            ("p99", p99 >= P99),
            ("max", longest >= LONGEST),
            ("busy", self.seen.busy > 0),
            ("refused", self.seen.refused > 0),
            ("lost", self.seen.lost > 0),
        ];
        let missed: Vec<&str> =
            targets.into_iter().filter(|(_, is_missed)| *is_missed).map(|(name, _)| name).collect();
        format!(
            "| {} | {:.0} | {:.0} | {p50:.2} | {p99:.1} | {longest:.1} | {} | {} | {} | {} | {:.1} | {} | {} |",
            attack.name(),
            self.resident / MIB,
            self.seen.ledger as f64 / MIB,
            latencies.count(),
            self.seen.busy,
            self.seen.refused,
            self.seen.lost,
            self.done.sent as f64 / MIB,
            self.done.closed,
            missed.join(", ")
        )
    }
}

/// The attacks with these names; all of them without names.
fn attacks(names: &[String]) -> Result<Vec<Attack>> {
    if let Some(name) = names.iter().find(|name| Attack::ALL.iter().all(|attack| attack.name() != *name)) {
        bail!("unknown attack {name:?}; --list shows all attacks");
    }
    let is_wanted = |attack: &Attack| names.is_empty() || names.iter().any(|name| name == attack.name());
    Ok(Attack::ALL.into_iter().filter(is_wanted).collect())
}

/// The broker commands with these names; both without names.
fn contenders(names: &[String]) -> Result<Vec<Contender>> {
    let commands = [Contender::Zaichik, Contender::ZaichikAsyncStd];
    if let Some(name) = names.iter().find(|name| commands.iter().all(|command| command.name() != *name)) {
        bail!("{name:?} is no broker command that can be attacked; zaichik and zaichik-async-std can");
    }
    let is_wanted = |command: &Contender| names.is_empty() || names.iter().any(|name| name == command.name());
    Ok(commands.into_iter().filter(is_wanted).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_attacks_and_commands_are_errors() {
        assert_eq!(attacks(&["bury".to_owned()]).unwrap(), [Attack::Bury]);
        assert_eq!(attacks(&[]).unwrap().len(), Attack::ALL.len());
        assert!(attacks(&["flood".to_owned()]).is_err());
        assert_eq!(contenders(&["zaichik".to_owned()]).unwrap(), [Contender::Zaichik]);
        assert!(contenders(&["nats".to_owned()]).is_err());
    }
}
