//! `zaichik pub`.

use std::time::Duration;

use predicates::prelude::*;
use predicates::str::{contains, is_empty};
use zaichik_tokio::{CompactionMode, Overflow, TopicOptions};

use super::broker::Broker;
use super::network::{Network, spawn_through};

#[test]
fn a_message_on_the_command_line_is_stored_without_output() {
    let broker = Broker::start();
    broker.create_kept("t");
    broker.run("pub t hello").assert().success().stdout(is_empty()).stderr(is_empty());
    broker
        .run("publish t -v")
        .arg("two words")
        .assert()
        .success()
        .stdout(is_empty())
        .stderr("published 1 message to t, offset 1\n");
    assert_eq!(broker.bodies("t"), ["hello", "two words"]);
}

#[test]
fn standard_input_is_one_message_byte_for_byte() {
    let broker = Broker::start();
    broker.create_kept("t");
    let body = &b"a\n\0\xff\n"[..];
    broker.run("pub t").write_stdin(body).assert().success();
    broker.run("pub t -f -").write_stdin("").assert().success();
    let messages = broker.messages("t");
    assert_eq!(messages.iter().map(|message| &message.body[..]).collect::<Vec<_>>(), [body, b""]);
}

#[test]
fn lines_are_messages_in_their_order() {
    let broker = Broker::start();
    broker.create_kept("t");
    let lines: Vec<_> = (0..5_000).map(|number| number.to_string()).collect();
    broker
        .run("pub t -l -v")
        .write_stdin(lines.join("\n"))
        .assert()
        .success()
        .stderr("published 5000 messages to t, offsets 0 to 4999\n");
    assert_eq!(broker.bodies("t"), lines);
}

#[test]
fn a_file_is_one_message_or_its_lines() {
    let broker = Broker::start();
    broker.create_kept("t");
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let text = std::fs::read_to_string(file).expect("this package's");
    broker.run("pub t --file").arg(file).assert().success();
    broker.run("pub t --lines --file").arg(file).assert().success();
    let bodies = broker.bodies("t");
    assert_eq!(bodies[0], text);
    assert_eq!(bodies[1..], text.lines().collect::<Vec<_>>());
    broker
        .run("pub t -f /no/such/file")
        .assert()
        .code(2)
        .stderr(contains("zaichik: cannot read the file /no/such/file: ").and(contains("\n").count(1)));
}

#[test]
fn a_message_may_have_a_key_headers_and_a_time_to_live() {
    let broker = Broker::start();
    broker.create_kept("t");
    broker.run("pub t body -k key -H trace:a1:b2 -H trace:again --ttl 1h").assert().success();
    let [message] = &broker.messages("t")[..] else { panic!("one message") };
    assert_eq!(message.key.as_deref(), Some(&b"key"[..]));
    let headers: Vec<_> = message.headers.iter().collect();
    assert_eq!(headers, [("trace", &b"a1:b2"[..]), ("trace", b"again")]);
    broker.run("pub t body --ttl 1us").assert().success();
    assert_eq!(broker.bodies("t"), ["body"], "the second one has expired");
}

#[test]
fn a_tombstone_deletes_its_key() {
    let broker = Broker::start();
    broker.create("t", TopicOptions::new().retain_forever().compaction(CompactionMode::Latest));
    broker.run("pub t value -k key").assert().success();
    broker.run("pub t -n -k key").assert().success();
    let [message] = &broker.messages("t")[..] else { panic!("one message") };
    assert!(message.tombstone);
    broker.run("pub t -n").assert().code(2).stderr(contains("--key <KEY>"));
}

#[test]
fn lines_may_have_keys() {
    let broker = Broker::start();
    broker.create_kept("t");
    broker.run("pub t -K =").write_stdin("EUR=1.08\nGBP=1=3\n").assert().success();
    broker
        .run("pub t -K = -J")
        .write_stdin("CHF=1\noops\nUSD=1\n")
        .assert()
        .code(2)
        .stderr("zaichik: line 2 has no delimiter \"=\" between key and body\n");
    let messages = broker.messages("t");
    let pairs: Vec<_> =
        messages.iter().map(|message| (message.key.as_deref().expect("a key"), &message.body[..])).collect();
    assert_eq!(pairs, [(&b"EUR"[..], &b"1.08"[..]), (b"GBP", b"1=3"), (b"CHF", b"1")]);
}

