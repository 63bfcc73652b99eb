//! `zaichik store backup` (rule B10).

use std::fs;

use predicates::prelude::*;
use predicates::str::{contains, ends_with, is_empty};
use serde_json::{Value, json};
use zaichik_tokio::Client;

use super::stored::{Broker, Stored, store};

/// A place for a copy beside the directory.
fn target(stored: &Stored, name: &str) -> String {
    stored.folder().join(name).to_str().expect("text").to_owned()
}

fn info(dir: &str) -> Value {
    let output = store(dir.as_ref(), "info --json").assert().success();
    serde_json::from_slice(&output.get_output().stdout).expect("JSON")
}

#[test]
fn a_directory_is_copied_while_its_broker_runs() {
    let stored = Stored::with_messages();
    let copy = target(&stored, "copy");
    stored.serve_at(|_| {
        let line =
            contains("/copy is a backup of ").and(contains("/data at 20")).and(contains("\n").count(1));
        let line = line.and(contains("; topics: 2, messages: 8, segments: 1, "));
        stored.store("backup").arg(&copy).assert().success().stdout(line).stderr(is_empty());
        let (outcome, code) = stored.json(&format!("backup {copy}-2"));
        assert_eq!((code, &outcome["topics"], &outcome["messages"]), (0, &json!(2), &json!(8)));
        assert_eq!(outcome["target"], json!(format!("{copy}-2")));
    });
    store(copy.as_ref(), "check").assert().success();
    store(copy.as_ref(), "info")
        .assert()
        .success()
        .stdout(contains("a backup: a broker would start with it as"));
    let (original, copied) = (stored.json("info").0, info(&copy));
    assert_eq!((&original["backup"], &copied["backup"]), (&json!(false), &json!(true)));
    for same in ["store", "instance", "topics", "messages", "subscriptions", "producers"] {
        assert_eq!(original[same], copied[same], "{same}");
    }
}

#[test]
fn a_broker_starts_with_a_backup_and_continues_as_another_instance() {
    let stored = Stored::with_messages();
    let copy = target(&stored, "copy");
    // Nobody has to use it.
    stored.store("backup").arg(&copy).assert().success();
    let mut instances = vec![info(&copy)["instance"].clone()];
    let restored = target(&stored, "restored");
    for _ in 0..2 {
        fs::create_dir(&restored).expect("created");
        for entry in fs::read_dir(&copy).expect("a directory") {
            let entry = entry.expect("listed");
            fs::copy(entry.path(), format!("{restored}/{}", entry.file_name().display())).expect("copied");
        }
        let broker = Broker::start(restored.as_ref());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let client = Client::connect(&broker.address).await.expect("the broker listens");
            let mut messages = client.subscribe("orders").durable("kitchen").await.expect("subscribed");
            let message = messages.next_message().await.expect("no error").expect("a message");
            assert_eq!(message.offset, 2, "the cursor of the backup");
            client.close().await.expect("closed");
        });
        broker.stop();
        let after = info(&restored);
        assert_eq!((&after["backup"], &after["producers"]), (&json!(false), &json!(0)));
        assert!(!instances.contains(&after["instance"]), "each time another one");
        instances.push(after["instance"].clone());
        fs::remove_dir_all(&restored).expect("removed");
    }
}

#[test]
fn a_target_that_is_not_empty_stays_as_it_is() {
    let stored = Stored::with_messages();
    let copy = target(&stored, "copy");
    fs::create_dir(&copy).expect("created");
    stored.store("backup").arg(&copy).assert().success();
    let line = contains("/copy is not empty; name a new directory").and(contains("\n").count(1));
    stored.store("backup").arg(&copy).assert().code(2).stdout(is_empty()).stderr(line);
    // The directory itself.
    let line = contains("/data is not empty; ");
    stored.store("backup").arg(stored.path()).assert().code(2).stderr(line);
    let file = target(&stored, "file");
    fs::write(&file, "dear").expect("written");
    let line = contains("/file for the copy: ").and(contains("\n").count(1));
    stored.store("backup").arg(&file).assert().code(1).stderr(line);
    store(copy.as_ref(), "check").assert().success();
}

#[test]
fn a_damaged_directory_is_not_backed_up() {
    let stored = Stored::with_messages();
    stored.damage("tea 2");
    let copy = target(&stored, "copy");
    let line = contains(" is damaged at byte ").and(contains("\n").count(1));
    stored.store("backup").arg(&copy).assert().code(8).stdout(is_empty()).stderr(line);
    // What there is of a copy does not open.
    let remains = fs::read_dir(&copy).expect("a directory").flatten();
    assert!(!remains.into_iter().any(|entry| entry.file_name() == "FORMAT"));
}

#[test]
fn of_a_directory_without_a_store_there_is_no_backup() {
    let stored = Stored::new();
    let copy = target(&stored, "copy");
    let line = contains("there is no storage directory ").and(contains("\n").count(1));
    stored.store("backup").arg(&copy).assert().code(2).stderr(line);
    fs::create_dir(stored.path()).expect("created");
    let line = contains("nothing is stored in ").and(ends_with("--data\n"));
    stored.store("backup").arg(&copy).assert().code(2).stderr(line);
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
fn a_disk_without_space_for_the_copy_is_named() {
    use zaichik_parity::fault_layer::{Errno, Faults, Operation};
    let stored = Stored::with_messages();
    let faults = Faults::new(stored.folder());
    let full = faults.fail(Operation::Write, "segment-", Errno::NOSPC, None);
    let copy = target(&stored, "copy");
    let mut command = super::stored::zaichik();
    faults.load(&mut command, "copy").args(["store", "backup"]).arg(stored.path()).arg(&copy);
    let line = contains(format!("cannot write {copy}: No space left on device")).and(contains("remove it"));
    assert_cmd::Command::from_std(command).assert().code(1).stdout(is_empty()).stderr(line);
    assert!(full.hits() > 0);
    store(copy.as_ref(), "check").assert().code(8);
}
