//! What is planted between publisher and subscriber is found.

use std::io::{BufReader, Read};
use std::time::Duration;

use serde_json::Value;
use zaichik_tokio::{Client, Delivery, Outgoing, Overflow, Publisher, Start, TopicOptions};

use crate::process::{Broker, Running, assert_verified, block_on, number, until, zaichik};

/// What happens to messages between publisher and subscribers.
type Disorder = fn(number: usize, message: Delivery) -> Vec<Outgoing>;

/// Passes messages on from the topic `before` to the topic `after`, until `sub`s of the latter have ended.
async fn pass_on(address: &str, disorder: Disorder, messages: usize) {
    let client = Client::connect(address).await.expect("the broker listens");
    let mut before = client.subscribe("before").window(0).from(Start::Latest).await.expect("subscribed");
    let mut after: Publisher = client.publisher("after");
    let publishing = zaichik("bench")
        .args(["pub", "--topic", "before", "--server", address, "--msgs", &messages.to_string()])
        .spawn();
    let publishing = Running(publishing.expect("it starts"));
    // And one that says that nothing more comes.
    for number in 0..=messages {
        let message = before.next_message().await.expect("no gap").expect("a message");
        for message in disorder(number, message) {
            futures::SinkExt::feed(&mut after, message).await.expect("accepted");
        }
    }
    futures::SinkExt::flush(&mut after).await.expect("accepted");
    assert_eq!(publishing.end().0, Some(0));
}

/// What a subscriber finds when messages are passed on like this.
fn found(disorder: Disorder, more: &str) -> (Option<i32>, Value, String) {
    let broker = Broker::start();
    let subscriber = broker.bench(&format!("sub --topic after --json {more}")).spawn();
    let mut subscriber = Running(subscriber.expect("it starts"));
    let mut stderr = BufReader::new(subscriber.0.stderr.take().expect("a pipe"));
    until(&mut stderr, "subscribed");
    block_on(pass_on(&broker.address, disorder, 2_000));
    let mut told = String::new();
    stderr.read_to_string(&mut told).expect("text");
    let (code, said, _) = subscriber.end();
    (code, serde_json::from_str(&said).expect("one object"), told)
}

#[test]
fn messages_that_are_passed_on_as_they_are_are_fine() {
    let (code, report, told) = found(|_, message| vec![message.body.clone().into()], "");
    assert_eq!((code, told.as_str()), (Some(0), ""));
    assert_verified(&report, 2_000);
}

#[test]
fn a_planted_disorder_is_found() {
    let (code, report, told) = found(
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
        told,
        "zaichik: verification failed: order ok · 2 lost · 1 duplicated · 0 gaps · 1 corrupted\n"
    );
    assert_eq!(number(&report, "/verify/lost"), 2, "one was left out, and one can't be read");
    assert_eq!(number(&report, "/verify/duplicated"), 1);
    assert_eq!(number(&report, "/verify/corrupted"), 1);
    assert_eq!(number(&report, "/verify/verified"), 1_998);
}

#[test]
fn a_publisher_that_does_not_come_to_its_end_is_found() {
    let disorder: Disorder =
        |number, message| if number == 2_000 { Vec::new() } else { vec![message.body.clone().into()] };
    let (code, report, told) = found(disorder, "--timeout 3s");
    assert_eq!(code, Some(7));
    assert!(told.contains("0 lost · 0 duplicated · 0 gaps · 1 publishers without an end"), "{told}");
    assert_eq!(number(&report, "/delivered/messages"), 2_000);
}

#[test]
fn what_a_topic_drops_is_lost() {
    let broker = Broker::start();
    block_on(async {
        let client = Client::connect(&broker.address).await.expect("the broker listens");
        let options = TopicOptions::new().max_messages(10);
        client.create_topic("small", options).await.expect("created");
        client.close().await.expect("closed");
    });
    let output = broker.output("pubsub --topic small --msgs 2000 --batch 5 --window 1 --json");
    assert_eq!(output.status.code(), Some(7));
    let said = String::from_utf8(output.stderr).expect("text");
    assert!(said.contains("topic \"small\" exists with settings of its own"), "{said}");
    assert!(said.contains("verification failed: "), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("one object");
    let (lost, verified) = (number(&report, "/verify/lost"), number(&report, "/verify/verified"));
    assert!(lost > 0 && number(&report, "/verify/gaps") > 0, "{report:#}");
    assert_eq!(lost + verified, 2_000);
}

#[test]
fn what_the_broker_refused_unasked_is_told() {
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
    let said = String::from_utf8(output.stderr).expect("text");
    assert!(said.contains("verification failed: the broker refused "), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("one object");
    let refused = number(&report, "/published/refused_publishes");
    assert!((1..10).contains(&refused), "the first of 10 publishes fits: {report:#}");
}
