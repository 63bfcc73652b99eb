//! `zaichik store check`: whether a broker can start with a storage directory.

use clap::Args;
use serde::Serialize;
use zaichik_engine::store::{Row, RowError};
use zaichik_engine::{BrokerConfig, Restore, Seed};
use zaichik_store_journal::{Disk, Report, check, salvage};
use zaichik_tokio::Clock;

use super::directory::Directory;
use super::problem::Problem;
use super::survey::Survey;
use crate::failure::{Code, Failure};
use crate::printable::printable_line;
use crate::report::{self, OutputArgs};

/// Check that a broker can start with a directory.
///
/// Reads every byte and compares every checksum, then restores a broker in memory, without the messages that it could read back.
#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    directory: Directory,
    #[command(flatten)]
    output: OutputArgs,
}

/// The outcome, as JSON.
#[derive(Debug, Default, Serialize)]
struct Outcome {
    dir: String,
    sound: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    topics: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    segments: Option<usize>,
}

impl Check {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let mut files = self.directory.read_only()?;
        let dir = self.directory.path();
        let hash_key = random()?;
        match examine(&mut files, hash_key) {
            Ok(None) => Err(self.directory.has_no_store()),
            Ok(Some((survey, report))) if self.output.is_json() => report::json(&Outcome {
                dir,
                sound: true,
                topics: Some(survey.topics.len()),
                messages: Some(survey.messages()),
                rows: Some(report.rows),
                segments: Some(report.segments),
                ..Outcome::default()
            }),
            Ok(Some((survey, report))) => report::print(&format!(
                "{} is sound; topics: {}, messages: {}, rows: {}, segments: {}",
                printable_line(&dir),
                survey.topics.len(),
                survey.messages(),
                report.rows,
                report.segments
            )),
            Err(problem) => {
                if self.output.is_json() {
                    report::json(&Outcome { dir, problem: Some(problem.to_string()), ..Outcome::default() })?;
                }
                Err(self.directory.failure(&problem))
            }
        }
    }
}

/// Checks everything; `None` if nothing was ever stored.
pub(super) fn examine(disk: &mut impl Disk, hash_key: u128) -> Result<Option<(Survey, Report)>, Problem> {
    let Some(report) = check(disk)? else { return Ok(None) };
    Ok(Some((restore(disk, hash_key)?, report)))
}

/// Restores a broker from the rows, as a start would.
///
/// # Errors
/// What would keep the broker from starting.
pub(super) fn restore(disk: &mut impl Disk, hash_key: u128) -> Result<Survey, Problem> {
    let mut config = BrokerConfig::default();
    // What is stored fits into the memory of the broker that stored it.
    config.memory = u64::MAX;
    // Only what has to stay in memory is kept there.
    config.max_resident_bytes = Some(0);
    let mut restore = Restore::new(config, Seed::new(0, hash_key)).map_err(RowError::from)?;
    let mut survey = Survey::default();
    salvage(disk, |found| {
        let (key, value) = found?;
        restore.row(key, value)?;
        survey.add(&Row::decode(key, value)?);
        Ok::<_, Problem>(())
    })?;
    let _ = restore.finish(Clock::start().now())?;
    Ok(survey)
}

/// A key for hashing, so that nobody can store names that collide.
pub(super) fn random() -> Result<u128, Failure> {
    let mut bytes = [0; 16];
    let drawn = getrandom::fill(&mut bytes);
    drawn.map_err(|error| {
        Failure::new(Code::Other, format_args!("the system has no random numbers: {error}"))
    })?;
    Ok(u128::from_ne_bytes(bytes))
}
