//! R: retention.
//!
//! The broker's clock is real: what is to live lives an hour, and what is to expire is waited for by looking, as a
//! newcomer, where the topic begins.

use zaichik_driver::{Overflow, Start, TopicOptions, TopicStatus};
use zaichik_proto::micros;
use zaichik_testkit::{Sub, mortal, record};

use crate::broker::{Broker, HOUR, SOON, next, next_committed, put, refused, settled};
use crate::form::Form;

/// Waits until a newcomer to `t` would begin at `offset`.
pub(crate) async fn newcomer_starts_at<F: Form>(broker: &Broker<F>, offset: u64) {
    let peer = broker.peer().await;
    loop {
        let answer = peer.answer(peer.subscribe(1, "t")).await;
        let start: u64 = answer.split("..").next().and_then(|start| start.parse().ok()).expect("a start");
        assert!(start <= offset, "{answer}: too much is gone");
        if start == offset {
            return;
        }
        peer.answer(peer.unsubscribe(1)).await;
    }
}

/// What a newcomer to `t` that takes everything gets.
async fn everything<F: Form>(broker: &Broker<F>) -> Vec<String> {
    let newcomer = broker.peer().await;
    newcomer.answer(newcomer.subscribe_to(Sub::new(1, "t").window(0))).await;
    newcomer.stream().await
}

async fn publish<F: Form>(broker: &Broker<F>, bodies: &[&str]) {
    let peer = broker.peer().await;
    for body in bodies {
        let answer = peer.answer(peer.publish("t", body)).await;
        assert!(answer.starts_with('@'), "{answer}");
    }
}

pub(crate) async fn r_01_delivered_before_it_expires<F: Form>() {
    let broker = Broker::<F>::start().await;
    broker.topic(TopicOptions::new().retention_ttl(HOUR)).await;
    publish(&broker, &["a"]).await;
    let client = broker.client().await;
    let mut subscription = client.subscribe("t").await.expect("subscribed");
    assert_eq!((subscription.start(), subscription.end()), (0, 1));
    assert_eq!(next(&mut subscription).await, "0=a");
    broker.stop().await;
}

/// Once it has expired for one, it has expired for everybody, for ever.
pub(crate) async fn r_02_not_delivered_when_it_has_expired<F: Form>() {
    let broker = Broker::<F>::start().await;
    let writer = broker.topic(TopicOptions::new().retention_ttl(SOON)).await;
    writer.answer(writer.publish("t", "a")).await;
    newcomer_starts_at(&broker, 1).await;
    for start in [Start::Earliest, Start::Offset(0), Start::Time(0)] {
        let peer = broker.peer().await;
        assert_eq!(peer.answer(peer.subscribe_to(Sub::new(1, "t").from(start))).await, "1..1");
        assert!(peer.stream().await.is_empty());
    }
    broker.stop().await;
}

pub(crate) async fn r_03_live_only_delivers_to_whoever_is_there<F: Form>() {
    let broker = Broker::<F>::start().await;
    let (writer, reader) = (broker.client().await, broker.client().await);
    let mut subscription = reader.subscribe("t").await.expect("subscribed");
    put(&writer, "t", "a").await;
    assert_eq!(next(&mut subscription).await, "0=a");
    for start in [Start::Earliest, Start::Latest, Start::Offset(0), Start::Time(0)] {
        let newcomer = broker.client().await;
        let mut late = newcomer.subscribe("t").from(start).await.expect("subscribed");
        assert_eq!((late.start(), late.end()), (1, 1));
        assert!(settled(&newcomer, &mut late).await.is_empty());
    }
    broker.stop().await;
}

pub(crate) async fn r_04_what_expires_before_its_turn_is_one_gap<F: Form>() {
    let broker = Broker::<F>::start().await;
    let writer = broker.topic(TopicOptions::new().retain_forever()).await;
    let reader = broker.client().await;
    let mut slow = reader.subscribe("t").await.expect("subscribed");
    publish(&broker, &["0"]).await;
    assert_eq!(next(&mut slow).await, "0=0");
    assert_eq!(writer.answer(writer.alter("t", TopicOptions::new().retention_ttl(SOON))).await, "done 0");
    publish(&broker, &["1", "2"]).await;
    newcomer_starts_at(&broker, 3).await;
    // What comes from here on stays, and what has expired stays dead.
    assert_eq!(writer.answer(writer.alter("t", TopicOptions::new().retain_forever())).await, "done 0");
    publish(&broker, &["3", "4"]).await;
    let late = broker.client().await.subscribe("t").await.expect("subscribed");
    assert_eq!((late.start(), late.end()), (3, 5), "a newcomer begins at the first live one");
    slow.commit().await.expect("committed");
    assert_eq!(next(&mut slow).await, "1..3 expired");
    assert_eq!(next_committed(&mut slow).await, "3=3");
    assert_eq!(next_committed(&mut slow).await, "4=4");
    broker.stop().await;
}

