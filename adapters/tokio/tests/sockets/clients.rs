//! What only sockets show about several clients and the broker's end.

use std::time::Duration;

use crate::raw::{RawPeer, Running, within};
use futures::{SinkExt, StreamExt};
use zaichik_tokio::{
    Client, ClientError, ErrorClass, Incoming, Outgoing, RefusalCode, RequestError, Start, TopicOptions,
    TopicStatus,
};

async fn connect(broker: &Running) -> Client {
    Client::connect(&broker.address).await.expect("the broker listens")
}

#[tokio::test]
async fn t_05_two_clients_create_one_topic_at_once() {
    within(async {
        let broker = Running::start(|_| {}).await;
        let (one, other) = (connect(&broker).await, connect(&broker).await);
        for round in 0..50 {
            let topic = format!("race/{round}");
            let options = TopicOptions::new().retention_ttl(Duration::from_secs(9));
            let (first, second) =
                tokio::join!(one.create_topic(&topic, options), other.create_topic(&topic, options));
            let mut created = [first.expect("answered"), second.expect("answered")];
            created.sort_by_key(|status| *status == TopicStatus::Unchanged);
            assert_eq!(created, [TopicStatus::Created, TopicStatus::Unchanged]);

            let different = TopicOptions::new().retention_ttl(Duration::from_secs(8));
            let refused = other.create_topic(&topic, different).await.expect_err("other settings");
            let ClientError::Request(RequestError::Refused { refusal, .. }) = refused else {
                panic!("expected a refusal, got {refused:?}");
            };
            assert_eq!(refusal.code, RefusalCode::SettingsDiffer);
        }
        broker.stop().await;
    })
    .await;
}

#[tokio::test]
async fn r_08_a_slow_subscriber_is_told_what_it_missed() {
    within(async {
        let broker = Running::start(|_| {}).await;
        let client = connect(&broker).await;
        client
            .create_topic("short", TopicOptions::new().retain_forever().max_messages(3))
            .await
            .expect("created");
        let mut slow = client.subscribe("short").await.expect("subscribed");
        client.publish("short", "0").await.expect("accepted");
        let first = slow.next_message().await.expect("no gap").expect("a message");
        for text in ["1", "2", "3", "4", "5", "6"] {
            client.publish("short", text).await.expect("accepted");
        }
        first.commit().await.expect("committed");
        match slow.next().await {
            Some(Ok(Incoming::Gap { from: 1, to: 4, .. })) => {}
            other => panic!("expected a gap, got {other:?}"),
        }
        for text in ["4", "5", "6"] {
            let message = slow.next_message().await.expect("no gap").expect("a message");
            assert_eq!(message.body, text);
            message.commit().await.expect("committed");
        }
        broker.stop().await;
    })
    .await;
}

