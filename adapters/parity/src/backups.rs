//! A storage directory that is copied while its broker runs (rule B10).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::{JoinHandle, spawn_blocking};
use zaichik_store_journal::{Files, Report, backup};
use zaichik_tokio::Client;

use crate::directory::Directory;
use crate::messages::{connect, next_message};
use crate::numbered::{Publishing, TOPIC, create_topics, received};
use crate::process::{Broker, command};
use crate::script;

/// How often it is copied.
const COPIES: u64 = 5;

/// Small files, so that many are removed while they are copied.
const SEGMENTS: (&str, &str) = ("ZAICHIK_STORAGE_SEGMENT_SIZE", "64KiB");

fn run(path: &str, data: &Path) -> Broker {
    Broker::run(command(path, 0).env(SEGMENTS.0, SEGMENTS.1).arg("--data").arg(data))
}

/// Commits what a durable subscription receives, and counts it.
fn consume(client: Client, committed: Arc<AtomicU64>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut messages = client.subscribe(TOPIC).durable("d").window(16).await.expect("subscribed");
        loop {
            let message = next_message(&mut messages).await;
            message.commit().await.expect("committed");
            committed.store(message.offset.saturating_add(1), Ordering::Relaxed);
        }
    })
}

async fn copy(data: PathBuf, target: PathBuf) -> Report {
    let copying = spawn_blocking(move || {
        let mut target = Files::open(&target).expect("a new directory");
        backup(&mut Files::beside(&data).expect("a directory"), &mut target)
    });
    copying.await.expect("no panic").expect("a complete copy").expect("there is something")
}

/// Each copy has what was acknowledged before it began, and what one commit left of the rest. A broker that starts with it, or with
/// a copy of it, has another instance, and goes on as any other afterwards.
pub fn b_60_a_backup_of_a_broker_under_load_is_another_instance_each_time_it_is_restored(path: &str) {
    let directory = Directory::new();
    let data = directory.path().join("data");
    let broker = run(path, &data);
    script::block_on(async {
        let client = connect(broker.port).await;
        let first = client.instance();
        create_topics(&client).await;
        let committed = Arc::new(AtomicU64::new(0));
        let consuming = consume(connect(broker.port).await, Arc::clone(&committed));
        let publishing = Publishing::start(client, 100);
        let mut before = Vec::new();
        for number in 0..COPIES {
            publishing.continue_for(60).await;
            let known = (publishing.acknowledged(), committed.load(Ordering::Relaxed));
            let report = copy(data.clone(), directory.path().join(format!("copy {number}"))).await;
            assert!(report.is_backup && report.segments > 1, "{report:?}");
            before.push(known);
        }
        publishing.continue_for(60).await;
        let acknowledged = publishing.finish().await;
        consuming.abort();
        broker.stopped().await;
        let mut instances = vec![first];
        for (number, (messages, cursor)) in before.into_iter().enumerate() {
            let restored = directory.path().join(format!("copy {number}"));
            let again = directory.path().join(format!("copy {number} again"));
            copy(restored.clone(), again.clone()).await;
            for data in [&restored, &again] {
                let broker = run(path, data);
                assert!(
                    broker.start.iter().any(|line| line.contains("this is a backup")),
                    "{:?}",
                    broker.start
                );
                let client = connect(broker.port).await;
                assert!(!instances.contains(&client.instance()), "another instance");
                instances.push(client.instance());
                let found = received(&client).await;
                assert!(
                    (messages..=acknowledged).contains(&found),
                    "{found} of {messages} to {acknowledged}"
                );
                let subscription = client.subscription(TOPIC, "d").await.expect("it is there");
                assert!((cursor..=found).contains(&subscription.cursor), "{subscription:?} of {cursor}");
                let receipt = client.publish(TOPIC, found.to_be_bytes().to_vec()).await.expect("published");
                assert_eq!(receipt.offset(0), Some(found));
                broker.signal("KILL");
                assert_eq!(broker.ended().await.0, None);
                // From here on it is a directory as any other.
                let broker = run(path, data);
                let client = connect(broker.port).await;
                assert_eq!(client.instance(), instances.last().copied().flatten());
                assert_eq!(received(&client).await, found.saturating_add(1));
                broker.stopped().await;
            }
        }
    });
}
