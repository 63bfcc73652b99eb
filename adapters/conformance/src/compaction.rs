//! C: compaction in `first` mode.
//!
//! The broker's clock is real: a window that is to be open lasts an hour, and one that is to end is waited for by
//! publishing until it has.

use std::time::Duration;

use futures::join;
use zaichik_driver::{Outgoing, Start, TopicOptions, TopicStatus};

use crate::broker::{Broker, ClientOf, HOUR, SOON, next, put, put_keyed, settled};
use crate::chapters::newcomer_starts_at;
use crate::form::Form;

/// Keys are remembered for an hour, records for ever.
fn compacted() -> TopicOptions {
    TopicOptions::new().retain_forever().compaction_window(HOUR)
}

/// A broker with a topic `t` of these settings, and a client.
async fn topic<F: Form>(options: TopicOptions) -> (Broker<F>, ClientOf<F>) {
    let broker = Broker::<F>::start().await;
    let client = broker.client().await;
    assert_eq!(client.create_topic("t", options).await.expect("created"), TopicStatus::Created);
    (broker, client)
}

/// Publishes `k` until it is no duplicate any more; what is accepted and what is not are all that is seen.
async fn until_accepted<F: Form>(client: &ClientOf<F>, original: &str) -> String {
    loop {
        let answer = put_keyed(client, "t", "k", "again").await;
        if answer != original {
            return answer;
        }
    }
}

pub(crate) async fn c_01_a_duplicate_inside_the_window<F: Form>() {
    let (broker, client) = topic::<F>(compacted()).await;
    assert_eq!(put(&client, "t", "other").await, "@0");
    assert_eq!(put_keyed(&client, "t", "k", "x").await, "@1");
    assert_eq!(put_keyed(&client, "t", "k", "x").await, "=@1");
    broker.stop().await;
}

pub(crate) async fn c_02_not_a_duplicate_when_the_window_is_over<F: Form>() {
    let (broker, client) = topic::<F>(compacted().compaction_window(SOON)).await;
    assert_eq!(put_keyed(&client, "t", "k", "x").await, "@0");
    assert_eq!(until_accepted::<F>(&client, "=@0").await, "@1");
    broker.stop().await;
}

/// If a duplicate extended the window, publishing without a pause would keep it open for ever.
pub(crate) async fn c_03_the_window_is_anchored_at_the_accepted_record<F: Form>() {
    let (broker, client) = topic::<F>(compacted().compaction_window(5 * SOON)).await;
    assert_eq!(put_keyed(&client, "t", "k", "x").await, "@0");
    for (original, next) in [("=@0", "@1"), ("=@1", "@2")] {
        assert_eq!(until_accepted::<F>(&client, original).await, next);
    }
    broker.stop().await;
}

pub(crate) async fn c_05_the_first_body_wins<F: Form>() {
    let (broker, client) = topic::<F>(compacted()).await;
    assert_eq!(put_keyed(&client, "t", "k", "first").await, "@0");
    assert_eq!(put_keyed(&client, "t", "k", "second").await, "=@0");
    let mut subscription = client.subscribe("t").window(9).await.expect("subscribed");
    assert_eq!(settled(&client, &mut subscription).await, ["0=first"]);
    broker.stop().await;
}

pub(crate) async fn c_06_without_a_key_nothing_is_a_duplicate<F: Form>() {
    let (broker, client) = topic::<F>(compacted()).await;
    assert_eq!(put(&client, "t", "same").await, "@0");
    assert_eq!(put(&client, "t", "same").await, "@1");
    broker.stop().await;
}

pub(crate) async fn c_07_the_empty_key_is_a_key<F: Form>() {
    let (broker, client) = topic::<F>(compacted()).await;
    assert_eq!(put_keyed(&client, "t", "", "x").await, "@0");
    assert_eq!(put_keyed(&client, "t", "", "x").await, "=@0");
    assert_eq!(put(&client, "t", "no key").await, "@1");
    broker.stop().await;
}

pub(crate) async fn c_08_the_scope_is_the_topic<F: Form>() {
    let (broker, client) = topic::<F>(compacted()).await;
    client.create_topic("u", compacted()).await.expect("created");
    assert_eq!(put_keyed(&client, "t", "k", "x").await, "@0");
    assert_eq!(put_keyed(&client, "u", "k", "x").await, "@0");
    broker.stop().await;
}

pub(crate) async fn c5_the_scope_is_all_publishers<F: Form>() {
    let (broker, client) = topic::<F>(compacted()).await;
    let other = broker.client().await;
    let (one, two) = join!(put_keyed(&client, "t", "k", "x"), put_keyed(&other, "t", "k", "x"));
    let mut answers = [one, two];
    answers.sort();
    assert_eq!(answers, ["=@0", "@0"], "one of them is the first");
    client.close().await.expect("closed");
    assert_eq!(put_keyed(&other, "t", "k", "x").await, "=@0");
    broker.stop().await;
}

