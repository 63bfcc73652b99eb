//! `zaichik subscription`, and `zaichik info`.

use predicates::prelude::*;
use predicates::str::{contains, is_empty};
use serde_json::{Value, json};

use super::broker::Broker;

/// A broker with three messages, of which a durable subscription has committed one.
fn broker_with_a_reader() -> Broker {
    let broker = Broker::start();
    broker.create_kept("t");
    broker.publish("t", &["a", "b", "c"]);
    broker.run("sub t --durable d -c 1").assert().success().stdout("a\n");
    broker
}

#[test]
fn a_list_has_every_subscription() {
    let broker = Broker::start();
    broker.run("subscription ls").assert().success().stdout(is_empty()).stderr(is_empty());
    let broker = broker_with_a_reader();
    let mut reading = broker.spawn("sub t --window 7 -v");
    assert!(reading.stderr_line().contains("subscribed"));
    let text = broker.run("subs ls t").assert().success().get_output().stdout.clone();
    let text = String::from_utf8(text).expect("text");
    let words: Vec<Vec<_>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words.len(), 3, "{text}");
    assert_eq!(words[0][..3], ["TOPIC", "NAME", "STATE"]);
    let durable = words.iter().find(|line| line[1] == "d").expect("the durable one");
    assert_eq!(durable[..3], ["t", "d", "detached"]);
    assert!(words.iter().any(|line| line[..5] == ["t", "-", "attached", "-", "7"]), "{text}");
    let lines = broker.json("subscription ls -J");
    let line = lines.iter().find(|line| line["name"] == "d").expect("the durable one");
    assert_eq!((&line["cursor"], &line["end"], &line["lag"]), (&json!(1), &json!(3), &json!(2)));
    assert!(line["expires_in_us"].as_u64().is_some_and(|left| left > 3_600_000_000), "the default is a day");
    assert!(lines.iter().any(|line| line["name"] == Value::Null && line["window"] == 7));
    broker.run("subs ls nothing").assert().code(5).stderr(contains("\n").count(1));
}

#[test]
fn info_shows_one_subscription() {
    let broker = broker_with_a_reader();
    let shown = broker.run("subscription info t d").assert().success();
    shown.stdout(
        contains("state       detached\n").and(contains("cursor      1\n")).and(contains("lag         2\n")),
    );
    assert_eq!(broker.json("subs info t d --json")[0]["attached"], false);
    broker.run("subs info t nobody").assert().code(5).stdout(is_empty()).stderr(
        "zaichik: topic \"t\" has no durable subscription \"nobody\"; zaichik subscription ls lists them\n",
    );
    broker.run("subs info t").assert().code(2);
}

#[test]
fn members_of_a_shared_subscription_get_each_message_once_and_info_shows_them() {
    let broker = Broker::start();
    broker.create_kept("t");
    broker.publish("t", &["a", "b", "c"]);
    broker.run("sub t --shared workers -c 2").assert().success().stdout("a\nb\n");
    let mut reading = broker.spawn("sub t --shared workers --commit each --ack-deadline 1m -v");
    assert!(reading.stderr_line().contains("subscribed"));
    assert_eq!(reading.line(), "t c");
    let shown = broker.run("subscription info t workers").assert().success();
    shown.stdout(contains("members     1\n").and(contains("zaichik sub")));
    let info = &broker.json("subs info t workers --json")[0]["shared"];
    assert_eq!((&info["ack_deadline_us"], &info["by_key"]), (&json!(60_000_000), &json!(false)));
    assert_eq!(info["members"][0]["stuck"], false);
    for refused in ["--durable d", "-e", "--commit manual", "--commit never --window 0"] {
        broker.run(&format!("sub t --shared workers {refused}")).assert().code(2);
    }
    broker.run("sub t --by-key").assert().code(2);
    broker.run("sub t --shared workers --by-key").assert().code(5).stderr(contains("by_key"));
    broker.run("sub t --durable workers").assert().code(5).stderr(contains("exclusive"));
}

#[test]
fn the_newest_member_decides_how_long_a_shared_subscription_is_kept() {
    const HOUR: u64 = 3_600_000_000;
    let broker = Broker::start();
    broker.create_kept("t");
    broker.publish("t", &["a", "b"]);
    for (ttl, body, least, most) in [("3h", "a\n", 2, 3), ("1h", "b\n", 0, 1)] {
        broker
            .run(&format!("sub t --shared workers -c 1 --inactive-ttl {ttl}"))
            .assert()
            .success()
            .stdout(body);
        let expires_in = broker.json("subs info t workers --json")[0]["expires_in_us"].as_u64();
        assert!(
            expires_in.is_some_and(|micros| (least * HOUR..=most * HOUR).contains(&micros)),
            "{ttl}: {expires_in:?}"
        );
    }
    broker.run("sub t --inactive-ttl 1h").assert().code(2).stderr(contains("--shared"));
}