#[test]
fn a_message_may_be_repeated_and_numbered() {
    let broker = Broker::start();
    broker.create_kept("t");
    broker.run("pub t {{n}} --count 3 --template -k k{{n}}").assert().success();
    broker.run("pub t {{n}} --sleep 1us --count 2").assert().success();
    assert_eq!(broker.bodies("t"), ["1", "2", "3", "{{n}}", "{{n}}"]);
    assert_eq!(broker.messages("t")[2].key.as_deref(), Some(&b"k3"[..]));
    broker.run("pub t x --count 0").assert().success();
    assert_eq!(broker.bodies("t").len(), 5);
}

#[test]
fn receipts_are_a_line_of_json_each() {
    let broker = Broker::start();
    broker.create("t", TopicOptions::new().retain_forever().compaction_window(Duration::from_mins(1)));
    broker.run("pub t -J -K :").write_stdin("a:1\nb:1\na:2\n").assert().success().stderr(is_empty()).stdout(
        "{\"topic\":\"t\",\"number\":1,\"offset\":0,\"duplicate\":false,\"repeated\":false}\n\
             {\"topic\":\"t\",\"number\":2,\"offset\":1,\"duplicate\":false,\"repeated\":false}\n\
             {\"topic\":\"t\",\"number\":3,\"offset\":0,\"duplicate\":true,\"repeated\":false}\n",
    );
}

#[test]
fn a_receipt_is_printed_as_soon_as_its_message_is_stored() {
    let broker = Broker::start();
    broker.create_kept("t");
    let mut publishing = broker.spawn("pub t -l -J");
    for number in 1..=3 {
        publishing.write(&format!("{number}\n"));
        assert!(publishing.line().contains(&format!("\"number\":{number},")));
    }
    publishing.signal("INT");
    let (status, rest, stderr) = publishing.wait();
    assert_eq!((status.code(), rest.as_str(), stderr.as_str()), (Some(0), "", ""));
}

#[test]
fn a_transaction_is_all_or_nothing() {
    let broker = Broker::start();
    broker.create("t", TopicOptions::new().retain_forever().max_messages(3).overflow(Overflow::Reject));
    broker
        .run("pub t -l --txn -v")
        .write_stdin("a\nb\n")
        .assert()
        .success()
        .stderr("published 2 messages to t, offsets 0 to 1\n");
    broker
        .run("pub t -l --txn --timeout 500ms")
        .write_stdin("c\nd\n")
        .assert()
        .code(5)
        .stderr(contains("the topic is full").and(contains("\n").count(1)));
    assert_eq!(broker.bodies("t"), ["a", "b"]);
    let many = "x\n".repeat(65_537);
    broker.run("pub t -l --txn").write_stdin(many).assert().code(5).stderr(
        "zaichik: the input has more than 65536 messages, the maximum for one transaction; split it\n",
    );
    let large = format!("{}\n", "x".repeat(600_000)).repeat(2);
    broker
        .run("pub t -l --txn")
        .write_stdin(large)
        .assert()
        .code(5)
        .stderr(contains("above the broker's limit").and(contains("\n").count(1)));
    broker.run("pub t -l --txn").write_stdin("").assert().success();
    assert_eq!(broker.bodies("t"), ["a", "b"]);
}

#[test]
fn a_refusal_names_its_line() {
    let broker = Broker::start();
    broker.create("t", TopicOptions::new().retain_forever().max_messages(2).overflow(Overflow::Reject));
    broker.run("pub t -l --timeout 500ms").write_stdin("a\nb\nc\n").assert().code(5).stderr(
        contains("zaichik: line 3: topic \"t\": the topic is full")
            .and(contains("; stored: 2 of 3 messages read")),
    );
    let large = format!("small\n{}\nsmall\n", "x".repeat(2 << 20));
    broker
        .run("pub u -l")
        .write_stdin(large)
        .assert()
        .code(5)
        .stderr(contains("zaichik: line 2: ").and(contains("above the broker's limit")));
    broker
        .run("pub t body --ack durable")
        .assert()
        .code(5)
        .stderr(contains("the broker has no storage").and(contains("\n").count(1)));
}

