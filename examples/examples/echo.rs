//! One connection publishes and subscribes: it receives the messages that it publishes, in order.
//!
//! `PORT=8889 cargo run --example echo`
#![expect(clippy::print_stdout, reason = "an example prints what it does")]

use zaichik_examples::{Outcome, address, expect};
use zaichik_tokio::{Client, Start};

const TOPIC: &str = "examples/echo";

#[tokio::main]
async fn main() -> Outcome {
    let client = Client::builder(&address()).name("echo").connect().await?;
    println!("connected to {}", address());

    // From the end of the topic, to skip the messages of earlier runs.
    let mut subscription = client.subscribe(TOPIC).from(Start::Latest).await?;
    println!("subscribed to {TOPIC}, where the next message has offset {}", subscription.end());

    for text in ["one", "two", "three"] {
        let receipt = client.publish(TOPIC, text).await?;
        let offset = receipt.offset(0);
        println!("published {text:?} at offset {}", receipt.offset(0).unwrap_or_default());
        loop {
            let message = subscription.next_message().await?.ok_or("the subscription ended")?;
            message.commit().await?;
            if Some(message.offset) == offset {
                println!("  received {:?} at offset {}", message.body, message.offset);
                expect(message.body == text, "the text that was published")?;
                break;
            }
            println!("  received another client's {:?} at offset {}", message.body, message.offset);
            expect(Some(message.offset) < offset, "messages in the order of their offsets")?;
        }
    }

    subscription.unsubscribe().await?;
    client.close().await?;
    println!("closed; every message was received, in order");
    Ok(())
}
