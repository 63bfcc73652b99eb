//! Standard streams that are closed, full or unreadable, and names that a terminal would obey.

use predicates::prelude::*;
use predicates::str::{contains, is_empty, starts_with};
use zaichik_tokio::TopicOptions;

use super::broker::{Broker, RunningCommand};

/// Runs a line of the shell; returns its exit code and its standard error.
fn shell(broker: &Broker, line: &str) -> (Option<i32>, String) {
    let output = broker.shell(line).output().expect("a shell");
    (output.status.code(), String::from_utf8(output.stderr).expect("text"))
}

#[test]
fn an_output_that_cannot_be_written_is_an_error() {
    let broker = Broker::start();
    broker.create_kept("t");
    broker.publish("t", &["x"]);
    for command in [
        "topic ls",
        "topic ls --json",
        "topic info t",
        "info",
        "info -J",
        "ping -c 1",
        "ping -c 1 --json",
        "pub t x --json",
        "sub t -e",
        "sub t -e --json",
        "topic view t",
        "topic create u --json",
        "completion bash",
        "config print",
        "config default --json",
        "bench pub --msgs 100",
        "bench pub --msgs 100 --json",
        "bench pub --msgs 100 --csv",
    ] {
        let (code, stderr) = shell(&broker, &format!("zaichik {command} > /dev/full"));
        assert_eq!(code, Some(1), "{command}: {stderr}");
        assert!(starts_with("zaichik: ").and(contains("cannot write")).eval(&stderr), "{command}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{command}: {stderr}");
    }
    assert_eq!(broker.bodies("t"), ["x", "x"], "the message is stored although its receipt is not written");
}

#[test]
fn a_closed_pipe_is_no_error() {
    let broker = Broker::start();
    broker.create_kept("t");
    broker.publish("t", &["x"]);
    for arguments in [
        "topic ls",
        "info --json",
        "ping -c 1",
        "ping -c 1 -J",
        "pub t x --json",
        "sub t -e",
        "completion zsh",
    ] {
        let mut command = broker.command();
        command.args(arguments.split_whitespace());
        let mut running = RunningCommand::start(command);
        running.close_output();
        let (status, _, stderr) = running.end();
        assert_eq!((status.code(), stderr.as_str()), (Some(0), ""), "{arguments}");
    }
}

#[test]
fn a_closed_input_is_not_an_empty_one() {
    let broker = Broker::start();
    broker.create_kept("t");
    for command in ["pub t", "pub t -l", "pub t -K =", "pub t -f -", "pub t --txn", "sub t --commit manual"] {
        let (code, stderr) = shell(&broker, &format!("zaichik {command} <&-"));
        assert_eq!(code, Some(2), "{command}: {stderr}");
        assert!(stderr.starts_with("zaichik: standard input is closed"), "{command}: {stderr}");
    }
    assert!(broker.bodies("t").is_empty());
    for command in ["pub t body <&-", "pub t < /dev/null", "pub t -l < /dev/null", "sub t -e <&-"] {
        assert_eq!(shell(&broker, &format!("zaichik {command} 2>&1")), (Some(0), String::new()), "{command}");
    }
    assert_eq!(broker.bodies("t"), ["body", ""]);
}

#[test]
fn an_input_that_cannot_be_read_is_an_error() {
    let broker = Broker::start();
    broker.create_kept("t");
    broker.publish("t", &["x"]);
    // Reading a directory fails.
    for command in [
        "pub t < /",
        "pub t -l < /",
        "pub t -l --txn < /",
        "sub t --commit manual < /",
        "sub t -e --commit manual < /",
    ] {
        let (code, stderr) = shell(&broker, &format!("zaichik {command}"));
        assert_eq!(code, Some(1), "{command}: {stderr}");
        assert!(stderr.contains("cannot read "), "{command}: {stderr}");
    }
    let (code, stderr) = shell(&broker, "printf '0\\n\\377\\n' | zaichik sub t --durable d --commit manual");
    assert_eq!(code, Some(1), "{stderr}");
    assert_eq!(broker.bodies("t"), ["x"]);
}

#[test]
fn names_of_others_cannot_write_to_the_terminal() {
    let broker = Broker::start();
    let topic = "t\u{202e}x\u{2066}";
    let name = "a\nforged  line\u{9b}31m\u{202e}\x7f\tb";
    broker.create(topic, TopicOptions::new().retain_forever());
    broker.publish(topic, &["\u{9b}31m\u{202e}body"]);
    broker.with_client(async |client| {
        drop(client.subscribe(topic).durable(name).await.expect("subscribed"));
    });
    let harmless = |text: &str| text.chars().all(|char| char == '\n' || (' '..='~').contains(&char));
    let named = |command: &str, words: &[&str]| {
        let mut run = broker.run(command);
        run.args(words);
        let output = run.assert().success();
        let text = String::from_utf8(output.get_output().stdout.clone()).expect("text");
        assert!(harmless(&text), "{command}: {text:?}");
        text
    };
    for (command, words, lines) in [
        ("topic ls", &[][..], 2),
        ("topic ls --json", &[], 1),
        ("subscription ls", &[], 2),
        ("subscription ls --json", &[], 1),
        ("subscription info", &[topic, name], 10),
        ("subscription info --json", &[topic, name], 1),
        ("topic info --json", &[topic], 1),
        ("sub -e --json", &[topic], 1),
        ("sub -e --no-raw", &[topic], 2),
        ("pub -q --json", &[topic, "x"], 1),
        ("topic alter --json --max-keys 5", &[topic], 1),
        ("subscription seek --json", &[topic, name, "latest"], 1),
    ] {
        let text = named(command, words);
        assert_eq!(text.lines().count(), lines, "{command}: {text}");
        if command.contains("json") {
            let line: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            assert_eq!(line["topic"], topic, "{command}: the name itself is unchanged");
        }
    }
    named("topic info", &[topic]);
    broker
        .run("subscription info")
        .args([topic, "nobody\u{9b}\n"])
        .assert()
        .code(5)
        .stdout(is_empty())
        .stderr(predicate::function(harmless).and(contains("\n").count(1)));
}
