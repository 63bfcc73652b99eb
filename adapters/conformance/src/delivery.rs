//! Chapter A: the parts of delivery and commit that sockets, threads and timers can break.

use std::time::Duration;

use futures::SinkExt;
use futures::future::{join, join_all};
use zaichik_driver::{Outgoing, Overflow, TopicOptions};
use zaichik_testkit::Sub;

use crate::broker::{Broker, ClientOf, next, next_message, put, refused};
use crate::form::Form;

/// A broker with a topic `t` that retains forever, a reader and a writer.
async fn pair<F: Form>() -> (Broker<F>, ClientOf<F>, ClientOf<F>) {
    let broker = Broker::<F>::start().await;
    let (reader, writer) = (broker.client().await, broker.client().await);
    writer.create_topic("t", TopicOptions::new().retain_forever()).await.expect("created");
    (broker, reader, writer)
}

/// A `reject` limit removes only what every subscription has committed, so it shows which subscriptions count.
pub(crate) async fn a_16_a_connection_that_ends_commits_nothing<F: Form>() {
    let broker = Broker::<F>::start().await;
    for end in ["close", "cut", "finish"] {
        let (stays, leaves) = (broker.client().await, broker.peer().await);
        let options = TopicOptions::new().max_messages(3).overflow(Overflow::Reject);
        let topic = format!("t/{end}");
        stays.create_topic(&topic, options).await.expect("created");
        let mut kept = stays.subscribe(&topic).window(3).await.expect("subscribed");
        leaves.answer(leaves.subscribe_to(Sub::new(1, &topic).window(3))).await;
        for body in ["a", "b", "c"] {
            put(&stays, &topic, body).await;
        }
        // The messages are in the transport when the connection ends without a commit.
        match end {
            "close" => {
                leaves.close();
                assert_eq!(leaves.end().await.last().map(String::as_str), Some("goodbye closed"));
            }
            "finish" => {
                leaves.finish().await;
                leaves.end().await;
            }
            _ => drop(leaves),
        }
        let asks = broker.peer().await;
        let full = asks.answer(asks.publish(&topic, "d")).await;
        assert_eq!(full, "refused TopicFull", "nothing is committed");
        for expected in ["0=a", "1=b", "2=c"] {
            assert_eq!(next(&mut kept).await, expected);
        }
        // The other subscription ended with its connection, so only this one counts.
        kept.commit().await.expect("committed");
        assert_eq!(put(&stays, &topic, "d").await, "@3");
    }
    broker.stop().await;
}

pub(crate) async fn a_17_a_peer_that_stops_reading_does_not_delay_others<F: Form>() {
    let (broker, reader, writer) = pair::<F>().await;
    let options = TopicOptions::new().retain_forever().max_bytes(1 << 20);
    writer.create_topic("flood", options).await.expect("created");
    let stuck = broker.peer().await;
    stuck.answer(stuck.subscribe_to(Sub::new(1, "flood").window(0))).await;
    // Far more than the buffers between the broker and the stalled peer can hold.
    let mut subscription = reader.subscribe("flood").window(64).await.expect("subscribed");
    let body = vec![7; 64 << 10];
    for offset in 0..512 {
        let receipt = writer.publish("flood", body.clone()).await.expect("accepted");
        assert_eq!(receipt.offset(0), Some(offset));
        let message = next_message(&mut subscription).await;
        assert_eq!(message.offset, offset);
        message.commit().await.expect("committed");
    }
    // Its requests are served. When it reads again it receives every message or a Gap in its place; the peer checks
    // that there is no hole.
    assert_eq!(stuck.answer(stuck.publish("other", "x")).await, "@0 new");
    let mut last = String::new();
    while !last.starts_with("1/511=") {
        last = stuck.stream_of(1).await.pop().expect("at least one");
    }
    broker.stop().await;
}

/// A client whose buffers are all at their smallest, and a broker with lanes of one frame.
async fn smallest<F: Form>() -> (Broker<F>, ClientOf<F>) {
    let broker = Broker::<F>::with(|config| {
        config.output_buffer = 1;
        config.topic_defaults.retention_ttl_micros = u64::MAX;
    })
    .await;
    let client = broker.client_builder().max_in_flight(1).configure(|config| {
        config.max_in_flight_bytes = 1;
        config.max_outbound_bytes = 1;
        config.buffer_bytes = 1;
    });
    (broker, client.connect().await.expect("the broker listens"))
}

