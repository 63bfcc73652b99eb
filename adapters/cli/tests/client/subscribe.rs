//! `zaichik sub`.

use predicates::prelude::*;
use predicates::str::{contains, is_empty};
use zaichik_tokio::{Outgoing, TopicOptions};

use super::broker::{Broker, broker_with};
use super::network::{Network, spawn_through};

#[test]
fn a_pipe_gets_only_bodies() {
    let broker = broker_with(&["one", "two", "three"]);
    for arguments in
        ["sub t -e", "subscribe t --exit-at-end", "sub t -c 3", "sub t -o earliest --commit never -e"]
    {
        broker.run(arguments).assert().success().stdout("one\ntwo\nthree\n").stderr(is_empty());
    }
    broker.run("sub t -c 0").assert().success().stdout(is_empty());
    broker.run("sub t -e -q -v").assert().code(2);
}

#[test]
fn reading_begins_at_the_given_position() {
    let broker = broker_with(&["0", "1", "2", "3"]);
    for (from, expected) in [
        ("2", "2\n3\n"),
        ("-1", "3\n"),
        ("-10", "0\n1\n2\n3\n"),
        ("latest", ""),
        ("@-1h", "0\n1\n2\n3\n"),
        ("@2020-01-01T00:00Z", "0\n1\n2\n3\n"),
        ("@2999-01-01T00:00:00+02:00", ""),
        ("99", ""),
    ] {
        broker.run(&format!("sub t -e -o {from}")).assert().success().stdout(expected);
    }
    broker.run("sub t --from last-per-key").assert().code(2).stderr(contains("invalid value 'last-per-key'"));
}

#[test]
fn it_prints_new_messages_until_a_signal() {
    let broker = broker_with(&["before"]);
    for signal in ["INT", "TERM"] {
        let mut reading = broker.spawn("sub t -o -1");
        assert_eq!(reading.line(), "before");
        broker.publish("t", &["then", "before"]);
        assert_eq!(reading.line(), "then");
        assert_eq!(reading.line(), "before");
        reading.signal(signal);
        let (status, rest, stderr) = reading.wait();
        assert_eq!((status.code(), rest.as_str(), stderr.as_str()), (Some(0), "", ""));
    }
}

#[test]
fn verbose_output_names_the_topic_of_each_line() {
    let broker = broker_with(&["a"]);
    broker.create_kept("u");
    broker.publish("u", &["b"]);
    let output = broker.run("sub t u -e -v").assert().success().stderr(
        "zaichik: subscribed to t from offset 0; the topic ends at offset 1\n\
         zaichik: subscribed to u from offset 0; the topic ends at offset 1\n",
    );
    let mut lines: Vec<_> = std::str::from_utf8(&output.get_output().stdout).expect("text").lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["t a", "u b"]);
}

#[test]
fn an_expired_wait_is_reported() {
    let broker = broker_with(&["one"]);
    broker
        .run("sub t -o latest -W 300ms")
        .assert()
        .code(4)
        .stdout(is_empty())
        .stderr("zaichik: no message within 300ms\n");
    broker.run("sub t -W 300ms").assert().success().stdout("one\n");
    broker
        .run("sub t -c 2 -W 300ms")
        .assert()
        .code(4)
        .stdout("one\n")
        .stderr("zaichik: no further message within 300ms; messages received: 1\n");
    broker.run("sub t -c 1 -W 1h").assert().success();
}

#[test]
fn a_closed_output_ends_the_command_quietly() {
    let broker = broker_with(&["one"]);
    let mut reading = broker.spawn("sub t --durable d --window 1");
    assert_eq!(reading.line(), "one");
    reading.close_output();
    broker.publish("t", &["two", "three"]);
    let (status, _, stderr) = reading.wait();
    assert_eq!((status.code(), stderr.as_str()), (Some(0), ""));
    broker.run("sub t --durable d -e").assert().success().stdout("two\nthree\n");
}

#[test]
fn a_reader_that_is_gone_ends_the_command_without_another_message() {
    let broker = broker_with(&["one"]);
    for arguments in ["sub t", "sub t --durable d", "sub t --json --commit manual"] {
        let mut reading = broker.spawn(arguments);
        assert!(reading.line().contains("one"));
        reading.close_output();
        let (status, _, stderr) = reading.wait();
        assert_eq!((status.code(), stderr.as_str()), (Some(0), ""), "{arguments}");
    }
    let line = "zaichik sub t > /dev/null & sub=$!; zaichik pub t two; kill -0 $sub && kill $sub; wait $sub";
    assert_eq!(broker.shell(line).status().expect("a shell").code(), Some(0), "a file is never closed");
}

