//! How to test what takes an hour, in a millisecond: a broker inside the test, and tokio's time paused.
//!
//! `cargo test -p zaichik-examples --test one_hour`

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use zaichik_tokio::{Client, ClientError, Embedded, Outgoing, TopicOptions, default_config};

/// How long a shop keeps a cart for its customer.
const HOLD: Duration = Duration::from_hours(1);

/// How often it looks which ones are gone.
const CHECK: Duration = Duration::from_mins(1);

// What is tested: part of an application, which knows nothing of tests.

async fn open_shop(client: &Client) -> Result<(), ClientError> {
    client.create_topic("carts", TopicOptions::new().retention_ttl(HOLD)).await?;
    Ok(())
}

async fn fill_cart(client: &Client, customer: &str, cart: &str) -> Result<(), ClientError> {
    client.publish("carts", Outgoing::new(cart.to_owned()).header("customer", customer.to_owned())).await?;
    Ok(())
}

/// Customers with a cart that is still kept.
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

/// Tells who no longer has a cart, for ever.
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
    let broker = Embedded::start(default_config()?)?;
    let client = broker.client();
    open_shop(&client).await?;
    fill_cart(&client, "Ada", "three carrots").await?;

    sleep(Duration::from_mins(59)).await;
    assert!(customers(&client).await?.contains("Ada"), "a minute is left");
    sleep(Duration::from_mins(1)).await;
    assert!(customers(&client).await?.is_empty(), "the hour is over");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn whose_cart_is_gone_is_told_within_a_minute() -> Result<(), Box<dyn std::error::Error>> {
    let broker = Embedded::start(default_config()?)?;
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
    assert!(customers(&client).await?.contains("Charles"), "half an hour is left");
    worker.abort();
    Ok(())
}
