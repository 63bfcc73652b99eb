//! `zaichik topic`.

use predicates::prelude::*;
use predicates::str::{contains, is_empty};
use serde_json::{Value, json};

use super::broker::Broker;

#[test]
fn create_and_alter_change_the_settings() {
    let broker = Broker::start();
    broker
        .run("topic create t --retention-ttl 1h --compaction-window 5m --compaction latest --max-messages 10")
        .args([
            "--max-bytes",
            "1MiB",
            "--overflow",
            "reject",
            "--max-keys",
            "7",
            "--tombstone-ttl",
            "forever",
        ])
        .assert()
        .success()
        .stdout(is_empty())
        .stderr(is_empty());
    let expected = json!({
        "retention_ttl_us": 3_600_000_000_u64, "compaction_window_us": 300_000_000, "compaction": "latest",
        "max_messages": 10, "max_bytes": 1_048_576, "overflow": "reject", "max_keys": 7, "tombstone_ttl_us": null,
    });
    let [info] = &broker.json("t info t --json")[..] else { panic!("one line") };
    assert_eq!(
        (&info["topic"], &info["explicit"], &info["settings"]),
        (&json!("t"), &json!(true), &expected)
    );
    broker.run("topic alter t --retention-ttl forever --max-bytes unlimited").assert().success();
    let info = &broker.json("topic info t --json")[0];
    assert_eq!(info["settings"]["retention_ttl_us"], Value::Null);
    assert_eq!(info["settings"]["max_bytes"], Value::Null);
    assert_eq!(info["settings"]["max_messages"], 10, "a setting that was not named stays");
    broker
        .run("topic info t")
        .assert()
        .success()
        .stdout(contains("compaction-window  5m\n").and(contains("tombstone-ttl      forever\n")));
}

#[test]
fn create_reports_its_outcome() {
    let broker = Broker::start();
    let create = |arguments: &str| broker.json(&format!("topic create t -J {arguments}"));
    broker.run("pub t x").assert().success();
    assert_eq!(create("--retention-ttl 1m"), [json!({"topic": "t", "status": "adopted"})]);
    assert_eq!(create("--retention-ttl 1m"), [json!({"topic": "t", "status": "unchanged"})]);
    let refused = |arguments: &str, differ: &str, flags: &str| {
        broker.run(&format!("topic create t {arguments}")).assert().code(5).stderr(
            contains(format!("these differ: {differ}; "))
                .and(contains(format!(": zaichik topic alter t {flags}\n")))
                .and(contains("\n").count(1)),
        );
    };
    refused("--retention-ttl 2m", "retention_ttl", "--retention-ttl 2m");
    // The broker's defaults count for omitted settings, and the command does not know them.
    refused("--max-keys 7", "retention_ttl, max_keys", "--retention-ttl <DURATION> --max-keys 7");
    let all = "--retention-ttl '1h 30m' --compaction-window forever --compaction latest --max-messages unlimited \
               --max-bytes 1048576 --overflow reject --max-keys 8 --tombstone-ttl 0s";
    let given = all.replace("'1h 30m'", "90m").replace("1048576", "1MiB");
    let names = "retention_ttl, compaction_window, compaction, max_messages, max_bytes, overflow, max_keys, tombstone_ttl";
    refused(&given, names, all);
    broker.run(&format!("topic alter t {}", all.replace("'1h 30m'", "1h30m"))).assert().success();
    assert_eq!(create(&given), [json!({"topic": "t", "status": "unchanged"})]);
    refused(
        "--overflow drop-oldest",
        names,
        "--retention-ttl <DURATION> --compaction-window <DURATION> --compaction \
        <MODE> --max-messages <N> --max-bytes <BYTES> --overflow drop_oldest --max-keys <N> --tombstone-ttl <DURATION>",
    );
    assert_eq!(broker.json("topic create u -J"), [json!({"topic": "u", "status": "created"})]);
}

#[test]
fn r10_trim_removes_what_is_before_a_position() {
    let broker = Broker::start();
    broker.create_kept("t");
    broker.publish("t", &["a", "b", "c", "d", "e"]);
    let trim = |before: &str| broker.json(&format!("topic trim t -J --before {before}"));
    let outcome = |removed: u64, start: u64| [json!({"topic": "t", "removed": removed, "start": start})];
    assert_eq!(trim("@-1h"), outcome(0, 0), "nothing is that old");
    assert_eq!(trim("2"), outcome(2, 2));
    assert_eq!(broker.bodies("t"), ["c", "d", "e"]);
    assert_eq!(trim("-1"), outcome(2, 4), "all but the last one");
    broker.run("sub t -o 0 -c 1").assert().success().stdout("e\n");
    assert_eq!(trim("latest"), outcome(1, 5));
    broker.publish("t", &["f"]);
    assert_eq!(trim("@2199-01-01T00:00Z"), outcome(1, 6));
    assert_eq!(broker.json("topic info t --json")[0]["end"], 6);
}

