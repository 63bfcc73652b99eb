//! Wrong command lines, told in one line as everything else that goes wrong.

use std::io::{self, Write};

use clap::Parser;
use clap::error::ErrorKind;

/// The code of a process that was told something wrong.
const WRONG_USAGE: i32 = 2;

/// What the command line says to `command`.
///
/// Does not return if help or the version is asked for, which is printed, or if it is wrong, which is told in one line on
/// stderr: then the process ends with code 2.
#[must_use]
pub fn parse<C: Parser>(command: &str) -> C {
    C::try_parse().unwrap_or_else(|error| {
        let is_help = error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
        if is_help || !error.use_stderr() {
            error.exit();
        }
        // Nobody can be told that it can't be told.
        drop(writeln!(io::stderr(), "{command}: {}; see --help", one_line(&error.to_string())));
        std::process::exit(WRONG_USAGE)
    })
}

/// What is wrong, without the usage that is told with it.
fn one_line(told: &str) -> String {
    let paragraphs = told.split("\n\n").map(|paragraph| {
        paragraph.split_whitespace().collect::<Vec<_>>().join(" ").trim_end_matches('.').to_owned()
    });
    let is_about_it = |paragraph: &String| {
        !(paragraph.is_empty() || paragraph.starts_with("Usage:") || paragraph.starts_with("For more"))
    };
    let line = paragraphs.filter(is_about_it).collect::<Vec<_>>().join("; ");
    line.strip_prefix("error: ").map_or_else(|| line.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_and_what_was_meant_stay() {
        let told = "error: unexpected argument '--prot' found\n\n  tip: a similar argument exists: '--port'\n\n\
                    Usage: zaichik [OPTIONS]\n       zaichik <COMMAND>\n\nFor more information, try '--help'.\n";
        assert_eq!(
            one_line(told),
            "unexpected argument '--prot' found; tip: a similar argument exists: '--port'"
        );
        let told = "error: invalid value 'explode' for '--overflow <WHAT>'\n  [possible values: drop-oldest, \
                    reject]\n\nFor more information, try '--help'.\n";
        assert_eq!(
            one_line(told),
            "invalid value 'explode' for '--overflow <WHAT>' [possible values: drop-oldest, reject]"
        );
    }
}
