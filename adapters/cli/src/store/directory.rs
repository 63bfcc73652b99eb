//! A storage directory that is named on the command line, and why it cannot be used.

use std::io::{self, ErrorKind};
use std::path::PathBuf;

use clap::Args;
use zaichik_store_journal::{File, Files, OpenError, StoreError};

use super::problem::Problem;
use crate::failure::{Code, Failure};
use crate::hints;

/// A storage directory.
#[derive(Debug, Args)]
pub(super) struct Directory {
    /// Directory that a broker was given with --data.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

impl Directory {
    /// Its path, for people.
    pub(super) fn path(&self) -> String {
        self.dir.display().to_string()
    }

    /// Its path as a word for the shell.
    pub(super) fn argument(&self) -> String {
        hints::argument(&self.path())
    }

    /// Opens it to be read: nothing in it is changed, and no broker can start with it meanwhile.
    ///
    /// # Errors
    /// It does not exist, a broker uses it, or it is one of another program.
    pub(super) fn read_only(&self) -> Result<Files, Failure> {
        Files::read_only(&self.dir).map_err(|error| self.not_opened(error))
    }

    /// Opens it for reading, also while another process uses it.
    ///
    /// # Errors
    /// It does not exist, or it is one of another program.
    pub(super) fn beside(&self) -> Result<Files, Failure> {
        Files::beside(&self.dir).map_err(|error| self.not_opened(error))
    }

    /// Locks it against brokers, and those that read it.
    ///
    /// # Errors
    /// Those of [`Self::read_only`].
    pub(super) fn lock(&self) -> Result<Files, Failure> {
        Files::existing(&self.dir).map_err(|error| self.not_opened(error))
    }

    /// The error if nothing was ever stored in it.
    pub(super) fn has_no_store(&self) -> Failure {
        let dir = self.path();
        Failure::new(
            Code::Usage,
            format_args!(
                "nothing is stored in {dir}; name the directory that the broker was given with --data"
            ),
        )
    }

    /// The error for what was found in it.
    pub(super) fn failure(&self, problem: &Problem) -> Failure {
        let advice = match problem {
            Problem::Journal(OpenError::Store(StoreError::Corrupt { file: File::Segment(_), .. })) => {
                format!(": zaichik store repair {} --truncate", self.argument())
            }
            Problem::Journal(_) | Problem::Rows(_) => String::new(),
        };
        Failure::new(problem.code(), problem).with_context(&format!("{}: ", self.path()), &advice)
    }

    /// An error if there are problems, which tells the first one.
    pub(super) fn sound(&self, problems: &[Problem]) -> Result<(), Failure> {
        let [first, others @ ..] = problems else { return Ok(()) };
        let more = match others.len() {
            0 => String::new(),
            count => format!("; problems found behind that: {count}"),
        };
        Err(self.failure(first).with_context("", &more))
    }

    fn not_opened(&self, error: OpenError) -> Failure {
        let dir = self.path();
        match error {
            OpenError::Store(StoreError::Failed(error)) if is_about_the_name(&error) => {
                Failure::new(Code::Usage, format_args!("there is no storage directory {dir}: {error}"))
            }
            OpenError::Locked { pid, .. } => Failure::new(
                Code::InUse,
                format_args!("{dir} is used by a broker, process {pid}; stop it first, or look at a copy"),
            ),
            OpenError::Foreign { entry, .. } => Failure::new(
                Code::Foreign,
                format_args!(
                    "{dir} is no storage directory: it contains {entry}; name the directory that the broker was given \
                     with --data"
                ),
            ),
            OpenError::Store(_) | OpenError::Version { .. } | OpenError::BeingRead { .. } => {
                self.failure(&error.into())
            }
            other => Failure::new(Code::Other, other),
        }
    }
}

/// Whether there is no such directory, rather than one that fails.
fn is_about_the_name(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::PermissionDenied)
}
