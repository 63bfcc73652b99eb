//! Consume, transform, produce: one output per input, whatever breaks in between.
//!
//! `PORT=8889 cargo run --example transaction`
#![expect(clippy::print_stdout, reason = "an example prints what it does")]
#![expect(clippy::arithmetic_side_effects, reason = "small numbers")]

use zaichik_examples::{Outcome, address, expect, unique};
use zaichik_tokio::{Client, TopicOptions};

/// Numbers to square.
const NUMBERS: u64 = 20;

#[tokio::main]
async fn main() -> Outcome {
    let client = Client::builder(&address()).name("writer").connect().await?;
    let (input, output) = (unique("examples/numbers")?, unique("examples/squares")?);
    for topic in [&input, &output] {
        client.create_topic(topic, TopicOptions::new().retain_forever()).await?;
    }
    for number in 0..NUMBERS {
        client.publish(&input, number.to_string()).await?;
    }
    println!("published the numbers 0 to {} to {input}", NUMBERS - 1);

    // Each worker crashes at a different step; the next one continues.
    let (mut workers, mut done) = (0, false);
    while !done {
        done = work(&input, &output, workers).await?;
        workers += 1;
    }
    println!("{workers} workers ran; all but the last crashed");

    let mut squares = client.subscribe(&output).window(64).await?;
    expect(squares.end() == NUMBERS, "one square for each number")?;
    for number in 0..NUMBERS {
        let message = squares.next_message().await?.ok_or("the subscription ended")?;
        expect(message.body == (number * number).to_string(), "each square once, in order")?;
    }
    println!("{output} holds each square once, in order");

    let nothing =
        client.transaction().publish(&output, "not alone").publish("$reserved", "this can't be done");
    let error = nothing.send().await.err().ok_or("a reserved name was accepted")?;
    println!("a transaction with one refused operation has no effect: {error}");
    let other = Client::builder(&address()).name("reader").connect().await?;
    expect(other.subscribe(&output).await?.end() == NUMBERS, "only the squares")?;
    client.close().await?;
    Ok(())
}

/// Squares numbers until there are none left, or until it crashes, before or after sending a transaction. Returns
/// whether it finished.
async fn work(input: &str, output: &str, crash: u64) -> Outcome<bool> {
    let client = Client::builder(&address()).name("worker").connect().await?;
    let mut numbers = client.subscribe(input).durable("squares").window(8).await?;
    let mut handled = 0;
    while numbers.start() + handled < NUMBERS {
        let number = numbers.next_message().await?.ok_or("the subscription ended")?;
        let value: u64 = String::from_utf8_lossy(&number.body).parse()?;
        let transaction = client.transaction().publish(output, (value * value).to_string()).commit(&number);
        if handled == 3 && crash.is_multiple_of(2) {
            println!("  worker {crash} crashes after squaring {value}, before sending the transaction");
            return Ok(false);
        }
        transaction.send().await?;
        handled += 1;
        if handled == 5 && !crash.is_multiple_of(2) {
            println!("  worker {crash} crashes after storing the square of {value}");
            return Ok(false);
        }
    }
    Ok(true)
}
