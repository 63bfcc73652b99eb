//! `zaichik pub --producer`: a command that can be run again.

use predicates::prelude::*;
use predicates::str::{contains, is_empty};
use zaichik_tokio::{Overflow, TopicOptions};

use super::broker::Broker;
use super::network::{Network, spawn_through};

fn lines(numbers: std::ops::Range<u32>) -> String {
    numbers.map(|number| number.to_string() + "\n").collect()
}

fn notice(count: &str, rest: &str) -> String {
    format!(
        "zaichik: {count} had been published to topic \"t\" under the name \"import\"; {rest} not published again\n"
    )
}

#[test]
fn the_same_input_is_stored_once_and_said_to_be_there() {
    let broker = Broker::start();
    broker.create_kept("t");
    for count in [1, 2, 999, 1_000, 1_001, 3_000] {
        let name = format!("import-{count}");
        let stored = broker.bodies("t").len();
        let publish =
            || broker.run(&format!("pub t -l --producer {name}")).write_stdin(lines(0..count)).assert();
        publish().success().stdout(is_empty()).stderr(is_empty());
        assert_eq!(
            broker.bodies("t")[stored..],
            (0..count).map(|number| number.to_string()).collect::<Vec<_>>()
        );
        for _ in 0..2 {
            let said = if count == 1 { "1 message had been" } else { &format!("{count} messages had been") };
            publish().success().stdout(is_empty()).stderr(contains(said).and(contains("\n").count(1)));
        }
        assert_eq!(broker.bodies("t").len(), stored + count as usize);
    }
    // Each name has progress of its own, in one topic.
    let progress = broker.json("sub zaichik.producers -e -J");
    assert_eq!(progress.iter().filter(|record| !record["key"].is_null()).count(), 6);
}

#[test]
fn lines_that_were_appended_are_published() {
    let broker = Broker::start();
    broker.create_kept("t");
    broker
        .run("pub t -l --producer import -v")
        .write_stdin("a\nb\n")
        .assert()
        .success()
        .stderr("published 2 messages to t, offsets 0 to 1\n");
    broker.run("pub t -l --producer import -v").write_stdin("a\nb\nc\n").assert().success().stderr(
        notice("2 messages", "these are")
            + "published 1 message to t, offset 2; 2 messages had been published before\n",
    );
    broker
        .run("pub t -l --producer import --json")
        .write_stdin("a\nb\nc\nd\n")
        .assert()
        .success()
        .stderr(notice("3 messages", "these are"))
        .stdout(
            "{\"topic\":\"t\",\"number\":1,\"offset\":null,\"duplicate\":false,\"repeated\":true}\n\
             {\"topic\":\"t\",\"number\":2,\"offset\":null,\"duplicate\":false,\"repeated\":true}\n\
             {\"topic\":\"t\",\"number\":3,\"offset\":null,\"duplicate\":false,\"repeated\":true}\n\
             {\"topic\":\"t\",\"number\":4,\"offset\":3,\"duplicate\":false,\"repeated\":false}\n",
        );
    broker
        .run("pub t -l --producer import -q")
        .write_stdin("a\nb\nc\nd\n")
        .assert()
        .success()
        .stderr(is_empty());
    assert_eq!(broker.bodies("t"), ["a", "b", "c", "d"]);
}

#[test]
fn another_input_or_topic_is_refused() {
    let broker = Broker::start();
    broker.create_kept("t");
    broker.create_kept("u");
    broker.run("pub t -K : --producer import").write_stdin("k:a\nl:b\n").assert().success();
    let name = || contains("under the name \"import\"").or(contains("the name \"import\" belongs"));
    for (arguments, input, said) in [
        ("pub t -K :", "k:a\nl:c\n", "does not begin with the 2 messages"),
        ("pub t -K :", "k:a\nm:b\n", "does not begin with the 2 messages"),
        ("pub t -K :", "l:b\nk:a\n", "does not begin with the 2 messages"),
        ("pub t -K : -H a:b", "k:a\nl:b\n", "does not begin with the 2 messages"),
        ("pub t -l", "k:a\nl:b\nc\n", "does not begin with the 2 messages"),
        ("pub t -K :", "k:a\n", "the input has 1 message, but 2 had been"),
        ("pub t -K :", "", "the input has 0 messages, but 2 had been"),
        ("pub u -K :", "k:a\nl:b\n", "of topic \"t\", so nothing is published to topic \"u\""),
        ("pub u -K : --txn", "other:input\n", "of topic \"t\", so nothing is published to topic \"u\""),
    ] {
        broker
            .run(&format!("{arguments} --producer import"))
            .write_stdin(input)
            .assert()
            .code(5)
            .stdout(is_empty())
            .stderr(
                contains(said)
                    .and(name())
                    .and(contains("use another name for --producer"))
                    .and(contains("\n").count(1)),
            );
    }
    assert_eq!((broker.bodies("t").len(), broker.bodies("u").len()), (2, 0));
    broker.run("pub u -K : --producer another").write_stdin("k:a\nl:b\n").assert().success();
    assert_eq!(broker.bodies("u"), ["a", "b"]);
}

