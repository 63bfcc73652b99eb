//! Output of commands that show something: tables for people, JSON for programs.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::time::Duration;

use clap::Args;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;

use crate::failure::{Code, Failure};
use crate::printable::printable_json;

/// The format of a report.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// Print JSON, one object per line.
    #[arg(short = 'J', long)]
    json: bool,
}

impl OutputArgs {
    pub(crate) const fn is_json(&self) -> bool {
        self.json
    }
}

/// Prints a value as a line of JSON.
///
/// # Errors
/// Standard output cannot be written to; a closed pipe is not an error.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let line = serde_json::to_string(value).map_err(|error| Failure::new(Code::Other, error))?;
    print(&printable_json(&line))
}

/// Prints aligned columns, right-aligned from index `numbers`; prints nothing if there are no rows.
///
/// # Errors
/// As for [`json`].
pub(crate) fn columns(header: &[&str], numbers: usize, rows: Vec<Vec<String>>) -> Result<(), Failure> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut table = aligned();
    table.set_header(header.iter().copied());
    table.add_rows(rows);
    for column in table.column_iter_mut().skip(numbers) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    print_table(&table)
}

/// Prints one name and value per line.
///
/// # Errors
/// As for [`json`].
pub(crate) fn pairs<N: Into<String>>(pairs: Vec<(N, String)>) -> Result<(), Failure> {
    let mut table = aligned();
    for (name, value) in pairs {
        table.add_row([name.into(), value]);
    }
    print_table(&table)
}

/// Prints text and a newline.
///
/// # Errors
/// As for [`json`].
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::of_output(&error)),
        _ => Ok(()),
    }
}

/// A size in bytes, for people.
pub(crate) fn size(bytes: u64) -> String {
    if bytes == u64::MAX {
        return "unlimited".to_owned();
    }
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let Some((shift, unit)) = units.into_iter().find(|(shift, _)| bytes >> shift > 0) else {
        return format!("{bytes} B");
    };
    let (whole, rest) = (bytes >> shift, bytes & (1_u64 << shift).saturating_sub(1));
    match rest.saturating_mul(10) >> shift {
        0 if rest == 0 => format!("{whole} {unit}"),
        tenth => format!("{whole}.{tenth} {unit}"),
    }
}

/// Prints a confirmation on standard error, if that is a terminal.
pub(crate) fn confirm(message: impl std::fmt::Display) {
    if io::stderr().is_terminal() {
        // The command has succeeded, whether or not the confirmation can be written.
        drop(writeln!(io::stderr(), "{message}"));
    }
}

/// A duration in microseconds, for people.
pub(crate) fn duration(micros: u64) -> String {
    match micros {
        u64::MAX => "forever".to_owned(),
        micros => humantime::format_duration(Duration::from_micros(micros)).to_string(),
    }
}

/// A limit, for people.
pub(crate) fn limit(count: u64) -> String {
    if count == u64::MAX { "unlimited".to_owned() } else { count.to_string() }
}

fn aligned() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table
}

fn print_table(table: &Table) -> Result<(), Failure> {
    let lines: Vec<_> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    // The table pads all lines with a space on the left.
    let lines: Vec<_> = lines.iter().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    print(&lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (bytes, expected) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1 KiB"),
            (1_025, "1.0 KiB"),
            (1_536, "1.5 KiB"),
            (1 << 20, "1 MiB"),
            (6_442_450_944, "6 GiB"),
            (u64::MAX - 1, "16777215.9 TiB"),
            (u64::MAX, "unlimited"),
        ] {
            assert_eq!(size(bytes), expected);
        }
    }
}