/// A thousand messages arrive, some of them larger than every buffer, while their handler publishes on the same
/// connection and the other subscription of that connection is not read.
pub(crate) async fn a_18_a_handler_that_publishes_under_load_makes_progress<F: Form>() {
    const MESSAGES: usize = 1_000;
    let (broker, client) = smallest::<F>().await;
    let mut unread = client.subscribe("answers").await.expect("subscribed");
    let mut work = client.subscribe("work").await.expect("subscribed");
    let writer = broker.client().await;
    let flood = async {
        let mut publisher = writer.publisher("work");
        for number in 0..MESSAGES {
            let size = if number % 100 == 99 { 200 << 10 } else { 10 };
            publisher.feed(Outgoing::new(vec![b'x'; size])).await.expect("accepted");
        }
        publisher.close().await.expect("accepted");
    };
    let handler = async {
        for number in 0..MESSAGES {
            let message = next_message(&mut work).await;
            match number % 3 {
                0 => {
                    client.publish("answers", message.body.clone()).await.expect("accepted");
                    message.commit().await.expect("committed");
                }
                1 => {
                    message.commit().await.expect("committed");
                    client.publish("answers", message.body.clone()).no_ack().await.expect("queued");
                }
                _ => {
                    let transaction = client.transaction().publish("answers", message.body.clone());
                    transaction.commit(&message).send().await.expect("applied");
                }
            }
        }
    };
    join(flood, handler).await;
    for offset in 0..MESSAGES as u64 {
        let message = next_message(&mut unread).await;
        assert_eq!(message.offset, offset);
        message.commit().await.expect("committed");
    }
    broker.stop().await;
}

pub(crate) async fn a9_a_dropped_subscription_makes_room_for_the_next<F: Form>() {
    let (broker, reader, writer) = pair::<F>().await;
    put(&writer, "t", "a").await;
    // One connection can have only one unnamed subscription for a topic.
    for _ in 0..20 {
        let mut subscription = reader.subscribe("t").await.expect("the last one has ended");
        assert_eq!(next(&mut subscription).await, "0=a");
    }
    broker.stop().await;
}

/// An idle connection is served only when it is woken, and here only the publish wakes it.
pub(crate) async fn a7_idle_connections_are_woken_by_a_publish<F: Form>() {
    let broker = Broker::<F>::with(|config| config.wire.heartbeat_millis = u32::MAX).await;
    let writer = broker.client().await;
    let (clients, peers) = (join_all((0..4).map(|_| broker.client())).await, [broker.peer().await]);
    let mut subscriptions = Vec::new();
    for client in &clients {
        subscriptions.push(client.subscribe("t").await.expect("subscribed"));
    }
    for peer in &peers {
        peer.answer(peer.subscribe(1, "t")).await;
    }
    // A publish that is refused until its deadline takes longer than connections need to become idle.
    let full = TopicOptions::new().retain_forever().max_messages(1).overflow(Overflow::Reject);
    writer.create_topic("full", full).await.expect("created");
    put(&writer, "full", "x").await;
    let brief = writer.publish("full", "y").deadline(Duration::from_millis(1_500));
    assert_eq!(refused(brief.await), "TopicFull");
    put(&writer, "t", "a").await;
    for subscription in &mut subscriptions {
        assert_eq!(next(subscription).await, "0=a");
    }
    for peer in &peers {
        assert_eq!(peer.stream_of(1).await, ["1/0=a"]);
    }
    broker.stop().await;
}

/// Many messages, some of them larger than the buffers on the way.
pub(crate) async fn a7_large_and_small_messages_arrive_whole<F: Form>() {
    let (broker, reader, writer) = pair::<F>().await;
    let mut subscription = reader.subscribe("t").window(16).await.expect("subscribed");
    let sizes = (0..300).map(|number: usize| number * 379 % 100_000);
    let sending = async {
        let mut publisher = writer.publisher("t");
        for size in sizes.clone() {
            publisher.feed(Outgoing::new(vec![7; size])).await.expect("accepted");
        }
        publisher.close().await.expect("accepted");
    };
    let reading = async {
        for size in sizes.clone() {
            let message = next_message(&mut subscription).await;
            assert!(message.body.len() == size && message.body.iter().all(|byte| *byte == 7));
            message.commit().await.expect("committed");
        }
    };
    futures::join!(sending, reading);
    broker.stop().await;
}
