//! Messages live for their topic's `retention_ttl`: new subscribers receive the live ones, and a subscriber that was
//! too slow receives a gap.
//!
//! `PORT=8889 cargo run --example retention`
#![expect(clippy::print_stdout, reason = "an example prints what it does")]

use std::time::Duration;

use zaichik_examples::{Outcome, address, expect, unique};
use zaichik_tokio::{Client, ClientError, Event, Subscription, TopicOptions};

/// How long a message is live.
const TTL: Duration = Duration::from_secs(2);

/// Slightly longer than `TTL`.
const PAST_TTL: Duration = Duration::from_millis(2_100);

#[tokio::main]
async fn main() -> Outcome {
    let client = connect("publisher").await?;
    let topic = unique("examples/retention")?;
    client.create_topic(&topic, TopicOptions::new().retention_ttl(TTL)).await?;
    println!("created {topic}: messages are live for {TTL:?}");

    client.publish_all(&topic, ["one", "two", "three"]).await?;
    println!("published three messages without a subscriber");

    let mut newcomer = connect("newcomer").await?.subscribe(&topic).window(16).await?;
    expect(newcomer.start() == 0, "the messages to be still live (this machine may be too slow)")?;
    println!("a new subscriber receives the messages published before:");
    for text in ["one", "two", "three"] {
        let message = newcomer.next_message().await?.ok_or("the subscription ended")?;
        println!("  offset {}: {:?}", message.offset, message.body);
        expect(message.body == text, "the messages in the order they were published")?;
    }
    newcomer.commit().await?;

    let mut slow = connect("slow").await?.subscribe(&topic).await?;
    expect(slow.start() == 0, "the messages to be still live (this machine may be too slow)")?;
    let first = slow.next_message().await?.ok_or("the subscription ended")?;
    println!("a slow subscriber receives offset {} and does not commit it for a while", first.offset);

    println!("{TTL:?} pass ...");
    tokio::time::sleep(PAST_TTL).await;

    let late = connect("late").await?.subscribe(&topic).await?;
    println!("a late subscriber starts at offset {}: all older messages have expired", late.start());
    expect(late.start() == 3 && late.end() == 3, "a topic whose three messages have expired")?;

    client.publish(&topic, "four").await?;
    first.commit().await?;
    println!("\"four\" is published, and the slow subscriber commits offset {}:", first.offset);
    expect_gap_and_four(slow).await?;
    expect_four(late).await?;

    client.close().await?;
    println!("closed; every lost message was reported as a gap");
    Ok(())
}

async fn connect(name: &str) -> Result<Client, ClientError> {
    Client::builder(&address()).name(name).connect().await
}

/// The slow subscriber receives a gap in place of the messages it missed, and continues.
async fn expect_gap_and_four(mut slow: Subscription) -> Outcome {
    let event = slow.next_event().await?.ok_or("the subscription ended")?;
    let Event::Gap { from, to, reason } = event else {
        return Err(format!("expected a gap, received {event:?}").into());
    };
    println!("  it receives a gap: offsets {from} up to, but not including, {to} are lost ({reason:?})");
    expect((from, to) == (1, 3), "a gap for the two messages that expired in the meantime")?;
    expect_four(slow).await
}

async fn expect_four(mut subscription: Subscription) -> Outcome {
    let message = subscription.next_message().await?.ok_or("the subscription ended")?;
    println!("  received offset {}: {:?}", message.offset, message.body);
    expect(message.offset == 3 && message.body == "four", "the live message")
}
