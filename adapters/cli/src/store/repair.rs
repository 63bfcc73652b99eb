//! `zaichik store repair`: gives up what is damaged, so that a broker can start with the rest.

use std::io::{self, IsTerminal, Write};

use clap::Args;
use zaichik_engine::store::{Commit, MetaRow, Op, Row, Ticket};
use zaichik_store_journal::{Disk, File, Files, Journal, StoreError, Trial, repair};

use super::check::{random, restore};
use super::directory::Directory;
use super::loss::Loss;
use super::survey::Survey;
use crate::failure::{Code, Failure};
use crate::printable::printable_line;
use crate::report::{self, OutputArgs};

const AFTER_HELP: &str = "\
It cuts the journal off at the first damage. Everything behind it is given up, whether or not it is damaged, and also if \
it was acknowledged: first save it with `zaichik store dump`, and keep a copy of the directory. It says what is given up \
and asks; without --yes and without a terminal it only says it.

Offsets that were given up are given to other messages. So clients see another instance of the broker, as if it had lost \
its memory: they report a restart, and no producer is remembered. Durable subscriptions continue at their cursors.

Exit code: 0 if it is repaired or nothing was damaged, 1 if the answer was no, 8 if it cannot be repaired.";

/// Give up what is damaged, so that a broker can start with the rest.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Repair {
    #[command(flatten)]
    directory: Directory,
    /// Cut the journal off where it is damaged.
    #[arg(long)]
    truncate: bool,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    output: OutputArgs,
}

impl Repair {
    pub(super) fn run(&self) -> Result<(), Failure> {
        if !self.truncate {
            return Err(self.unexplained());
        }
        let mut files = self.lock()?;
        let (instance, hash_key) = (random()?, random()?);
        let failure = |error| self.directory.failure(&error);
        let survey = Survey::take(&mut files, |_| {}).map_err(|error| failure(error.into()))?;
        let (before, found) = survey.ok_or_else(|| self.directory.has_no_store())?;
        let lengths = files.files().map_err(|error| failure(StoreError::Failed(error).into()))?;
        let mut trial = Trial::new(&mut files);
        let cut =
            repair(&mut trial, |journal| renew(journal, instance)).map_err(|error| failure(error.into()))?;
        let after = restore(&mut trial, hash_key);
        let Some(cut) = cut else {
            let restored =
                after.map_err(|error| failure(error).with_context("", "; a repair cannot help"))?;
            return self.nothing_damaged(&restored);
        };
        let after = after.map_err(|error| {
            failure(error)
                .with_context("", "; a broker would not start after a repair either, so nothing was changed")
        })?;
        let loss = Loss::new(self.directory.path(), (&cut, &lengths), (&before, &after), found.sequence);
        self.agree(&loss)?;
        let _ =
            repair(&mut files, |journal| renew(journal, instance)).map_err(|error| failure(error.into()))?;
        if self.output.is_json() {
            return report::json(&loss.done());
        }
        report::print(&format!(
            "{} is repaired; a broker can start with it",
            printable_line(&self.directory.path())
        ))
    }

    /// The error without `--truncate`.
    fn unexplained(&self) -> Failure {
        let dir = self.directory.argument();
        Failure::new(
            Code::Usage,
            format_args!(
                "a repair gives up everything behind the first damage, also what was acknowledged, so that a broker can \
                 start with the rest; zaichik store check {dir} names the damage, zaichik store dump {dir} saves the \
                 messages; if that is what you want, add --truncate"
            ),
        )
    }

    /// Locks the directory, if something is stored in it.
    fn lock(&self) -> Result<Files, Failure> {
        let files = self.directory.read_only()?.files();
        let files = files.map_err(|error| self.directory.failure(&StoreError::Failed(error).into()))?;
        let is_stored = |(file, _): &(File, u64)| matches!(file, File::Identity | File::Segment(_));
        if !files.iter().any(is_stored) {
            return Err(self.directory.has_no_store());
        }
        self.directory.lock()
    }

    fn nothing_damaged(&self, restored: &Survey) -> Result<(), Failure> {
        let dir = self.directory.path();
        if self.output.is_json() {
            return report::json(&Loss::nothing(dir, restored));
        }
        report::print(&format!("nothing in {} is damaged, and nothing was changed", printable_line(&dir)))
    }

    /// Says what is given up, and asks.
    ///
    /// # Errors
    /// The answer was no, or nobody can answer.
    fn agree(&self, loss: &Loss) -> Result<(), Failure> {
        if self.yes {
            return if self.output.is_json() { Ok(()) } else { loss.print() };
        }
        if self.output.is_json() || !io::stdin().is_terminal() {
            if self.output.is_json() { report::json(loss) } else { loss.print() }?;
            return Err(Failure::new(Code::Usage, "nothing was changed; add --yes to give this up"));
        }
        loss.print()?;
        // The question is on the terminal, if standard output goes elsewhere.
        drop(write!(io::stderr(), "Give this up for good? [y/N] "));
        let mut answer = String::new();
        let read = io::stdin().read_line(&mut answer);
        let _ =
            read.map_err(|error| Failure::new(Code::Other, format_args!("cannot read the answer: {error}")))?;
        match answer.trim().to_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(Failure::new(Code::Other, "nothing was changed")),
        }
    }
}

/// Makes the state another instance, because clients may know more of this one than is left (rule B4).
fn renew(journal: &mut Journal<impl Disk>, instance: u128) -> Result<(), StoreError> {
    let mut ops = Vec::new();
    journal.rows(|key, value| {
        match Row::decode(key, value) {
            Ok(Row::Meta(row)) => ops.push(Op::Put { row: Row::Meta(MetaRow { instance, ..row }) }),
            Ok(row @ (Row::Producer(_) | Row::Answer(_))) => ops.push(Op::Remove { key: row.key() }),
            // A row that cannot be decoded is found when the rows are restored.
            Ok(
                Row::Topic(_)
                | Row::Records(_)
                | Row::Cursor(_)
                | Row::Marks(_)
                | Row::Keys(_)
                | Row::Group(_),
            )
            | Err(_) => {}
        }
        Ok::<_, StoreError>(())
    })?;
    journal.commit_rows(&Commit { ticket: Ticket::FIRST, ops })
}
