//! `zaichik store repair` (rule B4).

use std::fs;

use predicates::prelude::*;
use predicates::str::{contains, ends_with, is_empty, starts_with};
use serde_json::{Value, json};

use super::pty::on_a_terminal;
use super::stored::{Stored, store, zaichik};

/// A directory that is damaged at the third of the messages in `orders`.
fn damaged() -> Stored {
    let stored = Stored::with_messages();
    stored.damage("tea 2");
    let mut command = zaichik();
    command.args(["-p", "0", "--data"]).arg(stored.path());
    assert_eq!(command.output().expect("it runs").status.code(), Some(8), "a broker does not start");
    stored
}

/// The loss of a repair that cut something off.
fn check_loss(loss: &Value, is_repaired: bool) {
    assert_eq!(loss["repaired"], json!(is_repaired));
    assert_eq!(loss["messages"], json!({"found": 7, "left": 2}));
    assert_eq!(loss["subscriptions"], json!({"found": 1, "left": 0}));
    let topics = json!([
        {"topic": "orders", "messages": {"found": 6, "left": 2}, "end": {"found": 7, "left": 2}},
        {"topic": "other", "messages": {"found": 1, "left": 0}, "end": {"found": 1, "left": 0}},
    ]);
    assert_eq!(loss["topics"], topics);
    assert_eq!(loss["cut_off"]["file"], "segment-0000000001");
    assert_eq!(loss["cut_off"]["segments_removed"], 0);
    let commits = &loss["cut_off"]["commits"];
    assert!(commits["left"].as_u64() < commits["found"].as_u64(), "{loss}");
}

#[test]
fn a_broker_starts_again_with_what_was_before_the_damage() {
    let stored = damaged();
    let (loss, code) = stored.json("repair --truncate --yes");
    assert_eq!(code, 0);
    check_loss(&loss, true);
    stored.store("check").assert().success();
    let mut bodies = Vec::new();
    stored.serve(async |client| {
        let mut messages = client.subscribe("orders").window(0).await.expect("subscribed");
        assert_eq!((messages.start(), messages.end()), (0, 2));
        for _ in 0..2 {
            bodies.push(messages.next_message().await.expect("no error").expect("a message").body.clone());
        }
        let receipt = client.publish("orders", "another").await.expect("accepted");
        assert_eq!(receipt.offset(0), Some(2));
        assert_eq!(client.topic("other").await.expect("it is there").end, 0);
    });
    assert_eq!(bodies, ["tea 0", "tea 1"]);
    let (again, code) = stored.json("repair --truncate --yes");
    assert_eq!((code, &again["repaired"], &again["cut_off"]), (0, &json!(false), &Value::Null));
}

#[test]
fn b4_what_was_answered_and_is_given_up_makes_another_instance_without_producers() {
    let stored = damaged();
    let before = stored.json("info").0;
    stored.json("repair --truncate --yes");
    let after = stored.json("info").0;
    assert_eq!(after["store"], before["store"]);
    assert!(before["instance"].is_string() && after["instance"].is_string());
    assert_ne!(after["instance"], before["instance"]);
    assert_eq!((&before["producers"], &after["producers"]), (&json!(1), &json!(0)));
}

#[test]
fn a_durable_subscription_continues_at_the_cursor_that_is_left() {
    let stored = Stored::with_messages();
    stored.serve(async |client| {
        client.publish("other", "the last one").await.expect("accepted");
    });
    stored.damage("the last one");
    stored.json("repair --truncate --yes");
    stored.serve(async |client| {
        let mut messages = client.subscribe("orders").durable("kitchen").await.expect("subscribed");
        let message = messages.next_message().await.expect("no error").expect("a message");
        assert_eq!(message.offset, 2);
    });
}

#[test]
fn without_truncate_it_explains_itself() {
    let stored = damaged();
    let before = stored.listing();
    for arguments in ["repair", "repair --yes"] {
        let line = contains("gives up everything behind the first damage, also what was acknowledged")
            .and(contains("zaichik store dump "))
            .and(ends_with("add --truncate\n"))
            .and(contains("\n").count(1));
        stored.store(arguments).assert().code(2).stdout(is_empty()).stderr(line);
    }
    assert_eq!(stored.listing(), before);
}

/// All files but the lock, which names the process that had it last.
fn content(stored: &Stored) -> Vec<(std::ffi::OsString, Vec<u8>)> {
    stored.listing().into_iter().filter(|(name, _)| name != "LOCK").collect()
}

#[test]
fn without_a_terminal_and_without_yes_it_only_says_what_would_be_given_up() {
    let stored = damaged();
    let before = content(&stored);
    let (loss, code) = stored.json("repair --truncate");
    assert_eq!(code, 2);
    check_loss(&loss, false);
    let told = contains("\nmessages               7 found, 2 left\n").and(contains("\norders "));
    let line = "zaichik: nothing was changed; add --yes to give this up\n";
    stored.store("repair --truncate").assert().code(2).stdout(told).stderr(line);
    assert_eq!(content(&stored), before);
}

#[test]
fn on_a_terminal_it_asks() {
    let stored = damaged();
    let before = content(&stored);
    let command = || {
        let mut command = zaichik();
        command.args(["store", "repair"]).arg(stored.path()).arg("--truncate");
        command
    };
    for answer in ["n\n", "\n", "yesterday\n", "\x04"] {
        let (code, screen) = on_a_terminal(command(), answer);
        assert_eq!(code, Some(1), "{screen}");
        assert!(screen.contains("7 found, 2 left") && screen.contains("[y/N] "), "{screen}");
        assert!(screen.ends_with("zaichik: nothing was changed\n"), "{screen}");
        assert_eq!(content(&stored), before, "{answer:?}");
    }
    let (code, screen) = on_a_terminal(command(), "y\n");
    assert_eq!(code, Some(0), "{screen}");
    assert!(screen.ends_with(" is repaired; a broker can start with it\n"), "{screen}");
    stored.store("check").assert().success();
}

#[test]
fn a_sound_directory_stays_as_it_is() {
    let stored = Stored::with_messages();
    let before = content(&stored);
    stored.store("repair --truncate").assert().success().stdout(ends_with(" and nothing was changed\n"));
    assert_eq!(content(&stored), before);
}

#[test]
fn what_truncating_does_not_repair_is_left_alone() {
    let stored = Stored::with_messages();
    fs::write(stored.path().join("FORMAT"), "something else").expect("written");
    let before = content(&stored);
    let line =
        starts_with("zaichik: ").and(contains("FORMAT is damaged at byte 0")).and(contains("\n").count(1));
    stored.store("repair --truncate --yes").assert().code(8).stdout(is_empty()).stderr(line);
    assert_eq!(content(&stored), before);
    stored.store("dump").assert().code(8).stdout(contains("\n").count(8));
}

#[test]
fn a_directory_that_is_read_is_not_repaired() {
    let stored = damaged();
    let lock = fs::OpenOptions::new().read(true).open(stored.path().join("LOCK")).expect("it is there");
    lock.lock_shared().expect("nobody else has it");
    let line = contains(" is being read by another process; ").and(contains("\n").count(1));
    store(&stored.path(), "repair --truncate --yes").assert().code(75).stderr(line);
}
