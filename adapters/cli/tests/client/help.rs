//! `zaichik --help` and shell completion.

use std::process::Command;

use predicates::prelude::*;
use predicates::str::{contains, is_empty};

use super::broker::{run, zaichik};

#[test]
fn help_has_examples_for_every_command() {
    for command in ["pub", "sub", "topic", "subscription", "store", "completion"] {
        let help = contains("Usage: zaichik ").and(contains("\nExamples:\n  ")).and(contains("  zaichik "));
        run(zaichik(), &format!("{command} --help")).assert().success().stdout(help).stderr(is_empty());
    }
    run(zaichik(), "pub --help").assert().success().stdout(contains("{{ n }}").and(contains("{{ ts }}")));
    for alias in [
        "publish",
        "subscribe",
        "t",
        "subs",
        "server",
        "list",
        "ls",
        "status",
        "topic list",
        "subscription list",
        "subs ls",
    ] {
        run(zaichik(), &format!("{alias} --help")).assert().success();
    }
}

#[test]
fn help_does_not_show_a_token() {
    let mut command = zaichik();
    command.env("ZAICHIK_SERVER", "zaichik://secret@localhost");
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

/// Every command, with the names of those it is in.
fn commands(path: &str) -> Vec<String> {
    let output = run(zaichik(), &format!("{path} --help")).assert().success();
    let help = String::from_utf8(output.get_output().stdout.clone()).expect("text");
    let listed = help.split_once("\nCommands:\n").map_or("", |(_, rest)| rest);
    let listed = listed.split("\n\n").next().unwrap_or_default().lines();
    let names = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
    let inner = names.flat_map(|name| commands(format!("{path} {name}").trim()));
    [path.to_owned()].into_iter().chain(inner).collect()
}

#[test]
fn help_fits_a_hundred_columns() {
    let commands = commands("");
    for expected in ["", "serve", "config print", "topic create", "subscription seek", "bench latency"] {
        assert!(commands.iter().any(|command| command == expected), "{expected}: {commands:?}");
    }
    for command in commands {
        for flag in ["--help", "-h"] {
            let mut wide = zaichik();
            wide.env("COLUMNS", "300");
            let output = run(wide, &format!("{command} {flag}")).assert().success();
            for line in String::from_utf8(output.get_output().stdout.clone()).expect("text").lines() {
                assert!(line.chars().count() <= 100, "{command} {flag}: {line}");
            }
        }
    }
}

#[test]
fn the_first_help_shows_the_commands_and_not_the_options_of_a_broker() {
    run(zaichik(), "--help")
        .assert()
        .success()
        .stdout(contains("zaichik serve").and(contains("\nExamples:\n")).and(contains("--max-window").not()));
    run(zaichik(), "serve --help").assert().success().stdout(contains("--max-window"));
    run(zaichik(), "pub --help").assert().success().stdout(contains("durable until"));
}

#[test]
fn a_misspelled_command_or_flag_is_suggested() {
    for (arguments, meant) in
        [("topc ls", "'topic'"), ("pub t --tiemout 1s x", "'--timeout'"), ("serve --prot 1", "'--port'")]
    {
        run(zaichik(), arguments).assert().code(2).stderr(contains(meant).and(contains("\n").count(1)));
    }
}