#[test]
fn without_acknowledgement_refusals_are_reported_at_the_end() {
    let broker = Broker::start();
    broker.create("t", TopicOptions::new().retain_forever().max_messages(1).overflow(Overflow::Reject));
    broker
        .run("pub t a --ack none -v")
        .assert()
        .success()
        .stderr("sent 1 message to t, without acknowledgement\n");
    broker
        .run("pub t b --ack none")
        .assert()
        .code(5)
        .stderr(contains("zaichik: 1 of 1 messages were refused; the topic is full"));
    assert_eq!(broker.bodies("t"), ["a"]);
    for flag in ["--json", "--txn", "--producer x"] {
        broker
            .run(&format!("pub t a --ack none {flag}"))
            .assert()
            .code(2)
            .stderr(contains("omit --ack none"));
    }
}

#[test]
fn creating_a_topic_is_reported() {
    let broker = Broker::start();
    broker.run("pub typo x -v").assert().success().stderr(contains("created the topic"));
}

#[test]
fn a_broken_connection_loses_and_duplicates_nothing() {
    let broker = Broker::start();
    broker.create_kept("t");
    let network = Network::to(broker.address());
    let mut publishing = spawn_through(&network, "pub t -l -J");
    let lines: Vec<_> = (0..50).map(|number| number.to_string()).collect();
    for (number, line) in lines.iter().enumerate() {
        if number % 10 == 5 {
            network.cut();
        }
        publishing.write(&format!("{line}\n"));
        assert!(publishing.line().contains(&format!("\"offset\":{number},")));
    }
    let (status, rest, stderr) = publishing.end();
    assert_eq!((status.code(), rest.as_str(), stderr.as_str()), (Some(0), "", ""));
    assert_eq!(broker.bodies("t"), lines);
}

#[test]
fn a_message_kept_for_nobody_is_reported_with_the_command_that_changes_it() {
    let broker = Broker::start();
    let hint = "zaichik: topic \"hello\" kept the message for nobody: it has no subscription, and its retention is 0; to \
                keep messages for an hour: zaichik topic alter hello --retention-ttl 1h\n";
    broker.run("pub hello world").assert().success().stdout(is_empty()).stderr(hint);
    broker.run("pub hello world --ack none").assert().success().stderr(hint);
    broker.run("pub hello world -q").assert().success().stderr(is_empty());
    broker.run("sub hello -e").assert().success().stdout(is_empty()).stderr(
        contains("its retention is 0").and(contains("zaichik topic alter hello --retention-ttl 1h\n")),
    );
    for quiet in ["sub hello -e -q", "sub other -e", "sub hello -e --durable d"] {
        broker.run(quiet).assert().success().stdout(is_empty()).stderr(is_empty());
    }
    // Someone receives it now.
    broker.run("pub hello again").assert().success().stderr(is_empty());
    broker.run("subscription rm hello d").assert().success();
    let (_, advice) = hint.split_once("an hour: ").expect("a command");
    assert!(broker.shell(advice.trim()).status().expect("it runs").success());
    broker.run("pub hello world").assert().success().stderr(is_empty());
    broker.run("sub hello -e").assert().success().stdout("world\n").stderr(is_empty());
}

#[test]
fn a_name_that_looks_like_a_pattern_is_reported() {
    let broker = Broker::start();
    let hint = || contains("stands for no other names here").and(contains("\n").count(1));
    for arguments in ["sub orders/* -e", "topic create orders/#", "sub a b.# -e"] {
        broker.run(arguments).assert().success().stderr(hint());
    }
    broker.create_kept("orders.+");
    broker.run("pub orders.+ x").assert().success().stderr(hint());
    broker.run("pub orders.+ x -q").assert().success().stderr(is_empty());
    broker.run("sub orders* -e").assert().success().stderr(is_empty());
    // No new topic may have such a name (rule W1).
    for arguments in ["pub orders.> x", "topic create *.new"] {
        let refused = contains("stands for no other names here").and(contains("between two dots"));
        broker.run(arguments).assert().failure().stderr(refused);
    }
}