#[tokio::test]
async fn o_01_interleaved_publishers_are_seen_in_one_order() {
    within(async {
        let broker = Running::start(|_| {}).await;
        let readers = [connect(&broker).await, connect(&broker).await];
        let mut seen = Vec::new();
        for reader in &readers {
            let mut subscription = reader.subscribe("order").window(0).await.expect("subscribed");
            seen.push(tokio::spawn(async move {
                let mut bodies = Vec::new();
                while bodies.len() < 400 {
                    bodies.push(
                        subscription
                            .next_message()
                            .await
                            .expect("no gap")
                            .expect("a message")
                            .into_message()
                            .body,
                    );
                }
                bodies
            }));
        }
        let mut publishing = Vec::new();
        for name in ["a", "b"] {
            let client = connect(&broker).await;
            publishing.push(tokio::spawn(async move {
                let mut publisher = client.publisher("order").max_in_flight(4);
                for number in 0..200 {
                    publisher.feed(Outgoing::new(format!("{name}{number}"))).await.expect("room");
                    if number % 7 == 0 {
                        publisher.flush().await.expect("accepted");
                    }
                }
                publisher.close().await.expect("accepted");
                client.close().await.expect("closed");
            }));
        }
        for task in publishing {
            task.await.expect("no panic");
        }
        let mut orders = Vec::new();
        for task in seen {
            orders.push(task.await.expect("no panic"));
        }
        assert_eq!(orders[0], orders[1]);
        for name in ["a", "b"] {
            let own: Vec<_> = orders[0].iter().filter(|body| body.starts_with(name.as_bytes())).collect();
            let sent: Vec<_> = (0..200).map(|number| format!("{name}{number}")).collect();
            assert_eq!(own, sent.iter().collect::<Vec<_>>());
        }
        broker.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_18_a_handler_publishes_on_its_own_connection_at_window_one() {
    within(async {
        let broker = Running::start(|_| {}).await;
        let client = connect(&broker).await;
        let mut loops = client.subscribe("loop").await.expect("subscribed");
        client.publish("loop", "0").await.expect("accepted");
        for round in 1..=200u32 {
            let message = loops.next_message().await.expect("no gap").expect("a message");
            client.publish("loop", round.to_string()).await.expect("accepted");
            message.commit().await.expect("committed");
        }
        broker.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_07_a_bare_commit_is_for_the_message_taken_last() {
    within(async {
        let broker = Running::start(|_| {}).await;
        let client = connect(&broker).await;
        let nothing = client.commit().await.expect_err("nothing was taken");
        assert!(matches!(nothing, ClientError::Request(RequestError::NothingToCommit)));
        let mut subscription = client.subscribe("bare").await.expect("subscribed");
        for text in ["one", "two"] {
            client.publish("bare", text).await.expect("accepted");
        }
        for text in ["one", "two"] {
            let message = subscription.next_message().await.expect("no gap").expect("a message");
            assert_eq!(message.body, text);
            client.commit().await.expect("committed");
        }
        assert_eq!(subscription.unsubscribe().await.expect("ended"), Some(1));
        broker.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_subscription_that_is_dropped_makes_room_for_the_next_one() {
    within(async {
        let broker = Running::start(|_| {}).await;
        let client = connect(&broker).await;
        for _ in 0..20 {
            let mut subscription = client.subscribe("again").from(Start::Latest).await.expect("subscribed");
            client.publish("again", "x").await.expect("accepted");
            subscription.next_message().await.expect("no gap").expect("a message");
        }
        broker.stop().await;
    })
    .await;
}

#[tokio::test]
async fn p4_a_client_that_is_dropped_still_sends_what_it_took() {
    within(async {
        let broker = Running::start(|_| {}).await;
        let reader = connect(&broker).await;
        let mut subscription = reader.subscribe("last words").window(16).await.expect("subscribed");
        let writer = connect(&broker).await;
        for number in 0..10 {
            writer.publish_unacknowledged("last words", number.to_string()).await.expect("queued");
        }
        drop(writer);
        for number in 0..10 {
            let message = subscription.next_message().await.expect("no gap").expect("a message");
            assert_eq!(message.body, number.to_string());
        }
        broker.stop().await;
    })
    .await;
}

#[tokio::test]
async fn p_12_another_broker_behind_the_address_is_told() {
    within(async {
        let broker = Running::start(|_| {}).await;
        let client = connect(&broker).await;
        let mut subscription = client.subscribe("reborn").await.expect("subscribed");
        client.publish("reborn", "before").await.expect("accepted");
        let before = subscription.next_message().await.expect("no gap").expect("a message");
        before.commit().await.expect("committed");
        let address = broker.address.clone();
        broker.stop().await;

        let broker = Running::start_at(&address, |_| {}).await;
        match subscription.next().await {
            Some(Ok(Incoming::Restarted { start: 0 })) => {}
            other => panic!("expected Restarted, got {other:?}"),
        }
        client.publish("reborn", "after").await.expect("accepted");
        let after = subscription.next_message().await.expect("no gap").expect("a message");
        assert_eq!((after.offset, &after.body[..]), (0, &b"after"[..]));
        broker.stop().await;
    })
    .await;
}

#[tokio::test]
async fn s_05_a_shutdown_answers_what_it_accepted_and_leaves_nothing() {
    within(async {
        let broker = Running::start(|_| {}).await;
        let (publisher, reader) = (connect(&broker).await, connect(&broker).await);
        publisher.create_topic("end", TopicOptions::new().retain_forever()).await.expect("created");
        let mut subscription = reader.subscribe("end").window(0).await.expect("subscribed");
        let silent = RawPeer::open(&broker.address).await;

        let mut publishing = Vec::new();
        for number in 0..200 {
            let publisher = publisher.clone();
            publishing.push(tokio::spawn(async move { publisher.publish("end", number.to_string()).await }));
        }
        subscription.next_message().await.expect("no gap").expect("a message");
        broker.handle.shutdown(Duration::from_secs(5));
        let address = broker.address.clone();
        broker.stopped().await;

        assert!(silent.rest().await > 0, "it was told, and its connection is closed");
        assert!(RawPeer::try_silent(&address).await.is_err(), "nobody listens");
        drop(publisher);
        for task in publishing {
            if let Err(error) = task.await.expect("no panic") {
                assert_ne!(error.class(), ErrorClass::Refused, "{error}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_hundred_brokers_come_and_go() {
    within(async {
        for _ in 0..100 {
            let broker = Running::start(|_| {}).await;
            let client = connect(&broker).await;
            client.publish("short lived", "x").await.expect("accepted");
            broker.stop().await;
        }
    })
    .await;
}
