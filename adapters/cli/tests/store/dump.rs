//! `zaichik store dump`.

use predicates::prelude::*;
use predicates::str::{contains, is_empty};
use serde_json::{Value, json};

use super::stored::{Stored, zaichik};

/// The lines of JSON that it prints, its exit code, and what it says on standard error.
fn dump(stored: &Stored, arguments: &str) -> (Vec<Value>, Option<i32>, String) {
    let output = stored.store(&format!("dump {arguments}")).output().expect("it runs");
    let lines = str::from_utf8(&output.stdout).expect("text").lines();
    let lines = lines.map(|line| serde_json::from_str(line).expect("JSON"));
    (lines.collect(), output.status.code(), String::from_utf8(output.stderr).expect("text"))
}

fn offsets(lines: &[Value]) -> Vec<u64> {
    lines.iter().map(|line| line["offset"].as_u64().expect("a number")).collect()
}

#[test]
fn it_prints_what_sub_prints() {
    let stored = Stored::with_messages();
    let before = stored.listing();
    let (lines, code, stderr) = dump(&stored, "--topic orders");
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert_eq!(stored.listing(), before, "nothing in the directory changes");
    let mut subscribed = Vec::new();
    stored.serve_at(|address| {
        let mut command = zaichik();
        command.args(["sub", "orders", "--exit-at-end", "--json", "-s", address]);
        let output = command.output().expect("it runs");
        let text = str::from_utf8(&output.stdout).expect("text").lines();
        subscribed = text.map(|line| serde_json::from_str::<Value>(line).expect("JSON")).collect();
    });
    for message in &mut subscribed {
        assert_eq!(message["attempt"], 1);
        message["attempt"] = json!(0);
    }
    assert_eq!(lines, subscribed);
    assert_eq!(lines.len(), 7);
}

#[test]
fn without_a_topic_it_prints_all_of_them() {
    let stored = Stored::with_messages();
    let names = |lines: &[Value]| lines.iter().map(|line| line["topic"].clone()).collect::<Vec<_>>();
    let (lines, code, _) = dump(&stored, "");
    assert_eq!((code, names(&lines)), (Some(0), [vec![json!("orders"); 7], vec![json!("other")]].concat()));
    let (lines, ..) = dump(&stored, "--topic other --topic orders");
    assert_eq!(lines.len(), 8);
    let unknown = contains("there is no topic \"cakes\" in ").and(contains("\n").count(1));
    stored.store("dump --topic cakes").assert().code(1).stdout(is_empty()).stderr(unknown);
}

#[test]
fn messages_that_a_limit_removed_are_not_printed() {
    let stored = Stored::new();
    stored.serve(async |client| {
        let options = zaichik_tokio::TopicOptions::new().retain_forever().max_messages(2);
        client.create_topic("t", options).await.expect("created");
        for number in 0..5 {
            client.publish("t", number.to_string()).await.expect("accepted");
        }
    });
    let (lines, code, stderr) = dump(&stored, "");
    assert_eq!((offsets(&lines), code, stderr.as_str()), (vec![3, 4], Some(0), ""));
}

#[test]
fn damage_costs_what_is_damaged_and_is_told() {
    let stored = Stored::with_messages();
    stored.damage("tea 2");
    let (lines, code, stderr) = dump(&stored, "--topic orders");
    assert_eq!((offsets(&lines), code), (vec![0, 1, 3, 4, 5, 6], Some(8)));
    assert_eq!(lines[1]["body"], "tea 1");
    let told: Vec<_> = stderr.lines().collect();
    assert!(told[0].starts_with("zaichik: segment-0000000001 is damaged at byte "), "{stderr}");
    assert!(told.contains(&"zaichik: topic \"orders\": offsets 2 to 2 are missing"), "{stderr}");
    let end = "cannot be read as a whole; problems found: 2, messages printed: 6";
    assert!(told.last().is_some_and(|line| line.ends_with(end)), "{stderr}");
}

#[test]
fn a_topic_whose_name_is_lost_is_printed_under_its_number() {
    let stored = Stored::with_messages();
    stored.damage("\u{6}orders");
    let (lines, code, _) = dump(&stored, "--topic $0");
    assert_eq!((offsets(&lines), code), ((0..7).collect(), Some(8)));
    assert!(lines.iter().all(|line| line["topic"] == "$0"));
}

#[test]
fn the_reader_of_a_pipe_may_stop_early() {
    let stored = Stored::new();
    stored.serve(async |client| {
        client.create_topic("t", zaichik_tokio::TopicOptions::new().retain_forever()).await.expect("created");
        for _ in 0..20 {
            client.publish("t", "x".repeat(100_000)).await.expect("accepted");
        }
    });
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_zaichik")).display().to_string();
    let line =
        format!("{program} store dump {} | head -c 10; exit ${{PIPESTATUS[0]}}", stored.path().display());
    let output = std::process::Command::new("bash").args(["-c", &line]).output().expect("a shell");
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}
