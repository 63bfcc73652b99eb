//! Directories that `zaichik store` does not look at.

use std::fs;

use predicates::prelude::*;
use predicates::str::{contains, is_empty};

use super::stored::{Broker, Stored, store, zaichik};

/// Every command, with what it needs.
const COMMANDS: [&str; 4] = ["info", "check", "dump", "repair --truncate --yes"];

#[test]
fn a_directory_that_a_broker_uses() {
    let stored = Stored::new();
    let broker = Broker::start(&stored.path());
    for command in COMMANDS {
        let told = contains(format!(" is used by a broker, process {}; ", broker.id()));
        let line = told.and(contains("\n").count(1));
        stored.store(command).assert().code(75).stdout(is_empty()).stderr(line);
    }
    broker.stop();
    stored.store("check").assert().success();
}

#[test]
fn a_directory_that_does_not_exist_is_not_created() {
    let stored = Stored::new();
    for command in COMMANDS {
        let line = contains("there is no storage directory ").and(contains("\n").count(1));
        stored.store(command).assert().code(2).stdout(is_empty()).stderr(line);
        assert!(!stored.path().exists(), "{command}");
    }
}

#[test]
fn a_directory_without_a_store_stays_empty() {
    let stored = Stored::new();
    fs::create_dir(stored.path()).expect("created");
    for command in COMMANDS {
        let line = contains("nothing is stored in ").and(contains("\n").count(1));
        stored.store(command).assert().code(2).stdout(is_empty()).stderr(line);
        assert!(stored.listing().is_empty(), "{command}");
    }
}

#[test]
fn a_directory_of_another_program() {
    let stored = Stored::new();
    fs::create_dir(stored.path()).expect("created");
    fs::write(stored.path().join("letter.txt"), "dear").expect("written");
    for command in COMMANDS {
        let line =
            contains(" is no storage directory: it contains letter.txt; ").and(contains("\n").count(1));
        stored.store(command).assert().code(9).stdout(is_empty()).stderr(line);
        assert_eq!(stored.listing().len(), 1, "{command}");
        // A file in place of a directory.
        store(&stored.path().join("letter.txt"), command).assert().code(2).stdout(is_empty());
    }
}

#[test]
fn a_directory_of_another_version() {
    let stored = Stored::with_messages();
    fs::write(stored.path().join("FORMAT"), "zaichik journal\nformat 3\n").expect("written");
    for command in COMMANDS {
        let line = contains("has format 3, but this version reads format 2\n");
        stored.store(command).assert().code(9).stdout(is_empty()).stderr(line);
    }
}

#[test]
fn a_command_without_a_directory() {
    for command in COMMANDS {
        let mut command_line = assert_cmd::Command::from_std(zaichik());
        let words = command.split_whitespace();
        command_line.arg("store").args(words).assert().code(2).stderr(contains("<DIR>"));
    }
}
