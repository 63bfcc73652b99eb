//! Runs workloads: each round has one run of each contender in turn, so that other load on the machine affects all of
//! them.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anyhow::Result;

use crate::contender::{Contender, Programs};
use crate::footprint::Scale;
use crate::metric::{Metric, Sample, medians};
use crate::process::{Process, TemporaryFolder};
use crate::report::{Outcome, Row};
use crate::workload::{Kind, RunLength, Workload};

/// Minimum seconds of the run from which the number of messages is calculated.
const CALIBRATION: f64 = 0.15;

/// Maximum factor between the numbers of messages of two such runs.
const GROWTH: u64 = 16;

#[derive(Debug)]
pub(crate) struct Runner {
    pub(crate) programs: Programs,
    pub(crate) folder: TemporaryFolder,
    pub(crate) rounds: u32,
    pub(crate) length: RunLength,
    /// Factor for the number of messages of a run.
    pub(crate) scale: f64,
}

impl Runner {
    pub(crate) fn run(&self, workload: &Workload, contenders: &[Contender]) -> Vec<Row> {
        let admitted = contenders.iter().filter(|contender| workload.kind.admits(**contender));
        let mut participants: Vec<Participant> =
            admitted.map(|contender| Participant::new(*contender)).collect();
        let rounds = workload.kind.rounds(self.rounds);
        for round in 1..=rounds {
            // Each round begins with another contender.
            let turn = usize::from(!participants.is_empty());
            participants.rotate_left(turn);
            for participant in participants.iter_mut().filter(|participant| participant.failure.is_none()) {
                let contender = participant.contender.name();
                progress(&format!("{}, round {round} of {rounds}: {contender}", workload.name));
                match self.run_once(workload.kind, participant) {
                    Ok(sample) => participant.samples.push(sample),
                    Err(error) => participant.failure = Some(format!("round {round}: {error:#}")),
                }
            }
        }
        progress("");
        participants.sort_by_key(|participant| {
            contenders.iter().position(|contender| *contender == participant.contender)
        });
        participants.into_iter().map(Participant::row).collect()
    }

    fn run_once(&self, kind: Kind, participant: &mut Participant) -> Result<Sample> {
        let messages = match (participant.messages, kind.first_guess()) {
            (Some(messages), _) => messages,
            (None, Some(guess)) => self.calibrate(kind, participant.contender, guess)?,
            (None, None) => 0,
        };
        participant.messages = Some(messages);
        // A single start varies too much.
        let runs = if kind == Kind::Startup { self.length.starts } else { 1 };
        let samples = (0..runs).map(|_| {
            let mut broker = Process::start(participant.contender, &self.programs, &self.folder, &[])?;
            kind.run(participant.contender, &mut broker, messages, self.length)
        });
        Ok(medians(&samples.collect::<Result<Vec<_>>>()?))
    }

    /// Finds the number of messages of a sufficiently long run.
    fn calibrate(&self, kind: Kind, contender: Contender, guess: u64) -> Result<u64> {
        let mut messages = guess;
        loop {
            let mut broker = Process::start(contender, &self.programs, &self.folder, &[])?;
            let sample = kind.run(contender, &mut broker, messages, self.length)?;
            let seconds = sample.get(&Metric::Seconds).copied().unwrap_or_default();
            if seconds >= CALIBRATION {
                return Ok(kind.messages_for(self.length.fan.as_secs_f64() * self.scale, &sample));
            }
            let wanted = kind.messages_for(CALIBRATION * 1.2, &sample);
            messages = wanted.clamp(messages + messages.div_ceil(2), messages * GROWTH);
        }
    }
}

/// Lengths of runs, for a quick check or for real figures.
pub(crate) const fn length(quick: bool, descriptors: u64) -> RunLength {
    if quick {
        let (settle, idle) = (Duration::from_millis(100), Duration::from_millis(500));
        RunLength {
            fan: Duration::from_millis(250),
            latency: Duration::from_millis(300),
            footprint: Scale { divisor: 10, settle, idle, descriptors },
            starts: 3,
        }
    } else {
        let (settle, idle) = (Duration::from_millis(500), Duration::from_secs(5));
        RunLength {
            fan: Duration::from_millis(1_500),
            latency: Duration::from_secs(3),
            footprint: Scale { divisor: 1, settle, idle, descriptors },
            starts: 20,
        }
    }
}

/// Replaces the progress line if standard error is a terminal.
fn progress(what: &str) {
    let mut terminal = io::stderr();
    if terminal.is_terminal() {
        // A failure to write to standard error has nowhere to be reported.
        drop(write!(terminal, "\r\x1b[K{what}"));
    }
}

struct Participant {
    contender: Contender,
    messages: Option<u64>,
    samples: Vec<Sample>,
    failure: Option<String>,
}

impl Participant {
    const fn new(contender: Contender) -> Self {
        Self { contender, messages: None, samples: Vec::new(), failure: None }
    }

    fn row(self) -> Row {
        let outcome = match self.failure {
            Some(failure) => Outcome::Failed { failure },
            None => Outcome::Measured { samples: self.samples },
        };
        Row {
            contender: self.contender.name(),
            title: self.contender.title(),
            messages: self.messages,
            outcome,
        }
    }
}