#[test]
fn seek_moves_a_subscription() {
    let broker = broker_with_a_reader();
    for (to, expected) in
        [("earliest", "a\nb\nc\n"), ("-1", "c\n"), ("1", "b\nc\n"), ("latest", ""), ("@-1h", "a\nb\nc\n")]
    {
        broker
            .run(&format!("subscription seek t d {to}"))
            .assert()
            .success()
            .stdout(is_empty())
            .stderr(is_empty());
        broker.run("sub t --durable d -e").assert().success().stdout(expected);
    }
    broker.run("subs seek t nobody 0").assert().code(5);
    broker.run("subs seek unknown d -1").assert().code(5);
    broker.run("subs seek t d soon").assert().code(2);
    assert_eq!(broker.json("topic ls -J").len(), 1, "resolving a position creates no topic");
}

#[test]
fn rm_removes_a_subscription() {
    let broker = broker_with_a_reader();
    let mut reading = broker.spawn("sub t --durable d");
    assert_eq!(reading.line(), "b");
    broker.run("subscription rm t d").assert().code(5).stderr(contains("another connection holds"));
    reading.signal("INT");
    assert_eq!(reading.wait().0.code(), Some(0));
    broker.run("subscription rm t d").assert().success().stdout(is_empty()).stderr(is_empty());
    broker.run("subscription rm t d").assert().code(5);
    broker.run("sub t --durable d -e").assert().success().stdout("a\nb\nc\n");
}

#[test]
fn info_shows_the_broker() {
    let broker = broker_with_a_reader();
    let [info] = &broker.json("info --json")[..] else { panic!("one line") };
    assert_eq!(info["protocol"], 2);
    assert_eq!(info["address"], broker.address());
    assert!(info["server"].as_str().is_some_and(|server| server.contains(env!("CARGO_PKG_VERSION"))));
    assert_eq!(info["instance"].as_str().map(str::len), Some(32));
    assert_eq!(info["limits"]["max_message"], 1 << 20);
    assert_eq!(info["counters"]["records_in"], 3);
    assert_eq!(info["counters"]["durable_subscriptions"], 1);
    let shown = broker.run("info").assert().success();
    shown.stdout(contains("uptime ").and(contains("limit max_window ")).and(contains("records_in ")));
    let shown = broker.run("status").assert().success();
    shown.stdout(
        contains("limit max_message")
            .and(contains("1 MiB\n"))
            .and(contains("limit heartbeat"))
            .and(contains("30s\n")),
    );
}

#[test]
fn seek_and_rm_have_a_line_of_json() {
    let broker = broker_with_a_reader();
    let line = |status: &str| json!({"topic": "t", "name": "d", "status": status});
    assert_eq!(broker.json("subscription seek t d 0 --json"), [line("moved")]);
    assert_eq!(broker.json("subscription rm t d -J"), [line("removed")]);
}

#[test]
fn a_list_has_every_subscription_of_every_page() {
    const SUBSCRIPTIONS: usize = 2_000;
    let broker = Broker::start();
    broker.with_client(async |client| {
        for number in 0..SUBSCRIPTIONS {
            let topic = if number % 2 == 0 { "even" } else { "odd" };
            let name = format!("{number:04}-{}", "long-name-".repeat(10));
            let subscribing = client.subscribe(topic).durable(name.as_str());
            drop(subscribing.await.expect("subscribed"));
        }
    });
    let names = |list: &str| -> std::collections::BTreeSet<String> {
        let lines = broker.json(list);
        let names = lines.iter().map(|line| line["name"].as_str().expect("a name").to_owned());
        let names: std::collections::BTreeSet<_> = names.collect();
        assert_eq!(names.len(), lines.len(), "{list}");
        names
    };
    assert_eq!(names("subscription ls -J").len(), SUBSCRIPTIONS);
    assert_eq!(names("subs list --json").len(), SUBSCRIPTIONS);
    let (even, odd) = (names("subscription ls even -J"), names("subscription ls odd -J"));
    assert_eq!((even.len(), odd.len()), (SUBSCRIPTIONS / 2, SUBSCRIPTIONS / 2));
    assert!(even.is_disjoint(&odd));
}