#[test]
fn wrong_settings_are_errors() {
    let broker = Broker::start();
    for (arguments, code) in [
        ("topic create t --retention-ttl soon", 2),
        ("topic create t --max-bytes 1TiB", 2),
        ("topic create t --compaction newest", 2),
        ("topic create t --max-messages 0", 5),
        ("topic create $t", 5),
        ("topic alter t", 2),
        ("topic alter t --max-keys 1", 5),
        ("topic info t", 5),
        ("topic view t", 5),
        ("topic rm t", 2),
        ("topic trim t", 2),
        ("topic trim t --before never", 2),
        ("topic trim t --before 1", 5),
        ("topic trim t --before -1", 5),
    ] {
        broker.run(arguments).assert().code(code).stdout(is_empty());
    }
    assert!(broker.json("topic ls -J").is_empty(), "none of the commands created a topic");
}

#[test]
fn a_list_has_every_topic() {
    let broker = Broker::start();
    broker.run("topic ls").assert().success().stdout(is_empty()).stderr(is_empty());
    broker.create_kept("orders");
    broker.publish("orders", &["a", "b"]);
    broker.run("pub live x").assert().success();
    let output = broker.run("topic ls").assert().success();
    let text = String::from_utf8(output.get_output().stdout.clone()).expect("text");
    let words: Vec<Vec<_>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words.len(), 3, "{text}");
    assert_eq!(words[0][0], "TOPIC");
    assert_eq!(words[1][..3], ["orders", "forever", "2"]);
    assert_eq!(words[2][..4], ["live", "live", "only", "0"]);
    let lines = broker.json("topic ls --json");
    let ends: Vec<_> = lines.iter().map(|line| (&line["topic"], &line["end"], &line["explicit"])).collect();
    assert_eq!(
        ends,
        [(&json!("orders"), &json!(2), &json!(true)), (&json!("live"), &json!(1), &json!(false))]
    );
}

#[test]
fn view_consumes_nothing() {
    let broker = Broker::start();
    broker.create_kept("t");
    broker.publish("t", &["a", "b", "c"]);
    for _ in 0..2 {
        broker.run("topic view t").assert().success().stdout("a\nb\nc\n").stderr(is_empty());
    }
    broker.run("topic view t -c 1 -o -2").assert().success().stdout("b\n");
    broker.run("topic view t -o 2 -F %o").assert().success().stdout("2");
    assert_eq!(broker.json("topic view t -J")[2]["body"], "c");
    assert_eq!(broker.json("topic info t -J")[0]["subscriptions"], 0);
}

#[test]
fn a_list_has_every_topic_of_every_page() {
    const TOPICS: usize = 5_000;
    let broker = Broker::start();
    broker.with_client(async |client| {
        for number in 0..TOPICS {
            let topic = format!("{number:04}-{}", "long-name-".repeat(10));
            client.publish(&topic, "x").enqueue().expect("room").await.expect("accepted");
        }
    });
    for list in ["topic ls -J", "ls --json", "list -J", "topic list -J"] {
        let lines = broker.json(list);
        let names: std::collections::BTreeSet<_> =
            lines.iter().map(|line| line["topic"].as_str().expect("a name")).collect();
        assert_eq!((lines.len(), names.len()), (TOPICS, TOPICS), "{list}");
    }
    let text = broker.run("ls").assert().success().get_output().stdout.clone();
    assert_eq!(String::from_utf8(text).expect("text").lines().count(), TOPICS + 1);
}

#[test]
fn alter_has_a_line_of_json_and_both_spellings_of_a_value() {
    let broker = Broker::start();
    for overflow in ["drop_oldest", "drop-oldest"] {
        broker.run(&format!("topic create {overflow} --overflow {overflow}")).assert().success();
        let changed = broker.json(&format!("topic alter {overflow} --overflow {overflow} --json"));
        assert_eq!(changed, [json!({"topic": overflow, "status": "changed"})]);
        assert_eq!(
            broker.json(&format!("topic info {overflow} -J"))[0]["settings"]["overflow"],
            "drop_oldest"
        );
    }
    broker.run("topic create t --overflow dropoldest").assert().code(2);
}

#[test]
fn sizes_are_shown_with_units() {
    let broker = Broker::start();
    broker.run("topic create t --max-bytes 1536KiB").assert().success();
    broker.run("topic info t").assert().success().stdout(contains("max-bytes          1.5 MiB\n"));
}
