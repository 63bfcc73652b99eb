//! C: compaction in `latest` mode.
//!
//! The broker's clock is real: what is to live lives an hour, and what is to end is waited for by asking until it has.

use std::time::Duration;

use zaichik_driver::{CompactionMode, Outgoing, Start, TopicOptions};

use crate::broker::{Broker, ClientOf, HOUR, SOON, next, put, put_keyed, settled};
use crate::form::Form;

fn latest() -> TopicOptions {
    TopicOptions::new().retain_forever().compaction(CompactionMode::Latest)
}

/// A broker with a topic `t` of these settings, and a client.
async fn topic<F: Form>(options: TopicOptions) -> (Broker<F>, ClientOf<F>) {
    let broker = Broker::<F>::start().await;
    let client = broker.client().await;
    client.create_topic("t", options).await.expect("created");
    (broker, client)
}

/// What a newcomer gets that takes everything: where it begins, and the messages.
async fn newcomer<F: Form>(broker: &Broker<F>) -> (u64, Vec<String>) {
    let client = broker.client().await;
    let mut subscription = client.subscribe("t").window(0).await.expect("subscribed");
    let all = settled(&client, &mut subscription).await;
    (subscription.start(), all)
}

/// Asks until a newcomer gets something else than this.
async fn until_not<F: Form>(broker: &Broker<F>, before: &[&str]) -> Vec<String> {
    loop {
        let (_, all) = newcomer(broker).await;
        if all != before {
            return all;
        }
    }
}

pub(crate) async fn c_16_a_newcomer_gets_the_newest_value<F: Form>() {
    let (broker, client) = topic::<F>(latest()).await;
    for (body, expected) in [("1", "@0"), ("2", "@1")] {
        assert_eq!(put_keyed(&client, "t", "k", body).await, expected, "no duplicates in this mode");
    }
    assert_eq!(newcomer(&broker).await, (1, vec!["1=2".to_owned()]));
    broker.stop().await;
}

pub(crate) async fn c_17_a_slow_subscriber_gets_only_the_newest_and_no_gap<F: Form>() {
    let (broker, client) = topic::<F>(latest()).await;
    let mut slow = client.subscribe("t").await.expect("subscribed");
    put_keyed(&client, "t", "a", "0").await;
    assert_eq!(next(&mut slow).await, "0=0");
    for body in ["1", "2", "3"] {
        put_keyed(&client, "t", "k", body).await;
    }
    slow.commit().await.expect("committed");
    assert_eq!(next(&mut slow).await, "3=3");
    broker.stop().await;
}

pub(crate) async fn c_18_inside_the_window_both_are_there<F: Form>() {
    let (broker, client) = topic::<F>(latest().compaction_window(HOUR)).await;
    for body in ["1", "2"] {
        put_keyed(&client, "t", "k", body).await;
    }
    assert_eq!(newcomer(&broker).await, (0, vec!["0=1".to_owned(), "1=2".to_owned()]));
    broker.stop().await;
}

pub(crate) async fn c_19_a_tombstone_is_seen_until_its_time_is_over<F: Form>() {
    let (broker, client) = topic::<F>(latest().tombstone_ttl(HOUR)).await;
    put_keyed(&client, "t", "k", "1").await;
    put(&client, "t", Outgoing::tombstone("k")).await;
    put_keyed(&client, "t", "l", "2").await;
    assert_eq!(newcomer(&broker).await.1, ["1=", "2=2"]);
    client.alter_topic("t", TopicOptions::new().tombstone_ttl(SOON)).await.expect("altered");
    assert_eq!(until_not(&broker, &["1=", "2=2"]).await, ["2=2"]);
    broker.stop().await;
}

pub(crate) async fn c_20_a_tombstone_for_an_unknown_key_is_accepted<F: Form>() {
    let (broker, client) = topic::<F>(latest()).await;
    assert_eq!(put(&client, "t", Outgoing::tombstone("nobody")).await, "@0");
    let mut subscription = client.subscribe("t").await.expect("subscribed");
    let message = subscription.next_message().await.expect("no gap").expect("a message");
    assert!(message.tombstone && message.key.as_deref() == Some(b"nobody"));
    broker.stop().await;
}

pub(crate) async fn c_21_when_the_newest_value_expires_the_key_is_gone<F: Form>() {
    let (broker, client) = topic::<F>(latest()).await;
    put_keyed(&client, "t", "k", "old").await;
    put(&client, "t", Outgoing::new("new").key("k").ttl(Duration::from_millis(500))).await;
    put_keyed(&client, "t", "l", "stays").await;
    let before = ["1=new", "2=stays"];
    let (_, all) = newcomer(&broker).await;
    let all = if all == before { until_not(&broker, &before).await } else { all };
    assert_eq!(all, ["2=stays"], "the old one does not come back");
    broker.stop().await;
}

pub(crate) async fn c_22_a_start_at_what_was_compacted_away_begins_at_the_next_existing<F: Form>() {
    let (broker, client) = topic::<F>(latest()).await;
    for (key, body) in [("a", "0"), ("b", "1"), ("b", "2"), ("b", "3")] {
        put_keyed(&client, "t", key, body).await;
    }
    let mut subscription = client.subscribe("t").from(Start::Offset(1)).await.expect("subscribed");
    assert_eq!((subscription.start(), subscription.end()), (3, 4));
    assert_eq!(next(&mut subscription).await, "3=3", "no gap for what was before");
    broker.stop().await;
}

pub(crate) async fn c_23_survivors_keep_their_order<F: Form>() {
    let (broker, client) = topic::<F>(latest()).await;
    let mut expected = Vec::new();
    for round in 0..40 {
        let messages: Vec<_> = (0..20)
            .map(|key| Outgoing::new(vec![b'x'; 100]).key(format!("{}", (key * round) % 20)))
            .collect();
        client.publish_all("t", messages).await.expect("accepted");
        expected.extend((0..20).map(|key| (key * round) % 20));
    }
    let newest = |key: &i32| expected.iter().rposition(|other| other == key);
    let mut survivors: Vec<_> = (0..20).filter_map(|key| newest(&key)).collect();
    survivors.sort_unstable();
    let survivors: Vec<_> = survivors.into_iter().map(|offset| format!("{offset}=<100>")).collect();
    assert_eq!(newcomer(&broker).await.1, survivors);
    broker.stop().await;
}