pub(crate) async fn r_06_between_replay_and_live_there_is_no_seam<F: Form>() {
    let broker = Broker::<F>::start().await;
    broker.topic(TopicOptions::new().retain_forever()).await;
    let mut readers = Vec::new();
    for round in 0..20_u64 {
        // All of it arrives at once: the subscription begins in the same step as the publishes around it.
        let peer = broker.peer().await;
        peer.publish("t", "before");
        let subscribed = peer.subscribe_to(Sub::new(1, "t").window(0));
        peer.publish("t", "after");
        assert_eq!(peer.answer(subscribed).await, format!("0..{}", round * 2 + 1));
        readers.push(peer);
    }
    for peer in readers {
        // The peer checks that nothing is missing and nothing comes twice.
        assert_eq!(peer.stream().await.len(), 40);
    }
    broker.stop().await;
}

pub(crate) async fn r_07_the_messages_own_time_to_live_counts_if_it_is_smaller<F: Form>() {
    let broker = Broker::<F>::start().await;
    let peer = broker.topic(TopicOptions::new().retain_forever()).await;
    peer.answer(peer.subscribe(1, "t")).await;
    assert_eq!(peer.answer(peer.publish("t", "a")).await, "@0");
    assert_eq!(peer.stream_of(1).await, ["1/0=a"]);
    // The subscriber is busy with the first one while the second one expires.
    peer.answer(peer.publish_all("t", &[mortal("b", micros(SOON)), record(b"c")])).await;
    let newcomer = broker.peer().await;
    let sub = Sub::new(1, "t").from(Start::Offset(1));
    while newcomer.answer(newcomer.subscribe_to(sub)).await != "2..3" {
        newcomer.answer(newcomer.unsubscribe(1)).await;
    }
    assert_eq!(peer.answer(peer.commit(1, 0)).await, "done 1");
    assert_eq!(peer.stream().await, ["1/1..2 expired", "1/2=c"]);
    broker.stop().await;
}

pub(crate) async fn r_08_a_newcomer_gets_the_last_ones_within_the_limit<F: Form>() {
    let broker = Broker::<F>::start().await;
    broker.topic(TopicOptions::new().retain_forever().max_messages(3)).await;
    publish(&broker, &["0", "1", "2", "3", "4"]).await;
    assert_eq!(everything(&broker).await, ["1/2=2", "1/3=3", "1/4=4"]);
    broker.stop().await;
}

pub(crate) async fn r_09_reject_refuses_and_loses_nothing<F: Form>() {
    let broker = Broker::<F>::start().await;
    let options = TopicOptions::new().retain_forever().max_messages(2).overflow(Overflow::Reject);
    let peer = broker.topic(options).await;
    publish(&broker, &["0", "1"]).await;
    assert_eq!(peer.answer(peer.publish("t", "2")).await, "refused TopicFull");
    assert_eq!(everything(&broker).await, ["1/0=0", "1/1=1"]);
    broker.stop().await;
}

pub(crate) async fn r_09_reject_drops_what_every_subscription_has_committed<F: Form>() {
    let broker = Broker::<F>::start().await;
    let options = TopicOptions::new().retain_forever().max_messages(3).overflow(Overflow::Reject);
    let peer = broker.topic(options).await;
    publish(&broker, &["0", "1", "2"]).await;
    let (one, two) = (broker.client().await, broker.client().await);
    let mut fast = one.subscribe("t").await.expect("subscribed");
    let mut slow = two.subscribe("t").await.expect("subscribed");
    for expected in ["0=0", "1=1"] {
        assert_eq!(next_committed(&mut fast).await, expected);
    }
    assert_eq!(peer.answer(peer.publish("t", "3")).await, "refused TopicFull", "the slow one is not done");
    assert_eq!(next_committed(&mut slow).await, "0=0");
    assert_eq!(peer.answer(peer.publish("t", "3")).await, "@3");
    assert_eq!(peer.answer(peer.publish("t", "4")).await, "refused TopicFull");
    // Only as far as needed: record 1 stays until its place is wanted.
    assert_eq!(next_committed(&mut slow).await, "1=1");
    assert_eq!(everything(&broker).await, ["1/1=1", "1/2=2", "1/3=3"]);
    broker.stop().await;
}

