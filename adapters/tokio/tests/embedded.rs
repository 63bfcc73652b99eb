//! A case that the conformance suite does not cover: a broker that is dropped.

use zaichik_tokio::{BrokerConfig, ClientError, EmbeddedBroker};

#[tokio::test]
async fn a_broker_that_is_dropped_ends_its_clients() {
    let config = BrokerConfig::default();
    let broker = EmbeddedBroker::start(config).expect("the defaults are valid");
    let client = broker.client();
    client.publish("t", "x").await.expect("accepted");
    let mut subscription = client.subscribe("t").await.expect("subscribed");
    drop(broker);
    assert!(matches!(subscription.next_message().await, Err(ClientError::Connect(_))));
    assert!(matches!(client.publish("t", "x").await, Err(ClientError::Connect(_))));
    client.close().await.expect("no answer is outstanding");
}
