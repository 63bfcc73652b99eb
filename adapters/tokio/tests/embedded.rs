//! A broker inside the program: the same API, no socket.

use std::time::Duration;

use futures::SinkExt;
use zaichik_tokio::{Client, ClientError, Embedded, Outgoing, ServerError, TopicOptions, default_config};

fn start() -> Result<Embedded, ServerError> {
    Embedded::start(default_config()?)
}

#[tokio::test]
async fn a_broker_that_is_dropped_ends_its_clients() {
    let broker = start().expect("the defaults are valid");
    let client = broker.client();
    client.publish("t", "x").await.expect("accepted");
    let mut subscription = client.subscribe("t").await.expect("subscribed");
    drop(broker);
    assert!(matches!(subscription.next_message().await, Err(ClientError::Connect(_))));
    assert!(matches!(client.publish("t", "x").await, Err(ClientError::Connect(_))));
    client.close().await.expect("it owes nothing");
}

#[tokio::test]
async fn a_shutdown_waits_for_what_is_being_worked_on() {
    let broker = start().expect("the defaults are valid");
    let client = broker.client();
    let mut subscription = client.subscribe("t").await.expect("subscribed");
    client.publish("t", "x").await.expect("accepted");
    let message = subscription.next_message().await.expect("no gap").expect("a message");
    // Longer than any test runs: only the commit can end it.
    let stopping = tokio::spawn(broker.shutdown(Duration::from_hours(1)));
    message.commit().await.expect("still served");
    stopping.await.expect("no panic").expect("an orderly end");
}

#[tokio::test]
async fn more_requests_than_fit_wait_for_their_turn() {
    let broker = start().expect("the defaults are valid");
    let client = broker.client_builder().max_in_flight(2).start();
    client.create_topic("t", TopicOptions::new().retain_forever()).await.expect("created");
    let mut publishing = Vec::new();
    for number in 0..500 {
        let client = client.clone();
        let publish = async move { client.publish("t", number.to_string()).await };
        let task = tokio::spawn(publish);
        // Some lose interest while they wait: the others are not to wait for ever.
        if number % 3 == 0 {
            task.abort();
        } else {
            publishing.push(task);
        }
    }
    for task in publishing {
        task.await.expect("no panic").expect("accepted");
    }
    broker.shutdown(Duration::ZERO).await.expect("an orderly end");
}

#[tokio::test]
async fn a_publisher_reports_a_refusal_once_and_goes_on() {
    let broker = start().expect("the defaults are valid");
    let client = broker.client();
    let mut publisher = client.publisher("t").max_in_flight(1);
    publisher.send("fine".into()).await.expect("accepted");
    let too_large = publisher.send(Outgoing::new(vec![0; 2 << 20])).await;
    assert!(matches!(too_large, Err(ClientError::Request(_))), "{too_large:?}");
    publisher.send("fine again".into()).await.expect("accepted");
    publisher.close().await.expect("nothing is left to report");
    broker.shutdown(Duration::ZERO).await.expect("an orderly end");
}

#[tokio::test]
async fn a_stream_of_large_and_small_messages_arrives_whole() {
    let broker = start().expect("the defaults are valid");
    let (writer, reader): (Client, Client) = (broker.client(), broker.client());
    let mut subscription = reader.subscribe("t").window(16).await.expect("subscribed");
    let sizes = (0..300).map(|number: usize| number * 379 % 100_000);
    let sending = tokio::spawn({
        let sizes = sizes.clone();
        async move {
            let mut publisher = writer.publisher("t");
            for size in sizes {
                publisher.feed(Outgoing::new(vec![7; size])).await?;
            }
            publisher.close().await
        }
    });
    for size in sizes {
        let message = subscription.next_message().await.expect("no gap").expect("a message");
        assert_eq!(message.body.len(), size);
        message.commit().await.expect("committed");
    }
    sending.await.expect("no panic").expect("accepted");
    broker.shutdown(Duration::from_secs(5)).await.expect("an orderly end");
}
