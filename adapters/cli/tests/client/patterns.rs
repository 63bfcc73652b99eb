//! Patterns of topics in `zaichik sub` and `zaichik topic ls` (chapter W).

use predicates::prelude::*;
use predicates::str::{contains, is_empty};

use super::broker::Broker;
use super::network::{Network, spawn_through};

/// A broker with topics that keep one message each.
fn broker_with_topics(topics: &[&str]) -> Broker {
    let broker = Broker::start();
    for topic in topics {
        broker.create_kept(topic);
        broker.publish(topic, &[&format!("in {topic}")]);
    }
    broker
}

fn sorted(output: &[u8]) -> Vec<&str> {
    let mut lines: Vec<_> = std::str::from_utf8(output).expect("text").lines().collect();
    lines.sort_unstable();
    lines
}

/// Rules W1, W2.
#[test]
fn a_pattern_prints_the_messages_of_every_topic_that_it_matches() {
    let broker = broker_with_topics(&["orders.new", "orders.paid", "orders.eu.new", "payments.new"]);
    for (arguments, expected) in [
        ("sub orders.* -e", &["in orders.new", "in orders.paid"][..]),
        ("sub *.new -e", &["in orders.new", "in payments.new"]),
        ("sub orders.> -e", &["in orders.eu.new", "in orders.new", "in orders.paid"]),
        ("sub orders.* payments.new -e", &["in orders.new", "in orders.paid", "in payments.new"]),
        ("sub nothing.* -e", &[]),
        ("sub orders.* -e -v", &["orders.new in orders.new", "orders.paid in orders.paid"]),
        ("sub orders.* -e -F %t:%o\\n", &["orders.new:0", "orders.paid:0"]),
        ("sub orders.* -o latest -e", &[]),
    ] {
        let output = broker.run(arguments).assert().success();
        assert_eq!(sorted(&output.get_output().stdout), expected, "{arguments}");
    }
    let json = broker.json("sub orders.* -e -J");
    assert!(
        json.iter().all(|line| line["body"] == format!("in {}", line["topic"].as_str().expect("a name")))
    );
    let told = contains("subscribed to orders.*, which matches 2 topics now\n")
        .and(contains("topic \"orders.new\" is matched\n"));
    broker.run("sub orders.* -e -v").assert().success().stderr(told);
    broker.run("sub orders.* -e").assert().success().stderr(is_empty());
}

/// Rules W2, W3.
#[test]
fn a_topic_that_is_created_later_is_printed_from_its_first_message_on() {
    let broker = Broker::start();
    let network = Network::to(broker.address());
    let mut reading = spawn_through(&network, "sub orders.> -v --raw --fail-on-gap");
    assert_eq!(reading.stderr_line(), "zaichik: subscribed to orders.>, which matches 0 topics now");
    broker.create_kept("orders.new");
    broker.publish("orders.new", &["one"]);
    assert_eq!(reading.line(), "orders.new one");
    assert_eq!(reading.stderr_line(), "zaichik: topic \"orders.new\" is matched");
    network.cut();
    broker.publish("orders.new", &["two"]);
    assert_eq!(reading.line(), "orders.new two");
    broker.create_kept("orders.paid");
    broker.publish("orders.paid", &["three"]);
    assert_eq!(reading.line(), "orders.paid three");
    reading.signal("INT");
    assert_eq!(reading.wait().0.code(), Some(0));
}

#[test]
fn the_messages_of_a_pattern_are_committed_as_standard_input_says() {
    let broker = broker_with_topics(&["a.x", "a.y"]);
    let mut reading = broker.spawn("sub a.* -c 2 --commit manual -F %t\\n");
    let mut topics = [reading.line(), reading.line()];
    topics.sort();
    assert_eq!(topics, ["a.x", "a.y"]);
    reading.write("a.x 0\n");
    reading.write("a.y 0\n");
    assert_eq!(reading.wait().0.code(), Some(0));
}

#[test]
fn what_only_one_topic_has_is_refused() {
    let broker = Broker::start();
    for (arguments, reason) in [
        ("sub a.* --durable d", "--durable keeps the position in one topic"),
        ("sub t a.* --shared s", "--shared shares the messages of one topic"),
        ("sub a.> -o -10", "a count from the end is a position in one topic"),
        ("sub a.>.b", "the pattern \"a.>.b\" is invalid: > must be the last segment"),
        ("sub a..*", "the pattern \"a..*\" is invalid: a pattern must have no empty segment"),
    ] {
        broker.run(arguments).assert().code(2).stdout(is_empty()).stderr(contains(reason));
    }
    assert!(broker.json("topic ls -J").is_empty());
}

#[test]
fn topics_are_listed_by_a_pattern() {
    let broker = broker_with_topics(&["orders.new", "orders.eu.new", "payments"]);
    for (arguments, expected) in [
        ("topic ls orders.* -J", &["orders.new"][..]),
        ("ls orders.> -J", &["orders.eu.new", "orders.new"]),
        ("topic ls payments -J", &["payments"]),
        ("topic ls > -J", &["orders.eu.new", "orders.new", "payments"]),
        ("topic ls nothing.* -J", &[]),
    ] {
        let lines = broker.json(arguments);
        let mut topics: Vec<_> = lines.iter().map(|line| line["topic"].as_str().expect("a name")).collect();
        topics.sort_unstable();
        assert_eq!(topics, expected, "{arguments}");
    }
    broker.run("topic ls a..b").assert().code(2).stderr(contains("no empty segment"));
}
