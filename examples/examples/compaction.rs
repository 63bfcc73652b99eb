//! A topic remembers the keys it accepted for a while: the first message of a key stays, later ones are
//! duplicates.
//!
//! `PORT=8889 cargo run --example compaction`; run it twice to see that keys outlive the connection. Runs may
//! overlap: each looks for its own key only.
#![expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::time::Duration;

use zaichik_examples::{Outcome, address, expect, unique};
use zaichik_tokio::{Client, Outgoing, Start, TopicOptions};

const TOPIC: &str = "examples/compaction";

/// How long a key is remembered.
const WINDOW: Duration = Duration::from_mins(1);

#[tokio::main]
async fn main() -> Outcome {
    let client = Client::builder(&address()).name("compaction").connect().await?;
    client.create_topic(TOPIC, TopicOptions::new().compaction_window(WINDOW)).await?;
    println!("{TOPIC} remembers a key for {WINDOW:?} from the message that was accepted");

    let mut subscription = client.subscribe(TOPIC).from(Start::Latest).window(16).await?;
    println!("\nKeys that every run of this example uses:");
    for key in ["user-1", "user-2"] {
        let receipt = client.publish(TOPIC, Outgoing::new("from some run").key(key)).await?;
        let offset = receipt.offset(0).ok_or("a receipt without an offset")?;
        if receipt.is_duplicate(0) {
            println!(
                "  {key}: a duplicate of offset {offset}, which another run published less than {WINDOW:?} ago"
            );
        } else {
            println!(
                "  {key}: accepted at offset {offset}; no other was accepted within the last {WINDOW:?}"
            );
        }
    }

    println!("\nA key of this run alone:");
    let key = unique("order")?;
    // In one step, so that no window ends in between, however slow the machine is.
    let pair = ["the first", "the second"].map(|text| Outgoing::new(text).key(key.clone()));
    let receipt = client.publish_all(TOPIC, &pair).await?;
    let offset = receipt.offset(0).ok_or("a receipt without an offset")?;
    println!("  {key} \"the first\": accepted at offset {offset}");
    expect(!receipt.is_duplicate(0), "a key that was never used is accepted")?;
    println!("  {key} \"the second\": a duplicate of offset {}", receipt.offset(1).unwrap_or_default());
    expect(receipt.is_duplicate(1), "the same key again is a duplicate")?;
    expect(receipt.offset(1) == Some(offset), "the duplicate's answer names the original")?;

    let last = client.publish(TOPIC, Outgoing::new(key.clone())).await?;
    println!("  a message without a key is never a duplicate: offset {}", last.offset(0).unwrap_or_default());

    println!("\nWhat a subscriber sees of this run's key:");
    let mut seen = Vec::new();
    loop {
        let message = subscription.next_message().await?.ok_or("the subscription ended")?;
        message.commit().await?;
        if message.key.as_deref() == Some(key.as_bytes()) {
            println!("  offset {}: {:?}", message.offset, message.body);
            seen.push(message.body.clone());
        }
        if Some(message.offset) == last.offset(0) {
            break;
        }
    }
    expect(seen == ["the first"], "the first message of the key, and no other")?;

    client.close().await?;
    println!("\nclosed; run it again: each user's key is a duplicate until {WINDOW:?} after it was accepted");
    Ok(())
}
