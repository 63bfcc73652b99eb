//! A broker and two clients inside one program, without a socket.
//!
//! `cargo run --example embedded`
#![expect(clippy::print_stdout, reason = "an example prints what it does")]

use std::time::Duration;

use futures::SinkExt;
use zaichik_examples::{Failure, Outcome, expect};
use zaichik_tokio::{BrokerConfig, EmbeddedBroker, Outgoing};

#[tokio::main]
async fn main() -> Outcome {
    let broker = EmbeddedBroker::start(BrokerConfig::default())?;
    let (producer, consumer) = (broker.client(), broker.client());
    println!("a broker and two clients run inside this program, without a socket");

    let mut jobs = consumer.subscribe("jobs").window(8).await?;
    let working = tokio::spawn(async move {
        let mut sum = 0u64;
        for _ in 1..=100 {
            let job = jobs.next_message().await?.ok_or("the subscription ended")?;
            sum = sum.saturating_add(str::from_utf8(&job.body)?.parse()?);
            job.commit().await?;
        }
        Ok::<_, Failure>(sum)
    });

    let mut publisher = producer.publisher("jobs");
    for number in 1..=100 {
        publisher.feed(Outgoing::new(number.to_string())).await?;
    }
    publisher.close().await?;
    println!("one client published the numbers 1 to 100");

    let sum = working.await??;
    println!("the other client received them; their sum is {sum}");
    expect(sum == 5050, "5050")?;

    producer.close().await?;
    consumer.close().await?;
    broker.shutdown(Duration::from_secs(1)).await?;
    println!("the broker has stopped");
    Ok(())
}
