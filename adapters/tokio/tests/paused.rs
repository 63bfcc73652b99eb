//! Brokers and clients in tokio's paused time.
#![expect(clippy::expect_used, reason = "helpers of tests are not test functions")]

use std::time::Duration;

use tokio::time::{Instant, advance, sleep};
use zaichik_tokio::{BrokerConfig, EmbeddedBroker, TopicOptions};

const HOUR: Duration = Duration::from_hours(1);

fn broker() -> EmbeddedBroker {
    EmbeddedBroker::start(BrokerConfig::default()).expect("the defaults are valid")
}

#[tokio::test(start_paused = true)]
async fn an_hour_passes_exact_to_the_microsecond() {
    let broker = broker();
    let client = broker.client();
    client.create_topic("t", TopicOptions::new().retention_ttl(HOUR)).await.expect("created");
    client.publish("t", "a").await.expect("accepted");
    sleep(Duration::from_millis(3_599_999)).await;
    // Tokio's timers have a resolution of a millisecond.
    advance(Duration::from_micros(999)).await;
    assert_eq!(
        client.subscribe("t").await.expect("subscribed").start(),
        0,
        "it is live to its last microsecond"
    );
    advance(Duration::from_micros(1)).await;
    assert_eq!(client.subscribe("t").await.expect("subscribed").start(), 1, "it has expired");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_connects_later_has_the_same_time() {
    let broker = broker();
    let topic = TopicOptions::new().retention_ttl(HOUR * 2);
    broker.client().create_topic("t", topic).await.expect("created");
    sleep(HOUR).await;
    let later = broker.client();
    let published = Instant::now();
    later.publish("t", "a").await.expect("accepted");
    assert_eq!(published, Instant::now(), "an immediate answer takes no time");
    let mut subscription = later.subscribe("t").await.expect("subscribed");
    let message = subscription.next_message().await.expect("no error").expect("a message");
    message.nack(HOUR).await.expect("nacked");
    let again = subscription.next_message().await.expect("no error").expect("a message");
    assert_eq!(again.attempt, 2);
    assert_eq!(published.elapsed(), HOUR, "neither before nor after");
}

#[tokio::test(start_paused = true)]
async fn s4_a_jump_past_the_heartbeats_breaks_no_connection() {
    let broker = broker();
    let client = broker.client();
    client.ping().await.expect("connected");
    advance(Duration::from_secs(80)).await;
    client.ping().await.expect("two heartbeats late");
    advance(HOUR).await;
    client.ping().await.expect("an hour late");
    assert_eq!(broker.stats().expect("it runs").connections, 1);
}

#[tokio::test(start_paused = true)]
async fn time_advances_when_a_test_sleeps() {
    let broker = broker();
    let client = broker.client();
    client.create_topic("t", TopicOptions::new().retention_ttl(HOUR)).await.expect("created");
    client.publish("t", "a").await.expect("accepted");
    tokio::time::resume();
    assert_eq!(client.subscribe("t").await.expect("subscribed").start(), 0);
    tokio::time::pause();
    sleep(HOUR).await;
    assert_eq!(client.subscribe("t").await.expect("subscribed").start(), 1);
}
