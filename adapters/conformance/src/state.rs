//! Chapters S, A, R: peers that stop reading or misuse ids, and many operations at once.

use std::time::Duration;

use futures::future::join_all;
use zaichik_driver::{Overflow, Start, TopicOptions};
use zaichik_testkit::{Sub, record};

use crate::broker::{Broker, HOUR, next, put, spawn};
use crate::form::Form;
use crate::peer::Peer;

/// A reader that accepts no bytes is dropped at the write deadline; other connections are served before and after.
pub(crate) async fn s4_a_peer_that_accepts_no_bytes_is_dropped<F: Form>() {
    let broker = Broker::<F>::with(|config| config.write_timeout = Duration::from_millis(300)).await;
    let (reader, writer) = (broker.client().await, broker.client().await);
    let flood = TopicOptions::new().retain_forever().max_bytes(1 << 20);
    writer.create_topic("flood", flood).await.expect("created");
    let gate = TopicOptions::new().max_messages(1).overflow(Overflow::Reject);
    writer.create_topic("gate", gate).await.expect("created");
    let stuck = broker.peer().await;
    stuck.answer(stuck.subscribe_to(Sub::new(1, "flood").window(0))).await;
    stuck.answer(stuck.subscribe(2, "gate")).await;
    // This record is kept for the peer that will stall, and fills its topic.
    put(&writer, "gate", "0").await;
    stuck.stream_of(1).await;
    let mut subscription = reader.subscribe("flood").window(64).await.expect("subscribed");
    let body = vec![7; 64 << 10];
    for offset in 0..512 {
        assert_eq!(put(&writer, "flood", body.clone()).await, format!("@{offset}"));
        assert_eq!(next(&mut subscription).await, format!("{offset}=<65536>"));
        subscription.commit().await.expect("committed");
    }
    // Refused until the stalled peer is dropped, because then no subscription needs the record.
    assert_eq!(put(&writer, "gate", "1").await, "@1");
    assert!(
        !stuck.end().await.iter().any(|one| one.starts_with("1/511=")),
        "it was dropped before the last message"
    );
    assert_eq!(put(&writer, "flood", "still served").await, "@512");
    assert_eq!(next(&mut subscription).await, "512=still served");
    broker.stop().await;
}

pub(crate) async fn s7_other_connections_subscriptions_are_out_of_reach<F: Form>() {
    let broker = Broker::<F>::start().await;
    let (owner, other) = (broker.topic(TopicOptions::new().retain_forever()).await, broker.peer().await);
    owner.answer(owner.subscribe(7, "t")).await;
    owner.answer(owner.publish_all("t", &[record(b"a"), record(b"b")])).await;
    assert_eq!(owner.stream().await, ["7/0=a"]);
    for subscription in [7, 8] {
        // The answer does not depend on whether another connection uses the number.
        assert_eq!(other.answer(other.commit(subscription, 0)).await, "refused NotSubscribed");
        assert_eq!(other.answer(other.unsubscribe(subscription)).await, "refused NotSubscribed");
    }
    assert!(owner.stream().await.is_empty());
    assert_eq!(owner.answer(owner.commit(7, 0)).await, "done 1");
    assert_eq!(owner.stream().await, ["7/1=b"]);
    broker.stop().await;
}

/// Messages may arrive before Unsubscribed and never after it.
pub(crate) async fn a9_unsubscribe_while_deliveries_are_in_transit<F: Form>() {
    let broker = Broker::<F>::start().await;
    let writer = broker.topic(TopicOptions::new().retain_forever()).await;
    for position in 0..40 {
        let reader = broker.peer().await;
        reader.answer(reader.subscribe_to(Sub::new(1, "t").from(Start::Latest).window(100))).await;
        let mut ended = 0;
        for number in 0..40 {
            writer.publish_all("t", &[record(b"x")]);
            writer.flush().await;
            if number == position {
                ended = reader.unsubscribe(1);
                reader.flush().await;
            }
        }
        writer.settle().await;
        // The peer refuses deliveries of a subscription that has ended.
        let log = reader.log().await;
        let place = log.iter().position(|one| one.starts_with(&format!("#{ended} ended")));
        let last = log.iter().rposition(|one| one.starts_with("1/"));
        assert!(place.is_some() && last < place, "{log:?}");
        if let Some(last) = last {
            let offset = log[last].trim_start_matches("1/").trim_end_matches("=x");
            assert_eq!(log[log.len() - 1], format!("#{ended} ended {offset}"));
        }
    }
    broker.stop().await;
}

