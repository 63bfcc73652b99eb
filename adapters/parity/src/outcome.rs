//! Runs a broker command until it exits, and looks at its output.

use std::process::{Command, Output};

use crate::directory::Directory;
use crate::process::command;

/// Runs the command until it exits, in a directory and without `PORT` in its environment.
pub(crate) fn run(
    path: &str,
    directory: &Directory,
    arguments: &[&str],
    variables: &[(&str, &str)],
) -> Output {
    let mut command = unconfigured(path, directory);
    command.args(arguments).envs(variables.iter().copied()).output().expect("the command runs")
}

/// The command in a directory, without `PORT` in its environment.
pub(crate) fn unconfigured(path: &str, directory: &Directory) -> Command {
    let mut command = command(path, 0);
    command.env_remove("PORT").current_dir(directory.path());
    command
}

/// Output as text.
pub(crate) fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("text")
}

/// The standard output of a command that succeeded.
pub(crate) fn printed(output: Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", text(output.stderr));
    text(output.stdout)
}

/// The lines on standard error of a command that exited with 2.
pub(crate) fn refused(output: Output) -> Vec<String> {
    let stderr = text(output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(output.stdout.is_empty(), "{}", text(output.stdout));
    stderr.lines().map(str::to_owned).collect()
}
