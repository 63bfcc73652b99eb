//! Reports a wrong command line in one line, like every other error.

use std::io::{self, Write};

use clap::Parser;
use clap::error::ErrorKind;

/// Exit code for a wrong command line.
const WRONG_USAGE: i32 = 2;

/// Maximum columns of a help text.
const HELP_WIDTH: usize = 100;

/// Parses the command line; error messages begin with `command`.
///
/// Does not return if the command line asks for help or the version, which it prints, or is wrong: then it prints one
/// line on stderr and exits with code 2.
#[must_use]
pub fn parse<C: Parser>(command: &str) -> C {
    // A broker's options follow the command's name as well as `serve`; in the help of the command itself they would hide
    // the subcommands.
    let parser = C::command().mut_args(|option| option.hide(true)).max_term_width(HELP_WIDTH);
    let parsed = parser.try_get_matches().and_then(|matches| C::from_arg_matches(&matches));
    parsed.unwrap_or_else(|error| {
        let is_help = error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
        if is_help || !error.use_stderr() {
            error.exit();
        }
        // There is nowhere to report a failure to write to stderr.
        drop(writeln!(io::stderr(), "{command}: {}; see --help", one_line(&error.to_string())));
        std::process::exit(WRONG_USAGE)
    })
}

/// The error in one line, without the usage that clap appends.
fn one_line(message: &str) -> String {
    let paragraphs = message.split("\n\n").map(|paragraph| {
        paragraph.split_whitespace().collect::<Vec<_>>().join(" ").trim_end_matches('.').to_owned()
    });
    let is_error = |paragraph: &String| {
        !(paragraph.is_empty() || paragraph.starts_with("Usage:") || paragraph.starts_with("For more"))
    };
    let line = paragraphs.filter(is_error).collect::<Vec<_>>().join("; ");
    line.strip_prefix("error: ").map_or_else(|| line.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_and_the_suggestion_are_kept() {
        let message = "error: unexpected argument '--prot' found\n\n  tip: a similar argument exists: '--port'\n\n\
                    Usage: zaichik [OPTIONS]\n       zaichik <COMMAND>\n\nFor more information, try '--help'.\n";
        assert_eq!(
            one_line(message),
            "unexpected argument '--prot' found; tip: a similar argument exists: '--port'"
        );
        let message = "error: invalid value 'explode' for '--overflow <WHAT>'\n  [possible values: drop_oldest, \
                    reject]\n\nFor more information, try '--help'.\n";
        assert_eq!(
            one_line(message),
            "invalid value 'explode' for '--overflow <WHAT>' [possible values: drop_oldest, reject]"
        );
    }
}
