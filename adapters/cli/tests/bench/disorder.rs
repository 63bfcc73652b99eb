//! Faults planted between publisher and subscriber are found.

use std::io::{BufReader, Read};
use std::time::Duration;

use serde_json::Value;
use zaichik_tokio::{Client, Delivery, Outgoing, Overflow, Publisher, Start, TopicOptions};

use crate::process::{Broker, Running, assert_verified, block_on, number, until, zaichik};

/// Turns a message, with its number, into the messages to publish in its place.
type Disorder = fn(number: usize, message: Delivery) -> Vec<Outgoing>;

/// Forwards messages from the topic `before` to the topic `after`, until the publisher has ended.
async fn forward(address: &str, disorder: Disorder, messages: usize) {
    let client = Client::connect(address).await.expect("the broker listens");
    let mut before = client.subscribe("before").window(0).from(Start::Latest).await.expect("subscribed");
    let mut after: Publisher = client.publisher("after");
    let publishing = zaichik("bench")
        .args(["pub", "--topic", "before", "--server", address, "--msgs", &messages.to_string()])
        .spawn();
    let publishing = Running(publishing.expect("the command starts"));
    // The last message is the publisher's end.
    for number in 0..=messages {
        let message = before.next_message().await.expect("no error").expect("a message");
        for message in disorder(number, message) {
            futures::SinkExt::feed(&mut after, message).await.expect("accepted");
        }
    }
    futures::SinkExt::flush(&mut after).await.expect("accepted");
    assert_eq!(publishing.end().0, Some(0));
}

/// The subscriber's exit code, report and standard error after `disorder`.
fn found(disorder: Disorder, more: &str) -> (Option<i32>, Value, String) {
    let broker = Broker::start();
    let subscriber = broker.bench(&format!("sub --topic after --json {more}")).spawn();
    let mut subscriber = Running(subscriber.expect("the command starts"));
    let mut stderr = BufReader::new(subscriber.0.stderr.take().expect("a pipe"));
    until(&mut stderr, "subscribed");
    block_on(forward(&broker.address, disorder, 2_000));
    let mut errors = String::new();
    stderr.read_to_string(&mut errors).expect("UTF-8");
    let (code, text, _) = subscriber.end();
    (code, serde_json::from_str(&text).expect("a JSON object"), errors)
}

#[test]
fn forwarded_messages_are_verified() {
    let (code, report, errors) = found(|_, message| vec![message.body.clone().into()], "");
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    assert_verified(&report, 2_000);
}

#[test]
fn a_planted_disorder_is_found() {
    let (code, report, errors) = found(
        |number, message| {
            let body = message.body.clone();
            let mut changed = body.to_vec();
            *changed.last_mut().expect("a byte") ^= 1;
            match number {
                500 => Vec::new(),
                700 => vec![changed.into()],
                900 => vec![body.clone().into(), body.into()],
                _ => vec![body.into()],
            }
        },
        "",
    );
    assert_eq!(code, Some(7));
    assert_eq!(
        errors,
        "zaichik: verification failed: order ok · 2 lost · 1 duplicated · 0 gaps · 1 corrupted\n"
    );
    assert_eq!(number(&report, "/verify/lost"), 2, "one was dropped, and one is corrupted");
    assert_eq!(number(&report, "/verify/duplicated"), 1);
    assert_eq!(number(&report, "/verify/corrupted"), 1);
    assert_eq!(number(&report, "/verify/verified"), 1_998);
}

#[test]
fn a_publisher_without_an_end_is_found() {
    let disorder: Disorder =
        |number, message| if number == 2_000 { Vec::new() } else { vec![message.body.clone().into()] };
    let (code, report, errors) = found(disorder, "--timeout 3s");
    assert_eq!(code, Some(7));
    assert!(errors.contains("0 lost · 0 duplicated · 0 gaps · 1 unfinished publishers"), "{errors}");
    assert_eq!(number(&report, "/delivered/messages"), 2_000);
}

#[test]
fn messages_that_a_topic_drops_are_lost() {
    let broker = Broker::start();
    block_on(async {
        let client = Client::connect(&broker.address).await.expect("the broker listens");
        let options = TopicOptions::new().max_messages(10);
        client.create_topic("small", options).await.expect("created");
        client.close().await.expect("closed");
    });
    let output = broker.output("pubsub --topic small --msgs 2000 --batch 5 --window 1 --json");
    assert_eq!(output.status.code(), Some(7));
    let text = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(text.contains("topic \"small\" exists with other settings"), "{text}");
    assert!(text.contains("verification failed: "), "{text}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("a JSON object");
    let (lost, verified) = (number(&report, "/verify/lost"), number(&report, "/verify/verified"));
    assert!(lost > 0 && number(&report, "/verify/gaps") > 0, "{report:#}");
    assert_eq!(lost + verified, 2_000);
}

#[test]
fn refused_publishes_without_acknowledgement_are_reported() {
    let broker = Broker::start();
    block_on(async {
        let client = Client::connect(&broker.address).await.expect("the broker listens");
        let options = TopicOptions::new().retention_ttl(Duration::from_secs(1));
        let options = options.max_messages(300).overflow(Overflow::Reject);
        client.create_topic("full", options).await.expect("created");
        client.close().await.expect("closed");
    });
    let output = broker.output("pub --topic full --msgs 2560 --ack none --json");
    assert_eq!(output.status.code(), Some(7));
    let text = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(text.contains("verification failed: the broker refused "), "{text}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("a JSON object");
    let refused = number(&report, "/published/refused_publishes");
    assert!((1..10).contains(&refused), "the first of 10 publishes fits: {report:#}");
}
