//! Exact timing, on runtimes with virtual time, where an hour passes instantly.
//!
//! On such a runtime time advances when every task waits. `tick` is its smallest unit of time.

#![expect(clippy::unchecked_time_subtraction, reason = "an hour is longer than a tick")]

use std::future::poll_fn;
use std::time::Duration;

use bytes::BytesMut;
use zaichik_driver::{
    BrokerConfig, Client, ClientError, Clock, DurableOptions, EmbeddedBroker, ErrorClass, Io, OnLoss,
    Outgoing, Overflow, Runtime, Timer, TopicOptions,
};

use crate::broker::{HOUR, next, next_committed, next_message};

/// The default `inactive_ttl`.
const DAY: Duration = Duration::from_hours(24);

/// The default deadline of a publish.
const PUBLISH_DEADLINE: Duration = Duration::from_secs(30);

/// The maximum delay between two attempts.
const RETRY: Duration = Duration::from_secs(5);

fn broker<R: Runtime>() -> EmbeddedBroker<R> {
    EmbeddedBroker::start(BrokerConfig::default()).expect("the defaults are valid")
}

async fn sleep<R: Runtime>(duration: Duration) {
    let clock = Clock::of::<R>();
    let (until, mut timer) = (clock.instant(clock.now() + duration).expect("near"), R::timer());
    poll_fn(|cx| timer.poll_until(cx, until)).await;
}

/// Where a new subscription to a topic starts.
async fn start<R: Runtime>(client: &Client<R>, topic: &str) -> u64 {
    client.subscribe(topic).await.expect("subscribed").start()
}

pub(crate) async fn r1_a_message_lives_for_exactly_an_hour<R: Runtime>(tick: Duration) {
    let broker = broker::<R>();
    let client = broker.client();
    client.create_topic("t", TopicOptions::new().retention_ttl(HOUR)).await.expect("created");
    client.publish("t", "a").await.expect("accepted");
    sleep::<R>(HOUR - tick).await;
    assert_eq!(start(&client, "t").await, 0, "it is live one tick before");
    sleep::<R>(tick).await;
    assert_eq!(start(&client, "t").await, 1, "it has expired");
}

pub(crate) async fn r4_a_message_that_expires_unread_is_a_gap<R: Runtime>(tick: Duration) {
    let broker = broker::<R>();
    let client = broker.client();
    client.create_topic("t", TopicOptions::new().retention_ttl(HOUR)).await.expect("created");
    let mut subscription = client.subscribe("t").on_loss(OnLoss::Fail).await.expect("subscribed");
    for body in ["a", "b"] {
        client.publish("t", body).await.expect("accepted");
    }
    assert_eq!(next(&mut subscription).await, "0=a");
    sleep::<R>(HOUR + tick).await;
    client.publish("t", "c").await.expect("accepted");
    client.commit().await.expect("committed");
    let gap = subscription.next_message().await.expect_err("a gap");
    let ClientError::Lost { event, .. } = gap else { panic!("{gap:?}") };
    assert_eq!(event.lost_offsets(), Some(1..2));
    assert_eq!(next_committed(&mut subscription).await, "2=c");
}

pub(crate) async fn c1_a_key_is_remembered_for_exactly_its_window<R: Runtime>(tick: Duration) {
    let broker = broker::<R>();
    let client = broker.client();
    let options = TopicOptions::new().retain_forever().compaction_window(DAY);
    client.create_topic("t", options).await.expect("created");
    let publish = async || client.publish("t", Outgoing::new("x").key("k")).await.expect("accepted");
    assert_eq!(publish().await.first_offset, Some(0));
    sleep::<R>(DAY - tick).await;
    assert!(publish().await.is_duplicate(0));
    sleep::<R>(tick).await;
    assert_eq!(publish().await.first_offset, Some(1));
}

