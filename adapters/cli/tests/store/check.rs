//! `zaichik store check`.

use std::fs;

use predicates::prelude::*;
use predicates::str::{contains, is_empty, starts_with};
use serde_json::json;

use super::stored::Stored;

#[test]
fn a_sound_directory_is_exit_code_0() {
    let stored = Stored::with_messages();
    let before = stored.listing();
    let sound = contains(" is sound; topics: 2, messages: 8, rows: ").and(contains("\n").count(1));
    stored.store("check").assert().success().stdout(sound).stderr(is_empty());
    let (outcome, code) = stored.json("check");
    assert_eq!((code, &outcome["sound"], &outcome["messages"]), (0, &json!(true), &json!(8)));
    assert_eq!(stored.listing(), before, "nothing in the directory changes");
}

#[test]
fn a_damaged_directory_is_exit_code_8_and_names_the_place() {
    let stored = Stored::with_messages();
    stored.damage("tea 6");
    let (outcome, code) = stored.json("check");
    assert_eq!((code, &outcome["sound"]), (8, &json!(false)));
    let problem = outcome["problem"].as_str().expect("text");
    assert!(problem.starts_with("segment-0000000001 is damaged at byte "), "{problem}");
    let line = starts_with("zaichik: ").and(contains(problem)).and(contains("\n").count(1));
    stored.store("check").assert().code(8).stdout(is_empty()).stderr(line);
}

#[test]
fn every_byte_of_every_commit_is_checked_after_a_clean_stop() {
    let stored = Stored::with_messages();
    let path = stored.path().join("segment-0000000001");
    let bytes = fs::read(&path).expect("readable");
    // Behind the last commit are the zeros that were written ahead.
    let end = bytes.iter().rposition(|byte| *byte != 0).expect("commits");
    for at in (0..end).step_by(97) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 4;
        fs::write(&path, &flipped).expect("writable");
        let code = stored.store("check").output().expect("it runs").status.code();
        // The zeros that fill a commit up to a multiple of 8 bytes mean nothing.
        let is_filling = bytes[at] == 0 && code == Some(0);
        assert!(code == Some(8) || is_filling, "byte {at}: {code:?}");
    }
}

#[test]
fn a_torn_end_that_nobody_was_told_of_is_sound() {
    let stored = Stored::with_messages();
    let path = stored.path().join("segment-0000000001");
    let mut bytes = fs::read(&path).expect("readable");
    bytes.extend_from_slice(b"ZJfr a commit that was interrupted");
    fs::write(&path, bytes).expect("writable");
    stored.store("check").assert().success();
}
