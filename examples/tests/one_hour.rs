//! How to test in a millisecond what takes an hour: a broker inside the test, and tokio's paused time.
//!
//! `cargo test -p zaichik-examples --test one_hour`

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use zaichik_tokio::{BrokerConfig, Client, ClientError, EmbeddedBroker, Outgoing, TopicOptions};

/// How long a shop keeps a customer's cart.
const HOLD: Duration = Duration::from_hours(1);

/// How often it checks for expired carts.
const CHECK: Duration = Duration::from_mins(1);

// The code under test: part of an application, which is not written for tests.

async fn open_shop(client: &Client) -> Result<(), ClientError> {
    client.create_topic("carts", TopicOptions::new().retention_ttl(HOLD)).await?;
    Ok(())
}

async fn fill_cart(client: &Client, customer: &str, cart: &str) -> Result<(), ClientError> {
    client.publish("carts", Outgoing::new(cart.to_owned()).header("customer", customer.to_owned())).await?;
    Ok(())
}

/// Customers whose cart has not expired.
async fn customers(client: &Client) -> Result<BTreeSet<String>, ClientError> {
    let mut carts = client.subscribe("carts").window(0).await?;
    let mut customers = BTreeSet::new();
    for _ in carts.start()..carts.end() {
        let Some(cart) = carts.next_message().await? else { break };
        let customer = cart.headers.get("customer").unwrap_or_default();
        customers.insert(String::from_utf8_lossy(customer).into_owned());
    }
    Ok(customers)
}

/// Publishes the customers whose carts have expired, forever.
async fn expire_carts(client: Client) -> Result<(), ClientError> {
    let mut before = BTreeSet::new();
    loop {
        let now = customers(&client).await?;
        for customer in before.difference(&now) {
            client.publish("expired", customer.clone()).await?;
        }
        before = now;
        sleep(CHECK).await;
    }
}

// The tests.

#[tokio::test(start_paused = true)]
async fn a_cart_is_kept_for_an_hour() -> Result<(), Box<dyn std::error::Error>> {
    let broker = EmbeddedBroker::start(BrokerConfig::default())?;
    let client = broker.client();
    open_shop(&client).await?;
    fill_cart(&client, "Ada", "three carrots").await?;

    sleep(Duration::from_mins(59)).await;
    assert!(customers(&client).await?.contains("Ada"), "a minute before the end of the hour");
    sleep(Duration::from_mins(1)).await;
    assert!(customers(&client).await?.is_empty(), "at the end of the hour");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_expired_cart_is_reported_within_a_minute() -> Result<(), Box<dyn std::error::Error>> {
    let broker = EmbeddedBroker::start(BrokerConfig::default())?;
    let client = broker.client();
    open_shop(&client).await?;
    let mut expired = client.subscribe("expired").await?;
    let worker = tokio::spawn(expire_carts(broker.client()));

    let began = Instant::now();
    fill_cart(&client, "Ada", "three carrots").await?;
    sleep(HOLD / 2).await;
    fill_cart(&client, "Charles", "a gear").await?;

    let message = expired.next_message().await?.ok_or("the subscription ended")?;
    assert_eq!(message.body, "Ada");
    assert!((HOLD..=HOLD + CHECK).contains(&began.elapsed()), "after {:?}", began.elapsed());
    assert!(customers(&client).await?.contains("Charles"), "half an hour before its end");
    worker.abort();
    Ok(())
}