#[test]
fn a_name_can_be_forgotten() {
    let broker = Broker::start();
    broker.create_kept("t");
    broker.run("pub t one --producer import").assert().success();
    broker.run("pub zaichik.producers -n -k import").assert().success();
    broker.run("pub t two --producer import").assert().success().stderr(is_empty());
    assert_eq!(broker.bodies("t"), ["one", "two"]);
}

#[test]
fn transactions_and_lines_have_one_progress() {
    let broker = Broker::start();
    broker.create_kept("t");
    for (flags, input) in [
        ("--txn", "a\nb\n"),
        ("", "a\nb\n"),
        ("", "a\nb\nc\n"),
        ("--txn", "a\nb\nc\nd\ne\n"),
        ("--txn", "a\nb\nc\nd\ne\n"),
    ] {
        broker.run(&format!("pub t -l --producer import -q {flags}")).write_stdin(input).assert().success();
    }
    assert_eq!(broker.bodies("t"), ["a", "b", "c", "d", "e"]);
    broker
        .run("pub t -l --producer many --txn")
        .write_stdin("x\n".repeat(65_536))
        .assert()
        .code(5)
        .stderr(contains("more than 65535 messages to publish, the maximum for one transaction with a name"));
}

#[test]
fn a_command_that_was_killed_is_continued() {
    let broker = Broker::start();
    broker.create_kept("t");
    let all = lines(0..5_000);
    let mut publishing = broker.spawn("pub t -l -J --producer import");
    let (first, rest) = all.split_at(all.len() / 2);
    publishing.write(first);
    // It is killed while it publishes.
    for _ in 0..100 {
        assert!(publishing.line().contains("\"repeated\":false"));
    }
    publishing.signal("KILL");
    let (status, ..) = publishing.wait();
    assert_eq!(status.code(), None);
    let stored = broker.bodies("t").len();
    assert!((100..=2_500).contains(&stored), "{stored}");
    broker
        .run("pub t -l --producer import")
        .write_stdin(format!("{first}{rest}"))
        .assert()
        .success()
        .stderr(contains("messages had been published"));
    assert_eq!(broker.bodies("t").join("\n") + "\n", all);
}

#[test]
fn lines_are_published_as_they_arrive() {
    let broker = Broker::start();
    broker.create_kept("t");
    let mut publishing = broker.spawn("pub t -l -J --producer import");
    for number in 1..=3 {
        publishing.write(&format!("{number}\n"));
        assert!(publishing.line().contains(&format!("\"number\":{number},")));
    }
    publishing.signal("INT");
    let (status, rest, stderr) = publishing.wait();
    assert_eq!((status.code(), rest.as_str(), stderr.as_str()), (Some(0), "", ""));
    assert_eq!(broker.bodies("t"), ["1", "2", "3"]);
}

#[test]
fn a_newer_command_takes_over_the_name() {
    let broker = Broker::start();
    broker.create_kept("t");
    let mut older = broker.spawn("pub t -l -J --producer import");
    older.write("a\n");
    assert!(older.line().contains("\"offset\":0"));
    broker.run("pub t -l --producer import").write_stdin("a\nb\n").assert().success();
    older.write("b\n");
    let (status, rest, stderr) = older.end();
    assert_eq!((status.code(), rest.as_str()), (Some(5), ""));
    assert!(stderr.contains("another command publishes under the name \"import\" now"), "{stderr}");
    assert_eq!(broker.bodies("t"), ["a", "b"]);
}

#[test]
fn commands_at_the_same_time_publish_each_line_once() {
    let broker = Broker::start();
    broker.create_kept("t");
    let all = lines(0..2_000);
    let mut commands: Vec<_> = (0..4).map(|_| broker.spawn("pub t -l --producer import")).collect();
    for command in &mut commands {
        // One that was taken over does not read all of it.
        command.write_what_it_reads(&all);
    }
    for command in commands {
        let (status, _, stderr) = command.end();
        assert!(matches!(status.code(), Some(0 | 5)), "{stderr}");
    }
    broker.run("pub t -l --producer import").write_stdin(all.as_str()).assert().success();
    assert_eq!(broker.bodies("t").join("\n") + "\n", all);
}

