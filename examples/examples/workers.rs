//! Workers share the jobs of one topic: each job goes to one of them, is acknowledged alone, and goes to another worker
//! if its own dies.
//!
//! `PORT=8889 cargo run --example workers`
#![expect(clippy::print_stdout, reason = "an example prints what it does")]

use std::time::Duration;

use zaichik_examples::{Outcome, address, expect, unique};
use zaichik_tokio::{Client, SharedOptions, Subscription, TopicOptions};

/// Jobs in total.
const JOBS: usize = 12;

/// How long a worker may take for a job before another one gets it.
const DEADLINE: Duration = Duration::from_mins(1);

/// A new connection that is a member of the shared subscription "workers".
async fn worker(name: &str, topic: &str) -> Outcome<(Client, Subscription)> {
    let client = Client::builder(&address()).name(name).connect().await?;
    let shared = SharedOptions::new("workers").ack_deadline(DEADLINE);
    let jobs = client.subscribe(topic).shared(shared).window(2).await?;
    Ok((client, jobs))
}

#[tokio::main]
async fn main() -> Outcome {
    let boss = Client::connect(&address()).await?;
    let topic = unique("examples/jobs")?;
    boss.create_topic(&topic, TopicOptions::new().retain_forever()).await?;
    for number in 0..JOBS {
        boss.publish(&topic, format!("job {number}")).await?;
    }

    // The first worker takes two jobs and dies with them.
    let (dying, mut jobs) = worker("unlucky", &topic).await?;
    for _ in 0..2 {
        let job = jobs.next_message().await?.ok_or("the subscription ended")?;
        println!("unlucky takes {:?}", job.body);
    }
    drop((jobs, dying));

    let mut working = Vec::new();
    for name in ["ann", "bob"] {
        let (client, mut jobs) = worker(name, &topic).await?;
        working.push(tokio::spawn(async move {
            let mut done = Vec::new();
            // All is done when nothing comes for a while.
            while let Ok(job) = tokio::time::timeout(Duration::from_secs(1), jobs.next_message()).await {
                let job = job?.ok_or("the subscription ended")?;
                println!("{name} does {:?}, attempt {}", job.body, job.attempt);
                job.ack().await?;
                done.push(job.offset);
            }
            client.close().await?;
            Outcome::Ok(done)
        }));
    }
    let mut done = Vec::new();
    for worker in working {
        done.extend(worker.await??);
    }
    done.sort_unstable();
    expect(done.iter().copied().eq(0..JOBS as u64), "each job to be done once")?;
    let state = boss.shared_subscription(&topic, "workers").await?;
    println!("acknowledged up to {}, in flight: {}", state.cursor, state.in_flight);
    expect(state.cursor == JOBS as u64, "everything to be acknowledged")?;
    boss.close().await?;
    Ok(())
}
