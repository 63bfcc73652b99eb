//! A durable subscription outlives its reader: the next reader continues where the last one committed.
//!
//! `PORT=8889 cargo run --example durable`
#![expect(clippy::print_stdout, reason = "an example prints what it does")]

use zaichik_examples::{Outcome, address, expect, unique};
use zaichik_tokio::{Client, ClientError, Start, TopicOptions};

const NAME: &str = "billing";

#[tokio::main]
async fn main() -> Outcome {
    let writer = connect("writer").await?;
    let topic = unique("examples/durable")?;
    writer.create_topic(&topic, TopicOptions::new().retain_forever()).await?;
    for text in ["one", "two", "three", "four"] {
        writer.publish(&topic, text).await?;
    }

    let first = connect("first").await?;
    let mut reading = first.subscribe(&topic).durable(NAME).window(16).from(Start::Earliest).await?;
    for text in ["one", "two", "three"] {
        let message = reading.next_message().await?.ok_or("the subscription ended")?;
        println!("the first reader receives offset {}: {:?}", message.offset, message.body);
        expect(message.body == text, "the messages in order")?;
        if text == "two" {
            message.commit().await?;
            println!("  and commits everything up to it");
        }
    }
    drop((reading, first));
    println!("the first reader disconnects without committing \"three\"");

    let second = connect("second").await?;
    let mut reading = second.subscribe(&topic).durable(NAME).window(16).await?;
    let message = reading.next_message().await?.ok_or("the subscription ended")?;
    println!("the second reader starts with {:?}, attempt {}", message.body, message.attempt);
    expect(message.body == "three" && message.attempt == 2, "the uncommitted message, redelivered")?;
    message.commit().await?;

    let third = connect("third").await?;
    let mut taken_over = third.subscribe(&topic).durable(NAME).await?;
    let message = taken_over.next_message().await?.ok_or("the subscription ended")?;
    println!("a third reader takes over the subscription and receives {:?}", message.body);
    expect(message.body == "four", "the first uncommitted message")?;
    let fenced = loop {
        match reading.next_message().await {
            Ok(Some(message)) => {
                println!("  the second reader still had {:?}, which it can no longer commit", message.body);
            }
            other => break other,
        }
    };
    println!("  the second reader gets the error: {}", fenced.as_ref().err().ok_or("no error was reported")?);
    expect(
        matches!(fenced, Err(ClientError::Fenced { .. })),
        "an error that says why the subscription ended",
    )?;
    message.commit().await?;

    taken_over.seek(Start::Earliest).await?;
    let message = taken_over.next_message().await?.ok_or("the subscription ended")?;
    println!("after a seek to the beginning it receives {:?} again", message.body);
    expect(message.body == "one", "the first message")?;
    third.close().await?;
    Ok(())
}

async fn connect(name: &str) -> Result<Client, ClientError> {
    Client::builder(&address()).name(name).connect().await
}
