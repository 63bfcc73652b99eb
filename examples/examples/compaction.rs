//! A topic remembers accepted keys for a while: the first message with a key is kept, later ones are duplicates.
//!
//! `PORT=8889 cargo run --example compaction`; run it twice to see that keys outlive the connection. Runs may
//! overlap: each checks only its own key.
#![expect(clippy::print_stdout, reason = "an example prints what it does")]

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
    println!("{TOPIC} remembers a key for {WINDOW:?} after its message was accepted");

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
                "  {key}: accepted at offset {offset}; the key was not accepted within the last {WINDOW:?}"
            );
        }
    }

    println!("\nA key that only this run uses:");
    let key = unique("order")?;
    // In one step, so that the window cannot end in between, however slow the machine is.
    let pair = ["the first", "the second"].map(|text| Outgoing::new(text).key(key.clone()));
    let receipt = client.publish_all(TOPIC, pair).await?;
    let offset = receipt.offset(0).ok_or("a receipt without an offset")?;
    println!("  {key} \"the first\": accepted at offset {offset}");
    expect(!receipt.is_duplicate(0), "a new key to be accepted")?;
    println!("  {key} \"the second\": a duplicate of offset {}", receipt.offset(1).unwrap_or_default());
    expect(receipt.is_duplicate(1), "the same key again to be a duplicate")?;
    expect(receipt.offset(1) == Some(offset), "the offset of the original for the duplicate")?;

    let last = client.publish(TOPIC, Outgoing::new(key.clone())).await?;
    println!("  a message without a key is never a duplicate: offset {}", last.offset(0).unwrap_or_default());

    println!("\nMessages with this run's key that a subscriber receives:");
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
    expect(seen == ["the first"], "only the first message with the key")?;

    client.close().await?;
    println!("\nclosed; run it again: each user key is a duplicate until {WINDOW:?} after it was accepted");
    Ok(())
}
