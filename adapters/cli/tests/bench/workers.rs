//! `zaichik bench workers`: one queue that several members share.

use std::io::BufReader;

use rustix::process::Signal;
use serde_json::Value;
use zaichik_tokio::{Client, Event, SharedOptions, Start};

use crate::process::{Broker, Running, assert_verified, block_on, number, until, watch, zaichik};

#[test]
fn members_acknowledge_every_message_of_every_publisher_once() {
    let broker = Broker::start();
    for more in [
        "",
        "--members 1",
        "--members 3 --window 1",
        "--batch 1 --in-flight 1",
        "--ack none",
        "--by-key --keys 7",
        "--by-key --keys 1 --members 3",
        "--by-key",
    ] {
        let report = broker.json(&format!("workers --msgs 2001 --pubs 2 --warmup 100 {more}"));
        assert_eq!(number(&report, "/published/messages"), 2_001, "{more}");
        assert_eq!(number(&report, "/acknowledged/messages"), 2_001, "{more}");
        assert_eq!(number(&report, "/acknowledged/bytes"), 2_001 * 128);
        assert_eq!(number(&report, "/acknowledged/latency/count"), 2_001);
        assert_eq!(number(&report, "/verify/redelivered"), 0);
        assert!(report["delivered"].is_null(), "{report:#}");
        assert_verified(&report, 2_101);
    }
}

#[test]
fn a_run_leaves_no_subscription_and_no_message() {
    let broker = Broker::start();
    broker.json("workers --msgs 200");
    let mut list = zaichik("topic");
    let output = list.args(["ls", "-J", "--server", &broker.address]).output().expect("the command runs");
    let topic: Value = serde_json::from_slice(&output.stdout).expect("one topic");
    assert_eq!((&topic["topic"], number(&topic, "/messages")), (&Value::from("bench"), 0));
    let mut list = zaichik("subscription");
    let output =
        list.args(["ls", "bench", "-J", "--server", &broker.address]).output().expect("the command runs");
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn the_text_says_what_is_verified() {
    let broker = Broker::start();
    for (more, parameters, verify) in [
        ("", "members=10 window=256", " verify: any order · 0 lost · 0 duplicated · 0 gaps"),
        (
            "--members 2 --by-key --keys 1000",
            "members=2 by-key keys=1,000 window=256",
            " verify: order ok · 0 lost · 0 duplicated · 0 gaps",
        ),
    ] {
        let output = broker.output(&format!("workers --msgs 2000 {more}"));
        let stdout = String::from_utf8(output.stdout).expect("UTF-8");
        let lines: Vec<&str> = stdout.lines().collect();
        assert_eq!(output.status.code(), Some(0), "{stdout}");
        assert!(lines[0].contains(parameters), "{stdout}");
        assert!(lines[2].starts_with(" work ") && lines[2].contains("2,000 acked "), "{stdout}");
        assert_eq!(lines[3], verify);
    }
}

#[test]
fn the_csv_output_has_a_line_of_the_members() {
    let broker = Broker::start();
    let output = broker.output("workers --msgs 2000 --by-key --keys 10 --csv");
    let stdout = String::from_utf8(output.stdout).expect("UTF-8");
    let lines: Vec<Vec<&str>> = stdout.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(lines.len(), 3, "{stdout}");
    let cell = |column: &str| lines[2][lines[0].iter().position(|name| *name == column).expect(column)];
    let cells = ["part", "messages", "members", "keys", "redelivered", "lost"].map(cell);
    assert_eq!(cells, ["acknowledged", "2000", "10", "10", "0", "0"]);
}

#[test]
fn an_interrupt_ends_a_run_with_what_is_acknowledged() {
    let broker = Broker::start();
    let running = broker.bench("workers --duration 1h --topic endless --json").spawn();
    let running = Running(running.expect("the command starts"));
    watch(&broker.address, "endless");
    running.signal(Signal::INT);
    let (code, stdout, err) = running.end();
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let report: Value = serde_json::from_str(&stdout).expect("a JSON object");
    assert_eq!(report["interrupted"], true);
    assert!(number(&report, "/acknowledged/messages") > 0, "{report:#}");
    assert_eq!(number(&report, "/verify/lost"), 0);
}

#[test]
fn messages_that_another_member_keeps_are_lost() {
    let broker = Broker::start();
    let running =
        broker.bench("workers --rate 1000 --duration 1h --members 1 --topic shared --timeout 500ms");
    let mut running = { running }.arg("--json").spawn().map(Running).expect("the command starts");
    watch(&broker.address, "shared");
    block_on(async {
        let client = Client::connect(&broker.address).await.expect("the broker listens");
        let subscriptions = client.subscriptions(Some("shared")).await.expect("the topic exists");
        let ours = subscriptions.iter().find(|one| one.name.starts_with("bench-")).expect("its subscription");
        let intruder = SharedOptions::new(ours.name.clone());
        let mut intruder =
            client.subscribe("shared").shared(intruder).window(4).from(Start::Latest).await.expect("joined");
        for _ in 0..4 {
            let Some(Event::Message(_)) = intruder.next_event().await.expect("no error") else {
                panic!("no message");
            };
        }
        running.signal(Signal::INT);
        let mut stderr = BufReader::new(running.0.stderr.take().expect("a pipe"));
        until(&mut stderr, "verification failed");
    });
    let (code, stdout, _) = running.end();
    assert_eq!(code, Some(7));
    let report: Value = serde_json::from_str(&stdout).expect("a JSON object");
    assert_eq!(number(&report, "/verify/lost"), 4, "{report:#}");
}

#[test]
fn keys_need_by_key() {
    let output = Broker::start().output("workers --keys 5");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--by-key"));
}