#[test]
fn messages_are_printed_in_the_given_format() {
    let broker = Broker::start();
    broker.create_kept("t");
    broker.send("t", &[Outgoing::new("body\u{1}").key("key").header("a", "1").header("b", "")]);
    let format = r"%t|%o|%k|%K|%s{hex}|%S|%h|%a|%k{base64}|%d|%%\t\\\n";
    broker
        .run("sub t -e -F")
        .arg(format)
        .assert()
        .success()
        .stdout("t|0|key|3|626f647901|5|a=1,b=|1|a2V5|0|%\t\\\n");
    let output = broker.run("sub t -e -F %T").assert().success();
    let millis: u64 = String::from_utf8_lossy(&output.get_output().stdout).parse().expect("a number");
    assert_eq!(millis, broker.messages("t")[0].timestamp.as_micros() / 1_000);
    broker.send("t", &[Outgoing::tombstone("key"), Outgoing::new("").key("key")]);
    broker.run("sub t -e -o -2 -F %d%S,").assert().success().stdout("10,00,");
    broker.run("sub t -F %x").assert().code(2).stderr(contains("unknown placeholder %x"));
    broker.run("sub t -F %s -J").assert().code(2);
}

#[test]
fn messages_are_printed_as_json() {
    let broker = Broker::start();
    broker.create_kept("t");
    broker.send(
        "t",
        &[
            Outgoing::new("text").key("key").header("a", "1"),
            Outgoing::new(vec![0xff, 0xfe]).key(vec![0x80]).header("b", vec![0x81]),
            Outgoing::tombstone("key"),
        ],
    );
    let output = broker.run("sub t -e --json").assert().success();
    let lines = String::from_utf8(output.get_output().stdout.clone()).expect("text");
    let mut values: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).expect("json")).collect();
    for value in &mut values {
        let timestamp = value.as_object_mut().expect("an object").remove("timestamp").expect("a time");
        assert!(timestamp.as_str().is_some_and(|time| time.starts_with("20") && time.ends_with('Z')));
    }
    assert_eq!(
        values,
        [
            serde_json::json!({"topic": "t", "offset": 0, "attempt": 1, "key": "key", "body": "text",
                "headers": [{"name": "a", "value": "1"}]}),
            serde_json::json!({"topic": "t", "offset": 1, "attempt": 1, "key_base64": "gA==", "body_base64": "//4=",
                "headers": [{"name": "b", "value_base64": "gQ=="}]}),
            serde_json::json!({"topic": "t", "offset": 2, "attempt": 1, "key": "key", "tombstone": true}),
        ]
    );
}

#[test]
fn missing_messages_are_reported() {
    let broker = Broker::start();
    broker.create("t", TopicOptions::new().retain_forever().max_messages(2));
    broker.publish("t", &["0"]);
    broker.run("sub t --durable d -c 1").assert().success();
    broker.run("sub t --durable e -c 1").assert().success();
    broker.publish("t", &["1", "2", "3"]);
    broker.run("sub t --durable d -e").assert().success().stdout("2\n3\n").stderr(
        "zaichik: topic \"t\": messages 1 up to, but not including, 2 are lost: a limit of the topic removed them; the \
         subscription continues\n",
    );
    broker
        .run("sub t --durable e -e --fail-on-gap")
        .assert()
        .code(6)
        .stdout(is_empty())
        .stderr(contains("messages 1 up to, but not including, 2 are lost").and(contains("\n").count(1)));
    broker.run("sub t --durable e -e -q").assert().success().stdout("2\n3\n").stderr(is_empty());
}

#[test]
fn a_takeover_ends_the_first_subscriber() {
    let broker = broker_with(&["one"]);
    let mut first = broker.spawn("sub t --durable d");
    assert_eq!(first.line(), "one");
    let second = broker.spawn("sub t --durable d -o latest");
    let (status, _, stderr) = first.wait();
    assert_eq!(status.code(), Some(5));
    assert_eq!(stderr, "zaichik: topic \"t\": another connection took over the subscription\n");
    second.signal("INT");
    assert_eq!(second.wait().0.code(), Some(0));
}

