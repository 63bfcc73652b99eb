//! A broker that keeps its state in a directory, and is killed (chapter B of the rules).

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures::future::join_all;
use zaichik_driver::Start;
use zaichik_tokio::{Client, TopicOptions};

use crate::directory::Directory;
use crate::messages::next_message;
use crate::process::{Broker, command};
use crate::script;

/// How often the broker is killed, unless `KILL_ROUNDS` says otherwise.
const ROUNDS: u64 = 5;

/// Publishers at a time.
const PUBLISHERS: usize = 4;

/// Messages that are acknowledged in each round before the broker is killed.
const PER_ROUND: u64 = 200;

fn stored(path: &str, port: u16, data: &Path) -> Command {
    let mut command = command(path, port);
    command.arg("--data").arg(data);
    command
}

/// Every acknowledged message is there exactly once, in order, and a durable subscription continues where it was.
pub fn b1_a_killed_broker_loses_nothing_that_it_acknowledged(path: &str) {
    let directory = Directory::new();
    let data = directory.path().join("data");
    let rounds = std::env::var("KILL_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS);
    let mut broker = Broker::run(&mut stored(path, 0, &data));
    let (port, address) = (broker.port, broker.address());
    script::block_on(async {
        let client = Client::connect(&address).await.expect("the broker listens");
        let instance = client.instance();
        client.create_topic("t", TopicOptions::new().retain_forever()).await.expect("created");
        let (acknowledged, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let publishers = (0..PUBLISHERS).map(|name| {
            let (address, acknowledged, is_over) =
                (address.clone(), Arc::clone(&acknowledged), Arc::clone(&is_over));
            tokio::spawn(async move {
                let client = Client::connect(&address).await.expect("the broker listens");
                let mut told = Vec::new();
                for number in 0.. {
                    if is_over.load(Ordering::Relaxed) {
                        return told;
                    }
                    let text = format!("{name} {number}");
                    let receipt = client.publish("t", text.clone()).await.expect("published in the end");
                    told.push((receipt.offset(0).expect("it has an offset"), text));
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                }
                told
            })
        });
        let publishers: Vec<_> = publishers.collect();
        let auditor = tokio::spawn(consume(address.clone(), Arc::clone(&is_over)));
        for round in 0..rounds {
            let target = PER_ROUND.saturating_mul(round.saturating_add(1));
            while acknowledged.load(Ordering::Relaxed) < target {
                tokio::task::yield_now().await;
            }
            broker.signal("KILL");
            let (code, log) = tokio::task::spawn_blocking(|| broker.end()).await.expect("no panic");
            assert_eq!(code, None, "{log}");
            broker = Broker::run(&mut stored(path, port, &data));
        }
        is_over.store(true, Ordering::Relaxed);
        let told: Vec<_> =
            join_all(publishers).await.into_iter().map(|told| told.expect("no panic")).collect();
        let stored = everything(&client, told.iter().flatten().map(|(offset, _)| *offset).max()).await;
        let mut count = 0_usize;
        for (offset, text) in told.iter().flatten() {
            assert_eq!(stored.get(offset), Some(text), "an acknowledged message is at its offset");
            count = count.saturating_add(1);
        }
        assert_eq!(stored.len(), count, "nothing else is there: each publish was acknowledged in the end");
        let consumed = auditor.await.expect("no panic");
        for (offset, text) in &consumed {
            assert_eq!(stored.get(offset), Some(text), "what was delivered is stored");
        }
        assert_eq!(client.instance(), instance, "a restart is only a broken connection");
        broker.signal("TERM");
        drop(client);
        let (code, log) = tokio::task::spawn_blocking(|| broker.end()).await.expect("no panic");
        assert_eq!(code, Some(0), "{log}");
    });
}

/// What a durable subscription receives and commits; nothing comes again that was committed.
async fn consume(address: String, is_over: Arc<AtomicBool>) -> BTreeMap<u64, String> {
    let client = Client::connect(&address).await.expect("the broker listens");
    let mut messages = client.subscribe("t").durable("audit").await.expect("subscribed");
    let (mut consumed, mut committed) = (BTreeMap::new(), None);
    while !is_over.load(Ordering::Relaxed) {
        let message = next_message(&mut messages).await;
        let (offset, text) = (message.offset, String::from_utf8_lossy(&message.body).into_owned());
        assert!(
            committed.is_none_or(|committed| offset > committed),
            "{offset} was committed: {committed:?}"
        );
        let earlier = consumed.insert(offset, text.clone());
        assert!(earlier.is_none_or(|earlier| earlier == text), "offset {offset} has another message");
        if message.commit().await.is_ok() {
            committed = Some(offset);
        }
    }
    consumed
}

/// All messages of the topic up to the last acknowledged one.
async fn everything(client: &Client, last: Option<u64>) -> BTreeMap<u64, String> {
    let mut all = BTreeMap::new();
    let mut messages = client.subscribe("t").window(0).from(Start::Earliest).await.expect("subscribed");
    while all.last_key_value().map(|(offset, _)| *offset) < last {
        let message = next_message(&mut messages).await;
        all.insert(message.offset, String::from_utf8_lossy(&message.body).into_owned());
    }
    all
}

/// A directory has one broker at a time, and is no directory of another program.
pub fn b4_a_directory_that_cannot_be_used_is_reported_in_one_line(path: &str) {
    let directory = Directory::new();
    let data = directory.path().join("data");
    let broker = Broker::run(&mut stored(path, 0, &data));
    let second = stored(path, 0, &data).output().expect("the command runs");
    let log = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{log}");
    assert!(log.contains(&format!("is used by another broker, process {}", broker.id())), "{log}");
    broker.signal("TERM");
    assert_eq!(broker.end().0, Some(0));
    directory.write("letter.txt", "not a store");
    let foreign = stored(path, 0, directory.path()).output().expect("the command runs");
    let log = String::from_utf8_lossy(&foreign.stderr);
    assert_eq!(foreign.status.code(), Some(1), "{log}");
    assert!(log.contains("is no storage directory"), "{log}");
}
