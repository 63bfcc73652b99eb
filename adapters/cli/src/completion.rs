//! `zaichik completion`: completion scripts for shells.

use std::io::{self, ErrorKind, Write};

use clap::{Args, Command};
use clap_complete::Shell;

use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  source <(zaichik completion bash)
  zaichik completion zsh > \"${fpath[1]}/_zaichik\"
  zaichik completion fish > ~/.config/fish/completions/zaichik.fish";

/// Print a completion script for a shell.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Completion {
    /// Shell to generate the script for.
    #[arg(value_enum)]
    shell: Shell,
}

impl Completion {
    pub(crate) fn run(&self, command: &mut Command) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, command, "zaichik", &mut script);
        let mut out = io::stdout().lock();
        match out.write_all(&script).and_then(|()| out.flush()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::of_output(&error)),
            _ => Ok(()),
        }
    }
}
