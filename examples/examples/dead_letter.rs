//! A message that always fails is moved to another topic, so that the messages behind it can be handled.
//!
//! `PORT=8889 cargo run --example dead_letter`
#![expect(clippy::print_stdout, reason = "an example prints what it does")]

use std::time::Duration;

use zaichik_examples::{Outcome, address, expect, unique};
use zaichik_tokio::{Client, TopicOptions};

/// Failures of a message before it is moved.
const MAX_ATTEMPTS: u32 = 3;

/// How long to wait before a message is redelivered.
const DELAY: Duration = Duration::from_millis(50);

#[tokio::main]
async fn main() -> Outcome {
    let client = Client::builder(&address()).name("worker").connect().await?;
    let (jobs, dead) = (unique("examples/jobs")?, unique("examples/dead")?);
    client.create_topic(&jobs, TopicOptions::new().retain_forever()).await?;
    for job in ["sweep", "poison", "mow"] {
        client.publish(&jobs, job).await?;
    }

    let mut work = client.subscribe(&jobs).dead_letter(MAX_ATTEMPTS, &dead).await?;
    let mut done = Vec::new();
    while done.len() < 2 {
        let job = work.next_message().await?.ok_or("the subscription ended")?;
        if job.body == "poison" {
            println!("attempt {} at {:?} fails; nacked with a delay of {DELAY:?}", job.attempt, job.body);
            job.nack(DELAY).await?;
            continue;
        }
        println!("{:?} is done", job.body);
        job.commit().await?;
        done.push(job.body.clone());
    }
    expect(done == ["sweep", "mow"], "the jobs that succeed")?;

    let mut buried = client.subscribe(&dead).await?;
    let letter = buried.next_message().await?.ok_or("the subscription ended")?;
    println!("in {dead}: {:?}", letter.body);
    for (name, value) in letter.headers.iter() {
        println!("  {name}: {}", String::from_utf8_lossy(value));
    }
    expect(letter.body == "poison", "the job that fails")?;
    expect(letter.headers.get("zaichik-failures") == Some(b"3"), "its number of failures")?;
    client.close().await?;
    Ok(())
}
