//! Messages live as long as their topic says: newcomers see what is alive, and whoever was too slow is told.
//!
//! `PORT=8889 cargo run --example retention`
#![expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::time::Duration;

use zaichik_examples::{Outcome, address, expect, unique};
use zaichik_tokio::{Client, ClientError, Outgoing, Subscription, TopicOptions};

/// How long a message lives.
const TTL: Duration = Duration::from_secs(2);

/// A bit longer.
const PAST_TTL: Duration = Duration::from_millis(2_100);

#[tokio::main]
async fn main() -> Outcome {
    let client = connect("publisher").await?;
    let topic = unique("examples/retention")?;
    client.create_topic(&topic, TopicOptions::new().retention_ttl(TTL)).await?;
    println!("created {topic}: messages live for {TTL:?}");

    let messages = ["one", "two", "three"].map(Outgoing::from);
    client.publish_all(&topic, &messages).await?;
    println!("published three messages; nobody was listening");

    let mut newcomer = connect("newcomer").await?.subscribe(&topic).window(16).await?;
    expect(newcomer.start() == 0, "a machine that gets here while the messages live")?;
    println!("a newcomer subscribes, and gets what was published before:");
    for text in ["one", "two", "three"] {
        let message = newcomer.next_message().await?.ok_or("the subscription ended")?;
        println!("  offset {}: {:?}", message.offset, message.body);
        expect(message.body == text, "the messages in the order they were published")?;
    }
    newcomer.commit().await?;

    let mut slow = connect("slow").await?.subscribe(&topic).await?;
    expect(slow.start() == 0, "a machine that gets here while the messages live")?;
    let first = slow.next_message().await?.ok_or("the subscription ended")?;
    println!("a slow subscriber takes offset {}, and does not commit it for a while", first.offset);

    println!("{TTL:?} pass ...");
    tokio::time::sleep(PAST_TTL).await;

    let late = connect("late").await?.subscribe(&topic).await?;
    println!("a late newcomer begins at offset {}: nothing older is alive", late.start());
    expect(late.start() == 3 && late.end() == 3, "a topic with three messages, all expired")?;

    client.publish(&topic, "four").await?;
    first.commit().await?;
    println!("\"four\" is published, and the slow subscriber commits offset {}:", first.offset);
    expect_gap_and_four(slow).await?;
    expect_four(late).await?;

    client.close().await?;
    println!("closed; nothing was lost without being told");
    Ok(())
}

async fn connect(name: &str) -> Result<Client, ClientError> {
    Client::builder(&address()).name(name).connect().await
}

/// The slow subscriber is told what it missed, in its place, and goes on.
async fn expect_gap_and_four(mut slow: Subscription) -> Outcome {
    match slow.next_message().await {
        Err(ClientError::Gap { from, to, reason, .. }) => {
            println!("  it is told that offsets {from} up to {to} are gone ({reason:?})");
            expect((from, to) == (1, 3), "a gap for the two messages that expired meanwhile")?;
        }
        other => return Err(format!("expected a gap, got {other:?}").into()),
    }
    expect_four(slow).await
}

async fn expect_four(mut subscription: Subscription) -> Outcome {
    let message = subscription.next_message().await?.ok_or("the subscription ended")?;
    println!("  then comes offset {}: {:?}", message.offset, message.body);
    expect(message.offset == 3 && message.body == "four", "the message that is alive")
}