#[test]
fn a_broken_connection_changes_nothing() {
    let broker = Broker::start();
    broker.create_kept("t");
    let network = Network::to(broker.address());
    let mut publishing = spawn_through(&network, "pub t -l -J --producer import");
    for number in 0..50 {
        if number % 10 == 5 {
            network.cut();
        }
        publishing.write(&format!("{number}\n"));
        assert!(publishing.line().contains(&format!("\"offset\":{number},")));
    }
    let (status, rest, stderr) = publishing.end();
    assert_eq!((status.code(), rest.as_str(), stderr.as_str()), (Some(0), "", ""));
    assert_eq!(broker.bodies("t"), (0..50).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[test]
fn a_restarted_broker_is_reported() {
    let broker = Broker::start();
    broker.create_kept("t");
    let address = broker.address().to_owned();
    let mut publishing = broker.spawn("pub t -l -J --producer import");
    publishing.write("a\n");
    assert!(publishing.line().contains("\"offset\":0"));
    broker.kill();
    let _restarted = Broker::start_at(&address);
    publishing.write("b\n");
    let (status, _, stderr) = publishing.end();
    assert_eq!(status.code(), Some(5), "{stderr}");
    assert!(
        stderr.contains("the broker was restarted while messages were published under the name"),
        "{stderr}"
    );
}

#[test]
fn messages_after_a_restart_are_not_taken_for_the_whole_input() {
    let broker = Broker::start();
    broker.create_kept("t");
    broker.run("pub t -l --producer import").write_stdin("a\nb\n").assert().success();
    let progress = broker.json("sub zaichik.producers -e -J").pop().expect("progress");
    let mut body: serde_json::Value =
        serde_json::from_str(progress["body"].as_str().expect("text")).expect("JSON");
    // As a command writes it whose last batch reached a broker that was started after its first ones.
    body["instance"] = "0".into();
    broker.run("pub zaichik.producers -k import").write_stdin(body.to_string()).assert().success();
    broker
        .run("pub t -l --producer import")
        .write_stdin("a\nb\nc\n")
        .assert()
        .code(5)
        .stderr(contains("the broker was restarted while messages were published under the name \"import\""));
    assert_eq!(broker.bodies("t"), ["a", "b"]);
}

#[test]
fn a_record_of_something_else_is_not_taken_for_progress() {
    let broker = Broker::start();
    broker.run("pub t x -q --producer another").assert().success();
    broker.run("pub zaichik.producers -k import hello").assert().success();
    broker.run("pub t x --producer import").assert().code(5).stderr(contains("is not one of this command"));
}

#[test]
fn a_refusal_under_a_name_names_its_line() {
    let broker = Broker::start();
    let limited = |max| TopicOptions::new().retain_forever().max_messages(max).overflow(Overflow::Reject);
    broker.create("t", limited(2));
    let publish =
        |lines: &str| broker.run("pub t -l --timeout 500ms --producer import").write_stdin(lines).assert();
    publish("a\nb\nc\n").code(5).stderr(
        contains("zaichik: line 3: topic \"t\": the topic is full")
            .and(contains("; stored: 2 of 3 messages read")),
    );
    broker.run("topic alter t --max-messages 10").assert().success();
    publish("a\nb\nc\n").success().stderr(contains("2 messages had been published"));
    assert_eq!(broker.bodies("t"), ["a", "b", "c"]);
    let large = format!("small\n{}\nsmall\n", "x".repeat(2 << 20));
    broker
        .run("pub u -l --producer large")
        .write_stdin(large)
        .assert()
        .code(5)
        .stderr(contains("zaichik: line 2: ").and(contains("above the broker's limit")));
}

#[test]
fn large_messages_have_batches_of_their_own() {
    let broker = Broker::start();
    broker.create_kept("t");
    let body = "x".repeat((1 << 20) - 1);
    let input = format!("a\n{body}\nb\nc\n{body}\n");
    for _ in 0..2 {
        broker.run("pub t -l -q --producer import").write_stdin(input.as_str()).assert().success();
    }
    assert_eq!(
        broker.bodies("t").iter().map(String::len).collect::<Vec<_>>(),
        [1, body.len(), 1, 1, body.len()]
    );
}

#[test]
fn a_name_has_a_length_and_a_topic_to_itself() {
    let broker = Broker::start();
    for name in [String::new(), "x".repeat(256)] {
        broker
            .run("pub t x --producer")
            .arg(&name)
            .assert()
            .code(2)
            .stderr(contains(format!("the name of --producer has {} bytes; use 1 to 255", name.len())));
    }
    broker.run("pub t x -q --producer").arg("x".repeat(255)).assert().success();
    broker
        .run("pub zaichik.producers x --producer import")
        .assert()
        .code(2)
        .stderr(contains("has the progress of --producer"));
}

#[test]
fn a_topic_that_would_not_keep_progress_is_refused_with_the_command_that_mends_it() {
    let broker = Broker::start();
    broker.create_kept("t");
    broker.run("pub t x --producer import").assert().success();
    broker.run("topic alter zaichik.producers --max-keys 10").assert().success();
    broker.run("pub t x -q --producer import").assert().success();
    broker.run("topic alter zaichik.producers --retention-ttl 1h").assert().success();
    let output = broker.run("pub t x --producer import").assert().code(5).get_output().stderr.clone();
    let message = String::from_utf8(output).expect("text");
    let (_, advice) = message.split_once("settings: ").expect("a command");
    assert!(broker.shell(advice.trim()).status().expect("it runs").success());
    broker.run("pub t x --producer import").assert().success().stderr(contains("1 message had been"));
}
