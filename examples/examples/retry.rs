//! A connection that keeps breaking: every acknowledged message is stored exactly once, in order.
//!
//! `PORT=8889 cargo run --example retry`
#![expect(clippy::print_stdout, reason = "an example prints what it does")]

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::io::copy;
use tokio::net::{TcpListener, TcpStream};
use zaichik_examples::{Outcome, address, expect, unique};
use zaichik_tokio::{Client, ErrorClass, TopicOptions};

/// Messages to publish.
const MESSAGES: u64 = 300;

/// Maximum messages in flight.
const IN_FLIGHT: usize = 32;

#[tokio::main]
async fn main() -> Outcome {
    let cuts = Arc::new(AtomicU32::new(0));
    let unreliable = unreliable_network(Arc::clone(&cuts)).await?;
    println!("a proxy at {unreliable} breaks each connection after a few hundred bytes");

    let reliable = Client::builder(&address()).name("reader").connect().await?;
    let topic = unique("examples/retry")?;
    reliable.create_topic(&topic, TopicOptions::new().retain_forever()).await?;

    let client = Client::builder(&unreliable)
        .name("writer")
        .retry_first_connect(true)
        .configure(|config| config.reconnect_min = Duration::from_millis(1))
        .configure(|config| config.reconnect_max = Duration::from_millis(20))
        .start();
    let mut under_way = VecDeque::new();
    for number in 0..MESSAGES {
        if under_way.len() == IN_FLIGHT
            && let Some((number, handle)) = under_way.pop_front()
        {
            acknowledged(number, handle).await?;
        }
        under_way.push_back((number, client.publish(&topic, number.to_string()).enqueue()?));
    }
    for (number, handle) in under_way {
        acknowledged(number, handle).await?;
    }
    println!("{MESSAGES} messages acknowledged, over {} broken connections", cuts.load(Ordering::Relaxed));

    let mut stored = reliable.subscribe(&topic).window(256).await?;
    expect(stored.end() == MESSAGES, "every message in the topic")?;
    for number in 0..MESSAGES {
        let message = stored.next_message().await?.ok_or("the subscription ended")?;
        expect(message.body == number.to_string(), "each message once, in the order it was published")?;
        message.commit().await?;
    }
    println!("the topic holds each of them once, in order");
    expect(cuts.load(Ordering::Relaxed) > 0, "at least one broken connection")?;

    let nobody = Client::builder(&address()).connect().await?;
    let error = nobody.publish("$reserved", "no").await.err().ok_or("a reserved name was accepted")?;
    println!("a request that cannot succeed is refused: {error} ({:?})", error.class());
    expect(error.class() == ErrorClass::Refused, "an error whose class rules out a retry")?;
    reliable.close().await?;
    Ok(())
}

async fn acknowledged(number: u64, handle: zaichik_tokio::PendingReceipt) -> Outcome {
    let receipt = handle.await?;
    expect(receipt.offset(0) == Some(number), "the offset after the previous one")
}

/// Forwards connections to the broker, and breaks each of them after a number of bytes from one side: the client or
/// the broker.
async fn unreliable_network(cuts: Arc<AtomicU32>) -> Outcome<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let here = listener.local_addr()?.to_string();
    tokio::spawn(async move {
        // Enough for a handshake.
        let mut allowed = 100u64;
        while let Ok((mut client, _)) = listener.accept().await {
            let Ok(mut broker) = TcpStream::connect(address()).await else { return };
            allowed = if allowed > 900 { 100 } else { allowed.saturating_add(37) };
            let limits = if allowed.is_multiple_of(2) { (allowed, u64::MAX) } else { (u64::MAX, allowed) };
            let (from_client, mut into_client) = client.split();
            let (from_broker, mut into_broker) = broker.split();
            let (mut from_client, mut from_broker) = (from_client.take(limits.0), from_broker.take(limits.1));
            tokio::select! {
                _ = copy(&mut from_client, &mut into_broker) => {}
                _ = copy(&mut from_broker, &mut into_client) => {}
            }
            cuts.fetch_add(1, Ordering::Relaxed);
        }
    });
    Ok(here)
}