pub(crate) async fn c_09_a_key_outlives_its_expired_record<F: Form>() {
    let (broker, client) = topic::<F>(compacted().retention_ttl(SOON)).await;
    assert_eq!(put_keyed(&client, "t", "k", "x").await, "@0");
    newcomer_starts_at(&broker, Start::Earliest, 1).await;
    assert_eq!(put_keyed(&client, "t", "k", "x").await, "=@0");
    broker.stop().await;
}

pub(crate) async fn c_10_a_key_outlives_its_committed_record<F: Form>() {
    let (broker, client) = topic::<F>(compacted().retention_ttl(Duration::ZERO)).await;
    let mut subscription = client.subscribe("t").await.expect("subscribed");
    assert_eq!(put_keyed(&client, "t", "k", "x").await, "@0");
    assert_eq!(next(&mut subscription).await, "0=x");
    subscription.commit().await.expect("committed");
    assert_eq!(put_keyed(&client, "t", "k", "x").await, "=@0");
    broker.stop().await;
}

pub(crate) async fn c_11_a_key_outlives_its_record_that_a_limit_removed<F: Form>() {
    let (broker, client) = topic::<F>(compacted().max_messages(1)).await;
    assert_eq!(put_keyed(&client, "t", "k", "x").await, "@0");
    assert_eq!(put_keyed(&client, "t", "l", "x").await, "@1");
    assert_eq!(put_keyed(&client, "t", "k", "x").await, "=@0");
    broker.stop().await;
}

pub(crate) async fn c_12_max_keys_refuses_new_keys_until_some_leave_the_window<F: Form>() {
    let (broker, client) = topic::<F>(compacted().max_keys(2)).await;
    let peer = broker.peer().await;
    assert_eq!(put_keyed(&client, "t", "a", "x").await, "@0");
    assert_eq!(put_keyed(&client, "t", "b", "x").await, "@1");
    assert_eq!(peer.answer(peer.publish_keyed("t", "c", "x")).await, "refused KeysFull 2");
    // What is remembered is still told, and what has no key needs no place.
    assert_eq!(put_keyed(&client, "t", "a", "x").await, "=@0");
    assert_eq!(put(&client, "t", "no key").await, "@2");
    // The client tries again by itself, until the others have left a window that became shorter.
    let shorter = async {
        peer.settle().await;
        client.alter_topic("t", TopicOptions::new().compaction_window(SOON)).await.expect("altered");
    };
    let (accepted, ()) = join!(put_keyed(&client, "t", "c", "x"), shorter);
    assert_eq!(accepted, "@3");
    broker.stop().await;
}

pub(crate) async fn c_13_window_zero_remembers_nothing<F: Form>() {
    let (broker, client) = topic::<F>(compacted().compaction_window(Duration::ZERO)).await;
    assert_eq!(put_keyed(&client, "t", "k", "x").await, "@0");
    assert_eq!(put_keyed(&client, "t", "k", "x").await, "@1");
    broker.stop().await;
}

pub(crate) async fn c_14_a_window_changed_by_adoption_applies_to_the_next_publish<F: Form>() {
    let hour = zaichik_proto::micros(HOUR);
    let broker = Broker::<F>::with(|config| config.topic_defaults.compaction_window_micros = hour).await;
    let client = broker.client().await;
    assert_eq!(put_keyed(&client, "t", "k", "x").await, "@0 new");
    assert_eq!(put_keyed(&client, "t", "k", "x").await, "=@0");
    let adopted = client.create_topic("t", compacted().compaction_window(SOON)).await;
    assert_eq!(adopted.expect("adopted"), TopicStatus::Adopted);
    assert_eq!(until_accepted::<F>(&client, "=@0").await, "@1");
    broker.stop().await;
}

pub(crate) async fn c_15_a_duplicate_reaches_no_subscriber_and_takes_no_offset<F: Form>() {
    let (broker, client) = topic::<F>(compacted()).await;
    let reader = broker.client().await;
    let mut subscription = reader.subscribe("t").window(9).await.expect("subscribed");
    for (key, answer) in [("k", "@0"), ("k", "=@0"), ("l", "@1")] {
        assert_eq!(put_keyed(&client, "t", key, "x").await, answer);
    }
    assert_eq!(settled(&reader, &mut subscription).await, ["0=x", "1=x"]);
    broker.stop().await;
}

pub(crate) async fn c1_duplicates_within_one_publish<F: Form>() {
    let (broker, client) = topic::<F>(compacted()).await;
    let keyed = |key: &'static str, body: &'static str| Outgoing::new(body).key(key);
    let messages = [keyed("a", "1"), keyed("b", "2"), keyed("a", "3"), "4".into(), keyed("b", "5")];
    let receipt = client.publish_all("t", &messages).await.expect("accepted");
    let offsets: Vec<_> = (0..5).map(|record| receipt.offset(record)).collect();
    assert_eq!(offsets, [Some(0), Some(1), Some(0), Some(2), Some(1)]);
    let mut subscription = client.subscribe("t").window(9).await.expect("subscribed");
    assert_eq!(settled(&client, &mut subscription).await, ["0=1", "1=2", "2=4"]);
    broker.stop().await;
}
