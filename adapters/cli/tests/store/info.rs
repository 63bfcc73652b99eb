//! `zaichik store info`.

use predicates::prelude::*;
use predicates::str::{contains, ends_with, is_empty};
use serde_json::{Value, json};

use super::stored::{Broker, Stored, zaichik};

#[test]
fn it_shows_what_a_broker_would_recover() {
    let stored = Stored::with_messages();
    let before = stored.listing();
    let (info, code) = stored.json("info");
    assert_eq!((code, &info["sound"]), (0, &json!(true)));
    let counts = ["messages", "subscriptions", "producers"].map(|name| info[name].as_u64());
    assert_eq!(counts, [Some(8), Some(1), Some(1)]);
    let topics: Vec<_> = info["topics"].as_array().expect("a list").iter().collect();
    let shown = |topic: &Value| {
        ["topic", "messages", "first", "end", "subscriptions"].map(|name| topic[name].clone())
    };
    assert_eq!(shown(topics[0]), [json!("orders"), json!(7), json!(0), json!(7), json!(1)]);
    assert_eq!(shown(topics[1]), [json!("other"), json!(1), json!(0), json!(1), json!(0)]);
    assert!(topics[0]["oldest"].as_str() < topics[1]["oldest"].as_str());
    assert!(topics[0]["oldest"].as_str() < info["latest"].as_str());
    let sizes =
        ["live_bytes", "segment_bytes", "disk_bytes"].map(|name| info[name].as_u64().expect("a size"));
    assert!(sizes.is_sorted() && sizes[2] > 64 << 20, "the reserve of 64 MiB is on the disk, too: {sizes:?}");
    stored
        .store("info")
        .assert()
        .success()
        .stderr(is_empty())
        .stdout(contains("\nmessages               8\n").and(contains("\nsegments               1\n")))
        .stdout(contains("a broker would recover all of this").and(contains("TOPIC ")));
    assert_eq!(stored.listing(), before, "nothing in the directory changes");
}

#[test]
fn the_instance_is_the_one_that_clients_see() {
    let stored = Stored::new();
    let mut instance = String::new();
    stored.serve(async |client| {
        client.publish("t", "x").await.expect("accepted");
        instance = format!("{:032x}", client.instance().expect("it is connected"));
    });
    assert_eq!(stored.json("info").0["instance"], json!(instance));
}

#[test]
fn messages_that_are_gone_do_not_count() {
    let stored = Stored::new();
    stored.serve(async |client| {
        let options = zaichik_tokio::TopicOptions::new().retain_forever().max_messages(2);
        client.create_topic("t", options).await.expect("created");
        for number in 0..5 {
            client.publish("t", number.to_string()).await.expect("accepted");
        }
    });
    let topic = &stored.json("info").0["topics"][0];
    assert_eq!(["messages", "first", "end"].map(|name| topic[name].as_u64()), [Some(2), Some(3), Some(5)]);
}

#[test]
fn what_is_left_of_a_damaged_directory_is_shown() {
    let stored = Stored::with_messages();
    stored.damage("tea 2");
    let (info, code) = stored.json("info");
    assert_eq!((code, &info["sound"]), (8, &json!(false)));
    assert_eq!(info["topics"][0]["messages"], json!(6), "all but the damaged one");
    let problem = contains("segment-0000000001 is damaged at byte ").and(contains("\n").count(1));
    stored.store("info").assert().code(8).stdout(contains("a broker would not start")).stderr(problem);
    // The row with the name of the topic is lost as well.
    stored.damage("\x06orders");
    stored.store("info").assert().code(8).stdout(contains("\n$0 ")).stderr(ends_with("behind that: 2\n"));
}

#[test]
fn a_running_broker_tells_about_its_storage() {
    let stored = Stored::with_messages();
    let broker = Broker::start(&stored.path());
    let info = || {
        let mut command = assert_cmd::Command::from_std(zaichik());
        command.args(["info", "--server", &broker.address]);
        command
    };
    info().assert().success().stdout(contains("\nstorage ").and(contains(" durable, ")));
    let output = info().arg("--json").output().expect("it runs");
    let shown: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(shown["storage"], json!("durable"));
    let counters = &shown["counters"];
    assert_eq!((&counters["storage_segments"], &counters["storage_full"]), (&json!(1), &json!(0)));
    assert!(counters["storage_live_bytes"].as_u64() > Some(0), "{counters}");
    broker.stop();
}

#[test]
fn b7_a_directory_that_may_lack_commits_is_sound_and_another_instance() {
    let stored = Stored::with_messages();
    assert_eq!(stored.json("info").0["lacks_commits"], json!(false));
    let mark = format!("not every commit may be on the disk\nboot {:032x}\n", 7);
    std::fs::write(stored.path().join("UNSYNCED"), mark).expect("written");
    let (info, code) = stored.json("info");
    assert_eq!((code, &info["sound"], &info["lacks_commits"]), (0, &json!(true), &json!(true)));
    stored.store("info").assert().success().stdout(contains("a broker would start as another instance"));
    stored.store("check").assert().success();
    stored.serve(async |client| {
        let instance = format!("{:032x}", client.instance().expect("it is connected"));
        assert_ne!(info["instance"], json!(instance));
    });
    let (info, _) = stored.json("info");
    assert_eq!((&info["lacks_commits"], &info["producers"]), (&json!(false), &json!(0)));
}
