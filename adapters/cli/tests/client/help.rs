//! `zaichik --help` and shell completion.

use std::process::Command;

use predicates::prelude::*;
use predicates::str::{contains, is_empty};

use super::broker::{run, zaichik};

#[test]
fn help_has_examples_for_every_command() {
    for command in ["pub", "sub", "topic", "subscription", "completion"] {
        let help = contains("Usage: zaichik ").and(contains("\nExamples:\n  ")).and(contains("  zaichik "));
        run(zaichik(), &format!("{command} --help")).assert().success().stdout(help).stderr(is_empty());
    }
    run(zaichik(), "pub --help").assert().success().stdout(contains("{{ n }}").and(contains("{{ ts }}")));
    for alias in ["publish", "subscribe", "t", "subs"] {
        run(zaichik(), &format!("{alias} --help")).assert().success();
    }
}

#[test]
fn help_does_not_show_a_token() {
    let mut command = zaichik();
    command.env("ZAICHIK_URL", "zaichik://secret@localhost");
    run(command, "pub --help").assert().success().stdout(contains("secret").not());
}

#[test]
fn shells_can_complete_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let script = contains("subscription").and(contains("retention-ttl")).and(contains("fail-on-gap"));
        run(zaichik(), &format!("completion {shell}")).assert().success().stdout(script).stderr(is_empty());
    }
    // Lets bash complete `zaichik subs`.
    let script = format!(
        "PATH={}:$PATH; source <(zaichik completion bash); COMP_WORDS=(zaichik subs); COMP_CWORD=1; \
         _zaichik zaichik subs zaichik; echo \"${{COMPREPLY[@]}}\"",
        std::path::Path::new(env!("CARGO_BIN_EXE_zaichik")).parent().expect("a directory").display()
    );
    if let Ok(output) = Command::new("bash").args(["-c", &script]).output() {
        let completed = String::from_utf8_lossy(&output.stdout).into_owned();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(completed.split_whitespace().any(|word| word == "subscription"), "{completed} {stderr}");
    }
    run(zaichik(), "completion cmd").assert().code(2);
}