#[test]
fn a_message_that_failed_too_often_moves_to_the_dead_letter_topic() {
    let broker = broker_with(&["bad", "good"]);
    let arguments = "sub t --durable d --window 1 --max-attempts 3 --dead-letter failed";
    // A command that has printed all it should is no failure.
    broker.run(&format!("{arguments} --commit never -c 1")).assert().success().stdout("bad\n");
    // The reader of a message ends without a commit: its input, or its output.
    let manual = format!("{arguments} --commit manual");
    let mut reading = broker.spawn(&manual);
    assert_eq!(reading.line(), "bad");
    assert!(reading.end().0.success());
    let mut reading = broker.spawn(&manual);
    assert_eq!(reading.line(), "bad");
    reading.close_output();
    assert!(reading.wait().0.success());
    // The connection of a command that is killed breaks.
    let mut reading = broker.spawn(&manual);
    assert_eq!(reading.line(), "bad");
    reading.signal("KILL");
    assert_eq!(reading.wait().0.code(), None);
    broker.run("sub failed -c 1").assert().success().stdout("bad\n");
    broker.run("sub t --durable d -e").assert().success().stdout("good\n");
    broker.run("sub t --max-attempts 1").assert().code(2).stderr(contains("--dead-letter"));
    broker.run("sub t --dead-letter t --max-attempts 1").assert().code(5);
}

#[test]
fn a_topic_without_retention_shows_only_new_messages() {
    let broker = Broker::start();
    broker.run("pub t early").assert().success();
    broker.run("sub t -e").assert().success().stdout(is_empty());
    let mut reading = broker.spawn("sub t -v");
    assert_eq!(reading.stderr_line(), "zaichik: subscribed to t from offset 1; the topic ends at offset 1");
    broker.run("pub t").write_stdin("late").assert().success();
    assert_eq!(reading.line(), "t late");
}

#[test]
fn a_reconnect_is_reported() {
    let broker = broker_with(&["one"]);
    let network = Network::to(broker.address());
    // Without a window it continues after the last received message, so none is redelivered.
    let mut reading = spawn_through(&network, "sub t --commit never --fail-on-gap");
    assert_eq!(reading.line(), "one");
    for body in ["two", "three"] {
        network.cut();
        assert_eq!(reading.stderr_line(), "zaichik: connection lost, trying again");
        assert_eq!(reading.stderr_line(), "zaichik: connected again");
        assert_eq!(reading.stderr_line(), "zaichik: topic \"t\": reconnected; no messages are lost");
        broker.publish("t", &[body]);
        assert_eq!(reading.line(), body);
    }
    reading.signal("INT");
    assert_eq!(reading.wait().0.code(), Some(0));
}

#[test]
fn a_restart_of_the_broker_is_reported() {
    // The broker restarts at the same address, as another instance.
    let broker = broker_with(&["one"]);
    let address = broker.address().to_owned();
    let mut reading = broker.spawn("sub t");
    assert_eq!(reading.line(), "one");
    let mut failing = broker.spawn("sub t --fail-on-gap -o latest -v");
    assert!(failing.stderr_line().contains("subscribed"));
    broker.kill();
    for lines in [&mut reading, &mut failing] {
        assert_eq!(lines.stderr_line(), "zaichik: connection lost, trying again");
    }
    let broker = Broker::start_at(&address);
    assert_eq!(reading.stderr_line(), "zaichik: connected again");
    assert!(reading.stderr_line().contains("the broker was restarted"));
    let (status, _, stderr) = failing.wait();
    assert_eq!(status.code(), Some(6));
    assert!(stderr.contains("the broker was restarted"), "{stderr}");
    broker.publish("t", &["two"]);
    assert_eq!(reading.line(), "two");
    reading.signal("INT");
    assert_eq!(reading.wait().0.code(), Some(0));
}

#[test]
fn a_slow_reader_gets_every_message() {
    // More than all buffers on the way hold.
    let broker = Broker::start();
    broker.create_kept("t");
    let large = "x".repeat(64 << 10);
    broker.publish("t", &[large.as_str(); 100]);
    let mut reading = broker.spawn("sub t -e --durable d");
    for _ in 0..100 {
        assert_eq!(reading.line().len(), large.len());
    }
    assert_eq!(reading.wait().0.code(), Some(0));
    // A full pipe does not keep the command from ending.
    let mut stuck = broker.spawn("sub t --durable stuck -v");
    assert!(stuck.stderr_line().contains("subscribed"));
    stuck.signal("TERM");
    assert_eq!(stuck.wait_unread().code(), Some(0));
    let output = broker.run("sub t --durable stuck -e").assert().success();
    assert!(output.get_output().stdout.len() > large.len(), "not all of it was committed");
}
