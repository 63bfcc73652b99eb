use std::time::Duration;

use tokio::time::sleep;
use zaichik_tokio::{BrokerConfig, EmbeddedBroker, TopicOptions};

#[tokio::test(start_paused = true)]
async fn a_cart_is_kept_for_an_hour() -> Result<(), Box<dyn std::error::Error>> {
    let broker = EmbeddedBroker::start(BrokerConfig::default())?;
    let client = broker.client(); // pass it to the code under test
    client.create_topic("carts", TopicOptions::new().retention_ttl(Duration::from_hours(1))).await?;
    client.publish("carts", "three carrots").await?;

    sleep(Duration::from_hours(1) - Duration::from_millis(1)).await;
    assert_eq!(client.subscribe("carts").await?.start(), 0, "the cart still exists");
    sleep(Duration::from_millis(1)).await;
    assert_eq!(client.subscribe("carts").await?.start(), 1, "the cart has expired");
    Ok(())
}
