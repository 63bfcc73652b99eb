//! Chapter G through the client: workers that share a subscription.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use zaichik_driver::{Client, ErrorClass, Subscription, TopicOptions};

use crate::broker::{Broker, ClientOf, next, next_message, put, spawn};
use crate::form::Form;
use crate::proxy::Proxy;

/// Creates the topic `t`, and publishes as many messages to it: their bodies are their offsets.
async fn filled<F: Form>(broker: &Broker<F>, count: u64) -> ClientOf<F> {
    let writer = broker.client().await;
    writer.create_topic("t", TopicOptions::new().retain_forever()).await.expect("created");
    for number in 0..count {
        put(&writer, "t", number.to_string()).await;
    }
    writer
}

/// Joins the subscription `workers` of `t`.
async fn join<F: Form>(client: &ClientOf<F>, window: u32) -> Subscription {
    client.subscribe("t").shared("workers").window(window).await.expect("joined")
}

pub(crate) async fn g_01_members_get_every_message_once<F: Form>() {
    const COUNT: u64 = 200;
    let broker = Broker::<F>::start().await;
    let writer = filled(&broker, COUNT).await;
    let mut working = Vec::new();
    for _ in 0..2 {
        let client = broker.client().await;
        let mut jobs = join::<F>(&client, 4).await;
        working.push(spawn::<F::Runtime, _>(async move {
            let mut seen = Vec::new();
            loop {
                let job = next_message(&mut jobs).await;
                if job.body == "end" {
                    job.ack().await.expect("it is held");
                    return seen;
                }
                assert_eq!(job.attempt, 1);
                seen.push(job.offset);
                job.ack().await.expect("it is held");
            }
        }));
    }
    // A worker that has taken one of them leaves, so that the other gets the second.
    for _ in 0..2 {
        put(&writer, "t", "end").await;
    }
    let mut times: BTreeMap<u64, u32> = BTreeMap::new();
    for offset in join_all(working).await.into_iter().flatten() {
        *times.entry(offset).or_default() += 1;
    }
    assert!(times.into_iter().eq((0..COUNT).map(|offset| (offset, 1))), "each of them once");
    let info = writer.shared_subscription("t", "workers").await.expect("described");
    assert_eq!((info.cursor, info.in_flight, info.waiting), (COUNT + 2, 0, 0));
    broker.stop().await;
}

pub(crate) async fn g_02_a_client_that_dies_leaves_its_messages_to_the_others<F: Form>() {
    let broker = Broker::<F>::start().await;
    let writer = filled(&broker, 4).await;
    let (dies, lives) = (broker.client().await, broker.client().await);
    let mut first = join::<F>(&dies, 2).await;
    assert_eq!([next(&mut first).await, next(&mut first).await], ["0=0", "1=1"]);
    let mut second = join::<F>(&lives, 8).await;
    assert_eq!([next(&mut second).await, next(&mut second).await], ["2=2", "3=3"]);
    drop((first, dies));
    assert_eq!([next(&mut second).await, next(&mut second).await], ["0=0 #2", "1=1 #2"]);
    let info = writer.shared_subscription("t", "workers").await.expect("described");
    assert_eq!((info.members.len(), info.in_flight), (1, 4));
    broker.stop().await;
}

pub(crate) async fn g10_a_client_joins_again_after_a_cut_and_settles_only_what_it_holds_now<F: Form>() {
    let broker = Broker::<F>::start().await;
    filled(&broker, 3).await;
    let proxy = Proxy::start::<F::Runtime>(&broker.address(), |_| Vec::new()).await;
    let builder = Client::<F::Runtime>::builder(proxy.address());
    let builder = builder.configure(|config| config.reconnect_min = Duration::from_millis(1));
    let client = builder.connect().await.expect("the broker listens");
    // Nothing is buffered that could be taken before the client has noticed the cut.
    let mut jobs = join::<F>(&client, 1).await;
    let old = next_message(&mut jobs).await;
    proxy.cut();
    assert_eq!(next(&mut jobs).await, "reconnected 0 0");
    let error = old.ack().await.expect_err("its connection is gone");
    assert_eq!(error.class(), ErrorClass::Refused);
    let again = next_message(&mut jobs).await;
    assert_eq!((again.offset, again.attempt), (0, 2));
    assert_eq!(jobs.ack_all(&[again, old]).await.expect("answered"), [0], "the old delivery is not held");
    assert_eq!(next(&mut jobs).await, "1=1");
    broker.stop().await;
}
