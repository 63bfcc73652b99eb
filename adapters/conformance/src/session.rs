//! Chapter S: byte streams, and how a broker stops.

use std::time::Duration;

use futures::future::join_all;
use zaichik_driver::{Client, ClientError, ErrorClass, TopicOptions};
use zaichik_proto::{HEADER_LEN, Start};
use zaichik_testkit::{Sub, record};

use crate::broker::{Broker, PeerOf, next, next_message, put, spawn};
use crate::form::Form;
use crate::peer::Peer;

/// Queues a short session on its own topic: the usual requests of a client, with answers in both lanes.
pub(crate) fn converse<F: Form>(peer: &PeerOf<F>, topic: &str) {
    let two = [record(b"in two"), record(b" parts")];
    peer.create(topic, TopicOptions::new().retain_forever());
    peer.publish_all(topic, &two);
    peer.subscribe_to(Sub::new(1, topic).from(Start::Offset(1)).window(3));
    peer.publish_all(topic, &two);
    peer.commit(1, 1);
    peer.publish("$bad", "x");
    peer.unsubscribe(1);
    peer.publish_all(topic, &two);
    peer.close();
}

/// The broker's answers to that session, by lane; the order within each is fixed.
///
/// The timing of the bytes decides how much is delivered before the subscription ends, so deliveries, the answer to the
/// commit, the last delivered offset and the place of Goodbye are omitted.
async fn answers<F: Form>(peer: &PeerOf<F>) -> (Vec<String>, Vec<String>) {
    let varies = |one: &String| ["1/", "#5 ", "goodbye"].iter().any(|start| one.starts_with(start));
    let mut log = peer.end().await;
    log.retain(|one| !varies(one));
    for one in &mut log {
        if one.starts_with("#7 ended") {
            one.truncate("#7 ended".len());
        }
    }
    log.into_iter().partition(|one| one.starts_with("#3 ") || one.starts_with("#7 "))
}

fn check(said: &(Vec<String>, Vec<String>), how: &str) {
    assert_eq!(said.0, ["#3 1..2", "#7 ended"], "{how}");
    assert_eq!(said.1, ["#1 created", "#2 @0", "#4 @2", "#6 refused InvalidTopic", "#8 @4"], "{how}");
}

pub(crate) async fn s_03_a_stream_split_at_every_byte_has_the_same_result<F: Form>() {
    let broker = Broker::<F>::start().await;
    // All frames in one read.
    let whole = broker.peer().await;
    converse::<F>(&whole, "whole");
    check(&answers::<F>(&whole).await, "whole");
    // One byte at a time.
    let bytes = broker.peer().await;
    converse::<F>(&bytes, "bytes");
    for byte in bytes.take_queued() {
        bytes.send_bytes(&[byte]);
        bytes.flush().await;
    }
    check(&answers::<F>(&bytes).await, "one byte at a time");
    for cut in 1..usize::MAX {
        let peer = broker.peer().await;
        converse::<F>(&peer, &format!("{cut:05}"));
        let conversation = peer.take_queued();
        if cut == conversation.len() {
            assert!(cut > 9 * HEADER_LEN);
            break;
        }
        let (head, tail) = conversation.split_at(cut);
        // The pong shows that the broker received the head without the tail.
        peer.ping_before(head).await;
        peer.send_bytes(tail);
        check(&answers::<F>(&peer).await, &format!("cut at {cut}"));
    }
    broker.stop().await;
}

pub(crate) async fn s_05_a_shutdown_answers_accepted_requests<F: Form>() {
    let broker = Broker::<F>::start().await;
    let (publisher, reader) = (broker.client().await, broker.client().await);
    publisher.create_topic("end", TopicOptions::new().retain_forever()).await.expect("created");
    let mut subscription = reader.subscribe("end").window(0).await.expect("subscribed");
    // The client retries requests that a draining broker refuses, but not for long.
    let mut publishing = Vec::new();
    for number in 0..200 {
        let publisher = publisher.clone();
        publishing.push(spawn::<F::Runtime, _>(async move {
            publisher.publish("end", number.to_string()).deadline(Duration::from_secs(1)).await
        }));
    }
    assert!(next(&mut subscription).await.starts_with("0="));
    broker.handle().shutdown(Duration::from_secs(5));
    let address = broker.address();
    broker.stopped().await;
    assert!(Peer::<F::Runtime>::dial(&address).await.is_err(), "the listener is closed");
    drop(publisher);
    for published in join_all(publishing).await {
        if let Err(error) = published {
            assert_ne!(error.class(), ErrorClass::Refused, "{error}");
        }
    }
}

pub(crate) async fn s5_a_shutdown_waits_for_uncommitted_messages<F: Form>() {
    let broker = Broker::<F>::start().await;
    let client = broker.client().await;
    let mut subscription = client.subscribe("t").await.expect("subscribed");
    client.publish("t", "x").await.expect("accepted");
    let message = next_message(&mut subscription).await;
    // The grace time is longer than any test: only the commit can end the drain.
    broker.handle().shutdown(crate::broker::HOUR);
    let stopping = spawn::<F::Runtime, _>(broker.stopped());
    message.commit().await.expect("still served");
    stopping.await;
}

pub(crate) async fn s5_a_hundred_brokers_start_and_stop<F: Form>() {
    for _ in 0..100 {
        let broker = Broker::<F>::start().await;
        let client = broker.client().await;
        put(&client, "short lived", "x").await;
        broker.stop().await;
    }
}

pub(crate) async fn p4_an_address_without_a_broker_is_an_error_at_once<F: Form>() {
    let broker = Broker::<F>::start().await;
    let address = broker.address();
    let client = broker.client().await;
    broker.stop().await;
    let failed = Client::<F::Runtime>::connect(&address).await;
    assert!(matches!(failed, Err(ClientError::Connect(_))), "{failed:?}");
    drop(client);
}