/// Readers that subscribe during publishing receive every message once; the peer checks that there is no hole.
pub(crate) async fn r3_subscribing_races_with_publishing<F: Form>() {
    const MESSAGES: usize = 2_000;
    let broker = Broker::<F>::start().await;
    let writer = broker.topic(TopicOptions::new().retain_forever()).await;
    let mut tasks = Vec::new();
    for number in 0..16_u32 {
        let reader = broker.peer().await;
        tasks.push(spawn::<F::Runtime, _>(async move {
            // Each subscribes a little later than the previous one.
            for _ in 0..number * 5 {
                reader.settle().await;
            }
            let start = reader.answer(reader.subscribe_to(Sub::new(1, "t").window(0))).await;
            assert!(start.starts_with("0.."), "{start}");
            let mut seen = 0;
            while seen < MESSAGES {
                seen += reader.stream_of(1).await.len();
            }
            assert_eq!(seen, MESSAGES);
        }));
    }
    for _ in 0..MESSAGES {
        writer.publish_all("t", &[record(b"x")]);
        writer.flush().await;
    }
    writer.settle().await;
    join_all(tasks).await;
    broker.stop().await;
}

/// Exactly the accepted publishes are answered as such and delivered.
pub(crate) async fn s5_a_drain_under_load_answers_accepted_publishes<F: Form>() {
    let broker = Broker::<F>::start().await;
    let (reader, silent, unfinished) = (broker.peer().await, broker.peer().await, broker.dial().await);
    reader.answer(reader.subscribe_to(Sub::new(1, "t").window(0))).await;
    let writers = join_all((0..4).map(|_| broker.peer())).await;
    for writer in &writers {
        for _ in 0..1_000 {
            writer.publish_all("t", &[record(b"x")]);
        }
    }
    let writing = join_all(writers.iter().map(Peer::end));
    let reading = async {
        reader.stream_of(10).await;
        broker.handle().shutdown(Duration::from_secs(30));
        reader.end().await
    };
    let (written, seen) = futures::join!(writing, reading);
    broker.stopped().await;
    let farewell = silent.end().await;
    assert!(farewell.len() == 1 && farewell[0].starts_with("goodbye draining "), "{farewell:?}");
    assert_eq!(unfinished.end().await, ["fatal Stopped"]);
    let answers: Vec<_> = written.into_iter().flatten().filter(|one| one.starts_with('#')).collect();
    let accepted = answers.iter().filter(|one| one.contains('@')).count();
    assert!(answers.iter().all(|one| one.contains('@') || one.contains("refused Draining")), "{answers:?}");
    assert!(accepted >= 10);
    let seen = seen.iter().filter(|one| one.starts_with("1/")).count();
    assert_eq!(seen, accepted, "each accepted record was delivered");
}

/// What a peer sends before it ends its stream is answered while the broker stops, and the answers reach it.
pub(crate) async fn s_05_a_draining_broker_answers_what_was_sent_before_the_end_of_the_stream<F: Form>() {
    // The broker reads all of them, although none of its answers is read before.
    const PUBLISHES: usize = 5_000;
    let broker = Broker::<F>::start().await;
    let peer = broker.peer().await;
    peer.answer(peer.subscribe(1, "t")).await;
    peer.answer(peer.publish_all("t", &[record(b"x")])).await;
    assert_eq!(peer.stream().await, ["1/0=x"]);
    // The record stays uncommitted and the grace time is longer than any test, so only the peer can end the connection.
    broker.handle().shutdown(HOUR);
    for _ in 0..PUBLISHES {
        peer.publish_all("t", &[record(b"y")]);
    }
    let create = peer.create("u", TopicOptions::new());
    peer.finish().await;
    let seen = peer.end().await;
    broker.stopped().await;
    assert_eq!(seen.iter().filter(|one| one.ends_with("refused Draining")).count(), PUBLISHES);
    assert!(seen.contains(&format!("#{create} created")), "all other requests are served");
    assert!(!seen.iter().any(|one| one.starts_with("fatal")));
}