/// The client's publish retries what is refused for the moment, until there is room.
pub(crate) async fn r5_a_client_waits_for_room<F: Form>() {
    let broker = Broker::<F>::start().await;
    let (writer, reader) = (broker.client().await, broker.client().await);
    let options = TopicOptions::new().retain_forever().max_messages(1).overflow(Overflow::Reject);
    writer.create_topic("t", options).await.expect("created");
    let mut subscription = reader.subscribe("t").await.expect("subscribed");
    put(&writer, "t", "0").await;
    let reading = async {
        assert_eq!(next(&mut subscription).await, "0=0");
        // The publish that waits was refused by now, or is about to be.
        writer.ping().await.expect("connected");
        subscription.commit().await.expect("committed");
    };
    let (answer, ()) = futures::join!(put(&writer, "t", "1"), reading);
    assert_eq!(answer, "@1");
    broker.stop().await;
}

pub(crate) async fn r_10_one_message_larger_than_the_topic_is_refused_and_the_log_is_intact<F: Form>() {
    for overflow in [Overflow::DropOldest, Overflow::Reject] {
        let broker = Broker::<F>::start().await;
        broker.topic(TopicOptions::new().retain_forever().max_bytes(100).overflow(overflow)).await;
        publish(&broker, &["0"]).await;
        let client = broker.client().await;
        assert_eq!(refused(client.publish("t", "x".repeat(85)).await), "TooLarge 100");
        publish(&broker, &["1"]).await;
        assert_eq!(everything(&broker).await, ["1/0=0", "1/1=1"]);
        broker.stop().await;
    }
}

pub(crate) async fn r_11_a_lowered_ttl_applies_at_once_and_a_raised_one_resurrects_nothing<F: Form>() {
    let hour = micros(HOUR);
    let broker = Broker::<F>::with(|config| config.topic_defaults.retention_ttl_micros = hour).await;
    let client = broker.client().await;
    let mut slow = client.subscribe("t").await.expect("subscribed");
    for body in ["0", "1", "2"] {
        put(&client, "t", body).await;
    }
    assert_eq!(next(&mut slow).await, "0=0");
    let adopted = client.create_topic("t", TopicOptions::new().retention_ttl(SOON)).await;
    assert_eq!(adopted.expect("adopted"), TopicStatus::Adopted);
    newcomer_starts_at(&broker, 3).await;
    client.alter_topic("t", TopicOptions::new().retention_ttl(HOUR)).await.expect("altered");
    put(&client, "t", "3").await;
    assert_eq!(everything(&broker).await, ["1/3=3"]);
    slow.commit().await.expect("committed");
    assert_eq!(next(&mut slow).await, "1..3 expired");
    assert_eq!(next(&mut slow).await, "3=3");
    broker.stop().await;
}

/// What can be seen of it: one Gap, whoever waited goes on, and others are served meanwhile. Bounded steps and
/// memory are the engine's own tests.
pub(crate) async fn r_12_many_records_expire_at_one_instant<F: Form>() {
    let broker = Broker::<F>::start().await;
    let peer = broker.topic(TopicOptions::new().retain_forever()).await;
    peer.answer(peer.subscribe(1, "t")).await;
    assert_eq!(peer.answer(peer.publish("t", "a")).await, "@0");
    let records = vec![mortal("", micros(SOON)); 40_000];
    for _ in 0..3 {
        peer.publish_all("t", &records);
    }
    assert_eq!(peer.answer(peer.publish("t", "z")).await, "@120001");
    let newcomer = broker.peer().await;
    let sub = Sub::new(1, "t").from(Start::Offset(1));
    while newcomer.answer(newcomer.subscribe_to(sub)).await != "120001..120002" {
        newcomer.answer(newcomer.unsubscribe(1)).await;
    }
    assert_eq!(peer.answer(peer.commit(1, 0)).await, "done 1");
    assert_eq!(peer.stream().await, ["1/0=a", "1/1..120001 expired", "1/120001=z"]);
    broker.stop().await;
}

pub(crate) async fn r_16_a_delivered_record_that_expires_stays_committable<F: Form>() {
    let broker = Broker::<F>::start().await;
    let peer = broker.topic(TopicOptions::new().retain_forever()).await;
    peer.answer(peer.subscribe(1, "t")).await;
    peer.answer(peer.publish("t", "a")).await;
    assert_eq!(peer.stream_of(1).await, ["1/0=a"]);
    peer.answer(peer.alter("t", TopicOptions::new().retention_ttl(SOON))).await;
    newcomer_starts_at(&broker, 1).await;
    assert_eq!(peer.answer(peer.commit(1, 0)).await, "done 1");
    assert!(peer.stream().await.is_empty());
    broker.stop().await;
}