pub(crate) async fn a4_a_nacked_message_is_redelivered_after_exactly_its_delay<R: Runtime>(_: Duration) {
    let broker = broker::<R>();
    let client = broker.client();
    let mut subscription = client.subscribe("t").await.expect("subscribed");
    client.publish("t", "a").await.expect("accepted");
    let message = next_message(&mut subscription).await;
    let clock = Clock::of::<R>();
    let before = clock.now();
    message.nack(HOUR).await.expect("taken back");
    let again = next_message(&mut subscription).await;
    assert_eq!((again.offset, again.attempt), (0, message.attempt + 1));
    assert_eq!(clock.now().since(before), HOUR);
}

pub(crate) async fn d5_a_durable_subscription_is_forgotten_after_exactly_a_day<R: Runtime>(tick: Duration) {
    let broker = broker::<R>();
    let client = broker.client();
    client.create_topic("t", TopicOptions::new().retain_forever()).await.expect("created");
    for away in [DAY - tick, DAY] {
        let mut subscription =
            client.subscribe("t").durable(DurableOptions::new("d")).await.expect("subscribed");
        assert_eq!(subscription.start(), 0, "nothing is committed yet");
        client.publish("t", "a").await.expect("accepted");
        assert_eq!(next_committed(&mut subscription).await, "0=a");
        subscription.unsubscribe().await.expect("detached");
        sleep::<R>(away).await;
        let subscription = client.subscribe("t").durable("d").await.expect("subscribed");
        assert_eq!(subscription.start(), u64::from(away < DAY), "kept until a day has passed");
        subscription.unsubscribe().await.expect("detached");
        sleep::<R>(DAY).await;
    }
}

pub(crate) async fn s4_heartbeats_keep_an_idle_connection_for_a_day<R: Runtime>(_: Duration) {
    let broker = broker::<R>();
    let (writer, reader) = (broker.client(), broker.client());
    let mut subscription = reader.subscribe("t").await.expect("subscribed");
    writer.ping().await.expect("connected");
    let clock = Clock::of::<R>();
    let before = clock.now();
    sleep::<R>(DAY).await;
    assert_eq!(clock.now().since(before), DAY);
    writer.publish("t", "a").await.expect("accepted");
    assert_eq!(next_committed(&mut subscription).await, "0=a");
    let stats = broker.stats().expect("it runs");
    assert_eq!((stats.connections, stats.clock_steps_back), (2, 0), "no client reconnected");
}

pub(crate) async fn s1_a_silent_peer_is_closed_after_exactly_the_handshake_timeout<R: Runtime>(_: Duration) {
    let config = BrokerConfig::default();
    let timeout = config.handshake_timeout;
    let broker = EmbeddedBroker::<R>::start(config).expect("the defaults are valid");
    let clock = Clock::of::<R>();
    let before = clock.now();
    let mut stream = broker.stream().expect("it runs");
    let mut bytes = BytesMut::new();
    while poll_fn(|cx| stream.poll_read(cx, &mut bytes, 1 << 10)).await.expect("an orderly end") > 0 {}
    assert_eq!(clock.now().since(before), timeout);
}

pub(crate) async fn r5_a_publish_is_retried_until_its_deadline<R: Runtime>(_: Duration) {
    let broker = broker::<R>();
    let client = broker.client();
    for (topic, ttl) in [("soon", PUBLISH_DEADLINE / 2), ("late", HOUR)] {
        let options = TopicOptions::new().retention_ttl(ttl).max_messages(1).overflow(Overflow::Reject);
        client.create_topic(topic, options).await.expect("created");
    }
    for topic in ["soon", "late"] {
        client.publish(topic, "a").await.expect("there is room");
    }
    let clock = Clock::of::<R>();
    let before = clock.now();
    client.publish("soon", "b").await.expect("there is room before the deadline");
    assert_within(clock.now().since(before), PUBLISH_DEADLINE / 2);
    let before = clock.now();
    let refused = client.publish("late", "b").await.expect_err("there is room only after an hour");
    assert_eq!(refused.class(), ErrorClass::Retryable, "{refused}");
    // It gives up when its next attempt would be after the deadline.
    assert_within(clock.now().since(before), PUBLISH_DEADLINE - RETRY);
}

fn assert_within(waited: Duration, least: Duration) {
    assert!((least..=least + RETRY).contains(&waited), "waited {waited:?}, not {least:?} to {RETRY:?} more");
}
